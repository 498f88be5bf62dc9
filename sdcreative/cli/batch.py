"""`sdcreative batch`: presets one after another; what fails does not stop the rest."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import SdcreativeError, UsageError
from ..host import Host
from .tables import table
from .tools import execute, load, other_flags, tool_of_preset

if TYPE_CHECKING:
    from ..presets import Preset
    from ..studio import Studios
    from ..tools import Tool


@dataclass
class Entry:
    """A preset in the queue.

    Attributes:
        preset: as the user gave it.
        output: what it writes; "" where that is not known.
        frames: how many; None where that is not known, as before a film's music is there.
        seconds: how long it took.
        result: "waiting", "ok", "error" or "stopped".
        error: why, in one line or more.
    """

    preset: str
    output: str = ""
    frames: int | None = None
    seconds: float = 0.0
    result: str = "waiting"
    error: str = ""
    run: tuple[Tool, Preset] | None = field(default=None, repr=False)


def batch_command(host: Host) -> click.Command:
    """`sdcreative batch FOLDER|PRESET...`."""

    def callback(sources: tuple[str, ...], output: str | None, as_json: bool, **flags: Any) -> None:
        from ..studio import Studios

        queue = [_prepare(host, source, output, flags) for source in _presets(sources)]
        _refuse_clashes(queue)
        lines = contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext()
        studios = Studios()
        try:
            with lines:
                for number, entry in enumerate(queue, 1):
                    click.echo(f"[{number}/{len(queue)}] {entry.preset}")
                    _run(entry, flags, studios)
        finally:
            _summarise(queue, as_json)
        if any(entry.result == "error" for entry in queue):
            click.get_current_context().exit(1)

    return click.Command(
        "batch",
        callback=callback,
        short_help="run presets one after another",
        help="Run presets one after another, each as 'sdcreative run' does; a failure does not "
        "stop the rest.\n\nA FOLDER stands for all presets in it, in the order of their names.",
        params=[
            click.Argument(["sources"], nargs=-1, required=True, metavar="FOLDER|PRESET..."),
            click.Option(["-o", "--output"], metavar="FOLDER", help="Where all outputs go."),
            click.Option(["--json", "as_json"], is_flag=True, help="For scripts."),
            *other_flags(),
        ],
    )


def _presets(sources: Sequence[str]) -> Iterator[str]:
    for source in sources:
        if not os.path.isdir(source):
            yield source
            continue
        found = sorted(p for p in Path(source).iterdir() if p.suffix.lower() in (".yaml", ".yml"))
        if not found:
            raise UsageError(f"{source}: no presets (.yaml) in this folder")
        yield from map(str, found)


def _prepare(host: Host, source: str, folder: str | None, flags: Mapping[str, Any]) -> Entry:
    """Reads a preset, and finds out what it will write; its faults come out in its turn."""
    from ..presets import validate
    from ..sound.settings import names_music
    from ..tools import PictureTool

    entry = Entry(source)
    try:
        tool = tool_of_preset(host, load(source, None, flags))
        preset = load(source, tool, flags)
        settings = validate(preset, tool.settings)
        entry.output = str(getattr(settings, "output", None) or "")
        if isinstance(tool, PictureTool) and not entry.output:
            entry.output = f"{Path(source).stem}{tool.suffix}"
        if folder is not None:
            entry.output = _inside(folder, entry.output or Path(source).stem)
            preset = load(source, tool, {**flags, "output": entry.output})
            settings = validate(preset, tool.settings)
        entry.run = tool, preset
        if isinstance(tool, PictureTool) and not names_music(settings):
            entry.frames = len(tool.plan(settings))
    except SdcreativeError as error:
        entry.error = str(error)
    except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the queue
        entry.error = _unexpected(error)
    return entry


def _inside(folder: str, output: str) -> str:
    """The output's own name in a folder; a folder of frames keeps its last slash."""
    end = "/" if output.endswith(("/", "\\")) else ""
    return os.path.join(folder, Path(output).name + end)


def _refuse_clashes(queue: Sequence[Entry]) -> None:
    writers: dict[str, str] = {}
    for entry in queue:
        if entry.error or not entry.output:
            continue
        place = os.path.normcase(os.path.realpath(os.path.expanduser(entry.output)))
        if place in writers:
            raise UsageError(
                f"{writers[place]} and {entry.preset} both write {entry.output}; "
                "set another 'output' in one of them, or run them in two batches"
            )
        writers[place] = entry.preset


def _run(entry: Entry, flags: Mapping[str, Any], studios: Studios) -> None:
    began = time.monotonic()
    try:
        if entry.run is not None and not entry.error:
            execute(*entry.run, Path(entry.preset).stem, flags, studios)
    except KeyboardInterrupt:
        entry.result = "stopped"
        raise
    except SdcreativeError as error:
        entry.error = str(error)
    except Exception as error:  # noqa: BLE001 - a plugin's fault must not end the queue
        entry.error = _unexpected(error)
    finally:
        entry.seconds = time.monotonic() - began
    entry.result = "error" if entry.error else "ok"
    for line in entry.error.splitlines():
        click.echo(f"error: {line}", err=True)


def _unexpected(error: Exception) -> str:
    reason = (str(error).splitlines() or [""])[0]
    return f"unexpected {type(error).__name__}: {reason}; 'sdcreative --debug run ...' shows where"


def _summarise(queue: Sequence[Entry], as_json: bool) -> None:
    if as_json:
        import json

        rows = [{k: v for k, v in vars(entry).items() if k != "run"} for entry in queue]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    lines = [
        (
            entry.preset,
            entry.output or "-",
            "-" if entry.frames is None else str(entry.frames),
            f"{entry.seconds:.1f}",
            f"error: {entry.error.splitlines()[0]}" if entry.error else entry.result,
        )
        for entry in queue
    ]
    click.echo(table(("PRESET", "OUTPUT", "FRAMES", "SECONDS", "RESULT"), lines))
