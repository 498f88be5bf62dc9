"""`sdcreative runs resume` and `runs merge`: what is missing of a run, from here or elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DataError, RenderError, UsageError
from ..host import Host
from .tools import spread_flags, spread_of

if TYPE_CHECKING:
    from ..runs.manifest import Manifest
    from ..settings import RenderSettings
    from ..tools import PictureTool

Changes = dict[str, Any]


def output_flags() -> list[click.Option]:
    return [
        click.Option(["-o", "--output"], metavar="PATH", help="Another file; its ending decides."),
        click.Option(["--overwrite"], is_flag=True, help="Replace output that exists."),
    ]


def resume_command(host: Host) -> click.Command:
    """`sdcreative runs resume RUN`."""

    def callback(run: str, overwrite: bool, device: str | None, **flags: Any) -> None:
        from ..runs.run import find_run

        changes = {"device": device, "batch_size": flags["batch_size"], "output": flags["output"]}
        _go_on(host, find_run(run), changes, overwrite, flags)

    return click.Command(
        "resume",
        callback=callback,
        help="Go on with a run, or encode its frames again: frames that are there are not "
        "rendered, and where none is missing no model is loaded.",
        params=[
            click.Argument(["run"]),
            *output_flags(),
            click.Option(["--device"], metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps."),
            click.Option(["--batch-size"], type=int, help="Pictures denoised together."),
            *spread_flags(),
        ],
    )


def merge_command(host: Host) -> click.Command:
    """`sdcreative runs merge RUN [FOLDER ...]`."""

    def callback(run: str, folders: tuple[str, ...], output: str | None, overwrite: bool) -> None:
        from ..guarding import ranges
        from ..spreading.merging import merge

        found = merge(run, [Path(folder).expanduser() for folder in folders])
        name = found.run.id
        click.echo(f"run {name}: {found.taken} frames taken from elsewhere")
        if found.missing:
            raise RenderError(
                f"run {name}: {len(found.missing)} of {found.run.frames} frames are missing: "
                f"{ranges([*found.missing])}; render their shards and merge again, or go on here "
                f"with 'sdcreative runs resume {name}'"
            )
        _go_on(host, found.run, {"output": output}, overwrite, {})

    return click.Command(
        "merge",
        callback=callback,
        help="Take the frames of a run from other machines' SDCREATIVE_HOME folders, and encode "
        "it where none is missing.",
        params=[
            click.Argument(["run"]),
            click.Argument(["folders"], nargs=-1, metavar="[FOLDER]..."),
            *output_flags(),
        ],
    )


def _go_on(host: Host, run: Manifest, changes: Changes, overwrite: bool, flags: Changes) -> None:
    """Render what is missing of a run, and encode it."""
    from ..produce import produce
    from ..soundtrack import with_music

    output = os.path.abspath(changes["output"]) if changes["output"] else run.output
    tool, settings = settings_of(host, run, {**changes, "output": output})
    with inside(run.folder), with_music(tool, settings, report=click.echo) as film:
        produce(
            film.tool,
            film.settings,
            default_name=run.name,
            overwrite=overwrite,
            dry_run=False,
            report=click.echo,
            metadata=run.metadata,
            spread=spread_of(flags, film.heard),
        )


@contextmanager
def inside(folder: str) -> Iterator[None]:
    """Paths in a run's settings are meant from where it was begun."""
    before = os.getcwd()
    if os.path.isdir(folder):
        os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def settings_of(
    host: Host, run: Manifest, changes: dict[str, Any]
) -> tuple[PictureTool, RenderSettings]:
    """The tool of a run, and its settings with changes."""
    import json

    from pydantic import ValidationError

    from ..tools import PictureTool

    tool = host.tools.get(run.tool)
    if not isinstance(tool, PictureTool):
        raise UsageError(
            f"run {run.id} was made by the tool {run.tool!r}, which is not installed; "
            "see 'sdcreative plugins'"
        )
    wanted = {**run.settings, **{k: v for k, v in changes.items() if v is not None}}
    try:
        settings: RenderSettings = tool.settings.model_validate_json(json.dumps(wanted))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DataError(
            f"run {run.id}: {where}: {first['msg']}; it was made by {run.tool} of another version"
        ) from None
    return tool, settings
