"""The timeline of `animate` is plain data: what every frame is made from, and what is shared."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import pytest

from sdcreative import (
    Between,
    Blend,
    Curve,
    Frame,
    Mixture,
    Noise,
    Position,
    Shot,
    Timeline,
    seed_circle,
    seed_curve,
    seed_orbit,
)
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
    last, first = found[-1], shots("b", "a", seed=9, negative_prompt="y")[0]
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
    # A loop may end between two shots: it leads back to the first.
    assert isinstance(frames[-1], Shot) or loop
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
    closing = [t(frame) for frame in frames[places[-1] + 1 :]]
    assert len(closing) <= inbetween
    assert closing == sorted(set(closing))
    assert all(0 < time < 1 for time in closing)


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

    def shot(self: Walk, at: Position, frame: int) -> Shot:
        made.append(at)
        return plain(self, at, frame)

    monkeypatch.setattr(Walk, "shot", shot)
    one = film("a", "b", frames=50)
    assert (len(one), made) == (50, [])
    frames = iter(one)
    assert isinstance(frames, Iterator)
    next(frames)
    next(frames)
    assert len(made) == 2
    assert list(one) == list(one)


def test_centre_and_interpolation_are_those_of_every_path() -> None:
    end = Keyframe(prompt="b", negative_prompt="y")
    middle = shots("a", end, frames=3, centre="empty")[1]
    assert middle.prompt == Blend("a", "b", 0.5, centre="empty")
    assert middle.negative == Blend("", "y", 0.5, centre="empty")
    assert middle.trunk is not None
    assert middle.trunk.prompt.centre == "empty"


def curves(found: list[Shot]) -> list[Curve | None]:
    """The curve of every segment, from frames that fall on its middle."""
    return [shot.prompt.curve for shot in found[1::2]]


def test_a_smooth_path_knows_its_neighbours() -> None:
    assert curves(shots("a", "b", "c", "d", frames=7, path="smooth")) == [
        Curve(None, "c", (2.0, 2.0, 2.0)),
        Curve("a", "d", (2.0, 2.0, 2.0)),
        Curve("b", None, (2.0, 2.0, 2.0)),
    ]


def test_a_smooth_loop_is_a_closed_curve() -> None:
    assert curves(shots("a", "b", "c", frames=6, loop=True, path="smooth")) == [
        Curve("c", "c", (2.0, 2.0, 2.0)),
        Curve("a", "a", (2.0, 2.0, 2.0)),
        Curve("b", "b", (2.0, 2.0, 2.0)),
    ]
    assert curves(shots("a", "b", frames=4, loop=True, path="smooth")) == [
        Curve("b", "a", (2.0, 2.0, 2.0)),
        Curve("a", "b", (2.0, 2.0, 2.0)),
    ]


def test_the_spans_of_a_curve_are_the_durations_of_its_ways_without_holds() -> None:
    keyframes = {0: "a", 4: Keyframe(prompt="b", hold="2 frames"), 12: "c", 15: "d"}
    found = list(timeline(AnimateSettings(keyframes=keyframes, path="smooth")))[9]
    assert isinstance(found, Shot)
    assert found.prompt == Blend("b", "c", 0.5, curve=Curve("a", "d", (4.0, 6.0, 3.0)))


def test_two_keyframes_have_no_curve_and_negatives_have_their_own() -> None:
    assert curves(shots("a", "b", frames=3, path="smooth")) == [None]
    b, c = (Keyframe(prompt=p, negative_prompt=n) for p, n in (("b", "y"), ("c", "z")))
    first = shots("a", b, c, frames=5, path="smooth", negative_prompt="x")[1]
    assert first.negative == Blend("x", "y", 0.5, curve=Curve(None, "z", (2.0, 2.0, 2.0)))
    assert first.trunk is not None
    assert first.trunk.prompt == replace(first.prompt, t=0.5)


def test_seeds_too_are_passed_in_a_curve() -> None:
    keyframes = [Keyframe(prompt="a", seed=seed) for seed in (1, 2, 3)]
    found = shots(*keyframes, frames=5, path="smooth")
    assert [found[i].noise for i in (0, 2)] == [Noise(1, 2, 0.0), Noise(2, 3, 0.0)]
    assert found[1].noise == Mixture(seed_curve([1, 2, 3], 0, 0.5))
    straight = shots(*keyframes, frames=5)
    assert straight[1].noise == Noise(1, 2, 0.5)


def test_noise_goes_round_a_circle_once() -> None:
    found = shots("a", "b", frames=8, loop=True, noise="circle", seed=3)
    assert [s.noise for s in found] == [Mixture(seed_circle(3, 4, i / 8)) for i in range(8)]
    assert found[0].noise == Mixture(((3, 1.0),))
    assert {s.trunk for s in found} == {None}
    open_film = shots("a", "b", "c", frames=9, noise="circle", seed=3)
    assert open_film[0].noise == open_film[-1].noise == Mixture(((3, 1.0),))
    assert len({s.noise for s in open_film}) == 8


def test_noise_may_stay_near_the_seed() -> None:
    found = shots("a", "b", frames=8, loop=True, noise="circle", noise_radius=0.3, seed=2**32 - 1)
    for i, shot in enumerate(found):
        assert isinstance(shot.noise, Mixture)
        assert shot.noise == Mixture(seed_orbit(2**32 - 1, 0, 1, 0.3, i / 8))
        assert dict(shot.noise.terms)[2**32 - 1] == pytest.approx(math.cos(0.3))


def test_a_circle_rests_where_a_keyframe_is_held() -> None:
    held = Keyframe(prompt="a", hold="4 frames")
    found = shots(held, "b", frames=12, loop=True, noise="circle")
    assert len({shot.noise for shot in found[:5]}) == 1
    assert found[8].noise == Mixture(seed_circle(0, 1, 0.5))
    assert len(set(found)) == 8


def test_one_prompt_in_a_circle_of_noise_is_a_film() -> None:
    found = shots("a", frames=6, loop=True, noise="circle", path="smooth")
    assert prompts(found) == [Blend("a")] * 6
    assert [s.noise for s in found] == [Mixture(seed_circle(0, 1, i / 6)) for i in range(6)]


def test_held_keyframes_stay() -> None:
    end = Keyframe(prompt="b", hold="2 frames")
    found = prompts(shots(Keyframe(prompt="a", hold="3 frames"), end, frames=10))
    assert found[:4] == [Blend("a")] * 4
    assert [p.t for p in found[4:7]] == [0.25, 0.5, 0.75]
    assert found[7:] == [Blend("b")] * 3


def test_in_betweens_of_a_held_keyframe_stay_with_it() -> None:
    frames = list(film(Keyframe(prompt="a", hold="4 frames"), "b", frames=9, inbetween=1))
    assert [isinstance(frame, Shot) for frame in frames] == [True, False] * 4 + [True]
    assert [t(frame) for frame in frames[1:4:2]] == [0.0, 0.0]
    assert t(frames[5]) == t(frames[7]) == 0.5


@pytest.mark.parametrize("ease", ["in-bounce", "out-bounce", "in-out-bounce", "steps(3)", "ease"])
@pytest.mark.parametrize("inbetween", [1, 2, 5])
def test_in_betweens_stay_between_whatever_the_easing(ease: str, inbetween: int) -> None:
    for frame in film("a", "b", "c", frames=41, ease=ease, inbetween=inbetween):
        assert isinstance(frame, Shot) or 0 <= frame.t <= 1


@pytest.mark.parametrize(
    ("guidance", "expected"),
    [
        ({0: 1, 4: 9}, [1, 3, 5, 7, 9, 9, 9]),
        ("0:(2), 3:(8)", [2, 4, 6, 8, 8, 8, 8]),
        ("0:(t)", [0, 1, 2, 3, 4, 5, 6]),
        ("max_f - t + s", [9, 8, 7, 6, 5, 4, 3]),
        ({0: {"value": 0, "ease": "hold"}, 6: 6}, [0, 0, 0, 0, 0, 0, 6]),
    ],
)
@pytest.mark.parametrize("ease", ["linear", "in-out", "hold"])
def test_guidance_goes_by_frames(guidance: Any, expected: list[float], ease: str) -> None:
    found = shots("a", "b", "c", frames=7, guidance_scale=guidance, seed=3, ease=ease)
    assert [shot.guidance_scale for shot in found] == pytest.approx(expected)


def test_a_keyframes_own_guidance_comes_before_the_schedule() -> None:
    found = shots("a", Keyframe(prompt="b", guidance_scale=10), "c", frames=9, guidance_scale="t")
    assert [shot.guidance_scale for shot in found] == [0, 3.25, 6, 8.25, 10, 8.75, 8, 7.75, 8]


def test_a_trunk_has_the_guidance_of_mid_segment() -> None:
    found = shots("a", "b", "c", frames=17, guidance_scale="t")
    trunks = [shot.trunk for shot in found]
    assert {trunk.guidance_scale for trunk in trunks[:8] if trunk} == {4.0}
    assert {trunk.guidance_scale for trunk in trunks[8:] if trunk} == {12.0}


@dataclass(frozen=True)
class Square:
    """An arc along which t^2 of the length lies before t."""

    length: float

    def at(self, share: float) -> float:
        return math.sqrt(share)


def retimed(*prompts: str | Keyframe, lengths: list[float], **settings: Any) -> list[Shot]:
    retiming = film(*prompts, timing="perceptual", **settings).retiming
    assert retiming is not None
    assert retiming.segments == len(lengths)
    made = retiming.timeline([Square(length) for length in lengths])
    assert made.retiming is None
    found = list(made)
    assert len(found) == made.length
    return [frame for frame in found if isinstance(frame, Shot)]


def test_even_timing_asks_for_nothing() -> None:
    assert film("a", "b").retiming is None


def test_perceptual_timing_says_what_to_measure() -> None:
    made = film("a", "b", "c", timing="perceptual", metric="ssim", probes=9, ease="in", frames=9)
    retiming = made.retiming
    assert retiming is not None
    assert (retiming.segments, retiming.metric, retiming.probes, retiming.steps) == (
        2,
        "ssim",
        9,
        20,
    )
    assert retiming.shot(1, 0.25).prompt == Blend("b", "c", 0.25)
    assert retiming.shot(1, 1.0).prompt == Blend("c")
    assert list(made) == list(film("a", "b", "c", ease="in", frames=9))
    assert film("a", "b", timing="perceptual", steps=3).retiming.steps == 3  # type: ignore[union-attr]


def test_frames_lie_at_equal_shares_of_the_arc() -> None:
    found = prompts(retimed("a", "b", lengths=[5], frames=5))
    assert [p.t for p in found[1:4]] == [math.sqrt(i / 4) for i in (1, 2, 3)]
    assert (found[0], found[4]) == (Blend("a"), Blend("b"))


def test_an_easing_is_one_of_the_arc() -> None:
    found = prompts(retimed("a", "b", lengths=[5], frames=5, ease="in-quad"))
    assert [p.t for p in found[1:4]] == pytest.approx([1 / 4, 2 / 4, 3 / 4])


def test_durations_are_in_proportion_to_the_arcs_where_keyframes_have_no_times() -> None:
    found = prompts(retimed("a", "b", "c", lengths=[1, 3], frames=9))
    assert found[2] == Blend("b")
    assert [p.start for p in found] == ["a", "a", *["b"] * 6, "c"]
    timed = prompts(retimed(*keyed("a", "b", "c"), lengths=[1, 3]))
    assert timed[4] == Blend("b")


def keyed(*prompts: str) -> list[Keyframe]:
    return [Keyframe(prompt=prompt, frame=4 * i) for i, prompt in enumerate(prompts)]


def test_holds_last_as_long_whatever_the_arcs() -> None:
    held = Keyframe(prompt="b", hold="2 frames")
    found = prompts(retimed("a", held, "c", lengths=[1, 3], frames=11))
    assert found[2:5] == [Blend("b")] * 3
    assert [p.end for p in found[5:10]] == ["c"] * 5


@pytest.mark.parametrize("lengths", [[0, 1, 0], [0, 0, 0], [1e-9, 5, 1e9]])
@pytest.mark.parametrize("loop", [False, True])
def test_a_segment_without_length_keeps_a_frame(lengths: list[float], loop: bool) -> None:
    names = ["a", "b", "c"] if loop else ["a", "b", "c", "d"]
    found = prompts(retimed(*names, lengths=lengths, frames=24, loop=loop))
    assert len(found) == 24
    assert {p.start for p in found} == set(names)


def test_more_segments_than_frames_is_no_reason_to_fail() -> None:
    found = retimed(*"abcdef", lengths=[1, 0, 5, 0, 2], frames=3)
    assert [shot.prompt for shot in (found[0], found[-1])] == [Blend("a"), Blend("f")]


def test_retimed_in_betweens_lie_at_the_shares_of_the_arc() -> None:
    retiming = film("a", "b", frames=9, inbetween=3, timing="perceptual").retiming
    assert retiming is not None
    frames = list(retiming.timeline([Square(2)]))
    assert [t(frame) for frame in frames if isinstance(frame, Between)] == pytest.approx(
        [0.25, 0.5, 0.75] * 2
    )


def test_the_noise_of_a_retimed_film_is_the_noise_that_was_measured() -> None:
    settings = {"frames": 8, "loop": True, "noise": "circle", "guidance_scale": "1 + t"}
    retiming = film("a", "b", timing="perceptual", **settings).retiming
    assert retiming is not None
    frames = retiming.timeline([Square(1), Square(3)])
    for index, frame in enumerate(frames):
        assert isinstance(frame, Shot)
        place = 0 if frame.prompt.start == "a" else 1
        measured = retiming.shot(place, frame.prompt.t)
        assert frame.noise == measured.noise
        assert frame.guidance_scale == 1 + index
