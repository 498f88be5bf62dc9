"""A small single file, and add-ons for it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

FILES = Path(__file__).parents[1] / "single_files" / "conftest.py"


@pytest.fixture(scope="session")
def twins(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Stable Diffusion 1 as a folder and in the original layout."""
    spec = importlib.util.spec_from_file_location("single_file_twins", FILES)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module.build_twins(tmp_path_factory.mktemp("twins") / "model", 1)


@pytest.fixture(scope="session")
def single_file(twins: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """float16 but for one tensor, with averaged weights and notes; never write to it."""
    tensors = {name: one.half() for name, one in twins.tensors.items() if one.is_floating_point()}
    first = "model.diffusion_model.input_blocks.0.0.weight"
    tensors[first] = tensors[first].float()
    averaged = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): one.clone()
        for name, one in tensors.items()
        if name.startswith("model.diffusion_model.")
    }
    notes = {"modelspec.license": "CreativeML Open RAIL-M", "modelspec.author": "a  b\n c"}
    path = tmp_path_factory.mktemp("file") / "bears.safetensors"
    twins.write(
        path, {name: one.contiguous() for name, one in (tensors | averaged).items()}, **notes
    )
    return path


@pytest.fixture
def lora(tmp_path: Path) -> Path:
    """Two layers of a U-Net of Stable Diffusion 1, of two ranks, one of the text encoder."""
    path = tmp_path / "ink.safetensors"
    tensors = {}
    for name, width, rank in (
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, 4),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_v", 768, 8),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1", 768, 4),
    ):
        tensors[f"{name}.lora_down.weight"] = torch.ones(rank, width).half()
        tensors[f"{name}.lora_up.weight"] = torch.ones(320, rank).half()
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
    save_file(tensors, path, metadata={"ss_sd_model_name": "sd15.ckpt", "modelspec.title": "Ink"})
    return path


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    """Three vectors for Stable Diffusion XL."""
    path = tmp_path / "bad hands.safetensors"
    save_file({"clip_l": torch.ones(3, 768), "clip_g": torch.ones(3, 1280)}, path)
    return path
