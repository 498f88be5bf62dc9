"""Captions with the new word to what the denoiser is told, as the runtime does it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdcreative import DataError, UsageError
from sdcreative.models.addons.embedding_installing import install

from ..tuning.texts import Told
from .rows import Rows, text_encoders
from .scenes import PLACE, fill


@dataclass(frozen=True, eq=False)
class Tokens:
    """A caption as one text encoder reads it.

    Attributes:
        ids: (T,).
        mask: (T,), 1 up to the end of the text.
        end: place of the end token.
    """

    ids: Tensor
    mask: Tensor
    end: int


class WordTexts:
    """The text encoders of a model, frozen, reading rows that are trained.

    What captions say that lack the word never changes, and is encoded once; each of the others is
    encoded once in a batch, however often it is there.
    """

    def __init__(self, parts: Any, rows: Rows, token: str, clip_skip: int) -> None:
        """
        Raises:
            UsageError: there are not so many layers.
        """
        layers = parts.text_encoder.config.num_hidden_layers
        if clip_skip > layers:
            raise UsageError(f"clip_skip must be 1 to {layers} for this model, not {clip_skip}")
        self.parts, self.rows, self.token, self.clip_skip = parts, rows, token, clip_skip
        self._tokens: dict[tuple[str, int], list[Tokens]] = {}
        self._known: dict[str, Told] = {}

    def prepare(self, captions: Sequence[str], active: int) -> None:
        """Tokenise captions in which the word stands for ``active`` vectors.

        Raises:
            DataError: a caption so long that the word is cut off.
        """
        missing = [one for one in dict.fromkeys(captions) if (one, active) not in self._tokens]
        if not missing:
            return
        with install(self.parts, [(self.token, list(self.rows.copies(active)))]):
            for caption in missing:
                self._tokens[caption, active] = [
                    self._read(caption, encoder, tokenizer, active)
                    for encoder, tokenizer in text_encoders(self.parts)
                ]

    def _read(self, caption: str, encoder: Any, tokenizer: Any, active: int) -> Tokens:
        text = fill(caption, self.token)
        room = self.parts.context
        tokens = tokenizer(
            text, padding="max_length", truncation=True, max_length=room, return_tensors="pt"
        )
        ids, mask = tokens.input_ids[0], tokens.attention_mask[0]
        size = encoder.get_input_embeddings().weight.shape[0] - active
        held = int((ids >= size).sum())
        if held < active * caption.count(PLACE):
            raise DataError(
                f"the caption {text!r} is longer than the {room} tokens that the model reads, and "
                f"{self.token} is cut off; shorten it, or take fewer vectors"
            )
        end = len(tokenizer(text, truncation=True, max_length=room).input_ids) - 1
        return Tokens(ids, mask, end)

    def told(self, captions: Sequence[str], active: int) -> Told:
        """What the denoiser is told, (N, T, W) and perhaps pooled (N, P), with gradients."""
        self.prepare(captions, active)
        rows = {}
        changing = [one for one in dict.fromkeys(captions) if PLACE in one]
        if changing:
            for place, caption in enumerate(changing):
                rows[caption] = place
            told = self._encode(changing, active)
        else:
            told = None
        fixed = [one for one in dict.fromkeys(captions) if PLACE not in one]
        for caption in fixed:
            if caption not in self._known:
                with torch.no_grad():
                    self._known[caption] = self._encode([caption], active)
        if not fixed and told is not None:
            order = torch.tensor([rows[one] for one in captions], device=told.states.device)
            pooled = None if told.pooled is None else told.pooled[order]
            return Told(told.states[order], pooled)
        each = [
            (told.states[rows[one]], None if told.pooled is None else told.pooled[rows[one]])
            if told is not None and one in rows
            else _first(self._known[one])
            for one in captions
        ]
        states, pooleds = zip(*each, strict=True)
        has_pooled = pooleds[0] is not None
        return Told(torch.stack(states), torch.stack(pooleds) if has_pooled else None)

    def _encode(self, captions: Sequence[str], active: int) -> Told:
        device = self.parts.device.type
        # Rows are worth nothing if what is made of them is rounded to half of its digits.
        with self.rows.read_by(self.parts), torch.autocast(device, enabled=False):
            outputs = [
                self._run(encoder, [self._tokens[one, active][number] for one in captions])
                for number, (encoder, _) in enumerate(text_encoders(self.parts))
            ]
            if self.parts.family.name == "sd":
                return Told(self._states(outputs[0]), None)
            layer = -max(2, self.clip_skip)
            states = torch.cat([output.hidden_states[layer] for output in outputs], dim=-1)
            return Told(states, self._pooled(outputs[1], captions, active))

    def _run(self, encoder: Any, tokens: Sequence[Tokens]) -> Any:
        ids = torch.stack([one.ids for one in tokens]).to(encoder.device)
        mask = None
        if getattr(encoder.config, "use_attention_mask", False):
            mask = torch.stack([one.mask for one in tokens]).to(encoder.device)
        return encoder(ids, attention_mask=mask, output_hidden_states=True)

    def _states(self, output: Any) -> Tensor:
        if self.clip_skip == 1:
            last: Tensor = output.last_hidden_state
            return last
        encoder = self.parts.text_encoder
        norm = getattr(encoder, "text_model", encoder).final_layer_norm
        earlier: Tensor = norm(output.hidden_states[-self.clip_skip])
        return earlier

    def _pooled(self, output: Any, captions: Sequence[str], active: int) -> Tensor:
        """The projection of the text's real end, which is not the largest id."""
        ends = torch.tensor([self._tokens[one, active][1].end for one in captions])
        rows = torch.arange(len(captions))
        pooled: Tensor = self.parts.text_encoder_2.text_projection(
            output.last_hidden_state[rows, ends]
        )
        return pooled


def _first(told: Told) -> tuple[Tensor, Tensor | None]:
    return told.states[0], None if told.pooled is None else told.pooled[0]
