"""What a mel spectrogram is made with, in human units; the defaults are Riffusion's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import DataError, UsageError

# riffusion-hobby, spectrogram_params.py, ExifTags.
EXIF_TAGS = {
    "sample_rate": 11000,
    "stereo": 11005,
    "step_ms": 11010,
    "window_ms": 11020,
    "padded_ms": 11030,
    "bands": 11040,
    "min_hz": 11050,
    "max_hz": 11060,
    "power": 11070,
}
MAX_VALUE_TAG = 11080
TRIPLE_RESOLUTION_TAG = 11007
FULL_SCALE = 32_768
"""what samples of 1.0 count as in a spectrogram: 16 bits"""
LONGEST_LOOP = 16_384
"""columns; a loop is inverted and stretched as a whole"""
_HIGHEST = {
    "sample_rate": 384_000,
    "step_ms": 1000,
    "window_ms": 10_000,
    "padded_ms": 10_000,
    "bands": 4096,
}


@dataclass(frozen=True)
class SpectrogramParams:
    """How samples become a picture, and back.

    Attributes:
        sample_rate: samples per second.
        step_ms: from one column to the next, in milliseconds.
        window_ms: length of the Hann window; no shorter than a step.
        padded_ms: length of the Fourier transform, zeros included; no shorter than the window.
        bands: mel bands, one row of the picture each.
        min_hz: where the lowest band begins.
        max_hz: where the highest band ends; no more than half the sample rate.
        power: of the magnitudes, so that quiet ones can be seen.
        stereo: two channels, left in green and right in blue; else one, in grey.

    Raises:
        UsageError: a value out of its range, or more bands than the transform can tell apart.

    >>> SpectrogramParams().n_fft, SpectrogramParams().seconds(512)
    (17640, 5.11)
    """

    sample_rate: int = 44_100
    step_ms: int = 10
    window_ms: int = 100
    padded_ms: int = 400
    bands: int = 512
    min_hz: float = 0
    max_hz: float = 10_000
    power: float = 0.25
    stereo: bool = False

    def __post_init__(self) -> None:
        for name, highest in _HIGHEST.items():
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= highest:
                raise UsageError(f"{name} is {value!r}; give a whole number from 1 to {highest}")
        if not self.step_ms <= self.window_ms <= self.padded_ms:
            raise UsageError(
                f"step_ms {self.step_ms}, window_ms {self.window_ms}, padded_ms {self.padded_ms}: "
                "none may be longer than the next"
            )
        if self.hop_length < 1:
            raise UsageError(f"step_ms {self.step_ms} is less than a sample; give a longer one")
        if not 0 <= self.min_hz < self.max_hz <= self.sample_rate / 2:
            raise UsageError(
                f"min_hz {self.min_hz:g}, max_hz {self.max_hz:g}: give 0 <= min_hz < max_hz, up to "
                f"half the sample rate, {self.sample_rate / 2:g}"
            )
        if not 0 < self.power <= 1:
            raise UsageError(f"power is {self.power}; give a number above 0, up to 1")
        corners = self.corners(3)
        if corners[2] - corners[0] <= self.sample_rate / self.n_fft:
            raise UsageError(
                f"{self.bands} bands: the lowest is narrower than the transform resolves; give "
                "fewer bands or a longer padded_ms"
            )

    @property
    def hop_length(self) -> int:
        """Samples from one column to the next."""
        return self.sample_rate * self.step_ms // 1000

    @property
    def win_length(self) -> int:
        """Samples in the window."""
        return self.sample_rate * self.window_ms // 1000

    @property
    def n_fft(self) -> int:
        """Samples in the transform, zeros included."""
        return self.sample_rate * self.padded_ms // 1000

    @property
    def channels(self) -> int:
        """1, or 2 for stereo."""
        return 2 if self.stereo else 1

    def columns(self, samples: int) -> int:
        """Width of the picture of so many samples."""
        return 1 + samples // self.hop_length

    def seconds(self, columns: int, circular: bool = False) -> float:
        """How long so many columns sound; a loop has one step more, from the last to the first."""
        return (columns if circular else columns - 1) * self.hop_length / self.sample_rate

    def corners(self, count: int | None = None) -> list[float]:
        """Frequencies in Hz where triangles meet: band i is from i to i + 2, its top at i + 1.

        HTK's mel scale (S. Young et al., The HTK Book 3.4, 5.4), without normalisation.
        """
        low, high = (2595 * math.log10(1 + f / 700) for f in (self.min_hz, self.max_hz))
        step = (high - low) / (self.bands + 1)
        steps = self.bands + 2 if count is None else count
        return [700 * (10 ** ((low + i * step) / 2595) - 1) for i in range(steps)]

    def to_exif(self) -> dict[int, int | float]:
        """Riffusion's EXIF tags; whole frequencies are written as whole numbers, as it does."""
        values = {tag: getattr(self, name) for name, tag in EXIF_TAGS.items()}
        return {
            tag: float(value)
            if tag == EXIF_TAGS["power"] or not float(value).is_integer()
            else int(value)
            for tag, value in values.items()
        }

    @classmethod
    def from_exif(cls, exif: Mapping[int, Any]) -> SpectrogramParams:
        """From EXIF tags; a missing one means the default.

        Raises:
            DataError: a tag without a valid value, or Riffusion's triple resolution.
        """
        if exif.get(TRIPLE_RESOLUTION_TAG):
            raise DataError("spectrograms of triple resolution are not read; encode it again")
        values: dict[str, Any] = {}
        for field in fields(cls):
            tag = EXIF_TAGS[field.name]
            if tag not in exif:
                continue
            try:
                number = float(exif[tag])
                if not math.isfinite(number):
                    raise ValueError("it is not finite")
            except (TypeError, ValueError, ZeroDivisionError) as error:
                raise DataError(f"EXIF tag {tag} ({field.name}) is no number: {error}") from error
            if field.name == "stereo":
                values[field.name] = bool(number)
            else:
                values[field.name] = int(number) if number.is_integer() else number
        try:
            return cls(**values)
        except UsageError as error:
            raise DataError(f"EXIF: {error}") from error
