"""Modules without memory for their weights, from configurations of which nothing is trusted."""

from __future__ import annotations

import inspect
import math
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from ..errors import ModelError
from .strangers import said, shown

MOST_WEIGHTS = 6_000
"""tensors of a part; the largest U-Net that is in use has 1,700"""
MOST_LAYERS = 200
"""under any name; the deepest tower that is in use has 48"""
_LARGEST = 1 << 31
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
            if hasattr(cls, "config_class"):
                return cls(_declared(cls.config_class, config))
            _check_values(inspect.signature(cls.__init__).parameters, config)
            # diffusers hands this one on, whether the class takes it or not.
            return cls.from_config({key: config[key] for key in config if key != "dtype"})
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
    _check_values({field.name: field for field in fields(kind)}, kept)
    for name, inner in (kind.sub_configs or {}).items():
        # The older name of the same, which counts where both are there.
        found = config.get(f"{name}_dict") or kept.get(name)
        if isinstance(found, Mapping):
            kept[name] = _declared(inner, found)
    return kind(**kept)


def _check_values(declared: Mapping[str, Any], config: Mapping[str, Any]) -> None:
    """Refuse values of another type than is declared; many of them fail only when they are used.

    Args:
        declared: name -> what has a default, and a type or an annotation.
        config: whose values are checked.

    Raises:
        ValueError: the first that is wrong.
    """
    for name, one in declared.items():
        if name not in config or config[name] == one.default:
            continue
        annotation = getattr(one, "annotation", getattr(one, "type", inspect.Parameter.empty))
        if annotation is inspect.Parameter.empty:
            annotation = type(one.default)
        # A class shows its name only this way.
        kinds = annotation.__name__ if isinstance(annotation, type) else str(annotation)
        if config[name] is None and "bool" not in kinds and isinstance(one.default, int | float):
            raise ValueError(f"{name} is null")
        if not _fits(config[name], f"{kinds} list" if name == "sample_size" else kinds):
            raise ValueError(f"{name} is {shown(config[name])}, which is no {kinds}")


def _fits(value: Any, kinds: str) -> bool:
    if value is None:
        return True
    if isinstance(value, bool):
        return "bool" in kinds
    if isinstance(value, int):
        return 0 <= value < _LARGEST and ("int" in kinds or "float" in kinds)
    if isinstance(value, float):
        return math.isfinite(value) and "float" in kinds
    if isinstance(value, str):
        return "str" in kinds
    if isinstance(value, list | tuple):
        return ("tuple" in kinds.lower() or "list" in kinds.lower()) and all(
            _fits(inner, kinds) for inner in value
        )
    return isinstance(value, Mapping) and ("dict" in kinds or "Config" in kinds)


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
