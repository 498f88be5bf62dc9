"""Captions to what the denoiser is told, as the runtime does it, and with gradients if wanted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sdcreative import UsageError

from .store import Store

T5_TOKENS = 256
TOGETHER = 16
"""captions encoded at once"""


@dataclass(frozen=True)
class Told:
    """Of N captions: hidden states (N, T, W), and in some families a pooled vector (N, P) each."""

    states: Tensor
    pooled: Tensor | None


class Texts:
    """The text encoders of a model; what they say of a caption is kept while they are frozen."""

    def __init__(self, parts: Any, clip_skip: int, store: Store | None) -> None:
        """``store`` is None where the encoders are trained.

        Raises:
            UsageError: there are not so many layers.
        """
        layers = parts.text_encoder.config.num_hidden_layers
        if clip_skip > layers:
            raise UsageError(f"clip_skip must be 1 to {layers} for this model, not {clip_skip}")
        self.parts, self.clip_skip, self.store = parts, clip_skip, store

    def prepare(self, captions: Sequence[str]) -> int:
        """Encode and keep what is not kept yet; returns how many those were."""
        if self.store is None:
            return 0
        missing = [text for text in dict.fromkeys(captions) if self._stored(text) is None]
        for start in range(0, len(missing), TOGETHER):
            some = missing[start : start + TOGETHER]
            with torch.no_grad():
                told = self.encode(some)
            for row, text in enumerate(some):
                self._put(text, "states", told.states[row])
                if told.pooled is not None:
                    self._put(text, "pooled", told.pooled[row])
        return len(missing)

    def told(self, captions: Sequence[str]) -> Told:
        """What the denoiser is told; from the store where there is one."""
        if self.store is None:
            return self.encode(captions)
        self.prepare(captions)
        rows = [self._stored(text) for text in captions]
        states, pooled = zip(*[row for row in rows if row is not None], strict=True)
        return Told(self._stack(states), None if pooled[0] is None else self._stack(pooled))

    def encode(self, captions: Sequence[str]) -> Told:
        """Through the encoders; what is longer than their context is cut off."""
        name, parts, texts = self.parts.family.name, self.parts, list(captions)
        first = _clip(parts.text_encoder, parts.tokenizer, texts, parts.context)
        if name == "sd":
            states = first.last_hidden_state
            if self.clip_skip > 1:
                encoder = parts.text_encoder
                norm = getattr(encoder, "text_model", encoder).final_layer_norm
                states = norm(first.hidden_states[-self.clip_skip])
            return Told(states, None)
        second = _clip(parts.text_encoder_2, parts.tokenizer_2, texts, parts.context)
        layer = -max(2, self.clip_skip)
        states = torch.cat([first.hidden_states[layer], second.hidden_states[layer]], dim=-1)
        if name == "sdxl":
            return Told(states, _pooled(parts.text_encoder_2, parts.tokenizer_2, second, texts))
        states = functional.pad(states, (0, self._width - states.shape[-1]))
        pooled = torch.cat([first.text_embeds, second.text_embeds], dim=-1)
        return Told(torch.cat([states, self._t5(texts).to(states)], dim=1), pooled)

    @property
    def _width(self) -> int:
        return int(self.parts.denoiser.config.joint_attention_dim)

    def _t5(self, texts: list[str]) -> Tensor:
        encoder, tokenizer = self.parts.text_encoder_3, self.parts.tokenizer_3
        if encoder is None:
            return torch.zeros(len(texts), T5_TOKENS, self._width)
        tokens = tokenizer(
            texts,
            padding="max_length",
            truncation=True,
            max_length=T5_TOKENS,
            return_tensors="pt",
        )
        with torch.no_grad():
            states: Tensor = encoder(tokens.input_ids.to(encoder.device)).last_hidden_state
        return states

    def _stack(self, rows: Sequence[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(rows)).float().to(self.parts.device)

    def _stored(self, text: str) -> tuple[np.ndarray, np.ndarray | None] | None:
        states = self._get(text, "states")
        if states is None or self.parts.family.name == "sd":
            return None if states is None else (states, None)
        pooled = self._get(text, "pooled")
        return None if pooled is None else (states, pooled)

    def _key(self, text: str, what: str) -> str:
        said = f"{self.clip_skip}\n{what}\n{text}"
        return hashlib.sha256(said.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def _get(self, text: str, what: str) -> np.ndarray | None:
        return None if self.store is None else self.store.get(self._key(text, what))

    def _put(self, text: str, what: str, value: Tensor) -> None:
        if self.store is not None:
            self.store.put(self._key(text, what), value.float().cpu().numpy())


def _clip(encoder: Any, tokenizer: Any, texts: list[str], context: int) -> Any:
    tokens = tokenizer(
        texts, padding="max_length", truncation=True, max_length=context, return_tensors="pt"
    )
    mask = None
    if getattr(encoder.config, "use_attention_mask", False):
        mask = tokens.attention_mask.to(encoder.device)
    ids = tokens.input_ids.to(encoder.device)
    return encoder(ids, attention_mask=mask, output_hidden_states=True)


def _pooled(encoder: Any, tokenizer: Any, output: Any, texts: list[str]) -> Tensor:
    """The projection of the text's end; with old configurations ``text_embeds`` is another's."""
    room = output.last_hidden_state.shape[1]
    lengths = [len(tokenizer(text, truncation=True, max_length=room).input_ids) for text in texts]
    rows = torch.arange(len(texts))
    ends = torch.tensor(lengths) - 1
    pooled: Tensor = encoder.text_projection(output.last_hidden_state[rows, ends])
    return pooled
