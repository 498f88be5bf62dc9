"""Prompts to conditioning as Stable Diffusion 3 reads them: two CLIP text encoders, and T5.

Every chunk is CLIP's tokens, the two encoders' vectors side by side and as wide as T5's by zeros,
and then T5's tokens (Esser et al. 2024, section 4.1).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.prompt_words import Wording
from .parts import Parts
from .weighted_text import Chunk, cut, reweigh

T5_TOKENS = 256
"""tokens of T5 in every chunk, with their end; without T5 so many zeros"""

_WORD_BEGINS = "\u2581"


@torch.no_grad()
def encode_triple(parts: Parts, prompt: str | Wording, clip_skip: int = 1) -> Conditioning:
    """Encode a prompt as Stable Diffusion 3 does; nothing of a long prompt is lost.

    CLIP gets a long prompt in chunks. T5 reads far more at once, and makes sense of whole
    sentences: it reads the prompt from the start, BREAK or not, and goes on in the next chunk
    where its own tokens are full; chunks left over have its empty text. So a prompt of one chunk,
    or one that is too long only for CLIP, is to T5 what it is in diffusers.

    CLIP's vectors are weighted as everywhere. T5's are multiplied by the weight of their piece and
    left so: their mean is close to 0, and no measure of their size.

    Args:
        parts: a loaded model; without text_encoder_3 it goes without T5.
        prompt: any text, also none; or text with weights.
        clip_skip: layer of the CLIP encoders, counted from the last; never less than the last but
            one, which the model is trained with.

    Returns:
        embeddings (1, chunks * (context + T5_TOKENS), joint_attention_dim of the transformer), and
        the pooled prompt of the first chunk, both CLIP encoders' projections one after another.
    """
    wording = Wording.of(prompt) if isinstance(prompt, str) else prompt
    room, width = parts.context - 2, parts.transformer.config.joint_attention_dim
    read: dict[Chunk, Tensor] = {}
    states: list[Tensor] = []
    pooled: Tensor | None = None
    for first, second, third in zip_longest(
        cut(parts.tokenizer, wording, room),
        cut(parts.tokenizer_2, wording, room),
        t5_chunks(parts.tokenizer_3, wording) if parts.text_encoder_3 is not None else (),
        fillvalue=Chunk(),
    ):
        narrow = _clip(parts, parts.text_encoder, parts.tokenizer, first)
        wide = _clip(parts, parts.text_encoder_2, parts.tokenizer_2, second)
        both = torch.cat(
            [
                reweigh(output.hidden_states[-max(2, clip_skip)], (1.0, *chunk.weights))
                for output, chunk in ((narrow, first), (wide, second))
            ],
            dim=-1,
        )
        if third not in read:
            read[third] = _t5(parts, third).to(both.device)
        padded = torch.nn.functional.pad(both, (0, width - both.shape[-1]))
        states += [padded, read[third]]
        if pooled is None:
            pooled = torch.cat([narrow.text_embeds, wide.text_embeds], dim=-1)
    return Conditioning(torch.cat(states, dim=1), pooled)


def t5_chunks(tokenizer: Any, wording: Wording) -> list[Chunk]:
    """A prompt in chunks of at most T5_TOKENS - 1 tokens, words whole; one empty one for no text.

    Args:
        tokenizer: T5's; each piece of the prompt is taken to tokens by itself.
        wording: its sections follow each other.
    """
    tokens: list[int] = []
    weights: list[float] = []
    for section in wording.sections:
        for text, weight in section:
            ids = tokenizer(text, add_special_tokens=False, truncation=False, verbose=False)
            tokens += ids.input_ids
            weights += [weight] * len(ids.input_ids)
    starts = [0, *_cuts(tokenizer.convert_ids_to_tokens(tokens)), len(tokens)]
    return [
        Chunk(tuple(tokens[start:end]), tuple(weights[start:end]))
        for start, end in pairwise(starts)
    ]


def _cuts(pieces: Sequence[str]) -> Iterator[int]:
    """Where chunks begin after the first: with a word, if one begins in the chunk before."""
    room, start = T5_TOKENS - 1, 0
    while len(pieces) - start > room:
        ends = range(start + room, start, -1)
        start = next((end for end in ends if pieces[end].startswith(_WORD_BEGINS)), ends[0])
        yield start


def _clip(parts: Parts, encoder: Any, tokenizer: Any, chunk: Chunk) -> Any:
    """What a CLIP text encoder says of one chunk between its two ends."""
    ids = [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id]
    ids += [tokenizer.pad_token_id] * (parts.context - len(ids))
    return encoder(torch.tensor([ids], device=parts.device), output_hidden_states=True)


def _t5(parts: Parts, chunk: Chunk) -> Tensor:
    """(1, T5_TOKENS, width): what T5 says of one chunk, or zeros of a model without it."""
    encoder, tokenizer = parts.text_encoder_3, parts.tokenizer_3
    if encoder is None:
        width = parts.transformer.config.joint_attention_dim
        return torch.zeros(1, T5_TOKENS, width, dtype=parts.text_encoder.dtype)
    ids = [*chunk.tokens, tokenizer.eos_token_id]
    ids += [tokenizer.pad_token_id] * (T5_TOKENS - len(ids))
    # Trained without a mask: padding is seen.
    states: Tensor = encoder(torch.tensor([ids], device=encoder.device)).last_hidden_state
    factors = torch.ones(T5_TOKENS, dtype=torch.float32)
    factors[: len(chunk.weights)] = torch.tensor(chunk.weights)
    return states * factors.to(states)[None, :, None]
