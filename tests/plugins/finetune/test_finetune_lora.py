"""LoRA: what is trained, what it adds, and that its files mean the same to everybody."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from sdcreative import ModelError, UsageError
from sdcreative.models.addons.lora_applying import apply_loras
from sdcreative.models.addons.lora_reading import read_lora
from sdcreative_plugins.train.tuning.lora import Lora, add_lora
from sdcreative_plugins.train.tuning.lora_files import choose_format, describe, write_lora
from sdcreative_plugins.train.tuning.noising import predict
from sdcreative_plugins.train.tuning.settings import LoraMethod
from sdcreative_plugins.train.tuning.texts import Texts

ALL = ["attention", "mlp", "conv"]
Load = Callable[[Path], Any]


def method(**changes: Any) -> LoraMethod:
    values = {"rank": 3, "alpha": 1.5, "targets": ALL, "text_encoders": True, "weights": "fp32"}
    return LoraMethod.model_validate({**values, **changes})


def trained(parts: Any, how: LoraMethod, size: float = 0.1) -> Lora:
    """As after some steps: the upper halves are no longer zero."""
    lora = add_lora(parts, how, seed=0)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for one in lora.placed:
            up = one.adapter.up.weight
            up.copy_(size * torch.randn(up.shape, generator=generator))
            if one.adapter.magnitude is not None:
                one.adapter.magnitude.mul_(1.2)
    return lora.module.eval() and lora


@torch.no_grad()
def said(parts: Any) -> Tensor:
    """What a model says of fixed noise and a prompt, through its text encoders."""
    side = parts.sample_size[0] // parts.downsampling
    noise = torch.randn(2, 4, side, side, generator=torch.Generator().manual_seed(1))
    told = Texts(parts, 1, None).encode(["a picture of a bear", "two red apples"])
    sizes = torch.tensor([[40, 80, 0, 4, 32, 32]] * 2)
    return predict(parts, noise, torch.tensor([100, 700]), told, sizes)


def test_a_new_lora_changes_nothing_and_only_it_gets_gradients(load: Load, tiny: Path) -> None:
    parts = load(tiny)
    before = said(parts)
    lora = add_lora(parts, method(dora=True), seed=0)
    assert torch.allclose(said(parts), before, atol=1e-5)
    told = Texts(parts, 1, None).encode(["a bear"])
    noise = torch.randn(1, 4, 8, 8)
    predict(parts, noise, torch.tensor([10]), told, torch.zeros(1, 6)).square().mean().backward()
    for name in ("unet", "vae", "text_encoder"):
        for number in getattr(parts, name).parameters():
            assert not number.requires_grad and number.grad is None
    missing = [one for one in lora.placed if one.adapter.up.weight.grad is None]
    assert not missing
    assert {one.part for one in lora.placed} == {"unet", "text_encoder"}


@pytest.mark.parametrize(
    ("targets", "kinds", "ends"),
    [
        (["attention"], {nn.Linear}, {"to_q", "to_k", "to_v", "0"}),
        (["mlp"], {nn.Linear, nn.Conv2d}, {"proj", "2", "proj_in", "proj_out"}),
        (
            ["conv"],
            {nn.Linear, nn.Conv2d},
            {"conv1", "conv2", "conv_shortcut", "time_emb_proj", "conv"},
        ),
    ],
)
def test_targets_are_the_layers_they_name(
    load: Load, tiny: Path, targets: list[str], kinds: set[type], ends: set[str]
) -> None:
    parts = load(tiny)
    lora = add_lora(parts, method(targets=targets, text_encoders=False), seed=0)
    layers = [parts.unet.get_submodule(one.name) for one in lora.placed]
    assert {kind for layer in layers for kind in kinds if isinstance(layer, kind)} == kinds
    assert all(isinstance(layer, tuple(kinds)) for layer in layers)
    assert {one.name.rpartition(".")[2] for one in lora.placed} == ends
    lora.remove()
    assert not any(layer._forward_hooks for layer in layers)


@pytest.mark.parametrize("dora", [False, True])
def test_merged_into_the_weights_it_is_what_it_is_beside_them(
    load: Load, tiny: Path, dora: bool
) -> None:
    parts = load(tiny)
    before = said(parts)
    lora = trained(parts, method(dora=dora))
    beside = said(parts)
    lora.remove()
    assert torch.allclose(said(parts), before)
    with torch.no_grad():
        for one in lora.placed:
            layer = getattr(parts, one.part).get_submodule(one.name)
            merged = layer.weight + one.adapter.delta(layer.weight)
            if one.adapter.magnitude is not None:
                norm = merged.flatten(1).norm(dim=1).view(one.adapter.magnitude.shape)
                merged = merged * one.adapter.magnitude / norm
            layer.weight.copy_(merged)
    assert torch.allclose(said(parts), beside, atol=1e-5)
    assert (beside - before).abs().max() > 0.01


@pytest.mark.parametrize(
    ("model", "form", "dora"),
    [
        ("tiny", "kohya", True),
        ("tiny", "peft", False),
        ("tiny_xl", "kohya", False),
        ("tiny_xl", "peft", True),
    ],
)
def test_the_runtime_reads_a_file_back(
    load: Load, request: Any, tmp_path: Path, model: str, form: str, dora: bool
) -> None:
    folder = request.getfixturevalue(model)
    parts, fresh = load(folder), load(folder)
    lora = trained(parts, method(dora=dora))
    path = tmp_path / "it.safetensors"
    write_lora(path, lora, parts, form, "fp32", {})
    read = read_lora(path, fresh)
    assert len(read.layers) == len(lora.placed) and not read.unmatched
    with apply_loras(fresh, [(read, 1.0)]):
        assert torch.allclose(said(fresh), said(parts), atol=2e-5)


@pytest.mark.parametrize(
    ("model", "form"), [("tiny", "kohya"), ("tiny", "peft"), ("tiny_xl", "kohya")]
)
def test_diffusers_reads_the_same_out_of_either_file(
    load: Load, request: Any, tmp_path: Path, model: str, form: str
) -> None:
    pytest.importorskip("peft")
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    folder = request.getfixturevalue(model)
    parts = load(folder)
    lora = trained(parts, method())
    path = tmp_path / "it.safetensors"
    write_lora(path, lora, parts, form, "fp32", {})
    kind = StableDiffusionXLPipeline if model == "tiny_xl" else StableDiffusionPipeline
    options = {} if model == "tiny_xl" else {"safety_checker": None, "feature_extractor": None}
    pipe = kind.from_pretrained(folder, **options)
    pipe.load_lora_weights(str(path))
    theirs = copy.copy(parts)
    for name in ("unet", "text_encoder", "text_encoder_2"):
        if hasattr(pipe, name):
            object.__setattr__(theirs, name, getattr(pipe, name).eval())
    assert torch.allclose(said(theirs), said(parts), atol=2e-5)


def test_names_in_kohyas_files_are_kohyas(load: Load, tiny: Path, tiny_xl: Path) -> None:
    from sdcreative_plugins.train.tuning.lora_files import kohya_name

    parts, xl = load(tiny), load(tiny_xl)
    block = "attentions.0.transformer_blocks.0.attn1.to_q"
    assert kohya_name("unet", f"down_blocks.1.{block}", parts) == (
        "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_q"
    )
    assert kohya_name("unet", f"down_blocks.1.{block}", xl) == (
        "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q"
    )
    layer = "encoder.layers.0.self_attn.q_proj"
    name = "text_model_encoder_layers_0_self_attn_q_proj"
    assert kohya_name("text_encoder", layer, parts) == f"lora_te_{name}"
    assert kohya_name("text_encoder_2", f"text_model.{layer}", xl) == f"lora_te2_{name}"


def test_a_file_says_what_it_is_and_holds_half_precision(
    load: Load, settings: Any, tiny: Path, tmp_path: Path
) -> None:
    parts = load(tiny)
    lora = trained(parts, method(text_encoders=False, targets=["attention"]))
    wanted = settings(lora={"rank": 3, "alpha": 1.5}, loss={"min_snr_gamma": 5})
    metadata = describe(
        wanted,
        parts,
        title="mine",
        digest="ab12",
        pictures=4,
        buckets={"32x32": 4},
        resolution=(32, 32),
    )
    path = tmp_path / "mine.safetensors"
    write_lora(path, lora, parts, "kohya", "fp16", metadata)
    with safe_open(path, "pt") as file:
        told = file.metadata()
    assert told["ss_network_dim"] == "3" and told["ss_network_alpha"] == "1.5"
    assert told["ss_sd_model_hash"] == "ab12" and told["ss_min_snr_gamma"] == "5.0"
    assert told["modelspec.title"] == "mine" and told["modelspec.prediction_type"] == "epsilon"
    # A model of no known family is not passed off as one.
    assert "ss_base_model_version" not in told
    state = load_file(path)
    assert {tensor.dtype for tensor in state.values()} == {torch.float16}
    alphas = {float(tensor) for key, tensor in state.items() if key.endswith(".alpha")}
    assert alphas == {1.5}
    assert read_lora(path, parts).metadata["ss_output_name"] == "mine"


def test_narrow_layers_get_a_smaller_rank_and_the_same_scale(load: Load, tiny: Path) -> None:
    lora = add_lora(load(tiny), method(rank=48, alpha=24, text_encoders=False), seed=0)
    ranks = {one.adapter.down.weight.shape[0] for one in lora.placed}
    assert ranks == {32, 48}
    for one in lora.placed:
        assert one.adapter.scale == 0.5
        assert one.adapter.alpha / one.adapter.down.weight.shape[0] == 0.5


def test_dropout_acts_in_training_alone(load: Load, tiny: Path) -> None:
    parts = load(tiny)
    lora = trained(parts, method(dropout=0.5))
    calm = said(parts)
    assert torch.equal(said(parts), calm)
    lora.module.train()
    assert not torch.equal(said(parts), said(parts))


def test_names_for_stable_diffusion_3_are_pefts(load: Load, tiny_sd3: Path, tmp_path: Path) -> None:
    assert choose_format("sd3", None) == choose_format("sd3", "peft") == "peft"
    assert choose_format("sd", None) == "kohya"
    with pytest.raises(UsageError, match="leave format out, or set peft"):
        choose_format("sd3", "kohya")
    parts = load(tiny_sd3)
    lora = trained(parts, method())
    path = tmp_path / "it.safetensors"
    write_lora(path, lora, parts, "peft", "fp32", {})
    pytest.importorskip("peft")
    from diffusers import StableDiffusion3Pipeline

    pipe = StableDiffusion3Pipeline.from_pretrained(tiny_sd3, text_encoder_3=None, tokenizer_3=None)
    pipe.load_lora_weights(str(path))
    theirs = copy.copy(parts)
    for name in ("transformer", "text_encoder", "text_encoder_2"):
        object.__setattr__(theirs, name, getattr(pipe, name).eval())
    assert torch.allclose(said(theirs), said(parts), atol=2e-5)


def test_a_model_without_such_layers_is_refused(load: Load, tiny_sd3: Path) -> None:
    with pytest.raises(ModelError, match="no layers that are conv"):
        add_lora(load(tiny_sd3), method(targets=["conv"]), seed=0)
