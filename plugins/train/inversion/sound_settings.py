"""Settings of a word that is learned from sounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from sdcreative import Strict

from ..tuning.settings import Text

SOURCE = "sounds"
TEMPLATES = {
    "object": ["{}", "a {} solo", "{} solo"],
    "style": ["{}", "{} beat", "{} music"],
}
PROMPTS = {"object": ["{}", "a {} solo"], "style": ["{} music", "{} beat"]}
SCENES = {
    "object": ["funk, {}", "techno, {}", "reggae, {}", "waltz, {}"],
    "style": ["{}, piano", "{}, saxophone", "{}, drums", "{}, guitar"],
}
"""what the built-in model of music knows"""


class SoundFolder(Strict):
    """Three to five sound files in a folder; a caption lies in a .txt beside one, or nowhere."""

    source: Literal["sounds"]
    folder: Text
    captions: str | None = None
    """name of a JSONL or CSV file in that folder"""
    every: Annotated[float, Field(gt=0, le=3600)] | None = None
    """seconds from the beginning of a clip to that of the next; as many as the model's pictures
    last if left out"""


def for_sounds(values: Any) -> Any:
    """Settings of `learn` as they are where sounds are learned, with phrases that suit these.

    Args:
        values: as they were given, not checked yet.

    Returns:
        the same, if they are of pictures.

    Raises:
        ValueError: mirrored or cropped sounds: these run backwards, or are of another pitch.
    """
    data = values.get("data") if isinstance(values, Mapping) else None
    if not isinstance(data, SoundFolder) and not (
        isinstance(data, Mapping) and data.get("source") == SOURCE
    ):
        return values
    if values.get("mirror") or values.get("crops"):
        raise ValueError(
            "sounds are neither mirrored nor cropped, which would make other sounds of them; "
            "leave out mirror and crops, and set data.every for more clips"
        )
    kind = "style" if values.get("kind") == "style" else "object"
    usual = {"prompts": PROMPTS[kind], "scenes": SCENES[kind]}
    judge = values.get("judge", {})
    if isinstance(judge, Mapping):
        judge = {**judge, **{key: one for key, one in usual.items() if not judge.get(key)}}
    templates = values.get("templates") or TEMPLATES[kind]
    return {**values, "mirror": False, "templates": templates, "judge": judge}
