"""Tiny models of every family, with the vocabularies and numbers that single files stand for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

SCHEDULERS: dict[str, dict[str, Any]] = {
    "sd": {"_class_name": "PNDMScheduler", "skip_prk_steps": True, "set_alpha_to_one": False},
    "xl": {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading"},
    "sd3": {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0},
}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def _unet(family: str, channels: int) -> Any:
    from diffusers import UNet2DConditionModel

    shape: dict[str, Any] = {
        "block_out_channels": (32, 64) if family == "v1" else (64, 128),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "attention_head_dim": 8 if family == "v1" else (1, 2),
        "sample_size": 96 if family == "v2" else 64,
        "layers_per_block": 2 if family == "v1" else 1,
        "cross_attention_dim": 64,
    }
    if family == "xl":
        shape |= {
            "block_out_channels": (64, 128, 128),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "attention_head_dim": (1, 2, 2),
            "transformer_layers_per_block": (1, 1, 2),
            "sample_size": 128,
            "cross_attention_dim": 64 + 128,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 128 + 6 * 256,
        }
    return UNet2DConditionModel(
        in_channels=channels, out_channels=4, use_linear_projection=family != "v1", **shape
    )


def _transformer(**shape: Any) -> Any:
    from diffusers import SD3Transformer2DModel

    return SD3Transformer2DModel(
        **{
            "sample_size": 128, "patch_size": 2, "in_channels": 16, "out_channels": 16,
            "num_layers": 2, "attention_head_dim": 64, "num_attention_heads": 2,
            "caption_projection_dim": 128, "joint_attention_dim": 192,
            "pooled_projection_dim": 64 + 128, "pos_embed_max_size": 16, **shape,
        }
    )  # fmt: skip


def _vae(family: str) -> Any:
    from diffusers import AutoencoderKL

    scaling = {"xl": 0.13025, "sd3": 1.5305}.get(family, 0.18215)
    third = family == "sd3"
    return AutoencoderKL(
        block_out_channels=(32, 32, 64),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        layers_per_block=1,
        latent_channels=16 if third else 4,
        scaling_factor=scaling,
        **({"shift_factor": 0.0609, "use_quant_conv": False, "use_post_quant_conv": False}
           if third else {}),
    )  # fmt: skip


def _text(width: int, layers: int, *, second: bool, projected: bool) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        hidden_act="gelu" if second else "quick_gelu",
        bos_token_id=49406,
        eos_token_id=49407,
        pad_token_id=0 if second else 49407,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _t5(folder: Path) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁a", -1.0), ("▁bear", -2.0)]
    tokenizer = Tokenizer(models.Unigram(words, unk_id=2))
    T5Tokenizer(tokenizer_object=tokenizer, extra_ids=0).save_pretrained(folder / "tokenizer_3")
    return T5EncoderModel(
        T5Config(
            vocab_size=len(words), d_model=192, d_kv=8, d_ff=32, num_layers=2, num_heads=2,
            feed_forward_proj="gated-gelu", is_encoder_decoder=False,
        )
    )  # fmt: skip


def write_model(
    folder: Path, family: str, channels: int = 4, *, t5: bool = False, **shape: Any
) -> Path:
    """A tiny model of a family (v1, v2, xl, sd3) as a folder."""
    from sdcreative.models.single_files.families import clip_tokenizer

    torch.manual_seed(len(family) + channels)
    modules: dict[str, Any] = {"vae": _vae(family)}
    if family == "sd3":
        modules["transformer"] = _transformer(**shape)
    else:
        modules["unet"] = _unet(family, channels)
    plain = family in ("v1", "v2")
    layers = 3 if family == "v2" else 2
    modules["text_encoder"] = _text(64, layers, second=family == "v2", projected=family == "sd3")
    if not plain:
        modules["text_encoder_2"] = _text(128, 2, second=True, projected=True)
    if family == "sd3":
        torch.nn.init.eye_(modules["text_encoder"].text_projection.weight)
    if t5:
        modules["text_encoder_3"] = _t5(folder)
    index: dict[str, Any] = {
        "_class_name": {"xl": "StableDiffusionXLPipeline", "sd3": "StableDiffusion3Pipeline"}.get(
            family, "StableDiffusionPipeline" if channels == 4 else "StableDiffusionInpaintPipeline"
        ),
        "_diffusers_version": "0.30.0",
    }
    for part, module in modules.items():
        for name, tensor in module.named_parameters():
            # What is constant at first could be exchanged without being seen.
            if tensor.ndim == 1:
                torch.nn.init.normal_(tensor, 1.0 if "norm" in name else 0.0, 0.1)
        module.save_pretrained(folder / part)
        library = "transformers" if part.startswith("text") else "diffusers"
        index[part] = [library, type(module).__name__]
        if part.startswith("text_encoder"):
            tokenizer = part.replace("text_encoder", "tokenizer")
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
            if part == "text_encoder_3":
                index[tokenizer] = ["transformers", "T5TokenizerFast"]
            else:
                second = family == "v2" or part == "text_encoder_2"
                clip_tokenizer("v2" if second else "v1").save_pretrained(folder / tokenizer)
    if family == "sd3" and not t5:
        index |= {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}
    scheduler = SCHEDULERS["sd" if plain else family] | {"num_train_timesteps": 1000}
    if family != "sd3":
        velocity = family == "v2" and channels == 4
        scheduler |= BETAS | {"prediction_type": "v_prediction" if velocity else "epsilon"}
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny model by its family's name, and 9 for one that inpaints; never write to it."""
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            family, channels = name.removesuffix("-9"), 9 if name.endswith("-9") else 4
            made[name] = write_model(tmp_path_factory.mktemp(name) / "model", family, channels)
        return made[name]

    return folder


@pytest.fixture(scope="session")
def known_words() -> set[bytes]:
    return set()


@pytest.fixture(autouse=True)
def _words_are_checked_once(known_words: set[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading CLIP's 49,408 words takes half a second each time."""
    from sdcreative.models.writing import single_file

    check = single_file.check_words

    def check_once(model: Any) -> None:
        files = sorted(model.path.glob("tokenizer*/tokenizer.json"))
        words = b"".join(path.read_bytes() for path in files)
        if not words or words not in known_words:
            check(model)
            known_words.add(words)

    monkeypatch.setattr(single_file, "check_words", check_once)


@pytest.fixture(scope="session")
def build() -> Callable[..., Path]:
    return write_model
