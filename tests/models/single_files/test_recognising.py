"""Families are told by names and shapes; those of full size are built as diffusers has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sdcreative.errors import ModelError
from sdcreative.models.single_files.checkpoint import part_configs
from sdcreative.models.single_files.converting import text_state, unet_state, vae_state
from sdcreative.models.single_files.families import family_config
from sdcreative.models.single_files.reading import Outline
from sdcreative.models.single_files.recognising import Recognised, recognise

FILE = Path("model.safetensors")
U = "model.diffusion_model."
Shapes = dict[str, tuple[int, ...]]

V1: Shapes = {
    f"{U}input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
}
V2: Shapes = {
    f"{U}input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "cond_stage_model.model.token_embedding.weight": (49408, 1024),
}
SDXL: Shapes = {
    f"{U}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{U}label_emb.0.0.weight": (1280, 2816),
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
    "conditioner.embedders.1.model.transformer.resblocks.0.ln_1.weight": (1280,),
}


def channels(shapes: Shapes, count: int) -> Shapes:
    return shapes | {f"{U}input_blocks.0.0.weight": (320, count, 3, 3)}


def outline(shapes: Shapes, steps: int | None = None, **notes: str) -> Outline:
    return Outline(shapes, {f"modelspec.{key}": value for key, value in notes.items()}, steps)


def test_families_that_run() -> None:
    sd1 = Recognised("v1", "Stable Diffusion 1", False, "epsilon", True, False)
    assert recognise(outline(V1), FILE) == sd1
    sd2 = Recognised("v2", "Stable Diffusion 2", False, "v_prediction", False, False)
    assert recognise(outline(V2), FILE) == sd2
    for shapes, number in ((V1, 1), (V2, 2)):
        found = recognise(outline(channels(shapes, 9)), FILE)
        title = f"Stable Diffusion {number} inpainting"
        assert found == Recognised(f"v{number}", title, True, "epsilon", True, False)
        assert found.sample_size == 64
    averaged = V1 | {"model_ema.diffusion_modelout2bias": (4,)}
    assert recognise(outline(averaged), FILE).ema
    assert not recognise(outline(V1 | {"model_ema.decay": ()}), FILE).ema


@pytest.mark.parametrize(
    ("shapes", "steps", "notes", "setting", "prediction", "sure", "size"),
    [
        (V2, None, {}, None, "v_prediction", False, 96),
        (V2, 875_000, {}, None, "epsilon", True, 64),
        (V2, 140_000, {}, None, "v_prediction", False, 96),
        (V2, None, {"prediction_type": "epsilon"}, None, "epsilon", True, 64),
        (V2, None, {"prediction_type": "v"}, None, "v_prediction", True, 96),
        (V2 | {"v_pred": ()}, 875_000, {}, None, "v_prediction", True, 96),
        (V2, 875_000, {}, "v_prediction", "v_prediction", True, 96),
        (V2, None, {"prediction_type": "v"}, "epsilon", "epsilon", True, 64),
        (V1, None, {"prediction_type": "v"}, None, "v_prediction", True, 64),
        (V1, None, {}, "v_prediction", "v_prediction", True, 64),
    ],
)  # fmt: skip
def test_what_is_predicted_is_a_setting_then_a_note_then_custom(
    shapes: Shapes, steps: int | None, notes: dict[str, str], setting: str | None,
    prediction: str, sure: bool, size: int,
) -> None:  # fmt: skip
    found = recognise(outline(shapes, steps, **notes), FILE, setting)
    assert (found.prediction_type, found.sure, found.sample_size) == (prediction, sure, size)


OTHERS: dict[str, Shapes] = {
    "is SDXL, which is not supported yet": SDXL,
    "is SDXL inpainting, which": channels(SDXL, 9),
    "is SDXL instruct-pix2pix, which": channels(SDXL, 8),
    "is SDXL refiner, which": {
        f"{U}input_blocks.0.0.weight": (384, 4, 3, 3),
        f"{U}label_emb.0.0.weight": (1536, 2560),
        "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight": (1280,),
    },
    "is Stable Diffusion 2 unCLIP": V2 | {f"{U}label_emb.0.0.weight": (1280, 2048)},
    "is a depth model": channels(V2, 5),
    "is an upscaler": channels(V2, 7) | {f"{U}label_emb.weight": (1000, 1024)},
    "is InstructPix2Pix": channels(V1, 8),
    "is a U-Net of 6 input channels, where 4 are expected": channels(V1, 6),
    "is Stable Video Diffusion": V1 | {f"{U}input_blocks.1.0.time_stack.in_layers.0.weight": (1,)},
    "is a ControlNet with a model": V1 | {"control_model.time_embed.0.weight": (1280, 320)},
    "is a ControlNet, not a model": {"control_model.time_embed.0.weight": (1280, 320)},
    "is Stable Diffusion 3": {f"{U}joint_blocks.0.context_block.mlp.fc1.bias": (6144,)},
    r"is Flux\.1": {"double_blocks.0.img_attn.norm.key_norm.scale": (128,)},
    r"is Flux\.1, ": {f"{U}double_blocks.0.img_attn.norm.key_norm.scale": (128,)},
    r"is Flux\.2": {f"{U}single_stream_modulation.lin.weight": (1, 1)},
    "is Chroma": {f"{U}distilled_guidance_layer.in_proj.bias": (1,)},
    "is AuraFlow": {"double_layers.0.attn.w2q.weight": (1, 1)},
    "is HunyuanVideo": {"txt_in.individual_token_refiner.blocks.0.mlp.fc1.bias": (1,)},
    "is Stable Cascade": {"clip_txt_mapper.weight": (2048, 1280)},
    "is a video model": {f"{U}patchify_proj.weight": (2048, 128)},
    "is a LoRA, not a model": {"lora_unet_mid_block.lora_down.weight": (4, 320)},
    "is an embedding of textual inversion": {"emb_params": (2, 768)},
    "is a motion module": {"down_blocks.0.motion_modules.0.temporal_transformer.norm.bias": (1,)},
    "is an autoencoder": {"encoder.down.0.block.0.conv1.weight": (128, 128, 3, 3)},
    "is a text encoder alone": {"text_model.encoder.layers.0.layer_norm1.bias": (768,)},
    "is a U-Net alone in the names of diffusers": {
        "down_blocks.0.resnets.0.time_emb_proj.bias": (320,)
    },
    r"is no model that is known \(2 tensors, such as a, b\)": {"a": (1,), "b": (2,)},
    "is a model of an unknown family": {f"{U}something.weight": (1,)},
    "holds no text encoder": {k: v for k, v in V1.items() if "cond_stage" not in k},
    "holds no autoencoder": {k: v for k, v in V2.items() if "first_stage" not in k},
}


@pytest.mark.parametrize("message", OTHERS)
def test_other_files_are_named_and_refused(message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        recognise(outline(OTHERS[message]), FILE)
    assert str(caught.value).startswith("model.safetensors ")
    assert "\n" not in str(caught.value)


def original_config(version: int, inpainting: bool) -> dict[str, Any]:
    """The parameters of v1-inference.yaml and v2-inference.yaml that say what is built."""
    unet: dict[str, Any] = {
        "in_channels": 9 if inpainting else 4,
        "out_channels": 4,
        "model_channels": 320,
        "attention_resolutions": [4, 2, 1],
        "num_res_blocks": 2,
        "channel_mult": [1, 2, 4, 4],
        "transformer_depth": 1,
        "context_dim": 768 if version == 1 else 1024,
    }
    unet |= (
        {"num_heads": 8}
        if version == 1
        else {"num_head_channels": 64, "use_linear_in_transformer": True}
    )
    vae = {
        "double_z": True,
        "z_channels": 4,
        "resolution": 256,
        "in_channels": 3,
        "out_ch": 3,
        "ch": 128,
        "ch_mult": [1, 2, 4, 4],
        "num_res_blocks": 2,
        "attn_resolutions": [],
    }
    return {
        "model": {
            "params": {
                "scale_factor": 0.18215,
                "unet_config": {"params": unet},
                "first_stage_config": {"params": {"ddconfig": vae}},
            }
        }
    }


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("inpainting", [False, True])
def test_full_size_is_built_as_diffusers_builds_it(
    version: int, inpainting: bool, layout: Any
) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from diffusers.loaders import single_file_utils as theirs
    from transformers import CLIPTextConfig, CLIPTextModel

    original = original_config(version, inpainting)
    size = 768 if version == 2 and not inpainting else 512
    unet_shape = theirs.create_unet_diffusers_config_from_ldm(original, {}, size)
    vae_shape = theirs.create_vae_diffusers_config_from_ldm(original, {}, size)
    text = {
        "vocab_size": 49408,
        "max_position_embeddings": 77,
        "hidden_size": 768 if version == 1 else 1024,
        "intermediate_size": 3072 if version == 1 else 4096,
        "num_hidden_layers": 12 if version == 1 else 23,
        "num_attention_heads": 12 if version == 1 else 16,
        "hidden_act": "quick_gelu" if version == 1 else "gelu",
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**unet_shape)
        vae = AutoencoderKL(**vae_shape)
        encoder: Any = CLIPTextModel(CLIPTextConfig(**text))
        tensors = layout(unet, vae, encoder, version)
    millions = sum(one.numel() for one in unet.parameters()) / 1e6
    assert millions == pytest.approx({1: 859.5, 2: 865.9}[version], abs=0.1)

    shapes = {name: tuple(one.shape) for name, one in tensors.items()}
    found = recognise(outline(shapes), FILE)
    assert found.title == f"Stable Diffusion {version}{' inpainting' if inpainting else ''}"
    configs = part_configs(found, outline(shapes))
    for part, built in (("unet", unet_shape), ("vae", vae_shape), ("text_encoder", text)):
        ours = configs[part]
        for key, value in built.items():
            if value is not None:
                assert ours[key] == (list(value) if isinstance(value, tuple) else value), key
    published = family_config(f"v{version}", "unet") | {"in_channels": 9 if inpainting else 4}
    assert configs["unet"] == published | {"sample_size": size // 8}
    assert configs["vae"] == family_config(f"v{version}", "vae") | {"sample_size": size}
    assert configs["text_encoder"] == family_config(f"v{version}", "text_encoder")

    for module, state in (
        (unet, unet_state(tensors, configs["unet"], ema=False, path=FILE)),
        (vae, vae_state(tensors, configs["vae"])),
        (encoder, text_state(tensors, encoder)),
    ):
        expected = {key.removeprefix("text_model."): one.shape
                    for key, one in module.state_dict().items()}  # fmt: skip
        given = {key.removeprefix("text_model."): one.shape
                 for key, one in state.items() if "position_ids" not in key}  # fmt: skip
        assert given == expected


def test_a_text_encoder_without_its_unused_layer(layout: Any) -> None:
    """As the converters of diffusers write Stable Diffusion 2."""
    from sdcreative.models.single_files.shapes import used_layers

    block = "cond_stage_model.model.transformer.resblocks.{}.mlp.c_fc.weight"
    norm: Shapes = {"cond_stage_model.model.ln_final.weight": (1024,)}
    assert used_layers(norm | {block.format(n): (4096, 1024) for n in range(24)}) == 23
    assert used_layers(norm | {block.format(n): (4096, 1024) for n in range(23)}) == 23


def test_levels_unlike_each_other_and_missing_tensors_are_refused(v1: Any) -> None:
    shapes = {name: tuple(one.shape) for name, one in v1.tensors.items()}
    found = recognise(outline(shapes), FILE)
    for gone, message in (
        (f"{U}input_blocks.1.0.out_layers.3.weight", "is missing, such as model.*out_layers"),
        (f"{U}out.2.weight", r"is missing, such as model.diffusion_model.out.2.weight"),
        ("first_stage_model.post_quant_conv.weight", "is missing, such as first_stage_model"),
        ("first_stage_model.encoder.down.0.block.0.conv1.weight", "the autoencoder lacks"),
        (f"{U}input_blocks.2.1.transformer_blocks.0.norm1.weight", "are unlike each other"),
    ):
        without = {name: shape for name, shape in shapes.items() if name != gone}
        with pytest.raises(ModelError, match=message):
            part_configs(found, outline(without))
    without = {name: shape for name, shape in shapes.items() if "attn2" not in name}
    with pytest.raises(ModelError, match="does not attend to a text"):
        part_configs(found, outline(without))
    with pytest.raises(ModelError, match=r"out.2.weight has the shape \[4, 0\], which no such"):
        part_configs(found, outline(shapes | {f"{U}out.2.weight": (4, 0)}))
