"""Models for tests of plugins: one of spectrograms, and tiny ones that are trained in a second."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcreative import SpectrogramParams
from sdcreative.models.sources import BUILTIN
from tiny_models import DIFFUSION, FLOW, sdxl_unet, text_encoder, write_model

MUSICAL = SpectrogramParams(
    sample_rate=16_000, step_ms=20, window_ms=80, padded_ms=160, bands=64, max_hz=8000
)

TOKENIZER = BUILTIN / "emoji" / "tokenizer"
VOCABULARY, CONTEXT = 1407, 32


@pytest.fixture(scope="session")
def musical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model of pictures, as one of spectrograms: 64 bands, 16 kHz, 20 ms a column."""
    folder = tmp_path_factory.mktemp("musical") / "riff"
    folder.mkdir()
    for part in (BUILTIN / "emoji").iterdir():
        (folder / part.name).symlink_to(part)
    values = {"version": 1, **vars(MUSICAL), "max_value": 2e6}
    (folder / "spectrogram.json").write_text(json.dumps(values))
    return folder


def _text(width: int, projected: bool) -> Any:
    # As CLIP's own configuration says, where the largest id is taken for the text's end.
    return text_encoder(width, VOCABULARY, CONTEXT, projected=projected, eos_token_id=2)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion: 32 pixels, downsampling 4, text width 32; never write to it."""
    import torch

    from sdcreative.models.building import build_autoencoder, build_unet

    torch.manual_seed(0)
    return write_model(
        tmp_path_factory.mktemp("tiny") / "model",
        "StableDiffusionPipeline",
        TOKENIZER,
        DIFFUSION,
        vae=build_autoencoder((8, 16, 16), 1, 4, 32),
        unet=build_unet((32, 64), 1, 4, 8, 32),
        text_encoder=_text(32, False),
    )


@pytest.fixture(scope="session")
def tiny_xl(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion XL: two text encoders of widths 32 and 64; never write to it."""
    import torch

    from sdcreative.models.building import build_autoencoder

    torch.manual_seed(1)
    return write_model(
        tmp_path_factory.mktemp("xl") / "model",
        "StableDiffusionXLPipeline",
        TOKENIZER,
        DIFFUSION,
        unet=sdxl_unet(64),
        vae=build_autoencoder((8, 16, 16), 1, 4, 32),
        text_encoder=_text(32, False),
        text_encoder_2=_text(64, True),
    )


@pytest.fixture(scope="session")
def tiny_sd3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion 3 without T5, 32 pixels; never write to it."""
    import torch
    from diffusers import SD3Transformer2DModel

    from sdcreative.models.building import build_autoencoder

    torch.manual_seed(2)
    return write_model(
        tmp_path_factory.mktemp("sd3") / "model",
        "StableDiffusion3Pipeline",
        TOKENIZER,
        FLOW,
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            caption_projection_dim=32,
            joint_attention_dim=96,
            pooled_projection_dim=96,
            pos_embed_max_size=16,
        ),
        vae=build_autoencoder((8, 16, 16), 1, 4, 32),
        text_encoder=_text(32, True),
        text_encoder_2=_text(64, True),
    )


@pytest.fixture
def load() -> Callable[[Path], Any]:
    """A model's folder -> its parts on the CPU in float32."""
    import torch

    from sdcreative.models.loading import load_parts

    return lambda folder: load_parts(folder, device=torch.device("cpu"), dtype=torch.float32)
