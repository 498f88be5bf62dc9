"""A Stable Diffusion checkpoint small enough to be built for every run of the tests."""

from __future__ import annotations

import json
import shutil
import string
from pathlib import Path

import pytest
import torch

from tiny_models import (
    edit_json,
    sdxl_unet,
    text_encoder,
    write_index,
    write_model,
    write_tokenizer,
)

CONTEXT = 16
SCHEDULER = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "skip_prk_steps": True,
    "steps_offset": 1,
}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 pixels, downsampling 4, four latent channels, text width 32; never write to it."""
    from sdcreative.models.building import build_autoencoder, build_unet

    folder = tmp_path_factory.mktemp("tiny") / "model"
    vocabulary = write_tokenizer(folder / "tokenizer", CONTEXT)
    torch.manual_seed(0)
    write_model(
        folder,
        "StableDiffusionPipeline",
        folder / "tokenizer",
        SCHEDULER,
        vae=build_autoencoder((8, 16, 16), 1, 4, 32),
        unet=build_unet((32, 64), 1, 4, 8, 32),
        text_encoder=text_encoder(32, vocabulary, CONTEXT),
    )
    write_index(
        folder,
        safety_checker=["stable_diffusion", "StableDiffusionSafetyChecker"],
        feature_extractor=[None, None],
    )
    return folder


@pytest.fixture(scope="session")
def tiny_inpainting(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny checkpoint with a U-Net of nine channels; never write to it."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("inpainting") / "model"))
    widen(folder)
    write_index(folder, _class_name="StableDiffusionInpaintPipeline")
    return folder


@pytest.fixture(scope="session")
def tiny_xl(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion XL: two text encoders of widths 32 and 64; never write to it."""
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("xl") / "model"))
    shutil.rmtree(folder / "unet")
    shutil.copytree(folder / "tokenizer", folder / "tokenizer_2")
    edit_json(folder / "tokenizer_2" / "tokenizer_config.json", pad_token="!")
    config = json.loads((folder / "text_encoder" / "config.json").read_text())
    torch.manual_seed(1)
    text_encoder(
        64,
        config["vocab_size"],
        CONTEXT,
        projected=True,
        intermediate_size=96,
        hidden_act="gelu",
        projection_dim=48,
        pad_token_id=0,
    ).save_pretrained(folder / "text_encoder_2")
    sdxl_unet(48).save_pretrained(folder / "unet")
    write_index(
        folder,
        _class_name="StableDiffusionXLPipeline",
        force_zeros_for_empty_prompt=True,
        text_encoder_2=["transformers", "CLIPTextModelWithProjection"],
        tokenizer_2=["transformers", "CLIPTokenizer"],
    )
    return folder


@pytest.fixture(scope="session")
def tiny_xl_inpainting(tiny_xl: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Stable Diffusion XL with a U-Net of nine channels; never write to it."""
    folder = Path(shutil.copytree(tiny_xl, tmp_path_factory.mktemp("xl_inpainting") / "model"))
    widen(folder)
    write_index(folder, _class_name="StableDiffusionXLInpaintPipeline")
    return folder


@pytest.fixture(scope="session")
def tiny_sd3(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 pixels, downsampling 4, patches of 2, sixteen latent channels; never write to it."""
    from diffusers import (
        AutoencoderKL,
        FlowMatchEulerDiscreteScheduler,
        SD3Transformer2DModel,
        StableDiffusion3Pipeline,
    )
    from transformers import CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

    folder = tmp_path_factory.mktemp("sd3")
    tokenizer = CLIPTokenizer.from_pretrained(tiny_checkpoint / "tokenizer")
    padding = CLIPTokenizer.from_pretrained(tiny_checkpoint / "tokenizer", pad_token="!")
    vocabulary = len(tokenizer)
    torch.manual_seed(0)
    wide = {"intermediate_size": 48, "num_hidden_layers": 4, "projection_dim": 24}
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("\u2581", -2.0)]
    pieces += [(letter, -3.0) for letter in string.ascii_lowercase + string.digits + ",."]
    pieces += [("\u2581a", -1.0), ("\u2581bear", -1.0), ("\u2581red", -1.0)]
    t5 = T5Config(
        vocab_size=len(pieces), d_model=64, d_kv=16, d_ff=64, num_layers=2, num_heads=2,
        feed_forward_proj="gated-gelu",
    )  # fmt: skip
    pipeline = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=4,
            joint_attention_dim=64,
            caption_projection_dim=32,
            pooled_projection_dim=40,
            pos_embed_max_size=8,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ),
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            block_out_channels=(8, 16, 16),
            norm_num_groups=4,
            latent_channels=16,
            sample_size=32,
            scaling_factor=1.5305,
            shift_factor=0.0609,
            use_quant_conv=False,
            use_post_quant_conv=False,
        ),
        text_encoder=text_encoder(16, vocabulary, CONTEXT, projected=True, pad_token_id=1),
        tokenizer=tokenizer,
        text_encoder_2=text_encoder(
            32, vocabulary, CONTEXT, projected=True, hidden_act="gelu", pad_token_id=1, **wide
        ),
        tokenizer_2=padding,
        text_encoder_3=T5EncoderModel(t5),
        tokenizer_3=T5Tokenizer(vocab=pieces, extra_ids=0, model_max_length=512),
    )
    # So that what CLIP and T5 say has a share in the picture, and the picture has contrast.
    with torch.no_grad():
        pipeline.transformer.context_embedder.weight *= 3
        pipeline.transformer.proj_out.weight *= 2
        pipeline.vae.decoder.conv_out.weight *= 4
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_safety(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with a small checker of random weights; never write to it."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    folder = tmp_path_factory.mktemp("safety") / "model"
    layers = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    config = CLIPConfig(
        vision_config=layers | {"num_attention_heads": 2, "image_size": 24, "patch_size": 8},
        text_config=layers | {"num_attention_heads": 2, "vocab_size": 16},
        projection_dim=16,
    )
    torch.manual_seed(0)
    checker = StableDiffusionSafetyChecker(config)
    for name in ("concept_embeds", "special_care_embeds"):
        getattr(checker, name).data.normal_()
    # So that some are flagged, and some are not.
    checker.concept_embeds_weights.data.fill_(0.9)
    checker.special_care_embeds_weights.data.fill_(0.9)
    checker.save_pretrained(folder / "safety_checker")
    CLIPImageProcessor(
        size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24}
    ).save_pretrained(folder / "feature_extractor")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def widen(folder: Path) -> None:
    """Give a model's U-Net five more input channels: a mask and a masked picture's latents."""
    from diffusers import UNet2DConditionModel

    unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    state = unet.state_dict()
    torch.manual_seed(2)
    more = 0.1 * torch.randn(state["conv_in.weight"].shape[0], 5, 3, 3)
    state["conv_in.weight"] = torch.cat([state["conv_in.weight"], more], dim=1)
    wider = UNet2DConditionModel.from_config(unet.config, in_channels=9)
    wider.load_state_dict(state)
    wider.save_pretrained(folder / "unet")


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to be broken."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
