"""`sdcreative storyboard`: a film's keyframes and settings as one picture, before rendering."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ..errors import UsageError
from ..host import Host
from .pictures import check_picture
from .tools import load, tool_of_preset


def storyboard_command(host: Host) -> click.Command:
    """The command, for the presets of every tool that makes pictures."""

    @click.command("storyboard", short_help="Show a film's keyframes before it is rendered.")
    @click.argument("source", metavar="PRESET")
    @click.option(
        "-o",
        "--output",
        type=click.Path(dir_okay=False, path_type=Path),
        help="PNG, JPEG or WebP to write; PRESET_storyboard.png if left out.",
    )
    @click.option(
        "--stills",
        type=click.IntRange(1, 200),
        default=12,
        show_default=True,
        help="Frames to show at most; more keyframes are thinned out evenly.",
    )
    @click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY.PATH=VALUE",
        help="Change any setting; may be repeated.",
    )
    @click.option("--overwrite", is_flag=True, help="Replace a picture that exists.")
    def storyboard(
        source: str, output: Path | None, stills: int, assignments: tuple[str, ...], overwrite: bool
    ) -> None:
        """Draw the keyframes of a preset's film, and its settings over the frames.

        Only the stills are rendered, and the music where the preset names any. They are frames of
        the film itself, and it takes them when it is rendered later.
        """
        from ..presets import validate
        from ..tools import PictureTool

        flags: dict[str, Any] = {"assignments": assignments}
        tool = tool_of_preset(host, load(source, None, flags))
        if not isinstance(tool, PictureTool):
            raise UsageError(f"{source}: {tool.name!r} makes no film; there is nothing to show")
        settings = validate(load(source, tool, flags), tool.settings)
        name = Path(source).stem
        target = output or Path(f"{name}_storyboard.png")
        check_picture(target, overwrite)
        from ..media.image import write_picture
        from ..soundtrack import with_music
        from ..storyboard.making import make_storyboard

        with with_music(tool, settings, report=click.echo) as film:
            sheet = make_storyboard(
                film.tool,
                film.settings,
                name,
                most=stills,
                report=click.echo,
                heard=film.heard,
            )
        write_picture(sheet, target, overwrite)
        click.echo(f"{target}: {sheet.width}x{sheet.height}")

    return storyboard
