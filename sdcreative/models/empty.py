"""Modules without memory for their weights, from configurations of which nothing is trusted."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from ..errors import ModelError
from .strangers import said, shown

MOST_WEIGHTS = 6_000
"""tensors of a part; the largest U-Net that is in use has 1,700"""
MOST_LAYERS = 1000
"""under any name; the deepest transformer that is in use has 38"""
_ALSO_KEPT = ("tie_word_embeddings", "use_attention_mask")


def build_empty(cls: Any, config: Mapping[str, Any], described: str) -> Any:
    """A module of diffusers or transformers on torch's device "meta".

    Of a configuration of transformers only what its class declares is taken: other keys may name
    code on the hub (``attn_implementation``), count labels (``num_labels``), or change what a
    call returns (``return_dict``).

    Args:
        cls: of the module.
        config: content of its config.json.
        described: what that is from, for messages.

    Raises:
        ModelError: nothing can be built of it, or too much.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError

    _check_layers(config, described)
    try:
        with torch.device("meta"), _bounded():
            if cls.__module__.startswith("diffusers.") and not hasattr(cls, "config_class"):
                # It hands this one on, whether the class takes it or not.
                return cls.from_config({key: config[key] for key in config if key != "dtype"})
            return cls(_declared(cls.config_class, config))
    except (
        TypeError, ValueError, LookupError, RuntimeError, AttributeError, ArithmeticError,
        MemoryError, NotImplementedError, ImportError, StrictDataclassError,
    ) as error:  # fmt: skip
        raise ModelError(
            f"{described} describes nothing that can be built: {said(error)}"
        ) from error


def _check_layers(config: Mapping[str, Any], described: str) -> None:
    """Some modules make lists as long as they have layers, before any of the layers."""
    for key, value in config.items():
        if isinstance(value, Mapping):
            _check_layers(value, described)
        elif "layers" in str(key) or "blocks" in str(key):
            numbers = value if isinstance(value, list | tuple) else [value]
            if any(isinstance(one, int | float) and one > MOST_LAYERS for one in numbers):
                raise ModelError(
                    f"{described} describes nothing that can be built: {shown(key)} is "
                    f"{shown(value)}, over {MOST_LAYERS:,}"
                )


def _declared(kind: Any, config: Mapping[str, Any]) -> Any:
    """A configuration of transformers with nothing that its class does not declare itself."""
    from transformers import PreTrainedConfig

    general = {field.name for field in fields(PreTrainedConfig)}
    own = {field.name for field in fields(kind)} - general
    kept = {key: config[key] for key in (*own, *_ALSO_KEPT) if key in config}
    for name, inner in (kind.sub_configs or {}).items():
        # The older name of the same, which counts where both are there.
        found = config.get(f"{name}_dict") or kept.get(name)
        if isinstance(found, Mapping):
            kept[name] = _declared(inner, found)
    return kind(**kept)


@contextmanager
def _bounded() -> Iterator[None]:
    """Stops what builds modules without end."""
    from torch.nn.modules.module import register_module_parameter_registration_hook

    here, count = threading.get_ident(), 0

    def counted(module: Any, name: str, weight: Any) -> None:
        nonlocal count
        count += threading.get_ident() == here
        if count > MOST_WEIGHTS:
            raise ValueError(f"more than {MOST_WEIGHTS:,} tensors of weights")

    handle = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        handle.remove()
