"""Models of every family, small enough to be built for every run of the tests."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

DIFFUSION = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}


def write_tokenizer(folder: Path, context: int) -> int:
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
        "model_max_length": context,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "pad_token": "<|endoftext|>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)


def text_encoder(
    width: int, vocabulary: int, context: int, *, projected: bool = False, **changes: Any
) -> Any:
    """CLIP's text encoder whose last two tokens are the ends; with a projection for SDXL and 3."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    values = {
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "projection_dim": width,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1,
    }
    config = CLIPTextConfig(**(values | changes))
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


def sdxl_unet(pooled: int) -> Any:
    """For text encoders of widths 32 and 64, and a pooled prompt of so many numbers."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
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
        projection_class_embeddings_input_dim=pooled + 6 * 8,
    )


def write_model(
    folder: Path, pipeline: str, tokenizer: Path, scheduler: dict[str, Any], **parts: Any
) -> Path:
    """A diffusers folder of these parts; every text encoder gets a copy of the tokenizer."""
    index: dict[str, Any] = {"_class_name": pipeline, "_diffusers_version": "0.30.0"}
    for name, part in parts.items():
        part.save_pretrained(folder / name)
        index[name] = [
            "transformers" if name.startswith("text") else "diffusers",
            type(part).__name__,
        ]
        if name.startswith("text"):
            beside = name.replace("text_encoder", "tokenizer")
            if folder / beside != tokenizer:
                shutil.copytree(tokenizer, folder / beside)
            index[beside] = ["transformers", "CLIPTokenizer"]
    index["scheduler"] = ["diffusers", scheduler["_class_name"]]
    (folder / "scheduler").mkdir()
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(scheduler))
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def edit_json(path: Path, **changes: object) -> None:
    """Other values in a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def write_index(folder: Path, **changes: object) -> None:
    """Other values in a model's ``model_index.json``."""
    edit_json(folder / "model_index.json", **changes)
