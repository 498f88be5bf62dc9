"""What a timeline will take, found by walking it: no model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..core.feature_caching import full_calls
from ..core.guidance_style import active, share_of
from ..core.prompt_syntax import read_prompt
from ..core.prompt_words import Prompts, term_weights
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
        probe = replace(timeline, steps=retiming.steps)
        probing = _evaluations(probe, retiming.shot(0, 0.0), 0).times(probes)
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
    sampler = describe(timeline.sampler)
    total = sampler.unet_calls(timeline.steps)
    grown = 0
    trunk: Trunk | None = None
    inverted: set[Inversion] = set()
    for index, frame in enumerate(timeline):
        if not isinstance(frame, Shot) or not composes(index):
            continue
        calls = _Calls()
        start = timeline.steps - round(timeline.steps * frame.strength)
        if frame.trunk is not None:
            start = frame.trunk.steps
            if trunk is None or replace(frame.trunk, steps=trunk.steps) != trunk:
                trunk, grown = frame.trunk, 0
            calls += _evaluations(timeline, trunk, grown, start)
            grown = max(grown, start)
        calls += _evaluations(timeline, frame, start)
        if (hires := timeline.hires) is not None:
            second = replace(timeline, steps=hires.steps or timeline.steps)
            scale = frame.guidance_scale if hires.guidance_scale is None else hires.guidance_scale
            larger = replace(frame, guidance_scale=scale, trunk=None)
            again = _evaluations(second, larger, hires.first_step(second.steps))
            calls += again.times(area_ratio(*sizes) if sizes else round(hires.scale**2))
        for one in _inversions(frame) - inverted:
            inverted.add(one)
            forwards = total * _passes(one, timeline.prompts)
            calls += _Calls(timeline.steps * INVERSION_ITERATIONS + forwards)
        yield index, calls


def area_ratio(first: tuple[int, int], second: tuple[int, int]) -> int:
    """How many evaluations in the first size one in the second is worth, at least 1."""
    return max(1, round(second[0] * second[1] / (first[0] * first[1])))


def _evaluations(
    timeline: Timeline, wanted: Shot | Trunk, start: int, stop: int | None = None
) -> _Calls:
    """U-Net evaluations of one picture from a step up to another; with None to the end."""
    sampler, steps = describe(timeline.sampler), timeline.steps
    total = sampler.unet_calls(steps)
    end = total if stop is None else min(total, sampler.calls * stop)
    passes = _passes(wanted, timeline.prompts)
    guided = tuple(active(timeline.guidance, share_of(step, steps)) for step in range(steps))
    caching = timeline.caching
    full = () if caching is None else full_calls(caching, total, sampler.calls, guided)
    begin = min(total, sampler.calls * start)
    # What goes on from a trunk has the trunk's features; what begins in the middle has none.
    goes_on = isinstance(wanted, Trunk) or wanted.trunk is not None
    count = shallow = widest = 0
    for call in range(begin, end):
        rows = passes if guided[call // sampler.calls] or passes > 2 else 1
        count += rows
        widest = max(widest, rows)
        if full and not full[call] and (goes_on or call > begin):
            shallow += rows
    return _Calls(count, shallow, widest)


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


def _passes(wanted: Shot | Trunk | Inversion, prompts: Prompts) -> int:
    prompt = wanted.prompt
    end = None if prompt.end is None else read_prompt(prompt.end, prompts)
    weights = term_weights(read_prompt(prompt.start, prompts), end, prompt.t)
    drawn = [weight for weight in weights if weight]
    return 1 if wanted.guidance_scale == 1 and drawn == [1] else 1 + max(1, len(drawn))
