"""A store with a few frames in it, and one that somebody has changed."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, PngImagePlugin

from sdcreative.runs.store import DIGEST, FrameStore

KEYS = [f"{n:032x}" for n in range(6)]


def stored(folder: Path, *indexes: int) -> FrameStore:
    """A store with the frames of these indexes, as red as their index."""
    store = FrameStore(folder)
    for index in indexes:
        store.write(KEYS[index], Image.new("RGB", (8, 8), (index, 0, 0)))
    return store


def change_pixels(path: Path) -> None:
    """As a program does that keeps the texts of a file."""
    with Image.open(path) as opened:
        info = PngImagePlugin.PngInfo()
        info.add_text(DIGEST, opened.info[DIGEST])
        size = opened.size
    Image.new("RGB", size, "white").save(path, "PNG", pnginfo=info)
