"""The embeddings of a film's prompts: encoded once, blended for every frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import torch

from .core.conditioning import Conditioning, align, blend, pad, stack
from .core.sampling import Guidance
from .core.timeline import Blend
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

    def blend(self, wanted: Blend) -> Conditioning:
        """The point on the path between two prompts; only what differs is moved."""
        start = self.of(wanted.start)
        if wanted.end is None or wanted.end == wanted.start:
            return start
        a, b = align(start, self.of(wanted.end), self.of(""))
        return blend(a, b, wanted.t, wanted.method)

    def pair(
        self, prompt: Blend, negative: Blend, guidance_scale: float
    ) -> tuple[Conditioning, Conditioning | None]:
        """Conditional and unconditional part, equally long; no second one without guidance."""
        conditional = self.blend(prompt)
        if guidance_scale == 1:
            return conditional, None
        return align(conditional, self.blend(negative), self.of(""))

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
