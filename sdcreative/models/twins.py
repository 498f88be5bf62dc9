"""Modules beside others, of the same parameters, that do the same in another way."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import nn

_LAYERS = {"ResnetBlock2D", "Transformer2DModel", "JointTransformerBlock"}
_BLOCK = "BasicTransformerBlock"
_FEW = 2
"""blocks of attention that are compiled as one; where there are more, each by itself"""


class Watched:
    """Notices that somebody else has changed what a module does, which compiled code would not."""

    def __init__(self, module: Any) -> None:
        self._modules = list(module.modules())
        self._convolutions = [one for one in self._modules if isinstance(one, nn.Conv2d)]

    def is_changed(self) -> bool:
        """Hooks, as those that record attention, or convolutions that wrap around."""
        return any("_conv_forward" in vars(one) for one in self._convolutions) or any(
            one._forward_hooks or one._forward_pre_hooks for one in self._modules
        )


def twin(module: Any, forms: dict[tuple[object, ...], Any]) -> Any:
    """A module with the same parameters whose layers are compiled; None of None.

    Args:
        module: is not changed.
        forms: one compiled function for each form of a layer that there is, added to.
    """

    def compiled(layer: Any) -> Any:
        if not _is_layer(layer):
            return None
        form = (type(layer), *_described(layer))
        if form not in forms:
            forms[form] = _compile()
        other = copy.copy(layer)
        other._compiled_call_impl = partial(forms[form], layer)
        return other

    return None if module is None else rebuilt(module, compiled)


def rebuilt(module: Any, change: Callable[[Any], Any]) -> Any:
    """A module some of whose parts are others; it is not changed, and all else is shared.

    Args:
        module: of torch.
        change: what takes the place of a part, or None for one that stays.
    """
    changed = change(module)
    if changed is not None:
        return changed
    children = {name: child and rebuilt(child, change) for name, child in module._modules.items()}
    if all(child is module._modules[name] for name, child in children.items()):
        return module
    other = copy.copy(module)
    other._modules = children
    return other


def _is_layer(module: Any) -> bool:
    name = type(module).__name__
    if name == "Transformer2DModel":
        return len(module.transformer_blocks) <= _FEW
    return name in _LAYERS or name == _BLOCK


def _described(module: Any) -> Iterator[object]:
    return ((name, tuple(one.shape)) for name, one in module.named_parameters())


def _compile() -> Any:
    """A function of a layer and of what it is called with."""
    options: dict[str, Any] = {"dynamic": False, "fullgraph": True}
    if "isolate_recompiles" in inspect.signature(torch.compile).parameters:
        options["isolate_recompiles"] = True
    return torch.compile(_run, **options)


def _run(layer: Any, *args: Any, **kwargs: Any) -> Any:
    return layer(*args, **kwargs)
