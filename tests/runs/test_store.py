from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcreative import OutputError
from sdcreative.runs import store as store_module
from sdcreative.runs.store import FrameStore, check_writable
from stored_frames import change_pixels

KEY = "0123456789abcdef" * 2


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path / "frames")


def picture(seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (16, 24, 3), np.uint8))


def test_a_picture_comes_back_as_it_was(store: FrameStore) -> None:
    store.write(KEY, picture())
    back = store.read(KEY)
    assert back is not None
    assert (np.asarray(back) == np.asarray(picture())).all()
    assert list(store) == [KEY]


@pytest.mark.parametrize("damage", ["cut", "zero", "flip", "other", "html"])
def test_a_damaged_picture_counts_as_missing(store: FrameStore, damage: str) -> None:
    store.write(KEY, picture())
    path = store.path(KEY)
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[:-200]
    elif damage == "zero":
        data = bytearray()
    elif damage == "flip":
        data[len(data) // 2] ^= 255
    elif damage == "html":
        data = bytearray(b"<html>")
    path.write_bytes(data)
    if damage == "other":
        picture(1).save(path, "PNG")
    assert store.read(KEY) is None
    # Another picture, as a program may have saved it, has sound checksums but no digest.
    assert not store.whole(KEY)


def test_checksums_do_not_tell_pixels_that_were_changed_and_the_digest_does(
    store: FrameStore,
) -> None:
    store.write(KEY, picture())
    assert store.whole(KEY)
    change_pixels(store.path(KEY))
    assert store.whole(KEY)
    assert store.read(KEY) is None
    assert not store.whole("f" * 32)


def test_nothing_is_left_of_a_write_that_failed(
    store: FrameStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store_module, "sync", full)
    with pytest.raises(OutputError, match=r"disk full; about .* wanted"):
        store.write(KEY, picture())
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_what_killed_writers_left_is_swept_away_once_it_is_old(store: FrameStore) -> None:
    store.write(KEY, picture())
    part = store.path(KEY).with_name("x.part")
    part.write_bytes(b"123")
    assert store.sweep(3600) == 0
    os.utime(part, (0, 0))
    assert store.sweep(3600) == 3
    assert list(store) == [KEY]
    assert store.remove(KEY) > 0
    assert store.remove(KEY) == 0


def test_a_folder_that_cannot_be_written_is_told_before_rendering(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="SDCREATIVE_HOME"):
        check_writable(tmp_path / "file" / "frames")
