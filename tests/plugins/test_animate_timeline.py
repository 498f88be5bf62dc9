"""The timeline of `animate` is plain data: what every frame is made from, and what is shared."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest

from sdcreative import Between, Blend, Frame, Noise, Shot, Timeline
from sdcreative.core.timing import Position
from sdcreative_plugins.animate.settings import AnimateSettings, Keyframe
from sdcreative_plugins.animate.timeline import Walk, timeline


def film(*prompts: str | Keyframe, **settings: Any) -> Timeline:
    return timeline(AnimateSettings(keyframes=list(prompts), **settings))


def shots(*prompts: str | Keyframe, **settings: Any) -> list[Shot]:
    frames = list(film(*prompts, **settings))
    found = [frame for frame in frames if isinstance(frame, Shot)]
    assert len(found) == len(frames)
    return found


def prompts(frames: list[Shot]) -> list[Blend]:
    return [frame.prompt for frame in frames]


@pytest.mark.parametrize("interpolation", ["slerp", "lerp"])
def test_from_prompt_to_prompt(interpolation: str) -> None:
    found = shots("a", "b", frames=5, seed=7, guidance_scale=3, interpolation=interpolation)
    between = [Blend("a", "b", t, interpolation) for t in (0.25, 0.5, 0.75)]  # type: ignore[arg-type]
    assert prompts(found) == [Blend("a"), *between, Blend("b")]
    assert {(s.noise, s.negative, s.guidance_scale) for s in found} == {(Noise(7), Blend(""), 3.0)}


def test_no_frame_comes_twice_where_segments_meet() -> None:
    found = prompts(shots("a", "b", "c", frames=9))
    assert found[4] == Blend("b")
    assert len(set(found)) == 9
    assert [(p.start, p.end) for p in found[3:6]] == [("a", "b"), ("b", None), ("b", "c")]


def test_settings_of_the_film_are_those_of_the_timeline() -> None:
    made = film("a", "b", frames=5, steps=6, sampler="Euler a", size=(64, 32), fps=8)
    assert (made.steps, made.sampler, made.size, made.fps) == (6, "Euler a", (64, 32), 8)
    assert (len(made), made.columns, made.ping_pong) == (5, None, False)


def test_a_loop_is_half_open_and_closes() -> None:
    found = prompts(shots("a", "b", frames=8, loop=True))
    assert found[0] == Blend("a")
    assert found[4] == Blend("b")
    assert [p.t for p in found[5:]] == [0.25, 0.5, 0.75]
    assert {(p.start, p.end) for p in found[5:]} == {("b", "a")}


def test_ping_pong_is_left_to_the_runtime() -> None:
    made = film("a", "b", frames=5, ping_pong=True)
    assert made.ping_pong
    assert (len(made), len(list(made))) == (8, 5)


def test_easing() -> None:
    keyframes = (Keyframe(prompt="a", ease="in"), "b", "c")
    found = prompts(shots(*keyframes, frames=9, ease="in-out"))
    assert [p.t for p in found[1:4]] < [0.25, 0.5, 0.75]
    assert found[6].t == pytest.approx(0.5)
    assert found[5].t < 0.25 < 0.75 < found[7].t


def test_hold_jumps() -> None:
    found = prompts(shots("a", "b", "c", frames=9, ease="hold"))
    assert found == [Blend("a")] * 4 + [Blend("b")] * 4 + [Blend("c")]


def test_each_keyframe_may_have_its_seed_negative_prompt_and_guidance() -> None:
    end = Keyframe(prompt="b", seed=9, negative_prompt="y", guidance_scale=7)
    found = shots("a", end, frames=5, seed=4, negative_prompt="x", guidance_scale=3)
    assert [shot.noise for shot in found[1:4]] == [Noise(4, 9, t) for t in (0.25, 0.5, 0.75)]
    assert found[2].negative == Blend("x", "y", 0.5)
    assert [shot.guidance_scale for shot in found] == [3, 4, 5, 6, 7]
    plain = Walk(AnimateSettings(keyframes=["b", "a"], seed=9, negative_prompt="y"))
    last, first = found[-1], plain.shot(Position(0, 0.0))
    assert (last.prompt, last.negative, last.trunk) == (first.prompt, first.negative, None)
    assert (last.noise.end, last.noise.t) == (9, 1.0)


def test_the_same_negative_prompt_is_not_blended() -> None:
    assert {s.negative for s in shots("a", "b", frames=9, negative_prompt="x")} == {Blend("x")}
    assert set(prompts(shots("a", "a", frames=9))) == {Blend("a")}


def test_no_trunk_at_keyframes_and_the_longest_in_mid_segment() -> None:
    found = shots("a", "b", "c", frames=33, steps=20, coherence=0.5, guidance_scale=4)
    depths = [shot.trunk.steps if shot.trunk else 0 for shot in found]
    assert [depths[i] for i in (0, 16, 32)] == [0, 0, 0]
    assert (max(depths), depths[8], depths[24]) == (10, 10, 10)
    assert depths[1] == 4  # 10 * (1 - (7 / 8) ** 4), rounded
    assert depths[:9] == sorted(depths[:9]) == depths[16:7:-1]
    trunks = {(s.trunk.prompt, s.trunk.noise, s.trunk.guidance_scale) for s in found if s.trunk}
    assert trunks == {
        (Blend("a", "b", 0.5), Noise(0), 4.0),
        (Blend("b", "c", 0.5), Noise(0), 4.0),
    }


def test_a_trunk_shares_the_middle_of_guidance_and_negative_prompt() -> None:
    end = Keyframe(prompt="b", negative_prompt="y", guidance_scale=5)
    middle = shots("a", end, frames=3, negative_prompt="x", guidance_scale=3)[1]
    assert middle.trunk is not None
    assert (middle.trunk.negative, middle.trunk.guidance_scale) == (Blend("x", "y", 0.5), 4.0)


@pytest.mark.parametrize(("coherence", "longest"), [(0, 0), (1, 20), (0.3, 6)])
def test_coherence(coherence: float, longest: int) -> None:
    found = shots("a", "b", frames=9, coherence=coherence)
    assert max(shot.trunk.steps if shot.trunk else 0 for shot in found) == longest


def test_no_trunk_between_different_seeds() -> None:
    found = shots(Keyframe(prompt="a", seed=1), Keyframe(prompt="b", seed=2), "c", frames=9, seed=2)
    assert all(shot.trunk is None for shot in found[:5])
    assert found[6].trunk is not None


@pytest.mark.parametrize("ease", ["linear", "in", "out", "in-out"])
@pytest.mark.parametrize("inbetween", [1, 2, 5, 100])
@pytest.mark.parametrize("loop", [False, True])
def test_in_betweens(inbetween: int, ease: str, loop: bool) -> None:
    count = 21 if loop else 23  # every keyframe falls on a frame
    settings = {"frames": count, "ease": ease, "loop": loop}
    frames = list(film("a", "b", "c", inbetween=inbetween, **settings))
    plain = shots("a", "b", "c", **settings)
    assert len(frames) == count
    assert isinstance(frames[-1], Shot)
    keyframes = [i for i, whole in enumerate(plain) if whole.prompt.end is None]
    assert len(keyframes) == 3
    assert [frames[i] for i in keyframes] == [plain[i] for i in keyframes]
    places = [i for i, frame in enumerate(frames) if isinstance(frame, Shot)]
    assert [frames[i] for i in places] == [plain[i] for i in places]
    for before, after in pairwise(places):
        assert after - before <= inbetween + 1
        times = [t(frame) for frame in frames[before + 1 : after]]
        assert times == sorted(set(times))
        assert all(0 < time < 1 for time in times)


def t(frame: Frame) -> float:
    assert isinstance(frame, Between)
    return frame.t


def test_in_betweens_lie_evenly_on_a_linear_way() -> None:
    frames = list(film("a", "b", frames=9, inbetween=3))
    assert [t(frame) for frame in frames if isinstance(frame, Between)] == pytest.approx(
        [0.25, 0.5, 0.75] * 2
    )


def test_in_betweens_of_a_hold_stay_where_they_are() -> None:
    frames = list(film("a", "b", "c", frames=9, ease="hold", inbetween=1))
    assert [isinstance(frame, Shot) for frame in frames] == [True, False] * 4 + [True]
    assert {t(frame) for frame in frames if isinstance(frame, Between)} == {0.0}


def test_frames_are_made_when_asked_for_and_anew_each_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Position] = []
    plain = Walk.shot

    def shot(self: Walk, at: Position) -> Shot:
        made.append(at)
        return plain(self, at)

    monkeypatch.setattr(Walk, "shot", shot)
    one = film("a", "b", frames=50)
    assert (len(one), made) == (50, [])
    frames = iter(one)
    assert isinstance(frames, Iterator)
    next(frames)
    next(frames)
    assert len(made) == 2
    assert list(one) == list(one)
