"""A folder or a single file to parts that can be used, or one line that says why not."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .addons.wanted import NOTHING, add_to
from .checks import class_of
from .empty import build_empty
from .families import tokenizer_of
from .filling import Target, bytes_of, fill
from .fitting import PREDICTIONS, check_fit, prediction_of
from .offloading import choose_plan, free_memory, spread, working_bytes
from .opening import Source, open_model
from .parts import Parts as Parts
from .placement import settle_device
from .places import ModelPlace, as_place
from .sizes import sizes_of
from .strangers import shown
from .tokenizer_files import context_of

if TYPE_CHECKING:
    import torch


def quiet() -> None:
    """Keep warnings of diffusers and transformers to themselves; call before importing either.

    A level that the user has set in the environment stays.
    """
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


def load_parts(
    place: Path | ModelPlace,
    *,
    device: torch.device,
    dtype: torch.dtype,
    low_memory: bool = False,
) -> Parts:
    """Load a model, trusting nothing in it.

    Args:
        place: a diffusers folder, with model_index.json and a folder per part, or a single
            checkpoint file in the original layout.
        device: where to.
        dtype: weights of another type are cast.
        low_memory: have only the part that is at work on the device, and, on a CPU, leave weights
            that are of the type already in their file; also without it where there is too
            little memory for all.

    Raises:
        ModelError: a part, or what is added, is missing, broken, of another model, or does not
            fit the others.
        UsageError: a word of an embedding that the model has already.
    """
    import torch

    from .cpu.quickening import lies_last, quicken

    settle_device(device, dtype)
    place = as_place(place)
    model = open_model(place)
    prediction = prediction_of(model.scheduler)
    if prediction not in PREDICTIONS:
        raise ModelError(
            f"scheduler in {model.path} has prediction_type {shown(prediction)!r}, not supported"
        )
    quiet()
    modules = {part: _build_empty(model, part, config) for part, config in model.configs.items()}
    check_fit(model.path, {part: module.config for part, module in modules.items()})
    tokenizers = {}
    for encoder in model.family.text_encoders:
        if encoder in modules:
            part = tokenizer_of(encoder)
            tokenizers[part], words = model.tokenizer(part)
            _check_vocabulary(len(tokenizers[part]), modules[encoder].config.vocab_size, words)
    sizes = sizes_of(model)
    plan = choose_plan(
        {part: bytes_of(module, dtype) for part, module in modules.items()},
        working_bytes(model.configs, sizes, dtype.itemsize),
        None if device.type == "cpu" else free_memory(device),
        low_memory,
    )
    resident = plan == "resident"
    target = Target(
        device if resident else torch.device("cpu"),
        dtype,
        mapped=low_memory,
        channels_last=resident and lies_last(device, dtype),
    )
    for part, module in modules.items():
        state, path, release = model.weights(part, module)
        fill(part, module, state, path, model.build, release, target)
    if resident:
        for module in modules.values():
            quicken(module, mapped=low_memory)
    else:
        spread(plan, modules, model.family.denoiser, device)
    text = modules["text_encoder"].config
    parts = Parts(
        family=model.family,
        scheduler_config=model.scheduler,
        prediction_type=prediction,
        latent_channels=modules["vae"].config.latent_channels,
        downsampling=sizes.downsampling,
        multiple=sizes.multiple,
        sample_size=sizes.own,
        context=context_of(tokenizers["tokenizer"], text.max_position_embeddings, model.path),
        device=device,
        dtype=dtype,
        zeroes_negative=model.zeroes_negative,
        low_memory=low_memory,
        **modules,
        **tokenizers,
    )
    if place.addons != NOTHING:
        add_to(parts, place.addons)
    return parts


def _build_empty(model: Source, part: str, config: Mapping[str, Any]) -> Any:
    """A module without memory for its weights."""
    library, classes = model.family.parts[part]
    named = class_of(config)
    name = named if named in classes else classes[0]
    cls: Any = getattr(importlib.import_module(library), name)
    return build_empty(cls, config, model.described(part))


def _check_vocabulary(tokens: int, vocabulary: int, path: Path) -> None:
    # A text encoder's table may be padded to a multiple of a power of two.
    if not vocabulary - 256 < tokens <= vocabulary:
        raise ModelError(
            f"tokenizer and text_encoder do not fit: {tokens} tokens in {path}, "
            f"{vocabulary} in the text encoder"
        )
