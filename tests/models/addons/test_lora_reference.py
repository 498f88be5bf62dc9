"""Merged weights and pictures against diffusers with peft, in every form of key that it reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sdcreative import Studio
from sdcreative.models.addons.lora_applying import apply_loras
from sdcreative.models.addons.lora_reading import read_lora
from sdcreative.models.loading import Parts, load_parts

pytest.importorskip("peft")
Place = tuple[str, str]
CPU = torch.device("cpu")


def fused(checkpoint: Path, lora: Path, scale: float, folder: Path) -> Path:
    """A model with a LoRA that diffusers has merged."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(
        checkpoint, safety_checker=None, feature_extractor=None
    )
    pipeline.load_lora_weights(lora.parent, weight_name=lora.name)
    pipeline.fuse_lora(lora_scale=scale)
    pipeline.unload_lora_weights()
    pipeline.save_pretrained(folder)
    # Saved settings of a scheduler name what was only its own default, and bind other samplers.
    shutil.copytree(checkpoint / "scheduler", folder / "scheduler", dirs_exist_ok=True)
    return folder


def farthest(parts: Parts, other: Parts, root: str) -> float:
    ours, theirs = (getattr(one, root).state_dict() for one in (parts, other))
    assert ours.keys() == theirs.keys()
    return max((ours[key] - theirs[key]).abs().max().item() for key in ours)


def write_peft(path: Path, pairs: Mapping[Place, Any]) -> None:
    """As diffusers saves them now: alphas in the metadata, here of two sizes."""
    table: dict[str, Any] = {}
    config: dict[str, Any] = {}
    for root in ("unet", "text_encoder"):
        config |= {f"{root}.r": 4, f"{root}.lora_alpha": 3.0, f"{root}.alpha_pattern": {}}
        config[f"{root}.target_modules"] = []
    for (root, name), (down, up, _) in pairs.items():
        table[f"{root}.{name}.lora_A.weight"] = down
        table[f"{root}.{name}.lora_B.weight"] = up
        config[f"{root}.target_modules"].append(name)
        if name.endswith("to_q"):
            config[f"{root}.alpha_pattern"][name] = 5.0
    save_file(table, path, {"format": "pt", "lora_adapter_metadata": json.dumps(config)})


def write_old(path: Path, pairs: Mapping[Place, Any]) -> None:
    """As diffusers saved them before peft: attention alone, named after its processors."""
    table = {}
    for (root, name), (down, up, _) in pairs.items():
        if root == "unet" and ".attn" in name and down.dim() == 2:
            attention, _, layer = name.rpartition(".to_")
            key = f"unet.{attention}.processor.to_{layer.removesuffix('.0')}_lora"
            table |= {f"{key}.down.weight": down, f"{key}.up.weight": up}
        elif root == "text_encoder" and "self_attn" in name:
            key = f"text_encoder.text_model.{name.removeprefix('text_model.')}.lora_linear_layer"
            table |= {f"{key}.down.weight": down, f"{key}.up.weight": up}
    save_file(table, path)


@pytest.mark.parametrize("form", ["kohya", "peft", "old"])
def test_weights_equal_those_that_diffusers_merges(
    form: str,
    load: Callable[[], Parts],
    tiny_checkpoint: Path,
    kohya: Path,
    pairs: Mapping[Place, Any],
    tmp_path: Path,
) -> None:
    path = kohya if form == "kohya" else tmp_path / f"{form}.safetensors"
    if form == "peft":
        write_peft(path, pairs)
    elif form == "old":
        write_old(path, pairs)
    folder = fused(tiny_checkpoint, path, 0.7, tmp_path / "fused")
    theirs = load_parts(folder, device=CPU, dtype=torch.float32)
    ours, plain = load(), load()
    with apply_loras(ours, [(read_lora(path, ours), 0.7)]):
        for root in ("unet", "text_encoder"):
            assert farthest(ours, theirs, root) < 1e-5
            assert farthest(plain, theirs, root) > 1e-2


def test_pictures_equal_those_of_the_merged_model(
    load: Callable[[], Parts], tiny_checkpoint: Path, kohya: Path, tmp_path: Path
) -> None:
    folder = fused(tiny_checkpoint, kohya, 0.7, tmp_path / "fused")

    def picture(studio: Studio) -> Any:
        return np.asarray(studio.picture("a bear", seed=1, steps=3), dtype=int)

    studio = Studio(load())
    before = picture(studio)
    with apply_loras(studio.parts, [(read_lora(kohya, studio.parts), 0.7)]):
        ours = picture(studio)
    theirs = picture(Studio.load(str(folder), device="cpu"))
    assert np.abs(ours - theirs).max() <= 1
    assert np.abs(before - theirs).max() > 3
    assert np.array_equal(picture(studio), before)


def test_dora_equals_that_of_peft(parts: Parts, tmp_path: Path) -> None:
    from peft import LoraConfig, inject_adapter_in_model
    from peft.utils import get_peft_model_state_dict

    theirs = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Conv2d(64, 64, 3, padding=1))
    ours = {
        "0": parts.unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q,
        "1": parts.unet.mid_block.resnets[0].conv1,
    }
    names = {
        "0": "mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
        "1": "mid_block.resnets.0.conv1",
    }
    for number, module in ours.items():
        theirs[int(number)].weight.data = module.weight.data.clone()
    config = LoraConfig(r=4, lora_alpha=2, use_dora=True, target_modules=["0", "1"])
    inject_adapter_in_model(config, theirs)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in theirs.named_parameters():
        if "lora_" in name:
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.data = parameter.data * 1.1 + 0.05 * noise
    table = {
        key.replace(number, f"unet.{names[number]}", 1): tensor.clone()
        for key, tensor in get_peft_model_state_dict(theirs).items()
        for number in [key[0]]
    }
    assert sum("lora_magnitude_vector" in key for key in table) == 2
    metadata = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 2})}
    save_file(table, tmp_path / "dora.safetensors", metadata)
    for layer in theirs:
        layer.merge()
    before = {number: module.weight.clone() for number, module in ours.items()}
    with apply_loras(parts, [(read_lora(tmp_path / "dora.safetensors", parts), 1.0)]):
        for number, module in ours.items():
            merged = theirs[int(number)].base_layer.weight
            assert (module.weight - merged).abs().max() < 1e-5
            assert (module.weight - before[number]).abs().max() > 1e-2
