"""What a prompt says: at each step, in chunks, with weights; no text is parsed here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Prompts = Literal["weighted", "plain"]
"""How prompts are read: with AUTOMATIC1111's syntax, or every character as text."""

HEAVIEST = 1000.0
"""weights are kept within this, so that brackets in any number stay numbers"""


@dataclass(frozen=True)
class Wording:
    """A prompt as the text encoder gets it.

    Attributes:
        sections: what BREAK separates; each is pieces of text with their weights.
    """

    sections: tuple[tuple[tuple[str, float], ...], ...]

    @classmethod
    def of(cls, text: str) -> Wording:
        """Text as it stands."""
        return cls((((text, 1.0),),))


class Break:
    """The end of a section."""


BREAK = Break()


@dataclass(frozen=True, eq=False)
class Weighted:
    """Words in brackets: their weights are multiplied."""

    inside: Sequence[Node]
    factor: float

    def at(self, step: int, steps: int) -> tuple[Sequence[Node], float]:
        """The nodes of a step, and what their weights are multiplied by."""
        return self.inside, self.factor

    def changes(self, steps: int) -> Iterator[int]:
        """Steps from which on it is something else."""
        yield from ()

    @property
    def parts(self) -> Sequence[Sequence[Node]]:
        """All that it can be."""
        return (self.inside,)


@dataclass(frozen=True, eq=False)
class Edited:
    """Words that others take the place of.

    Attributes:
        when: a number of steps or, if ``share``, a share of them.
    """

    before: Sequence[Node]
    after: Sequence[Node]
    when: float
    share: bool

    def at(self, step: int, steps: int) -> tuple[Sequence[Node], float]:
        return self.before if step < self._first(steps) else self.after, 1.0

    def changes(self, steps: int) -> Iterator[int]:
        yield self._first(steps)

    @property
    def parts(self) -> Sequence[Sequence[Node]]:
        return self.before, self.after

    def _first(self, steps: int) -> int:
        # 0.29 * 100 is a little less than 29.
        return int(min(steps, self.when * steps + 1e-9 if self.share else self.when))


@dataclass(frozen=True, eq=False)
class Alternating:
    """Words that take turns, step by step."""

    options: Sequence[Sequence[Node]]

    def at(self, step: int, steps: int) -> tuple[Sequence[Node], float]:
        return self.options[step % len(self.options)], 1.0

    def changes(self, steps: int) -> Iterator[int]:
        yield from range(1, steps)

    @property
    def parts(self) -> Sequence[Sequence[Node]]:
        return self.options


Group = Weighted | Edited | Alternating
Node = str | Break | Group


@dataclass(frozen=True, eq=False)
class Term:
    """One of the prompts that AND joins.

    Attributes:
        nodes: its words.
        weight: of its prediction; below 0 the picture is drawn away from it.
    """

    nodes: Sequence[Node]
    weight: float = 1.0

    def at(self, step: int, steps: int) -> Wording:
        """Its words in a step, counted from 0."""
        sections: list[list[tuple[list[str], float]]] = [[]]
        # A stack of our own: brackets may be deeper than Python's.
        ways: list[tuple[Iterator[Node], float]] = [(iter(self.nodes), 1.0)]
        while ways:
            nodes, weight = ways[-1]
            node = next(nodes, None)
            if node is None:
                ways.pop()
            elif isinstance(node, str):
                pieces = sections[-1]
                if pieces and pieces[-1][1] == weight:
                    pieces[-1][0].append(node)
                else:
                    pieces.append(([node], weight))
            elif isinstance(node, Break):
                sections.append([])
            else:
                inside, factor = node.at(step, steps)
                heavy = max(-HEAVIEST, min(HEAVIEST, weight * factor))
                ways.append((iter(inside), heavy))
        return Wording(
            tuple(tuple(("".join(words), weight) for words, weight in one) for one in sections)
        )

    def changes(self, steps: int) -> set[int]:
        """Steps from which on its words may be others, beside 0."""
        found: set[int] = set()
        waiting: list[Node] = list(self.nodes)
        while waiting:
            node = waiting.pop()
            if not isinstance(node, str | Break):
                if len(found) < steps - 1:
                    found.update(step for step in node.changes(steps) if 0 < step < steps)
                for part in node.parts:
                    waiting.extend(part)
        return found


@dataclass(frozen=True)
class LoraTag:
    """A low-rank adaptation that a prompt asks for.

    Attributes:
        name: as it stands in the prompt.
        text_encoder: how much of it is added to the text encoder.
        unet: how much of it is added to the U-Net.
    """

    name: str
    text_encoder: float = 1.0
    unet: float = 1.0


@dataclass(frozen=True, eq=False)
class Prompt:
    """A prompt that was read.

    Attributes:
        terms: what AND joins; at least one.
        loras: in the order of the text.
    """

    terms: Sequence[Term]
    loras: tuple[LoraTag, ...] = ()

    @classmethod
    def plain(cls, text: str) -> Prompt:
        """Text as it stands."""
        return cls((Term((text,)),))

    def changes(self, steps: int) -> set[int]:
        """Steps from which on its words may be others, beside 0."""
        return {step for term in self.terms for step in term.changes(steps)}


def term_weights(start: Prompt, end: Prompt | None, t: float) -> tuple[float, ...]:
    """Weights of the terms of a point between two prompts; their terms are paired in order.

    A term that only one of the two has fades with it.
    """
    if end is None:
        return tuple(term.weight for term in start.terms)
    count = max(len(start.terms), len(end.terms))
    first, last = (
        [term.weight for term in each.terms] + [0.0] * (count - len(each.terms))
        for each in (start, end)
    )
    return tuple(a + t * (b - a) for a, b in zip(first, last, strict=True))
