"""What a timeline will take, found by walking it: no model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial

from ..core.feature_caching import full_calls
from ..core.guidance_style import active, share_of
from ..core.prompt_syntax import read_prompt
from ..core.prompt_words import term_weights
from ..core.shots import INVERSION_ITERATIONS, Inversion, Noise, Shot, Trunk
from ..core.timeline import Frame, Timeline
from ..models.sampler_names import check_steps, describe


@dataclass(frozen=True)
class Plan:
    """The work in a timeline.

    Attributes:
        frames: pictures that come out.
        rendered: those that are made; the others are played back.
        shots: those that are denoised; the rest of the rendered lies between two of them.
        evaluations: U-Net evaluations of one picture; guidance takes two for every step, and one
            more for every further prompt that AND joins; each counts 1, be it full or shallow.
        probes: pictures that are made first, to place the frames at equal visual steps.
        probing: U-Net evaluations for these.
        shallow: how many of all evaluations reuse deep features, and take a share of a full one.
        depth: how deep these go, as in ``Caching``.
        widest: evaluations of one picture that are made at a time, at most.
    """

    frames: int
    rendered: int
    shots: int
    evaluations: int
    probes: int = 0
    probing: int = 0
    shallow: int = 0
    depth: int = 1
    widest: int = 2


@dataclass(frozen=True)
class _Calls:
    """Evaluations, how many of them are shallow, and how many are made at a time at most."""

    all: int = 0
    shallow: int = 0
    widest: int = 0

    def __add__(self, other: _Calls) -> _Calls:
        widest = max(self.widest, other.widest)
        return _Calls(self.all + other.all, self.shallow + other.shallow, widest)

    def times(self, count: int) -> _Calls:
        return _Calls(count * self.all, count * self.shallow, self.widest)


def plan(
    timeline: Timeline,
    composes: Callable[[int], bool] = lambda index: True,
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None,
    told_guidance: bool = False,
) -> Plan:
    """Walk a timeline once.

    Args:
        timeline: what to render.
        composes: whether a frame has to be made, by its index; others cost nothing.
        sizes: (width, height) of the first and of the second pass, where there are two; an
            evaluation in the second counts as many as it is larger.
        told_guidance: whether the model is told the guidance scale, and asked once.

    Raises:
        UsageError: a sampler that does not exist, or steps that it cannot take.
    """
    check_steps(timeline.sampler, timeline.steps)
    if told_guidance:
        timeline = _asked_once(timeline)
    shots, calls = 0, _Calls()
    for _, found in _calls_by_shot(timeline, composes, sizes):
        shots += 1
        calls += found
    probes, probing = 0, _Calls()
    if (retiming := timeline.retiming) is not None:
        probes = retiming.segments * retiming.probes
        probe = _Counting(replace(timeline, steps=retiming.steps))
        probing = probe.of(retiming.shot(0, 0.0), 0).times(probes)
    return Plan(
        len(timeline),
        timeline.length,
        shots,
        calls.all,
        probes,
        probing.all,
        calls.shallow + probing.shallow,
        1 if timeline.caching is None else timeline.caching.depth,
        (calls + probing).widest or 2,
    )


def evaluations_by_shot(
    timeline: Timeline,
    composes: Callable[[int], bool] = lambda index: True,
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> Iterator[tuple[int, int]]:
    """Index of every shot that has to be made, and its U-Net evaluations; as in ``plan``.

    What shots share, such as a trunk, counts for the first of them.
    """
    for index, calls in _calls_by_shot(timeline, composes, sizes):
        yield index, calls.all


def _calls_by_shot(
    timeline: Timeline,
    composes: Callable[[int], bool],
    sizes: tuple[tuple[int, int], tuple[int, int]] | None,
) -> Iterator[tuple[int, _Calls]]:
    counting = _Counting(timeline)
    steps, hires = timeline.steps, timeline.hires
    again = None if hires is None else _Counting(replace(timeline, steps=hires.steps or steps))
    grown = 0
    trunk: Trunk | None = None
    inverted: set[Inversion] = set()
    for index, frame in enumerate(timeline):
        if not isinstance(frame, Shot) or not composes(index):
            continue
        calls = _Calls()
        start = steps - round(steps * frame.strength)
        if frame.trunk is not None:
            start = frame.trunk.steps
            if trunk is None or not same_path(frame.trunk, trunk):
                trunk, grown = frame.trunk, 0
            calls += counting.of(trunk, grown, start)
            grown = max(grown, start)
        calls += counting.of(frame, start)
        if hires is not None and again is not None:
            scale = frame.guidance_scale if hires.guidance_scale is None else hires.guidance_scale
            larger = replace(frame, guidance_scale=scale, trunk=None)
            second = again.of(larger, hires.first_step(again.steps))
            calls += second.times(area_ratio(*sizes) if sizes else round(hires.scale**2))
        for one in _inversions(frame) - inverted:
            inverted.add(one)
            forwards = counting.total * counting.passes(one)
            calls += _Calls(steps * INVERSION_ITERATIONS + forwards)
        yield index, calls


def same_path(one: Trunk, other: Trunk) -> bool:
    """Whether two trunks differ in length at most, so that one goes on where the other ends."""
    return one is other or replace(one, steps=other.steps) == other


def area_ratio(first: tuple[int, int], second: tuple[int, int]) -> int:
    """How many evaluations in the first size one in the second is worth, at least 1."""
    return max(1, round(second[0] * second[1] / (first[0] * first[1])))


class _Counting:
    """Counts U-Net evaluations of a timeline's pictures; what was counted once is remembered."""

    def __init__(self, timeline: Timeline) -> None:
        sampler, self.steps = describe(timeline.sampler), timeline.steps
        self.total, self._each = sampler.unet_calls(self.steps), sampler.calls
        shares = (share_of(step, self.steps) for step in range(self.steps))
        self._guided = tuple(active(timeline.guidance, share) for share in shares)
        caching = timeline.caching
        self._full = (
            () if caching is None else full_calls(caching, self.total, self._each, self._guided)
        )
        self._read = cache(partial(read_prompt, prompts=timeline.prompts))
        self._between = cache(self._counted)

    def of(self, wanted: Shot | Trunk, start: int, stop: int | None = None) -> _Calls:
        """Those of one picture from a step up to another; with None to the end."""
        end = self.total if stop is None else min(self.total, self._each * stop)
        # What goes on from a trunk has the trunk's features; what begins in the middle has none.
        goes_on = isinstance(wanted, Trunk) or wanted.trunk is not None
        begin = min(self.total, self._each * start)
        return self._between(begin, end, self.passes(wanted), goes_on)

    def _counted(self, begin: int, end: int, passes: int, goes_on: bool) -> _Calls:
        count = shallow = widest = 0
        for call in range(begin, end):
            rows = passes if self._guided[call // self._each] or passes > 2 else 1
            count += rows
            widest = max(widest, rows)
            if self._full and not self._full[call] and (goes_on or call > begin):
                shallow += rows
        return _Calls(count, shallow, widest)

    def passes(self, wanted: Shot | Trunk | Inversion) -> int:
        """Evaluations of a step in which guidance acts."""
        prompt = wanted.prompt
        end = None if prompt.end is None else self._read(prompt.end)
        weights = term_weights(self._read(prompt.start), end, prompt.t)
        drawn = [weight for weight in weights if weight]
        return 1 if wanted.guidance_scale == 1 and drawn == [1] else 1 + max(1, len(drawn))


def _asked_once(timeline: Timeline) -> Timeline:
    """As a model sees it that is told the guidance scale: without guidance of its predictions."""

    def plain(shot: Shot) -> Shot:
        trunk = shot.trunk and replace(shot.trunk, guidance_scale=1.0)
        return replace(shot, guidance_scale=1.0, trunk=trunk)

    def frames() -> Iterator[Frame]:
        for frame in timeline:
            yield plain(frame) if isinstance(frame, Shot) else frame

    retiming, hires = timeline.retiming, timeline.hires
    if retiming is not None:
        measured = retiming.shot
        retiming = replace(retiming, shot=lambda segment, t: plain(measured(segment, t)))
    hires = hires and replace(hires, guidance_scale=None)
    return replace(timeline, frames=frames, retiming=retiming, hires=hires)


def _inversions(shot: Shot) -> set[Inversion]:
    noise = shot.trunk.noise if shot.trunk else shot.noise
    ends = (noise.start, noise.end) if isinstance(noise, Noise) else ()
    return {end for end in ends if isinstance(end, Inversion)}
