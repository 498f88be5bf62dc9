"""How far apart two pictures are: distances by name, for retiming and for checking films.

Every distance is of first degree: on a straight way, half of it is half as far. Only such distances
add up to a length that does not depend on how finely it is measured. What is by nature a square
(1 - SSIM, 1 - cosine, LPIPS) is therefore given as its root or its angle.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import PluginError, UsageError

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from .studio import Studio

Metric = Callable[[Sequence["Image"]], list[float]]
"""N pictures of one size, N at least 1 -> the N - 1 distances of neighbours, each at least 0."""
Factory = Callable[["Studio | None"], Metric]

WINDOW, DEVIATION = 11, 1.5
"""side and standard deviation, in pixels, of the Gaussian window of SSIM"""
PORTION = 16
"""pictures held at once while a film is measured"""


def find_metric(name: str, studio: Studio | None = None) -> Metric:
    """The distance of that name.

    Args:
        name: a key of ``METRICS``.
        studio: the model that some of them measure with; None where there is none.

    Raises:
        UsageError: no such name, or a distance that lacks what it needs. The distance itself
            raises it for pictures that differ in size or that it cannot take, and PluginError
            where a plugin's distance gives nonsense.
    """
    metric = METRICS[check_metric(name)](studio)

    def checked(pictures: Sequence[Image]) -> list[float]:
        sizes = {picture.size for picture in pictures}
        if len(sizes) > 1:
            a, b = sorted(sizes)[:2]
            raise UsageError(
                f"cannot compare pictures of {a[0]}x{a[1]} and {b[0]}x{b[1]} pixels; "
                "scale them to one size"
            )
        distances = [float(distance) for distance in metric(pictures)]
        if len(distances) != len(pictures) - 1:
            raise PluginError(
                f"metric {name!r} gave {len(distances)} distances for {len(pictures)} pictures; "
                f"{len(pictures) - 1} were due"
            )
        for distance in distances:
            if not (math.isfinite(distance) and distance >= 0):
                raise PluginError(f"metric {name!r} gave {distance}; a number from 0 up was due")
        return distances

    return checked


def check_metric(name: str) -> str:
    """The name itself, if there is such a distance; needs no model.

    Raises:
        UsageError: there is none.
    """
    if name in METRICS:
        return name
    close = difflib.get_close_matches(name, METRICS, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"choose from {', '.join(METRICS)}"
    raise UsageError(f"no metric is called {name!r}; {hint}")


def along(pictures: Iterable[Image], metric: Metric) -> Iterator[float]:
    """Distances of all neighbours, as the pictures come; at most ``PORTION`` are held."""
    upcoming = iter(pictures)
    held = list(islice(upcoming, 1))
    while fresh := list(islice(upcoming, PORTION - 1)):
        yield from metric([*held, *fresh])
        held = fresh[-1:]


def structural_similarity(a: Tensor, b: Tensor) -> Tensor:
    """Mean SSIM of pictures, over all places of an 11x11 Gaussian window that fit inside.

    Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error
    visibility to structural similarity", IEEE Transactions on Image Processing 13 (2004), equation
    13, with its K1 = 0.01, K2 = 0.03 and sigma = 1.5; channels are averaged.

    Args:
        a: (N, C, H, W) in [0, 1], floating point; H and W at least 11.
        b: likewise.

    Returns:
        (N,), in [-1, 1]; exactly 1 for equal pictures.

    Raises:
        UsageError: pictures smaller than the window.
    """
    import torch
    from torch.nn.functional import conv2d

    if min(a.shape[-2:]) < WINDOW:
        height, width = a.shape[-2:]
        raise UsageError(
            f"ssim needs pictures of at least {WINDOW}x{WINDOW} pixels, not {width}x{height}; "
            "use pixel"
        )
    offsets = torch.arange(WINDOW, dtype=a.dtype, device=a.device) - WINDOW // 2
    bell = torch.exp(-(offsets**2) / (2 * DEVIATION**2))
    bell = bell / bell.sum()

    def mean(x: Tensor) -> Tensor:
        planes = x.flatten(0, 1)[:, None]
        rows = conv2d(planes, bell.reshape(1, 1, 1, -1))
        return conv2d(rows, bell.reshape(1, 1, -1, 1))

    mean_a, mean_b = mean(a), mean(b)
    spread_a, spread_b = mean(a * a) - mean_a * mean_a, mean(b * b) - mean_b * mean_b
    shared = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_a * mean_b + c1) * (2 * shared + c2)
    likeness = likeness / ((mean_a * mean_a + mean_b * mean_b + c1) * (spread_a + spread_b + c2))
    return likeness.reshape(*a.shape[:2], -1).mean(dim=(1, 2))


def _pixel(studio: Studio | None) -> Metric:
    """Root mean square of the pixels' differences, in [0, 1]."""
    import numpy

    def distances(pictures: Sequence[Image]) -> list[float]:
        rows = (numpy.asarray(picture.convert("RGB"), numpy.float32) for picture in pictures)
        found, before = [], next(rows)
        for row in rows:
            found.append(float(numpy.sqrt(numpy.square(row - before).mean())) / 255)
            before = row
        return found

    return distances


def _ssim(studio: Studio | None) -> Metric:
    """sqrt(1 - SSIM), in [0, sqrt(2)].

    The root is what behaves as a distance: D. Brunet, E. R. Vrscay, Z. Wang, "On the mathematical
    properties of the structural similarity index", IEEE Transactions on Image Processing 21 (2012).
    """

    def distances(pictures: Sequence[Image]) -> list[float]:
        # Differences of nearly equal numbers; the root would show their rounding in float32.
        rows = _pixels(pictures).double() / 2 + 0.5
        likeness = structural_similarity(rows[:-1], rows[1:]) if len(rows) > 1 else rows[:0]
        return [math.sqrt(max(0.0, 1.0 - value)) for value in likeness.tolist()]

    return distances


def _latent(studio: Studio | None) -> Metric:
    """Root mean square of the differences of the latents, which have about unit variance."""
    parts = _model("latent", studio).parts

    def distances(pictures: Sequence[Image]) -> list[float]:
        from .models.sizes import fit_size
        from .models.vae import encode_pictures

        fit_size(pictures[0].size, parts.sample_size, parts.downsampling)
        latents = encode_pictures(parts, _pixels(pictures).to(parts.device)).flatten(1)
        return [float(d) for d in (latents[1:] - latents[:-1]).square().mean(dim=1).sqrt()]

    return distances


def _clip(studio: Studio | None) -> Metric:
    """Angle between the embeddings of a CLIP's picture tower, in radians, in [0, pi].

    It is the model's own CLIP where its folder has one as ``clip/``, else the built-in pair, which
    knows animals and food.
    """
    from .models.clip.loading import DEFAULT, PAIR, load_pair

    name, device = DEFAULT, "auto"
    if studio is not None:
        device = str(studio.parts.device)
        own = Path(studio.parts.tokenizer.name_or_path).parent / PAIR
        name = str(own) if (own / "config.json").is_file() else DEFAULT
    pair = load_pair(name, device=device)

    def distances(pictures: Sequence[Image]) -> list[float]:
        vectors = pair.pictures(pictures).double()
        # The arc cosine of a number near 1 would lose half of its digits.
        chords = (vectors[1:] - vectors[:-1]).norm(dim=-1)
        return [2 * math.asin(min(1.0, float(chord) / 2)) for chord in chords]

    return distances


def _lpips(studio: Studio | None) -> Metric:
    """Root of LPIPS with AlexNet.

    R. Zhang, P. Isola, A. A. Efros, E. Shechtman, O. Wang, "The unreasonable effectiveness of deep
    features as a perceptual metric", CVPR 2018.
    """
    missing = [name for name in ("lpips", "torchvision") if not importlib.util.find_spec(name)]
    if missing:
        raise UsageError(
            f"metric 'lpips' needs the package {missing[0]}: pip install lpips; "
            "or use latent, ssim or pixel"
        )
    import torch

    url = importlib.import_module("torchvision.models").AlexNet_Weights.IMAGENET1K_V1.url
    weights = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not weights.is_file():
        raise UsageError(
            f"metric 'lpips' needs {weights}, which is not fetched by itself; "
            f"get it from {url}, or use latent, ssim or pixel"
        )
    device = studio.parts.device if studio else torch.device("cpu")
    network: Any = importlib.import_module("lpips").LPIPS(net="alex", verbose=False).to(device)

    def distances(pictures: Sequence[Image]) -> list[float]:
        rows = _pixels(pictures).to(device)
        with torch.inference_mode():
            values = network(rows[:-1], rows[1:]) if len(rows) > 1 else rows[:0]
        return [math.sqrt(max(0.0, value)) for value in values.flatten().tolist()]

    return distances


def _pixels(pictures: Sequence[Image]) -> Tensor:
    """(N, 3, H, W) in [-1, 1]."""
    from .models.vae import to_pixels

    return to_pixels([picture.convert("RGB") for picture in pictures])


def _model(name: str, studio: Studio | None) -> Studio:
    if studio is None:
        raise UsageError(f"metric {name!r} measures with a model, and none is loaded; use pixel")
    return studio


METRICS: dict[str, Factory] = {
    "latent": _latent,
    "ssim": _ssim,
    "pixel": _pixel,
    "clip": _clip,
    "lpips": _lpips,
}
"""By name; each makes its distance once it is given the model, or None where there is none."""
