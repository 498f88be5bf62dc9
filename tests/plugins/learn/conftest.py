"""Tiny models of two families, and a few pictures from which a word is learned in a second."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw

from sdcreative.models.building import build_autoencoder, build_unet
from sdcreative.models.loading import load_parts
from sdcreative.models.sources import BUILTIN
from sdcreative_plugins.train.inversion.settings import LearnSettings

DIFFUSION = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}


def _text(width: int, projected: bool) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=width,
        vocab_size=1407,
        max_position_embeddings=32,
        bos_token_id=1405,
        # As CLIP's own configuration says, where the largest id is taken for the text's end.
        eos_token_id=2,
        pad_token_id=1406,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def _write(folder: Path, pipeline: str, **parts: Any) -> Path:
    index: dict[str, Any] = {"_class_name": pipeline}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
        library = "transformers" if name.startswith("text") else "diffusers"
        index[name] = [library, type(part).__name__]
        if name.startswith("text"):
            tokenizer = name.replace("text_encoder", "tokenizer")
            shutil.copytree(BUILTIN / "emoji" / "tokenizer", folder / tokenizer)
            index[tokenizer] = ["transformers", "CLIPTokenizer"]
    index["scheduler"] = ["diffusers", DIFFUSION["_class_name"]]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(DIFFUSION))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion: 32 pixels, downsampling 4, text width 32; never write to it."""
    torch.manual_seed(0)
    return _write(
        tmp_path_factory.mktemp("tiny") / "model",
        "StableDiffusionPipeline",
        vae=build_autoencoder((8, 16, 16), 1, 4, 32),
        unet=build_unet((32, 64), 1, 4, 8, 32),
        text_encoder=_text(32, False),
    )


@pytest.fixture(scope="session")
def tiny_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion XL: two text encoders of widths 32 and 64; never write to it."""
    from diffusers import UNet2DConditionModel

    torch.manual_seed(1)
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(2, 4),
        cross_attention_dim=96,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=64 + 6 * 8,
    )
    return _write(
        tmp_path_factory.mktemp("xl") / "model",
        "StableDiffusionXLPipeline",
        vae=build_autoencoder((8, 16, 16), 1, 4, 32),
        unet=unet,
        text_encoder=_text(32, False),
        text_encoder_2=_text(64, True),
    )


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 3 without T5, 32 pixels; never write to it."""
    from diffusers import SD3Transformer2DModel

    return _write(
        tmp_path_factory.mktemp("sd3") / "model",
        "StableDiffusion3Pipeline",
        vae=build_autoencoder((8, 16, 16), 1, 4, 32),
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            caption_projection_dim=32,
            joint_attention_dim=96,
            pooled_projection_dim=96,
            pos_embed_max_size=16,
        ),
        text_encoder=_text(32, True),
        text_encoder_2=_text(64, True),
    )


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Four pictures, square and wide; one is turned by its EXIF tag, one transparent."""
    folder = tmp_path / "Bilder é"
    folder.mkdir()
    for place, colour in enumerate(("red", "green", "blue")):
        picture = Image.new("RGB", (40, 40) if place < 2 else (40, 80), "white")
        ImageDraw.Draw(picture).ellipse((4 * place, 4, 24 + 4 * place, 30), fill=colour)
        exif = Image.Exif()
        if colour == "blue":
            exif[0x0112] = 6
        picture.save(folder / f"{colour}.png", exif=exif)
    clear = Image.new("RGBA", (40, 40), (0, 0, 0, 0))
    ImageDraw.Draw(clear).rectangle((10, 0, 29, 39), fill="purple")
    clear.save(folder / "clear.png")
    return folder


@pytest.fixture
def load() -> Callable[[Path], Any]:
    return lambda folder: load_parts(folder, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def settings(tiny: Path, pictures: Path, tmp_path: Path) -> Callable[..., LearnSettings]:
    """Settings of a tiny training, with changes."""

    def make(**changes: Any) -> LearnSettings:
        values: dict[str, Any] = {
            "model": str(tiny),
            "data": {"source": "folder", "folder": str(pictures)},
            "token": "<my-ball>",
            "initial": "red apple",
            "output": str(tmp_path / "ball.safetensors"),
            "cache": str(tmp_path / "cache"),
            "schedule": {"steps": 2, "batch": 2, "log_every": 1},
            "look_every": 1,
            "judge": {"seeds": 1, "steps": 1, "scenes": ["a {}, on a blue background"]},
            **changes,
        }
        for key in [key for key, value in values.items() if value is None]:
            del values[key]
        return LearnSettings.model_validate(values)

    return make
