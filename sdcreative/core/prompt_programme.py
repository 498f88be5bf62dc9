"""Conditioning that changes with the step, and predictions for several prompts in one picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .conditioning import Conditioning

Terms = tuple[tuple[Conditioning, float], ...]
"""prompts whose predictions are added, each with its weight"""


@dataclass(frozen=True, eq=False)
class Programme:
    """What one picture is drawn towards, or away from, where that is not one prompt all the time.

    Attributes:
        phases: (first step, prompts from there on) in order, the first at 0.
    """

    phases: tuple[tuple[int, Terms], ...]


Drawn = Conditioning | Programme
"""what one picture is drawn towards or away from"""


def phases(drawn: Drawn) -> tuple[tuple[int, Terms], ...]:
    """(first step, prompts from there on) in order, the first at 0."""
    if isinstance(drawn, Programme):
        return drawn.phases
    return ((0, ((drawn, 1.0),)),)


def terms_at(drawn: Drawn, step: int) -> Terms:
    """The prompts of a step, counted from 0."""
    return next(terms for first, terms in reversed(phases(drawn)) if first <= step)


def lengths(drawn: Drawn) -> tuple[tuple[int, int], ...]:
    """(first step, tokens from there on); steps that change no length are left out."""
    found: list[tuple[int, int]] = []
    for first, terms in phases(drawn):
        tokens = max(one.embeddings.shape[1] for one, _ in terms)
        if not found or found[-1][1] != tokens:
            found.append((first, tokens))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class Layer:
    """One prompt for each of some pictures; the prompts of N pictures are one or more layers.

    Attributes:
        pictures: (K,) which of the N they are, each once; in the first layer all, in order.
        weights: (K,) of the predictions.
    """

    pictures: Tensor
    weights: Tensor


def layered(rows: Sequence[Terms], device: torch.device) -> tuple[list[Conditioning], list[Layer]]:
    """The prompts of N pictures layer by layer; no layers where each has one, of weight 1."""
    if all(len(terms) == 1 and terms[0][1] == 1 for terms in rows):
        return [terms[0][0] for terms in rows], []
    prompts, layers = [], []
    for depth in range(max(len(terms) for terms in rows)):
        pictures = [row for row, terms in enumerate(rows) if depth < len(terms)]
        taken = [rows[row][depth] for row in pictures]
        prompts += [one for one, _ in taken]
        weights = torch.tensor([weight for _, weight in taken], device=device)
        layers.append(Layer(torch.tensor(pictures, device=device), weights))
    return prompts, layers


def compose(
    unconditional: Tensor, conditional: Tensor, scale: Tensor, layers: Sequence[Layer]
) -> Tensor:
    """Guidance towards several prompts at once.

    N. Liu, S. Li, Y. Du et al., "Compositional Visual Generation with Composable Diffusion Models"
    (2022), conjunction of concepts:

        unconditional + scale * sum of weight_i (conditional_i - unconditional)

    Args:
        unconditional: predictions for N pictures, (N, C, H, W).
        conditional: those for the prompts, layer by layer, (M, C, H, W).
        scale: (N,) guidance scales.
        layers: whose prompts they are; their K add up to M.

    Returns:
        (N, C, H, W), float32 or wider.
    """
    wide = torch.promote_types(conditional.dtype, torch.float32)
    free = unconditional.to(wide)
    found = free.clone()
    at = 0
    for layer in layers:
        count = len(layer.pictures)
        strength = (layer.weights * scale[layer.pictures]).to(wide).reshape(-1, 1, 1, 1)
        towards = conditional[at : at + count].to(wide) - free[layer.pictures]
        # Each picture comes once in a layer, so that the sum has one order on every device.
        found[layer.pictures] += strength * towards
        at += count
    return found
