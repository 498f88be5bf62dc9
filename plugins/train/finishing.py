"""The folder of a trained model: parts taken over, the noise schedule, and what kind it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdcreative.models.building import read_part, save_part

from .noise_schedule import BETA_END, BETA_START, STEPS, NoiseSchedule
from .shapes import fold_scaling
from .stages import UnetStage

PARTS = ("vae", "text_encoder", "tokenizer", "unet")
UPSCALER_SCALING = 0.08333
"""which diffusers' pipeline of the x4 upscaler takes for granted"""
CLASS_PIPELINE = "ClassConditionalLatentDiffusion"
LATENT_UPSCALER = "LatentSuperResolution"
"""kinds for which diffusers has no pipeline; the tool `sample` runs them"""
LOW_RES_SCHEDULER = {
    "_class_name": "DDPMScheduler",
    "num_train_timesteps": STEPS,
    "beta_start": BETA_START,
    "beta_end": BETA_END,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
}


def finish(
    output: Path,
    base: Path | None,
    schedule: NoiseSchedule | None,
    stage: UnetStage | None,
    classes: Sequence[str],
) -> None:
    """Complete the folder with what was not trained, and say what kind of model it is.

    Args:
        output: the folder.
        base: folder of the model that was started from.
        schedule: of the U-Net, if that was trained.
        stage: settings of the U-Net, if that was trained.
        classes: their names, if it is told a class.
    """
    if base is not None:
        # A picture tower that was matched to another text encoder fits this one no longer.
        own_words = (output / "text_encoder").is_dir()
        pair = () if own_words else ("clip",)
        for part in (*PARTS, "scheduler", "low_res_scheduler", *pair):
            if (base / part).is_dir() and not (output / part).exists():
                shutil.copytree(base / part, output / part)
    if schedule is not None:
        _write(output / "scheduler" / "scheduler_config.json", schedule.config)
    if stage is not None:
        _describe_conditions(output, stage, classes)
    elif base is not None and (base / "conditions.json").is_file():
        shutil.copyfile(base / "conditions.json", output / "conditions.json")
    if all((output / part).is_dir() for part in (*PARTS, "scheduler")):
        _write(output / "model_index.json", _index(output, base, stage))


def _describe_conditions(output: Path, stage: UnetStage, classes: Sequence[str]) -> None:
    """What neither configuration of a part says, for the tool `sample`."""
    small = stage.superresolution
    if stage.condition == "class":
        _write(output / "conditions.json", {"classes": list(classes)})
    elif small is not None:
        _write(output / "conditions.json", {"superresolution": small.model_dump()})
    else:
        (output / "conditions.json").unlink(missing_ok=True)


def _index(output: Path, base: Path | None, stage: UnetStage | None) -> dict[str, Any]:
    config = json.loads((output / "vae" / "config.json").read_text("utf-8"))
    vae = config["_class_name"]
    index: dict[str, Any] = {
        "_class_name": _kind(output, base, stage, vae),
        "vae": ["diffusers", vae],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    if index["_class_name"] == "StableDiffusionInpaintPipeline":
        # diffusers takes for granted that this is there.
        index["_diffusers_version"] = config["_diffusers_version"]
    if index["_class_name"] != "StableDiffusionUpscalePipeline":
        return {**index, "image_encoder": [None, None], "requires_safety_checker": False}
    level = 350
    if stage is not None and stage.superresolution is not None:
        level = stage.superresolution.max_noise_level
    return {
        **index,
        "low_res_scheduler": ["diffusers", "DDPMScheduler"],
        "watermarker": [None, None],
        "max_noise_level": level,
    }


def _kind(output: Path, base: Path | None, stage: UnetStage | None, vae: str) -> str:
    if stage is None:
        try:
            own = (base or output) / "model_index.json"
            return str(json.loads(own.read_text("utf-8"))["_class_name"])
        except (OSError, ValueError, KeyError):
            return "StableDiffusionPipeline"
    if stage.condition == "class":
        return CLASS_PIPELINE
    if stage.inpainting is not None:
        return "StableDiffusionInpaintPipeline"
    if stage.superresolution is None:
        return "StableDiffusionPipeline"
    if stage.superresolution.seen_as == "latents" or vae != "AutoencoderKL":
        return LATENT_UPSCALER
    _write(output / "low_res_scheduler" / "scheduler_config.json", LOW_RES_SCHEDULER)
    trained = read_part(output / "vae")
    fold_scaling(trained, UPSCALER_SCALING)
    save_part(trained, output / "vae")
    return "StableDiffusionUpscalePipeline"


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
