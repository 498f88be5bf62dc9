"""A learned word as a file: one that all programs read, and the older ones."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..tuning.store import write_tensors, write_whole

TWO = ("clip_l", "clip_g")
"""names of the vectors for SDXL's text encoders, in their order"""
ARCHITECTURES: dict[tuple[int, ...], str] = {
    (768,): "stable-diffusion-v1",
    (1024,): "stable-diffusion-v2-512",
    (768, 1280): "stable-diffusion-xl-v1-base",
}
"""widths of the text encoders -> modelspec's name of the family"""
VELOCITY: dict[tuple[int, ...], str] = {(1024,): "stable-diffusion-v2-768-v"}


def tensors_of(token: str, rows: Sequence[Tensor]) -> dict[str, Tensor]:
    """Names and tensors of a file.

    One tensor under the word itself is what diffusers takes the word from, and what AUTOMATIC1111,
    ComfyUI and kohya read as the only tensor there. For two text encoders the others know but
    ``clip_l`` and ``clip_g``.
    """
    if len(rows) == 1:
        return {token: rows[0].float()}
    return {name: one.float() for name, one in zip(TWO, rows, strict=True)}


def describe(
    token: str,
    rows: Sequence[Tensor],
    *,
    step: int,
    model: str,
    digest: str,
    prediction: str,
    licence: str | None,
    preset: Mapping[str, Any] | None,
) -> dict[str, str]:
    """What a file says of itself.

    Args:
        token: the word.
        rows: its vectors.
        step: of the training.
        model: name of the model that it was trained with.
        digest: of that model.
        prediction: what the model predicts.
        licence: of what was learned, if anybody said.
        preset: all settings; None to leave them out.
    """
    widths = tuple(int(one.shape[1]) for one in rows)
    family = ARCHITECTURES.get(widths)
    if prediction == "v_prediction" and widths in VELOCITY:
        family = VELOCITY[widths]
    said = {
        "token": token,
        "vectors": str(rows[0].shape[0]),
        "step": str(step),
        "sd_checkpoint_name": model,
        "sd_checkpoint": digest,
        "base_model": model,
        "base_model_sha256_16": digest,
        "license": licence or "",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": token,
        "modelspec.trigger_phrase": token,
        "modelspec.architecture": f"{family}/textual-inversion" if family else "",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.license": licence or "",
        "modelspec.prediction_type": {"v_prediction": "v"}.get(prediction, prediction),
        "sdcreative": "" if preset is None else json.dumps(preset, sort_keys=True),
    }
    return {key: value for key, value in said.items() if value}


def write_word(path: Path, token: str, rows: Sequence[Tensor], metadata: Mapping[str, str]) -> None:
    """Write the safetensors file, whole or not at all.

    Raises:
        OutputError: the disk is full, or may not be written.
    """
    write_tensors(path, tensors_of(token, rows), dict(metadata))


def write_older(
    path: Path, form: str, token: str, rows: Sequence[Tensor], metadata: Mapping[str, str]
) -> Path:
    """Write a pickle beside: ``pt`` as AUTOMATIC1111 does, ``bin`` as diffusers does.

    For two text encoders ``pt`` holds ``clip_l`` and ``clip_g``. Of ``bin`` there are two then,
    the second called ``<name>_2.bin``, since each holds the word for one of them.

    Returns:
        the file, of two the first.

    Raises:
        OutputError: the disk is full, or may not be written.
    """
    target = path.with_suffix(f".{form}")
    if form == "bin":
        for number, one in enumerate(rows, 1):
            file = target if number == 1 else target.with_name(f"{target.stem}_{number}.bin")
            _pickle(file, {token: one.float()})
        return target
    content: dict[str, Any] = dict(tensors_of(token, rows))
    if len(rows) == 1:
        content = {
            # The id is that of "*" in CLIP's vocabulary, which the program expects there.
            "string_to_token": {"*": 265},
            "string_to_param": {"*": rows[0].float()},
            "name": token,
            "step": int(metadata.get("step", 0)),
            "sd_checkpoint": metadata.get("sd_checkpoint"),
            "sd_checkpoint_name": metadata.get("sd_checkpoint_name"),
        }
    _pickle(target, content)
    return target


def _pickle(path: Path, content: Mapping[str, Any]) -> None:
    stream = io.BytesIO()
    torch.save(content, stream)
    write_whole(path, stream.getvalue())
