"""Built-in seed images: every pattern of ``beat_patterns``, as long as the model's pictures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from sdcreative.media.spectrogram import SpectrogramParams, mel_spectrogram, spectrogram_to_image

from .beat import render_beat
from .beat_patterns import BEATS

if TYPE_CHECKING:
    from PIL.Image import Image

RIFFUSIONS = {"og_beat": "four_on_the_floor", "agile": "pulse", "marim": "marimba"}
"""ids that riffusion-app knows -> the pattern that stands in for each; it gives two more their
names, motorway and vibes. A request that gives no id means og_beat."""
_MIDDLE = 100.0
"""beats per minute that the tempo comes near to"""


def beat_images(params: SpectrogramParams, columns: int) -> dict[str, Image]:
    """Pictures by the patterns' names and Riffusion's, ``params.bands`` high and ``columns`` wide.

    The beats are 1, 2, 4, 8, ... on a picture, so that a clip goes on where the one before it
    ended: at 512 columns of 10 ms 8, which is 93.75 beats per minute, as in Riffusion's.
    """
    seconds = columns * params.hop_length / params.sample_rate
    beats = 2 ** max(0, round(math.log2(seconds * _MIDDLE / 60)))
    found = {
        name: _image(name, params, columns, beats, 60 * beats / seconds) for name in sorted(BEATS)
    }
    return {**found, **{theirs: found[ours] for theirs, ours in RIFFUSIONS.items()}}


def _image(
    pattern: str, params: SpectrogramParams, columns: int, beats: int, tempo: float
) -> Image:
    samples = render_beat(pattern, tempo=tempo, beats=beats, sample_rate=params.sample_rate)
    mel = mel_spectrogram(samples[None].repeat(params.channels, 0), params)
    return spectrogram_to_image(mel[..., :columns], params)
