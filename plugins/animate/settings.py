"""Settings of the `animate` tool."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from sdcreative import RenderSettings, Strict, UsageError
from sdcreative.core.easing import find_easing


class Keyframe(Strict):
    """A prompt, and when it is shown.

    The time is given in one way for all keyframes of a film: ``at`` in seconds, ``frame``,
    ``duration`` up to the next keyframe in seconds, or not at all, which spaces them evenly.
    """

    prompt: str
    negative_prompt: str | None = None
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """noise of this keyframe; on the way to another seed the noise is slerped"""
    at: Annotated[float, Field(ge=0)] | None = None
    frame: Annotated[int, Field(ge=0)] | None = None
    duration: Annotated[float, Field(gt=0)] | None = None
    ease: str | None = None
    """of the way to the next keyframe"""

    @field_validator("ease")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return None if name is None else _known_easing(name)


class AnimateSettings(RenderSettings):
    """A film through two or more keyframes.

    ``keyframes`` is a list of keyframes or plain prompts, or Deforum's map of frame numbers to
    prompts; ``prompts: a | b | c`` is short for keyframes without times.
    """

    keyframes: Annotated[list[Keyframe], Field(min_length=2)]
    negative_prompt: str = ""
    frames: Annotated[int, Field(ge=2)] | None = None
    seconds: Annotated[float, Field(gt=0)] | None = None
    fps: Annotated[float, Field(ge=0.01, le=1000)] = 12.0
    interpolation: Literal["slerp", "lerp"] = "slerp"
    """of the embeddings, token by token"""
    ease: str = "linear"
    coherence: Annotated[float, Field(ge=0, le=1)] = 0.5
    """share of the steps that neighbouring frames have in common, most in mid-segment"""
    inbetween: Annotated[int, Field(ge=0, le=100)] = 0
    """frames made from the latents of the denoised frames on both sides, in every gap"""
    loop: bool = False
    ping_pong: bool = False

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        data = dict(data)
        if "prompts" in data:
            if "keyframes" in data:
                raise ValueError("give 'prompts' or 'keyframes', not both")
            prompts = data.pop("prompts")
            if isinstance(prompts, str):
                prompts = [prompt.strip() for prompt in prompts.split("|")]
            data["keyframes"] = prompts
        return data

    @field_validator("keyframes", mode="before")
    @classmethod
    def _keyframe_forms(cls, value: Any) -> Any:
        if isinstance(value, dict):
            frames = {_frame_number(key): entry for key, entry in value.items()}
            value = [_as_keyframe(frames[key], frame=key) for key in sorted(frames)]
        return [_as_keyframe(entry) for entry in value] if isinstance(value, list) else value

    @field_validator("ease")
    @classmethod
    def _known(cls, name: str) -> str:
        return _known_easing(name)

    @model_validator(mode="after")
    def _fits_together(self) -> AnimateSettings:
        if self.loop and self.ping_pong:
            raise ValueError("'loop' and 'ping_pong' exclude each other")
        if self.frames is not None and self.seconds is not None:
            raise ValueError("give 'frames' or 'seconds', not both")
        from .schedule import schedule

        try:
            schedule(self)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self


def _known_easing(name: str) -> str:
    try:
        find_easing(name)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return name


def _frame_number(key: Any) -> int:
    if isinstance(key, str) and key.isdecimal():
        key = int(key)
    if type(key) is not int or key < 0:
        raise ValueError(f"{key!r} is not a frame number; the keys of a keyframe map are 0, 1, …")
    return key


def _as_keyframe(entry: Any, **extra: int) -> Any:
    if isinstance(entry, str):
        return {"prompt": entry, **extra}
    return {**entry, **extra} if isinstance(entry, dict) else entry
