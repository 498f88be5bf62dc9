"""The settings that tools for films have in common, beside those of all pictures."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from .presets.faults import SettingError
from .scheduled import MAX_FRAMES
from .setting_groups import as_value_error
from .settings import RenderSettings
from .sound.settings import Audio


def _known_metric(name: str) -> str:
    from .metrics import check_metric

    with as_value_error():
        return check_metric(name)


MetricName = Annotated[str, AfterValidator(_known_metric)]
"""Name of a distance between two pictures."""


class FilmSettings(RenderSettings):
    """How long a film is, how fast it is played, and what is heard with it."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    frames: Annotated[int, Field(ge=2, le=MAX_FRAMES)] | None = None
    """length of the film, before it is played backwards"""
    seconds: Annotated[float, Field(gt=0)] | None = None
    """length of the film, before it is played backwards"""
    fps: Annotated[float, Field(ge=0.01, le=1000)] = 12.0
    """frames per second"""
    ping_pong: bool = False
    """play the film backwards after its end"""
    audio: Audio | None = None
    """a sound file that is heard, and that moves the film; as long as it if nothing else says"""

    @model_validator(mode="after")
    def _one_length(self) -> FilmSettings:
        if self.frames is not None and self.seconds is not None:
            raise SettingError("give 'frames' or 'seconds', not both", "seconds")
        if self.audio is not None and self.ping_pong:
            raise SettingError("the way back would not follow the sound; leave it out", "ping_pong")
        return self
