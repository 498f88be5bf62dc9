"""What a timeline will take, found by walking it: no model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .core.guidance_style import active, share_of
from .core.prompt_syntax import read_prompt
from .core.prompt_words import Prompts, term_weights
from .core.shots import INVERSION_ITERATIONS, Inversion, Noise, Shot, Trunk
from .core.timeline import Timeline
from .models.sampler_names import check_steps, describe


@dataclass(frozen=True)
class Plan:
    """The work in a timeline.

    Attributes:
        frames: pictures that come out.
        rendered: those that are made; the others are played back.
        shots: those that are denoised; the rest of the rendered lies between two of them.
        evaluations: U-Net evaluations of one picture; guidance takes two for every step, and one
            more for every further prompt that AND joins.
        probes: pictures that are made first, to place the frames at equal visual steps.
        probing: U-Net evaluations for these.
    """

    frames: int
    rendered: int
    shots: int
    evaluations: int
    probes: int = 0
    probing: int = 0


def plan(
    timeline: Timeline,
    composes: Callable[[int], bool] = lambda index: True,
    sizes: tuple[tuple[int, int], tuple[int, int]] | None = None,
) -> Plan:
    """Walk a timeline once.

    Args:
        timeline: what to render.
        composes: whether a frame has to be made, by its index; others cost nothing.
        sizes: (width, height) of the first and of the second pass, where there are two; an
            evaluation in the second counts as many as it is larger.

    Raises:
        UsageError: a sampler that does not exist, or steps that it cannot take.
    """
    check_steps(timeline.sampler, timeline.steps)
    sampler = describe(timeline.sampler)
    total = sampler.unet_calls(timeline.steps)
    shots = evaluations = grown = 0
    trunk: Trunk | None = None
    inverted: set[Inversion] = set()
    for index, frame in enumerate(timeline):
        if not isinstance(frame, Shot) or not composes(index):
            continue
        shots += 1
        start = timeline.steps - round(timeline.steps * frame.strength)
        if frame.trunk is not None:
            start = frame.trunk.steps
            if trunk is None or replace(frame.trunk, steps=trunk.steps) != trunk:
                trunk, grown = frame.trunk, 0
            evaluations += _evaluations(timeline, trunk, grown, start)
            grown = max(grown, start)
        evaluations += _evaluations(timeline, frame, start)
        if (hires := timeline.hires) is not None:
            second = replace(timeline, steps=hires.steps or timeline.steps)
            scale = frame.guidance_scale if hires.guidance_scale is None else hires.guidance_scale
            again = _evaluations(
                second, replace(frame, guidance_scale=scale), hires.first_step(second.steps)
            )
            evaluations += again * (area_ratio(*sizes) if sizes else round(hires.scale**2))
        for one in _inversions(frame) - inverted:
            inverted.add(one)
            again = total * _passes(one, timeline.prompts)
            evaluations += timeline.steps * INVERSION_ITERATIONS + again
    probes = probing = 0
    if (retiming := timeline.retiming) is not None:
        probes = retiming.segments * retiming.probes
        probe = replace(timeline, steps=retiming.steps)
        probing = probes * _evaluations(probe, retiming.shot(0, 0.0), 0)
    return Plan(len(timeline), timeline.length, shots, evaluations, probes, probing)


def area_ratio(first: tuple[int, int], second: tuple[int, int]) -> int:
    """How many evaluations in the first size one in the second is worth, at least 1."""
    return max(1, round(second[0] * second[1] / (first[0] * first[1])))


def _evaluations(
    timeline: Timeline, wanted: Shot | Trunk, start: int, stop: int | None = None
) -> int:
    """U-Net evaluations of one picture from a step up to another; with None to the end."""
    sampler, steps = describe(timeline.sampler), timeline.steps
    total = sampler.unet_calls(steps)
    end = total if stop is None else min(total, sampler.calls * stop)
    passes = _passes(wanted, timeline.prompts)
    count = 0
    for call in range(min(total, sampler.calls * start), end):
        guided = active(timeline.guidance, share_of(call // sampler.calls, steps))
        count += passes if guided or passes > 2 else 1
    return count


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
