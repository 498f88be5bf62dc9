"""Low-rank changes of a model's layers (Hu et al. 2021), beside weights that stay as they are."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sdcreative import ModelError

from .settings import LoraMethod

_DENOISER = {
    "attention": re.compile(
        r".*attn\w*\.(to_q|to_k|to_v|to_out\.0|add_q_proj|add_k_proj|add_v_proj|to_add_out)"
    ),
    "mlp": re.compile(r".*\.ff(_context)?\.net\.(0\.proj|2)|.*attentions\.\d+\.proj_(in|out)"),
    "conv": re.compile(
        r".*resnets\.\d+\.(conv1|conv2|conv_shortcut|time_emb_proj)"
        r"|.*(down|up)samplers\.\d+\.conv"
    ),
}
_TEXT = {
    "attention": re.compile(r".*self_attn\.(q_proj|k_proj|v_proj|out_proj)"),
    "mlp": re.compile(r".*mlp\.(fc1|fc2)"),
}
TEXT_ENCODERS = ("text_encoder", "text_encoder_2")
"""those that are trained; T5 is not"""


class Adapter(nn.Module):
    """The change of one linear layer or convolution: up(down(x)) * alpha / rank, on top of it.

    It hangs on the layer as a hook, so the layer stays the same object and its weights the same
    numbers. With ``dora`` the changed weight is scaled to trained norms of its outputs (DoRA, Liu
    et al. 2024, eq. 5), whose gradients do not go through the norm (sec. 4.3).
    """

    def __init__(self, layer: Any, rank: int, alpha: float, dropout: float, *, dora: bool) -> None:
        super().__init__()
        weight = layer.weight
        self.scale = alpha / rank
        rank = min(rank, weight.shape[0], weight[0].numel())
        self.dropout = nn.Dropout(dropout)
        self.down: nn.Module
        self.up: nn.Module
        if isinstance(layer, nn.Conv2d):
            self.down = nn.Conv2d(
                layer.in_channels,
                rank,
                layer.kernel_size,
                layer.stride,
                layer.padding,
                layer.dilation,
                bias=False,
            )
            self.up = nn.Conv2d(rank, layer.out_channels, 1, bias=False)
        else:
            self.down = nn.Linear(layer.in_features, rank, bias=False)
            self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))
        nn.init.zeros_(self.up.weight)
        self.magnitude = None
        if dora:
            self.magnitude = nn.Parameter(_norms(weight.detach().float()))
        self.to(weight.device)
        self._handle = layer.register_forward_hook(self._add)

    @property
    def alpha(self) -> float:
        """What a file has to say for its own rank, which is smaller in narrow layers."""
        return self.scale * int(self.down.weight.shape[0])

    def remove(self) -> None:
        """Take the hook off the layer."""
        self._handle.remove()

    def delta(self, weight: Tensor) -> Tensor:
        """What is added to a weight, of its shape, magnitudes left out."""
        low = self.up.weight.flatten(1) @ self.down.weight.flatten(1)
        return low.reshape(weight.shape) * self.scale

    def _add(self, layer: Any, inputs: tuple[Any, ...], output: Tensor) -> Tensor:
        seen = self.dropout(inputs[0].to(self.down.weight.dtype))
        low = self.up(self.down(seen)) * self.scale
        if self.magnitude is None:
            return output + low.to(output.dtype)
        changed = layer.weight.float() + self.delta(layer.weight)
        factor = self.magnitude / _norms(changed.detach()).clamp_min(1e-12)
        shape = (1, -1, 1, 1) if isinstance(layer, nn.Conv2d) else (-1,)
        bias = 0 if layer.bias is None else layer.bias.view(shape)
        whole = (output - bias + low) * factor.view(shape) + bias
        return whole.to(output.dtype)


def _norms(weight: Tensor) -> Tensor:
    """Norm of the weights of every output, (out, 1, ...)."""
    norms = torch.linalg.vector_norm(weight.flatten(1), dim=1)
    return norms.view(-1, *(1,) * (weight.dim() - 1))


@dataclass(frozen=True)
class Placed:
    """An adapter, and which layer it is of: the part, and the layer's name in it."""

    part: str
    name: str
    adapter: Adapter


class Lora:
    """The adapters of a model."""

    def __init__(self, placed: Sequence[Placed]) -> None:
        self.placed = tuple(placed)
        self.module = nn.ModuleList(one.adapter for one in placed)

    def remove(self) -> None:
        """Leave the model as it was."""
        for one in self.placed:
            one.adapter.remove()


def add_lora(parts: Any, method: LoraMethod, seed: int) -> Lora:
    """Hang adapters on a model; all of its own weights are frozen.

    Args:
        parts: a loaded model.
        method: which layers, and how many numbers each gets.
        seed: of the first weights; the model says the same as before until they are trained.

    Raises:
        ModelError: the model has no such layers.
    """
    torch.manual_seed(seed)
    alpha = method.rank if method.alpha is None else method.alpha
    placed = []
    for part, module in _parts(parts, text=method.text_encoders):
        module.requires_grad_(False)
        for name, layer in _layers(module, part, method.targets):
            adapter = Adapter(layer, method.rank, alpha, method.dropout, dora=method.dora)
            placed.append(Placed(part, name, adapter))
    if not placed:
        raise ModelError(
            f"the model has no layers that are {' or '.join(method.targets)}; choose other targets"
        )
    return Lora(placed)


def _parts(parts: Any, *, text: bool) -> Iterator[tuple[str, Any]]:
    yield parts.family.denoiser, parts.denoiser
    for name in TEXT_ENCODERS if text else ():
        if getattr(parts, name) is not None:
            yield name, getattr(parts, name)


def _layers(module: Any, part: str, targets: Sequence[str]) -> Iterator[tuple[str, Any]]:
    patterns = _TEXT if part in TEXT_ENCODERS else _DENOISER
    wanted = [patterns[target] for target in targets if target in patterns]
    for name, layer in module.named_modules():
        plain = isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d) and layer.groups == 1)
        if plain and any(pattern.fullmatch(name) for pattern in wanted):
            yield name, layer
