"""Settings of the `feedback` tool to a timeline."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from sdcreative import (
    Blend,
    Follow,
    Motion,
    Noise,
    Shot,
    Timeline,
    find_easing,
    positions,
    read_schedule,
)

from .settings import CHANGING, FeedbackSettings

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdcreative import Heard

SEEDS = 2**32


def timeline(settings: FeedbackSettings) -> Timeline:
    """One shot per frame; all but the first follow the one before.

    Raises:
        DataError: the start picture or the sound cannot be read.
        SettingError: a schedule leaves its range with this sound.
    """
    length, heard = _listen(settings)
    first = None if settings.image is None else _read(settings.image, settings.size)
    return Timeline(
        lambda: _shots(settings, length, heard, first),
        length,
        steps=settings.steps,
        sampler=settings.sampler,
        size=settings.size,
        fps=settings.fps,
        ping_pong=settings.ping_pong,
        sound=None if settings.audio is None else settings.audio.sound(),
    )


def _listen(settings: FeedbackSettings) -> tuple[int, Heard | None]:
    """Frames of the film, and the sound as it is heard; None where nothing listens."""
    audio = settings.audio
    seconds = None
    if audio is not None and settings.length() is None:
        from sdcreative import sound_seconds

        seconds = sound_seconds(audio)
    length = settings.length(seconds) or 2
    heard = None
    hears = any(read_schedule(getattr(settings, name)).hears for name in CHANGING)
    if audio is not None and (hears or _driven(settings)):
        from sdcreative import hear

        heard = hear(audio, settings.fps, length)
    settings.check(length, heard)
    return length, heard


def _driven(settings: FeedbackSettings) -> bool:
    """Whether the sound moves the film from prompt to prompt."""
    drive = "none" if settings.audio is None else settings.audio.drive
    return drive != "none" and len(settings.scenes) > 1


def _shots(
    settings: FeedbackSettings, length: int, heard: Heard | None, first: Image | None
) -> Iterator[Shot]:
    schedules = {name: read_schedule(getattr(settings, name)) for name in CHANGING}
    negative = Blend(settings.negative_prompt)
    energy = heard.energy(settings.audio.drive) if heard and settings.audio else ()
    prompts = _prompts(settings, length, energy if _driven(settings) else ())
    for frame, (prompt, seed) in enumerate(zip(prompts, _seeds(settings, length), strict=True)):
        at = {
            name: schedule.at(frame, length - 1, settings.seed, heard)
            for name, schedule in schedules.items()
        }
        noise = Noise(seed)
        if settings.variation_seed not in (None, seed) and at["variation"]:
            noise = Noise(seed, settings.variation_seed, at["variation"])
        image: Image | Follow | None = first
        if frame:
            image = Follow(
                Motion(
                    at["zoom"],
                    at["angle"],
                    (at["shift_x"], at["shift_y"]),
                    (at["centre_x"], at["centre_y"]),
                    settings.border,
                ),
                settings.colours,
                at["sharpen"],
                at["grain"],
                seed,
            )
        strength = 1.0 if image is None else at["strength"]
        yield Shot(prompt, noise, negative, at["guidance_scale"], image=image, strength=strength)


def _seeds(settings: FeedbackSettings, length: int) -> Iterator[int]:
    drawn = random.Random(settings.seed)
    for frame in range(length):
        if settings.seeds == "random":
            yield drawn.getrandbits(32)
        else:
            yield (settings.seed + (frame if settings.seeds == "step" else 0)) % SEEDS


def _prompts(settings: FeedbackSettings, length: int, energy: Sequence[float]) -> Iterator[Blend]:
    """The prompt of every frame, on its way from one to the next."""
    scenes = settings.scenes
    times = _times(settings, length)
    if times[0] > 0:
        times, scenes = [0.0, *times], [scenes[0], *scenes]
    if len(scenes) == 1:
        yield from (Blend(scenes[0]) for _ in range(length))
        return
    # Prompts may come after the film's end, as Deforum allows; the way there is begun.
    whole = max(length, round(times[-1]) + 1)
    if energy:
        energy = [*energy, *[fmean(energy)] * (whole - length)]
    stays = [*[0.0] * (len(times) - 1), whole - 1 - times[-1]]
    easings = [settings.ease] * (len(times) - 1)
    for at in positions(times, whole, easings, holds=stays, energy=energy)[:length]:
        start, end = scenes[at.segment], scenes[at.segment + 1]
        if at.t in (0, 1) or start == end:
            yield Blend(end if at.t == 1 else start)
        else:
            yield Blend(start, end, at.t)


def _times(settings: FeedbackSettings, length: int) -> list[float]:
    """Frame at which each prompt is reached, increasing."""
    if isinstance(settings.prompts, dict):
        return [float(frame) for frame in sorted(settings.prompts)]
    count = len(settings.scenes)
    if find_easing(settings.ease) is find_easing("hold"):
        return [length * i / count for i in range(count)]
    return [(length - 1) * i / max(1, count - 1) for i in range(count)]


def _read(path: str, size: tuple[int, int] | None) -> Image:
    from sdcreative import read_picture

    return read_picture(Path(path).expanduser(), size)
