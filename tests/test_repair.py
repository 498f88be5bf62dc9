"""Jumps are halved along the path that the shots lie on, and no other frame is touched."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sdcreative import Between, Blend, Curve, Mixture, Noise, Shot, Studio, Timeline, Trunk
from sdcreative.core.shots import Crossfade, Follow, Inversion
from sdcreative.core.timeline import Frame
from sdcreative.errors import DataError, UsageError
from sdcreative.metrics import find_metric
from sdcreative.repair import midway, repair
from sdcreative.runs.kept import KeptFrames
from sdcreative.runs.keys import frame_keys
from sdcreative.runs.store import FrameStore

BEAR, APPLE, CAT = "a picture of a bear", "a picture of a red apple", "a picture of a cat"
GREY = Image.new("RGB", (8, 8), "grey")
WHITE = Image.new("RGB", (8, 8), "white")
PIXEL = find_metric("pixel")


def shot(t: float = 0.0, **changes: object) -> Shot:
    """A shot on the way from the bear to the apple."""
    found = Shot(Blend(BEAR, APPLE, t) if 0 < t < 1 else Blend(APPLE if t else BEAR), Noise(3))
    return replace(found, **changes)  # type: ignore[arg-type]


def half(a: Shot, b: Shot) -> Shot:
    found = midway(a, b)
    assert found is not None
    return found


CURVE = Curve(before=CAT, spans=(1.0, 2.0, 1.0))


@pytest.mark.parametrize(
    ("before", "after", "between"),
    [
        (Blend("a", "b", 0.2), Blend("a", "b", 0.6), Blend("a", "b", 0.4)),
        (Blend("a"), Blend("a", "b", 0.5), Blend("a", "b", 0.25)),
        (Blend("a", "b", 0.5), Blend("b"), Blend("a", "b", 0.75)),
        (Blend("a", "b", 0.5, "lerp", "empty", CURVE), Blend("b"), "as the blend"),
        (Blend("a"), Blend("b"), Blend("a", "b", 0.5)),
        (Blend("a"), Blend("a"), Blend("a")),
        # Through b, which both paths share: the middle is nearer to the longer way.
        (Blend("a", "b", 0.4), Blend("b", "c", 0.2), Blend("a", "b", 0.8)),
        (Blend("a", "b", 0.8), Blend("b", "c", 0.6), Blend("b", "c", 0.2)),
        (Blend("a", "b", 0.5), Blend("b", "c", 0.5), Blend("b")),
        # The same way, walked back.
        (Blend("a", "b", 0.25), Blend("b", "a", 0.25), Blend("a", "b", 0.5)),
    ],
)
def test_half_way_between_prompts(before: Blend, after: Blend, between: Blend | str) -> None:
    # Something else moves too, so that even equal prompts have a shot between them.
    found = half(shot(prompt=before, guidance_scale=3.0), shot(prompt=after, guidance_scale=4.0))
    if between == "as the blend":
        between = replace(before, t=0.75)
    assert isinstance(between, Blend)
    assert replace(found.prompt, t=0) == replace(between, t=0)
    assert found.prompt.t == pytest.approx(between.t)
    assert found.guidance_scale == 3.5


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (Blend("a", "b", 0.2), Blend("c", "d", 0.6)),
        (Blend("a", "b", 0.2), Blend("c")),
        (Blend("a", "b", 0.2, "lerp"), Blend("a", "b", 0.4)),
        (Blend("a", "b", 0.2, centre="empty"), Blend("a", "b", 0.4)),
        (Blend("a", "b", 0.2, curve=CURVE), Blend("a", "b", 0.4)),
    ],
)
def test_prompts_of_different_paths_have_no_middle(before: Blend, after: Blend) -> None:
    assert midway(shot(prompt=before), shot(prompt=after)) is None


def test_negative_prompts_move_likewise() -> None:
    found = half(shot(negative=Blend("snow")), shot(negative=Blend("snow", "rain", 0.5)))
    assert found.negative == Blend("snow", "rain", 0.25)


def weights(noise: Noise | Mixture) -> dict[int, float]:
    assert isinstance(noise, Mixture)
    return dict(noise.terms)


def test_half_way_between_noises_of_one_path() -> None:
    found = half(shot(0.2, noise=Noise(3, 8, 0.5)), shot(0.4, noise=Noise(8)))
    assert found.noise == Noise(3, 8, 0.75)


def test_mixtures_meet_on_the_sphere() -> None:
    turn = [Mixture(((3, math.cos(a)), (8, math.sin(a)))) for a in (0.2, 1.0)]
    found = weights(half(shot(noise=turn[0]), shot(noise=turn[1])).noise)
    assert found == pytest.approx({3: math.cos(0.6), 8: math.sin(0.6)})
    third = Mixture(((3, 0.6), (9, -0.8)))
    found = weights(half(shot(noise=turn[0]), shot(noise=third)).noise)
    assert math.hypot(*found.values()) == pytest.approx(1)
    assert set(found) == {3, 8, 9}


def test_a_noise_and_a_mixture_meet_on_the_same_circle() -> None:
    mixture = Mixture(((3, math.sqrt(0.5)), (8, math.sqrt(0.5))))
    found = weights(half(shot(noise=Noise(3)), shot(noise=mixture)).noise)
    assert found == pytest.approx({3: math.cos(math.pi / 8), 8: math.sin(math.pi / 8)})
    found = weights(half(shot(noise=Noise(3, 8, 0.5)), shot(noise=Noise(5, 6, 0.5))).noise)
    assert found == pytest.approx(dict.fromkeys((3, 8, 5, 6), 0.5))


def test_opposite_noises_have_no_middle() -> None:
    opposite = Mixture(((3, -1.0),))
    assert midway(shot(noise=Noise(3)), shot(noise=opposite)) is None


def test_inverted_pictures_are_ends_like_seeds_but_mix_with_nothing() -> None:
    one, other = Inversion(GREY, Blend(BEAR)), Inversion(GREY, Blend(BEAR))
    found = half(shot(noise=Noise(one, other, 0.5)), shot(noise=Noise(other)))
    assert found.noise == Noise(one, other, 0.75)
    assert midway(shot(noise=Noise(one)), shot(noise=Mixture(((3, 1.0),)))) is None


TRUNK = Trunk(Blend(BEAR, APPLE, 0.5), Noise(3), 4)


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [(4, 4, 4), (4, 8, 6), (4, 7, 6), (0, 4, 2), (4, 0, 2), (0, 0, 0)],
)
def test_trunks_of_one_path_are_as_long_as_both_on_average(
    before: int, after: int, steps: int
) -> None:
    trunks = [replace(TRUNK, steps=s) if s else None for s in (before, after)]
    found = half(shot(0.2, trunk=trunks[0]), shot(0.4, trunk=trunks[1])).trunk
    assert found == (replace(TRUNK, steps=steps) if steps else None)


def test_trunks_of_different_paths_or_another_noise_are_left_out() -> None:
    other = replace(TRUNK, prompt=Blend(CAT))
    assert half(shot(0.2, trunk=TRUNK), shot(0.4, trunk=other)).trunk is None
    assert half(shot(0.2, trunk=TRUNK), shot(0.4, noise=Noise(5))).trunk is None


def test_start_pictures_fade() -> None:
    parts = [shot(image=GREY, strength=0.2), shot(image=WHITE, strength=0.6)]
    found = half(*parts)
    assert isinstance(found.image, Crossfade)
    assert (found.image.start is GREY, found.image.end is WHITE, found.image.t) == (True, True, 0.5)
    assert found.strength == pytest.approx(0.4)
    closer = half(parts[0], found)
    assert isinstance(closer.image, Crossfade)
    assert closer.image.t == 0.25
    assert half(parts[0], shot(image=GREY, strength=0.6)).image is GREY


@pytest.mark.parametrize(
    "after",
    [shot(0.5), shot(0.5, image=Follow()), shot(0.5, image=GREY, mask=WHITE), shot(image=GREY)],
    ids=["no picture", "follows", "a mask", "the same"],
)
def test_what_has_no_middle_is_said_so(after: Shot) -> None:
    assert midway(shot(image=GREY), after) is None


STEPS = 3


def film(*frames: Frame, **changes: object) -> Timeline:
    return Timeline(lambda: frames, len(frames), steps=STEPS, **changes)  # type: ignore[arg-type]


def keys_of(timeline: Timeline) -> Sequence[str]:
    return list(frame_keys(timeline, model="emoji", size=(64, 64), dtype="float32"))


@pytest.fixture
def store(tmp_path: Path) -> FrameStore:
    return FrameStore(tmp_path)


def render(studio: Studio, store: FrameStore, timeline: Timeline) -> list[np.ndarray]:
    kept = KeptFrames(store, keys_of(timeline))
    return [np.asarray(picture, int) for picture in studio.render(timeline, kept=kept)]


def no_studio() -> Studio:
    raise AssertionError("the model is not wanted")


SKIPPED = film(*(shot(t) for t in (0, 0.02, 0.04, 0.06, 0.08, 0.9, 0.92, 0.94)))


def test_a_skipped_middle_is_halved_and_nothing_else_is_rendered(
    studio: Studio, store: FrameStore
) -> None:
    before = render(studio, store, SKIPPED)
    there = {key: store.path(key).stat().st_mtime_ns for key in store}
    calls: list[int] = []
    done = repair(lambda: studio, SKIPPED, store, keys_of, PIXEL, on_evaluations=calls.append)
    assert [mended.frame for mended in done.mended] == [4]
    [mended] = done.mended
    assert mended.before == done.before.largest
    assert mended.after < mended.before
    assert done.after.ratio < done.before.ratio
    assert mended.added == len(done.fresh) == len(done.timeline) - 8 >= 1
    # Two evaluations a step for each frame that was added, none for those that were there.
    assert sum(calls) == 2 * STEPS * len(done.fresh)
    assert all(store.path(key).stat().st_mtime_ns == when for key, when in there.items())
    assert set(store) == {*there, *done.fresh}

    frames = list(done.timeline)
    places = [frame.prompt.t for frame in frames if isinstance(frame, Shot)]
    assert places == sorted(places)
    assert pytest.approx(0.49) in places
    assert keys_of(done.timeline) == list(done.keys)
    again = render(studio, store, done.timeline)
    kept = [key for key in done.keys if key not in done.fresh]
    assert kept == keys_of(SKIPPED)
    assert all(
        np.array_equal(again[done.keys.index(key)], picture)
        for key, picture in zip(kept, before, strict=True)
    )


def test_what_was_repaired_before_is_taken_from_the_store(
    studio: Studio, store: FrameStore
) -> None:
    render(studio, store, SKIPPED)
    first = repair(lambda: studio, SKIPPED, store, keys_of, PIXEL)
    calls: list[int] = []
    second = repair(lambda: studio, SKIPPED, store, keys_of, PIXEL, on_evaluations=calls.append)
    assert (first.keys, first.mended, calls) == (second.keys, second.mended, [])


@pytest.mark.parametrize(("limits", "most"), [({"most": 1}, 1), ({"deepest": 1}, 1)])
def test_no_more_is_added_than_is_allowed(
    studio: Studio, store: FrameStore, limits: dict[str, int], most: int
) -> None:
    render(studio, store, SKIPPED)
    done = repair(lambda: studio, SKIPPED, store, keys_of, PIXEL, **limits)
    assert len(done.fresh) == most


def test_a_film_without_jumps_stays_as_it_is(studio: Studio, store: FrameStore) -> None:
    even = film(*(shot(t) for t in (0, 0.02, 0.04, 0.06)))
    render(studio, store, even)
    done = repair(no_studio, even, store, keys_of, PIXEL)
    assert (done.mended, done.fresh, done.after) == ((), (), done.before)
    assert list(done.keys) == keys_of(even)


def picture(level: int) -> Image.Image:
    found = Image.new("RGB", (64, 64), (level,) * 3)
    found.paste((255, 0, 0), (0, 0, 16, 16))
    return found


def filled(store: FrameStore, timeline: Timeline, levels: Sequence[int]) -> None:
    for key, level in zip(keys_of(timeline), levels, strict=True):
        store.write(key, picture(level))


class Painter:
    """In place of the model: paints frames that are as light as they are told, and counts them."""

    def __init__(self, level: Callable[[Frame], int]) -> None:
        self.level, self.painted = level, 0

    def render(self, timeline: Timeline, *, kept: KeptFrames, **unused: object) -> list[None]:
        for index, frame in enumerate(timeline):
            if not kept.finished(index):
                kept.keep(index, picture(self.level(frame)))
                self.painted += 1
        return []


def test_a_gap_is_halved_until_no_half_is_a_jump(store: FrameStore) -> None:
    places = (0, 0.05, 0.1, 0.15, 0.2, 0.6, 0.65, 0.7)
    wide = film(*(shot(t) for t in places))
    filled(store, wide, [round(200 * t) for t in places])
    painter = Painter(lambda frame: round(200 * frame.prompt.t))  # type: ignore[union-attr]
    done = repair(lambda: painter, wide, store, keys_of, PIXEL)  # type: ignore[arg-type,return-value]
    [mended] = done.mended
    # 0.4 among steps of 0.05, whose limit is 0.075: 8 of 0.05.
    assert (mended.frame, mended.added, painter.painted) == (4, 7, 7)
    assert done.after.jumps == ()
    assert done.after.largest == pytest.approx(done.before.median, rel=0.05)


def test_a_gap_that_stays_open_is_given_up_in_the_end(store: FrameStore) -> None:
    places = (0, 0.05, 0.1, 0.15, 0.2, 0.8, 0.85, 0.9)
    wide = film(*(shot(t) for t in places))
    swap = lambda t: round(20 * t) + 150 * (t > 0.5)  # noqa: E731
    filled(store, wide, [swap(t) for t in places])
    painter = Painter(lambda frame: swap(frame.prompt.t))  # type: ignore[union-attr]
    done = repair(lambda: painter, wide, store, keys_of, PIXEL)  # type: ignore[arg-type,return-value]
    [mended] = done.mended
    assert mended.added >= 4
    assert mended.after > done.before.limit
    assert len(done.after.jumps) == 1


def test_shots_without_a_path_get_a_point_between_their_latents(
    studio: Studio, store: FrameStore
) -> None:
    masked = replace(shot(0.9), image=GREY, mask=WHITE)
    frames = [*(shot(t) for t in (0, 0.01, 0.02, 0.03, 0.04)), masked]
    cut = film(*frames)
    render(studio, store, cut)
    done = repair(lambda: studio, cut, store, keys_of, PIXEL, deepest=2)
    added = [frame for frame in done.timeline if isinstance(frame, Between)]
    assert Between(0.5) in added
    assert [between.t for between in added] == sorted(between.t for between in added)
    assert done.mended[0].after < done.mended[0].before


def test_between_in_betweens_there_is_another_one(store: FrameStore) -> None:
    ends = shot(0), shot(0.5), shot(1)
    frames = [ends[0], Between(0.25), Between(0.5), Between(0.75), ends[1], Between(0.5), ends[2]]
    timeline = film(*frames)
    filled(store, timeline, [0, 10, 20, 120, 130, 140, 150])
    painter = Painter(lambda frame: 70)
    done = repair(lambda: painter, timeline, store, keys_of, PIXEL, deepest=1)  # type: ignore[arg-type,return-value]
    assert list(done.timeline) == [*frames[:3], Between(0.625), *frames[3:]]
    kept = [key for key in done.keys if key not in done.fresh]
    assert kept == keys_of(timeline)


def test_a_jump_behind_the_last_shot_of_a_circle(studio: Studio, store: FrameStore) -> None:
    frames = [shot(0), shot(0.01), shot(0.02), shot(0.03), Between(0.4), Between(0.6)]
    circle = film(*frames, closed=True)
    filled(store, circle, [0, 10, 20, 30, 40, 200])
    done = repair(lambda: studio, circle, store, keys_of, PIXEL, deepest=1)
    assert list(done.timeline)[5] == Between(0.5)
    assert store.has(done.keys[5])


def test_films_that_cannot_be_repaired_are_refused(store: FrameStore) -> None:
    following = film(shot(0), shot(0.5, image=Follow()))
    with pytest.raises(UsageError, match="follows from the one before it"):
        repair(no_studio, following, store, keys_of, PIXEL)
    with pytest.raises(UsageError, match="sheet of pictures"):
        repair(no_studio, film(shot(0), shot(1), columns=2), store, keys_of, PIXEL)
    with pytest.raises(DataError, match="8 of 8 frames are not there"):
        repair(no_studio, SKIPPED, store, keys_of, PIXEL)
