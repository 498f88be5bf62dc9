"""A sound of any length as one long spectrogram, cut into pictures wherever one likes.

Only what a picture shows is read and held, and pictures of neighbouring columns are those that a
picture of the whole would be cut into.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from math import isfinite
from pathlib import Path
from threading import RLock

import numpy
from numpy.typing import NDArray
from PIL import Image

from ..errors import DataError, UsageError
from ..spectral.mel import encoding_grid
from ..spectral.params import SpectrogramParams
from .sound_parts import part_blocks, sound_part
from .spectrogram import levels_of, mel_spectrogram

__all__ = ["SoundPictures"]

_SLAB = 1024
"""columns that are encoded at a time"""
_REMEMBERED = 8
"""places whose pictures are kept"""

Floats = NDArray[numpy.float32]


class SoundPictures:
    """The long spectrogram of a sound file, or of a part of one.

    Args:
        path: a sound file, as ``sound_info`` reads them.
        params: the bands. ``stereo`` asks for two voices, where the file has two or more channels.
        start: seconds into the file.
        seconds: how much of it; less where it ends earlier. None for all that follows.
        max_value: the magnitude that black stands for; what is louder is black too. None for the
            loudest of this part.

    Attributes:
        params: of one voice, hence not stereo.
        voices: 1, or 2: left and right.
        columns: in all.
        seconds: of sound.

    Raises:
        DataError: no sound file, one that is over at ``start``, cut off, or shorter than half a
            window.
        UsageError: a start below 0, or a length or magnitude that is not above 0.
    """

    def __init__(
        self,
        path: Path | str,
        params: SpectrogramParams,
        *,
        start: float = 0.0,
        seconds: float | None = None,
        max_value: float | None = None,
    ) -> None:
        if max_value is not None and not (isfinite(max_value) and max_value > 0):
            raise UsageError(f"max_value is {max_value}; give a number above 0")
        self._part = sound_part(path, start, seconds)
        self.params = replace(params, stereo=False)
        self.voices = 2 if params.stereo and self._part.info.channels > 1 else 1
        self._total = self._part.samples(params.sample_rate)
        self.seconds = self._total / params.sample_rate
        grid = encoding_grid(self.params)
        self._reach = -(-grid.window // grid.hop) + 1
        least = grid.window - grid.before + 1
        if self._total < least:
            raise DataError(
                f"{path}: {self.seconds:.3f} s of sound; give at least "
                f"{least / params.sample_rate:.3f} s, half of a window"
            )
        self.columns = self.params.columns(self._total)
        self._max_value = max_value
        self._kept: OrderedDict[tuple[int, int], list[Image.Image]] = OrderedDict()
        self._lock = RLock()

    @property
    def max_value(self) -> float:
        """The magnitude that black stands for; the whole part is listened to on first use.

        Raises:
            DataError: what is read does not decode, or is no finite number.
        """
        with self._lock:
            if self._max_value is None:
                slabs = self._slabs(0, self.columns)
                self._max_value = max(float(slab.max()) for _, slab in slabs)
            return self._max_value

    def picture(self, first: int, width: int, voice: int = 0) -> Image.Image:
        """Some columns of one voice; what lies beyond the end is white, which is silence.

        The last few are remembered: whoever asks again gets the same object.

        Args:
            first: the column it begins with, from 0.
            width: number of columns.
            voice: 0, or 1 for the right one of two.

        Returns:
            RGB, one row per band.

        Raises:
            UsageError: a column or voice that cannot be.
            DataError: what is read does not decode, or is no finite number.
        """
        if first < 0 or width < 1:
            raise UsageError(f"{width} columns from {first} on; give 1 or more, from 0 or later")
        if not 0 <= voice < self.voices:
            raise UsageError(f"voice {voice}; this sound has {self.voices}, from 0 on")
        with self._lock:
            place = (first, width)
            if place not in self._kept:
                self._kept[place] = self._draw(first, width)
                if len(self._kept) > _REMEMBERED:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(place)
            return self._kept[place][voice]

    def samples(self, first: int, count: int) -> Floats:
        """The sound from the middle of one column to that of another, ``count`` steps later.

        Args:
            first: the column it begins with, from 0.
            count: number of steps.

        Returns:
            (voices, count * hop_length) at ``params.sample_rate``; zeros beyond the end.

        Raises:
            UsageError: steps that cannot be.
            DataError: what is read does not decode, or is no finite number.
        """
        if first < 0 or count < 1:
            raise UsageError(f"{count} steps from {first} on; give 1 or more, from 0 or later")
        hop = self.params.hop_length
        heard = numpy.zeros((self.voices, count * hop), numpy.float32)
        found = self._read(first * hop, (first + count) * hop)
        heard[:, : found.shape[1]] = found
        return heard

    def _draw(self, first: int, width: int) -> list[Image.Image]:
        """The pictures of all voices, which are read together."""
        levels = numpy.full((self.voices, self.params.bands, width), 255, numpy.uint8)
        loudest = self.max_value
        for column, slab in self._slabs(first, min(first + width, self.columns)):
            at = slice(column - first, column - first + slab.shape[-1])
            # Two readings of the same may differ in their last digit.
            slab = numpy.minimum(slab, numpy.float32(loudest))
            levels[..., at] = levels_of(slab, self.params.power, loudest)[:, ::-1]
        return [Image.fromarray(numpy.stack([voice] * 3, -1)) for voice in levels]

    def _slabs(self, first: int, last: int) -> Iterator[tuple[int, Floats]]:
        """(first column, magnitudes (voices, bands, columns)) of columns, a slab at a time."""
        for column in range(first, last, _SLAB):
            yield column, self._magnitudes(column, min(column + _SLAB, last))

    def _magnitudes(self, first: int, last: int) -> Floats:
        """(voices, bands, columns): those at a cut are encoded beside it too, and left out.

        Only at the ends of the part are the samples mirrored, as in a picture of the whole.
        """
        hop = self.params.hop_length
        begin = max(0, first - self._reach)
        samples = self._read(begin * hop, (last + self._reach) * hop)
        if not samples.any():
            return numpy.zeros((self.voices, self.params.bands, last - first), numpy.float32)
        mel = mel_spectrogram(samples[:, None], self.params)[:, 0]
        return mel[..., first - begin : last - begin]

    def _read(self, begin: int, end: int) -> Floats:
        """(voices, samples) of the part; fewer than asked for at its end."""
        rate = self.params.sample_rate
        if begin >= self._total:
            return numpy.zeros((self.voices, 0), numpy.float32)
        blocks = list(part_blocks(self._part, rate, self.voices, begin, end))
        return numpy.ascontiguousarray(numpy.concatenate(blocks).T)
