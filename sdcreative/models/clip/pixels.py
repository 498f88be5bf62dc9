"""Pictures as a picture tower wants them: its ``preprocessor_config.json``, carried out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy
import torch
from PIL import Image as Images
from torch import Tensor

from ...errors import ModelError

if TYPE_CHECKING:
    from PIL.Image import Image

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)
HALF, ZEROS, ONES = (0.5,) * 3, (0.0,) * 3, (1.0,) * 3


@dataclass(frozen=True)
class Preparation:
    """How pictures become numbers.

    Attributes:
        size: (width, height) in pixels that a picture is scaled to, or the length of its shorter
            side.
        crop: (width, height) cut out of the middle, black where the picture ends; None: nothing.
        resample: filter of the scaling, by Pillow's number.
        mean: taken out of each channel, of values in [0, 1].
        deviation: what is left is divided by it.
    """

    size: tuple[int, int] | int
    crop: tuple[int, int] | None
    resample: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def squares(cls, side: int) -> Preparation:
        """Squeezed into squares of values in [-1, 1]: for pairs that this project trains."""
        return cls((side, side), None, int(Images.Resampling.BICUBIC), HALF, HALF)

    @classmethod
    def of_clip(cls, side: int) -> Preparation:
        """What the CLIP of Radford et al. 2021 was trained with."""
        crop = (side, side)
        return cls(side, crop, int(Images.Resampling.BICUBIC), CLIP_MEAN, CLIP_DEVIATION)

    @classmethod
    def read(cls, config: Mapping[str, Any], side: int) -> Preparation:
        """Of the content of a ``preprocessor_config.json``.

        Args:
            config: what it lacks is as for CLIP, but for the size.
            side: of the tower's pictures.

        Raises:
            ModelError: sizes, filters or means that cannot be.
        """
        try:
            crop = _pair(config.get("crop_size", side)) if config.get("do_center_crop") else None
            normal = config.get("do_normalize", True)
            found = cls(
                size=_size(config.get("size", side)),
                crop=crop,
                resample=int(Images.Resampling(config.get("resample", 3))),
                mean=_channels(config.get("image_mean", CLIP_MEAN) if normal else ZEROS),
                deviation=_channels(config.get("image_std", CLIP_DEVIATION) if normal else ONES),
            )
        except (TypeError, ValueError, KeyError) as error:
            raise ModelError(f"preprocessor_config.json cannot be followed: {error}") from None
        shown = found.crop or found.size
        if shown != (side, side):
            raise ModelError(
                f"preprocessor_config.json makes pictures of another size, {shown}, than the "
                f"tower takes: {side}x{side}"
            )
        return found

    def values(self, pictures: Sequence[Image]) -> Tensor:
        """(N, 3, H, W) float32."""
        return torch.stack([self._of_one(picture) for picture in pictures])

    def _of_one(self, picture: Image) -> Tensor:
        picture = picture.convert("RGB")
        width, height = picture.size
        if isinstance(self.size, int):
            short, long = sorted((width, height))
            longer = int(self.size * long / short)
            size = (self.size, longer) if width <= height else (longer, self.size)
        else:
            size = self.size
        if size != picture.size:
            picture = picture.resize(size, Images.Resampling(self.resample))
        if self.crop is not None:
            left = (picture.width - self.crop[0]) // 2
            top = (picture.height - self.crop[1]) // 2
            picture = picture.crop((left, top, left + self.crop[0], top + self.crop[1]))
        return _normalised(picture, self.mean, self.deviation)


@dataclass(frozen=True)
class Patches:
    """Pictures of their own proportions, cut into patches (SigLIP 2, Tschannen et al. 2025, 2.4).

    Attributes:
        side: of a patch, in pixels.
        most: patches of a picture.
        resample: filter of the scaling, by Pillow's number.
        mean: taken out of each channel, of values in [0, 1].
        deviation: what is left is divided by it.
    """

    side: int
    most: int
    resample: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    @classmethod
    def read(cls, config: Mapping[str, Any], side: int, most: int) -> Patches:
        """Of the content of a ``preprocessor_config.json``; what it lacks is as for SigLIP 2.

        Raises:
            ModelError: numbers that cannot be.
        """
        try:
            return cls(
                side=side,
                most=int(config.get("max_num_patches", most)),
                resample=int(Images.Resampling(config.get("resample", 2))),
                mean=_channels(config.get("image_mean", HALF)),
                deviation=_channels(config.get("image_std", HALF)),
            )
        except (TypeError, ValueError) as error:
            raise ModelError(f"preprocessor_config.json cannot be followed: {error}") from None

    def values(self, pictures: Sequence[Image]) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures as patches.

        Returns:
            the patches (N, most, 3 * side * side), which of them are there (N, most), and how many
            rows and columns of them there are (N, 2).
        """
        rows = torch.zeros(len(pictures), self.most, 3 * self.side**2)
        there = torch.zeros(len(pictures), self.most, dtype=torch.int32)
        shapes = torch.zeros(len(pictures), 2, dtype=torch.int64)
        for number, picture in enumerate(pictures):
            picture = picture.convert("RGB")
            down, across = self.grid(picture.height, picture.width)
            size = (across * self.side, down * self.side)
            if size != picture.size:
                picture = picture.resize(size, Images.Resampling(self.resample))
            values = _normalised(picture, self.mean, self.deviation)
            cut = values.reshape(3, down, self.side, across, self.side).permute(1, 3, 2, 4, 0)
            rows[number, : down * across] = cut.reshape(down * across, -1)
            there[number, : down * across] = 1
            shapes[number] = torch.tensor((down, across))
        return rows, there, shapes

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of patches: as many as may be, in the picture's proportions.

        The largest scale is found by halving, to the same 1e-5 as transformers finds it.
        """

        def scaled(scale: float) -> tuple[int, int]:
            down, across = (max(1, math.ceil(one * scale / self.side)) for one in (height, width))
            return down, across

        low, high = 1e-6, 100.0
        while high - low >= 1e-5:
            middle = (low + high) / 2
            down, across = scaled(middle)
            low, high = (middle, high) if down * across <= self.most else (low, middle)
        return scaled(low)


def _normalised(picture: Image, mean: tuple[float, ...], deviation: tuple[float, ...]) -> Tensor:
    values = torch.from_numpy(numpy.array(picture, dtype=numpy.float32)).permute(2, 0, 1) / 255
    columns = [torch.tensor(one, dtype=torch.float32)[:, None, None] for one in (mean, deviation)]
    return (values - columns[0]) / columns[1]


def _size(value: Any) -> tuple[int, int] | int:
    """A side, {"shortest_edge": side}, or {"height": ..., "width": ...}."""
    if isinstance(value, Mapping) and "shortest_edge" in value:
        return _positive(value["shortest_edge"])
    if isinstance(value, Mapping):
        return _pair(value)
    return _positive(value)


def _pair(value: Any) -> tuple[int, int]:
    """(width, height)."""
    if isinstance(value, Mapping):
        return _positive(value["width"]), _positive(value["height"])
    return _positive(value), _positive(value)


def _positive(value: Any) -> int:
    if int(value) < 1:
        raise ValueError(f"a side of {value} pixels")
    return int(value)


def _channels(values: Any) -> tuple[float, ...]:
    found = tuple(float(value) for value in values)
    if len(found) != 3 or not all(map(math.isfinite, found)):
        raise ValueError(f"{values} are not the values of three channels")
    return found
