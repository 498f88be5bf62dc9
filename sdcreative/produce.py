"""A picture tool's settings to a finished file: plan, run folder, model, pictures, writer."""

from __future__ import annotations

import os
import random
from contextlib import ExitStack
from pathlib import Path

from .errors import SdcreativeError, UsageError
from .interrupts import unbroken
from .picture_job import PictureJob
from .production import Arcs, Production
from .progress import Bar
from .runs.kept import Kept
from .settings import RenderSettings
from .spreading.film import FilmWorkers
from .spreading.shards import render_share, share
from .spreading.wanted import Shard, Spread
from .studio import Studios
from .tools import PictureTool, Report


def produce(
    tool: PictureTool,
    settings: RenderSettings,
    *,
    default_name: str,
    overwrite: bool,
    dry_run: bool,
    report: Report,
    keep: bool = True,
    metadata: bool = True,
    studios: Studios | None = None,
    spread: Spread | None = None,
) -> Path | None:
    """Render the timeline that a tool makes of its settings.

    Args:
        tool: the tool.
        settings: an instance of ``tool.settings``.
        default_name: name of the output without its ending, where the settings give none.
        overwrite: whether an existing output may be replaced.
        dry_run: only say what it would take.
        report: prints a line.
        keep: keep every finished frame in a run folder, and take those that are there.
        metadata: write the settings into the output.
        studios: has the model of the last job, and keeps this one's.
        spread: workers that render the frames, or the shard that is rendered; None renders all
            of it here.

    Returns:
        The output, or None for a dry run or a shard.

    Raises:
        UsageError, ModelError, RenderError, OutputError: as the parts say.
        KeyboardInterrupt: Ctrl-C; what was finished is kept as a playable file.
    """
    spread = spread or Spread()
    if spread.shard and not keep:
        raise UsageError("--shard keeps its frames until they are merged; leave out --no-keep")
    if settings.seed == -1:
        if spread.shard:
            raise UsageError("seed -1 draws another seed for every shard; give one with --seed")
        settings = settings.model_copy(update={"seed": random.SystemRandom().randrange(2**32)})
        report(f"seed {settings.seed}")
    job = PictureJob.of(tool, settings, report)
    output = os.path.expanduser(settings.output or f"{default_name}{tool.suffix}")
    with ExitStack() as leaving:
        workers = None
        if spread.has_workers and not dry_run:
            workers = leaving.enter_context(FilmWorkers(job, spread, report))
        work = Production(
            job, default_name, output, report, metadata, studios or Studios(), workers
        )
        # A model without a checker, where one is needed, is said before anything is rendered.
        _ = work.guard
        if dry_run or spread.shard:
            work.outlet.writer(overwrite=True).abort()
        if dry_run:
            work.say_plan()
        elif spread.shard:
            _keep_shard(work, spread.shard)
        elif keep:
            _render_and_keep(work, overwrite)
        else:
            _render(work, overwrite)
    return None if dry_run or spread.shard else Path(output)


def _render(work: Production, overwrite: bool) -> None:
    """Render all, and keep nothing but the output."""
    writer = work.outlet.writer(overwrite)
    try:
        timeline = work.job.timeline
        arcs: Arcs | None = None
        if timeline.retiming is not None:
            timeline, arcs = work.measured(timeline, lambda probe: Kept())
        work.write(writer, timeline, arcs, Kept())
    finally:
        writer.abort()


def _render_and_keep(work: Production, overwrite: bool) -> None:
    """Render what is missing of a run, and write all of it."""
    with ExitStack() as leaving:
        run = leaving.enter_context(work.run())
        run.reserve(work.output)
        writer = work.outlet.writer(overwrite or run.owns(work.output))
        leaving.callback(writer.abort)
        run.begin()
        kept = Kept()
        try:
            timeline, arcs, kept = work.begun(run)
            work.write(writer, timeline, arcs, kept)
        except KeyboardInterrupt:
            with unbroken():
                published = work.output if writer.published else ""
                run.end("stopped", output=published, batch_size=kept.batch_size)
                work.report(f"go on with: sdcreative runs resume {run.manifest.id}")
            raise
        except Exception as error:
            run.end("failed", fault=str(error), batch_size=kept.batch_size)
            if kept.made and isinstance(error, SdcreativeError):
                work.report(
                    f"the {kept.made} frames made so far are kept; the same command, or "
                    f"'sdcreative runs resume {run.manifest.id}', goes on from there"
                )
            raise
        run.end("finished", output=work.output, batch_size=kept.batch_size)


def _keep_shard(work: Production, shard: Shard) -> None:
    """Render what is missing of a shard; no film is written."""
    with work.run(f"{shard.number}-of-{shard.count}") as run:
        run.begin()
        kept = Kept()
        try:
            timeline, arcs, kept = work.begun(run)
            frames = share(timeline, kept, shard, work.job.sizes, work.settings.batch_size)
            kept.only(frames)
            with Bar(
                work.plan(timeline, lambda index: index in kept.missing).evaluations, 0
            ) as bar:
                if work.workers is not None:
                    work.workers.make(timeline, arcs, kept, bar.advance)
                elif kept.missing:
                    render_share(work.studio, timeline, kept, work.job, bar.advance)
        except KeyboardInterrupt:
            run.end("stopped", batch_size=kept.batch_size)
            work.report("stopped; the same command goes on from here")
            raise
        except Exception as error:
            run.end("failed", fault=str(error), batch_size=kept.batch_size)
            raise
        run.end("finished", batch_size=kept.batch_size)
        work.report(
            f"shard {shard}: {len(frames)} of {timeline.length} frames, {kept.made} of them made "
            f"now; once all shards are: sdcreative runs merge {run.manifest.id}"
        )
