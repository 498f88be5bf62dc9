"""`sdcreative runs`: what was rendered, going on with it, checking it, and making room."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from ..errors import DataError, UsageError
from ..host import Host
from .going_on import inside, merge_command, resume_command, settings_of
from .tables import json_flag, table

if TYPE_CHECKING:
    from ..core.timeline import Timeline
    from ..models.places import ModelPlace
    from ..runs.manifest import Manifest
    from ..settings import RenderSettings
    from ..tools import PictureTool


def runs_group(host: Host) -> click.Group:
    """The group; bare, it lists."""

    @click.group("runs", invoke_without_command=True, help="Finished and unfinished renders.")
    @json_flag
    @click.pass_context
    def runs(ctx: click.Context, as_json: bool) -> None:
        if ctx.invoked_subcommand is None:
            _list(as_json)

    @runs.command("list", help="All runs, the latest first.")
    @json_flag
    def list_(as_json: bool) -> None:
        _list(as_json)

    @runs.command(help="All that is known of a run: settings, model, versions, log.")
    @click.argument("run")
    @json_flag
    def show(run: str, as_json: bool) -> None:
        from ..runs.run import find_run

        _show(find_run(run), as_json)

    @runs.command(
        help="Render some frames of a run again, and compare. Exits with 1 if they differ."
    )
    @click.argument("run")
    @click.option("--frames", type=click.IntRange(1), default=8, help="How many (8).")
    @click.option("--seed", type=int, default=0, help="Of the drawing of frames.")
    @click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")
    @json_flag
    def verify(run: str, frames: int, seed: int, device: str | None, as_json: bool) -> int:
        from ..runs.run import find_run

        found = find_run(run)
        tool, settings = settings_of(host, found, {"device": device})
        with inside(found.folder):
            return _verify(found, tool, settings, frames, seed, as_json)

    @runs.command(
        help="Remove runs, and frames that no run has any more. Without any run: only those frames."
    )
    @click.argument("runs", nargs=-1)
    @click.option("--all", "everything", is_flag=True, help="All runs.")
    @click.option("--older-than", type=click.FloatRange(0), metavar="DAYS", help="Runs of before.")
    @click.option("--dry-run", is_flag=True, help="Say what would go; remove nothing.")
    def clean(
        runs: tuple[str, ...], everything: bool, older_than: float | None, dry_run: bool
    ) -> None:
        from ..media.output import human
        from ..runs.cleaning import clean as remove
        from ..runs.run import find_run, list_runs

        if (bool(runs), everything, older_than is not None).count(True) > 1:
            raise UsageError("give one of names, --all and --older-than")
        wanted = [find_run(name) for name in runs]
        if everything or older_than is not None:
            before = time.time() - 86400 * (older_than or 0)
            wanted = [run for run in list_runs() if everything or run.began < before]
        done = remove(wanted, dry_run=dry_run)
        for name in done.busy:
            click.echo(f"{name}: is being rendered; left alone")
        would = "would remove" if dry_run else "removed"
        runs_text = ", ".join(done.runs) or "no run"
        click.echo(f"{would} {runs_text} and {done.frames} frames, {human(done.size)}")

    runs.add_command(resume_command(host))
    runs.add_command(merge_command(host))
    return runs


def _state(run: Manifest) -> str:
    from ..runs.run import is_active

    if run.status == "in shards" and is_active(run):
        return "running"
    if run.status == "running" and not is_active(run):
        return "broken off"
    return run.status


def _count(run: Manifest) -> int:
    from ..runs.home import frames_folder
    from ..runs.run import run_keys
    from ..runs.store import FrameStore

    store = FrameStore(frames_folder())
    return sum(store.has(key) for key in run_keys(run))


def _list(as_json: bool) -> None:
    from ..runs.run import list_runs

    rows = []
    for run in list_runs():
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.began))
        rows.append((run.id, run.tool, _state(run), _count(run), run.frames, when, run.output))
    if as_json:
        import json

        head = ("run", "tool", "state", "there", "frames", "began", "output")
        click.echo(json.dumps([dict(zip(head, row, strict=True)) for row in rows], indent=2))
        return
    lines = [(*row[:3], f"{row[3]}/{row[4]}", *row[5:]) for row in rows]
    click.echo(table(("RUN", "TOOL", "STATE", "FRAMES", "BEGAN", "OUTPUT"), lines))


def _show(run: Manifest, as_json: bool) -> None:
    from ..runs.home import runs_folder
    from ..runs.run import LOG

    if as_json:
        click.echo(run.model_dump_json(indent=2))
        return
    import yaml

    folder = runs_folder() / run.id
    click.echo(f"run        {run.id}, {_state(run)}")
    if run.fault:
        click.echo(f"fault      {run.fault}")
    click.echo(f"frames     {_count(run)} of {run.frames}, {run.size[0]}x{run.size[1]}")
    click.echo(f"seed       {run.seed}")
    click.echo(f"model      {run.model_name} ({run.model}), {run.dtype} on {run.device}")
    click.echo(f"versions   {', '.join(f'{k} {v}' for k, v in run.versions.items())}")
    click.echo(f"output     {run.output}")
    click.echo(f"folder     {folder}")
    settings = {"plugin": run.tool, **run.settings}
    click.echo("\n" + yaml.safe_dump(settings, sort_keys=False, allow_unicode=True, width=100))
    log = folder / LOG
    if log.is_file():
        click.echo(log.read_text("utf-8"), nl=False)


def model_of(run: Manifest, settings: RenderSettings) -> ModelPlace:
    """The model that a run was rendered with.

    Raises:
        DataError: it is another one by now.
    """
    from ..models.digests import model_digest
    from ..models.places import locate
    from ..runs.home import models_file

    place = locate(settings)
    if model_digest(place, models_file()) != run.model:
        raise DataError(f"run {run.id}: model {settings.model} is another one now; render it anew")
    return place


def timeline_of(run: Manifest, tool: PictureTool, settings: RenderSettings) -> Timeline:
    """The frames of a run, where they were placed when it was rendered.

    Raises:
        DataError: what was measured to place them is gone.
    """
    from ..runs.run import run_arcs
    from ..soundtrack import with_music

    with with_music(tool, settings, report=lambda line: click.echo(line, err=True)) as film:
        timeline = film.tool.plan(film.settings)
    if (retiming := timeline.retiming) is None:
        return timeline
    arcs = run_arcs(run, retiming.segments)
    if not arcs:
        raise DataError(f"run {run.id}: what was measured of its path is gone; resume it first")
    return retiming.timeline(arcs)


def _verify(
    run: Manifest, tool: PictureTool, settings: RenderSettings, count: int, seed: int, as_json: bool
) -> int:
    from ..runs.home import frames_folder
    from ..runs.run import run_keys
    from ..runs.store import FrameStore
    from ..studio import Studio
    from ..verify import verify

    place = model_of(run, settings)
    keys = run_keys(run)
    if not keys:
        raise DataError(f"run {run.id}: has no frames; resume it first")
    timeline = timeline_of(run, tool, settings)
    studio = Studio.load(place, device=settings.device, dtype=settings.dtype)
    store = FrameStore(frames_folder())
    found = verify(
        studio,
        timeline,
        store,
        keys,
        count=count,
        seed=seed,
        batch_size=settings.batch_size or run.batch_size or None,
    )
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps(asdict(found), indent=2))
    else:
        click.echo(f"{len(found.identical)} identical, {len(found.close)} within 1/255", nl=False)
        click.echo(f", {len(found.different)} different, {len(found.lacking)} not there")
        for index, worst in found.different:
            click.echo(f"frame {index} differs by up to {worst}/255")
    return 1 if found.different else 0
