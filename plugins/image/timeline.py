"""Settings of the `image` tool to a timeline."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sdcreative import Blend, Noise, Shot, Timeline, expand_wildcards

from .settings import ImageSettings

if TYPE_CHECKING:
    from PIL.Image import Image


def timeline(settings: ImageSettings) -> Timeline:
    """One shot per prompt and seed, row by row.

    Raises:
        DataError: the start picture or the mask cannot be read.
    """
    prompts = [settings.prompt] if isinstance(settings.prompt, str) else settings.prompt
    image = _read(settings.image, settings.size, "RGB")
    mask = _read(settings.mask, settings.size, "L")

    def shots() -> Iterator[Shot]:
        for prompt in prompts:
            for i in range(settings.count):
                seed = (settings.seed + i) % 2**32
                # Each picture has wildcards of its own.
                plain = settings.prompt_syntax == "plain"
                yield Shot(
                    Blend(prompt if plain else expand_wildcards(prompt, seed)),
                    Noise(seed),
                    Blend(settings.negative_prompt),
                    settings.guidance_scale,
                    image=image,
                    mask=mask,
                    strength=1.0 if image is None else settings.strength,
                )

    length = len(prompts) * settings.count
    columns = settings.columns or (settings.count if len(prompts) > 1 else min(8, settings.count))
    return Timeline(
        shots,
        length,
        steps=settings.steps,
        sampler=settings.sampler,
        size=settings.size,
        columns=columns if length > 1 else None,
        seamless=settings.seamless or "",
    )


def _read(
    path: str | None, size: tuple[int, int] | None, mode: Literal["RGB", "L"]
) -> Image | None:
    from sdcreative import read_picture

    return None if path is None else read_picture(Path(path).expanduser(), size, mode)
