"""The measures of emoji_quality.py: what each figure says, and how pictures are scored."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from emoji_classifier import BATCH, Guesses, fit
from sdcreative import Studio
from sdcreative.models.vae import decode_latents, encode_pictures
from sdcreative_plugins.train.pictures import BACKGROUNDS, Drawing, compose

PSNR_PICTURES = 64
CROP_SIDE = 32


@dataclass(frozen=True)
class Quality:
    """Reconstruction: mean PSNR in dB over so many pictures."""

    pictures: int
    psnr: float

    def __str__(self) -> str:
        return f"PSNR {self.psnr:.2f} dB"


@dataclass(frozen=True)
class Recognition:
    """Shares of pictures, in [0, 1], whose thing is the classifier's first or in its first five."""

    pictures: int
    top1: float
    top5: float

    def __str__(self) -> str:
        return f"top-1 {self.top1:7.1%}   top-5 {self.top5:7.1%}   of {self.pictures}"


@dataclass(frozen=True)
class Composition:
    """Shares of pictures with the asked background, with the thing in the first five, with both."""

    pictures: int
    background: float
    top5: float
    both: float

    def __str__(self) -> str:
        return (
            f"background {self.background:.1%}   thing in top-5 {self.top5:.1%}   "
            f"both {self.both:.1%}   of {self.pictures}"
        )


@dataclass(frozen=True)
class Distance:
    """Distance to the nearest training drawing: its median, and the share below a threshold."""

    pictures: int
    median: float
    threshold: float
    memorised: float

    def __str__(self) -> str:
        return f"median {self.median:.4f}   below {self.threshold:.4f}: {self.memorised:6.1%}"


Figure = Quality | Recognition | Composition | Distance


def composed(drawings: Sequence[Drawing], count: int, *, white: float = 1.0) -> Tensor:
    """Drawings in turn, placed on backgrounds at random, seed fixed: (count, 3, S, S)."""
    rng = np.random.default_rng(1)
    chosen = [drawings[i % len(drawings)] for i in range(count)]
    return torch.from_numpy(np.stack([compose(d, rng, white=white).pixels for d in chosen]))


def reconstruct(studio: Studio, pixels: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) sent through the model's autoencoder."""
    decoded = [
        decode_latents(studio.parts, encode_pictures(studio.parts, rows)).clamp(-1, 1).cpu()
        for rows in pixels.split(BATCH)
    ]
    return torch.cat(decoded)


def measure_autoencoder(studio: Studio, held_out: Sequence[Drawing]) -> Quality:
    """Mean PSNR over held-out drawings, on the very pictures that training measures it on."""
    count = max(PSNR_PICTURES, len(held_out))
    pixels = composed(held_out, count, white=0.5)
    error = ((reconstruct(studio, pixels) - pixels) / 2).square().mean(dim=(1, 2, 3))
    return Quality(count, float((-10 * error.clamp_min(1e-10).log10()).mean()))


def rate(guesses: Guesses, accepted: Sequence[Sequence[str]]) -> list[int]:
    """How right each is: 2 with an accepted name first, 1 with one among the first five, or 0."""
    return [
        (guess[0] in names) + any(name in guess for name in names)
        for guess, names in zip(guesses, accepted, strict=True)
    ]


def recognise(guesses: Guesses, accepted: Sequence[Sequence[str]]) -> Recognition:
    """How often one of the accepted names comes first, or among the first five."""
    marks = rate(guesses, accepted)
    count = len(marks)
    return Recognition(count, marks.count(2) / count, (count - marks.count(0)) / count)


def border(pixels: Tensor) -> Tensor:
    """The pixels along the edges of pictures (N, 3, S, S), as (N, 3, count)."""
    side = pixels.shape[-1]
    width = max(1, side // 32)
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[width:-width, width:-width] = True
    return pixels[:, :, ~inside]


def background_names(pixels: Tensor) -> list[str]:
    """The palette's colour that most pixels along the edges are nearest to, for each picture."""
    names = list(BACKGROUNDS)
    palette = torch.tensor(list(BACKGROUNDS.values())) / 127.5 - 1
    nearest = torch.cdist(border(pixels).transpose(1, 2), palette).argmin(dim=2)
    return [names[int(row.mode().values)] for row in nearest]


def judge_pairs(
    pixels: Tensor, guesses: Guesses, pairs: Sequence[tuple[str, str]]
) -> tuple[Composition, list[int]]:
    """Score pictures of the pairs; also how much of each is right: 2 both, 1 one, 0 neither."""
    found = zip(background_names(pixels), guesses, pairs, strict=True)
    rows = [(colour == asked, name in guess) for colour, guess, (name, asked) in found]
    count = len(rows)
    score = Composition(
        count,
        sum(background for background, _ in rows) / count,
        sum(thing for _, thing in rows) / count,
        sum(background and thing for background, thing in rows) / count,
    )
    return score, [background + thing for background, thing in rows]


def cropped(pixels: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) cut to a square around what differs from their background, on white.

    Makes distances blind to where, how large and on which colour a drawing was placed.
    """
    ground = border(pixels).median(dim=2).values[:, :, None, None]
    stands_out = (pixels - ground).abs().amax(dim=1) > 0.2
    on_white = torch.where(stands_out.unsqueeze(1), pixels, 1.0)
    crops = []
    for picture, mask in zip(on_white, stands_out, strict=True):
        rows, columns = (torch.nonzero(mask.any(dim=d)).flatten() for d in (1, 0))
        if len(rows):
            picture = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = picture.shape[-2:]
        side = max(height, width)
        top, left = (side - height) // 2, (side - width) // 2
        square = torch.ones(1, 3, side, side)
        square[0, :, top : top + height, left : left + width] = picture
        crops.append(fit(square, CROP_SIDE))
    return torch.cat(crops)


def nearest_distances(pixels: Tensor, drawings: Sequence[Drawing]) -> Tensor:
    """RMS distance (N,), in [0, 1], of each picture to the nearest drawing or its mirror image."""
    rgba = torch.from_numpy(np.stack([d.rgba for d in drawings])).permute(0, 3, 1, 2) / 255
    alpha = rgba[:, 3:]
    drawn = cropped((rgba[:, :3] * alpha + 1 - alpha) * 2 - 1)
    library = torch.cat([drawn, drawn.flip(3)]).flatten(1)
    queries = cropped(pixels).flatten(1)
    return torch.cdist(queries, library).amin(dim=1) / 2 / math.sqrt(queries.shape[1])


def summarise(distances: Tensor, threshold: float) -> Distance:
    below = float((distances < threshold).float().mean())
    return Distance(len(distances), float(distances.median()), threshold, below)
