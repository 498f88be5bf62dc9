"""`sdcreative smoothness RUN --repair`: the jumps of a run are halved, and the film written."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..host import Host
from .going_on import inside, settings_of
from .runs import model_of, timeline_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from ..core.timeline import Timeline
    from ..outlet import Outlet
    from ..repair import Repair
    from ..runs.manifest import Manifest
    from ..runs.store import FrameStore
    from ..settings import RenderSettings
    from ..studio import Studio
    from ..tools import PictureTool


_WITHOUT_MODEL = ("pixel", "ssim")


def repair_run(
    host: Host, film: Path, output: str | None, *, metric: str, most: int | None, overwrite: bool
) -> None:
    """Repair a run, and say what was done.

    Args:
        host: has the tool that made it.
        film: name of the run.
        output: file to write; None puts "_repaired" behind the name of the run's own.
        metric: name of the distance.
        most: frames to add at most.
        overwrite: whether an output that exists may be replaced.
    """
    run = _find(film)
    target = os.path.abspath(output) if output else _beside(run.output)
    if output and output.endswith(("/", "\\")):
        target += "/"
    tool, settings = settings_of(host, run, {})
    with inside(run.folder):
        _repair(run, tool, settings, target, metric, most, overwrite)


def _find(film: Path) -> Manifest:
    """The run of that name; a film's file alone does not say what lies between its frames."""
    from ..runs.run import find_run, list_runs

    if film.exists():
        place = str(film.resolve())
        written = next((run.id for run in list_runs() if run.output.rstrip("/") == place), None)
        hint = f"give {written}" if written else "see 'sdcreative runs list'"
        raise UsageError(f"{film}: --repair renders frames and needs the run, not its file; {hint}")
    return find_run(str(film))


def _beside(output: str) -> str:
    """In the current folder, named after the run's own output; of the same kind."""
    path = Path(output)
    ending = "/" if output.endswith(("/", "\\")) else ""
    return str(Path.cwd() / f"{path.stem}_repaired{path.suffix}") + ending


def _repair(
    run: Manifest,
    tool: PictureTool,
    settings: RenderSettings,
    target: str,
    metric: str,
    most: int | None,
    overwrite: bool,
) -> None:
    from ..metrics import find_metric
    from ..outlet import Outlet
    from ..provenance import tags
    from ..repair import MOST, repair
    from ..runs.home import frames_folder
    from ..runs.keys import frame_keys
    from ..runs.run import Run
    from ..runs.store import FrameStore
    from ..studio import Studio

    place = model_of(run, settings)
    timeline = timeline_of(run, tool, settings)
    if timeline.score is not None:
        raise UsageError(f"run {run.id} is music; only films that are looked at are repaired")

    @cache
    def studio() -> Studio:
        return Studio.load(place, device=settings.device, dtype=run.dtype)

    def outlet(timeline: Timeline) -> Outlet:
        def described() -> dict[str, str] | None:
            return (
                tags(tool.name, settings, timeline, run.size, run.model) if run.metadata else None
            )

        return Outlet(timeline, run.size, settings.process, target, described, click.echo)

    outlet(timeline).writer(overwrite).abort()  # what is wrong with the output is said at once
    store = FrameStore(frames_folder())
    with Run(run, click.echo) as opened:
        done = repair(
            studio,
            timeline,
            store,
            lambda film: list(frame_keys(film, model=run.model, size=run.size, dtype=run.dtype)),
            find_metric(metric, None if metric in _WITHOUT_MODEL else studio()),
            most=most or MOST,
            batch_size=settings.batch_size or run.batch_size or None,
        )
        opened.add_probes(done.fresh)
    click.echo(_told(run, done, metric, most or MOST))
    if done.fresh:
        _write(outlet(done.timeline), store, done, overwrite)


def _write(outlet: Outlet, store: FrameStore, done: Repair, overwrite: bool) -> None:
    """Put the pictures, which are all in the store, through the film's processors into a file."""
    from ..media.replay import there_and_back
    from ..runs.kept import KeptFrames

    kept = KeptFrames(store, done.keys)
    pictures: Iterable[Image] = map(kept.picture, range(len(done.keys)))
    if done.timeline.ping_pong:
        pictures = there_and_back(pictures)
    with outlet.writer(overwrite) as writer, closing(outlet.process(pictures)) as processed:
        for picture in processed:
            writer.add(picture)
    click.echo(f"{outlet.output}: {outlet.summary}")
    if done.timeline.sound is not None:
        click.echo(f"sound: pictures come later now, by up to {len(done.fresh)} frames")


def _told(run: Manifest, done: Repair, metric: str, most: int) -> str:
    before, after = done.before, done.after
    if not done.mended:
        return f"run {run.id}: no jumps among {len(before.steps)} steps; nothing to repair"
    jumps = f"{len(done.mended)} jump{'s' if len(done.mended) > 1 else ''}"
    lines = [f"run {run.id}: {jumps}, steps above {before.limit:.4g} (metric {metric})"]
    for gap in done.mended:
        left = "" if gap.after <= before.limit else ", still a jump"
        lines.append(
            f"frame {gap.frame} to {gap.frame + 1}: {gap.before:.4g}, {gap.added} added, now "
            f"{gap.after:.4g} at most{left}"
        )
    added = f"{len(done.fresh)} frame{'' if len(done.fresh) == 1 else 's'} added"
    ratios = f"{before.ratio:.2f} before, {after.ratio:.2f} after"
    lines.append(f"{added}; largest / median {ratios}")
    if len(done.fresh) >= most and any(gap.after > before.limit for gap in done.mended):
        lines.append(f"no more than {most} were to be added; a larger --most goes on from there")
    return "\n".join(lines)
