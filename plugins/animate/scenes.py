"""Keyframes with all that they leave out filled in, and their files read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .stills import restore

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdcreative import Sizes

    from .settings import AnimateSettings


@dataclass(frozen=True, eq=False)
class Scene:
    """What is shown at a keyframe.

    Attributes:
        guidance_scale: None for the film's own, which may change with the frames.
        sizes: what models are told that ask for it; None for those of the film's pictures.
        picture: a picture of one's own; the same object wherever the file comes again.
    """

    prompt: str
    negative_prompt: str
    seed: int
    guidance_scale: float | None = None
    picture: Image | None = None
    sizes: Sizes | None = None


def read_scenes(settings: AnimateSettings) -> tuple[list[Scene], tuple[int, int] | None]:
    """Scenes of the keyframes in order, and the film's size; None for the model's own.

    Raises:
        DataError: a picture or still cannot be read, or a still does not go with the film.
    """
    from sdcreative import read_picture

    keyframes, size = restore(settings)
    pictures: dict[str, Image] = {}
    scenes = []
    for keyframe in keyframes:
        file = keyframe.image
        if file is not None and file not in pictures:
            pictures[file] = read_picture(Path(file).expanduser(), size)
        sizes = keyframe.sizes or settings.sizes
        negative = keyframe.negative_prompt
        scenes.append(
            Scene(
                keyframe.prompt or "",
                settings.negative_prompt if negative is None else negative,
                settings.seed if keyframe.seed is None else keyframe.seed,
                keyframe.guidance_scale,
                None if file is None else pictures[file],
                sizes and sizes.told(),
            )
        )
    return scenes, size
