"""Whatever a file of SDXL or SD 3 may lack or hold, one line says what is wrong with it."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sdcreative.errors import ModelError
from sdcreative.models.loading import load_parts
from sdcreative.models.places import ModelPlace
from sdcreative.models.single_files import checkpoint, lone
from sdcreative.models.single_files.checkpoint import SingleFile
from sdcreative.models.single_files.lone import read_text_encoder, read_vae
from sdcreative.models.single_files.reading import Opened, Outline

CPU = torch.device("cpu")
U = "model.diffusion_model."
V = "first_stage_model."
L, G = "conditioner.embedders.0.transformer.", "conditioner.embedders.1.model."
J = f"{U}joint_blocks.1."
Tensors = dict[str, torch.Tensor]


def less(*names: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name: one for name, one in tensors.items() if name not in names}


def other(name: str, *shape: int) -> Callable[[Tensors], Tensors]:
    return lambda tensors: tensors | {name: torch.zeros(shape)}


XL_FAULTS: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "what it is told": (
        less(f"{U}label_emb.0.2.bias"),
        r"is Stable Diffusion XL, but broken: 1 tensor .* such as model.diffusion_model.label_emb",
    ),
    "a level": (
        less(f"{U}input_blocks.3.1.transformer_blocks.0.norm1.weight"),
        r"weights of unet do not fit Stable Diffusion XL: \d+ unexpected|unlike",
    ),
    "a weight of the second text encoder": (
        less(f"{G}transformer.resblocks.3.attn.in_proj_bias"),
        r"weights of text_encoder_2 do not fit Stable Diffusion XL: 3 missing \(text_model",
    ),
    "the projection": (
        less(f"{G}text_projection"),
        "but broken: 1 tensor or more is missing, such as conditioner.embedders.1.*_projection",
    ),
    "a weight of the first text encoder": (
        less(f"{L}text_model.final_layer_norm.bias"),
        r"weights of text_encoder do not fit Stable Diffusion XL: 1 missing \(final_layer_norm.b",
    ),
    "rows that are no three": (
        other(f"{G}transformer.resblocks.3.attn.in_proj_bias", 385),
        r"weights of text_encoder_2 .*3 missing .* and 1 unexpected \(transformer.resblocks",
    ),
    "a projection of one axis": (
        other(f"{G}text_projection", 64),
        r"text_projection has the shape \[64\], which no such model has",
    ),
    "other sizes": (
        other(f"{U}label_emb.0.0.weight", 128, 77),
        "asks for other numbers beside the prompt",
    ),
    "NaN": (
        lambda t: t | {f"{G}ln_final.bias": torch.full((128,), float("nan"))},
        "weights of text_encoder_2 hold NaN or infinity",
    ),
}
SD3_FAULTS: dict[str, tuple[Callable[[Tensors], Tensors], str]] = {
    "a block": (
        less(f"{J}x_block.attn.qkv.weight"),
        r"weights of transformer do not fit Stable Diffusion 3.5 medium: \d+ unexpected",
    ),
    "a norm": (
        less(f"{J}context_block.attn.ln_k.weight"),
        r"transformer .* 1 missing \(transformer_blocks.1.attn.norm_added_k.weight\)",
    ),
    "places": (
        other(f"{U}pos_embed", 1, 143, 128),
        "3.5 medium, but broken: .*pos_embed, x_embedder and final_layer do not fit",
    ),
    "no places": (less(f"{U}pos_embed"), "1 tensor or more is missing, such as .*pos_embed"),
    "rows that are no three": (
        other(f"{J}x_block.attn.qkv.bias", 385),
        r"3 missing \(transformer_blocks.1.attn.to_q.bias, .* and 1 unexpected \(joint_blocks",
    ),
    "what is not known": (
        other(f"{J}x_block.attn3.qkv.bias", 384),
        r"1 unexpected \(joint_blocks.1.x_block.attn3.qkv.bias\)",
    ),
    "autoencoder of four channels": (
        lambda t: t | {f"{V}decoder.conv_in.weight": torch.zeros(64, 4, 3, 3)},
        "the transformer takes 16 and gives 16 channels, the vae has 4",
    ),
    "half of an autoencoder": (
        other(f"{V}quant_conv.weight", 32, 32, 1, 1),
        "but broken: 1 tensor or more is missing, such as first_stage_model.post_quant_conv",
    ),
}


@pytest.mark.parametrize("fault", XL_FAULTS)
def test_every_fault_of_an_sdxl_file_has_its_line(xl: Any, fault: str, tmp_path: Path) -> None:
    refused(xl, *XL_FAULTS[fault], tmp_path)


@pytest.mark.parametrize("fault", SD3_FAULTS)
def test_every_fault_of_an_sd3_file_has_its_line(sd3s: Any, fault: str, tmp_path: Path) -> None:
    refused(sd3s("Stable Diffusion 3.5 medium"), *SD3_FAULTS[fault], tmp_path)


def refused(twins: Any, damage: Callable[[Tensors], Tensors], message: str, folder: Path) -> None:
    path = twins.write(folder / "model.safetensors", damage(twins.tensors))
    with pytest.raises(ModelError, match=message) as caught:
        load_parts(path, device=CPU, dtype=torch.float32)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 450


def mutated(tensors: Tensors, draw: random.Random) -> Tensors:
    """Tensors without data, a few of them missing, renamed or of other shapes."""
    found = dict(tensors)
    for _ in range(draw.choice([1, 1, 2, 5, 40])):
        name = draw.choice(list(found))
        shape = list(found[name].shape)
        way = draw.randrange(5)
        if way == 0 and len(found) > 1:
            del found[name]
        elif way == 1:
            start = name[: draw.randrange(len(name)) + 1]
            found = {one: t for one, t in found.items() if not one.startswith(start)} or found
        elif way == 2:
            found[name.replace(".", draw.choice([".", "", ".9", "..", "_"]), 5)] = found[name]
        elif way == 3 and shape:
            shape[draw.randrange(len(shape))] = draw.choice([0, 1, 2, 7, 385, 10**6])
            found[name] = torch.empty(shape, device="meta")
        else:
            shape = draw.choice([[], [1], [3], [2, 2], [0, 4], [1, 2, 3, 4, 5]])
            found[name] = torch.empty(shape, device="meta")
    return found


@pytest.mark.parametrize(
    "twins", ["xl", "Stable Diffusion 3", "Stable Diffusion 3.5 medium"], indirect=True
)
def test_mutations_of_names_and_shapes_raise_our_errors_alone(
    twins: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw = random.Random(7)
    whole = {name: torch.empty(one.shape, device="meta") for name, one in twins.tensors.items()}
    held: list[Tensors] = [whole]

    def outline(path: Path) -> Outline:
        return Outline({name: tuple(one.shape) for name, one in held[0].items()}, {})

    def opened(path: Path, what: str = "") -> Opened:
        return Opened(held[0], lambda: None)

    for module in (checkpoint, lone):
        monkeypatch.setattr(module, "read_outline", outline)
        monkeypatch.setattr(module, "open_tensors", opened)
    refused, read = 0, 0
    place = ModelPlace(tmp_path / "model.safetensors", swaps=(("tokenizer_3", tmp_path),))
    for _ in range(200):
        held[0] = mutated(whole, draw)
        try:
            file = SingleFile(replace(place, swaps=place.swaps if draw.random() < 0.5 else ()))
            for name in file.configs:
                file.weights(name, twins.modules[name])
            configs = file.configs
            for part in (
                read_vae(place.path, configs["vae"]),
                read_text_encoder(place.path, "text_encoder", configs["text_encoder"]),
            ):
                part.weights(twins.modules[part.part])
            read += 1
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 2000
    assert refused > 60
    assert read > 25
