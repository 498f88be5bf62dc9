from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sdcreative import Between, Blend, Frame, Noise, RenderError, Shot, Timeline
from sdcreative.runs.kept import KeptFrames, spans, unspan
from sdcreative.runs.store import FrameStore
from stored_frames import KEYS, change_pixels, stored


def test_spans_and_back() -> None:
    assert spans([]) == []
    for indexes in ({4}, {0, 1, 2}, {0, 2, 3, 9}):
        assert unspan(spans(indexes)) == indexes


def test_batches_are_made_of_what_is_missing(tmp_path: Path) -> None:
    kept = KeptFrames(stored(tmp_path, 0, 3), KEYS)
    assert [kept.composes(i) for i in range(6)] == [False, True, True, False, True, True]
    assert [kept.finished(i) for i in range(6)] == [True, False, False, True, False, False]
    kept.keep(1, Image.new("RGB", (8, 8)))
    assert kept.finished(1)
    assert kept.made == 1


def test_who_goes_on_composes_the_same_batches(tmp_path: Path) -> None:
    kept = KeptFrames(stored(tmp_path, 0, 1, 2), KEYS, composed=range(6))
    assert all(kept.composes(i) for i in range(6))
    assert kept.missing == {3, 4, 5}
    (tmp_path / KEYS[0][:2] / f"{KEYS[0]}.png").unlink()
    assert KeptFrames(FrameStore(tmp_path), KEYS, composed=[4]).composed == {0, 3, 4, 5}


def test_pixels_that_were_changed_are_found_when_they_are_read(tmp_path: Path) -> None:
    kept = KeptFrames(stored(tmp_path, 0, 1), KEYS)
    change_pixels(kept.store.path(KEYS[1]))
    assert KeptFrames(kept.store, KEYS).finished(1)
    with pytest.raises(RenderError, match=r"frame 1: .*run the same command again"):
        kept.picture(1)
    again = KeptFrames(kept.store, KEYS)
    assert not again.finished(1) and again.finished(0)


def test_a_frame_that_cannot_be_read_just_now_is_not_thrown_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptFrames(stored(tmp_path, 0), KEYS)
    with monkeypatch.context() as patched:
        answers = iter([None])  # as where too many files are open

        def read(store: FrameStore, key: str, honest: Any = FrameStore.read) -> Any:
            return next(answers, honest(store, key))

        patched.setattr(FrameStore, "read", read)
        with pytest.raises(RenderError, match="frame 0"):
            kept.file(0)
    assert kept.file(0) and kept.picture(0)


def test_a_frame_that_comes_again_is_made_once(tmp_path: Path) -> None:
    keys = [KEYS[0], KEYS[0], KEYS[1], KEYS[0]]
    kept = KeptFrames(FrameStore(tmp_path), keys)
    assert kept.missing == {0, 2}
    kept.keep(0, Image.new("RGB", (8, 8), "red"))
    assert kept.finished(1)
    assert kept.picture(3).getpixel((0, 0)) == (255, 0, 0)


def test_a_missing_frame_between_takes_its_neighbours_along(tmp_path: Path) -> None:
    shot = Shot(Blend("a"), Noise(0))
    frames: list[Frame] = [shot, Between(0.5), shot, shot, Between(0.5), shot]
    kept = KeptFrames(stored(tmp_path, 0, 2, 3, 4, 5), KEYS)
    kept.around(Timeline(lambda: frames, 6))
    assert kept.composed == {0, 1, 2}
    assert kept.missing == {1}
