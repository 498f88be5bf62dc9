"""LyCORIS' forms against formulas written out element by element."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdcreative.errors import ModelError
from sdcreative.models.addons.lora_applying import apply_loras
from sdcreative.models.addons.lora_reading import read_lora
from sdcreative.models.loading import Parts

LINEAR = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
CONVOLUTION = "mid_block.resnets.0.conv1"
NORM = "mid_block.attentions.0.transformer_blocks.0.norm1"
SIDE = 64


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))) * 0.3


def merged(
    parts: Parts, folder: Path, module: str, tensors: Mapping[str, torch.Tensor], scale: float = 1.0
) -> torch.Tensor:
    """What is added to a module's weight."""
    name = "lora_unet_" + module.replace(".", "_")
    path = folder / "form.safetensors"
    save_file({f"{name}.{key}": tensor for key, tensor in tensors.items()}, path)
    weight = parts.unet.get_submodule(module).weight
    before = weight.clone()
    with apply_loras(parts, [(read_lora(path, parts), scale)]):
        return (weight - before).clone()


def near(ours: torch.Tensor, expected: torch.Tensor) -> bool:
    assert expected.abs().max() > 1e-2
    return torch.allclose(ours, expected.reshape(ours.shape), atol=1e-5)


def test_locon_with_a_core(parts: Parts, tmp_path: Path) -> None:
    down, up, mid = numbers(4, SIDE, 1, 1), numbers(SIDE, 3, 1, 1), numbers(3, 4, 3, 3)
    tensors = {"lora_down.weight": down, "lora_up.weight": up, "lora_mid.weight": mid}
    ours = merged(parts, tmp_path, CONVOLUTION, tensors | {"alpha": torch.tensor(2.0)})
    # A convolution 1x1, one 3x3 and one 1x1 after each other are one 3x3.
    picture = numbers(1, SIDE, 7, 5)
    steps = torch.conv2d(torch.conv2d(torch.conv2d(picture, down), mid, padding=1), up)
    assert torch.allclose(torch.conv2d(picture, ours, padding=1), steps * 2 / 4, atol=1e-4)


def test_locon_without_one(parts: Parts, tmp_path: Path) -> None:
    down, up = numbers(4, SIDE, 3, 3), numbers(SIDE, 4, 1, 1)
    tensors = {"lora_down.weight": down, "lora_up.weight": up}
    ours = merged(parts, tmp_path, CONVOLUTION, tensors)
    picture = numbers(1, SIDE, 7, 5)
    steps = torch.conv2d(torch.conv2d(picture, down, padding=1), up)
    assert torch.allclose(torch.conv2d(picture, ours, padding=1), steps, atol=1e-4)


def test_loha(parts: Parts, tmp_path: Path) -> None:
    a, c = numbers(SIDE, 2), numbers(SIDE, 2, seed=1)
    b, d = numbers(2, SIDE), numbers(2, SIDE, seed=1)
    tensors = {"hada_w1_a": a, "hada_w1_b": b, "hada_w2_a": c, "hada_w2_b": d}
    ours = merged(parts, tmp_path, LINEAR, tensors | {"alpha": torch.tensor(1.0)})
    assert near(ours, (a @ b) * (c @ d) / 2)


def test_loha_of_a_convolution_with_cores(parts: Parts, tmp_path: Path) -> None:
    halves, products = {}, []
    for half in (1, 2):
        a, b = numbers(2, SIDE, seed=half), numbers(2, SIDE, seed=half + 2)
        core = numbers(2, 2, 3, 3, seed=half)
        halves |= {f"hada_w{half}_a": a, f"hada_w{half}_b": b, f"hada_t{half}": core}
        products.append(
            sum(
                a[i][:, None, None, None] * b[j][None, :, None, None] * core[i, j][None, None]
                for i in range(2)
                for j in range(2)
            )
        )
    ours = merged(parts, tmp_path, CONVOLUTION, halves | {"alpha": torch.tensor(2.0)})
    assert near(ours, products[0] * products[1])


@pytest.mark.parametrize("low", [(), ("w1",), ("w2",), ("w1", "w2")])
def test_lokr(parts: Parts, tmp_path: Path, low: tuple[str, ...]) -> None:
    tensors, whole = {}, {}
    for which, side in (("w1", 4), ("w2", 16)):
        if which in low:
            a, b = numbers(side, 2), numbers(2, side)
            tensors |= {f"lokr_{which}_a": a, f"lokr_{which}_b": b}
            whole[which] = a @ b
        else:
            tensors[f"lokr_{which}"] = whole[which] = numbers(side, side)
    # Of two whole matrices, alpha says nothing.
    scale = 1 / 2 if low else 1
    ours = merged(parts, tmp_path, LINEAR, tensors | {"alpha": torch.tensor(1.0)})
    expected = torch.empty(SIDE, SIDE)
    for row in range(SIDE):
        for column in range(SIDE):
            outer = whole["w1"][row // 16, column // 16]
            expected[row, column] = outer * whole["w2"][row % 16, column % 16] * scale
    assert near(ours, expected)


@pytest.mark.parametrize("core", [False, True])
def test_lokr_of_a_convolution(parts: Parts, tmp_path: Path, core: bool) -> None:
    outer = numbers(4, 4)
    if core:
        a, b, t = numbers(2, 16), numbers(2, 16, seed=1), numbers(2, 2, 3, 3)
        low = {"lokr_w2_a": a, "lokr_w2_b": b, "lokr_t2": t}
        inner = torch.einsum("io,jn,ijhw->onhw", a, b, t)
    else:
        a, b = numbers(16, 2), numbers(2, 16 * 9)
        low = {"lokr_w2_a": a, "lokr_w2_b": b}
        inner = (a @ b).reshape(16, 16, 3, 3)
    ours = merged(parts, tmp_path, CONVOLUTION, {"lokr_w1": outer} | low)
    expected = torch.empty(SIDE, SIDE, 3, 3)
    for row in range(4):
        for column in range(4):
            block = slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16)
            expected[block] = outer[row, column] * inner
    assert near(ours, expected)


@pytest.mark.parametrize("on_input", [False, True])
def test_ia3(parts: Parts, tmp_path: Path, on_input: bool) -> None:
    weight, factors = parts.unet.get_submodule(LINEAR).weight.clone(), numbers(SIDE)
    tensors = {"weight": factors, "on_input": torch.tensor(int(on_input))}
    ours = merged(parts, tmp_path, LINEAR, tensors, 0.5)
    expected = weight * (factors[None] if on_input else factors[:, None]) * 0.5
    assert near(ours, expected)


def test_differences_of_weights_norms_and_biases(parts: Parts, tmp_path: Path) -> None:
    difference = numbers(SIDE, SIDE, 3, 3)
    assert near(merged(parts, tmp_path, CONVOLUTION, {"diff": difference}, 2.0), 2 * difference)
    norm, bias = parts.unet.get_submodule(NORM), numbers(SIDE)
    before = norm.weight.clone(), norm.bias.clone()
    name = "lora_unet_" + NORM.replace(".", "_")
    path = tmp_path / "norm.safetensors"
    save_file({f"{name}.w_norm": bias + 1, f"{name}.b_norm": bias}, path)
    with apply_loras(parts, [(read_lora(path, parts), 0.5)]):
        assert near(norm.weight - before[0], (bias + 1) / 2)
        assert near(norm.bias - before[1], bias / 2)
    assert torch.equal(norm.weight, before[0])
    assert torch.equal(norm.bias, before[1])


@pytest.mark.parametrize("axis", [0, 1])
def test_dora_gives_columns_or_rows_their_norms(parts: Parts, tmp_path: Path, axis: int) -> None:
    weight = parts.unet.get_submodule(LINEAR).weight.clone()
    down, up, norms = numbers(4, SIDE), numbers(SIDE, 4), numbers(SIDE).abs() + 0.5
    magnitude = norms[:, None] if axis == 0 else norms[None]
    tensors = {"lora_down.weight": down, "lora_up.weight": up, "dora_scale": magnitude}
    whole = merged(parts, tmp_path, LINEAR, tensors)
    assert torch.allclose((weight + whole).norm(dim=1 - axis), norms, atol=1e-5)
    cosines = torch.cosine_similarity(weight + whole, weight + up @ down, dim=1 - axis)
    assert torch.allclose(cosines, torch.ones(SIDE), atol=1e-5)
    # Half of it is half of the way there.
    assert near(merged(parts, tmp_path, LINEAR, tensors, 0.5), whole / 2)


def test_names_of_the_original_form_are_those_of_diffusers_modules(
    parts: Parts, tmp_path: Path
) -> None:
    path = tmp_path / "original.safetensors"
    places = {
        "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q": LINEAR,
        "lora_unet_middle_block_0_in_layers_2": CONVOLUTION,
        "lora_unet_input_blocks_3_1_transformer_blocks_0_attn1_to_q": (
            "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
        ),
        "lora_unet_input_blocks_2_0_op": "down_blocks.0.downsamplers.0.conv",
        "lora_unet_output_blocks_1_2_conv": "up_blocks.0.upsamplers.0.conv",
        "lora_unet_output_blocks_2_0_skip_connection": "up_blocks.1.resnets.0.conv_shortcut",
        "diffusion_model.time_embed.2": "time_embedding.linear_2",
    }
    table = {}
    for name, module in places.items():
        table[f"{name}.diff"] = torch.zeros(parts.unet.get_submodule(module).weight.shape)
    save_file(table, path)
    assert set(read_lora(path, parts).layers) == {("unet", module) for module in places.values()}


def test_forms_that_cannot_be_merged_are_named(parts: Parts, tmp_path: Path) -> None:
    name = "lora_unet_" + LINEAR.replace(".", "_")
    save_file({f"{name}.oft_blocks": numbers(4, 16, 16)}, tmp_path / "oft.safetensors")
    with pytest.raises(ModelError, match="of the form OFT, which cannot be merged here"):
        read_lora(tmp_path / "oft.safetensors", parts)


@pytest.mark.parametrize(
    "tensors",
    [
        {"lora_down.weight": numbers(4, SIDE)},
        {"lora_down.weight": numbers(SIDE), "lora_up.weight": numbers(SIDE, 4)},
        {"hada_w1_a": numbers(SIDE, 2), "hada_w1_b": numbers(2, SIDE)},
        {"lokr_w1": numbers(4, 4)},
        {"lokr_w1": numbers(4, 4), "lokr_w1_a": numbers(4, 2), "lokr_w2": numbers(16, 16)},
        {"dora_scale": numbers(SIDE, 1)},
        {"alpha": torch.tensor(1.0)},
    ],
    ids=lambda tensors: " ".join(tensors),
)
def test_incomplete_layers_are_named(
    parts: Parts, tmp_path: Path, tensors: Mapping[str, Any]
) -> None:
    with pytest.raises(ModelError, match=r"incomplete or unknown layer lora_unet_mid_block_.*to_q"):
        merged(parts, tmp_path, LINEAR, tensors)


def test_a_bundled_embedding_is_kept(
    parts: Parts, tmp_path: Path, kohya_keys: Callable[[tuple[str, str]], str]
) -> None:
    name, vectors = kohya_keys(("unet", LINEAR)), numbers(2, 32)
    table = {f"{name}.diff": numbers(SIDE, SIDE), "bundle_emb.<cat>.string_to_param.*": vectors}
    save_file(table, tmp_path / "pivotal.safetensors")
    lora = read_lora(tmp_path / "pivotal.safetensors", parts)
    assert list(lora.embeddings) == ["<cat>"]
    assert torch.equal(lora.embeddings["<cat>"], vectors)
