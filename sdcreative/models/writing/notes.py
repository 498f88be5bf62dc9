"""Metadata of the files that are written, in the keys of Stability's model specification.

https://github.com/Stability-AI/ModelSpec
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..checks import find_weights, weights_kind
from ..digests import model_digest
from ..fitting import prediction_of
from ..opening import Source
from ..places import ModelPlace
from ..single_files.headers import read_header
from ..single_files.layouts import V3, Layout
from ..single_files.reading import read_outline
from ..sizes import sizes_of

_SPEC = "modelspec."
_STALE = ("format", "modelspec.hash_sha256", "sshs_model_hash", "sshs_legacy_hash")
"""true of another file only"""
_ARCHITECTURES = {
    "v1": "stable-diffusion-v1",
    "xl": "stable-diffusion-xl-v1-base",
    "sd3": "stable-diffusion-3",
}
_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}
_LICENCE = re.compile(r"^license:[ \t]*['\"]?([^\s'\"]+)", re.MULTILINE)


def kept_notes(path: Path, denoiser: str = "unet") -> dict[str, str]:
    """What the writer of a model has noted in it; of a folder, beside its denoiser's weights.

    Args:
        path: a folder or a single file.
        denoiser: unet or transformer, of a folder.
    """
    if path.is_file():
        notes: Mapping[str, str] = read_outline(path).metadata
    else:
        first = find_weights(path / denoiser, denoiser)[0]
        kind = weights_kind(first, denoiser)
        notes = read_header(first).metadata if kind == "safetensors" else {}
    return {key: text for key, text in notes.items() if key not in _STALE}


def source_notes(place: ModelPlace) -> dict[str, str]:
    """What a file is made from: its name, without the folder, and its digest.

    Raises:
        ModelError: it cannot be read.
    """
    return {
        "format": "pt",
        "sdcreative.source": place.path.name,
        "sdcreative.source_digest": model_digest(place),
    }


def model_notes(model: Source, layout: Layout, inpainting: bool) -> dict[str, str]:
    """What a model is.

    Args:
        model: to be described.
        layout: of single files of its family.
        inpainting: whether it also takes a mask and the masked picture.
    """
    predicts = prediction_of(model.scheduler)
    width, height = sizes_of(model).own
    notes = {
        "sai_model_spec": "1.0.0",
        "architecture": _architecture(layout.folder, predicts, inpainting),
        "implementation": (
            "https://github.com/Stability-AI/sd3-ref"
            if layout is V3
            else "https://github.com/Stability-AI/generative-models"
        ),
        "resolution": f"{width}x{height}",
    }
    if predicts in _PREDICTIONS:
        notes["prediction_type"] = _PREDICTIONS[predicts]
    return {_SPEC + key: text for key, text in notes.items()}


def default_notes(path: Path) -> dict[str, str]:
    """A title, and the licence where the folder's card has it; for what is not noted yet."""
    notes = {f"{_SPEC}title": path.stem if path.is_file() else path.name}
    card = path / "README.md"
    if card.is_file():
        head = card.read_text(encoding="utf-8", errors="replace")[:10_000].split("\n---", 1)
        if head[0].startswith("---") and (found := _LICENCE.search(head[0])):
            notes[f"{_SPEC}license"] = found[1]
    return notes


def _architecture(folder: str, predicts: str, inpainting: bool) -> str:
    name = _ARCHITECTURES.get(folder)
    if name is None:
        name = f"stable-diffusion-v2-{'768-v' if predicts == 'v_prediction' else '512'}"
    return f"{name}-inpainting" if inpainting else name
