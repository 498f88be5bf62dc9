"""Settings of the `animate` tool."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from sdcreative import Ease, FilmSettings, MetricName, Scheduled, UsageError

from .checks import check_film
from .keyframes import (
    Keyframe,
    KeyframeList,
    KeyframeMap,
    KeyPath,
    one_time_each,
    ordered,
)

__all__ = ["AnimateSettings", "Keyframe"]


class AnimateSettings(FilmSettings):
    """A film through two or more keyframes, given as ``keyframes`` or as ``prompts``.

    Either is a list of keyframes or plain prompts, or Deforum's map of frame numbers to them;
    ``prompts`` may also be one text, ``a bear | an apple``.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    keyframes: Annotated[KeyframeList | KeyframeMap, BeforeValidator(one_time_each)] | None = None
    """a list of keyframes or prompts, or a map of frame numbers to them"""
    prompts: Annotated[str | KeyframeList | KeyframeMap, BeforeValidator(one_time_each)] | None = (
        None
    )
    """in place of keyframes: the same, or prompts with | between them"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    guidance_scale: Scheduled(0, 100) = 7.5
    """how closely to follow the prompt: a number, a map of frames to numbers, or 0:(7), 30:(t/5)"""
    images: Literal["invert", "fade"] = "invert"
    """keyframes with an image: invert finds the noise they come from; fade paints on them anew"""
    strength: Scheduled(0, 1) = 0.75
    """fade: how much is painted anew half way between two images; may change with the frames"""
    variation_seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """another seed, whose noise is mixed into that of all frames"""
    variation: Scheduled(0, 1) = 0.0
    """how far to go to the variation seed: 0 stays, 1 is there; may change with the frames"""
    bpm: Annotated[float, Field(gt=0, le=1000)] | None = None
    """without audio: beats per minute, for keyframes 'at: beat 5'; beat 1 is at 0"""
    noise: Literal["still", "circle"] = "still"
    """circle: goes round once during the film, so that nothing stands still"""
    noise_radius: Annotated[float, Field(gt=0, le=math.pi / 2)] | None = None
    """circle: how far around the seed, in radians; a great circle through the seed if left out"""
    interpolation: Literal["slerp", "lerp"] = "slerp"
    """of the embeddings, token by token"""
    centre: Literal["zero", "empty", "negative"] = "zero"
    """what slerp turns around: the origin, the empty prompt, or the negative prompt"""
    path: Literal["straight", "smooth"] = "straight"
    """smooth passes the keyframes in curves; straight turns a corner at each"""
    ease: Ease = "linear"
    """speed on the way from keyframe to keyframe: linear, in-out, out-cubic, steps(4), ..."""
    timing: Literal["even", "perceptual"] = "even"
    """perceptual measures the path first, and takes steps that look equally large"""
    metric: MetricName = "latent"
    """perceptual: the distance between two pictures"""
    probes: Annotated[int, Field(ge=3, le=1000)] = 33
    """perceptual: pictures measured between two keyframes, both included"""
    coherence: Annotated[float, Field(ge=0, le=1)] = 0.5
    """share of the steps that neighbouring frames have in common, most in mid-segment"""
    inbetween: Annotated[int, Field(ge=0, le=100)] = 0
    """frames made from the latents of the denoised frames on both sides, in every gap"""
    loop: bool = False
    """go on from the last keyframe to the first"""

    @model_validator(mode="after")
    def _fits_together(self) -> AnimateSettings:
        try:
            check_film(self)
        except UsageError as error:
            raise ValueError(str(error)) from error
        return self

    @property
    def stops(self) -> dict[KeyPath, Keyframe]:
        """The keyframes in order, however they are written: path of their key -> keyframe."""
        name = "prompts" if self.keyframes is None else "keyframes"
        return ordered(name, getattr(self, name) or [])
