"""Sizes that Stable Diffusion XL is told change from keyframe to keyframe."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from sdcreative import Shot, Sizes, Timeline
from sdcreative_plugins.animate.settings import AnimateSettings
from sdcreative_plugins.animate.timeline import timeline as animate


def film(*sizes: Any, **more: Any) -> Timeline:
    keyframes = [
        {"prompt": f"keyframe {i}", **({} if one is None else {"sizes": one})}
        for i, one in enumerate(sizes)
    ]
    settings = AnimateSettings.model_validate({"keyframes": keyframes, "frames": 9, **more})
    return animate(settings)


def told(timeline: Timeline) -> list[Sizes | None]:
    return [frame.sizes for frame in timeline if isinstance(frame, Shot)]


def test_sizes_go_straight_from_keyframe_to_keyframe() -> None:
    found = told(film({"original": "512x256"}, {"original": 1024, "crop": (8, 16)}))
    assert found[0] == Sizes((512, 256), (0, 0))
    assert found[-1] == Sizes((1024, 1024), (8, 16))
    middle = found[4]
    assert middle is not None
    assert middle.original == pytest.approx((768, 640))
    assert middle.crop == pytest.approx((4, 8))


def test_a_trunk_is_told_the_sizes_in_the_middle() -> None:
    frames = list(film({"original": 512}, {"original": 1024}))
    trunks = {
        frame.trunk.sizes for frame in frames if isinstance(frame, Shot) and frame.trunk is not None
    }
    assert trunks == {Sizes((768, 768))}


def test_the_film_s_own_are_where_a_keyframe_has_none() -> None:
    found = told(film(None, {"original": 1024}, sizes={"original": 256}))
    assert found[0] == Sizes((256, 256), (0, 0))
    assert told(film(None, None)) == [None] * 9


def test_sizes_at_some_keyframes_only() -> None:
    with pytest.raises(ValidationError, match="other keyframes have sizes"):
        film(None, {"original": 1024})


def test_a_target_on_one_side_holds_all_the_way() -> None:
    way = Sizes((10, 10), target=(64, 32)).towards(Sizes((20, 20)), 0.5)
    assert way == Sizes((15, 15), (0, 0), (64, 32))
