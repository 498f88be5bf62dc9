"""The music that a film moves to, rendered before the film, from the film's own settings.

``audio: {music: ...}`` stays what the settings say, in the film's record and its run. Only the tool
is told a file: its timeline gets the same settings with the rendered music in the music's place.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .core.timeline import Timeline
from .errors import UsageError
from .media.output import write_text
from .media.sound_files import sound_info
from .models.digests import model_digest
from .models.opening import open_model
from .models.places import locate
from .models.sizes import film_sizes
from .produce import produce
from .runs.home import models_file, music_folder
from .runs.manifest import Published
from .runs.run import run_id
from .runs.store import check_writable
from .settings import PLACES, RenderSettings
from .sound.music import Music, read_music
from .sound.settings import Audio
from .studio import Studios
from .tools import Job, PictureTool, Report

NAME = "soundtrack"
SUFFIX = ".flac"
_PASSED_ON = ("device", "dtype", "offline")
# A start that was rounded by less than this share of a beat is on that beat.
_ON_BEAT = 1e-3


@dataclass(frozen=True)
class Scored:
    """A film whose sound is a file.

    Attributes:
        tool: makes it of ``settings``.
        settings: what the preset said, the music's seed drawn: for the film's run and record.
        heard: the same with the music as a file, and its tempo.
    """

    tool: PictureTool
    settings: RenderSettings
    heard: RenderSettings


@contextmanager
def with_music(
    tool: PictureTool,
    settings: RenderSettings,
    *,
    report: Report,
    studios: Studios | None = None,
    keep: bool = True,
) -> Iterator[Scored]:
    """Render the music of a film, where its settings name any and it is not there already.

    The music is a run of its own, and its file lies in sdcreative's home folder. Without ``keep``
    it is in a temporary folder instead, for as long as the context lasts.

    Args:
        tool: the film's.
        settings: an instance of ``tool.settings``.
        report: prints a line.
        studios: has the model of the last job, and keeps this one's.
        keep: keep the music, and its finished frames.

    Raises:
        UsageError, DataError, ModelError, RenderError, OutputError: as the music's tool says.
    """
    track = _Track.of(settings, report)
    if track is None:
        yield Scored(tool, settings, settings)
        return
    file = track.file
    with ExitStack() as leaving:
        if _is_there(file):
            track.say(f"{file} is there already")
        else:
            if not keep:
                folder = leaving.enter_context(TemporaryDirectory(prefix="sdcreative-"))
                file = Path(folder) / file.name
            track.make(file, studios, keep)
        yield track.score(tool, file)


def plan_music(settings: RenderSettings, report: Report) -> bool:
    """Say what rendering the music of a film takes, where it is not there already.

    Returns:
        Whether the film can be planned: its music is there, or it has none.
    """
    track = _Track.of(settings, report)
    if track is None or _is_there(track.file):
        return True
    track.plan()
    report("the film is planned once its music is there")
    return False


@dataclass(frozen=True)
class _Track:
    """The music of a film.

    Attributes:
        settings: the film's, with the music's seed drawn.
        said: of them, what is said of the music.
        report: prints a line.
    """

    settings: RenderSettings
    said: dict[str, Any]
    report: Report

    @classmethod
    def of(cls, settings: RenderSettings, report: Report) -> _Track | None:
        """That which settings name; None where they do not."""
        audio = getattr(settings, "audio", None)
        if not isinstance(audio, Audio) or audio.music is None:
            return None
        track = cls(settings, audio.music, report)
        if getattr(track.music.settings, "seed", None) != -1:
            return track
        said = {**audio.music, "seed": random.SystemRandom().randrange(2**32)}
        track.say(f"seed {said['seed']}")
        drawn = {"audio": audio.model_copy(update={"music": said})}
        return cls(settings.model_copy(update=drawn), said, report)

    def say(self, line: str) -> None:
        self.report(f"music: {line}")

    def told(self, **more: Any) -> Music:
        """The tool and its settings; where the film is rendered, the music is too."""
        film = {key: getattr(self.settings, key) for key in _PASSED_ON if key not in self.said}
        return read_music(self.said, **film, **more)

    @cached_property
    def music(self) -> Music:
        return self.told()

    @cached_property
    def timeline(self) -> Timeline | None:
        """Of the music, where its tool makes one."""
        if not isinstance(self.music.tool, PictureTool):
            return None
        try:
            return self.music.tool.plan(self.music.settings)
        except UsageError as error:
            raise UsageError(f"audio.music.{error}") from error

    @cached_property
    def tempo(self) -> float | None:
        """Beats per minute, beat 1 at the music's beginning; None where it is not known."""
        if self.timeline is not None and self.timeline.score is not None:
            return self.timeline.score.tempo
        tempo: float | None = getattr(self.music.settings, "tempo", None)
        return tempo

    @cached_property
    def file(self) -> Path:
        """Where the music is kept; the same settings with the same model are the same file."""
        tool, settings = self.music.tool, self.music.settings
        digest, size = "", (0, 0)
        if isinstance(settings, RenderSettings) and self.timeline is not None:
            model = locate(settings)
            size, _ = film_sizes(self.timeline, open_model(model))
            digest = model_digest(model, models_file())
        resolved = settings.model_dump(mode="json", exclude=PLACES)
        name = run_id(tool.name, NAME, resolved, digest, size)
        return music_folder() / f"{name}{SUFFIX}"

    def plan(self) -> None:
        """Say what it takes."""
        self._run(self.file, None, keep=True, dry_run=True)

    def make(self, file: Path, studios: Studios | None, keep: bool) -> None:
        """Render it, and note that the file is whole."""
        check_writable(file.parent)
        self._run(file, studios, keep=keep, dry_run=False)
        sound_info(file)
        write_text(_note(file), Published.of(file).model_dump_json(), overwrite=True)

    def _run(self, file: Path, studios: Studios | None, *, keep: bool, dry_run: bool) -> None:
        told = self.told(output=str(file))
        if not isinstance(told.tool, PictureTool):
            told.tool.run(told.settings, Job(overwrite=True, dry_run=dry_run, report=self.say))
        elif isinstance(told.settings, RenderSettings):
            produce(
                told.tool,
                told.settings,
                default_name=NAME,
                overwrite=True,
                dry_run=dry_run,
                report=self.say,
                keep=keep,
                studios=studios,
            )

    def score(self, tool: PictureTool, file: Path) -> Scored:
        """The film, moved by the music's file."""

        def heard(said: Any) -> Any:
            audio: Audio = said.audio
            bpm = audio.bpm or self.tempo
            first = audio.first_beat
            if first is None and bpm is not None and self.tempo is not None:
                first = _first_beat(bpm, audio.start)
            music = self.music.settings
            own = getattr(music, "bar", None) or getattr(music, "beats_per_bar", None)
            bar = audio.beats_per_bar or own
            sound = {
                "file": str(file),
                "music": None,
                "bpm": bpm,
                "first_beat": first,
                "beats_per_bar": bar,
            }
            return said.model_copy(update={"audio": audio.model_copy(update=sound)})

        moved = replace(tool, timeline=lambda said: tool.timeline(heard(said)))
        return Scored(moved, self.settings, heard(self.settings))


def _first_beat(bpm: float, start: float) -> float:
    """Seconds into a film of the first beat in it, where the music's first beat is at 0.

    >>> _first_beat(120, 0), _first_beat(120, 1.25), round(_first_beat(110, 8.7273), 3)
    (0.0, 0.25, 0.0)
    """
    beat = 60 / bpm
    return max(0.0, ceil(start / beat - _ON_BEAT) * beat - start)


def _note(file: Path) -> Path:
    return file.with_suffix(".json")


def _is_there(file: Path) -> bool:
    """Whether a file is music that was rendered to its end, and as it was then."""
    try:
        noted = Published.model_validate_json(_note(file).read_bytes())
        return noted == Published.of(file)
    except (OSError, ValueError):
        return False
