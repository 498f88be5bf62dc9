"""Seed walks: a film in which the noise travels, from seed to seed or around one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcreative import hookimpl

if TYPE_CHECKING:
    from sdcreative import PictureTool

SUMMARY = "make a film that walks through the pictures of many seeds"


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {"seed_walk": SUMMARY}


@hookimpl
def sdcreative_tools() -> list[PictureTool]:
    from sdcreative import PictureTool

    from .settings import SeedWalkSettings
    from .timeline import timeline

    return [PictureTool("seed_walk", SUMMARY, SeedWalkSettings, timeline, ".mp4")]
