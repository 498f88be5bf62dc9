"""The embeddings of a film's prompts: encoded once, blended for every frame."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from ..core.conditioning import Conditioning, Neighbours, align, blend, fit, pad, stack
from ..core.prompt_programme import Drawn, Programme, Terms, layered, phases, terms_at
from ..core.prompt_syntax import read_prompt
from ..core.prompt_words import Prompt, Prompts, Wording, term_weights
from ..core.sampling import Guidance
from ..core.shots import Blend
from ..models.loading import Parts
from ..models.placement import moved
from ..models.text import encode

REMEMBERED = 64

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Row:
    """What one picture of a batch is drawn towards and away from.

    Attributes:
        conditional, unconditional: as ``Embeddings.pair`` gives them.
        guidance_scale: as in ``Shot``.
        sizes: original height and width, top and left, target height and width in pixels, for
            models that are told sizes; None for those of the film.
        beside: (K, h, w) for models that see more than the latents, or None.
    """

    conditional: Drawn
    unconditional: Drawn | None
    guidance_scale: float
    sizes: tuple[float, ...] | None = None
    beside: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """What the rows of a batch have beside their prompts; see ``Guidance``."""

    scale: Tensor
    sizes: Tensor
    beside: Tensor | None
    told: Tensor | None = None


class Embeddings:
    """Conditioning of one model, the last prompts remembered.

    Args:
        parts: the model.
        prompts: how prompts are read.
        steps: of the sampler, in which scheduled prompts change.
        clip_skip: as in ``models.text.encode``.
        size: (width, height) of the film; None for the model's own.
    """

    def __init__(
        self,
        parts: Parts,
        prompts: Prompts = "weighted",
        steps: int = 20,
        clip_skip: int = 1,
        size: tuple[int, int] | None = None,
    ) -> None:
        self.parts, self.prompts, self.steps, self.clip_skip = parts, prompts, steps, clip_skip
        width, height = size or parts.sample_size
        self._sizes = (height, width, 0, 0, height, width)
        self._known: OrderedDict[Wording, Conditioning] = OrderedDict()

    def of(self, prompt: str | Wording) -> Conditioning:
        """Embeddings (1, T, W) of a prompt; of text, as it is read for the first step."""
        if isinstance(prompt, str):
            prompt = self._read(prompt).terms[0].at(0, self.steps)
        wording = prompt
        return remember(self._known, wording, REMEMBERED, lambda: self._encode(wording))

    def _encode(self, wording: Wording) -> Conditioning:
        return encode(self.parts, [wording], clip_skip=self.clip_skip)[0]

    def _nothing(self) -> Conditioning:
        """What guidance moves away from where no negative prompt is given."""
        empty = self.of("")
        if not self.parts.zeroes_negative or empty.pooled is None:
            return empty
        return Conditioning(torch.zeros_like(empty.embeddings), torch.zeros_like(empty.pooled))

    def blend(
        self,
        wanted: Blend,
        negative: Conditioning | None = None,
        *,
        term: int = 0,
        step: int = 0,
        away: bool = False,
    ) -> Conditioning:
        """The point on the path between two prompts; only what differs is moved.

        Args:
            wanted: the path, and where on it.
            negative: the centre of a path that turns around the negative prompt; the empty
                prompt takes its place where there is none, as for that prompt's own path.
            term: which of the prompts that AND joins; one that only one end has stands still.
            step: in which prompts are what they are then.
            away: whether it is what guidance moves away from: AND joins no prompts there.
        """

        def word(text: str | None) -> Wording | None:
            terms = () if text is None else self._read(text, not away).terms
            return terms[term].at(step, self.steps) if term < len(terms) else None

        if away and not wanted.start and not wanted.end:
            return self._nothing()
        first, last = word(wanted.start), word(wanted.end)
        if first is None or last is None or first == last:
            return self.of(first or last or "")
        start, empty = self.of(first), self.of("")
        a, b = align(start, self.of(last), empty)
        tokens = a.embeddings.shape[1]

        def beside(prompt: str | None) -> Conditioning | None:
            wording = word(prompt)
            return None if wording is None else fit(self.of(wording), tokens, empty)

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
    ) -> tuple[Drawn, Drawn | None]:
        """Conditional and unconditional part, equally long in every step.

        There is no second one without guidance, unless predictions are added; models that are told
        the scale have none.
        """
        if self.parts.told_guidance:
            guidance_scale = 1.0
        drawn: list[tuple[int, Terms, Conditioning | None]] = []
        made: dict[tuple[Wording, ...], tuple[Terms, Conditioning | None]] = {}
        before: tuple[Wording, ...] | None = None
        for step in [0, *sorted(self._changes(prompt, negative))]:
            said = self._said(prompt, negative, step)
            if said != before:
                if said not in made:
                    made[said] = self._at(prompt, negative, guidance_scale, step)
                drawn.append((step, *made[said]))
            before = said
        [(_, terms, free)] = drawn[:1]
        if len(drawn) == 1 and len(terms) == 1 and terms[0][1] == 1:
            return terms[0][0], free
        away = tuple((step, ((each, 1.0),)) for step, _, each in drawn if each is not None)
        return (
            Programme(tuple((step, terms) for step, terms, _ in drawn)),
            Programme(away) if away else None,
        )

    def guidance(self, rows: Sequence[Row]) -> Guidance:
        """Guidance of a batch."""
        drawn = [one for row in rows for one in (row.conditional, row.unconditional) if one]
        device = self.parts.device
        scale = moved(torch.tensor([row.guidance_scale for row in rows]), device)
        sizes = [row.sizes or self._sizes for row in rows]
        beside = [row.beside for row in rows if row.beside is not None]
        told = None
        if self.parts.told_guidance:
            scale, told = torch.ones_like(scale), scale
        batch = Batch(
            scale,
            moved(torch.tensor(sizes, dtype=torch.float32), device),
            torch.stack(beside) if beside else None,
            told,
        )
        made: dict[tuple[int, ...], Guidance] = {}
        found: list[tuple[int, Guidance]] = []
        for step in sorted({first for one in drawn for first, _ in phases(one)}):
            towards = [terms_at(row.conditional, step) for row in rows]
            away = [terms_at(row.unconditional, step) for row in rows if row.unconditional]
            key = tuple(id(one) for terms in (*towards, *away) for one, _ in terms)
            if key not in made:
                made[key] = self._guidance(towards, [terms[0][0] for terms in away], batch)
            found.append((step, made[key]))
        (_, first_guidance), *later = found
        return replace(first_guidance, later=tuple(later)) if later else first_guidance

    def _guidance(
        self, towards: Sequence[Terms], away: Sequence[Conditioning], batch: Batch
    ) -> Guidance:
        tokens = max(one.embeddings.shape[1] for terms in towards for one, _ in terms)
        empty = self.of("")
        prompts, layers = layered(towards, self.parts.device)
        conditional = stack([pad(one, tokens, empty) for one in prompts])
        free = [pad(one, tokens, empty) for one in away]
        return Guidance(
            conditional,
            stack(free) if free else None,
            batch.scale,
            layers,
            sizes=batch.sizes,
            beside=batch.beside,
            told=batch.told,
        )

    def _at(
        self, prompt: Blend, negative: Blend, guidance_scale: float, step: int
    ) -> tuple[Terms, Conditioning | None]:
        """What a picture is drawn towards and away from in a step."""
        start = self._read(prompt.start)
        end = None if prompt.end is None else self._read(prompt.end)
        weights = term_weights(start, end, prompt.t)
        weighed = [(term, weight) for term, weight in enumerate(weights) if weight] or [(0, 0.0)]
        guided = guidance_scale != 1 or [weight for _, weight in weighed] != [1]
        turns_around_it = prompt.end is not None and prompt.centre == "negative"
        free = None
        if guided or turns_around_it:
            free = self.blend(negative, step=step, away=True)
        terms = tuple(
            (self.blend(prompt, free, term=term, step=step), weight) for term, weight in weighed
        )
        if not guided or free is None:
            return terms, None
        tokens = max(one.embeddings.shape[1] for one in (free, *(term for term, _ in terms)))
        empty = self.of("")
        padded = tuple((pad(one, tokens, empty), weight) for one, weight in terms)
        return padded, pad(free, tokens, empty)

    def _read(self, text: str, joined: bool = True) -> Prompt:
        return read_prompt(text, self.prompts, joined=joined)

    def _prompts(self, prompt: Blend, negative: Blend) -> Iterator[Prompt]:
        """All that have a part in a pair."""
        for blended, joined in ((prompt, True), (negative, False)):
            around = (blended.curve.before, blended.curve.after) if blended.curve else ()
            for text in (blended.start, blended.end, *around):
                if text is not None:
                    yield self._read(text, joined)

    def _changes(self, prompt: Blend, negative: Blend) -> set[int]:
        """Steps from which on the words may be others, beside 0."""
        found: set[int] = set()
        return found.union(*(one.changes(self.steps) for one in self._prompts(prompt, negative)))

    def _said(self, prompt: Blend, negative: Blend, step: int) -> tuple[Wording, ...]:
        """All words of a step."""
        return tuple(
            term.at(step, self.steps)
            for one in self._prompts(prompt, negative)
            for term in one.terms
        )


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
