"""A picture tool's settings to a finished file: plan, model, pictures, writer, report."""

from __future__ import annotations

import os
import random
import sys
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.timeline import Timeline
from .errors import UsageError
from .media.output import estimate_bytes, human
from .media.writers import Writer, open_writer
from .models.sizes import fit_size, native_size
from .models.sources import fetch, resolve
from .planning import Plan, plan
from .settings import RenderSettings
from .tools import PictureTool, Report

if TYPE_CHECKING:
    from .studio import Studio


def produce(
    tool: PictureTool,
    settings: RenderSettings,
    *,
    default_name: str,
    overwrite: bool,
    dry_run: bool,
    report: Report,
) -> Path | None:
    """Render the timeline that a tool makes of its settings.

    Args:
        tool: the tool.
        settings: an instance of ``tool.settings``.
        default_name: name of the output without its ending, where the settings give none.
        overwrite: whether an existing output may be replaced.
        dry_run: only say what it would take.
        report: prints a line.

    Returns:
        The output, or None for a dry run.

    Raises:
        UsageError, ModelError, RenderError, OutputError: as the parts say.
        KeyboardInterrupt: Ctrl-C; what was finished is kept as a playable file.
    """
    if settings.seed == -1:
        settings = settings.model_copy(update={"seed": random.SystemRandom().randrange(2**32)})
        report(f"seed {settings.seed}")
    timeline = tool.timeline(settings)
    work = plan(timeline)
    if work.frames == 0:
        raise UsageError(f"{tool.name}: these settings give no frames")
    output = os.path.expanduser(settings.output or f"{default_name}{tool.suffix}")
    folder = fetch(resolve(settings.model, offline=settings.offline), settings.offline)
    size = fit_size(timeline.size, *native_size(folder))
    writer = open_writer(
        output,
        timeline.fps,
        size,
        overwrite=overwrite or dry_run,
        columns=timeline.columns,
        length=work.frames,
    )
    if dry_run:
        writer.abort()
        _say_plan(_load(settings, folder), work, size, settings.batch_size, output, report)
        return None
    _write(writer, output, settings, folder, timeline, work, report)
    frames = f"{work.frames} frame{'s' if work.frames > 1 else ''}"
    report(f"{output}: {frames} of {size[0]}x{size[1]}, seed {settings.seed}")
    return Path(output)


def _write(
    writer: Writer,
    output: str,
    settings: RenderSettings,
    folder: Path,
    timeline: Timeline,
    work: Plan,
    report: Report,
) -> None:
    made = 0
    try:
        with writer, _Bar(work) as bar:
            studio = _load(settings, folder)
            rendering = studio.render(
                timeline, batch_size=settings.batch_size, on_evaluations=bar.advance
            )
            with closing(rendering) as pictures:
                for picture in pictures:
                    writer.add(picture)
                    made += 1
                    bar.frame(made)
    except KeyboardInterrupt:
        if writer.published:
            report(f"stopped: {made} of {work.frames} frames are kept in {output}")
        raise


def _load(settings: RenderSettings, folder: Path) -> Studio:
    from .studio import Studio

    return Studio.load(str(folder), device=settings.device, dtype=settings.dtype, offline=True)


def _say_plan(
    studio: Studio,
    work: Plan,
    size: tuple[int, int],
    batch_size: int | None,
    output: str,
    report: Report,
) -> None:
    batch = studio.suggested_batch_size(size) if batch_size is None else batch_size
    between, again = work.rendered - work.shots, work.frames - work.rendered
    seconds = studio.estimate_seconds(work, size, batch)
    disk = human(estimate_bytes(Path(output).suffix, size, work.frames))
    report(f"output       {output}, {size[0]}x{size[1]} pixels")
    back = f", {again} played back" if again else ""
    report(f"frames       {work.frames}: {work.shots} denoised, {between} in between{back}")
    report(f"U-Net calls  {work.evaluations} on one picture each, up to {2 * batch} at a time")
    report(f"time         about {_clock(seconds)} on {studio.parts.device}")
    report(f"disk         about {disk}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{max(1, rest)} s"


class _Bar(AbstractContextManager["_Bar"]):
    """A progress bar on standard error; its time left is for the whole job."""

    def __init__(self, work: Plan) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(file=sys.stderr)
        self._work = work
        self._progress: Any = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: Any = self._progress.add_task(
            f"frame 0/{work.frames}", total=work.evaluations + work.frames
        )

    def advance(self, evaluations: int) -> None:
        self._progress.advance(self._task, evaluations)

    def frame(self, made: int) -> None:
        self._progress.update(
            self._task, advance=1, description=f"frame {made}/{self._work.frames}"
        )

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._progress.stop()
