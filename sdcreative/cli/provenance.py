"""`sdcreative from` and `sdcreative diff`: finished files back to settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import DataError, OutputError, UsageError
from ..host import Host
from .tables import json_flag
from .tools import is_preset, tool_of_preset

if TYPE_CHECKING:
    from ..provenance import Change, Provenance
    from ..tools import Tool


def from_command(host: Host) -> click.Command:
    """`sdcreative from FILE`: a preset that renders the file again."""

    @click.command("from", short_help="turn a finished file back into a preset")
    @click.argument("file", type=click.Path(path_type=Path))
    @click.option("-o", "--output", metavar="PATH", help="Preset file to write; printed without.")
    @click.option("--overwrite", is_flag=True, help="Replace a preset file that exists.")
    def from_(file: Path, output: str | None, overwrite: bool) -> None:
        """Turn a finished picture, film or sound back into a preset that renders it again."""
        from ..media.output import write_text
        from ..provenance import another_output, preset_text, read_provenance

        if output is not None and Path(output).suffix.lower() not in (".yaml", ".yml"):
            raise UsageError(f"-o {output}: a preset ends in .yaml")
        provenance = read_provenance(file)
        tool = _tool(host, provenance, file)
        again = None
        if "output" in tool.settings.model_fields:
            again = another_output(file, getattr(tool, "suffix", None))
        text = preset_text(provenance, tool.name, tool.settings, file, again)
        if output is None:
            click.echo(text, nl=False)
        else:
            write_text(Path(output).expanduser(), text, overwrite)
            click.echo(f"wrote {output}; run it with:  sdcreative run {output}")
        for item in provenance.left_out:
            click.echo(f"not taken over: {item}", err=True)

    return from_


def diff_command(host: Host) -> click.Command:
    """`sdcreative diff A B`: which settings differ."""

    @click.command("diff", short_help="show which settings of two files or presets differ")
    @click.argument("first", metavar="A")
    @click.argument("second", metavar="B")
    @json_flag
    def diff(first: str, second: str, as_json: bool) -> None:
        """Show which settings differ; A and B are finished files, preset files or bundled presets.

        Exit codes: 0 no difference, 1 some, 2 could not be compared.
        """
        from ..provenance import Change, differences

        try:
            (before, old), (after, new) = _settings(host, first), _settings(host, second)
        except (DataError, OutputError) as error:
            raise UsageError(str(error)) from error  # 1 already means that they differ
        changes = differences(before, after)
        if old and new and old != new:
            changes.append(Change("weights of the model", old, new))
        _say(changes, as_json)
        click.get_current_context().exit(1 if changes else 0)

    return diff


def _say(changes: list[Change], as_json: bool) -> None:
    if as_json:
        import json

        rows = [{"setting": c.setting, "a": c.before, "b": c.after} for c in changes]
        click.echo(json.dumps({"equal": not rows, "changes": rows}, indent=2, ensure_ascii=False))
        return
    for change in changes:
        click.echo(str(change))


def _tool(host: Host, provenance: Provenance, file: Path) -> Tool:
    from ..presets import Preset

    return tool_of_preset(host, Preset(provenance.plugin, {}, file))


def _settings(host: Host, source: str) -> tuple[dict[str, Any], str | None]:
    """What decides what a preset or a finished file shows, and the digest of its model."""
    from ..presets import load_preset, validate
    from ..provenance import kept_settings, read_provenance, resolve

    path = Path(source).expanduser()
    digest = None
    if not path.is_dir() and (is_preset(source) or not (path.suffix or path.exists())):
        preset = load_preset(source)
        tool = tool_of_preset(host, preset)
        settings = validate(preset, tool.settings)
    else:
        provenance = read_provenance(path)
        tool = _tool(host, provenance, path)
        settings = resolve(provenance, tool.settings, path)
        digest = provenance.digest
    return {"plugin": tool.name, **kept_settings(tool.name, settings)}, digest
