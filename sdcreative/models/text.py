"""Prompts to conditioning, with the text encoders of a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.prompt_words import Wording
from ..errors import UsageError
from .parts import Parts
from .weighted_text import Chunk, cut, reweigh


@torch.no_grad()
def encode(
    parts: Parts, prompts: Sequence[str | Wording], *, clip_skip: int = 1
) -> list[Conditioning]:
    """Encode prompts as the model's family does; nothing of a long prompt is lost.

    A prompt that is longer than the encoder's context is cut into chunks, each encoded between
    its own two ends and all joined along the tokens (AUTOMATIC1111's way). Every chunk is
    encoded alone, so that a prompt's embeddings do not depend on the other prompts.

    Args:
        parts: a loaded model.
        prompts: any text, also none, every character of it a word's; or text with weights.
        clip_skip: which layer of the text encoders is taken, counted from the last as
            AUTOMATIC1111 does: 1 is the last, or the one that the family is trained with where
            that is an earlier one, 2 the last but one.

    Returns:
        one for each prompt: embeddings (1, chunks * context, width), float32 or the model's type;
        and of families with a pooled prompt the one of the first chunk.

    Raises:
        UsageError: clip_skip out of range.
    """
    layers = parts.text_encoder.config.num_hidden_layers
    if not 1 <= clip_skip <= layers:
        raise UsageError(f"clip_skip must be 1 to {layers} for this model, not {clip_skip}")
    return [_ENCODERS[parts.family.name](parts, prompt, clip_skip) for prompt in prompts]


def chunks(parts: Parts, prompt: str | Wording) -> list[Chunk]:
    """A prompt in chunks of at most ``context - 2`` tokens; one empty chunk for no text."""
    return _cut(parts.tokenizer, prompt, parts.context)


def _cut(tokenizer: Any, prompt: str | Wording, context: int) -> list[Chunk]:
    wording = Wording.of(prompt) if isinstance(prompt, str) else prompt
    return cut(tokenizer, wording, context - 2)


def _single(parts: Parts, prompt: str | Wording, clip_skip: int) -> Conditioning:
    """Stable Diffusion 1 and 2: the last layer's states, normed."""
    encoder = parts.text_encoder
    states = []
    for chunk in chunks(parts, prompt):
        output = _run(parts, encoder, parts.tokenizer, chunk, hidden=clip_skip > 1)
        found: Tensor = output.last_hidden_state
        if clip_skip > 1:
            # transformers 5 has no text_model between the encoder and its layers.
            norm = getattr(encoder, "text_model", encoder).final_layer_norm
            found = norm(output.hidden_states[-clip_skip])
        states.append(reweigh(found, (1.0, *chunk.weights)))
    return Conditioning(torch.cat(states, dim=1))


def _double(parts: Parts, prompt: str | Wording, clip_skip: int) -> Conditioning:
    """Stable Diffusion XL: the last layers but one of two encoders side by side, not normed.

    The pooled prompt is the second encoder's projection (Podell et al. 2023, section 2.1).
    """
    both = zip_longest(
        chunks(parts, prompt), _cut(parts.tokenizer_2, prompt, parts.context), fillvalue=Chunk()
    )
    states, pooled = [], None
    for first, second in both:
        narrow = _run(parts, parts.text_encoder, parts.tokenizer, first, hidden=True)
        wide = _run(parts, parts.text_encoder_2, parts.tokenizer_2, second, hidden=True)
        found = [one.hidden_states[-max(2, clip_skip)] for one in (narrow, wide)]
        states.append(
            torch.cat(
                [
                    reweigh(state, (1.0, *chunk.weights))
                    for state, chunk in zip(found, (first, second), strict=True)
                ],
                dim=-1,
            )
        )
        if pooled is None:
            # Not text_embeds: with old configurations that is at the token of the highest number.
            end = wide.last_hidden_state[:, len(second.tokens) + 1]
            pooled = parts.text_encoder_2.text_projection(end)
    return Conditioning(torch.cat(states, dim=1), pooled)


def _triple(parts: Parts, prompt: str | Wording, clip_skip: int) -> Conditioning:
    from .triple_text import encode_triple

    return encode_triple(parts, prompt, clip_skip)


_ENCODERS = {"sd": _single, "sdxl": _double, "sd3": _triple}


def _run(parts: Parts, encoder: Any, tokenizer: Any, chunk: Chunk, *, hidden: bool) -> Any:
    """What a text encoder says of one chunk between its two ends; states are (1, context, W)."""
    ids = [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id]
    padding = parts.context - len(ids)
    mask = None
    if getattr(encoder.config, "use_attention_mask", False):
        mask = torch.tensor([[1] * len(ids) + [0] * padding], device=parts.device)
    inputs = torch.tensor([ids + [tokenizer.pad_token_id] * padding], device=parts.device)
    return encoder(inputs, attention_mask=mask, output_hidden_states=hidden)
