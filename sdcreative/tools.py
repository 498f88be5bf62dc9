"""What a plugin registers: tools and processors, each a name, settings and what it does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from .core.timeline import Timeline
from .core.worded import worded
from .errors import UsageError
from .presets.faults import SettingError
from .settings import RenderSettings, Strict

if TYPE_CHECKING:
    from PIL.Image import Image

Report = Callable[[str], None]


@dataclass(frozen=True)
class PictureTool:
    """A tool that makes pictures: settings in, timeline out; the runtime does all else.

    Attributes:
        name: the command and the preset's ``plugin:``, in kebab or snake case.
        summary: one line for ``--help``.
        settings: a class derived from RenderSettings.
        timeline: (settings) -> Timeline; raises UsageError for settings that make no sense, or
            SettingError to name the key.
        suffix: ending of the output where none is given.
        argument: name of a settings key that the command also takes as plain words
            (``sdcreative image "a bear"``), or None where a preset is needed.
        flags: names of settings keys that the command offers as flags, such as ``--tempo``; those
            of all tools come by themselves.
    """

    name: str
    summary: str
    settings: type[RenderSettings]
    timeline: Callable[[Any], Timeline]
    suffix: str = ".mp4"
    argument: str | None = None
    flags: tuple[str, ...] = ()

    def plan(self, settings: BaseModel) -> Timeline:
        """The timeline of settings; a fault that shows only now is told as one of a preset.

        Raises:
            UsageError: settings that make no sense.
        """
        if isinstance(settings, RenderSettings):
            settings = settings.drafted()
        try:
            timeline = self.timeline(settings)
        except SettingError as error:
            key = ".".join(map(str, error.path))
            raise UsageError(f"{key}: {error}" if key else str(error)) from error
        if not isinstance(settings, RenderSettings):
            return timeline
        return worded(timeline, settings.sampling(), max(0, settings.seed))


@dataclass(frozen=True)
class Job:
    """What a job tool is told beside its settings.

    Attributes:
        overwrite: whether finished output may be replaced.
        dry_run: say what would be done, and do nothing.
        report: prints one line.
        metadata: write the settings into the output.
    """

    overwrite: bool
    dry_run: bool
    report: Report
    metadata: bool = True


@dataclass(frozen=True)
class JobTool:
    """A tool that does something other than pictures, such as training.

    Attributes:
        run: (settings, job) -> None.
        suffix: ending of what it writes, if that is one file; a film can have .wav, .flac, .ogg
            and .mp3 for its music.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    run: Callable[[Any, Job], None]
    suffix: str = ""


Tool = PictureTool | JobTool


@dataclass(frozen=True)
class Film:
    """What a processor is told of the pictures that it gets, and says of those that it gives.

    Attributes:
        size: (width, height) in pixels.
        length: number of pictures.
        fps: pictures per second.
        closed: played in a circle: the last picture is followed by the first.
    """

    size: tuple[int, int]
    length: int
    fps: float
    closed: bool = False


@dataclass(frozen=True)
class Processor:
    """A step between the rendered pictures and the file, listed in a preset's ``process:``.

    Attributes:
        name: in kebab or snake case.
        summary: one line for ``sdcreative plugins``.
        settings: a class derived from Strict.
        plan: (settings, film that comes in) -> film that goes out; nothing heavy is loaded.
            Raises UsageError where they do not go together.
        process: (settings, film that comes in, its RGB pictures in order) -> RGB pictures, as many
            and as large as ``plan`` said. A few are held at a time.
    """

    name: str
    summary: str
    settings: type[Strict]
    plan: Callable[[Any, Film], Film]
    process: Callable[[Any, Film, Iterable[Image]], Iterator[Image]]
