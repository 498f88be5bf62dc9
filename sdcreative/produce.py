"""A picture tool's settings to a finished file: plan, model, pictures, writer, report."""

from __future__ import annotations

import random
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .core.timeline import Timeline
from .errors import UsageError
from .media.output import estimate_bytes, human
from .media.writers import open_writer
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
    output = settings.output or f"{default_name}{tool.suffix}"
    if not dry_run:
        _refuse_existing(output, overwrite)
    studio = _load(settings)
    size = studio.check_size(timeline.size)
    batch = settings.batch_size or studio.batch_size(size)
    if dry_run:
        _say_plan(studio, work, size, batch, output, report)
        return None
    made = _write(studio, timeline, work, size, batch, output, overwrite, report)
    frames = f"{made} frame{'s' if made > 1 else ''}"
    report(f"{output}: {frames} of {size[0]}x{size[1]}, seed {settings.seed}")
    return Path(output)


def _write(
    studio: Studio,
    timeline: Timeline,
    work: Plan,
    size: tuple[int, int],
    batch: int,
    output: str,
    overwrite: bool,
    report: Report,
) -> int:
    made = 0
    bar = _Bar(work)
    try:
        with (
            open_writer(
                output,
                timeline.fps,
                size,
                overwrite=overwrite,
                columns=timeline.columns,
                length=work.frames,
            ) as writer,
            bar,
        ):
            pictures = studio.render(timeline, batch_size=batch, on_evaluations=bar.advance)
            for picture in pictures:
                writer.add(picture)
                made += 1
                bar.frame(made)
    except KeyboardInterrupt:
        if made:
            report(f"stopped: {made} of {work.frames} frames are kept in {output}")
        raise
    return made


def _refuse_existing(output: str, overwrite: bool) -> None:
    """Say so before a model is loaded; the writer has the last word."""
    path = Path(output)
    if path.is_file() and not overwrite:
        from .errors import OutputError

        raise OutputError(f"{output} exists; pass --overwrite or choose another -o")


def _load(settings: RenderSettings) -> Studio:
    from .studio import Studio

    return Studio.load(
        settings.model,
        device=settings.device,
        dtype=settings.dtype,
        offline=settings.offline,
    )


def _say_plan(
    studio: Studio,
    work: Plan,
    size: tuple[int, int],
    batch: int,
    output: str,
    report: Report,
) -> None:
    between = work.frames - work.shots
    seconds = studio.estimate_seconds(work, size, batch)
    disk = human(estimate_bytes(Path(output).suffix, size, work.frames))
    report(f"output       {output}, {size[0]}x{size[1]} pixels")
    report(f"frames       {work.frames}: {work.shots} denoised, {between} in between")
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
