"""Small models of Stable Diffusion XL, 3 and 3.5, as folders and in the original layout."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

Tensors = dict[str, torch.Tensor]
_OUTER = {
    "pos_embed.proj": "x_embedder.proj",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "context_embedder": "context_embedder",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
}
_INNER = {
    "attn.to_out.0": "x_block.attn.proj",
    "attn.norm_q": "x_block.attn.ln_q",
    "attn.norm_k": "x_block.attn.ln_k",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn2.norm_q": "x_block.attn2.ln_q",
    "attn2.norm_k": "x_block.attn2.ln_k",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "attn.to_add_out": "context_block.attn.proj",
    "attn.norm_added_q": "context_block.attn.ln_q",
    "attn.norm_added_k": "context_block.attn.ln_k",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
}
_QKV = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
}


def original_transformer(module: Any) -> Tensors:
    """The weights of an SD3Transformer2DModel by the names of Stability AI."""
    state = dict(module.state_dict())
    found: Tensors = {"pos_embed": state.pop("pos_embed.pos_embed")}
    last = module.config.num_layers - 1
    for number in range(module.config.num_layers):
        start = f"transformer_blocks.{number}."
        for joined, three in _QKV.items():
            for kind in ("weight", "bias"):
                if f"{start}{three[0]}.{kind}" in state:
                    rows = [state.pop(f"{start}{one}.{kind}") for one in three]
                    found[f"joint_blocks.{number}.{joined}.{kind}"] = torch.cat(rows)
    for name, tensor in state.items():
        part, _, kind = name.rpartition(".")
        if match := re.match(r"transformer_blocks\.(\d+)\.", part):
            inner = part[match.end() :]
            renamed = f"joint_blocks.{match[1]}.{_INNER[inner]}.{kind}"
            swapped = inner == "norm1_context.linear" and int(match[1]) == last
        else:
            renamed, swapped = f"{_OUTER[part]}.{kind}", part == "norm_out.linear"
        # diffusers: scale, shift; the original: shift, scale.
        found[renamed] = torch.cat(tensor.chunk(2)[::-1]) if swapped else tensor
    return {f"model.diffusion_model.{name}": one for name, one in found.items()}


def original_clip(encoder: Any, prefix: str) -> Tensors:
    """A text encoder of CLIP by the names of transformers."""
    state = {
        name if name.startswith("text_") else f"text_model.{name}": one
        for name, one in encoder.state_dict().items()
    }
    places = torch.arange(encoder.config.max_position_embeddings)[None]
    state["text_model.embeddings.position_ids"] = places
    return {prefix + name: one for name, one in state.items()}


def original_second(encoder: Any, original_open_clip: Any) -> Tensors:
    """The second text encoder of SDXL by the names of open_clip; all its layers are used."""
    extra = f"transformer.resblocks.{encoder.config.num_hidden_layers}."
    start = "conditioner.embedders.1.model."
    found = {
        start + bare: one
        for name, one in original_open_clip(encoder.text_model, 2).items()
        if not (bare := name.removeprefix("cond_stage_model.model.")).startswith(extra)
    }
    return found | {f"{start}text_projection": encoder.text_projection.weight.T}


def original_parts(original: Any, family: str, parts: dict[str, Any]) -> Tensors:
    """Parts of a family by their original names."""
    named: dict[str, Callable[[Any], Tensors]] = {
        "unet": original.unet,
        "transformer": original_transformer,
        "vae": original.vae,
    }
    if family == "xl":
        start = "conditioner.embedders.0.transformer."
        named["text_encoder"] = lambda one: original_clip(one, start)
        named["text_encoder_2"] = lambda one: original_second(one, original.text)
    elif family == "x4":
        named["text_encoder"] = lambda one: original.text(one, 2)
    else:
        texts = "text_encoders.{}.transformer."
        named["text_encoder"] = lambda one: original_clip(one, texts.format("clip_l"))
        named["text_encoder_2"] = lambda one: original_clip(one, texts.format("clip_g"))
        named["text_encoder_3"] = lambda one: {
            texts.format("t5xxl") + name: tensor for name, tensor in one.state_dict().items()
        }
    tensors: Tensors = {}
    for part, module in parts.items():
        tensors |= named[part](module)
    if family == "sd3":
        tensors |= {f"text_encoders.clip_{one}.logit_scale": torch.zeros(()) for one in "lg"}
    return {name: one.contiguous() for name, one in tensors.items()}


def unsettle(module: Any) -> Any:
    """What is constant at first could be exchanged without being seen."""
    for name, tensor in module.named_parameters():
        if tensor.ndim == 1:
            torch.nn.init.normal_(tensor, 1.0 if "norm" in name else 0.0, 0.1)
    return module


def clip(width: int, act: str, **more: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        num_attention_heads=width // 64,
        hidden_act=act,
        bos_token_id=49406,
        eos_token_id=49407,
        **more,
    )


def autoencoder(latents: int, side: int, **more: Any) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(32, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        latent_channels=latents,
        sample_size=side,
        **more,
    )


def write_folder(folder: Path, pipeline: str, parts: dict[str, Any], family: str) -> Path:
    """A diffusers folder of parts, with the tokenizers and the schedule of a family."""
    from sdcreative.models.single_files.families import clip_tokenizer, family_config

    index: dict[str, Any] = {"_class_name": pipeline}
    for part, module in parts.items():
        module.save_pretrained(folder / part)
        library = type(module).__module__.partition(".")[0]
        index[part] = [library, type(module).__name__]
    for number in ("", "_2"):
        clip_tokenizer(family, f"tokenizer{number}").save_pretrained(folder / f"tokenizer{number}")
        index[f"tokenizer{number}"] = ["transformers", "CLIPTokenizer"]
    scheduler = family_config(family, "scheduler")
    if family == "xl":
        scheduler["prediction_type"] = "epsilon"
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def build_xl(twins: Any, original: Any, folder: Path, channels: int = 4) -> Any:
    """A small model of Stable Diffusion XL; its levels have 0, 1 and 2 layers of attention."""
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    torch.manual_seed(3)
    parts: dict[str, Any] = {
        "unet": UNet2DConditionModel(
            sample_size=128,
            in_channels=channels,
            out_channels=4,
            block_out_channels=(32, 64, 64),
            layers_per_block=1,
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=[1, 1, 2],
            cross_attention_dim=192,
            attention_head_dim=[1, 1, 1],
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=64 + 6 * 8,
        ),
        "vae": autoencoder(4, 512, scaling_factor=0.13025),
        "text_encoder": CLIPTextModel(clip(64, "quick_gelu", num_hidden_layers=2)),
        "text_encoder_2": CLIPTextModelWithProjection(
            clip(128, "gelu", num_hidden_layers=11, projection_dim=64)
        ),
    }
    for module in parts.values():
        unsettle(module)
    write_folder(folder, "StableDiffusionXLPipeline", parts, "xl")
    tensors = original_parts(original, "xl", parts)
    return twins(folder, tensors, "xl", parts)


@pytest.fixture(scope="session")
def sd3_texts() -> dict[str, Any]:
    """The three text encoders of Stable Diffusion 3, small."""
    from transformers import CLIPTextModelWithProjection, T5Config, T5EncoderModel

    torch.manual_seed(4)
    sizes = {
        "vocab_size": 43, "d_model": 192, "d_kv": 32, "d_ff": 64, "num_layers": 2, "num_heads": 3
    }  # fmt: skip
    first = CLIPTextModelWithProjection(
        clip(64, "quick_gelu", num_hidden_layers=2, projection_dim=64)
    )
    with torch.no_grad():
        first.text_projection.weight.copy_(torch.eye(64))
    return {
        "text_encoder": unsettle(first),
        "text_encoder_2": unsettle(
            CLIPTextModelWithProjection(clip(128, "gelu", num_hidden_layers=3, projection_dim=96))
        ),
        "text_encoder_3": unsettle(
            T5EncoderModel(T5Config(feed_forward_proj="gated-gelu", **sizes))
        ),
    }


def build_sd3(twins: Any, original: Any, folder: Path, texts: dict[str, Any], **shape: Any) -> Any:
    """A small model of Stable Diffusion 3 or 3.5; its folder has no T5, the tensors have it."""
    from diffusers import SD3Transformer2DModel

    torch.manual_seed(5)
    options: dict[str, Any] = {"num_layers": 3, "pos_embed_max_size": 12} | shape
    parts: dict[str, Any] = {
        "transformer": SD3Transformer2DModel(
            sample_size=128,
            num_attention_heads=2,
            attention_head_dim=64,
            joint_attention_dim=192,
            caption_projection_dim=128,
            pooled_projection_dim=160,
            **options,
        ),
        "vae": autoencoder(
            16,
            512,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
    }
    for module in parts.values():
        unsettle(module)
    clips = {part: texts[part] for part in ("text_encoder", "text_encoder_2")}
    write_folder(folder, "StableDiffusion3Pipeline", parts | clips, "sd3")
    tensors = original_parts(original, "sd3", parts | texts)
    return twins(folder, tensors, "sd3", parts | texts)


@pytest.fixture(scope="session")
def xl(twins_of: Any, original: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_xl(twins_of, original, tmp_path_factory.mktemp("xl") / "model")


@pytest.fixture(scope="session")
def xl_inpainting(twins_of: Any, original: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return build_xl(twins_of, original, tmp_path_factory.mktemp("xl9") / "model", channels=9)


SHAPES: dict[str, dict[str, Any]] = {
    "Stable Diffusion 3": {},
    "Stable Diffusion 3.5 medium": {"qk_norm": "rms_norm", "dual_attention_layers": (0, 1)},
    "Stable Diffusion 3.5 large": {"qk_norm": "rms_norm", "num_layers": 4},
}


@pytest.fixture(scope="session")
def sd3s(
    twins_of: Any,
    original: Any,
    sd3_texts: dict[str, Any],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[str], Any]:
    """Models of Stable Diffusion 3 by title, each built when it is first asked for."""
    built: dict[str, Any] = {}

    def get(title: str) -> Any:
        if title not in built:
            folder = tmp_path_factory.mktemp("sd3") / "model"
            built[title] = build_sd3(twins_of, original, folder, sd3_texts, **SHAPES[title])
        return built[title]

    return get


@pytest.fixture(scope="session")
def originals(original: Any) -> Callable[[str, dict[str, Any]], Tensors]:
    """What gives parts of a family (xl, sd3, x4) their original names."""
    return lambda family, parts: original_parts(original, family, parts)


@pytest.fixture(scope="session")
def t5_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tokenizer of 43 tokens."""
    from transformers import T5Tokenizer

    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -3.0) for letter in string.ascii_lowercase + string.digits + ",."]
    pieces += [("\u2581bear", -1.0)]
    folder = tmp_path_factory.mktemp("t5") / "tokenizer_3"
    tokenizer: Any = T5Tokenizer
    tokenizer(vocab=pieces, extra_ids=0, model_max_length=512).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def loaded() -> Callable[[Any], Any]:
    """Parts of a model's file as it is, read once; never change them."""
    from sdcreative.models.loading import load_parts

    read: dict[Path, Any] = {}

    def get(twins: Any) -> Any:
        if twins.folder not in read:
            path = twins.write(twins.folder.parent / "model.safetensors")
            read[twins.folder] = load_parts(path, device=torch.device("cpu"), dtype=torch.float32)
        return read[twins.folder]

    return get


@pytest.fixture
def twins(request: pytest.FixtureRequest) -> Any:
    """One of all models of this folder, by the parameter: xl, xl_inpainting or a title."""
    name = request.param
    if name in SHAPES:
        return request.getfixturevalue("sd3s")(name)
    return request.getfixturevalue(name)
