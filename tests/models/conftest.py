"""A Stable Diffusion checkpoint small enough to be built for every run of the tests."""

from __future__ import annotations

import json
import shutil
import string
from pathlib import Path

import pytest
import torch

CONTEXT = 16


def write_tokenizer(folder: Path) -> int:
    """A byte-level CLIP tokenizer with a few merges; returns the size of its vocabulary."""
    visible = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in visible]
    letters = [chr(byte) for byte in visible] + [chr(256 + n) for n in range(len(hidden))]
    merges = [("e", "a"), ("b", "ea"), ("bea", "r</w>")]
    tokens = [*letters, *(f"{one}</w>" for one in letters), *("".join(m) for m in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({t: n for n, t in enumerate(tokens)}))
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": CONTEXT,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """32 pixels, downsampling 4, four latent channels, text width 32; never write to it."""
    from diffusers import PNDMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel

    from sdcreative.models.building import build_autoencoder, build_unet

    folder = tmp_path_factory.mktemp("tiny") / "model"
    vocabulary = write_tokenizer(folder / "tokenizer")
    torch.manual_seed(0)
    build_autoencoder((8, 16, 16), 1, 4, 32).save_pretrained(folder / "vae")
    build_unet((32, 64), 1, 4, 8, 32).save_pretrained(folder / "unet")
    text = CLIPTextConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=2,
        projection_dim=32,
        vocab_size=vocabulary,
        max_position_embeddings=CONTEXT,
        bos_token_id=vocabulary - 2,
        eos_token_id=vocabulary - 1,
        pad_token_id=vocabulary - 1,
    )
    CLIPTextModel(text).save_pretrained(folder / "text_encoder")
    PNDMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        skip_prk_steps=True,
        steps_offset=1,
    ).save_pretrained(folder / "scheduler")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.30.0",
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "feature_extractor": [None, None],
    }
    (folder / "model_index.json").write_text(json.dumps(index))
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
    from diffusers import UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path_factory.mktemp("xl") / "model"))
    shutil.rmtree(folder / "unet")
    shutil.copytree(folder / "tokenizer", folder / "tokenizer_2")
    edit_json(folder / "tokenizer_2" / "tokenizer_config.json", pad_token="!")
    text = CLIPTextConfig.from_pretrained(folder / "text_encoder")
    text.hidden_size, text.intermediate_size, text.hidden_act = 64, 96, "gelu"
    text.projection_dim, text.pad_token_id = 48, 0
    torch.manual_seed(1)
    CLIPTextModelWithProjection(text).save_pretrained(folder / "text_encoder_2")
    UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        transformer_layers_per_block=(1, 2),
        attention_head_dim=(2, 4),
        cross_attention_dim=96,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=48 + 6 * 8,
    ).save_pretrained(folder / "unet")
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
    from transformers import (
        CLIPTextConfig,
        CLIPTextModelWithProjection,
        CLIPTokenizer,
        T5Config,
        T5EncoderModel,
        T5Tokenizer,
    )

    folder = tmp_path_factory.mktemp("sd3")
    tokenizer = CLIPTokenizer.from_pretrained(tiny_checkpoint / "tokenizer")
    padding = CLIPTokenizer.from_pretrained(tiny_checkpoint / "tokenizer", pad_token="!")
    vocabulary = len(tokenizer)
    ends = {"eos_token_id": vocabulary - 1, "bos_token_id": vocabulary - 2}
    common = {"vocab_size": vocabulary, "max_position_embeddings": CONTEXT, **ends}
    torch.manual_seed(0)
    narrow = CLIPTextConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2,
        projection_dim=16, **common,
    )  # fmt: skip
    wide = CLIPTextConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=4, num_attention_heads=2,
        projection_dim=24, hidden_act="gelu", **common,
    )  # fmt: skip
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
        text_encoder=CLIPTextModelWithProjection(narrow),
        tokenizer=tokenizer,
        text_encoder_2=CLIPTextModelWithProjection(wide),
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


def write_index(folder: Path, **changes: object) -> None:
    edit_json(folder / "model_index.json", **changes)


def edit_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint, to be broken."""
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
