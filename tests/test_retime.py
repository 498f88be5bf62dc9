"""Retiming: a path that moves unevenly is probed, and its frames come to lie at equal steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import pytest
from PIL import Image

from sdcreative import Arc, Blend, Noise, Retiming, Shot, Studio, Timeline, Trunk
from sdcreative.core.retiming import measure_steps
from sdcreative.errors import PluginError, UsageError
from sdcreative.metrics import find_metric
from sdcreative.retiming import retime

SIDE = 64


def film(frames: int, shot: Callable[[int, float], Shot], segments: int = 1, **options) -> Timeline:
    """Frames spread evenly over the segments, or evenly over the length of each."""

    def timeline(arcs: Sequence[Arc] | None) -> Timeline:
        def shots() -> Iterator[Shot]:
            for i in range(frames):
                along = i * segments / (frames - 1)
                segment = min(int(along), segments - 1)
                share = along - segment
                yield shot(segment, arcs[segment].at(share) if arcs else share)

        return Timeline(shots, frames, steps=4)

    retiming = Retiming(segments, shot, timeline, **{"metric": "pixel", **options})
    return replace(timeline(None), retiming=retiming)


def path(segment: int, t: float) -> Shot:
    return Shot(
        Blend(f"{segment}", f"{segment + 1}", t) if 0 < t < 1 else Blend(f"{segment + round(t)}"),
        Noise(0),
    )


class Painter:
    """Renders a position of the path as a grey wipe, whose edge is where ``move`` says."""

    def __init__(self, move: Callable[[float], float]) -> None:
        self.move = move
        self.timelines: list[Timeline] = []
        self.shots: list[Shot] = []

    def __call__(self, timeline: Timeline) -> Iterator[Image.Image]:
        self.timelines.append(timeline)
        for shot in timeline:
            self.shots.append(shot)
            yield self.picture(shot)

    def picture(self, shot: Shot) -> Image.Image:
        # Fully saturated steps of pixel RMS would grow as a root; levels grow linearly.
        level = self.move(float(shot.prompt.start) % 2 + shot.prompt.t)
        low, share = divmod(level * 255, 1)
        picture = Image.new("L", (SIDE, SIDE), int(low))
        picture.paste(min(255, int(low) + 1), (0, 0, SIDE, round(SIDE * share)))
        return picture.convert("RGB")

    def ratio(self, timeline: Timeline) -> float:
        return measure_steps(find_metric("pixel")([self.picture(shot) for shot in timeline])).ratio


def swap(width: float, centre: float = 0.43) -> Callable[[float], float]:
    """A path that changes within a width around the centre, and hardly elsewhere."""
    return lambda t: 0.1 * t + 0.9 / (1 + math.exp(-(t - centre) / width))


@pytest.mark.parametrize("width", [0.1, 0.02, 0.004])
def test_a_swap_is_spread_over_all_frames(studio: Studio, width: float) -> None:
    painter = Painter(swap(width))
    timeline = film(24, path, probes=33)
    fresh, report = retime(studio, timeline, render=painter)
    assert painter.ratio(timeline) > 2.5
    assert painter.ratio(fresh) < 1.25
    assert report.even.ratio > 2
    assert report.gap < 3
    assert len(painter.shots) == report.pictures <= 33


def test_halving_beats_an_even_probe_of_the_same_size(studio: Studio) -> None:
    # An even probe of 33 sees a swap of 0.004 in a single gap, and cannot divide it.
    painter = Painter(swap(0.004))
    _, report = retime(studio, film(24, path, probes=33), render=painter)
    gaps = [painter.move((i + 1) / 32) - painter.move(i / 32) for i in range(32)]
    assert report.gap * report.arcs[0].length / 23 < max(gaps) / 4


def test_an_even_path_stays_as_it_is_and_spends_no_more_probes(studio: Studio) -> None:
    painter = Painter(lambda t: t)
    timeline = film(4, path, probes=33)
    fresh, report = retime(studio, timeline, render=painter)
    places = [shot.prompt.t for shot in fresh]
    assert places == pytest.approx([shot.prompt.t for shot in timeline], abs=0.01)
    assert report.pictures == 17


def test_nothing_moves(studio: Studio) -> None:
    timeline = film(5, path)
    fresh, report = retime(studio, timeline, render=Painter(lambda t: 0.5))
    assert list(fresh) == list(timeline)
    assert (report.arcs[0].length, report.gap, report.even.ratio) == (0.0, 0.0, 1.0)


def test_the_same_timeline_gives_the_same_result(studio: Studio) -> None:
    first, second = (retime(studio, film(9, path), render=Painter(swap(0.03))) for _ in range(2))
    assert list(first[0]) == list(second[0])
    assert first[1] == second[1]


def test_ends_that_segments_share_are_rendered_once_in_a_loop_too(studio: Studio) -> None:
    def circle(segment: int, t: float) -> Shot:
        shot = path(segment, t)
        closing = shot.prompt.start == "2" and shot.prompt.end is None
        return path(0, 0.0) if closing else shot

    painter = Painter(lambda t: abs(1 - t))
    retime(studio, film(9, circle, segments=2, probes=5), render=painter)
    ends = [shot for shot in painter.shots if shot.prompt.end is None]
    assert [shot.prompt.start for shot in ends] == ["0", "1"]


def test_the_probe_takes_the_films_sampler_and_size_and_its_own_steps(studio: Studio) -> None:
    def branched(segment: int, t: float) -> Shot:
        return replace(path(segment, t), trunk=Trunk(Blend("0"), Noise(0), round(10 * t)))

    painter = Painter(lambda t: t)
    timeline = replace(
        film(5, branched, probes=4, steps=5), steps=20, sampler="Euler", size=(64, 96)
    )
    retime(studio, timeline, render=painter)
    for probe in painter.timelines:
        assert (probe.steps, probe.sampler, probe.size) == (5, "Euler", (64, 96))
        assert (probe.retiming, probe.length) == (None, len(list(probe)))
    trunks = {shot.prompt.t: shot.trunk.steps for shot in painter.shots if shot.trunk}
    assert trunks[2 / 3] == round(7 * 5 / 20)


def test_one_line_says_what_was_found(studio: Studio) -> None:
    lines: list[str] = []
    retime(studio, film(24, path, probes=5), render=Painter(swap(0.001)), report=lines.append)
    [line] = lines
    assert "5 probe pictures, metric pixel" in line
    assert "more probes place better" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": 0}, "segments is 0"),
        ({"probes": 2}, "probes is 2; it has to be at least 3"),
        ({"steps": 0}, "steps is 0"),
        ({"metric": "latents"}, "did you mean 'latent'"),
    ],
)
def test_refused(studio: Studio, change: dict[str, object], message: str) -> None:
    timeline = film(5, path)
    assert timeline.retiming is not None
    timeline = replace(timeline, retiming=replace(timeline.retiming, **change))
    with pytest.raises(UsageError, match=message):
        retime(studio, timeline, render=Painter(lambda t: t))


def test_a_timeline_without_retiming_is_refused(studio: Studio) -> None:
    with pytest.raises(UsageError, match="has no retiming"):
        retime(studio, replace(film(5, path), retiming=None))


def test_the_new_timeline_keeps_its_length_and_asks_no_more(studio: Studio) -> None:
    timeline = film(5, path)
    assert timeline.retiming is not None
    for fresh, message in [
        (lambda arcs: replace(timeline, retiming=None, length=6), "5 frames has 6"),
        (lambda arcs: timeline, "asks for retiming again"),
    ]:
        again = replace(timeline, retiming=replace(timeline.retiming, timeline=fresh))
        with pytest.raises(PluginError, match=message):
            retime(studio, again, render=Painter(lambda t: t))


def test_the_built_in_models_film_becomes_more_even(studio: Studio) -> None:
    def morph(segment: int, t: float) -> Shot:
        blend = Blend("a picture of a bear", "a picture of a red apple", t)
        return Shot(blend, Noise(3), guidance_scale=4.0)

    timeline = film(8, morph, metric="latent", probes=17, steps=4)
    fresh, report = retime(studio, timeline)
    metric = find_metric("latent", studio)
    even, retimed = (
        measure_steps(metric(list(studio.render(each)))).ratio for each in (timeline, fresh)
    )
    assert retimed - 1 < (even - 1) / 2
    assert report.pictures == 17
