"""The sound that music was made from, put back where nothing of it was changed."""

from __future__ import annotations

from pathlib import Path

import numpy

from ..media.sound_pictures import SoundPictures
from ..spectral.params import SpectrogramParams
from ..spectral.score import Original
from .scratch import ScratchSound

FADE_SECONDS = 0.02
_STEPS = 1024
"""columns that are put back at a time"""


def restore(sound: ScratchSound, original: Original, params: SpectrogramParams) -> None:
    """Replace the spans of a sound by those of a file, crossfaded at their ends.

    Args:
        sound: decoded from a spectrogram of the file, changed elsewhere.
        original: the file, and the spans.
        params: of the spectrogram.

    Raises:
        DataError: the file cannot be read any more.
    """
    pictures = SoundPictures(
        Path(original.path).expanduser(),
        params,
        start=original.start,
        seconds=sound.seconds,
        max_value=1.0,  # only its samples are asked for
    )
    hop, rate = params.hop_length, params.sample_rate
    fade = FADE_SECONDS * rate
    for start, end in original.spans:
        # Nothing was changed before the beginning or after the end.
        low = -numpy.inf if start <= 0 else start * rate
        high = numpy.inf if end >= sound.seconds else end * rate
        first, last = int(start * rate) // hop, -(-min(int(end * rate), sound.samples) // hop)
        for column in range(first, last, _STEPS):
            begin = column * hop
            stop = min(begin + min(_STEPS, last - column) * hop, sound.samples)
            if stop <= begin:
                break
            heard = pictures.samples(column, -(-(stop - begin) // hop))[:, : stop - begin]
            made = sound.read(begin, stop)
            place = numpy.arange(begin, stop)
            share = numpy.clip(numpy.minimum(place - low, high - place) / fade, 0, 1)
            sound.put(begin, made + share.astype(numpy.float32) * (heard - made))
