"""Models of random weights with the builds of Stable Diffusion, written once as folders.

Every contender loads the same files by its own loading code. Weights are normal with a variance of
1 / fan-in (LeCun et al. 1998, "Efficient BackProp", section 4.6), so that what goes through the
layers keeps its scale in float32 and in half precision; norms do nothing and biases are 0. A model
predicts v (Salimans and Ho 2022, section 4): what random weights say of v is a picture of about
unit variance, where noise said at random would be divided by almost nothing. Neither changes what
a step costs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_process import Notes

SEED = 20_260_501
TINY_DECODER = "tiny-decoder"

_SMALL_VAE = {"block_out_channels": [8, 16, 16, 16], "layers_per_block": 1, "norm_num_groups": 8}
_SMALL_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_hidden_layers": 2,
    "projection_dim": 32,
}
_SMALL_UNET = {"layers_per_block": 1, "norm_num_groups": 8, "sample_size": 8}


@dataclass(frozen=True)
class Build:
    """A model of the benchmark.

    Attributes:
        title: in tables.
        family: folder of configurations that ship with sdcreative: v1 or xl.
        size: side of its pictures in pixels.
        folder: its name on disk; builds that are the same share one.
        changes: part -> what its configuration has otherwise, for small ones.
    """

    title: str
    family: str
    size: int
    folder: str
    changes: Mapping[str, Mapping[str, Any]]


BUILDS = {
    "sd15": Build("SD 1.5, 512²", "v1", 512, "sd15", {}),
    "sdxl": Build("SDXL, 1024²", "xl", 1024, "sdxl", {}),
    "riffusion": Build("Riffusion, 512² (SD 1.5's build)", "v1", 512, "sd15", {}),
    "tiny": Build(
        "SD 1.5 in small, 64²",
        "v1",
        64,
        "tiny",
        {
            "unet": {
                **_SMALL_UNET,
                "block_out_channels": [16, 32, 32, 32],
                "cross_attention_dim": 32,
                "attention_head_dim": 4,
            },
            "vae": {**_SMALL_VAE, "sample_size": 64},
            "text_encoder": _SMALL_TEXT,
        },
    ),
    "tiny-xl": Build(
        "SDXL in small, 64²",
        "xl",
        64,
        "tiny-xl",
        {
            "unet": {
                **_SMALL_UNET,
                "block_out_channels": [16, 32, 32],
                "cross_attention_dim": 64,
                "attention_head_dim": [2, 4, 4],
                "transformer_layers_per_block": [1, 1, 2],
                "addition_time_embed_dim": 8,
                "projection_class_embeddings_input_dim": 6 * 8 + 32,
            },
            "vae": {**_SMALL_VAE, "sample_size": 64},
            "text_encoder": _SMALL_TEXT,
            "text_encoder_2": _SMALL_TEXT,
        },
    ),
}


def model_folder(name: str, folder: Path, report: Callable[[str], None]) -> Path:
    """The folder of a build below another one; written if it is not there."""
    build = BUILDS[name]
    return _once(folder / build.folder, lambda at: write_model(build, at), report)


def tiny_decoder(folder: Path, report: Callable[[str], None]) -> Path:
    """The folder of an AutoencoderTiny of the published build (TAESD); written if not there."""
    return _once(folder / TINY_DECODER, write_tiny_decoder, report)


def prepare(task: dict[str, Any], notes: Notes) -> None:
    """Write what is not there of the task's ``models`` below its ``target``, and a tiny decoder."""
    target = Path(task["target"])
    target.mkdir(parents=True, exist_ok=True)
    for name in task["models"]:
        model_folder(name, target, print)
    notes(decoder=str(tiny_decoder(target, print)))


def import_all() -> None:
    """Import what all contenders want, so that copies of this process need not."""
    import importlib

    for name in (
        "sdcreative.produce",
        "sdcreative.rendering.renderer",
        "sdcreative_plugins.animate.timeline",
    ):
        importlib.import_module(name)
    import diffusers
    import transformers

    # Both import a class when it is first named.
    for name in ("StableDiffusionPipeline", "StableDiffusionXLPipeline", "AutoencoderTiny"):
        getattr(diffusers, name)
    for name in ("CLIPTextModelWithProjection", "CLIPTokenizer"):
        getattr(transformers, name)


def _once(target: Path, write: Callable[[Path], None], report: Callable[[str], None]) -> Path:
    if not target.exists():
        report(f"writing random weights to {target}")
        beside = target.with_name(f"{target.name}.{os.getpid()}")
        shutil.rmtree(beside, ignore_errors=True)
        write(beside)
        beside.rename(target)
    return target


def configuration(build: Build, part: str) -> dict[str, Any]:
    """A part's configuration: the published one, with the build's changes."""
    from sdcreative.models.single_files.families import family_config

    config = {**family_config(build.family, part), **build.changes.get(part, {})}
    if part == "vae":
        # The published XL autoencoder overflows in half precision and is decoded in float32; this
        # one does not, as the repaired one that people use in its place.
        config["force_upcast"] = False
    if part == "scheduler":
        config["prediction_type"] = "v_prediction"
    return config


def denoiser(build: Build) -> Any:
    """The U-Net without weights, on the device "meta"."""
    import torch
    from diffusers import UNet2DConditionModel

    with torch.device("meta"):
        return UNet2DConditionModel.from_config(configuration(build, "unet"))


def write_model(build: Build, folder: Path) -> None:
    """A diffusers folder in float16."""
    import diffusers
    import torch
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    from sdcreative.models.single_files.families import clip_tokenizer

    def text(part: str, cls: Any) -> Any:
        config = configuration(build, part)
        with torch.device("meta"):
            module = cls(CLIPTextConfig(**config))
        # transformers writes the type that the module says it has.
        module.config.dtype = torch.float16
        return filled(module)

    with torch.device("meta"):
        vae = diffusers.AutoencoderKL.from_config(configuration(build, "vae"))
    schedule = configuration(build, "scheduler")
    parts: dict[str, Any] = {
        "unet": filled(denoiser(build), {"conv_out.weight": 1.5}),
        "vae": filled(vae),
        "text_encoder": text("text_encoder", CLIPTextModel),
        "tokenizer": clip_tokenizer(build.family),
        "scheduler": getattr(diffusers, schedule["_class_name"]).from_config(schedule),
    }
    if build.family == "xl":
        parts["text_encoder_2"] = text("text_encoder_2", CLIPTextModelWithProjection)
        parts["tokenizer_2"] = clip_tokenizer(build.family, "tokenizer_2")
        pipeline = diffusers.StableDiffusionXLPipeline(**parts, add_watermarker=False)
    else:
        pipeline = diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )
    pipeline.save_pretrained(folder)


def write_tiny_decoder(folder: Path) -> None:
    """A folder of an AutoencoderTiny in float16."""
    import torch
    from diffusers import AutoencoderTiny

    with torch.device("meta"):
        module = AutoencoderTiny()
    filled(module).save_pretrained(folder)


def filled(module: Any, gains: Mapping[str, float] | None = None, seed: int = SEED) -> Any:
    """A module of the device "meta" on the CPU in float16, with weights drawn from a seed.

    Args:
        module: any that has only weights of matrices, convolutions, embeddings and norms.
        gains: name of a weight -> what its scale is multiplied by.
        seed: the same one draws the same weights.
    """
    import numpy as np
    import torch

    module = module.half().to_empty(device="cpu").eval()
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if weight.ndim < 2:
                weight.fill_(float(name.endswith("weight")))
                continue
            scale = (gains or {}).get(name, 1.0) * weight[0].numel() ** -0.5
            drawn = generator.standard_normal(tuple(weight.shape), np.float32)
            weight.copy_(torch.from_numpy(drawn).mul_(scale))
    return module
