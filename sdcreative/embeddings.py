"""The embeddings of a film's prompts: encoded once, blended for every frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch

from .core.conditioning import Conditioning, Neighbours, align, blend, fit, pad, stack
from .core.sampling import Guidance
from .core.shots import Blend
from .models.loading import Parts
from .models.text import encode

REMEMBERED = 64

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Embeddings:
    """Conditioning of one model, the last prompts remembered."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self._known: OrderedDict[str, Conditioning] = OrderedDict()

    def of(self, prompt: str) -> Conditioning:
        """Embeddings (1, T, W) of a prompt."""
        return remember(self._known, prompt, REMEMBERED, lambda: encode(self.parts, [prompt])[0])

    def blend(self, wanted: Blend, negative: Conditioning | None = None) -> Conditioning:
        """The point on the path between two prompts; only what differs is moved.

        Args:
            wanted: the path, and where on it.
            negative: the centre of a path that turns around the negative prompt; the empty
                prompt takes its place where there is none, as for that prompt's own path.
        """
        start = self.of(wanted.start)
        if wanted.end is None or wanted.end == wanted.start:
            return start
        empty = self.of("")
        a, b = align(start, self.of(wanted.end), empty)
        tokens = a.embeddings.shape[1]

        def beside(prompt: str | None) -> Conditioning | None:
            return None if prompt is None else fit(self.of(prompt), tokens, empty)

        centre = None
        if wanted.method == "slerp" and wanted.centre != "zero":
            around = negative if wanted.centre == "negative" else None
            centre = fit(around or empty, tokens, empty)
        neighbours = None
        if curve := wanted.curve:
            neighbours = Neighbours(beside(curve.before), beside(curve.after), curve.spans)
        return blend(a, b, wanted.t, wanted.method, centre=centre, neighbours=neighbours)

    def pair(
        self, prompt: Blend, negative: Blend, guidance_scale: float
    ) -> tuple[Conditioning, Conditioning | None]:
        """Conditional and unconditional part, equally long; no second one without guidance."""
        turns_around_it = prompt.end is not None and prompt.centre == "negative"
        free = self.blend(negative) if guidance_scale != 1 or turns_around_it else None
        conditional = self.blend(prompt, free)
        if guidance_scale == 1 or free is None:
            return conditional, None
        return align(conditional, free, self.of(""))

    def guidance(self, rows: Sequence[tuple[Conditioning, Conditioning | None, float]]) -> Guidance:
        """Guidance of a batch, from (conditional, unconditional, scale) of every row."""
        tokens = max(row[0].embeddings.shape[1] for row in rows)
        empty = self.of("")
        conditional = stack([pad(row[0], tokens, empty) for row in rows])
        free = [pad(row[1], tokens, empty) for row in rows if row[1] is not None]
        scale = torch.tensor([row[2] for row in rows], device=self.parts.device)
        return Guidance(conditional, stack(free) if free else None, scale)


def remember(
    memory: OrderedDict[Key, Value], key: Key, size: int, make: Callable[[], Value]
) -> Value:
    """What is remembered under the key, made if need be; the least recently used is forgotten."""
    if key in memory:
        memory.move_to_end(key)
    else:
        memory[key] = make()
        while len(memory) > size:
            memory.popitem(last=False)
    return memory[key]
