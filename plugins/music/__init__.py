"""Music from text: clips, songs and loops, and what becomes of sounds that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcreative import hookimpl

if TYPE_CHECKING:
    import click

    from sdcreative import PictureTool

SUMMARY = "Music from a prompt: a clip, a song of any length, a loop, or a sound played anew"
FLAGS = (
    "seconds",
    "bars",
    "tempo",
    "loop",
    "negative_prompt",
    "beat",
    "key",
    "audio",
    "strength",
    "stereo",
    "quality",
    "also",
)


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {"music": SUMMARY}


@hookimpl
def sdcreative_tools() -> list[PictureTool]:
    from sdcreative import PictureTool

    from .settings import MusicSettings
    from .timeline import timeline

    return [
        PictureTool(
            "music", SUMMARY, MusicSettings, timeline, ".wav", argument="prompt", flags=FLAGS
        )
    ]


@hookimpl
def sdcreative_commands() -> list[click.Command]:
    from .serve import serve_command

    return [serve_command()]
