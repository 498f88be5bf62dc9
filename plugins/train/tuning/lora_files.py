"""A LoRA as a file: by the names of kohya's sd-scripts, or by those of peft and diffusers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sdcreative import UsageError
from sdcreative.models.addons.module_names import original_name

from .lora import TEXT_ENCODERS, Lora, Placed
from .settings import FinetuneSettings
from .store import write_tensors

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
_BY_WIDTH = {
    768: ("sd_v1", "stable-diffusion-v1/lora"),
    1024: ("sd_v2", "stable-diffusion-v2-512/lora"),
    2048: ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base/lora"),
}
"""what cross-attention reads -> names of the family in a file"""
_BY_WIDTH_V = {1024: ("sd_v2_v", "stable-diffusion-v2-768-v/lora")}
_SD3 = ("sd3", "stable-diffusion-3-medium/lora")


def choose_format(family: str, wanted: str | None) -> str:
    """kohya or peft.

    Raises:
        UsageError: kohya's names for Stable Diffusion 3, which join layers that are apart here.
    """
    if family != "sd3":
        return wanted or "kohya"
    if wanted == "kohya":
        raise UsageError(
            "lora.format: kohya has one layer for queries, keys and values of Stable Diffusion 3, "
            "which are three here; leave format out, or set peft"
        )
    return "peft"


def write_lora(
    path: Path, lora: Lora, parts: Any, form: str, weights: str, metadata: dict[str, str]
) -> None:
    """Write a safetensors file.

    Args:
        path: of the file; it is replaced.
        lora: as trained.
        parts: the model that it hangs on.
        form: kohya or peft.
        weights: fp16, bf16 or fp32.
        metadata: texts for its header.

    Raises:
        OutputError: the disk is full, or may not be written.
    """
    state: dict[str, Tensor] = {}
    for one in lora.placed:
        state |= _kohya(one, parts) if form == "kohya" else _peft(one)
    numbers = {key: tensor.detach().cpu().to(DTYPES[weights]) for key, tensor in state.items()}
    write_tensors(path, numbers, metadata)


def _kohya(one: Placed, parts: Any) -> dict[str, Tensor]:
    adapter, name = one.adapter, kohya_name(one.part, one.name, parts)
    state = {
        f"{name}.lora_down.weight": adapter.down.weight,
        f"{name}.lora_up.weight": adapter.up.weight,
        f"{name}.alpha": torch.tensor(adapter.alpha),
    }
    if adapter.magnitude is not None:
        state[f"{name}.dora_scale"] = adapter.magnitude
    return state


def kohya_name(part: str, name: str, parts: Any) -> str:
    """The name of a layer: diffusers' with underscores, and of SDXL's U-Net the original one."""
    if part in TEXT_ENCODERS:
        number = {"text_encoder": "1", "text_encoder_2": "2"}[part]
        root = f"lora_te{number}" if parts.family.name == "sdxl" else "lora_te"
        return f"{root}_{_text_name(name).replace('.', '_')}"
    if parts.family.name == "sdxl":
        name = original_name(name, parts.unet) or name
    return f"lora_unet_{name.replace('.', '_')}"


def _peft(one: Placed) -> dict[str, Tensor]:
    adapter = one.adapter
    name = f"{one.part}.{_text_name(one.name) if one.part in TEXT_ENCODERS else one.name}"
    # peft takes alpha for the rank where a file does not say, so it goes into the weights.
    state = {
        f"{name}.lora_A.weight": adapter.down.weight,
        f"{name}.lora_B.weight": adapter.up.weight * adapter.scale,
    }
    if adapter.magnitude is not None:
        shape = (1, -1, 1, 1) if adapter.magnitude.dim() == 4 else (-1,)
        state[f"{name}.lora_magnitude_vector"] = adapter.magnitude.view(shape)
    return state


def _text_name(name: str) -> str:
    # transformers had a text_model between the encoder and its layers, and files still have.
    return f"text_model.{name.removeprefix('text_model.')}"


def describe(
    settings: FinetuneSettings,
    parts: Any,
    *,
    title: str,
    digest: str,
    pictures: int,
    buckets: dict[str, int],
    resolution: tuple[int, int],
) -> dict[str, str]:
    """What a file says of itself: kohya's ``ss_`` keys, those of modelspec, and the settings.

    Args:
        settings: of the training.
        parts: the model.
        title: the name of the file.
        digest: of the model.
        pictures: trained on.
        buckets: WIDTHxHEIGHT -> pictures in it.
        resolution: (width, height) in pixels.
    """
    method = settings.lora
    if method is None:
        raise UsageError("there is no LoRA to be described")
    schedule, loss = settings.schedule, settings.loss
    model, alpha = Path(settings.model).name, method.alpha or method.rank
    said: dict[str, Any] = {
        "ss_network_module": "networks.lora",
        "ss_network_dim": method.rank,
        "ss_network_alpha": alpha,
        "ss_network_dropout": method.dropout or None,
        "ss_network_args": _network_args(settings),
        "ss_output_name": title,
        "ss_sd_model_name": model,
        "ss_sd_model_hash": digest,
        "ss_steps": schedule.steps,
        "ss_max_train_steps": schedule.steps,
        "ss_batch_size_per_device": schedule.batch,
        "ss_gradient_accumulation_steps": schedule.accumulate,
        "ss_gradient_checkpointing": settings.gradient_checkpointing,
        "ss_learning_rate": schedule.learning_rate,
        "ss_lr_scheduler": "cosine",
        "ss_lr_warmup_steps": schedule.warmup,
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_max_grad_norm": schedule.clip,
        "ss_mixed_precision": settings.precision,
        "ss_seed": schedule.seed,
        "ss_min_snr_gamma": loss.min_snr_gamma,
        "ss_noise_offset": loss.noise_offset or None,
        "ss_caption_dropout_rate": loss.caption_dropout,
        "ss_clip_skip": settings.clip_skip,
        "ss_num_train_images": pictures,
        "ss_resolution": f"({resolution[0]}, {resolution[1]})",
        "ss_enable_bucket": settings.buckets,
        "ss_bucket_info": {"buckets": buckets},
        "ss_v2": parts.family.name == "sd" and _width(parts) == 1024,
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.implementation": "https://github.com/huggingface/diffusers",
        "modelspec.title": title,
        "modelspec.resolution": f"{resolution[0]}x{resolution[1]}",
        "modelspec.prediction_type": {"v_prediction": "v"}.get(
            parts.prediction_type, parts.prediction_type
        ),
    }
    if named := _family(parts):
        said["ss_base_model_version"], said["modelspec.architecture"] = named
    return {key: _as_text(value) for key, value in said.items() if value is not None}


def _network_args(settings: FinetuneSettings) -> dict[str, Any] | None:
    method = settings.lora
    if method is None:
        return None
    given: dict[str, Any] = {}
    if "conv" in method.targets:
        given |= {"conv_dim": method.rank, "conv_alpha": method.alpha or method.rank}
    if method.dora:
        given["dora_wd"] = True
    return given or None


def _as_text(value: Any) -> str:
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else str(value)


def _width(parts: Any) -> Any:
    return getattr(parts.denoiser.config, "cross_attention_dim", None)


def _family(parts: Any) -> tuple[str, str] | None:
    """None for a model that is of no family which other programs know."""
    if parts.family.name == "sd3":
        return _SD3
    velocity = _BY_WIDTH_V if parts.prediction_type == "v_prediction" else {}
    return velocity.get(_width(parts)) or _BY_WIDTH.get(_width(parts))
