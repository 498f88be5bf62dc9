"""Where rendered pictures go: through a preset's processors into a file, with its sound."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL.Image import Image

from .core.timeline import Timeline
from .errors import UsageError
from .media.encoders import EncoderName
from .media.writers import SoundClip, Writer, holds_sound, open_writer
from .processors import Step, apply_steps, plan_steps, read_processors
from .spectral.score import Score
from .tools import Film, Report


@dataclass(frozen=True)
class Outlet:
    """The way of a film's pictures.

    Attributes:
        timeline: what is rendered.
        size: (width, height) of its pictures.
        wanted: processors as a preset lists them.
        output: the file.
        tags: gives what goes into the file as metadata.
        report: prints a line.
        also: more files, of music.
        device: what decodes music.
        encoder: of films.
    """

    timeline: Timeline
    size: tuple[int, int]
    wanted: Sequence[Any]
    output: str
    tags: Callable[[], Mapping[str, str] | None]
    report: Report
    also: Sequence[str] = ()
    device: str = "cpu"
    encoder: EncoderName = "software"

    @cached_property
    def film(self) -> Film:
        """The pictures as they are rendered."""
        timeline = self.timeline
        closed = timeline.closed or timeline.ping_pong
        return Film(self.size, len(timeline), timeline.fps, closed)

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """What is done with them."""
        return read_processors(self.wanted)

    @cached_property
    def processed(self) -> Film:
        """The pictures as they are written."""
        return plan_steps(self.steps, self.film)

    def process(self, pictures: Iterable[Image]) -> Generator[Image, None, None]:
        """Rendered pictures to those that are written."""
        return apply_steps(self.steps, self.film, pictures)

    def writer(self, overwrite: bool) -> Writer:
        """Open the file.

        Raises:
            OutputError, UsageError, DataError: what is wrong with it, the processors or the sound.
        """
        if self.timeline.score is not None:
            return self._music(self.timeline.score, overwrite)
        film = self.processed
        if film.length != self.film.length and self.timeline.columns is not None:
            raise UsageError("'process' changes the number of pictures, but these are for a sheet")
        return open_writer(
            self.output,
            film.fps,
            film.size,
            overwrite=overwrite,
            columns=self.timeline.columns,
            length=film.length,
            metadata=self.tags(),
            sound=self._sound(),
            encoder=self.encoder,
        )

    def _music(self, score: Score, overwrite: bool) -> Writer:
        from .music.sink import open_music

        if self.steps:
            raise UsageError("'process' is for pictures that are looked at, not for music")
        return open_music(
            [Path(path).expanduser() for path in (self.output, *self.also)],
            self.size,
            self.timeline.length,
            score,
            voices=self.timeline.voices,
            overwrite=overwrite,
            metadata=self.tags(),
            report=self.report,
            device=self.device,
        )

    @property
    def summary(self) -> str:
        """What is in the file once all is written, in a few words."""
        film, score = self.processed, self.timeline.score
        width, height = film.size
        frames = f"{film.length} frame{'s' if film.length > 1 else ''} of {width}x{height}"
        if score is None:
            return frames
        seconds = score.params.seconds(score.columns, score.loop)
        loop = ", a loop" if score.loop else ""
        tempo = f", {score.tempo:.6g} bpm" if score.tempo else ""
        return f"{seconds:.2f} s{tempo}{loop}, {frames}"

    def _sound(self) -> SoundClip | None:
        sound = self.timeline.sound
        if sound is None:
            return None
        if not holds_sound(self.output):
            self.report(f"{self.output} holds no sound; write .mp4, .mov or .mkv to hear it")
            return None
        return SoundClip(Path(sound.path).expanduser(), sound.start, sound.fade_in, sound.fade_out)
