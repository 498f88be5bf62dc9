"""The score: how the pictures of a timeline are heard, one after another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .params import SpectrogramParams

LOUDNESS = -14.0
"""LUFS, as streaming services play it"""
TRUE_PEAK = -1.0
"""dBTP, so that no converter clips"""


@dataclass(frozen=True)
class Original:
    """A sound that parts of the music are.

    Attributes:
        path: a sound file.
        start: seconds into it at which the music begins.
        spans: (from, to) in seconds of the music, in order and apart: where it is heard itself.
    """

    path: str
    start: float
    spans: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Score:
    """Pictures as one long spectrogram, and the sound that is made of it.

    Attributes:
        params: the bands of one voice; not stereo, which is two voices.
        max_value: the magnitude that black stands for.
        columns: of the whole as it is heard, after ``stretch``.
        overlap: columns by which each picture begins before the end of the one before it; there,
            they are crossfaded. In a loop the last one reaches so far into the first.
        stretch: columns heard per column made, so that the tempo is exact.
        loop: played in a circle, without a seam.
        quality: spend more work on the phases.
        loudness: integrated loudness in LUFS (EBU R 128); None leaves it as it comes.
        true_peak: the highest that is allowed, in dBTP.
        fade_in: seconds at the beginning.
        fade_out: seconds at the end.
        tempo: beats per minute, where it is known; beat 1 is at the beginning.
        original: a sound that is heard itself where nothing of it was changed.
    """

    params: SpectrogramParams
    max_value: float
    columns: int
    overlap: int = 0
    stretch: float = 1.0
    loop: bool = False
    quality: bool = False
    loudness: float | None = LOUDNESS
    true_peak: float = TRUE_PEAK
    fade_in: float = 0.0
    fade_out: float = 0.0
    tempo: float | None = None
    original: Original | None = None
