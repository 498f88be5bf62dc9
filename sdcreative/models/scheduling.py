"""Handing a sampler's state from a trunk to its branches, and batches that others join."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..core.features import Features


def fork(scheduler: Any, rows: Sequence[int]) -> Any:
    """A scheduler that goes on from the state of another, with other rows in its batch.

    Multistep samplers remember what the model said in earlier steps, one row per picture. The
    copy has those rows in the order asked for, so that N branches of a trunk of one picture, with
    rows [0] * N, go on as though each had been sampled alone from the start. The original is left
    as it was and can be forked again, also between the two calls of a second-order step.

    Args:
        scheduler: any scheduler of diffusers, between two calls of ``step``.
        rows: for every picture of the new batch, its row in the old one.
    """
    twin = copy.copy(scheduler)
    twin.__dict__.update({key: _select(value, rows) for key, value in vars(scheduler).items()})
    return twin


def _select(value: Any, rows: Sequence[int]) -> Any:
    """Latents (N, C, H, W) by row, lists copied; all else is never written to and is shared."""
    import torch

    if isinstance(value, torch.Tensor) and value.dim() >= 4:
        return value[torch.as_tensor(rows, device=value.device)]
    if isinstance(value, list):
        return [_select(entry, rows) for entry in value]
    return value


def join(schedulers: Sequence[Any]) -> Any:
    """One scheduler for the pictures of many, all at the same step.

    Args:
        schedulers: of the same kind and steps; their rows follow each other in the result. The
            same one may come several times. They are left as they were.
    """
    first = schedulers[0]
    twin = copy.copy(first)
    states = [vars(one) for one in schedulers]
    twin.__dict__.update({key: _joined([state[key] for state in states]) for key in states[0]})
    return twin


def _joined(values: list[Any]) -> Any:
    import torch

    first = values[0]
    if isinstance(first, torch.Tensor) and first.dim() >= 4:
        return torch.cat(values)
    if isinstance(first, list):
        return [_joined(list(entries)) for entries in zip(*values, strict=True)]
    return first


@dataclass(frozen=True, eq=False)
class Flight:
    """N pictures on their way from noise: all that sampling needs to go on with them.

    Attributes:
        latents: (N, C, h, w).
        sampler: a scheduler with the state of N rows.
        generators: one per picture.
        features: deep features of the pictures, where they are cached.
    """

    latents: Tensor
    sampler: Any
    generators: tuple[torch.Generator, ...]
    features: Features | None = None

    def take(self, rows: Sequence[int]) -> Flight:
        """Some of the pictures, or one several times; each goes on by itself."""
        return Flight(
            self.latents[list(rows)],
            fork(self.sampler, rows),
            tuple(_twin(self.generators[row]) for row in rows),
            self.features and self.features.take(rows),
        )

    @classmethod
    def join(cls, flights: Sequence[Flight]) -> Flight:
        """All pictures of flights that are at the same step."""
        import torch

        from ..core.features import Features

        return cls(
            torch.cat([flight.latents for flight in flights]),
            join([flight.sampler for flight in flights]),
            tuple(generator for flight in flights for generator in flight.generators),
            Features.join([(flight.features, len(flight.latents)) for flight in flights]),
        )


def _twin(generator: torch.Generator) -> torch.Generator:
    import torch

    twin = torch.Generator()
    twin.set_state(generator.get_state())
    return twin
