"""Models of full size are read as published: on paper, without their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sdcreative.models.single_files.checkpoint import part_configs
from sdcreative.models.single_files.converting_sd3 import transformer_state
from sdcreative.models.single_files.converting_text import text_state
from sdcreative.models.single_files.converting_unet import unet_state
from sdcreative.models.single_files.converting_vae import vae_state
from sdcreative.models.single_files.families import family_config
from sdcreative.models.single_files.layouts import VAE, Layout
from sdcreative.models.single_files.reading import Outline
from sdcreative.models.single_files.recognising import recognise

FILE = Path("model.safetensors")
MILLIONS = {
    "xl": {"unet": 2567.46, "vae": 83.65, "text_encoder": 123.06, "text_encoder_2": 694.66},
    "x4": {"unet": 473.4, "vae": 55.33, "text_encoder": 340.39},
    "sd3": {
        "transformer": 2028.3,
        "vae": 83.82,
        "text_encoder": 123.65,
        "text_encoder_2": 694.66,
        "text_encoder_3": 4762.3,
    },
}
"""parameters, as published"""
TITLES = {
    "xl": "Stable Diffusion XL",
    "x4": "Stable Diffusion x4 upscaler",
    "sd3": "Stable Diffusion 3",
}


def build(part: str, config: dict[str, Any]) -> Any:
    import diffusers
    import transformers

    if "_class_name" in config:
        return getattr(diffusers, config["_class_name"]).from_config(config)
    kind: Any = getattr(transformers, config["architectures"][0])
    return kind(kind.config_class.from_dict(config))


def state_of(layout: Layout, part: str, tensors: Any, config: dict[str, Any], module: Any) -> Any:
    if part == "unet":
        return unet_state(tensors, config, ema=False, path=FILE)
    if part == "transformer":
        own = {name: one for name, one in tensors.items() if name.startswith("model.")}
        return transformer_state(own, config["num_layers"])
    if part == "vae":
        return vae_state(tensors, VAE, config)
    return text_state(tensors, layout.texts[part], config, part, module)


@pytest.mark.parametrize("folder", MILLIONS)
def test_full_size_is_as_published(folder: str, originals: Any) -> None:
    published = {part: family_config(folder, part) for part in MILLIONS[folder]}
    with torch.device("meta"):
        modules = {part: build(part, config) for part, config in published.items()}
        for part, module in modules.items():
            count = sum(one.numel() for one in module.parameters()) / 1e6
            assert count == pytest.approx(MILLIONS[folder][part], rel=2e-4), part
        tensors = originals(folder, modules)
    shapes = {name: tuple(one.shape) for name, one in tensors.items()}
    outline = Outline(shapes, {})
    found = recognise(outline, FILE)
    assert found.title == TITLES[folder]
    configs = part_configs(found, outline, ("tokenizer_3",))
    assert configs.keys() == published.keys()
    for part, config in configs.items():
        ours = {
            k: v for k, v in config.items() if (folder, part, k) != ("x4", "vae", "sample_size")
        }
        assert ours.items() <= published[part].items(), part
        state = state_of(found.layout, part, tensors, config, modules[part])
        expected = {
            name.removeprefix("text_model."): one.shape
            for name, one in modules[part].state_dict().items()
            if name != "encoder.embed_tokens.weight"
        }
        given = {name.removeprefix("text_model."): one.shape for name, one in state.items()}
        assert given == expected, part


@pytest.mark.parametrize(
    ("title", "shape", "millions"),
    [
        (
            "Stable Diffusion 3.5 medium",
            {"pos_embed_max_size": 384, "dual_attention_layers": list(range(13))},
            2243.2,
        ),
        (
            "Stable Diffusion 3.5 large",
            {"num_layers": 38, "num_attention_heads": 38, "caption_projection_dim": 2432},
            8056.6,
        ),
    ],
)
def test_versions_3_5_are_told_by_their_shapes_alone(
    title: str, shape: dict[str, Any], millions: float, originals: Any
) -> None:
    config = family_config("sd3", "transformer") | {"qk_norm": "rms_norm"} | shape
    with torch.device("meta"):
        module = build("transformer", config)
        tensors = originals("sd3", {"transformer": module})
    count = sum(one.numel() for one in module.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=2e-4)
    outline = Outline({name: tuple(one.shape) for name, one in tensors.items()}, {})
    given = ("vae", "text_encoder", "text_encoder_2")
    found = recognise(outline, FILE, given=given)
    assert found.title == title
    assert part_configs(found, outline, given)["transformer"] == config
    state = state_of(found.layout, "transformer", tensors, config, module)
    expected = {name: one.shape for name, one in module.state_dict().items()}
    assert {name: one.shape for name, one in state.items()} == expected


def test_the_upscaler_is_built_as_its_makers_say() -> None:
    """By the parameters of x4-upscaling.yaml."""
    from diffusers.loaders import single_file_utils as theirs

    unet = {
        "in_channels": 7,
        "out_channels": 4,
        "model_channels": 256,
        "attention_resolutions": [2, 4, 8],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 2, 4],
        "disable_self_attentions": [True, True, True, False],
        "transformer_depth": 1,
        "context_dim": 1024,
        "num_heads": 8,
        "num_classes": 1000,
        "use_linear_in_transformer": True,
    }
    first = {"params": {"ddconfig": {"ch_mult": [1, 2, 4]}}}
    params = {"unet_config": {"params": unet}, "first_stage_config": first}
    built = theirs.create_unet_diffusers_config_from_ldm({"model": {"params": params}}, {}, 512)
    ours = family_config("x4", "unet")
    for key, value in built.items():
        if value is not None:
            assert ours[key] == (list(value) if isinstance(value, tuple) else value), key
