"""`sdcreative TOOL` and `sdcreative run`: a preset and flags become settings, settings a run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..errors import PresetError, UsageError
from ..host import Host, plugins_enabled
from .own_flags import own_flags, own_values

if TYPE_CHECKING:
    from ..presets import Preset
    from ..presets.parsing import KeyPath
    from ..settings import RenderSettings
    from ..spreading.wanted import Spread
    from ..studio import Studios
    from ..tools import Tool


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> str | int | None:
    """Leaves judging to the settings, which know what they take; only 512 becomes a number."""
    return int(value) if value and re.fullmatch(r"\d{1,6}", value) else value


def setting_flags() -> list[click.Option]:
    """Flags that stand for the settings key of the same name, in every tool."""
    return [
        click.Option(["--model"], metavar="NAME", help="Built-in name, folder, file, or hub id."),
        click.Option(["--seed"], type=int, help="Of the noise; -1 draws one and prints it."),
        click.Option(["--steps"], type=int, help="Sampling steps."),
        click.Option(["--sampler"], metavar="NAME", help="Such as 'Euler a' or 'DPM++ 2M Karras'."),
        click.Option(["--guidance-scale"], type=float, help="How closely to follow the prompt."),
        click.Option(["--speed"], metavar="NAME", help="exact, or fast, which changes pictures."),
        click.Option(
            ["--preview"], is_flag=True, default=None, help="Few steps and a quick decoder."
        ),
        click.Option(["--size"], callback=_size, metavar="SIZE", help="Pixels: 512 or 768x512."),
        click.Option(["-o", "--output"], metavar="PATH", help="File to write; its ending decides."),
        click.Option(["--device"], metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps."),
        click.Option(["--batch-size"], type=int, help="Pictures denoised together."),
        click.Option(["--models-dir"], metavar="FOLDER", help="Where models are found by name."),
        click.Option(["--low-memory"], is_flag=True, default=None, help="Take little memory."),
        click.Option(["--offline"], is_flag=True, default=None, help="Never ask the model hub."),
    ]


def other_flags() -> list[click.Option]:
    """Flags of every tool that stand for no setting."""
    return [
        click.Option(
            ["--set", "assignments"],
            multiple=True,
            metavar="KEY.PATH=VALUE",
            help="Change any setting; may be repeated.",
        ),
        click.Option(["--overwrite"], is_flag=True, help="Replace output that exists."),
        click.Option(
            ["--keep/--no-keep"],
            default=True,
            help="Keep finished frames, to go on after a stop (default).",
        ),
        click.Option(
            ["--metadata/--no-metadata"],
            default=True,
            help="Write the settings into the output (default).",
        ),
        click.Option(["--dry-run"], is_flag=True, help="Say what would be done; do nothing."),
        *spread_flags(),
        click.Option(
            ["--shard"],
            metavar="I/N",
            help="Only keep the frames of one of N shards, for 'sdcreative runs merge'.",
        ),
    ]


def spread_flags() -> list[click.Option]:
    """Flags that say who renders the frames."""
    return [
        click.Option(
            ["--workers"], metavar="N|DEVICES", help="Processes: a number, or cuda:0,cuda:1."
        ),
        click.Option(
            ["--ray"],
            is_flag=False,
            flag_value="local",
            metavar="[ADDRESS]",
            help="Render on a Ray cluster: ray://host:port, or one of this machine.",
        ),
    ]


def spread_of(flags: Mapping[str, Any], told: RenderSettings | None = None) -> Spread | None:
    """What they say; None where they say nothing.

    Args:
        flags: with ``workers``, ``ray`` and ``shard``, which may be missing.
        told: settings that workers are told instead of the film's.

    Raises:
        UsageError: values that make no sense.
    """
    given = [flags.get(name) for name in ("workers", "ray", "shard")]
    if not any(given):
        return None
    from ..spreading.wanted import read_spread

    alone = click.get_current_context().find_root().params.get("no_plugins", False)
    plugins = plugins_enabled() and not alone
    return replace(read_spread(*given), told=told, plugins=plugins)


def tool_command(tool: Tool) -> click.Command:
    """The command of one tool; flags its settings lack are hidden, and refused when given."""
    key = getattr(tool, "argument", None)

    def callback(source: str | tuple[str, ...], **flags: Any) -> None:
        text = source if isinstance(source, str) else " ".join(source)
        if key and not is_preset(text):
            if any(one.split("=")[0].strip() == key for one in flags["assignments"]):
                raise UsageError(f"--set {key}=...: {key} is given by the words already")
            preset = load(None, tool, flags, {(key,): (text, key.upper())})
            execute(tool, preset, _file_name(text), flags)
        else:
            preset = load(text, tool, flags)
            execute(tool, preset, Path(text).stem, flags)

    flags = setting_flags()
    for flag in flags:
        flag.hidden = flag.name not in tool.settings.model_fields
    flags += own_flags(tool)
    return click.Command(
        tool.name,
        callback=callback,
        help=f"{tool.summary}\n\nPRESET is a preset file, or the name of a bundled preset.",
        short_help=tool.summary,
        params=[
            click.Argument(
                ["source"],
                nargs=-1 if key else 1,
                required=True,
                metavar=f"PRESET|{key.upper()}..." if key else "PRESET",
            ),
            *flags,
            *other_flags(),
        ],
    )


def run_command(host: Host) -> click.Command:
    """`sdcreative run`: whatever tool the preset names."""

    def callback(source: str, **flags: Any) -> None:
        tool = tool_of_preset(host, load(source, None, {"assignments": flags["assignments"]}))
        execute(tool, load(source, tool, flags), Path(source).stem, flags)

    return click.Command(
        "run",
        callback=callback,
        help="Run a preset with the tool that its 'plugin:' names.",
        params=[
            click.Argument(["source"], metavar="PRESET"),
            *setting_flags(),
            *other_flags(),
        ],
    )


def tool_of_preset(host: Host, preset: Preset) -> Tool:
    """The tool a preset is for.

    Raises:
        PresetError: no such tool is installed, or its plugin failed to load.
    """
    for name in (preset.plugin, preset.plugin.replace("-", "_"), preset.plugin.replace("_", "-")):
        if tool := host.tools.get(name):
            return tool
    if failed := host.failure(preset.plugin):
        raise PresetError(f"{preset.source}: {failed.owner} failed to load: {failed.error}")
    close = difflib.get_close_matches(preset.plugin, host.tools, n=1)
    hint = f"did you mean {close[0]!r}?" if close else "see 'sdcreative plugins'"
    raise PresetError(f"{preset.source}: no plugin has a tool {preset.plugin!r}; {hint}")


def load(
    source: str | None,
    tool: Tool | None,
    flags: Mapping[str, Any],
    words: Mapping[KeyPath, tuple[object, str]] | None = None,
) -> Preset:
    from ..presets import load_preset

    overrides: dict[KeyPath, tuple[object, str]] = dict(words or {})
    for flag in setting_flags():
        value = flags.get(flag.name or "")
        if value is None or flag.name is None:
            continue
        if tool and flag.name not in tool.settings.model_fields:
            raise UsageError(f"{flag.opts[-1]}: {tool.name!r} has no setting {flag.name!r}")
        overrides[flag.name,] = (value, flag.opts[-1])
    if tool:
        overrides |= {(key,): given for key, given in own_values(tool, flags).items()}
    return load_preset(source, overrides, flags["assignments"], plugin=tool.name if tool else None)


def execute(
    tool: Tool,
    preset: Preset,
    default_name: str,
    flags: Mapping[str, Any],
    studios: Studios | None = None,
) -> None:
    """Run a tool with a preset; ``studios`` keeps the model for the next one."""
    from ..presets import validate
    from ..tools import Job, PictureTool

    overwrite, dry_run = flags["overwrite"], flags["dry_run"]
    if isinstance(tool, PictureTool):
        settings = validate(preset, tool.settings)
        from ..produce import produce
        from ..soundtrack import plan_music, with_music

        if dry_run and not plan_music(settings, click.echo):
            return
        how: Any = {"report": click.echo, "keep": flags["keep"], "studios": studios}
        with with_music(tool, settings, **how) as film:
            produce(
                film.tool,
                film.settings,
                default_name=default_name,
                overwrite=overwrite,
                dry_run=dry_run,
                metadata=flags["metadata"],
                spread=spread_of(flags, film.heard),
                **how,
            )
    else:
        if spread_of(flags) is not None:
            raise UsageError(f"{tool.name!r} renders no film; leave out --workers, --ray, --shard")
        tool.run(
            validate(preset, tool.settings), Job(overwrite, dry_run, click.echo, flags["metadata"])
        )


def is_preset(text: str) -> bool:
    from ..presets import bundled_presets

    if Path(text).suffix.lower() in (".yaml", ".yml"):
        return True
    return text in {path.stem for path in bundled_presets()}


def _file_name(words: str) -> str:
    """Words as a file name: letters and digits of any script, at most 60 of them."""
    return re.sub(r"\W+", "_", words)[:60].strip("_") or "picture"
