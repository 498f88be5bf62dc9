"""From one picture to the start of the next: moved, colours kept, sharpened, grain added.

What Deforum's 2D mode does between two frames. A point of the picture is first shifted, then
turned and scaled about the centre, as there; the centre is that of the picture's area, so that a
zoom does not drift by half a pixel, and what is resampled is bicubic (Keys 1981).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import UsageError
from .shots import Border, ColourSpace, Follow, Motion

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.float32]
"""(height, width, 3), red, green and blue in [0, 1]."""

SHARPEN_SIGMA = 1.0
"""Of the unsharp mask's blur, in pixels."""
STRONGEST_MATCH = 4.0
"""A picture almost without contrast would else be matched by nothing but its rounding errors."""

# Linear sRGB to CIE XYZ (IEC 61966-2-1); white is D65, the sum of the three primaries.
_XYZ = np.array(
    [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]], np.float64
)
_WHITE = _XYZ.sum(axis=1)
_FROM_XYZ = np.linalg.inv(_XYZ)
_DELTA = 6 / 29


def followed(follow: Follow, before: Image, first: Image) -> Image:
    """The start picture of a shot that follows another; rounded to 8 bits once, at the end.

    Args:
        follow: what is done.
        before: RGB, the picture of the shot before.
        first: RGB, the film's first picture, whose colours are kept.

    Raises:
        UsageError: a motion that no picture can make.
    """
    pixels = _moved(_pixels(before), follow.motion)
    pixels = _matched(pixels, _pixels(first), follow.colours)
    pixels = _grained(_sharpened(pixels, follow.sharpen), follow.noise, follow.seed)
    return _picture(pixels)


def move(picture: Image, motion: Motion) -> Image:
    """An RGB picture moved within its frame; the picture's own values where nothing moves.

    With zoom z, angle a, shift s and centre c the point p comes to c + z R(a) (p + s - c): the
    shift counts in pixels of the picture as it was. Where it is made smaller, it is blurred first
    as much as needed against aliasing.

    Raises:
        UsageError: a zoom that is not above 0, or numbers that are not finite.
    """
    return _picture(_moved(_pixels(picture), motion))


def match_colours(picture: Image, reference: Image, space: ColourSpace) -> Image:
    """An RGB picture with the means and deviations of another in every channel.

    Reinhard, Ashikhmin, Gooch, Shirley, "Color transfer between images" (2001), in CIELAB or in
    RGB itself. Contrast grows or falls by no more than ``STRONGEST_MATCH``; what then lies
    outside of sRGB is clipped.
    """
    return _picture(_matched(_pixels(picture), _pixels(reference), space))


def sharpen(picture: Image, amount: float) -> Image:
    """An RGB picture plus ``amount`` times what a Gaussian of one pixel blurs away."""
    return _picture(_sharpened(_pixels(picture), amount))


def grain(picture: Image, amount: float, seed: int) -> Image:
    """An RGB picture plus normal noise, another in each channel.

    Args:
        picture: RGB.
        amount: standard deviation, of values in [0, 1].
        seed: at least 0.
    """
    return _picture(_grained(_pixels(picture), amount, seed))


def rgb_to_lab(pixels: Pixels) -> Pixels:
    """sRGB in [0, 1] to CIELAB with white D65: L in [0, 100], a and b about [-128, 127]."""
    rgb = pixels.astype(np.float64)
    # Bicubic sampling gives values a little below 0, of which there is no such power.
    curved = ((np.maximum(rgb, 0) + 0.055) / 1.055) ** 2.4
    linear = np.where(rgb <= 0.04045, rgb / 12.92, curved)
    xyz = linear @ _XYZ.T / _WHITE
    f = np.where(xyz > _DELTA**3, np.cbrt(xyz), xyz / (3 * _DELTA**2) + 4 / 29)
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    lab = np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)
    return np.asarray(lab, np.float32)


def lab_to_rgb(lab: Pixels) -> Pixels:
    """CIELAB to sRGB in [0, 1]; colours that sRGB does not have are clipped."""
    y = (lab[..., 0].astype(np.float64) + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], axis=-1)
    xyz = np.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29)) * _WHITE
    linear = np.clip(xyz @ _FROM_XYZ.T, 0.0, 1.0)
    rgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.asarray(rgb, np.float32)


def _pixels(picture: Image) -> Pixels:
    return np.asarray(np.asarray(picture.convert("RGB")) / 255, np.float32)


def _picture(pixels: Pixels) -> Image:
    from PIL import Image

    return Image.fromarray(np.rint(np.clip(pixels, 0, 1) * np.float32(255)).astype(np.uint8))


def _moved(pixels: Pixels, motion: Motion) -> Pixels:
    numbers = (motion.zoom, motion.angle, *motion.shift, *motion.centre)
    if not (all(map(math.isfinite, numbers)) and motion.zoom > 0):
        raise UsageError(f"no picture moves by {motion}; give finite numbers, and a zoom above 0")
    if motion.zoom == 1 and motion.angle % 360 == 0 and not any(motion.shift):
        return pixels
    if motion.zoom < 1:
        # A Gaussian this wide and that of a pixel make one as wide as a pixel of the result.
        pixels = _blurred(pixels, 0.5 * math.sqrt(motion.zoom**-2 - 1), motion.border)
    height, width = pixels.shape[:2]
    centre_x, centre_y = width * motion.centre[0] - 0.5, height * motion.centre[1] - 0.5
    along = math.cos(math.radians(motion.angle)) / motion.zoom
    across = math.sin(math.radians(motion.angle)) / motion.zoom
    x = np.arange(width) - centre_x
    y = (np.arange(height) - centre_y)[:, None]
    source_x = along * x - across * y + (centre_x - motion.shift[0])
    source_y = across * x + along * y + (centre_y - motion.shift[1])
    return _sampled(pixels, source_x, source_y, motion.border)


def _sampled(pixels: Pixels, x: NDArray[Any], y: NDArray[Any], border: Border) -> Pixels:
    """Values at places in pixels, each (height, width), from the 4 x 4 pixels around them.

    Cubic convolution with a = -1/2: R. Keys, "Cubic convolution interpolation for digital image
    processing" (1981), equation 15.
    """
    left, top = np.floor(x), np.floor(y)
    weights_x, weights_y = _cubic(x - left), _cubic(y - top)
    columns = [_within(left.astype(np.int64) + k, pixels.shape[1], border) for k in range(-1, 3)]
    result = np.zeros(pixels.shape, np.float32)
    for j in range(4):
        rows = _within(top.astype(np.int64) + (j - 1), pixels.shape[0], border)
        line = np.zeros(pixels.shape, np.float32)
        for column, weight in zip(columns, weights_x, strict=True):
            line += weight[..., None] * pixels[rows, column]
        result += weights_y[j][..., None] * line
    return result


def _cubic(t: NDArray[Any]) -> list[NDArray[np.float32]]:
    """Weights of the pixels at -1, 0, 1 and 2 for places t in [0, 1) between 0 and 1."""
    weights = (
        ((-0.5 * t + 1) * t - 0.5) * t,
        (1.5 * t - 2.5) * t * t + 1,
        ((-1.5 * t + 2) * t + 0.5) * t,
        (0.5 * t - 0.5) * t * t,
    )
    return [weight.astype(np.float32) for weight in weights]


def _within(index: NDArray[np.int64], size: int, border: Border) -> NDArray[np.int64]:
    """Indexes of the pixels that stand for those beyond the edge; a mirror doubles the edge's."""
    if border == "wrap":
        within = index % size
    elif border == "replicate":
        within = np.clip(index, 0, size - 1)
    else:
        within = index % (2 * size)
        within = np.minimum(within, 2 * size - 1 - within)
    return within


def _blurred(pixels: Pixels, sigma: float, border: Border) -> Pixels:
    """A Gaussian blur, rows and columns in turn."""
    radius = math.ceil(4 * sigma)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    for axis in (0, 1):
        size = pixels.shape[axis]
        result = np.zeros_like(pixels)
        for offset, weight in zip(range(-radius, radius + 1), weights, strict=True):
            indexes = _within(np.arange(size) + offset, size, border)
            result += weight * np.take(pixels, indexes, axis)
        pixels = result
    return pixels


def _matched(pixels: Pixels, reference: Pixels, space: ColourSpace) -> Pixels:
    if space == "none":
        return pixels
    if space == "lab":
        pixels, reference = rgb_to_lab(pixels), rgb_to_lab(reference)
    mean, deviation = _statistics(pixels)
    wanted_mean, wanted_deviation = _statistics(reference)
    ratio = wanted_deviation / np.maximum(deviation, np.finfo(np.float64).tiny)
    ratio = np.clip(ratio, 1 / STRONGEST_MATCH, STRONGEST_MATCH)
    result: Pixels = ((pixels - mean) * ratio + wanted_mean).astype(np.float32)
    return lab_to_rgb(result) if space == "lab" else result


def _statistics(pixels: Pixels) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of every channel, (3,) each."""
    flat = pixels.reshape(-1, 3).astype(np.float64)
    return flat.mean(axis=0), flat.std(axis=0)


def _sharpened(pixels: Pixels, amount: float) -> Pixels:
    if amount == 0:
        return pixels
    blurred = _blurred(pixels, SHARPEN_SIGMA, "reflect")
    return np.asarray(pixels + amount * (pixels - blurred), np.float32)


def _grained(pixels: Pixels, amount: float, seed: int) -> Pixels:
    if amount == 0:
        return pixels
    noise = torch.randn(pixels.shape, generator=torch.Generator().manual_seed(seed))
    return np.asarray(pixels + amount * noise.numpy(), np.float32)
