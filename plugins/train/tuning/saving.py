"""A tuned model as a folder in the form of diffusers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from sdcreative import DataError
from sdcreative.models.building import save_part

PIPELINES = {
    "sd": "StableDiffusionPipeline",
    "sdxl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
}
_LEFT_OUT = {
    "sd": ("safety_checker", "feature_extractor", "image_encoder"),
    "sdxl": ("feature_extractor", "image_encoder"),
    "sd3": ("feature_extractor", "image_encoder"),
}
_BESIDE = ("spectrogram.json",)
_LARGEST = 65504.0


@torch.no_grad()
def write_model(parts: Any, source: Path, folder: Path, weights: str) -> None:
    """Write all parts of a model; afterwards its own weights are rounded as those in the files.

    Args:
        parts: the model.
        source: the folder or file that it is from; options of a folder are taken over.
        folder: where to.
        weights: fp16 or fp32.

    Raises:
        DataError: weights that fp16 cannot hold.
    """
    index: dict[str, Any] = {"_class_name": PIPELINES[parts.family.name], **_options(source)}
    for name, (library, classes) in parts.family.parts.items():
        part = getattr(parts, name)
        if part is None:
            index[name] = [None, None]
        elif name.startswith("tokenizer"):
            part.save_pretrained(folder / name)
            index[name] = [library, classes[0]]
        else:
            index[name] = [library, type(part).__name__]
            _write_part(part, name, folder / name, weights)
    config = dict(parts.scheduler_config)
    if parts.prediction_type != "flow":
        config["prediction_type"] = parts.prediction_type
    index["scheduler"] = ["diffusers", config.get("_class_name", "DDIMScheduler")]
    index |= {name: [None, None] for name in _LEFT_OUT[parts.family.name]}
    _write_json(folder / "scheduler" / "scheduler_config.json", config)
    for name in _BESIDE:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    _write_json(folder / "model_index.json", index)


def _write_part(part: Any, name: str, folder: Path, weights: str) -> None:
    if weights == "fp32":
        part.save_pretrained(folder)
        return
    for key, tensor in part.state_dict().items():
        if tensor.is_floating_point() and float(tensor.abs().max()) > _LARGEST:
            raise DataError(f"{name}: {key} is too large for fp16; set full.weights: fp32")
    save_part(part, folder)


def _options(source: Path) -> dict[str, Any]:
    """What a folder's index says beside its parts, such as how SDXL takes an empty prompt."""
    path = source / "model_index.json"
    if not path.is_file():
        return {}
    said = json.loads(path.read_text("utf-8"))
    return {
        key: value
        for key, value in said.items()
        if not key.startswith("_") and not isinstance(value, list)
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
