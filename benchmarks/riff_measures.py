"""The measures of riff_quality.py: what each figure says, and how pictures are scored."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from emoji_measures import Distance

TOLERANCE = 1.04
"""the ratio up to which two tempi are the same"""
LOOK = (24, 64)
"""bands and columns that clips are shrunk to before they are compared"""


@dataclass(frozen=True)
class Reconstruction:
    """Of the autoencoder: mean PSNR of the pictures, and mean spectral error, both in dB."""

    pictures: int
    psnr: float
    spectral: float

    def __str__(self) -> str:
        return f"PSNR {self.psnr:.2f} dB   spectral error {self.spectral:.2f} dB   {_of(self)}"


@dataclass(frozen=True)
class Share:
    """Share of pictures that are what was asked for, and of those asked for something else."""

    pictures: int
    right: float
    chance: float

    def __str__(self) -> str:
        return f"{self.right:7.1%}   chance {self.chance:6.1%}   {_of(self)}"


@dataclass(frozen=True)
class Timing:
    """Shares of pictures at the asked tempo, and at half or twice of it, and their chances."""

    pictures: int
    right: float
    chance: float
    octave: float
    octave_chance: float

    def __str__(self) -> str:
        return (
            f"{self.right:7.1%}   chance {self.chance:6.1%}   half or double "
            f"{self.octave:6.1%}   chance {self.octave_chance:6.1%}   {_of(self)}"
        )


Figure = Reconstruction | Share | Timing | Distance


def _of(figure: Reconstruction | Share | Timing) -> str:
    return f"of {figure.pictures}"


def compare_pictures(loud: Tensor, copies: Tensor, power: float) -> Reconstruction:
    """How near copies are to pictures.

    The spectral error is 20 log10(|S - S'| / |S|), the spectral convergence of N. Sturmel, L.
    Daudet, "Signal reconstruction from STFT magnitude: a state of the art", DAFx 2011, equation
    13, of the magnitudes that the pictures stand for.

    Args:
        loud, copies: (N, bands, columns) in [0, 1].
        power: of magnitudes in pictures.
    """
    error = (loud - copies).square().mean(dim=(1, 2)).clamp_min(1e-10)
    magnitudes, others = (x.clamp(0, 1).double() ** (1 / power) for x in (loud, copies))
    apart = (magnitudes - others).flatten(1).norm(dim=1) / magnitudes.flatten(1).norm(dim=1)
    spectral = 20 * apart.clamp_min(1e-5).log10()
    return Reconstruction(len(loud), float(-10 * error.log10().mean()), float(spectral.mean()))


def share_named(asked: Tensor, guessed: Tensor) -> Share:
    """How often the guess (N,) is the name that was asked for (N,)."""
    right, chance = _right_and_chance(asked[:, None] == guessed[None], _others(len(asked)))
    return Share(len(asked), right, chance)


def share_heard(asked: Tensor, heard: Tensor) -> Share:
    """How often what was asked for, (N,) places, is among what is heard, bool (N, families)."""
    right, chance = _right_and_chance(heard.T[asked], _others(len(asked)))
    return Share(len(asked), right, chance)


def time_pictures(asked: Tensor, found: Tensor, genre: Tensor) -> Timing:
    """How often the tempo (N,) is the one that was asked for (N,), in beats per minute.

    By chance it would be that of another picture of the same genre (N,): what is left to somebody
    who knows how fast a genre usually is.
    """
    octaves = (found[None] / asked[:, None]).log2()
    far = math.log2(TOLERANCE) + 1e-6
    others = _others(len(asked)) & (genre[:, None] == genre[None])
    right, chance = _right_and_chance(octaves.abs() <= far, others)
    octave, octave_chance = _right_and_chance((octaves.abs() - 1).abs() <= far, others)
    return Timing(len(asked), right, chance, octave, octave_chance)


def _others(count: int) -> Tensor:
    return ~torch.eye(count, dtype=torch.bool)


def _right_and_chance(agrees: Tensor, others: Tensor) -> tuple[float, float]:
    """Share of what agrees with itself, and with others; (asked, pictures) both."""
    others = agrees[others].float()
    return float(agrees.diagonal().float().mean()), float(others.mean()) if len(others) else 0.0


def look(loud: Tensor) -> Tensor:
    """Clips (N, bands, columns) as they are compared: shrunk, in rows (N, features)."""
    return functional.adaptive_avg_pool2d(loud, LOOK).flatten(1)


def nearest_distances(looks: Tensor, library: Tensor) -> Tensor:
    """RMS distance (N,), in [0, 1], of each look to the nearest one in the library."""
    return torch.cdist(looks, library).amin(dim=1) / math.sqrt(library.shape[1])
