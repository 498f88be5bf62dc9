"""The command line: a command per tool, `run`, `presets` and `plugins`; errors are one line."""

from __future__ import annotations

import difflib
import itertools
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from .. import __version__
from ..errors import SdcreativeError, UsageError
from ..host import Host, plugins_enabled
from .attention import attention_command
from .batch import batch_command
from .clip import classify_command, score_command
from .models import models_group
from .plugins import plugins_group
from .presets import presets_group
from .provenance import diff_command, from_command
from .runs import runs_group
from .smoothness import smoothness_command
from .spectrogram import spectrogram_group
from .storyboard import storyboard_command
from .tokens import tokens_command
from .tools import run_command, tool_command

INTERRUPTED = 130


class ToolGroup(click.Group):
    """The top level; a tool becomes a command only when someone asks for it."""

    def __init__(self, host: Host, **options: Any) -> None:
        super().__init__(**options)
        self._host = host

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*self.commands, *self._host.summaries})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.commands:
            return self.commands[cmd_name]
        if tool := self._host.tools.get(cmd_name):
            return tool_command(tool)
        return self._host.commands.get(cmd_name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not (name.startswith("-") or ctx.resilient_parsing or self.get_command(ctx, name)):
            if failed := self._host.failure(name):
                raise UsageError(f"{failed.owner} failed to load: {failed.error}")
            close = difflib.get_close_matches(name, self.list_commands(ctx), n=1)
            hint = f"did you mean {close[0]!r}?" if close else "see 'sdcreative --help'"
            raise UsageError(f"there is no command {name!r}; {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        ours = {name: c.get_short_help_str(limit=100) for name, c in self.commands.items()}
        for title, lines in [("Tools", self._host.summaries), ("Commands", ours)]:
            if lines:
                with formatter.section(title):
                    formatter.write_dl(sorted(lines.items()))


def build_cli(host: Host) -> click.Group:
    """The command line over the tools and commands that a host has loaded."""
    group = ToolGroup(
        host,
        name="sdcreative",
        help="Films and pictures by latent diffusion, from preset files.",
        context_settings={"help_option_names": ["-h", "--help"]},
        no_args_is_help=True,
        # main() reads both before click does; they are here for the help and the parser.
        params=[
            click.Option(["--no-plugins"], is_flag=True, help="Leave out third-party plugins."),
            click.Option(["--debug"], is_flag=True, help="Show the traceback of an error."),
        ],
        callback=lambda no_plugins, debug: None,
        epilog="Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C.",
    )
    click.version_option(__version__, prog_name="sdcreative")(group)
    for command in (
        run_command(host),
        presets_group(host),
        plugins_group(host),
        runs_group(host),
        batch_command(host),
        from_command(host),
        diff_command(host),
        smoothness_command(host),
        storyboard_command(host),
        spectrogram_group(),
        tokens_command(),
        attention_command(),
        score_command(),
        classify_command(),
        models_group(),
    ):
        group.add_command(command)
    return group


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Runs the command line, and exits with 0, 1 (failed), 2 (usage) or 130 (Ctrl-C)."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    leading = set(itertools.takewhile(lambda word: word.startswith("-"), words))
    code = 0
    try:
        host = Host.load(enabled=plugins_enabled() and "--no-plugins" not in leading)
        result = build_cli(host).main(words, prog_name="sdcreative", standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except SdcreativeError as error:
        if "--debug" in leading:
            traceback.print_exc()
        code = _complain(str(error), error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        code = error.exit_code
    except click.ClickException as error:
        context = error.ctx if isinstance(error, click.UsageError) else None
        where = f" (see '{context.command_path} --help')" if context else ""
        code = _complain(error.format_message() + where, error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        code = _complain("stopped by Ctrl-C", INTERRUPTED)
    except BrokenPipeError:
        raise
    except Exception as error:  # noqa: BLE001 - a fault of ours or of a plugin, said in one line
        if "--debug" in leading:
            traceback.print_exc()
        reason = (str(error).splitlines() or [""])[0]
        code = _complain(
            f"unexpected {type(error).__name__}: {reason}; 'sdcreative --debug ...' shows where", 1
        )
    sys.exit(code)


def _complain(message: str, code: int) -> int:
    for line in message.splitlines():
        click.echo(f"error: {line}", err=True)
    return code
