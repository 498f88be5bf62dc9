"""A guidance scale that changes with the frames: a number, a map, or Deforum's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BeforeValidator, Field

from sdcreative import SettingError, Strict, UsageError

from .keyframes import Ease, FrameNumber, frames_once

if TYPE_CHECKING:
    from sdcreative import Schedule

LOWEST, HIGHEST = 0, 100


class GuidanceKey(Strict):
    """A guidance scale at a frame, and how the way to the next one is walked."""

    value: float | str
    ease: Ease = "linear"


Guidance = (
    Annotated[float, Field(ge=LOWEST, le=HIGHEST)]
    | str
    | Annotated[
        dict[FrameNumber, float | str | GuidanceKey],
        BeforeValidator(frames_once),
        Field(min_length=1),
    ]
)


def check(value: Guidance) -> Guidance:
    """The value itself; ValueError where it cannot be read."""
    try:
        read(value)
    except UsageError as error:
        raise ValueError(str(error)) from error
    return value


def read(value: Guidance) -> Schedule | None:
    """The schedule, or None for a plain number."""
    if isinstance(value, int | float):
        return None
    from sdcreative import parse_schedule

    if isinstance(value, dict):
        return parse_schedule(
            {
                frame: entry.model_dump() if isinstance(entry, GuidanceKey) else entry
                for frame, entry in value.items()
            }
        )
    return parse_schedule(value)


def check_range(value: Guidance, frames: int, seed: int) -> None:
    """Refuse a schedule that leaves the range of a guidance scale at any frame.

    Raises:
        SettingError: it does, or has no value there.
    """
    found = read(value)
    if found is None:
        return
    for frame in range(frames):
        try:
            scale = found.at(frame, frames - 1, seed)
        except UsageError as error:
            raise SettingError(str(error), "guidance_scale") from error
        if not LOWEST <= scale <= HIGHEST:
            raise SettingError(
                f"{scale:g} at frame {frame}; keep it within {LOWEST} and {HIGHEST}, as with "
                "clip(..., 1, 20)",
                "guidance_scale",
            )
