"""Settings of the `animate` tool."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from sdcreative import RenderSettings, SettingError, Strict, UsageError, find_easing

from .schedule import MAX_FRAMES, TIMES, schedule

KeyPath = tuple[str | int, ...]


class Keyframe(Strict):
    """A prompt, and when it is shown.

    The time is given in one way for all keyframes of a film: ``at`` in seconds, ``frame``,
    ``duration`` up to the next keyframe in seconds, or not at all, which spaces them evenly.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt: str
    """what is shown"""
    negative_prompt: str | None = None
    """what guidance moves away from; the film's own if left out"""
    guidance_scale: Annotated[float, Field(ge=0, le=100)] | None = None
    """how closely to follow the prompt; the film's own if left out"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """noise of this keyframe; on the way to another seed the noise is slerped"""
    at: Annotated[float, Field(ge=0)] | None = None
    """seconds from the start"""
    frame: Annotated[int, Field(ge=0, le=MAX_FRAMES)] | None = None
    """frames from the start"""
    duration: Annotated[float, Field(gt=0)] | None = None
    """seconds up to the next keyframe"""
    ease: str | None = None
    """of the way to the next keyframe"""

    @field_validator("ease")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        return None if name is None else _known_easing(name)


def _frame_number(key: Any) -> Any:
    """JSON, in which Deforum's settings are written, has text as keys only."""
    return int(key) if isinstance(key, str) and key.isascii() and key.isdecimal() else key


def _one_time_each(value: Any) -> Any:
    if isinstance(value, dict):
        seen: set[Any] = set()
        for key in value:
            number = _frame_number(key)
            if number in seen:
                raise SettingError(f"frame {number} again; keep one of them", key)
            seen.add(number)
            timed = [name for name in TIMES if isinstance(value[key], dict) and name in value[key]]
            if timed:
                raise SettingError("the map's key is its time; leave this out", key, timed[0])
    return value


FrameNumber = Annotated[int, BeforeValidator(_frame_number), Field(ge=0, le=MAX_FRAMES)]
KeyframeList = Annotated[list[str | Keyframe], Field(min_length=2)]
KeyframeMap = Annotated[dict[FrameNumber, str | Keyframe], Field(min_length=2)]


class AnimateSettings(RenderSettings):
    """A film through two or more keyframes, given as ``keyframes`` or as ``prompts``.

    Either is a list of keyframes or plain prompts, or Deforum's map of frame numbers to them;
    ``prompts`` may also be one text, ``a bear | an apple``.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    keyframes: Annotated[KeyframeList | KeyframeMap, BeforeValidator(_one_time_each)] | None = None
    """a list of keyframes or prompts, or a map of frame numbers to them"""
    prompts: Annotated[str | KeyframeList | KeyframeMap, BeforeValidator(_one_time_each)] | None = (
        None
    )
    """in place of keyframes: the same, or prompts with | between them"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    frames: Annotated[int, Field(ge=2, le=MAX_FRAMES)] | None = None
    """length of the film, before it is played backwards"""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """length of the film, before it is played backwards"""
    fps: Annotated[float, Field(ge=0.01, le=1000)] = 12.0
    """frames per second"""
    interpolation: Literal["slerp", "lerp"] = "slerp"
    """of the embeddings, token by token"""
    ease: str = "linear"
    """speed on the way from keyframe to keyframe: linear, in, out, in-out, hold"""
    coherence: Annotated[float, Field(ge=0, le=1)] = 0.5
    """share of the steps that neighbouring frames have in common, most in mid-segment"""
    inbetween: Annotated[int, Field(ge=0, le=100)] = 0
    """frames made from the latents of the denoised frames on both sides, in every gap"""
    loop: bool = False
    """go on from the last keyframe to the first"""
    ping_pong: bool = False
    """play the film backwards after its end"""

    @field_validator("prompts")
    @classmethod
    def _two_prompts(cls, value: Any) -> Any:
        if isinstance(value, str) and "|" not in value:
            raise ValueError("one prompt; write two or more with '|' between, as in 'bear | apple'")
        return value

    @field_validator("ease")
    @classmethod
    def _known(cls, name: str) -> str:
        return _known_easing(name)

    @model_validator(mode="after")
    def _fits_together(self) -> AnimateSettings:
        if self.keyframes is None and self.prompts is None:
            raise ValueError("missing key 'keyframes', or 'prompts: a bear | an apple'")
        if self.keyframes is not None and self.prompts is not None:
            raise SettingError("give 'prompts' or 'keyframes', not both", "prompts")
        if self.loop and self.ping_pong:
            raise SettingError("'loop' and 'ping_pong' exclude each other", "ping_pong")
        if self.frames is not None and self.seconds is not None:
            raise SettingError("give 'frames' or 'seconds', not both", "seconds")
        try:
            schedule(self)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def stops(self) -> dict[KeyPath, Keyframe]:
        """The keyframes in order, however they are written: path of their key -> keyframe."""
        name, value = (
            ("prompts", self.prompts) if self.keyframes is None else ("keyframes", self.keyframes)
        )
        if isinstance(value, str):
            prompts = (prompt.strip() for prompt in value.split("|"))
            return {(name, i): Keyframe(prompt=prompt) for i, prompt in enumerate(prompts)}
        if isinstance(value, dict):
            ordered = sorted(value.items())
            return {(name, key): _keyframe(entry, frame=key) for key, entry in ordered}
        return {(name, i): _keyframe(entry) for i, entry in enumerate(value or [])}


def _keyframe(entry: str | Keyframe, **extra: int) -> Keyframe:
    if isinstance(entry, str):
        return Keyframe(prompt=entry, **extra)
    return entry.model_copy(update=extra)


def _known_easing(name: str) -> str:
    try:
        find_easing(name)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return name
