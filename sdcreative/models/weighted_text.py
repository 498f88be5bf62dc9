"""Prompts with weights to chunks of tokens, and weights onto what the text encoder says of them.

AUTOMATIC1111's rules: 75 tokens a chunk; the words behind a comma near the end of a full chunk go
on in the next one; every vector is multiplied by its token's weight, and the chunk is brought back
to the mean that it had.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.prompt_words import Wording
from .addons.embedding_installing import words_of

COMMA_REACH = 20 / 75
"""how far from the end of a chunk a comma may be so that the chunk ends there, as a share of it"""

_COMMA = ",</w>"


@dataclass(frozen=True)
class Chunk:
    """What the text encoder reads at once, without its two ends.

    Attributes:
        tokens: ids, as many as its room or fewer.
        weights: one for each.
    """

    tokens: tuple[int, ...] = ()
    weights: tuple[float, ...] = ()


def cut(tokenizer: Any, wording: Wording, room: int) -> list[Chunk]:
    """The chunks of a prompt; one empty chunk for no text. Words of several tokens stay whole.

    Args:
        tokenizer: the text encoder's.
        wording: a prompt; each of its pieces is taken to tokens by itself.
        room: tokens of a chunk, at least 1.
    """
    comma = tokenizer.convert_tokens_to_ids(_COMMA)
    if comma == tokenizer.unk_token_id:
        comma = None
    reach = round(COMMA_REACH * room)
    words = words_of(tokenizer)
    done: list[Chunk] = []
    held: list[tuple[int, float]] = []
    for number, section in enumerate(wording.sections):
        if number:
            done.append(_chunk(held))
            held = []
        last_comma: int | None = None
        for text, weight in section:
            ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)
            for token in ids.input_ids:
                need = words.get(token, 1)
                if len(held) + need > room:
                    end = len(held)
                    near = last_comma is not None and room - last_comma <= reach
                    if last_comma is not None and near and token != comma:
                        end = last_comma + 1 if end - last_comma - 1 + need <= room else end
                    done.append(_chunk(held[:end]))
                    held, last_comma = held[end:], None
                if token == comma:
                    last_comma = len(held)
                held.append((token, weight))
    if held or not done:
        done.append(_chunk(held))
    return done


def _chunk(held: Sequence[tuple[int, float]]) -> Chunk:
    return Chunk(tuple(token for token, _ in held), tuple(weight for _, weight in held))


def reweigh(states: Tensor, weights: Sequence[float]) -> Tensor:
    """Vectors of one chunk, each multiplied by its weight, the mean of all as before.

    Args:
        states: (1, T, W).
        weights: of the tokens, from the first on; those that are left, ends and padding, have 1.

    Returns:
        (1, T, W) of the same type; bit for bit the same where all weights are 1.
    """
    if all(weight == 1 for weight in weights):
        return states
    wide = states.to(torch.promote_types(states.dtype, torch.float32))
    factors = torch.ones(states.shape[1], dtype=wide.dtype)
    factors[: len(weights)] = torch.tensor(list(weights), dtype=wide.dtype)
    heavy = wide * factors.to(wide.device)[None, :, None]
    restored = heavy * (wide.mean() / heavy.mean())
    # Weights may add up to a mean of 0, which no factor brings back.
    return (restored if bool(torch.isfinite(restored).all()) else heavy).to(states.dtype)
