"""Settings of what is looked at while a word is learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, TypeVar

from pydantic import Field, field_validator

from sdcreative import Strict, UsageError

from .scenes import PROMPTS, SCENES, Kind, Scene, check_prompt, read_scene

Text = Annotated[str, Field(min_length=1)]
Read = TypeVar("Read")


class JudgeSettings(Strict):
    """Pictures that are made while a word is learned, and when it is known well enough."""

    pair: Text | None = None
    """CLIP or SigLIP that compares: built-in name, folder, or hub id; the model's own pair if it
    has one, else the built-in one, which knows drawings of animals and food"""
    prompts: list[Text] = Field(default=[])
    """the word by itself, with {} for it, taken in turn; usual ones if left out"""
    scenes: list[Text] = Field(default=[])
    """the word with something else, after a comma: "a photo of a {}, on a beach"; backgrounds of
    four colours, or four things for a style, if left out"""
    seeds: Annotated[int, Field(ge=1, le=16)] = 2
    """pictures of each of them"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """of the first picture"""
    steps: Annotated[int, Field(ge=1, le=1000)] = 20
    guidance_scale: Annotated[float, Field(ge=0, le=100)] = 5.0
    patience: Annotated[int, Field(ge=0)] = 4
    """looks without anything better after which the training ends; 0: never"""
    least: Annotated[float, Field(ge=0, le=1)] = 0.01
    """rise of the score, of 0 to 1, that counts as better"""

    @field_validator("prompts")
    @classmethod
    def _prompts(cls, prompts: list[str]) -> list[str]:
        return [_said(check_prompt, one) for one in prompts]

    @field_validator("scenes")
    @classmethod
    def _scenes(cls, scenes: list[str]) -> list[str]:
        return [_said(read_scene, one).template for one in scenes]

    def prompts_for(self, kind: Kind) -> tuple[str, ...]:
        """Templates of the word by itself."""
        return tuple(self.prompts) or PROMPTS[kind]

    def scenes_for(self, kind: Kind) -> tuple[Scene, ...]:
        """What the word is tried in."""
        return tuple(read_scene(one) for one in self.scenes or SCENES[kind])


def _said(check: Callable[[str], Read], template: str) -> Read:
    """What a check makes of a template; pydantic wants its errors as ValueError."""
    try:
        return check(template)
    except UsageError as error:
        raise ValueError(str(error)) from None
