"""The plan of a film that may have a sound: when its keyframes are, and what it hears when."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sdcreative import SettingError, check_schedule, read_schedule

from .schedule import Schedule, by_ear, schedule

if TYPE_CHECKING:
    from sdcreative import Heard

    from .settings import AnimateSettings

RANGES = {"guidance_scale": (0.0, 100.0), "strength": (0.0, 1.0), "variation": (0.0, 1.0)}
"""The settings that may change with the frames, and within what."""


def check_schedules(settings: AnimateSettings, frames: int, heard: Heard | None = None) -> None:
    """Refuse schedules that leave their range at any frame.

    Raises:
        SettingError: one does, or hears a film without a sound. Those that hear are checked only
            where it was heard.
    """
    for name, (lowest, highest) in RANGES.items():
        value = getattr(settings, name)
        if settings.audio is None and read_schedule(value).hears:
            raise SettingError("it hears a sound; give one with 'audio'", name)
        check_schedule(value, name, lowest, highest, frames, settings.seed, heard)


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

    heard = seconds = None
    if by_ear(settings):
        seconds = sound_seconds(audio)
    if any(isinstance(stop.at, str) for stop in settings.stops.values()):
        # Which beats are found depends on how much is heard; so all of it, and only once.
        heard = hear(audio, settings.fps, max(1, round((seconds or 0.0) * settings.fps)))
    plan = schedule(settings, heard, seconds)
    moved = audio.drive != "none"
    if moved or any(read_schedule(getattr(settings, name)).hears for name in RANGES):
        if heard is None or len(heard.onset) < plan.frames:
            heard = hear(audio, settings.fps, plan.frames)
        check_schedules(settings, plan.frames, heard)
        if moved:
            plan = replace(plan, energy=heard.energy(audio.drive)[: plan.frames])
    elif by_ear(settings):
        check_schedules(settings, plan.frames)
    return plan, heard
