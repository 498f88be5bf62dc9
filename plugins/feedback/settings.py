"""Settings of the `feedback` tool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from sdcreative import (
    MAX_FRAMES,
    Ease,
    FilmSettings,
    FrameNumber,
    Scheduled,
    SettingError,
    check_schedule,
    frames_once,
    split_prompts,
)

if TYPE_CHECKING:
    from sdcreative import Heard

SECONDS_PER_PROMPT = 4.0
CHANGING = (
    "strength",
    "zoom",
    "angle",
    "shift_x",
    "shift_y",
    "centre_x",
    "centre_y",
    "sharpen",
    "grain",
    "variation",
    "guidance_scale",
)
"""The settings that may change with the frames."""
DEFORUM = {
    "translation_x": "'shift_x'",
    "translation_y": "'shift_y'",
    "transform_center_x": "'centre_x'",
    "transform_center_y": "'centre_y'",
    "strength_schedule": "'strength', 1 minus Deforum's",
    "noise_schedule": "'grain'",
    "cfg_scale_schedule": "'guidance_scale'",
    "amount_schedule": "'sharpen'",
    "color_coherence": "'colours'",
    "seed_behavior": "'seeds'",
    "subseed": "'variation_seed'",
    "subseed_schedule": "'variation_seed', one for the whole film",
    "subseed_strength": "'variation'",
    "subseed_strength_schedule": "'variation'",
    "animation_prompts": "'prompts'",
    "max_frames": "'frames'",
    "W": "'size', as in 768x512",
    "H": "'size', as in 768x512",
    "init_image": "'image'",
    "soundtrack_path": "'audio'",
    "negative_prompts": "'negative_prompt', one for the whole film",
}
"""Keys of Deforum's settings -> what to write instead."""

Prompts = (
    str
    | Annotated[list[str], Field(min_length=1)]
    | Annotated[dict[FrameNumber, str], BeforeValidator(frames_once), Field(min_length=1)]
)


class FeedbackSettings(FilmSettings):
    """A film in which every picture begins as the one before it, moved.

    What moves it, and how much of it is painted anew, is said per frame as in Deforum: by a
    number, an expression of the frame number ``t``, or a map of frames to either.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    prompts: Prompts
    """what is shown: a | b, a list spread evenly over the film, or a map of frames to prompts"""
    negative_prompt: str = ""
    """what guidance moves away from"""
    image: Annotated[str, Field(min_length=1)] | None = None
    """picture that the film begins with; made from the first prompt if left out"""
    strength: Scheduled(0, 1) = 0.4
    """how much of a picture is painted anew: 0 nothing, 1 all of it; 1 minus Deforum's"""
    zoom: Scheduled(0.1, 10) = 1.0
    """factor from frame to frame; over 1 moves in, 1.02 doubles in 35 frames"""
    angle: Scheduled(-360, 360) = 0.0
    """degrees from frame to frame, counter-clockwise"""
    shift_x: Scheduled(-10_000, 10_000) = 0.0
    """pixels from frame to frame that the picture goes to the right"""
    shift_y: Scheduled(-10_000, 10_000) = 0.0
    """pixels from frame to frame that the picture goes down"""
    centre_x: Scheduled(-10, 10) = 0.5
    """of zoom and rotation: 0 is the left edge, 1 the right one"""
    centre_y: Scheduled(-10, 10) = 0.5
    """of zoom and rotation: 0 is the upper edge, 1 the lower one"""
    border: Literal["reflect", "wrap", "replicate"] = "reflect"
    """what comes into view: the picture mirrored, its other side, or its edge drawn out"""
    colours: Literal["none", "lab", "rgb"] = "lab"
    """keep the mean colours and contrasts of the first picture, measured in CIELAB or RGB"""
    sharpen: Scheduled(0, 10) = 0.0
    """amount of an unsharp mask that makes up for what moving and painting blur"""
    grain: Scheduled(0, 1) = 0.0
    """deviation of the noise that is laid on what is painted on, of 1; gives it more to find"""
    guidance_scale: Scheduled(0, 100) = 7.5
    """how closely to follow the prompt: a number, a map of frames to numbers, or 0:(7), 30:(t/5)"""
    seeds: Literal["step", "fixed", "random"] = "step"
    """of the frames: seed, seed + 1, ...; all the same, which burns its pattern in; or drawn"""
    variation_seed: Annotated[int, Field(ge=0, lt=2**32)] | None = None
    """another seed, whose noise is mixed into that of all frames"""
    variation: Scheduled(0, 1) = 0.0
    """how far to go to the variation seed: 0 stays, 1 is there"""
    ease: Ease = "linear"
    """speed on the way from prompt to prompt; hold changes them at once"""

    @model_validator(mode="before")
    @classmethod
    def _not_deforums(cls, data: Any) -> Any:
        found = [key for key in data if key in DEFORUM] if isinstance(data, dict) else []
        if found:
            others = "".join(f"; for {key} give {DEFORUM[key]}" for key in found[1:])
            raise SettingError(f"is Deforum's; give {DEFORUM[found[0]]}{others}", found[0])
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> FeedbackSettings:
        varied = "variation" in self.model_fields_set
        if varied and self.variation_seed is None:
            raise SettingError("needs 'variation_seed', where it leads to", "variation")
        if self.variation_seed is not None and not varied:
            raise SettingError("needs 'variation', how far to go there: 0 to 1", "variation_seed")
        if self.seeds == "fixed" and self.variation_seed == self.seed:
            raise SettingError("is the seed of all frames already; give another", "variation_seed")
        if (length := self.length()) is not None:
            self.check(length)
        return self

    def length(self, sound_seconds: float | None = None) -> int | None:
        """Frames of the film, before it is played backwards.

        Args:
            sound_seconds: how long there is something to be heard.

        Returns:
            None where that decides, and is not known.

        Raises:
            SettingError: too many.
        """
        if self.frames is not None:
            return self.frames
        if self.seconds is not None:
            seconds = self.seconds
        elif self.audio is None:
            starts = self.prompts if isinstance(self.prompts, dict) else {}
            rest = 1 if starts else len(self.scenes)
            seconds = max(starts, default=0) / self.fps + rest * SECONDS_PER_PROMPT
        elif sound_seconds is None:
            return None
        else:
            seconds = sound_seconds
        frames = max(2, round(min(seconds * self.fps, 2.0 * MAX_FRAMES)))
        if frames > MAX_FRAMES:
            key = ["seconds"] if self.seconds is not None else []
            raise SettingError(f"a film of over {MAX_FRAMES:,} frames; shorten it", *key)
        return frames

    def check(self, frames: int, heard: Heard | None = None) -> None:
        """Refuse what does not fit a film of so many frames.

        Raises:
            SettingError: more prompts than frames, or a schedule that leaves its range. Those
                that hear are checked only where the sound is known.
        """
        if len(self.scenes) > frames and not isinstance(self.prompts, dict):
            raise SettingError(
                f"{len(self.scenes)} prompts in {frames} frames; give one or more frames to each",
                "prompts",
            )
        for name in CHANGING:
            check_schedule(self, name, frames, heard)

    @property
    def scenes(self) -> list[str]:
        """The prompts in order."""
        if isinstance(self.prompts, str):
            return split_prompts(self.prompts)
        if isinstance(self.prompts, dict):
            return [prompt for _, prompt in sorted(self.prompts.items())]
        return self.prompts
