"""The second pass in a larger size: what it begins from."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from math import gcd
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ..core.large import Upscale
from ..core.noise import blend_noise, draw_noise, mix_noise
from ..core.sampling import initial_latents
from ..core.shots import Inversion, Mixture, Noise
from ..errors import UsageError
from ..models.parts import Parts
from ..models.scheduling import Flight
from ..models.vae import decode_latents, encode_pictures, to_pictures, to_pixels
from ..processors.upscale import PACKAGES

_LATENT_MODES = {
    "latent": ("bicubic", True),
    "latent-bicubic": ("bicubic", False),
    "latent-bilinear": ("bilinear", False),
    "latent-nearest": ("nearest-exact", False),
}
"""torch's mode, and whether it is antialiased, which for bicubic is another kernel (a = -0.5, not
-0.75). In AUTOMATIC1111 they are Latent (bicubic antialiased), Latent (bicubic), Latent (which
antialiasing does not change when enlarging) and Latent (nearest-exact)."""
_REACH = {"latent": 4, "image": 8, "realesrgan": 48}
"""places over the edge that a seamless picture goes on for while it is enlarged"""


def second_flight(
    parts: Parts,
    latents: Tensor,
    size: tuple[int, int],
    upscale: Upscale,
    wanted: Sequence[Noise | Mixture],
    sampler: Any,
    start: int,
    axes: str = "",
) -> Flight:
    """Pictures on their way through the second pass, noised as far as its first step asks for.

    SDEdit (Meng et al. 2022) of the enlarged first pass. The noise is the shots' own, drawn for
    the larger size, so that a walk from seed to seed is one here too.

    Args:
        parts: the model.
        latents: of the first pass, (N, C, h, w).
        size: (width, height) of the second pass in pixels.
        upscale: how they are enlarged.
        wanted: the N shots' noise.
        sampler: fresh, with the steps of the second pass.
        start: the step to begin at, counted from 0.
        axes: "x", "y" or "xy" for pictures that go on at their other edge.
    """
    clean = enlarged(parts, latents, size, upscale, axes)
    noise, generators = noise_for(wanted, tuple(clean.shape[1:]))
    begun = initial_latents(sampler, noise.to(clean.device), clean, start)
    return Flight(begun, sampler, generators)


def enlarged(
    parts: Parts, latents: Tensor, size: tuple[int, int], upscale: Upscale, axes: str = ""
) -> Tensor:
    """Clean latents (N, C, H, W) of a larger size; the arguments are those of ``second_flight``."""
    width, height = size
    if upscale in _LATENT_MODES:
        factor = parts.downsampling
        return enlarge_latents(latents, (height // factor, width // factor), upscale, axes)
    # Tiles would wrap around each for itself.
    tile = False if axes else None
    pictures = to_pictures(decode_latents(parts, latents, tile=tile))
    large = enlarge_pictures(pictures, size, upscale, axes)
    rows = [encode_pictures(parts, to_pixels([one]).to(parts.device), tile=tile) for one in large]
    return torch.cat(rows)


def enlarge_latents(
    latents: Tensor, size: tuple[int, int], upscale: Upscale, axes: str = ""
) -> Tensor:
    """Latents (N, C, h, w) resampled to (N, C, H, W), float32.

    Args:
        latents: of any pictures.
        size: (H, W).
        upscale: one of those that begin with latent.
        axes: along which they go on at their other edge.
    """
    mode, antialias = _LATENT_MODES[upscale]
    height, width = latents.shape[-2:]
    (above, top), (beside, left) = _margins((height, width), size, "latent", axes)
    ys, xs = _around(height, above), _around(width, beside)
    around = latents.float()[..., ys.to(latents.device)[:, None], xs.to(latents.device)]
    large = torch.nn.functional.interpolate(
        around, (size[0] + 2 * top, size[1] + 2 * left), mode=mode, antialias=antialias
    )
    return large[..., top : top + size[0], left : left + size[1]]


def enlarge_pictures(
    pictures: Sequence[Image.Image], size: tuple[int, int], upscale: Upscale, axes: str = ""
) -> list[Image.Image]:
    """RGB pictures of one size in a larger one, by Lanczos resampling or Real-ESRGAN.

    A network enlarges by 2, 3 or 4; its picture is brought to the size by Lanczos resampling.

    Args:
        pictures: at least one.
        size: (width, height).
        upscale: image, or one of those that begin with realesrgan.
        axes: along which they go on at their other edge.

    Raises:
        UsageError: as ``check_upscale``.
        ModelError: the network's weights are damaged.
    """
    check_upscale(upscale)
    kind, _, network = upscale.partition("-")
    width, height = pictures[0].size
    (above, top), (beside, left) = _margins((height, width), size[::-1], kind, axes)
    whole = size[0] + 2 * left, size[1] + 2 * top
    around = [_rolled(picture, beside, above) for picture in pictures]
    if kind == "realesrgan":
        from ..processors.realesrgan import Enlarger

        factor = min(4, max(2, -(-size[0] // width)))
        enlarger = Enlarger(network, factor)
        around = [enlarger.enlarge(picture) for picture in around]
    large = [picture.resize(whole, Image.Resampling.LANCZOS) for picture in around]
    return [one.crop((left, top, left + size[0], top + size[1])) for one in large]


def check_upscale(upscale: Upscale) -> None:
    """Say before anything is rendered that packages are missing.

    Raises:
        UsageError: naming them.
    """
    missing = [package for module, package in PACKAGES.items() if not find_spec(module)]
    if upscale.startswith("realesrgan") and missing:
        raise UsageError(
            f"hires: {upscale} needs the package{'s' if missing[1:] else ''} "
            f"{' and '.join(missing)}: pip install 'sdcreative[upscale]'; or use upscale image"
        )


def noise_for(
    wanted: Sequence[Noise | Mixture], shape: tuple[int, ...]
) -> tuple[Tensor, tuple[torch.Generator, ...]]:
    """The noise of shots for another size, (N, *shape) on the CPU, and generators that go on.

    An inverted picture has noise of its own size only; seed 0 stands for it.

    Args:
        wanted: what the shots begin from.
        shape: (C, H, W) of the latents.
    """
    rows, generators = [], []
    for noise in wanted:
        if isinstance(noise, Mixture):
            seed, row = noise.terms[0][0], mix_noise(noise.terms, shape)
        else:
            seed, end = _seed(noise.start), noise.end
            row = draw_noise(seed, shape)
            if end is not None and _seed(end) != seed:
                row = blend_noise(row, draw_noise(_seed(end), shape), noise.t)
                seed = seed if noise.t < 1 else _seed(end)
        generator = torch.Generator().manual_seed(seed)
        torch.randn(shape, generator=generator)
        rows.append(row)
        generators.append(generator)
    return torch.stack(rows), tuple(generators)


def _seed(end: int | Inversion) -> int:
    return 0 if isinstance(end, Inversion) else end


def _margins(
    small: tuple[int, int], large: tuple[int, int], kind: str, axes: str
) -> list[tuple[int, int]]:
    """For height and width: places to put around, and as many as become of them."""
    found = []
    for axis, length, wanted in zip("yx", small, large, strict=True):
        # Of so many, a whole number comes out.
        unit = length // gcd(length, wanted)
        around = -(-_REACH[kind] // unit) * unit if axis in axes else 0
        found.append((around, around * wanted // length))
    return found


def _around(length: int, around: int) -> Tensor:
    return torch.arange(-around, length + around) % length


def _rolled(picture: Image.Image, beside: int, above: int) -> Image.Image:
    """A picture with what comes over its edges put around it."""
    if not beside and not above:
        return picture
    width, height = picture.size
    large = Image.new("RGB", (width + 2 * beside, height + 2 * above))
    for top in range(above % height - height, large.height, height):
        for left in range(beside % width - width, large.width, width):
            large.paste(picture, (left, top))
    return large
