"""A timeline as its settings want its prompts read: which syntax, and which of the wildcards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from .prompt_wildcards import expand_wildcards
from .shots import Blend, Curve, Shot
from .timeline import Frame, Timeline


def worded(timeline: Timeline, fields: Mapping[str, Any], seed: int) -> Timeline:
    """The timeline with fields that its settings decide, and with its wildcards chosen.

    Args:
        timeline: prompts may hold ``{a|b}``, those of inverted pictures aside.
        fields: of ``Timeline``; where prompts are plain, wildcards stay as they stand.
        seed: chooses among wildcards; the same text is the same choice all along the timeline.
    """
    prompts = fields.get("prompts", timeline.prompts)

    def chosen(shot: Shot) -> Shot:
        return shot if prompts == "plain" else _chosen(shot, seed)

    def frames() -> Iterator[Frame]:
        for frame in timeline:
            yield chosen(frame) if isinstance(frame, Shot) else frame

    retiming = timeline.retiming
    if retiming is not None:
        # The same for what is measured first, and for what is made of what was measured.
        measured, again = retiming.shot, retiming.timeline
        retiming = replace(
            retiming,
            shot=lambda segment, t: chosen(measured(segment, t)),
            timeline=lambda arcs: worded(again(arcs), fields, seed),
        )
    return replace(timeline, frames=frames, retiming=retiming, **fields)


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
