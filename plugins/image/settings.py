"""Settings of the `image` tool."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from sdcreative import RenderSettings, SettingError


class ImageSettings(RenderSettings):
    """Pictures of one prompt or several, each with ``count`` seeds."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompt: str | Annotated[list[str], Field(min_length=1)]
    """what is shown; a list makes a grid with one row per prompt"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    count: Annotated[int, Field(ge=1, le=10_000)] = 1
    """pictures per prompt, with the seeds seed, seed + 1, …"""
    columns: Annotated[int, Field(ge=1)] | None = None
    """of the grid; one column per seed if left out, one row for a single prompt up to 8 wide"""
    seamless: Literal["x", "y", "xy"] | None = None
    """make pictures that can be laid side by side (x), one above the other (y), or both"""
    image: str | None = None
    """start picture for image to image and inpainting"""
    mask: str | None = None
    """white is painted anew, black is kept"""
    strength: Annotated[float, Field(ge=0, le=1)] = 0.75
    """with an image: 0 gives it back, 1 is pure noise"""

    @model_validator(mode="after")
    def _needs_image(self) -> ImageSettings:
        if self.mask is not None and self.image is None:
            raise SettingError("needs 'image', the picture that it is laid on", "mask")
        if "strength" in self.model_fields_set and self.image is None:
            raise SettingError("needs 'image', the picture to start from", "strength")
        return self
