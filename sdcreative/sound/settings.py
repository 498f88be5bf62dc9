"""What a preset says under ``audio:``; light, so that presets are checked without libraries."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from ..core.timeline import Sound
from ..errors import UsageError
from ..presets.faults import SettingError
from ..settings import Strict

Drive = Literal["none", "onset", "beat", "bass", "mid", "treble", "loudness"]
Seconds = Annotated[float, Field(ge=0, le=360_000)]


def names_music(settings: BaseModel) -> bool:
    """Whether a film's settings name music, so that nothing can be planned before it is there."""
    audio = getattr(settings, "audio", None)
    return isinstance(audio, Audio) and audio.music is not None


def _preset(value: Any) -> Any:
    from .music import preset_settings

    return preset_settings(value) if isinstance(value, str) else value


def _of_a_tool(value: dict[str, Any]) -> dict[str, Any]:
    from .music import check_music

    check_music(value)
    return value


MusicSettings = Annotated[
    dict[str, Any],
    BeforeValidator(_preset),
    AfterValidator(_of_a_tool),
    WithJsonSchema({"anyOf": [{"type": "object"}, {"type": "string", "minLength": 1}]}),
]


class Audio(Strict):
    """A sound, where the film begins in it, and what of it moves the film.

    The sound is a file, or music that is rendered before the film is: ``sdcreative.soundtrack``
    puts its file in its place.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    file: Annotated[str, Field(min_length=1)] | None = None
    """wav, flac, ogg or mp3"""
    music: MusicSettings | None = None
    """in place of a file: settings of the tool 'music', or one of its presets"""
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
    beats_per_bar: Annotated[int, Field(ge=1, le=64)] | None = None
    """how many beats make a bar, 4 if nothing says; bar 1 begins at beat 1"""
    mute: bool = False
    """drives the film, and is not heard in it"""

    @model_validator(mode="after")
    def _one_sound(self) -> Audio:
        if self.file is not None and self.music is not None:
            raise SettingError("give 'file' or 'music', not both", "music")
        if self.file is None and self.music is None:
            raise ValueError("missing key 'file', or 'music' that is rendered with the film")
        return self

    @property
    def path(self) -> str:
        """The sound file.

        Raises:
            UsageError: it is music that was not rendered.
        """
        if self.file is None:
            raise UsageError(
                "'audio' names music that is not rendered yet; render the film with "
                "'sdcreative run PRESET', or give a 'file'"
            )
        return self.file

    def sound(self) -> Sound | None:
        """What is heard with the film; None if it is mute.

        Raises:
            UsageError: music that was not rendered.
        """
        return None if self.mute else Sound(self.path, self.start, self.fade_in, self.fade_out)
