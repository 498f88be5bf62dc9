"""Pairs of the real families, small enough to be built for every run of the tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ["a", "picture", "of", "red", "bear", "owl", "an", "the", "b", "c"]
CONTEXT = 8
SMALL = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="session")
def pictures() -> list[Image.Image]:
    """Of three sizes and proportions."""
    random = np.random.default_rng(0)
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8))
        for width, height in ((48, 48), (70, 40), (33, 81))
    ]


def stir(module: torch.nn.Module) -> None:
    """Weights as different as those of a trained model; transformers begins nearly alike."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)


@pytest.fixture(scope="session")
def clip_folder(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 32 pixels, as the hub has them; never write to it."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("pairs") / "clip"
    shutil.copytree(tiny_checkpoint / "tokenizer", folder)
    text = json.loads((tiny_checkpoint / "text_encoder" / "config.json").read_text())
    text = {**text, **SMALL, "projection_dim": 24}
    vision = {**SMALL, "image_size": 32, "patch_size": 8, "projection_dim": 24}
    torch.manual_seed(0)
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=24))
    stir(model)
    model.save_pretrained(folder)
    said = {
        "size": {"shortest_edge": 36},
        "crop_size": {"height": 32, "width": 32},
        "do_center_crop": True,
        "resample": 3,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


def write_words(folder: Path, kind: str, side: str) -> int:
    """A tokenizer.json of whole words that ends each text; returns the size of its vocabulary."""
    tokens = ["<pad>", "</s>", "<unk>", *WORDS]
    tokenizer = Tokenizer(models.WordLevel({t: n for n, t in enumerate(tokens)}, "<unk>"))
    tokenizer.normalizer = normalizers.Strip()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": kind,
        "model_max_length": CONTEXT,
        "eos_token": "</s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "padding_side": side,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)


@pytest.fixture(scope="session")
def siglip_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SigLIP of 32 pixels; never write to it."""
    from transformers import SiglipConfig, SiglipModel

    folder = tmp_path_factory.mktemp("pairs") / "siglip"
    vocabulary = write_words(folder, "SiglipTokenizer", "right")
    text = {**SMALL, "vocab_size": vocabulary, "max_position_embeddings": CONTEXT}
    vision = {**SMALL, "image_size": 32, "patch_size": 8}
    torch.manual_seed(0)
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=vision))
    stir(model)
    model.save_pretrained(folder)
    said = {
        "size": {"height": 32, "width": 32},
        "resample": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder


@pytest.fixture(scope="session")
def siglip2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SigLIP 2 that takes pictures of any proportions, up to 16 patches; never write to it."""
    from transformers import Siglip2Config, Siglip2Model

    folder = tmp_path_factory.mktemp("pairs") / "siglip2"
    vocabulary = write_words(folder, "GemmaTokenizer", "right")
    text = {**SMALL, "vocab_size": vocabulary, "max_position_embeddings": CONTEXT}
    vision = {**SMALL, "patch_size": 8, "num_patches": 16}
    torch.manual_seed(0)
    model = Siglip2Model(Siglip2Config(text_config=text, vision_config=vision))
    stir(model)
    model.save_pretrained(folder)
    said = {"max_num_patches": 16, "patch_size": 8, "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(said))
    return folder
