"""Pictures that a model makes, altered: something to learn on a machine that has no pictures."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageOps

from sdcreative import Studio

from .looks import render
from .settings import MadeData

LOOKS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "sepia": lambda picture: ImageOps.colorize(picture.convert("L"), "#2b1a0d", "#fff3dc"),
    "amber": lambda picture: ImageOps.colorize(picture.convert("L"), "#4a2008", "#ffc94d"),
    "posterised": lambda picture: ImageOps.posterize(picture, 2),
}


def make_pictures(
    data: MadeData,
    studio: Callable[[], Studio],
    digest: str,
    shape: tuple[int, int],
    cache: Path,
    report: Callable[[str], None],
) -> Path:
    """A folder of pictures with captions; made once.

    Args:
        data: prompts, and what is done to the pictures.
        studio: loads the model.
        digest: of the model.
        shape: (width, height) in pixels.
        cache: folder of all such folders.
        report: prints one line.

    Raises:
        UsageError: a size that the model cannot make.
        RenderError: a picture came out as NaN.
    """
    said = repr((digest, shape, data.model_dump())).encode()
    folder = cache / "made" / hashlib.sha256(said).hexdigest()[:16]
    if folder.is_dir():
        return folder
    part = folder.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    loaded, alter = studio(), LOOKS[data.look]
    wanted = [(prompt, seed) for seed in range(data.seeds) for prompt in data.prompts]
    pictures = render(loaded, wanted, data.steps, data.guidance_scale, shape)
    for number, (picture, (prompt, _)) in enumerate(zip(pictures, wanted, strict=True)):
        alter(picture).save(part / f"{number:04d}.png")
        (part / f"{number:04d}.txt").write_text(f"{prompt}\n", encoding="utf-8")
    part.rename(folder)
    report(f"data: {len(wanted)} pictures made by the model, {data.look}: {folder}")
    return folder
