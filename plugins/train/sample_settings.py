"""Settings of the `sample` tool: a model of classes, or one that enlarges, and what to make."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sdcreative import Strict


class SampleSettings(Strict):
    """Pictures of a model trained by `train` that the other tools do not run."""

    model: Annotated[str, Field(min_length=1)]
    """folder that the training wrote"""
    output: Annotated[str, Field(min_length=1)] = "samples"
    """folder for the pictures"""
    classes: list[str] | None = None
    """of which to make pictures, of a model of classes; all if left out"""
    pictures: Annotated[str, Field(min_length=1)] | None = None
    """of a model that enlarges: a picture, or a folder of them"""
    prompt: str = ""
    """for a model that enlarges and was trained with captions"""
    noise_level: Annotated[int, Field(ge=0)] = 0
    """of a model that enlarges: noise put over the small picture; more leaves more to invent"""
    count: Annotated[int, Field(ge=1)] = 1
    """pictures of each class, or of each picture, from seeds one apart"""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    steps: Annotated[int, Field(ge=1)] = 20
    guidance_scale: Annotated[float, Field(ge=0)] = 2.0
    """of classes, and of the prompt of a model that enlarges; 1: no guidance"""
    batch_size: Annotated[int, Field(ge=1)] = 16
    device: Literal["auto", "cpu"] = "auto"
    offline: bool = False
    """never ask the model hub"""
