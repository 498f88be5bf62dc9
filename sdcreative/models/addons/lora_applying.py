"""Merge LoRAs into the weights of a loaded model, and take them out again, to the bit."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ...errors import ModelError
from ..loading import Parts
from .lora_layers import LoraLayer
from .lora_reading import Lora
from .module_names import find_module

Scale = float | tuple[float, float]
"""of the whole, or of the U-Net and of the text encoders"""


@torch.no_grad()
def apply_loras(parts: Parts, loras: Sequence[tuple[Lora, Scale]]) -> ExitStack:
    """Change a model's weights to W + sum of scale * delta, computed in float32, then cast.

    Every delta is that of the model's own weights, so the order does not matter.

    Args:
        parts: a loaded model; its modules and their parameters stay the same objects.
        loras: read for this model, each with its scale; any number, also negative.

    Returns:
        undoes it all when closed, or at the end of a ``with`` block. Copies of the weights are
        kept in main memory until then. What was applied last is undone first.

    Raises:
        ModelError: a LoRA that was read for another model, or a scale so large that weights
            overflow; nothing is changed then.
    """
    planned: dict[tuple[str, str], list[tuple[LoraLayer, float, Lora]]] = {}
    for lora, scale in loras:
        unet, text = scale if isinstance(scale, tuple) else (scale, scale)
        for place, layer in lora.layers.items():
            own = unet if place[0] == "unet" else text
            if own:
                planned.setdefault(place, []).append((layer, own, lora))
    with ExitStack() as undo:
        for place, changes in planned.items():
            try:
                module = find_module(parts, place)
            except AttributeError:
                lora = changes[0][2]
                raise ModelError(
                    f"LoRA {lora.name} was read for another model: no {'.'.join(place)} here"
                ) from None
            weights = [(layer.delta(module.weight), scale) for layer, scale, _ in changes]
            biases = [(layer.bias, scale) for layer, scale, _ in changes]
            for parameter, deltas in (
                (module.weight, weights),
                (getattr(module, "bias", None), biases),
            ):
                merged = _merged(parameter, deltas)
                if parameter is None or merged is None:
                    continue
                if not torch.isfinite(merged).all():
                    names = " and ".join(sorted({lora.name for *_, lora in changes}))
                    kind = str(merged.dtype).removeprefix("torch.")
                    raise ModelError(
                        f"weights overflow {kind} with LoRA {names} at its scale "
                        f"({'.'.join(place)}); give a smaller one"
                    )
                undo.callback(_put, parameter, _kept(parameter))
                parameter.data = merged
        return undo.pop_all()


def _merged(
    parameter: nn.Parameter | None, deltas: Sequence[tuple[Tensor | None, float]]
) -> Tensor | None:
    given = [(delta, scale) for delta, scale in deltas if delta is not None]
    if parameter is None or not given:
        return None
    total = parameter.detach().float()
    for delta, scale in given:
        total = total + scale * delta.to(total)
    return total.to(parameter.dtype)


def _kept(parameter: nn.Parameter) -> Tensor:
    """The tensor itself, out of the way of what a GPU's memory is needed for."""
    return parameter.data.cpu()


def _put(parameter: nn.Parameter, kept: Tensor) -> None:
    parameter.data = kept.to(parameter.device)
