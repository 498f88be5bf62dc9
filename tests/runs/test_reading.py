"""Frames that are read ahead of their turn."""

from __future__ import annotations

from pathlib import Path
from threading import Barrier

import pytest
from PIL import Image

from sdcreative import RenderError
from sdcreative.runs.kept import Kept, KeptFrames
from sdcreative.runs.reading import Reader, in_order
from sdcreative.runs.store import FrameStore
from stored_frames import KEYS, stored


def kept_frames(folder: Path, *indexes: int) -> KeptFrames:
    return KeptFrames(stored(folder, *indexes), KEYS)


def number(picture: Image.Image) -> int:
    red: int = picture.getpixel((0, 0))[0]  # type: ignore[index]
    return red


def test_all_come_in_order(tmp_path: Path) -> None:
    kept = kept_frames(tmp_path, *range(6))
    assert [number(picture) for picture in in_order(kept, 6)] == [0, 1, 2, 3, 4, 5]


def test_several_are_read_at_a_time() -> None:
    together = Barrier(3)

    class Slow(Kept):
        def finished(self, index: int) -> bool:
            return True

        def picture(self, index: int) -> Image.Image:
            if index < 3:
                together.wait(timeout=20)  # breaks unless three are read at a time
            return Image.new("RGB", (8, 8), (index, 0, 0))

    with Reader(Slow(), 9, threads=3) as reader:
        assert [number(reader.picture(index)) for index in range(6)] == [0, 1, 2, 3, 4, 5]


def test_what_is_not_made_yet_is_read_when_it_is(tmp_path: Path) -> None:
    kept = kept_frames(tmp_path, 0, 2)
    with Reader(kept, 6, threads=6) as reader:
        assert number(reader.picture(0)) == 0
        for index in (1, 3, 4, 5):
            kept.keep(index, Image.new("RGB", (8, 8), (10 + index, 0, 0)))
        assert [number(reader.picture(index)) for index in range(1, 6)] == [11, 2, 13, 14, 15]


def test_a_changed_frame_ends_the_film_at_its_turn_and_is_made_anew_the_next_time(
    tmp_path: Path,
) -> None:
    kept = kept_frames(tmp_path, *range(6))
    changed = kept.store.path(KEYS[2])
    changed.write_bytes(changed.read_bytes()[:60])
    pictures = in_order(kept, 6)
    assert [number(next(pictures)) for _ in range(2)] == [0, 1]
    with pytest.raises(RenderError, match=r"^frame 2: .* run the same command again"):
        next(pictures)
    assert KeptFrames(FrameStore(tmp_path), KEYS).missing == {2}
