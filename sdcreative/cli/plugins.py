"""`sdcreative plugins`: what is installed, what failed and why, and a start for a new one."""

from __future__ import annotations

from pathlib import Path

import click

from ..host import Host
from .tables import json_flag, table


def plugins_group(host: Host) -> click.Group:
    """The group; bare, it lists."""

    @click.group("plugins", invoke_without_command=True, help="List plugins, or start a new one.")
    @json_flag
    @click.pass_context
    def plugins(ctx: click.Context, as_json: bool) -> None:
        if ctx.invoked_subcommand is None:
            _list(host, as_json)

    @plugins.command("list", help="What is installed, what it registers, what failed and why.")
    @json_flag
    def list_(as_json: bool) -> None:
        _list(host, as_json)

    @plugins.command(help="Write a package with a working tool, preset and test, to build on.")
    @click.argument("name")
    @click.option(
        "--path",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path(),
        help="Folder to put the package's folder into; here, if left out.",
    )
    def new(name: str, path: Path) -> None:
        from ..scaffold import write_plugin

        folder = write_plugin(name, path, taken=[*host.tools, *host.commands])
        click.echo(f"wrote {folder}")
        click.echo(f"install it:  pip install -e '{folder}[test]'")
        click.echo(f"test it:     python -m pytest {folder}")
        click.echo(f"run it:      sdcreative {name} {folder / 'presets' / name}.yaml")

    return plugins


def _list(host: Host, as_json: bool) -> None:
    if as_json:
        import json
        from dataclasses import asdict

        click.echo(json.dumps([asdict(report) for report in host.report], indent=2))
        return
    rows = [
        (
            report.name,
            report.version,
            report.package,
            f"FAILED: {report.error}" if report.error else ", ".join(report.registers),
        )
        for report in host.report
    ]
    click.echo(table(("NAME", "VERSION", "PACKAGE", "REGISTERS"), rows))
