"""What each place of a picture looks at in its prompt: cross-attention of a U-Net, recorded.

In every cross-attention layer each place of the latents is a query Q that is compared with a key K
of every token, and takes that token's value V by the share which the comparison gives it
(A. Vaswani et al., "Attention Is All You Need", 2017, equation 1; d is the width of a head):

    softmax(Q K^T / sqrt(d)) V

These shares, one map for each token, are what is kept: averaged over heads, brought to the size of
the latents and averaged over layers (R. Tang et al., "What the DAAM: Interpreting Stable Diffusion
Using Cross Attention", 2023, section 2, who add them up instead).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..core.prompt_words import Wording
from ..errors import UsageError
from .parts import Parts
from .text import chunks

_STANDARD = ("AttnProcessor", "AttnProcessor2_0")
_EXTRAS = ("spatial_norm", "group_norm", "norm_cross", "norm_q", "norm_k", "add_k_proj")


@dataclass(eq=False)
class AttentionMaps:
    """What was recorded.

    Attributes:
        calls: for every call of the U-Net (N, T, h, w), float32 on the CPU: the share of each of T
            tokens at each of the places of the latents, in [0, 1]; over the tokens they add up
            to 1. With guidance the first half of the rows is the negative prompt's.
    """

    calls: list[Tensor] = field(default_factory=list)

    def mean(self, row: int = -1, first: int = 0, stop: int | None = None) -> Tensor:
        """The maps of a row, (T, h, w), averaged over calls.

        Args:
            row: of the batch; the last one has the prompt, with and without guidance.
            first: call to begin with, counted from 0.
            stop: call before which to end; None for all.

        Raises:
            UsageError: nothing was recorded there, or maps differ in number of tokens or in size.
        """
        some = [call[row] for call in self.calls[first:stop]]
        if not some:
            end = "the end" if stop is None else stop
            raise UsageError(
                f"no attention from call {first} to {end}; {len(self.calls)} were recorded"
            )
        if len({each.shape for each in some}) > 1:
            raise UsageError("attention of prompts or pictures that differ in size has no mean")
        return torch.stack(some).mean(dim=0)


@contextmanager
def recording(unet: Any) -> Iterator[AttentionMaps]:
    """Record the cross-attention of a U-Net, which predicts as it did, within rounding.

    Args:
        unet: of diffusers, with text that its layers attend to; what it has of processors comes
            back at the end.

    Yields:
        Maps that grow by one entry with every call of the U-Net.

    Raises:
        UsageError: no such U-Net, or one whose attention is not computed in the standard way.
    """
    layers = _cross_attention(unet)
    maps = AttentionMaps()
    call = _Call(len(layers))
    with ExitStack() as undo:
        begin = unet.register_forward_pre_hook(call.begin, with_kwargs=True)
        undo.callback(begin.remove)
        end = unet.register_forward_hook(lambda *said: maps.calls.append(call.total))
        undo.callback(end.remove)
        for layer, around in layers:
            inside = around.register_forward_pre_hook(call.enter, with_kwargs=True)
            undo.callback(inside.remove)
            undo.callback(layer.set_processor, layer.processor)
            layer.set_processor(_Recorder(call))
        yield maps


def token_places(parts: Parts, prompt: str | Wording, word: str) -> tuple[int, ...]:
    """Where a word stands among the tokens of a prompt's conditioning, wherever it is said.

    Args:
        parts: a loaded model.
        prompt: as for ``models.text.encode``.
        word: one, or several that follow each other; upper and lower case are the same where the
            tokenizer says so.

    Returns:
        Places among all tokens of all chunks, in order; the start token of a chunk counts.

    Raises:
        UsageError: no word, or one that the prompt does not say.
    """
    wanted = parts.tokenizer(word, add_special_tokens=False).input_ids
    said = [
        (token, number * parts.context + 1 + place)
        for number, chunk in enumerate(chunks(parts, prompt))
        for place, token in enumerate(chunk.tokens)
    ]
    found: list[int] = []
    for begin in range(len(said) - len(wanted) + 1):
        run = said[begin : begin + len(wanted)]
        if wanted and [token for token, _ in run] == wanted:
            found += [place for _, place in run]
    if not found:
        tokens = parts.tokenizer.convert_ids_to_tokens([token for token, _ in said])
        raise UsageError(f"the prompt does not say {word!r}; its tokens are {' '.join(tokens)}")
    return tuple(dict.fromkeys(found))


def word_map(maps: Tensor, places: tuple[int, ...]) -> Tensor:
    """The share of a word at each place, (h, w) in [0, 1]: those of its tokens together.

    Args:
        maps: (T, h, w), as from ``AttentionMaps.mean``.
        places: as from ``token_places``.
    """
    return maps[list(places)].sum(dim=0)


class _Call:
    """One call of the U-Net: where it is, and what its layers have said so far."""

    def __init__(self, layers: int) -> None:
        self._layers = layers
        self._size = self._inside = (0, 0)
        self.total = torch.zeros(())

    def begin(self, unet: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._size = _sides(args, named, "sample")
        self.total = torch.zeros(())

    def enter(self, block: Any, args: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._inside = _sides(args, named, "hidden_states")

    def add(self, shares: Tensor) -> None:
        """Shares (N, places, T) of a layer."""
        square = shares.mT.reshape(*shares.mT.shape[:2], *self._inside)
        sized = torch.nn.functional.interpolate(
            square, self._size, mode="bilinear", align_corners=False
        )
        self.total = self.total + sized.cpu() / self._layers


class _Recorder:
    """Attention as diffusers' AttnProcessor2_0 computes it, its shares not thrown away."""

    def __init__(self, call: _Call) -> None:
        self._call = call

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        rows, tokens, _ = encoder_hidden_states.shape

        def heads(states: Tensor) -> Tensor:
            return states.reshape(rows, states.shape[1], attn.heads, -1).transpose(1, 2)

        query, key = heads(attn.to_q(hidden_states)), heads(attn.to_k(encoder_hidden_states))
        value = heads(attn.to_v(encoder_hidden_states))
        scores = query.float() @ key.float().mT * attn.scale
        if attention_mask is not None:
            mask = attn.prepare_attention_mask(attention_mask, tokens, rows)
            scores = scores + mask.view(rows, attn.heads, -1, tokens)
        shares = scores.softmax(dim=-1)
        self._call.add(shares.mean(dim=1))
        mixed = (shares.to(value.dtype) @ value).transpose(1, 2).flatten(2)
        linear, dropout = attn.to_out
        found: Tensor = dropout(linear(mixed))
        return found


def _cross_attention(unet: Any) -> list[tuple[Any, Any]]:
    """Layers that attend to text, each with the block around it that knows height and width."""
    from .loading import quiet

    quiet()
    from diffusers.models.attention_processor import Attention
    from diffusers.models.transformers.transformer_2d import Transformer2DModel

    if unet is None:
        raise UsageError(
            "attention is recorded of U-Nets; this model's transformer has words and picture in "
            "one attention"
        )
    found = []
    for block in unet.modules():
        if isinstance(block, Transformer2DModel):
            layers = [one for one in block.modules() if isinstance(one, Attention)]
            found += [(layer, block) for layer in layers if layer.is_cross_attention]
    if not found:
        raise UsageError("this U-Net attends to no text; there is nothing to record")
    for layer, _ in found:
        name = type(layer.processor).__name__
        if name not in _STANDARD or any(getattr(layer, one, None) is not None for one in _EXTRAS):
            raise UsageError(
                f"attention of this U-Net is computed by {name}, in a way of its own; it cannot "
                "be recorded"
            )
    return found


def _sides(args: tuple[Any, ...], named: dict[str, Any], name: str) -> tuple[int, int]:
    """Height and width of the first argument."""
    given: Tensor = args[0] if args else named[name]
    height, width = given.shape[-2:]
    return height, width
