"""Prompt animations: a film that walks from prompt to prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcreative import hookimpl

if TYPE_CHECKING:
    from sdcreative import PictureTool

SUMMARY = "make a film that morphs from prompt to prompt"


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {"animate": SUMMARY}


@hookimpl
def sdcreative_tools() -> list[PictureTool]:
    from sdcreative import PictureTool

    from .settings import AnimateSettings
    from .timeline import timeline

    return [PictureTool("animate", SUMMARY, AnimateSettings, timeline, ".mp4")]
