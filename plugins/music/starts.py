"""What the pictures of music start from: nothing, a picture, a beat, a sound, or two of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from sdcreative import Crossfade, Original, UsageError

from .beat import render_beat
from .beat_patterns import BEATS
from .drawn import cut, fitted, louder, read_drawn, read_mask
from .grid import FASTEST, SLOWEST
from .layout import Layout
from .regions import check_regions, kept_spans, region_mask
from .settings import MusicSettings, Take

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdcreative import SoundPictures, SpectrogramParams

Start = tuple["Image | Crossfade | None", "Image | None", float]
"""start picture, mask (white is painted anew) and strength of a picture"""

PICTURE_STRENGTH, SOUND_STRENGTH, MORPH_STRENGTH = 0.75, 0.6, 0.5
PERIOD_BARS = 4
"""after which a beat begins again"""


class Starts(Protocol):
    """What a tool starts from.

    Attributes:
        columns: of the music, where the start says it.
        voices: 1, or 2 for left and right.
        apart: how far the noises of the two are apart, from 0 to 1; 0 where they differ already.
        max_value: the magnitude that black stands for; None for that of the model.
        original: a sound that is heard itself where it is not changed.
    """

    columns: int | None
    voices: int
    apart: float
    max_value: float | None
    original: Original | None

    def of(self, layout: Layout, number: int, voice: int) -> Start:
        """What a picture of a voice starts from."""


def open_starts(settings: MusicSettings, params: SpectrogramParams) -> Starts:
    """Look at what the settings start from.

    Raises:
        DataError: a file that cannot be read, or a mask without white.
        UsageError: parts to make anew of which the sound has nothing.
    """
    if settings.audio is not None and settings.morph_to is not None:
        return _Morph(settings, params, settings.audio, settings.morph_to)
    if settings.audio is not None:
        return _Sound(settings, params, settings.audio)
    if settings.beat is not None:
        return _Beat(settings, params, settings.beat)
    if settings.image is not None:
        return _Picture(settings, params, settings.image)
    return _Nothing(settings)


class _Nothing:
    columns: int | None = None
    max_value: float | None = None
    original: Original | None = None

    def __init__(self, settings: MusicSettings) -> None:
        self.voices = 2 if settings.stereo else 1
        self.apart = settings.stereo

    def of(self, layout: Layout, number: int, voice: int) -> Start:
        return None, None, 1.0


class _Picture(_Nothing):
    """A spectrogram that is heard again and again."""

    def __init__(self, settings: MusicSettings, params: SpectrogramParams, image: str) -> None:
        super().__init__(settings)
        sides, self._step = read_drawn(image, params)
        if len(sides) > 1 and settings.stereo:
            self.apart = 0.0
        self._sides = sides if settings.stereo else [louder(sides)]
        self._mask = None if settings.mask is None else read_mask(settings.mask)
        self._strength = PICTURE_STRENGTH if settings.strength is None else settings.strength

    def of(self, layout: Layout, number: int, voice: int) -> Start:
        side = self._sides[min(voice, len(self._sides) - 1)]
        columns = max(1, round(side.width * self._step / layout.step / layout.stretch))
        first = number * layout.hop
        image = cut(side, columns, first, layout.width).convert("RGB")
        if self._mask is None:
            return image, None, self._strength
        mask = fitted(self._mask, (columns, side.height))
        return image, cut(mask, columns, first, layout.width), self._strength


class _Beat(_Nothing):
    """A beat that goes on from picture to picture, at the tempo that is made."""

    def __init__(self, settings: MusicSettings, params: SpectrogramParams, beat: str) -> None:
        super().__init__(settings)
        self._settings, self._params, self._beat = settings, params, beat
        self._mask = None if settings.mask is None else read_mask(settings.mask)
        self._strength = PICTURE_STRENGTH if settings.strength is None else settings.strength
        self._drawn: tuple[int, Image] | None = None
        self._sound: Any = None
        self._loudest = 0.0

    def of(self, layout: Layout, number: int, voice: int) -> Start:
        drawn = self._drawn
        if drawn is None or drawn[0] != number:  # both voices start from the same
            drawn = self._drawn = number, self._draw(layout, number * layout.hop)
        image = drawn[1]
        mask = None if self._mask is None else fitted(self._mask, image.size)
        return image, mask, self._strength

    def _draw(self, layout: Layout, first: int) -> Image:
        import numpy as np
        from PIL import Image as Pictures

        from sdcreative import levels_of, mel_spectrogram

        params = self._params
        if self._sound is None:
            self._sound = self._play(layout)
            self._loudest = float(mel_spectrogram(self._sound[None], params).max())
        # So much beside the picture that its edges hear what is there.
        beside = -(-params.padded_ms // params.step_ms)
        hop = params.hop_length
        places = np.arange((first - beside) * hop, (first + layout.width + beside) * hop)
        heard = self._sound[places % len(self._sound)]
        mel = mel_spectrogram(heard[None], params)[0, :, beside : beside + layout.width]
        levels = levels_of(np.minimum(mel, self._loudest), params.power, self._loudest)[::-1]
        return Pictures.fromarray(np.stack([levels] * 3, -1))

    def _play(self, layout: Layout) -> Any:
        settings = self._settings
        tempo = layout.beats_per_minute_made or 0.0
        if not SLOWEST <= tempo <= FASTEST:
            raise UsageError(
                f"tempo {settings.tempo:g}: pictures of {layout.width} columns are made at "
                f"{tempo:.4g}, and a beat goes from {SLOWEST:g} to {FASTEST:g}; give another tempo"
            )
        beats: float = PERIOD_BARS * BEATS[self._beat].bar
        if layout.loop:
            beats = layout.columns * layout.step * (layout.tempo or 0.0) / 60
        return render_beat(
            self._beat,
            tempo=tempo,
            beats=beats,
            sample_rate=self._params.sample_rate,
            key=settings.key,
            seed=settings.seed,
        )


def _open(take: Take, params: SpectrogramParams, stereo: float) -> SoundPictures:
    from sdcreative import SoundPictures

    path = Path(take.file).expanduser()
    params = replace(params, stereo=stereo > 0)
    return SoundPictures(path, params, start=take.start, seconds=take.seconds)


class _Sound:
    """The pictures of a sound, all of it or parts of it made anew."""

    def __init__(self, settings: MusicSettings, params: SpectrogramParams, take: Take) -> None:
        self._repaint, self._params = settings.repaint, params
        self._pictures = _open(take, params, settings.stereo)
        self.columns: int | None = self._pictures.columns
        self.voices = 2 if settings.stereo else 1
        self.apart = settings.stereo if self._pictures.voices < self.voices else 0.0
        self.original: Original | None = None
        self._strength = SOUND_STRENGTH if settings.repaint is None else 1.0
        if settings.strength is not None:
            self._strength = settings.strength
        if settings.repaint is not None:
            check_regions(settings.repaint, self._pictures.columns, params)
            spans = kept_spans(settings.repaint, self._pictures.seconds, params)
            self.original = Original(take.file, take.start, spans)

    @property
    def max_value(self) -> float | None:
        """None for silence."""
        return self._pictures.max_value or None

    def of(self, layout: Layout, number: int, voice: int) -> Start:
        first = number * layout.hop
        image = self._pictures.picture(first, layout.width, min(voice, self._pictures.voices - 1))
        if self._repaint is None:
            return image, None, self._strength
        mask = region_mask(self._repaint, first, layout.width, self._params)
        return image, mask, 0.0 if mask is None else self._strength


class _Morph:
    """From the pictures of one sound to those of another."""

    original: Original | None = None

    def __init__(
        self, settings: MusicSettings, params: SpectrogramParams, take: Take, to: Take
    ) -> None:
        self._ends = [_open(one, params, settings.stereo) for one in (take, to)]
        self.columns: int | None = min(end.columns for end in self._ends)
        self.voices = 2 if settings.stereo else 1
        sides = max(end.voices for end in self._ends)
        self.apart = settings.stereo if sides < self.voices else 0.0
        self._strength = MORPH_STRENGTH if settings.strength is None else settings.strength

    @property
    def max_value(self) -> float | None:
        """Each is as loud as it can be in its own pictures; what is between goes with them."""
        first, last = (end.max_value for end in self._ends)
        # Beside silence, the other one.
        return (first * last) ** 0.5 or max(first, last) or None

    def of(self, layout: Layout, number: int, voice: int) -> Start:
        first = number * layout.hop
        ends = [end.picture(first, layout.width, min(voice, end.voices - 1)) for end in self._ends]
        t = number / (layout.pictures - 1) if layout.pictures > 1 else 0.5
        return Crossfade(ends[0], ends[1], t), None, self._strength
