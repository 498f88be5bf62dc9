"""The original layout is that of the published files, and what diffusers' own reader takes."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from sdcreative.models.places import ModelPlace
from sdcreative.models.single_files.families import family_config
from sdcreative.models.writing.conversion import plan_conversion
from sdcreative.models.writing.names_text import open_clip_names, with_unused_layer
from sdcreative.models.writing.names_unet import unet_names
from sdcreative.models.writing.names_vae import vae_names
from sdcreative.models.writing.pieces import NoNameError, Piece, plan

PIPELINES = {
    "v1": "StableDiffusionPipeline",
    "xl": "StableDiffusionXLPipeline",
    "sd3": "StableDiffusion3Pipeline",
}


@pytest.mark.parametrize("family", PIPELINES)
def test_diffusers_reads_what_is_written(
    family: str, folders: Callable[[str], Path], tmp_path: Path
) -> None:
    import diffusers

    folder, path = folders(family), tmp_path / "model.safetensors"
    plan_conversion(ModelPlace(folder), to_file=True).write(path)
    absent = {
        "v1": ["safety_checker", "tokenizer"],
        "xl": ["tokenizer", "tokenizer_2"],
        "sd3": ["tokenizer", "tokenizer_2", "text_encoder_3", "tokenizer_3"],
    }[family]
    theirs = getattr(diffusers, PIPELINES[family]).from_single_file(
        str(path), config=str(folder), local_files_only=True, **dict.fromkeys(absent)
    )
    files = sorted(folder.glob("*/*.safetensors"))
    assert len(files) == {"v1": 3, "xl": 4, "sd3": 4}[family]
    for file in files:
        expected = load_file(file)
        found = getattr(theirs, file.parent.name).state_dict()
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], one) for name, one in expected.items())


def full_size(family: str, part: str) -> Any:
    from diffusers import AutoencoderKL, UNet2DConditionModel

    kind: Any = UNet2DConditionModel if part == "unet" else AutoencoderKL
    with torch.device("meta"):
        return kind.from_config(family_config(family, part))


@pytest.mark.parametrize(
    ("family", "tensors", "some"),
    [
        ("v1", 686, "output_blocks.11.0.skip_connection.weight [320, 640, 1, 1]"),
        ("v1", 686, "output_blocks.8.2.conv.weight [640, 640, 3, 3]"),
        ("v2", 686, "input_blocks.2.1.transformer_blocks.0.attn2.to_k.weight [320, 1024]"),
        ("xl", 1680, "middle_block.1.transformer_blocks.9.norm3.bias [1280]"),
        ("xl", 1680, "label_emb.0.0.weight [1280, 2816]"),
        ("xl", 1680, "output_blocks.2.2.conv.weight [1280, 1280, 3, 3]"),
    ],
)
def test_a_unet_of_full_size_has_the_published_names(family: str, tensors: int, some: str) -> None:
    unet = full_size(family, "unet")
    found = plan(unet.state_dict(), unet_names(unet.config))
    assert len(found) == tensors
    assert some in {f"{one.name} {list(one.shape)}" for one in found}


def test_an_autoencoder_of_full_size_has_the_published_names() -> None:
    vae = full_size("v1", "vae")
    found = {one.name: one.shape for one in plan(vae.state_dict(), vae_names(vae.config))}
    assert len(found) == 248
    assert found["decoder.mid.attn_1.proj_out.weight"] == (512, 512, 1, 1)
    assert found["decoder.up.3.upsample.conv.weight"] == (512, 512, 3, 3)
    assert found["decoder.up.0.block.0.nin_shortcut.weight"] == (128, 256, 1, 1)
    assert found["encoder.down.2.downsample.conv.bias"] == (512,)
    assert found["encoder.norm_out.weight"] == (512,)


def test_the_layer_that_version_2_leaves_out_is_a_copy_of_the_last() -> None:
    name = "text_model.encoder.layers.22.self_attn.k_proj.bias"
    first, second = with_unused_layer(open_clip_names(name), 23)
    assert first == Piece("transformer.resblocks.22.attn.in_proj_bias", 1)
    assert second == Piece("transformer.resblocks.23.attn.in_proj_bias", 1)
    assert len(with_unused_layer(open_clip_names(name), 24)) == 1


@pytest.mark.parametrize(
    ("change", "shape", "expected"),
    [
        ("convolution", (4, 3), (4, 3, 1, 1)),
        ("transposed", (4, 3), (3, 4)),
        ("halves swapped", (4, 3), (4, 3)),
    ],
)
def test_what_becomes_of_a_tensor(
    change: Any, shape: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    tensor = torch.arange(12.0).reshape(shape)
    [made] = plan({"a": tensor}, lambda name: (Piece("b", change=change),))
    assert made.shape == tuple(made.make().shape) == expected
    rows = made.make().flatten(1) if change != "transposed" else made.make().T
    assert torch.equal(rows, tensor.roll(2, 0) if change == "halves swapped" else tensor)


def test_a_tensor_of_another_build_has_no_name() -> None:
    unet = full_size("v1", "unet")
    for name in ("encoder_hid_proj.weight", "down_blocks.0.resnets.0.norm9.bias"):
        with pytest.raises(NoNameError, match=re.escape(name.rpartition("resnets.0.")[2])):
            unet_names(unet.config)(name)
    uneven = dict(unet.config) | {"layers_per_block": [1, 2, 2, 2]}
    with pytest.raises(NoNameError):
        unet_names(uneven)("down_blocks.0.resnets.0.norm1.bias")
