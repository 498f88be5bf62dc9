"""The plan of a film that may have a sound: when its keyframes are, and what it hears when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sdcreative import check_schedule, read_schedule

from .schedule import Schedule, by_ear, schedule

if TYPE_CHECKING:
    from sdcreative import Heard

    from .settings import AnimateSettings

CHANGING = ("guidance_scale", "strength", "variation")
"""The settings that may change with the frames."""


def check_schedules(settings: AnimateSettings, frames: int, heard: Heard | None = None) -> None:
    """Refuse schedules that leave their range at any frame.

    Raises:
        SettingError: one does, or hears a film without a sound. Those that hear are checked only
            where it was heard.
    """
    for name in CHANGING:
        check_schedule(settings, name, frames, heard)


def listen(settings: AnimateSettings) -> tuple[Schedule, Heard | None]:
    """When everything is shown, and the sound as it was heard; None where nothing listens.

    Raises:
        SettingError: times or schedules that do not fit the sound.
        DataError: the sound cannot be read.
    """
    audio = settings.audio
    if audio is None:
        return schedule(settings), None
    from sdcreative import hear, sound_seconds

    beats = heard = None
    seconds = sound_seconds(audio) if by_ear(settings) else None
    if seconds and any(isinstance(stop.at, str) for stop in settings.stops.values()):
        # How long the film is, beats decide, and which are found depends on how much is heard.
        beats = hear(audio, settings.fps, max(1, round(seconds * settings.fps)))
    plan = schedule(settings, beats, seconds)
    moved = audio.drive != "none"
    if moved or any(read_schedule(getattr(settings, name)).hears for name in CHANGING):
        heard = hear(audio, settings.fps, plan.frames)
        if beats and len(beats.beat) >= plan.frames:
            heard = replace(heard, beats=beats.beats, beat=beats.beat[: plan.frames])
        check_schedules(settings, plan.frames, heard)
        if moved:
            plan = replace(plan, energy=heard.energy(audio.drive))
    elif by_ear(settings):
        check_schedules(settings, plan.frames)
    return plan, heard
