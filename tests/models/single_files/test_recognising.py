"""Families are told by names and shapes; those of full size are built as diffusers has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from sdcreative.errors import ModelError
from sdcreative.models.single_files.checkpoint import part_configs, scheduler_config
from sdcreative.models.single_files.converting_text import text_state
from sdcreative.models.single_files.converting_unet import unet_state
from sdcreative.models.single_files.converting_vae import vae_state
from sdcreative.models.single_files.families import family_config
from sdcreative.models.single_files.layouts import OPEN_CLIP, V1, V2, V3, VAE, X4, XL, Text
from sdcreative.models.single_files.reading import Outline
from sdcreative.models.single_files.recognising import Recognised, recognise

FILE = Path("model.safetensors")
U = "model.diffusion_model."
Shapes = dict[str, tuple[int, ...]]

SD1: Shapes = {
    f"{U}input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (49408, 768),
}
SD2: Shapes = {
    f"{U}input_blocks.0.0.weight": (320, 4, 3, 3),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "cond_stage_model.model.token_embedding.weight": (49408, 1024),
}
SDXL: Shapes = {
    f"{U}input_blocks.0.0.weight": (320, 4, 3, 3),
    f"{U}label_emb.0.0.weight": (1280, 2816),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "conditioner.embedders.0.transformer.text_model.final_layer_norm.weight": (768,),
    "conditioner.embedders.1.model.transformer.resblocks.0.ln_1.weight": (1280,),
}


SD3: Shapes = {
    f"{U}joint_blocks.0.x_block.attn.qkv.weight": (4608, 1536),
    "first_stage_model.encoder.conv_in.weight": (128, 3, 3, 3),
    "text_encoders.clip_l.transformer.text_model.final_layer_norm.weight": (768,),
    "text_encoders.clip_g.transformer.text_model.final_layer_norm.weight": (1280,),
}


def channels(shapes: Shapes, count: int) -> Shapes:
    return shapes | {f"{U}input_blocks.0.0.weight": (320, count, 3, 3)}


def outline(shapes: Shapes, steps: int | None = None, **notes: str) -> Outline:
    return Outline(shapes, {f"modelspec.{key}": value for key, value in notes.items()}, steps)


SD_PARTS = ("unet", "vae", "text_encoder")
XL_PARTS = (*SD_PARTS, "text_encoder_2")


def test_families_that_run() -> None:
    sd1 = Recognised(V1, "Stable Diffusion 1", False, "epsilon", True, False, SD_PARTS)
    assert recognise(outline(SD1), FILE) == sd1
    sd2 = Recognised(V2, "Stable Diffusion 2", False, "v_prediction", False, False, SD_PARTS)
    assert recognise(outline(SD2), FILE) == sd2
    xl = Recognised(XL, "Stable Diffusion XL", False, "epsilon", True, False, XL_PARTS)
    assert recognise(outline(SDXL), FILE) == xl
    kinds = ((SD1, V1, SD_PARTS), (SD2, V2, SD_PARTS), (SDXL, XL, XL_PARTS))
    for shapes, layout, parts in kinds:
        found = recognise(outline(channels(shapes, 9)), FILE)
        title = f"{layout.title} inpainting"
        assert found == Recognised(layout, title, True, "epsilon", True, False, parts)
        assert found.sample_size(8, 64) == 64
    upscaler = channels(SD2, 7) | {f"{U}label_emb.weight": (1000, 1024)}
    assert recognise(outline(upscaler), FILE) == Recognised(
        X4, "Stable Diffusion x4 upscaler", False, "v_prediction", True, False, SD_PARTS
    )
    averaged = SD1 | {"model_ema.diffusion_modelout2bias": (4,)}
    assert recognise(outline(averaged), FILE).ema
    assert not recognise(outline(SD1 | {"model_ema.decay": ()}), FILE).ema


def test_versions_of_stable_diffusion_3() -> None:
    norm = {f"{U}joint_blocks.0.x_block.attn.ln_q.weight": (64,)}
    dual = {f"{U}joint_blocks.0.x_block.attn2.qkv.weight": (4608, 1536)}
    t5 = {"text_encoders.t5xxl.transformer.shared.weight": (32128, 4096)}
    parts = ("transformer", "vae", "text_encoder", "text_encoder_2")
    for more, title in (
        ({}, "Stable Diffusion 3"),
        (norm, "Stable Diffusion 3.5 large"),
        (norm | dual, "Stable Diffusion 3.5 medium"),
    ):
        found = recognise(outline(SD3 | more), FILE)
        assert found == Recognised(V3, title, False, "flow", True, False, parts)
        assert recognise(outline(SD3 | more | t5), FILE).parts == (*parts, "text_encoder_3")
    with pytest.raises(ModelError, match=r"prediction_type: .* is Stable Diffusion 3, which pred"):
        recognise(outline(SD3), FILE, "epsilon")


@pytest.mark.parametrize(
    ("shapes", "lacks", "message"),
    [
        (SD1, "first_stage", r"is Stable Diffusion 1, but holds no autoencoder \(first_stage_mod"),
        (SDXL, "conditioner.embedders.1", r"no text encoder \(conditioner.embedders.1.model.…\)"),
        (SDXL, "conditioner", r"XL, but .*embedders.0.* and no .*swap in text_encoder and text_"),
        (SD3, "text_encoders", r"is Stable Diffusion 3, but holds no text encoder \(text_encoders"),
    ],
)  # fmt: skip
def test_parts_that_are_missing_may_come_from_elsewhere(
    shapes: Shapes, lacks: str, message: str
) -> None:
    part = {name: shape for name, shape in shapes.items() if not name.startswith(lacks)}
    with pytest.raises(ModelError, match=message):
        recognise(outline(part), FILE)
    given = ("vae", "text_encoder", "text_encoder_2")
    found = recognise(outline(part), FILE, given=given)
    assert found.layout is recognise(outline(shapes), FILE).layout
    assert set(found.parts) < {*given, "unet", "transformer"}


def test_which_version_a_unet_alone_is_of() -> None:
    block = f"{U}input_blocks.1.1.proj_in.weight"
    conv = {f"{U}input_blocks.0.0.weight": (320, 4, 3, 3)}
    given = ("vae", "text_encoder")
    for shape, layout in (((320, 320, 1, 1), V1), ((320, 320), V2)):
        assert recognise(outline(conv | {block: shape}), FILE, given=given).layout is layout


def test_marks_of_zero_terminal_snr_count_with_v_prediction() -> None:
    marks = {"v_pred": (), "ztsnr": ()}
    found = recognise(outline(SDXL | marks), FILE)
    assert (found.prediction_type, found.zero_snr, found.sure) == ("v_prediction", True, True)
    assert scheduler_config(found) == family_config("xl", "scheduler") | {
        "prediction_type": "v_prediction",
        "rescale_betas_zero_snr": True,
        "timestep_spacing": "trailing",
    }
    assert not recognise(outline(SDXL | marks), FILE, "epsilon").zero_snr
    assert not recognise(outline(SDXL | {"ztsnr": ()}), FILE).zero_snr
    assert not recognise(outline(SDXL | {"v_pred": ()}), FILE).zero_snr
    noted = Outline(SDXL, {"ss_zero_terminal_snr": "True", "modelspec.prediction_type": "v"})
    assert recognise(noted, FILE).zero_snr


@pytest.mark.parametrize(
    ("noted", "size"),
    [
        ("512x512", 64), ("1024x1024", 128), ("768x512", [64, 96]), (" 640 x 512 ", [64, 80]),
        ("1024", 128), ("", 128), ("99999x1", 128), ("0x0", 128), ("1x1x1", 128), ("٤x٤", 128),
    ],
)  # fmt: skip
def test_the_size_that_a_file_notes_is_its_own(noted: str, size: Any) -> None:
    found = recognise(outline(SDXL, resolution=noted), FILE)
    assert found.sample_size(8, 128) == size


@pytest.mark.parametrize(
    ("shapes", "steps", "notes", "setting", "prediction", "sure", "size"),
    [
        (SD2, None, {}, None, "v_prediction", False, 96),
        (SD2, 875_000, {}, None, "epsilon", True, 64),
        (SD2, 140_000, {}, None, "v_prediction", False, 96),
        (SD2, None, {"prediction_type": "epsilon"}, None, "epsilon", True, 64),
        (SD2, None, {"prediction_type": "v"}, None, "v_prediction", True, 96),
        (SD2 | {"v_pred": ()}, 875_000, {}, None, "v_prediction", True, 96),
        (SD2, 875_000, {}, "v_prediction", "v_prediction", True, 96),
        (SD2, None, {"prediction_type": "v"}, "epsilon", "epsilon", True, 64),
        (SD1, None, {"prediction_type": "v"}, None, "v_prediction", True, 64),
        (SD1, None, {}, "v_prediction", "v_prediction", True, 64),
    ],
)  # fmt: skip
def test_what_is_predicted_is_a_setting_then_a_note_then_custom(
    shapes: Shapes, steps: int | None, notes: dict[str, str], setting: str | None,
    prediction: str, sure: bool, size: int,
) -> None:  # fmt: skip
    found = recognise(outline(shapes, steps, **notes), FILE, setting)
    assert (found.prediction_type, found.sure) == (prediction, sure)
    assert found.sample_size(8, 64) == size


OTHERS: dict[str, Shapes] = {
    r"is Playground 2\.5, which": SDXL | {"edm_mean": (4,)},
    "is CosXL, which": SDXL | {"edm_vpred.sigma_max": ()},
    "is SDXL instruct-pix2pix, which": channels(SDXL, 8),
    "is SDXL refiner, which": {
        f"{U}input_blocks.0.0.weight": (384, 4, 3, 3),
        f"{U}label_emb.0.0.weight": (1536, 2560),
        "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight": (1280,),
    },
    r"is SDXL refiner, which is not supported; of": {
        f"{U}input_blocks.0.0.weight": (384, 4, 3, 3),
        f"{U}label_emb.0.0.weight": (1536, 2560),
    },
    "is Stable Diffusion 2 unCLIP": SD2 | {f"{U}label_emb.0.0.weight": (1280, 2048)},
    "is a depth model": channels(SD2, 5),
    "is a model that is asked for classes": SD1 | {f"{U}label_emb.weight": (1000, 1024)},
    "is InstructPix2Pix": channels(SD1, 8),
    "is a U-Net of 6 input channels, where 4 are expected": channels(SD1, 6),
    "is Stable Video Diffusion": SD1 | {f"{U}input_blocks.1.0.time_stack.in_layers.0.weight": (1,)},
    "is a ControlNet with a model": SD1 | {"control_model.time_embed.0.weight": (1280, 320)},
    "is a ControlNet, not a model": {"control_model.time_embed.0.weight": (1280, 320)},
    "is Stable Diffusion 3, but holds no auto": {f"{U}joint_blocks.0.x_block.mlp.fc1.bias": (1,)},
    "is a ControlNet, not a": SD1 | {f"{U}input_hint_block.0.weight": (16, 3, 3, 3)},
    "has weights in 8-bit numbers with scales, which are not read: get": SDXL
    | {"scaled_fp8": (0,)},
    "has weights in 8-bit numbers": SD3 | {f"{U}joint_blocks.0.x_block.mlp.fc1.scale_weight": ()},
    "has weights in 4-bit numbers": SDXL | {f"{U}a.weight.quant_state.bitsandbytes__nf4": (9,)},
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
    "holds no text encoder": {k: v for k, v in SD1.items() if "cond_stage" not in k},
    "holds no autoencoder": {k: v for k, v in SD2.items() if "first_stage" not in k},
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
        (vae, vae_state(tensors, VAE, configs["vae"])),
        (
            encoder,
            text_state(
                tensors,
                found.layout.texts["text_encoder"],
                configs["text_encoder"],
                "text_encoder",
                encoder,
            ),
        ),
    ):
        expected = {key.removeprefix("text_model."): one.shape
                    for key, one in module.state_dict().items()}  # fmt: skip
        given = {key.removeprefix("text_model."): one.shape
                 for key, one in state.items() if "position_ids" not in key}  # fmt: skip
        assert given == expected


def test_a_text_encoder_without_its_unused_layer(layout: Any) -> None:
    """As the converters of diffusers write Stable Diffusion 2."""
    from sdcreative.models.single_files.text_shapes import used_layers

    text = Text(OPEN_CLIP, "open_clip", penultimate=True)
    block = "cond_stage_model.model.transformer.resblocks.{}.mlp.c_fc.weight"
    norm: Shapes = {"cond_stage_model.model.ln_final.weight": (1024,)}
    assert used_layers(norm | {block.format(n): (4096, 1024) for n in range(24)}, text) == 23
    assert used_layers(norm | {block.format(n): (4096, 1024) for n in range(23)}, text) == 23


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
