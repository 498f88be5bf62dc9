"""Feedback films: every picture is made from the one before it, moved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcreative import hookimpl

if TYPE_CHECKING:
    from sdcreative import PictureTool

SUMMARY = "make a film whose camera zooms and turns into each picture to find the next"


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {"feedback": SUMMARY}


@hookimpl
def sdcreative_tools() -> list[PictureTool]:
    from sdcreative import PictureTool

    from .settings import FeedbackSettings
    from .timeline import timeline

    return [PictureTool("feedback", SUMMARY, FeedbackSettings, timeline, ".mp4")]
