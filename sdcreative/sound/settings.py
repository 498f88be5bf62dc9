"""What a preset says under ``audio:``; light, so that presets are checked without libraries."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ..core.timeline import Sound
from ..settings import Strict

Drive = Literal["none", "onset", "beat", "bass", "mid", "treble", "loudness"]
Seconds = Annotated[float, Field(ge=0, le=360_000)]


class Audio(Strict):
    """A sound file, where the film begins in it, and what of it moves the film."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Annotated[str, Field(min_length=1)]
    """wav, flac, ogg or mp3"""
    start: Seconds = 0.0
    """seconds into the file where the film begins"""
    fade_in: Seconds = 0.0
    """seconds at the film's beginning"""
    fade_out: Seconds = 0.0
    """seconds at the film's end"""
    drive: Drive = "onset"
    """what the film's progress follows"""
    pull: Annotated[float, Field(ge=0, le=1)] = 0.9
    """share of the movement that follows the sound; the rest is even"""
    bpm: Annotated[float, Field(ge=10, le=1000)] | None = None
    """the tempo where it is known; else it is tracked"""
    first_beat: Seconds | None = None
    """seconds into the film of beat 1; the first one found if left out"""
    beats_per_bar: Annotated[int, Field(ge=1, le=64)] = 4
    """how many beats make a bar; bar 1 begins at beat 1"""
    mute: bool = False
    """drives the film, and is not heard in it"""

    def sound(self) -> Sound | None:
        """What is heard with the film; None if it is mute."""
        return None if self.mute else Sound(self.file, self.start, self.fade_in, self.fade_out)
