"""Deep features of the pictures of a batch, and a denoiser that reuses them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .conditioning import Conditioning

if TYPE_CHECKING:
    from .sampling import Guidance, Predict

Full = Callable[[Tensor, Tensor, Conditioning], tuple[Tensor, Tensor]]
"""as ``Predict``, of M rows -> their output, and their features (M, ...)"""
Shallow = Callable[[Tensor, Tensor, Conditioning, Tensor], Tensor]
"""as ``Predict``, with the features of the M rows -> their output"""

Part = tuple[int, int]
"""0 for what guidance moves away from, or 1 and up for a prompt; and the window"""


@dataclass(frozen=True, eq=False)
class Features:
    """What the last full evaluations of N pictures have left.

    Attributes:
        rows: (M, ...), deep features; several pictures may have the same.
        places: of every picture, the row of each of its parts.
    """

    rows: Tensor
    places: tuple[Mapping[Part, int], ...]

    def take(self, pictures: Sequence[int]) -> Features:
        """Those of some of the pictures, or of one several times; nothing is copied."""
        return Features(self.rows, tuple(self.places[picture] for picture in pictures))

    @classmethod
    def join(cls, several: Sequence[tuple[Features | None, int]]) -> Features | None:
        """Those of all pictures of several batches.

        Args:
            several: (features, number of pictures); pictures may have none yet.
        """
        known = [features.rows for features, _ in several if features is not None]
        if not known:
            return None
        places: list[Mapping[Part, int]] = []
        before = 0
        for features, count in several:
            if features is None:
                places += [{} for _ in range(count)]
                continue
            places += [{part: before + row for part, row in one.items()} for one in features.places]
            before += len(features.rows)
        return cls(torch.cat(known), tuple(places))


class Remembering:
    """A denoiser for one batch that reuses features in some of its calls.

    A row whose features are missing is evaluated in full, whatever the others are.

    Args:
        full, shallow: the denoiser in both ways.
        schedule: of every call whether it is made in full; see ``full_calls``.
        features: of the batch, or None where there are none yet.
        whole: makes a denoiser for the rows of a call out of one for windows of them, which it is
            given in order; see ``core.windows``.

    Attributes:
        features: as the calls up to now have left them.
    """

    def __init__(
        self,
        full: Full,
        shallow: Shallow,
        schedule: Sequence[bool],
        features: Features | None = None,
        whole: Callable[[Predict], Predict] = lambda predict: predict,
    ) -> None:
        self.features = features
        self._full, self._shallow, self._schedule = full, shallow, schedule
        self._whole = whole(self._some)
        self._due = True
        self._guidance: Guidance | None = None
        self._parts: tuple[list[tuple[int, int]], int] = ([], 0)
        self._rows: list[tuple[int, int]] = []
        self._seen: list[tuple[int, Part]] = []
        self._left: list[Tensor] = []
        self._changed = False

    def at(self, call: int, guidance: Guidance) -> Predict:
        """The denoiser as it is in a call of the sampler, with what is used there."""
        self._due = self._schedule[call]
        if guidance is not self._guidance:
            self._guidance, self._parts = guidance, _parts_of(guidance)
        return self._all

    def _all(self, latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        prompts, count = self._parts
        free = [(picture, 0) for picture in range(count)]
        self._rows = prompts if len(latents) == len(prompts) else free + prompts
        self._seen, self._left, self._changed = [], [], False
        output = self._whole(latents, time, conditioning)
        if self._changed:
            places: list[dict[Part, int]] = [{} for _ in range(count)]
            for row, (picture, part) in enumerate(self._seen):
                places[picture][part] = row
            rows = self._left[0] if len(self._left) == 1 else torch.cat(self._left)
            self.features = Features(rows, tuple(places))
        self._left = []
        return output

    def _some(self, latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        """All rows of a call, in one or several windows; those after the ones before."""
        each = self._rows
        window = len(self._seen) // len(each)
        keys = [
            (picture, (part, window + further))
            for further in range(len(latents) // len(each))
            for picture, part in each
        ]
        self._seen += keys
        known = [self._place(*key) for key in keys]
        missing = [row for row, place in enumerate(known) if self._due or place is None]
        there = [place for place in known if place is not None]
        if not missing:
            features = self._gathered(there)
            output = self._shallow(latents, time, conditioning, features)
        elif len(missing) == len(keys):
            output, features = self._full(latents, time, conditioning)
            self._changed = True
        else:
            output, features = self._mixed(latents, time, conditioning, missing, there)
            self._changed = True
        self._left.append(features)
        return output

    def _place(self, picture: int, part: Part) -> int | None:
        return None if self.features is None else self.features.places[picture].get(part)

    def _gathered(self, places: Sequence[int]) -> Tensor:
        """Features of those places, in that order; a copy is kept, for the calls to come."""
        rows = self.features.rows if self.features is not None else torch.empty(0)
        first, count = places[0], len(places)
        if list(places) == list(range(first, first + count)):
            return rows[first : first + count]
        self._changed = True
        return rows[torch.tensor(places, device=rows.device)]

    def _mixed(
        self,
        latents: Tensor,
        time: Tensor,
        conditioning: Conditioning,
        missing: Sequence[int],
        there: Sequence[int],
    ) -> tuple[Tensor, Tensor]:
        """Some rows in full, the others not."""
        lacking = set(missing)
        ready = [row for row in range(len(latents)) if row not in lacking]
        new = torch.tensor(missing, device=latents.device)
        old = torch.tensor(ready, device=latents.device)
        made, deep = self._full(latents[new], time, rows_of(conditioning, new))
        reused = self._gathered(there)
        again = self._shallow(latents[old], time, rows_of(conditioning, old), reused)
        order = torch.cat([new, old]).argsort()
        return torch.cat([made, again])[order], torch.cat([deep, reused])[order]


def _parts_of(guidance: Guidance) -> tuple[list[tuple[int, int]], int]:
    """(picture, prompt counted from 1) of the conditional rows, and the number of pictures."""
    count = len(guidance.scale)
    if not guidance.layers:
        return [(picture, 1) for picture in range(count)], count
    return [
        (int(picture), 1 + depth)
        for depth, layer in enumerate(guidance.layers)
        for picture in layer.pictures.tolist()
    ], count


def rows_of(conditioning: Conditioning, rows: Tensor) -> Conditioning:
    """Some of the rows of a batch, by their numbers (M,)."""
    told = {field.name: getattr(conditioning, field.name) for field in fields(conditioning)}
    return replace(
        conditioning, **{name: each[rows] for name, each in told.items() if each is not None}
    )
