"""A timeline as its settings want its prompts read: which syntax, and which of the wildcards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from .prompt_wildcards import expand_wildcards
from .prompt_words import Prompts
from .shots import Blend, Curve, Shot
from .timeline import Arc, Frame, Retiming, Timeline


def worded(timeline: Timeline, prompts: Prompts, seed: int) -> Timeline:
    """The timeline with its prompts read that way.

    Args:
        timeline: prompts may hold ``{a|b}``, those of inverted pictures aside.
        prompts: as in ``Timeline``; plain leaves wildcards as they stand.
        seed: chooses among wildcards; the same text is the same choice all along the timeline.
    """
    if prompts == "plain":
        return replace(timeline, prompts=prompts, retiming=_retimed(timeline, prompts, seed))

    def frames() -> Iterator[Frame]:
        for frame in timeline:
            yield _chosen(frame, seed) if isinstance(frame, Shot) else frame

    return replace(
        timeline, frames=frames, prompts=prompts, retiming=_retimed(timeline, prompts, seed)
    )


def _retimed(timeline: Timeline, prompts: Prompts, seed: int) -> Retiming | None:
    """The same for the timeline that is measured first, and the one made of what was measured."""
    if (retiming := timeline.retiming) is None:
        return None

    def shot(segment: int, t: float) -> Shot:
        found = retiming.shot(segment, t)
        return found if prompts == "plain" else _chosen(found, seed)

    def again(arcs: Sequence[Arc]) -> Timeline:
        return worded(retiming.timeline(arcs), prompts, seed)

    return replace(retiming, shot=shot, timeline=again)


def _chosen(shot: Shot, seed: int) -> Shot:
    prompt, negative = _blend(shot.prompt, seed), _blend(shot.negative, seed)
    trunk = shot.trunk
    if trunk is not None:
        trunk = replace(
            trunk, prompt=_blend(trunk.prompt, seed), negative=_blend(trunk.negative, seed)
        )
    if prompt is shot.prompt and negative is shot.negative and trunk == shot.trunk:
        return shot
    return replace(shot, prompt=prompt, negative=negative, trunk=trunk)


def _blend(blend: Blend, seed: int) -> Blend:
    curve = blend.curve
    texts = [blend.start, blend.end or ""]
    if curve is not None:
        texts += [curve.before or "", curve.after or ""]
    if not any("{" in text for text in texts):
        return blend

    def expanded(text: str | None) -> str | None:
        return None if text is None else expand_wildcards(text, seed)

    if curve is not None:
        curve = Curve(expanded(curve.before), expanded(curve.after), curve.spans)
    start = expand_wildcards(blend.start, seed)
    return replace(blend, start=start, end=expanded(blend.end), curve=curve)
