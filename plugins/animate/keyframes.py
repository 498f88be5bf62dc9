"""Keyframes as a preset writes them."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from sdcreative import (
    MAX_FRAMES,
    Ease,
    FrameNumber,
    SettingError,
    SizesSettings,
    Strict,
    frames_once,
    split_prompts,
)

from .beats import on_a_beat

TIMES = ("at", "frame", "duration")
_FRAMES = re.compile(r"(\d{1,7}) ?frames?", re.ASCII)

KeyPath = tuple[str | int, ...]


def _number_of_frames(text: str) -> str:
    if not _FRAMES.fullmatch(text):
        raise ValueError(f"{text!r} is no length; give seconds (0.5), or frames ('6 frames')")
    return text


Hold = Annotated[float, Field(ge=0)] | Annotated[str, AfterValidator(_number_of_frames)]
Time = Annotated[float, Field(ge=0)] | Annotated[str, AfterValidator(on_a_beat)]
File = Annotated[str, Field(min_length=1)]


class Keyframe(Strict):
    """A prompt, a picture with a prompt, or a finished still; and when it is shown.

    The time is given in one way for all keyframes of a film: ``at`` in seconds or on a beat,
    ``frame``, ``duration`` up to the next keyframe in seconds, or not at all, which spaces them
    evenly.
    """

    model_config = ConfigDict(
        use_attribute_docstrings=True,
        json_schema_extra={"anyOf": [{"required": ["prompt"]}, {"required": ["still"]}]},
    )

    prompt: str | None = None
    """what is shown; that of the still if left out"""
    image: File | None = None
    """a picture of one's own that is shown; the prompt says what it is of"""
    still: File | None = None
    """a finished picture, made again from the settings in it"""
    negative_prompt: str | None = None
    """what guidance moves away from; the film's own if left out"""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    """how closely to follow the prompt; the film's own if left out"""
    sizes: SizesSettings | None = None
    """what Stable Diffusion XL is told; the film's own if left out"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """noise of this keyframe; on the way to another seed the noise is slerped"""
    at: Time | None = None
    """seconds from the start, or 'beat 16' or 'bar 5', counted from 1"""
    frame: Annotated[int, Field(ge=0, le=MAX_FRAMES)] | None = None
    """frames from the start"""
    duration: Annotated[float, Field(gt=0)] | None = None
    """seconds up to the next keyframe"""
    hold: Hold = 0.0
    """seconds, or '6 frames', that it stays before the way to the next begins"""
    ease: Ease | None = None
    """of the way to the next keyframe"""

    @model_validator(mode="after")
    def _shows_something(self) -> Keyframe:
        if self.image is not None and self.still is not None:
            raise SettingError("give 'image' or 'still', not both", "still")
        if self.prompt is None and self.still is None:
            what = "; it says what the picture shows" if self.image is not None else ""
            raise ValueError(f"missing key 'prompt'{what}")
        return self

    def held(self, fps: float) -> float:
        """How long it stays, in frames."""
        if isinstance(self.hold, str):
            match = _FRAMES.fullmatch(self.hold)
            return float(match[1]) if match else 0.0
        return self.hold * fps


def one_time_each(value: Any) -> Any:
    """Refuse a map of keyframes that have a time beside the map's key."""
    for key, entry in frames_once(value).items() if isinstance(value, dict) else ():
        timed = [name for name in TIMES if isinstance(entry, dict) and name in entry]
        if timed:
            raise SettingError("the map's key is its time; leave this out", key, timed[0])
    return value


KeyframeList = Annotated[list[str | Keyframe], Field(min_length=1)]
KeyframeMap = Annotated[dict[FrameNumber, str | Keyframe], Field(min_length=1)]


def ordered(
    name: str, value: str | list[str | Keyframe] | dict[int, str | Keyframe]
) -> dict[KeyPath, Keyframe]:
    """The keyframes in order, however they are written: path of their key -> keyframe."""
    if isinstance(value, str):
        prompts = split_prompts(value)
        return {(name, i): Keyframe(prompt=prompt) for i, prompt in enumerate(prompts)}
    if isinstance(value, dict):
        return {(name, key): _keyframe(entry, frame=key) for key, entry in sorted(value.items())}
    return {(name, i): _keyframe(entry) for i, entry in enumerate(value)}


def _keyframe(entry: str | Keyframe, **extra: int) -> Keyframe:
    if isinstance(entry, str):
        return Keyframe(prompt=entry, **extra)
    return entry.model_copy(update=extra)
