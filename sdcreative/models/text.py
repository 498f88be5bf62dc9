"""Prompts to conditioning, with the CLIP text encoder of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.prompt_words import Wording
from ..errors import UsageError
from .loading import Parts
from .weighted_text import Chunk, cut, reweigh


@torch.no_grad()
def encode(
    parts: Parts, prompts: Sequence[str | Wording], *, clip_skip: int = 0
) -> list[Conditioning]:
    """Encode prompts as Stable Diffusion does; nothing of a long prompt is lost.

    A prompt that is longer than the encoder's context is cut into chunks, each encoded between
    its own two ends and all joined along the tokens (AUTOMATIC1111's way). Every chunk is
    encoded alone, so that a prompt's embeddings do not depend on the other prompts.

    Args:
        parts: a loaded model.
        prompts: any text, also none, every character of it a word's; or text with weights.
        clip_skip: last layers left out, from 0 to all but one; 1 is AUTOMATIC1111's "clip skip 2".

    Returns:
        one for each prompt: embeddings (1, chunks * context, width), float32 or the model's type.

    Raises:
        UsageError: clip_skip out of range.
    """
    layers = parts.text_encoder.config.num_hidden_layers
    if not 0 <= clip_skip < layers:
        raise UsageError(f"clip_skip must be 0 to {layers - 1} for this model, not {clip_skip}")
    return [
        Conditioning(
            torch.cat([_encode(parts, chunk, clip_skip) for chunk in chunks(parts, prompt)], dim=1)
        )
        for prompt in prompts
    ]


def chunks(parts: Parts, prompt: str | Wording) -> list[Chunk]:
    """A prompt in chunks of at most ``context - 2`` tokens; one empty chunk for no text."""
    wording = Wording.of(prompt) if isinstance(prompt, str) else prompt
    return cut(parts.tokenizer, wording, parts.context - 2)


def _encode(parts: Parts, chunk: Chunk, clip_skip: int) -> Tensor:
    """Hidden states of one chunk, (1, context, width)."""
    tokenizer, encoder = parts.tokenizer, parts.text_encoder
    ids = [tokenizer.bos_token_id, *chunk.tokens, tokenizer.eos_token_id]
    padding = parts.context - len(ids)
    mask = None
    if getattr(encoder.config, "use_attention_mask", False):
        mask = torch.tensor([[1] * len(ids) + [0] * padding], device=parts.device)
    inputs = torch.tensor([ids + [tokenizer.pad_token_id] * padding], device=parts.device)
    output: Any = encoder(inputs, attention_mask=mask, output_hidden_states=clip_skip > 0)
    states: Tensor = output.last_hidden_state
    if clip_skip:
        # transformers 5 has no text_model between the encoder and its layers.
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        states = norm(output.hidden_states[-(clip_skip + 1)])
    return reweigh(states, (1.0, *chunk.weights))
