"""What music is written to: sound files, a picture of its spectrogram, a film of it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy
from numpy.typing import NDArray

from ..errors import OutputError
from ..media.output import StagedFile, ensure_space, staging_name
from ..media.spectrogram import levels_of
from ..media.spectrogram_files import check_spectrogram, save_spectrogram
from ..media.video import CONTAINERS
from ..spectral.params import SpectrogramParams
from ..spectral.score import Score
from .encoding import SOUND_ENDINGS, count_samples, encode_sound
from .loudness import Levelled
from .scrolling.film import FPS, SIZE, scroll, write_scroll

PICTURE_ENDINGS = (".png", ".webp")
MUSIC_ENDINGS = (*SOUND_ENDINGS, *PICTURE_ENDINGS, *CONTAINERS)

_FILM_BYTES = 400_000
"""a second of a film, about"""


@dataclass(frozen=True)
class Music:
    """Finished music.

    Attributes:
        levelled: its sound.
        samples: in each channel.
        columns: of its spectrogram.
        mel: (loop) -> its spectrogram, (channels, bands, columns), a part at a time.
        loop: whether it wraps around.
    """

    levelled: Levelled
    samples: int
    columns: int
    mel: Callable[[bool], Iterator[NDArray[numpy.float32]]]
    loop: bool


class Target(ABC):
    """One file, staged beside its place.

    Attributes:
        path: its place.
        wanted: about how many bytes it takes.
    """

    def __init__(
        self,
        path: Path,
        overwrite: bool,
        params: SpectrogramParams,
        score: Score,
        tags: Mapping[str, str],
    ) -> None:
        self.path, self.params, self.score, self.tags = path, params, score, dict(tags)
        seconds = score.columns * params.hop_length / params.sample_rate
        self.wanted = int(seconds * self.bytes_per_second())
        ensure_space(path, self.wanted)
        self._staged = StagedFile(path, overwrite)

    @property
    def folder(self) -> Path:
        """Where it lies."""
        return self._staged.target.parent

    def bytes_per_second(self) -> int:
        """About how large it becomes; what it needs for a while included."""
        return 2 * self.params.sample_rate * self.params.channels

    @abstractmethod
    def write(self, music: Music) -> None:
        """Fill the file."""

    @abstractmethod
    def verify(self) -> None:
        """Read it back.

        Raises:
            OutputError: it is not what was written.
        """

    def publish(self) -> None:
        """Give it its name."""
        self._staged.publish()

    def discard(self) -> None:
        """Remove what is not published."""
        self._staged.discard()


class SoundTarget(Target):
    """WAV, FLAC, OGG or MP3."""

    def write(self, music: Music) -> None:
        self._samples = music.samples
        _encode(self._staged.path, self.path, music, self.params, self.tags)

    def verify(self) -> None:
        found = count_samples(self._staged.path)
        if found != self._samples:
            raise OutputError(
                f"{self.path}: {self._samples} samples were written, but the file holds {found}; "
                "try another format"
            )


def _encode(
    staged: Path, path: Path, music: Music, params: SpectrogramParams, tags: Mapping[str, str]
) -> None:
    encode_sound(
        staged,
        path.suffix.lower(),
        music.levelled.blocks,
        params.sample_rate,
        params.channels,
        music.samples,
        tags,
        path.stem,
    )


class PictureTarget(Target):
    """The whole spectrogram, with what decodes it in its EXIF."""

    def __init__(
        self,
        path: Path,
        overwrite: bool,
        params: SpectrogramParams,
        score: Score,
        tags: Mapping[str, str],
    ) -> None:
        check_spectrogram(path, params, score.columns)
        if path.suffix.lower() != ".png":
            tags = {}  # others take no metadata beside their EXIF
        super().__init__(path, overwrite, params, score, tags)

    def bytes_per_second(self) -> int:
        return columns_bytes(self.params)

    def write(self, music: Music) -> None:
        mel = numpy.concatenate(list(music.mel(music.loop)), -1)
        save_spectrogram(mel, self.params, self._staged.path, self.path, self.tags)

    def verify(self) -> None:
        """``save_spectrogram`` has read it back."""


class FilmTarget(Target):
    """The spectrogram as it scrolls by, with the sound."""

    def bytes_per_second(self) -> int:
        return _FILM_BYTES + super().bytes_per_second() + columns_bytes(self.params)

    def write(self, music: Music) -> None:
        sound = staging_name(self._staged.target.with_suffix(".wav"))
        sound = sound.with_name(sound.name + ".wav")
        pictures = staging_name(self._staged.target)
        try:
            _encode(sound, Path("sound.wav"), music, self.params, {})
            seconds = music.samples / self.params.sample_rate
            with pictures.open("w+b") as file:
                levels = self._levels(file, music)
                frames = scroll(levels, self.params, seconds, size=SIZE, fps=FPS, loop=music.loop)
                suffix = self.path.suffix.lower()
                write_scroll(
                    self._staged.path, suffix, frames, FPS, SIZE, sound, self.tags, self.path
                )
        finally:
            sound.unlink(missing_ok=True)
            pictures.unlink(missing_ok=True)

    def _levels(self, file: IO[bytes], music: Music) -> NDArray[numpy.uint8]:
        """(channels, bands, columns) in a file, since a film asks for them again and again."""
        shape = (music.columns, self.params.channels, self.params.bands)
        for mel in music.mel(music.loop):
            # As in a picture, whose first row is the highest band.
            part = levels_of(mel, self.params.power, self.score.max_value)[:, ::-1]
            file.write(numpy.ascontiguousarray(part.transpose(2, 0, 1)).tobytes())
        file.flush()
        stored = numpy.memmap(file, numpy.uint8, "r", shape=shape)
        levels: NDArray[numpy.uint8] = stored.transpose(1, 2, 0)
        return levels

    def verify(self) -> None:
        """``write_scroll`` has read it back."""


def columns_bytes(params: SpectrogramParams) -> int:
    """Bytes of a second's columns, one for each band and channel."""
    return params.channels * params.bands * 1000 // params.step_ms


def open_targets(
    paths: Sequence[Path],
    overwrite: bool,
    params: SpectrogramParams,
    score: Score,
    tags: Mapping[str, str],
) -> Iterator[Target]:
    """The targets of files, by their endings.

    Raises:
        OutputError: an ending that is not known, a file twice, or one that cannot be made.
    """
    kinds: dict[str, type[Target]] = {
        **dict.fromkeys(SOUND_ENDINGS, SoundTarget),
        **dict.fromkeys(PICTURE_ENDINGS, PictureTarget),
        **dict.fromkeys(CONTAINERS, FilmTarget),
    }
    taken: set[Path] = set()
    for path in paths:
        if path.resolve() in taken:
            raise OutputError(f"{path}: the same file twice; give each output a name of its own")
        taken.add(path.resolve())
        kind = kinds.get(path.suffix.lower())
        if kind is None:
            raise OutputError(
                f"{path}: ending {path.suffix!r} holds no music; use {', '.join(MUSIC_ENDINGS)}"
            )
        yield kind(path, overwrite, params, score, tags)
