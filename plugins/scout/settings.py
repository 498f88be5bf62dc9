"""Settings of the `scout` tool."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from sdcreative import RenderSettings, SettingError

MAX_SEEDS = 256
FORMATS = (".png", ".jpg", ".jpeg", ".webp")

Seed = Annotated[int, Field(ge=0, lt=2**32)]


class ScoutSettings(RenderSettings):
    """A sheet of the pictures of one prompt whose seeds make the smoothest walk."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt: str
    """what is shown"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    seeds: Annotated[list[Seed], Field(min_length=2, max_length=MAX_SEEDS)] | None = None
    """to choose from"""
    first: Annotated[int, Field(ge=2, le=MAX_SEEDS)] = 16
    """in place of seeds: how many, counted up from seed"""
    show: Annotated[int, Field(ge=2)] = 12
    """how many of them to keep"""
    rank_by: Literal["walk", "text"] = "walk"
    """what makes a seed good: short steps to its neighbours, or how well its picture fits a text"""
    text: Annotated[str, Field(min_length=1)] | None = None
    """for rank_by text: what to look for; the prompt if left out"""
    pair: Annotated[str, Field(min_length=1)] = "emoji"
    """for rank_by text: built-in name, folder or hub id of a CLIP or SigLIP that compares"""
    loop: bool = False
    """for a walk that comes back to its first seed"""
    columns: Annotated[int, Field(ge=1)] = 4
    """of the sheet"""
    steps: Annotated[int, Field(ge=1, le=1000)] = 6
    """sampling steps; few show well enough what a picture is made of"""
    output: Annotated[str, Field(min_length=1)] = "scout.png"
    """the sheet: .png, .jpg or .webp"""

    @field_validator("output")
    @classmethod
    def _picture(cls, output: str) -> str:
        if PurePath(output).suffix.lower() not in FORMATS:
            raise ValueError(f"{output!r} is no picture; end it with {', '.join(FORMATS)}")
        return output

    @model_validator(mode="after")
    def _fits_together(self) -> ScoutSettings:
        if self.process:
            raise SettingError("is for films and pictures, not for this sheet", "process")
        walks = self.rank_by == "walk"
        for key in ("text", "pair") if walks else ("loop",):
            if getattr(self, key) != type(self).model_fields[key].default:
                raise SettingError(f"goes with rank_by: {'text' if walks else 'walk'}", key)
        if not walks and not (self.text or self.prompt).strip():
            raise SettingError("is empty; say what to look for", "text" if self.text else "prompt")
        if self.seeds is None:
            return self
        if "first" in self.model_fields_set:
            raise SettingError("give 'seeds' or 'first', not both", "first")
        for index, seed in enumerate(self.seeds):
            if seed in self.seeds[:index]:
                raise SettingError(f"seed {seed} again; keep one of them", "seeds", index)
        return self
