"""What of the settings goes together; nothing is read here, neither pictures nor sounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from sdcreative import SettingError

from .listening import check_schedules
from .schedule import by_ear, check_times, schedule

if TYPE_CHECKING:
    from .settings import AnimateSettings


def check_film(settings: AnimateSettings) -> None:
    """Refuse settings that contradict each other, or have no effect.

    Raises:
        SettingError: they do.
        UsageError: an easing that leaves [0, 1].
    """
    _check_length(settings)
    _check_sound(settings)
    _check_noise(settings)
    _check_pictures(settings)
    _check_variation(settings)
    _check_sizes(settings)
    if by_ear(settings):
        check_times(settings)
    else:
        check_schedules(settings, schedule(settings).frames)


def check_variation_seed(settings: AnimateSettings, seeds: Iterable[int]) -> None:
    """Refuse to vary a noise with itself.

    Raises:
        SettingError: the variation seed is among the seeds that the noise goes through.
    """
    if settings.variation_seed in seeds:
        raise SettingError(
            f"the film's own noise is of seed {settings.variation_seed} already; give another",
            "variation_seed",
        )


def circle_seeds(settings: AnimateSettings) -> tuple[int, int, int]:
    """The seeds that 'noise: circle' goes by; the third only with a radius."""
    first, second, third = ((settings.seed + i) % 2**32 for i in range(3))
    return first, second, third


def _check_length(settings: AnimateSettings) -> None:
    if settings.keyframes is None and settings.prompts is None:
        raise ValueError("missing key 'keyframes', or 'prompts: a bear | an apple'")
    if settings.keyframes is not None and settings.prompts is not None:
        raise SettingError("give 'prompts' or 'keyframes', not both", "prompts")
    if settings.loop and settings.ping_pong:
        raise SettingError("'loop' and 'ping_pong' exclude each other", "ping_pong")


def _check_sizes(settings: AnimateSettings) -> None:
    """Between told sizes and none there is no way."""
    stops = settings.stops
    if settings.sizes is None and any(stop.sizes for stop in stops.values()):
        for path, stop in stops.items():
            if stop.sizes is None:
                raise SettingError(
                    "other keyframes have sizes; give them here too, or to the whole film",
                    *path,
                    "sizes",
                )


def _check_sound(settings: AnimateSettings) -> None:
    if settings.audio is not None and settings.bpm is not None:
        raise SettingError("the sound has a tempo; a known one is 'audio: {bpm: 120}'", "bpm")
    on_beats = any(isinstance(stop.at, str) for stop in settings.stops.values())
    if settings.bpm is not None and not on_beats:
        raise SettingError("no keyframe is on a beat, as with 'at: beat 5'; leave it out", "bpm")


def _check_noise(settings: AnimateSettings) -> None:
    """One keyframe makes a film only if its noise moves; and that has one path at a time."""
    circle = settings.noise == "circle"
    for path, keyframe in settings.stops.items():
        if circle and keyframe.seed is not None:
            raise SettingError("'noise: circle' goes by the film's seed", *path, "seed")
        if circle and keyframe.still is not None:
            raise SettingError(
                "'noise: circle' goes by the film's seed, and a still has its own", *path, "still"
            )
    if len(settings.stops) > 1 or (circle and settings.loop):
        return
    name, value = next(iter(settings.stops))[0], settings.prompts
    if isinstance(value, str):
        message = "one prompt; write two or more with '|' between, as in 'bear | apple'"
    else:
        message = "1 item; at least 2 items"
    raise SettingError(message, name)


def _check_pictures(settings: AnimateSettings) -> None:
    pictures = [path for path, stop in settings.stops.items() if stop.image is not None]
    invert = settings.images == "invert"
    for path in pictures if invert else ():
        if settings.noise == "circle":
            raise SettingError(
                "an inverted picture has its own noise, 'noise: circle' goes by the film's seed; "
                "use 'images: fade'",
                *path,
                "image",
            )
        if settings.stops[path].seed is not None:
            raise SettingError(
                "an inverted picture has its own noise; leave it out, or use 'images: fade'",
                *path,
                "seed",
            )
    given = settings.model_fields_set
    if "images" in given and not pictures:
        raise SettingError("no keyframe has an 'image'; leave it out", "images")
    if "strength" in given and (invert or not pictures):
        raise SettingError("is for keyframes with an 'image', and 'images: fade'", "strength")


def _check_variation(settings: AnimateSettings) -> None:
    stops = settings.stops
    if settings.variation_seed is None:
        if "variation" in settings.model_fields_set:
            raise SettingError("needs 'variation_seed', where it leads to", "variation")
        return
    if "variation" not in settings.model_fields_set:
        raise SettingError("needs 'variation', how far to go there: 0 to 1", "variation_seed")
    if settings.images == "invert" and any(stop.image is not None for stop in stops.values()):
        raise SettingError(
            "the noise of inverted pictures cannot be varied; use 'images: fade'", "variation_seed"
        )
    if settings.noise == "circle":
        check_variation_seed(settings, circle_seeds(settings)[: 2 + bool(settings.noise_radius)])
        return
    known = (stop for stop in stops.values() if stop.still is None)
    check_variation_seed(
        settings, (settings.seed if stop.seed is None else stop.seed for stop in known)
    )
