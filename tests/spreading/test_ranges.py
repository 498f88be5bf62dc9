"""Ranges as pure mathematics; no model is loaded."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from sdcreative import Between, Blend, Follow, Frame, Noise, Shot, Timeline, Trunk
from sdcreative.runs.kept import KeptFrames
from sdcreative.spreading.ranges import Range, compose, cut, followed, looks_back


def shot(trunk: int | None = None, **more: Any) -> Shot:
    shared = None if trunk is None else Trunk(Blend("a"), Noise(trunk), 5)
    return Shot(Blend("a bear"), Noise(0), trunk=shared, **more)


def film(frames: Sequence[Frame], **more: Any) -> Timeline:
    return Timeline(lambda: frames, len(frames), steps=10, **more)


def ranges(timeline: Timeline, wanted: set[int] | None = None, **options: Any) -> list[Range]:
    wanted = set(range(timeline.length)) if wanted is None else wanted
    composed = options.pop("composed", wanted)
    given = {"batch_size": 4, "workers": 2, "pieces": 4, "sure_bytes": 30} | options
    return cut(timeline, wanted, lambda index: index in composed, **given)


def firsts(found: Sequence[Range]) -> list[int]:
    return [one.first for one in found]


def test_equal_shots_are_cut_at_multiples_of_the_batch_as_even_as_that_allows() -> None:
    assert firsts(ranges(film([shot()] * 32))) == [0, 8, 16, 24]
    assert firsts(ranges(film([shot()] * 30), batch_size=8)) == [0, 8, 16, 24]
    assert firsts(ranges(film([shot()] * 6), pieces=8)) == [0, 4]
    assert ranges(film([shot()] * 6), set()) == []


def test_what_costs_more_is_a_shorter_range() -> None:
    dear, cheap = shot(), shot(guidance_scale=1)
    found = ranges(film([dear] * 16 + [cheap] * 16), pieces=2)
    assert firsts(found) == [0, 12]
    assert abs(found[0].weight - found[1].weight) <= 4 * (20 + 3)


def test_a_change_of_kind_begins_a_batch() -> None:
    frames = [shot()] * 6 + [shot(guidance_scale=1)] * 6
    batches = compose(film(frames), set(range(12)), lambda index: True, 4)
    assert [(one.first, one.last) for one in batches] == [(0, 3), (4, 5), (6, 9), (10, 11)]


def test_what_shares_a_trunk_stays_together() -> None:
    frames = [shot(index // 8) for index in range(64)]
    assert all(one.first % 8 == 0 for one in ranges(film(frames), pieces=8))
    # Batches that straddle two trunks belong to both: only at 24 and 48 do batch and trunk end.
    frames = [shot(index // 12) for index in range(72)]
    assert firsts(ranges(film(frames), batch_size=8, pieces=3)) == [0, 24, 48]


def test_a_film_of_one_trunk_is_cut_no_more_often_than_workers_need() -> None:
    frames = [shot(0)] * 64
    assert firsts(ranges(film(frames), workers=2, pieces=8)) == [0, 32]
    assert firsts(ranges(film(frames), workers=4, pieces=16)) == [0, 16, 32, 48]


def test_shards_of_few_trunks_are_even() -> None:
    frames = [shot(index // 20) for index in range(40)]
    assert firsts(ranges(film(frames), batch_size=2, workers=3, pieces=3)) == [0, 14, 26]
    # None is more than a fair share: the shards are uneven, and no trunk is made twice.
    frames = [shot(index // 12) for index in range(36)]
    assert firsts(ranges(film(frames), workers=2, pieces=2)) == [0, 12]


def test_frames_between_come_with_the_shot_after_them_and_the_batch_before_is_composed() -> None:
    frames: list[Frame] = [shot()]
    for _ in range(15):
        frames += [Between(1 / 3), Between(2 / 3), shot()]
    found = ranges(film(frames), pieces=2)
    assert [(one.first, one.last) for one in found] == [(0, 21), (22, 45)]
    # The Between at 22 lies between the shots at 21 and 24: the batch of 12 to 21 is made again.
    assert [one.begins for one in found] == [0, 12]


def test_what_leads_back_to_the_first_shot_is_composed_from_there() -> None:
    frames: list[Frame] = [one for _ in range(16) for one in (shot(), Between(0.5))]
    found = ranges(film(frames, closed=True), pieces=2)
    assert [(one.last, one.begins) for one in found] == [(14, 0), (31, 0)]


def test_shots_that_follow_each_other_are_one_range() -> None:
    frames: list[Frame] = [shot(), *[shot(image=Follow(), strength=0.5)] * 20]
    timeline = film(frames)
    assert [(one.first, one.last) for one in ranges(timeline)] == [(0, 20)]
    [rest] = ranges(timeline, set(range(7, 21)), composed=set(range(21)))
    assert (rest.first, rest.last, rest.begins) == (7, 20, 7)
    follows = looks_back(timeline)
    assert follows[1] == (0, 0)
    assert follows[7] == (6, 0)
    assert followed(follows, set(range(7, 21)), 7, lambda index: True) == [0, 6]


def test_two_voices_look_back_each_to_its_own() -> None:
    frames: list[Frame] = [shot(), shot(), *[shot(image=Follow(), strength=0.5)] * 8]
    timeline = film(frames, voices=2)
    assert looks_back(timeline)[5] == (3, 1)
    [rest] = ranges(timeline, {5, 6, 7, 8, 9}, composed=set(range(10)))
    assert rest.begins == 4


def test_prompts_that_may_differ_in_length_have_batches_composed_from_the_beginning() -> None:
    frames = [shot()] * 16
    assert [one.begins for one in ranges(film(frames))] == [0, 4, 8, 12]
    assert [one.begins for one in ranges(film(frames), sure_bytes=5)] == [0, 0, 0, 0]
    strong = Shot(Blend("a (bear:1.2)"), Noise(0))
    assert [one.begins for one in ranges(film([*frames, strong]))] == [0] * 4


@pytest.mark.parametrize("drawn", range(30))
def test_every_wanted_frame_is_in_one_range(drawn: int) -> None:
    chance = random.Random(drawn)
    frames: list[Frame] = [shot()]
    while len(frames) < 60:
        trunk = chance.choice([None, len(frames) // chance.randint(3, 9)])
        frames += [Between(0.5)] * chance.choice([0, 0, 1, 3])
        frames += [shot(trunk, guidance_scale=chance.choice([1.0, 7.5, 7.5, 7.5]))]
    timeline = film(frames)
    wanted = {index for index in range(len(frames)) if chance.random() < 0.7}
    kept = KeptFrames.__new__(KeptFrames)
    kept.composed = frozenset(wanted)
    kept.around(timeline)
    batch_size, pieces = chance.randint(1, 5), chance.randint(2, 9)
    composed = set(kept.composed)
    found = ranges(timeline, wanted, composed=composed, batch_size=batch_size, pieces=pieces)
    assert all(before.last < after.first for before, after in pairwise(found))
    covered = [index for one in found for index in range(one.first, one.last + 1)]
    assert wanted <= set(covered)
    assert len(found) <= max(pieces, 2)
    batches = compose(timeline, wanted, lambda index: index in composed, batch_size)
    starts = {batch.opens for batch in batches}
    assert {one.first for one in found} <= starts
    for one in found:
        assert one.begins in {batch.first for batch in batches}
        assert one.begins <= min(index for index in wanted if index >= one.first)
