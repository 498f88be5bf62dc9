"""Small models of the real families, written as a diffusers folder and in the original layout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

Tensors = dict[str, torch.Tensor]
_RESNET = {
    "norm1.": "in_layers.0.", "conv1.": "in_layers.2.", "norm2.": "out_layers.0.",
    "conv2.": "out_layers.3.", "time_emb_proj.": "emb_layers.1.",
    "conv_shortcut.": "skip_connection.",
}  # fmt: skip
_ATTENTION = {
    "group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"
}  # fmt: skip
_OPEN_CLIP = {
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}  # fmt: skip


def original_unet(unet: Any) -> Tensors:
    """The weights of a UNet2DConditionModel by the names of CompVis."""
    layers = unet.config.layers_per_block
    state: Tensors = {}
    for name, tensor in unet.state_dict().items():
        state[f"model.diffusion_model.{_unet_name(name, layers, unet.config)}"] = tensor
    return state


def _unet_name(name: str, layers: int, config: Any) -> str:
    outer = {
        "conv_in": "input_blocks.0.0", "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2", "conv_norm_out": "out.0", "conv_out": "out.2",
        "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
        "class_embedding": "label_emb",
    }  # fmt: skip
    part, _, last = name.rpartition(".")
    if part in outer:
        return f"{outer[part]}.{last}"
    if match := re.match(r"mid_block\.(resnets|attentions)\.(\d)\.(.*)", name):
        kind, number, rest = match.groups()
        block = 1 if kind == "attentions" else 2 * int(number)
        return f"middle_block.{block}.{_inner(kind, rest)}"
    match = re.match(r"(down|up)_blocks\.(\d)\.(\w+)\.(\d)\.(.*)", name)
    assert match is not None, name
    way, level, kind, number, rest = match.groups()
    start = int(level) * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{1 + start + layers}.0.op.{rest.removeprefix('conv.')}"
    if kind == "upsamplers":
        place = 2 if "CrossAttn" in config.up_block_types[int(level)] else 1
        return f"output_blocks.{start + layers}.{place}.{rest}"
    block = f"input_blocks.{1 + start + int(number)}" if way == "down" else ""
    block = block or f"output_blocks.{start + int(number)}"
    return f"{block}.{0 if kind == 'resnets' else 1}.{_inner(kind, rest)}"


def _inner(kind: str, rest: str) -> str:
    for ours, theirs in _RESNET.items() if kind == "resnets" else ():
        if rest.startswith(ours):
            return theirs + rest.removeprefix(ours)
    return rest


def original_vae(vae: Any) -> Tensors:
    """The weights of an AutoencoderKL by the names of CompVis."""
    levels = len(vae.config.block_out_channels)
    state: Tensors = {}
    for name, tensor in vae.state_dict().items():
        name = name.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
        if ".mid_block.attentions.0." in name:
            for ours, theirs in _ATTENTION.items():
                name = name.replace(f"attentions.0.{ours}.", f"attn_1.{theirs}.")
            name = name.replace("mid_block.", "mid.")
            tensor = tensor[:, :, None, None] if tensor.ndim == 2 else tensor
        name = re.sub(r"down_blocks\.(\d)\.resnets\.(\d)", r"down.\1.block.\2", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(
            r"up_blocks\.(\d)\.resnets\.(\d)",
            lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}",
            name,
        )
        name = re.sub(
            r"up_blocks\.(\d)\.upsamplers\.0",
            lambda m: f"up.{levels - 1 - int(m[1])}.upsample",
            name,
        )
        state[f"first_stage_model.{name}"] = tensor
    return state


def original_text(encoder: Any, version: int) -> Tensors:
    """The weights of a CLIPTextModel as version 1 or, by open_clip's names, version 2 has them."""
    state = {key.removeprefix("text_model."): one for key, one in encoder.state_dict().items()}
    if version == 1:
        prefix = "cond_stage_model.transformer.text_model."
        length = encoder.config.max_position_embeddings
        places = {f"{prefix}embeddings.position_ids": torch.arange(length)[None]}
        return {prefix + key: one for key, one in state.items()} | places
    width, layers = encoder.config.hidden_size, encoder.config.num_hidden_layers
    found: Tensors = {
        "positional_embedding": state["embeddings.position_embedding.weight"],
        "token_embedding.weight": state["embeddings.token_embedding.weight"],
        "ln_final.weight": state["final_layer_norm.weight"],
        "ln_final.bias": state["final_layer_norm.bias"],
        "text_projection": torch.zeros(width, width),
        "logit_scale": torch.zeros(()),
    }
    for layer in range(layers + 1):
        # The last block is there, and is not used.
        source = f"encoder.layers.{min(layer, layers - 1)}."
        block = f"transformer.resblocks.{layer}."
        for ours, theirs in _OPEN_CLIP.items():
            for last in ("weight", "bias"):
                found[f"{block}{theirs}.{last}"] = state[f"{source}{ours}.{last}"]
        for last in ("weight", "bias"):
            rows = [state[f"{source}self_attn.{one}_proj.{last}"] for one in "qkv"]
            found[f"{block}attn.in_proj_{last}"] = torch.cat(rows)
    return {f"cond_stage_model.model.{key}": one for key, one in found.items()}


def original_layout(unet: Any, vae: Any, encoder: Any, version: int) -> Tensors:
    """A whole checkpoint by its original names."""
    state = original_unet(unet) | original_vae(vae) | original_text(encoder, version)
    return {key: one.contiguous() for key, one in state.items()}


@dataclass(frozen=True)
class Twins:
    """One model twice: as a diffusers folder, and its tensors in the original layout.

    Of families with several text encoders the modules are kept as well.
    """

    folder: Path
    tensors: Tensors
    version: int | str
    modules: Mapping[str, Any] = field(default_factory=dict)

    def write(self, path: Path, tensors: Tensors | None = None, **notes: str) -> Path:
        """A safetensors file of these or other tensors."""
        state = self.tensors if tensors is None else tensors
        save_file({key: one.clone() for key, one in state.items()}, path, metadata=notes or None)
        return path


def build_modules(version: int, channels: int = 4, **unet_shape: Any) -> tuple[Any, Any, Any]:
    """U-Net, autoencoder and text encoder of a family; widths are the least its rules allow."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    widths = (32, 64, 64) if version == 1 else (64, 128, 128)
    shape: dict[str, Any] = {"block_out_channels": widths, "layers_per_block": 2} | unet_shape
    unet = UNet2DConditionModel(
        sample_size=64 if version == 1 or channels == 9 else 96,
        in_channels=channels,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=64,
        attention_head_dim=8 if version == 1 else [width // 64 for width in widths],
        use_linear_projection=version == 2,
        **shape,
    )
    vae = AutoencoderKL(
        block_out_channels=(32, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=4,
        sample_size=4 * unet.config.sample_size,
    )
    text = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2 if version == 1 else 23,
        num_attention_heads=1,
        projection_dim=64,
        hidden_act="quick_gelu" if version == 1 else "gelu",
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=49407 if version == 1 else 0,
    )
    encoder: Any = CLIPTextModel(text)
    return unet, vae, encoder


def build_twins(folder: Path, version: int, channels: int = 4, **unet_shape: Any) -> Twins:
    """A small model of a family, written as a folder."""
    from sdcreative.models.single_files.families import clip_tokenizer

    torch.manual_seed(version)
    unet, vae, encoder = build_modules(version, channels, **unet_shape)
    for part, module in (("unet", unet), ("vae", vae), ("text_encoder", encoder)):
        for name, tensor in module.named_parameters():
            # What is constant at first could be exchanged without being seen.
            if tensor.ndim == 1:
                torch.nn.init.normal_(tensor, 1.0 if "norm" in name else 0.0, 0.1)
        module.save_pretrained(folder / part)
    # As published: it leaves timestep_spacing to the sampler, which save_pretrained would not.
    scheduler = {
        "_class_name": "PNDMScheduler",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "num_train_timesteps": 1000,
        "set_alpha_to_one": False,
        "skip_prk_steps": True,
        "steps_offset": 1,
        "trained_betas": None,
        "prediction_type": "v_prediction" if version == 2 and channels == 4 else "epsilon",
    }
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    clip_tokenizer(f"v{version}").save_pretrained(folder / "tokenizer")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return Twins(folder, original_layout(unet, vae, encoder, version), version)


@pytest.fixture(scope="session")
def v1(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return build_twins(tmp_path_factory.mktemp("v1") / "model", 1)


@pytest.fixture(scope="session")
def v2(tmp_path_factory: pytest.TempPathFactory) -> Twins:
    return build_twins(tmp_path_factory.mktemp("v2") / "model", 2)


@pytest.fixture(scope="session")
def build() -> Callable[..., Twins]:
    return build_twins


@pytest.fixture(scope="session")
def layout() -> Callable[[Any, Any, Any, int], Tensors]:
    return original_layout


@pytest.fixture(scope="session")
def twins_of() -> type[Twins]:
    return Twins


@pytest.fixture(scope="session")
def original() -> Any:
    """What gives modules their original names, for the other families."""
    return SimpleNamespace(unet=original_unet, vae=original_vae, text=original_text)


@pytest.fixture(scope="session")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of some 100 MB; nothing in it is worth anything."""
    with torch.device("meta"):
        modules = build_modules(1, block_out_channels=(96, 192, 256))
    state = original_layout(*modules, version=1)
    path = tmp_path_factory.mktemp("large") / "large.safetensors"
    save_file({name: torch.full(one.shape, 0.01) for name, one in state.items()}, path)
    return path
