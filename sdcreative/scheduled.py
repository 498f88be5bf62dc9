"""Settings that may change with the frames: a number, a map of frames, or Deforum's text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from .core.easing import find_easing
from .core.timeline import MAX_FRAMES as MAX_FRAMES
from .errors import UsageError
from .presets.faults import SettingError
from .settings import RenderSettings, Strict

if TYPE_CHECKING:
    from .core.expressions import Hearing
    from .core.schedules import Schedule


def known_easing(name: str) -> str:
    """The name itself; ValueError where there is no such easing."""
    try:
        find_easing(name)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return name


def _frame_number(key: Any) -> Any:
    """JSON, in which Deforum's settings are written, has text as keys only."""
    return int(key) if isinstance(key, str) and key.isascii() and key.isdecimal() else key


def frames_once(value: Any) -> Any:
    """Refuse a map that has a frame twice, as a number and as text."""
    if isinstance(value, dict):
        seen: set[Any] = set()
        for key in value:
            number = _frame_number(key)
            if number in seen:
                raise SettingError(f"frame {number} again; keep one of them", key)
            seen.add(number)
    return value


Ease = Annotated[str, AfterValidator(known_easing)]
FrameNumber = Annotated[int, BeforeValidator(_frame_number), Field(ge=0, le=MAX_FRAMES)]


class ScheduleKey(Strict):
    """A value at a frame, and how the way to the next one is walked."""

    value: float | str
    ease: Ease = "linear"


@dataclass(frozen=True)
class Range:
    """Within what a setting stays, both ends included; a note on its type."""

    lowest: float
    highest: float


Schedulable = float | str | dict[int, float | str | ScheduleKey]
"""What a preset may say; ``parse_schedule`` explains the forms."""


def Scheduled(lowest: float, highest: float) -> Any:  # noqa: N802
    """The type of a settings field that may change with the frames, as in Deforum.

    A validated field holds what the preset said: a number within the range, text, or a map of
    frame numbers to numbers, expressions or ``ScheduleKey``. Whether expressions stay within the
    range is known once the film's length is: a settings class calls ``check_schedule`` for that.

    >>> from sdcreative import RenderSettings
    >>> class Settings(RenderSettings):
    ...     zoom: Scheduled(0.1, 10) = 1.0
    >>> Settings(zoom="0:(1), 30:(1 + t/100)").zoom
    '0:(1), 30:(1 + t/100)'
    """
    number = Annotated[float, Field(ge=lowest, le=highest)]
    return Annotated[
        number
        | str
        | Annotated[
            dict[FrameNumber, number | str | ScheduleKey],
            BeforeValidator(frames_once),
            Field(min_length=1),
        ],
        AfterValidator(_readable),
        Range(lowest, highest),
    ]


def read_schedule(value: Schedulable) -> Schedule:
    """The schedule that a setting says; a plain number is the same at every frame.

    Raises:
        UsageError: text that is no schedule.
    """
    from .core.schedules import parse_schedule

    if isinstance(value, dict):
        return parse_schedule(
            {
                frame: entry.model_dump() if isinstance(entry, ScheduleKey) else entry
                for frame, entry in value.items()
            }
        )
    return parse_schedule(value)


def check_schedule(
    settings: RenderSettings, name: str, frames: int, sound: Hearing | None = None
) -> None:
    """Refuse a schedule that leaves its range at any frame of a film.

    Args:
        settings: of the film.
        name: of one of them, whose type is ``Scheduled``.
        frames: length of the film.
        sound: what expressions hear. Without it a schedule that hears is not checked, if the
            settings have an ``audio`` that it may hear later.

    Raises:
        SettingError: it does, has no value there, or hears where there is no ``audio``.
    """
    schedule = read_schedule(getattr(settings, name))
    if schedule.hears and sound is None:
        if getattr(settings, "audio", None) is None:
            raise SettingError("it hears a sound; give one with 'audio'", name)
        return
    notes = type(settings).model_fields[name].metadata
    lowest, highest = next((n.lowest, n.highest) for n in notes if isinstance(n, Range))
    for frame in range(frames if schedule.constant is None else 1):
        try:
            number = schedule.at(frame, frames - 1, settings.seed, sound)
        except UsageError as error:
            raise SettingError(str(error), name) from error
        if not lowest <= number <= highest:
            raise SettingError(
                f"{number:g} at frame {frame}; keep it within {lowest:g} and {highest:g}, as with "
                f"clip(..., {lowest:g}, {highest:g})",
                name,
            )


def _readable(value: Schedulable) -> Schedulable:
    try:
        read_schedule(value)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return value
