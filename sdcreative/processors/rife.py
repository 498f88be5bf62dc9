"""RIFE: pictures between two others, by the flow from the one sought to each of them.

Z. Huang, T. Zhang, W. Heng, B. Shi, S. Zhou, "Real-time intermediate flow estimation for video
frame interpolation", ECCV 2022, in the form of the published weights 4.5 and 4.6, which take any
place in time: four stages see the pictures at 1/8, 1/4, 1/2 and 1/1 of their size; each corrects
the flows and the mask of the one before, and is shown the pictures warped by these.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from ..errors import ModelError
from ..models.placement import pick_device

SHRINKS = (8, 4, 2, 1)
"""of the stages; the convolutions inside of each make it another 4 times smaller"""
MULTIPLE = 4 * SHRINKS[0]
"""sizes are padded to multiples of this"""
RESIDUALS = 8
SLOPE = 0.2
"""of the leaky ReLUs"""
SEEN, MORE = 7, 5
"""channels that a stage gets: both pictures and the place in time; then the mask and two flows"""

Weights = Mapping[str, Tensor]

# What torch raises for broken files, beside UnpicklingError.
_DAMAGED = (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile)


class Interpolator:
    """Weights that are loaded once for all pictures.

    Args:
        path: ``flownet.pkl`` or the same as ``.safetensors``.
        device: auto, cpu, mps, cuda or cuda:1.

    Raises:
        ModelError: the file cannot be read or trusted, or is something else.
        UsageError: there is no such device.
    """

    def __init__(self, path: Path, device: str = "auto") -> None:
        self._device = pick_device(device)
        weights = check_weights(read_weights(path), path)
        self._weights = {key: value.to(self._device) for key, value in weights.items()}

    def between(
        self, before: Image.Image, after: Image.Image, places: Sequence[float]
    ) -> Iterator[Image.Image]:
        """A picture for every place, each in (0, 1), on the way from one RGB picture to another."""
        width, height = before.size
        with torch.inference_mode():
            a, b = (_padded(_tensor(picture).to(self._device)) for picture in (before, after))
        for place in places:
            with torch.inference_mode():
                found = interpolate(self._weights, a, b, place)[0, :, :height, :width]
                levels = (found.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu()
            yield Image.fromarray(levels.contiguous().numpy())


def interpolate(weights: Weights, before: Tensor, after: Tensor, place: float) -> Tensor:
    """The picture at a place in time between two others.

    Args:
        weights: as from ``check_weights``.
        before: (1, 3, H, W) in [0, 1]; H and W multiples of ``MULTIPLE``.
        after: likewise.
        place: in [0, 1], 0 where ``before`` is.

    Returns:
        (1, 3, H, W).
    """
    time = torch.full_like(before[:, :1], place)
    seen = torch.cat([before, after, time], dim=1)
    flows, mask = _stage(weights, 0, seen, None)
    for stage in range(1, len(SHRINKS)):
        warped = [_warped(before, flows[:, :2]), _warped(after, flows[:, 2:])]
        seen = torch.cat([*warped, time, mask], dim=1)
        more_flows, more_mask = _stage(weights, stage, seen, flows)
        flows, mask = flows + more_flows, mask + more_mask
    share = torch.sigmoid(mask)
    return _warped(before, flows[:, :2]) * share + _warped(after, flows[:, 2:]) * (1 - share)


def _stage(
    weights: Weights, number: int, seen: Tensor, flows: Tensor | None
) -> tuple[Tensor, Tensor]:
    """What one stage adds to the flows (1, 4, H, W), in pixels, and to the mask (1, 1, H, W)."""
    name, shrink = f"block{number}", SHRINKS[number]
    x = _scaled(seen, 1 / shrink)
    if flows is not None:
        x = torch.cat([x, _scaled(flows, 1 / shrink) / shrink], dim=1)
    for layer in ("conv0.0.0", "conv0.1.0"):
        x = functional.leaky_relu(_convolved(weights, f"{name}.{layer}", x, stride=2), SLOPE)
    for index in range(RESIDUALS):
        layer = f"{name}.convblock.{index}"
        inner = _convolved(weights, f"{layer}.conv", x) * weights[f"{layer}.beta"]
        x = functional.leaky_relu(inner + x, SLOPE)
    layer = f"{name}.lastconv.0"
    x = functional.conv_transpose2d(
        x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], stride=2, padding=1
    )
    x = _scaled(functional.pixel_shuffle(x, 2), shrink)
    return x[:, :4] * shrink, x[:, 4:5]


def _convolved(weights: Weights, layer: str, x: Tensor, stride: int = 1) -> Tensor:
    kernel, bias = weights[f"{layer}.weight"], weights[f"{layer}.bias"]
    return functional.conv2d(x, kernel, bias, stride=stride, padding=1)


def _scaled(x: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return x
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _warped(picture: Tensor, flow: Tensor) -> Tensor:
    """At every place the picture's colour as far off as the flow (1, 2, H, W) says, in pixels."""
    height, width = picture.shape[-2:]
    x = torch.arange(width, dtype=flow.dtype, device=flow.device) + flow[:, 0]
    y = torch.arange(height, dtype=flow.dtype, device=flow.device)[:, None] + flow[:, 1]
    grid = torch.stack([2 * x / (width - 1) - 1, 2 * y / (height - 1) - 1], dim=-1)
    return functional.grid_sample(
        picture, grid, mode="bilinear", padding_mode="border", align_corners=True
    )


def _tensor(picture: Image.Image) -> Tensor:
    pixels = torch.from_numpy(numpy.array(picture.convert("RGB")))
    return pixels.permute(2, 0, 1)[None].float() / 255


def _padded(x: Tensor) -> Tensor:
    """The last row and column repeated, so that nothing dark moves in from the rim."""
    height, width = x.shape[-2:]
    right, below = -width % MULTIPLE, -height % MULTIPLE
    return functional.pad(x, (0, right, 0, below), mode="replicate")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors by name, float32. Of a pickle nothing is run; a TorchScript program is refused.

    Raises:
        ModelError: unreadable, damaged, or with something else than tensors in it.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    name = f"interpolate: {path}"
    try:
        if path.suffix == ".safetensors":
            state: object = load_file(path)
        elif _is_program(path):
            raise ModelError(
                f"{name} is a TorchScript program, and programs from files are not run; "
                "give the weights of RIFE 4.6"
            )
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(f"{name} is no file of weights, or would run code; refused") from None
    except (*_DAMAGED, SafetensorError) as error:
        raise ModelError(f"{name} is damaged or no file of weights ({error})") from None
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise ModelError(f"{name} is not a table of tensors")
    return {str(key).removeprefix("module."): value.float() for key, value in state.items()}


def _is_program(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def check_weights(weights: Weights, path: Path) -> Weights:
    """The weights of the four stages, if they are those of RIFE 4.5 or 4.6, of any width.

    What training alone needs, such as the teacher's stage, is left out.

    Raises:
        ModelError: of another version, or of another network; says what was missed.
    """
    stages = sorted({key.partition(".")[0] for key in weights if key.startswith("block")})
    due = {f"block{number}" for number in range(len(SHRINKS))}
    fault = None
    if not due <= set(stages):
        fault = "it lacks block0 to block3"
    elif "encode.0.weight" in weights or any(s[5:].isdigit() for s in set(stages) - due):
        fault = "it has parts that came with 4.7 or later"
    elif "block0.convblock.0.0.weight" in weights:
        fault = "it is of 4.4 or earlier"
    else:
        kept = {key: value for key, value in weights.items() if key.partition(".")[0] in due}
        shapes = {key: tuple(value.shape) for key, value in kept.items()}
        expected = _shapes(shapes)
        wrong = [key for key in {**expected, **shapes} if shapes.get(key) != expected.get(key)]
        if not wrong:
            return kept
        key = min(wrong)
        fault = f"{key} is {shapes.get(key, 'missing')}, expected {expected.get(key, 'none')}"
    raise ModelError(
        f"interpolate: {path} is not RIFE 4.5 or 4.6: {fault}; get flownet.pkl of version 4.6"
    )


def _shapes(found: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Of all weights, where every stage is as wide as its second convolution is."""
    expected: dict[str, tuple[int, ...]] = {}
    for number in range(len(SHRINKS)):
        name = f"block{number}"
        width = found.get(f"{name}.conv0.1.0.weight", (0,))[0]
        last = found.get(f"{name}.lastconv.0.bias", (0,))[0]
        # Version 4.5 has no sixth channel, which 4.6 does not use either.
        last = last if last in (20, 24) else 24
        seen = SEEN + (MORE if number else 0)
        layers = {
            "conv0.0.0": (width // 2, seen, 3, 3),
            "conv0.1.0": (width, width // 2, 3, 3),
            **{f"convblock.{i}.conv": (width, width, 3, 3) for i in range(RESIDUALS)},
        }
        for layer, shape in layers.items():
            expected[f"{name}.{layer}.weight"] = shape
            expected[f"{name}.{layer}.bias"] = shape[:1]
        for index in range(RESIDUALS):
            expected[f"{name}.convblock.{index}.beta"] = (1, width, 1, 1)
        expected[f"{name}.lastconv.0.weight"] = (width, last, 4, 4)
        expected[f"{name}.lastconv.0.bias"] = (last,)
    return expected
