"""`sdcreative presets`: list, show, check and describe preset files; nothing here needs torch."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import PresetError, UsageError
from ..host import Host
from .tables import table
from .tools import tool_of_preset


def presets_group(host: Host) -> click.Group:
    """The group; bare, it lists."""

    @click.group("presets", invoke_without_command=True, help="List, show and check presets.")
    @click.pass_context
    def presets(ctx: click.Context) -> None:
        if ctx.invoked_subcommand is None:
            _list()

    @presets.command("list", help="List the bundled presets.")
    def list_() -> None:
        _list()

    @presets.command(help="Print a preset as it stands after 'extends:' and --set.")
    @click.argument("preset")
    @click.option("--set", "assignments", multiple=True, metavar="KEY.PATH=VALUE")
    def show(preset: str, assignments: tuple[str, ...]) -> None:
        import yaml

        from ..presets import load_preset

        loaded = load_preset(preset, None, assignments)
        resolved = {"plugin": loaded.plugin, **loaded.settings}
        text = yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True, width=100)
        click.echo(text, nl=False)

    @presets.command(help="Check preset files; all of a file's errors at once.")
    @click.argument("files", metavar="PRESET...", nargs=-1, required=True)
    def check(files: tuple[str, ...]) -> None:
        faults = [fault for file in files if (fault := _check(host, file))]
        if faults:
            raise PresetError("\n".join(faults))

    @presets.command(help="Print the JSON Schema of a tool's presets, for editors.")
    @click.argument("tool")
    def schema(tool: str) -> None:
        import json

        from ..presets import schema as schema_of

        if tool not in host.tools:
            names = ", ".join(host.tools) or "none"
            raise UsageError(f"there is no tool {tool!r}; installed: {names}")
        click.echo(json.dumps(schema_of(host.tools[tool].settings), indent=2, ensure_ascii=False))

    return presets


def _list() -> None:
    from ..presets import bundled_presets, load_preset

    rows = [(p.stem, load_preset(p).plugin, _first_comment(p)) for p in bundled_presets()]
    click.echo(table(("NAME", "PLUGIN", "SUMMARY"), rows))


def _check(host: Host, file: str) -> str | None:
    """Prints that a preset is sound, or returns its faults, one a line."""
    from ..presets import load_preset, validate

    try:
        preset = load_preset(file, None, ())
        validate(preset, tool_of_preset(host, preset).settings)
    except PresetError as error:
        return str(error)
    click.echo(f"{file}: ok")
    return None


def _first_comment(path: Path) -> str:
    with path.open(encoding="utf-8") as lines:
        first = next(lines, "").strip()
    return first.lstrip("# ") if first.startswith("#") else ""
