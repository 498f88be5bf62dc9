"""What a timeline will take, found by walking it: no model is loaded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

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


def plan(timeline: Timeline, composes: Callable[[int], bool] = lambda index: True) -> Plan:
    """Walk a timeline once.

    Args:
        timeline: what to render.
        composes: whether a frame has to be made, by its index; others cost nothing.

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
            longer = min(total, sampler.calls * start)
            evaluations += max(0, longer - grown) * _passes(trunk, timeline.prompts)
            grown = max(grown, longer)
        rest = max(0, total - sampler.calls * start)
        evaluations += rest * _passes(frame, timeline.prompts)
        for one in _inversions(frame) - inverted:
            inverted.add(one)
            evaluations += timeline.steps * INVERSION_ITERATIONS + total * _passes(
                one, timeline.prompts
            )
    probes = probing = 0
    if (retiming := timeline.retiming) is not None:
        probes = retiming.segments * retiming.probes
        passes = _passes(retiming.shot(0, 0.0), timeline.prompts)
        probing = probes * sampler.unet_calls(retiming.steps) * passes
    return Plan(len(timeline), timeline.length, shots, evaluations, probes, probing)


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
