"""Pictures in their buckets as latents, encoded once and then read from disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from sdcreative import DataError
from sdcreative.models.vae import encode_pictures

from .buckets import Placement
from .examples import Example
from .store import Store

TOLD_EVERY = 100


class Latents:
    """Latents of examples, by their place; float16 on disk, mapped."""

    def __init__(
        self, examples: Sequence[Example], placements: Sequence[Placement], store: Store
    ) -> None:
        self.examples, self.placements, self.store = examples, placements, store
        self._rows: dict[int, np.ndarray] = {}

    def prepare(self, parts: Any, report: Callable[[str], None]) -> int:
        """Encode what is not there yet; returns how many that were.

        Raises:
            DataError: a picture that was there is gone.
            RenderError: the autoencoder gives NaN.
        """
        made = 0
        for place in range(len(self.examples)):
            if self.store.get(self._key(place)) is not None:
                continue
            pixels = self.pixels(place).to(parts.device)
            encoded = encode_pictures(parts, pixels)[0].half().cpu().numpy()
            self.store.put(self._key(place), encoded)
            made += 1
            if made % TOLD_EVERY == 0:
                report(f"latents: {place + 1} of {len(self.examples)}")
        return made

    def pixels(self, place: int) -> Tensor:
        """A picture in its bucket, (1, 3, height, width) in [-1, 1]."""
        picture = fit(self.examples[place].open(), self.placements[place])
        array = np.asarray(picture, dtype=np.float32) / 127.5 - 1
        return torch.from_numpy(array.transpose(2, 0, 1)[None].copy())

    def stack(self, places: Sequence[int]) -> Tensor:
        """Latents (N, C, h, w), float32, of places in one bucket."""
        return torch.from_numpy(np.stack([self._row(place) for place in places])).float()

    def sizes(self, places: Sequence[int]) -> Tensor:
        """(N, 6): what SDXL is told of sizes and crops."""
        return torch.tensor([self.placements[place].conditioning for place in places])

    def _row(self, place: int) -> np.ndarray:
        if place not in self._rows:
            row = self.store.get(self._key(place))
            if row is None:
                raise DataError(
                    f"latents of {self.examples[place].name} are gone from {self.store.folder}; "
                    "run the same command again"
                )
            self._rows[place] = row
        return self._rows[place]

    def _key(self, place: int) -> str:
        width, height = self.placements[place].bucket
        return f"{self.examples[place].digest[:32]}-{width}x{height}"


def fit(picture: Image.Image, placement: Placement) -> Image.Image:
    """A picture scaled and cut as its placement says."""
    if picture.size != placement.scaled:
        picture = picture.resize(placement.scaled, Image.Resampling.LANCZOS)
    left, top = placement.left, placement.top
    width, height = placement.bucket
    return picture.crop((left, top, left + width, top + height))
