"""What a plugin registers: tools, each a name, settings and either a timeline or a job."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from .core.timeline import Timeline
from .settings import RenderSettings

Report = Callable[[str], None]


@dataclass(frozen=True)
class PictureTool:
    """A tool that makes pictures: settings in, timeline out; the runtime does all else.

    Attributes:
        name: the command and the preset's ``plugin:``, in kebab or snake case.
        summary: one line for ``--help``.
        settings: a class derived from RenderSettings.
        timeline: (settings) -> Timeline; raises UsageError for settings that make no sense.
        suffix: ending of the output where none is given.
        argument: name of a settings key that the command also takes as plain words
            (``sdcreative image "a bear"``), or None where a preset is needed.
    """

    name: str
    summary: str
    settings: type[RenderSettings]
    timeline: Callable[[Any], Timeline]
    suffix: str = ".mp4"
    argument: str | None = None


@dataclass(frozen=True)
class Job:
    """What a job tool is told beside its settings.

    Attributes:
        overwrite: whether finished output may be replaced.
        dry_run: say what would be done, and do nothing.
        report: prints one line.
    """

    overwrite: bool
    dry_run: bool
    report: Report


@dataclass(frozen=True)
class JobTool:
    """A tool that does something other than pictures, such as training.

    Attributes:
        run: (settings, job) -> None.
    """

    name: str
    summary: str
    settings: type[BaseModel]
    run: Callable[[Any, Job], None]


Tool = PictureTool | JobTool
