"""Single pictures and grids: text to image, image to image, inpainting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdcreative import hookimpl

if TYPE_CHECKING:
    from sdcreative import PictureTool

SUMMARY = "make a picture, or a grid of pictures, from a prompt"


@hookimpl
def sdcreative_summaries() -> dict[str, str]:
    return {"image": SUMMARY}


@hookimpl
def sdcreative_tools() -> list[PictureTool]:
    from sdcreative import PictureTool

    from .settings import ImageSettings
    from .timeline import timeline

    return [PictureTool("image", SUMMARY, ImageSettings, timeline, ".png", argument="prompt")]
