"""A text encoder and a tokenizer for models that read no text, so that all parts are there."""

from __future__ import annotations

from pathlib import Path

import torch

from sdcreative.models.building import build_text_encoder, read_tokenizer, save_part

from .settings import TrainSettings
from .vocabulary import write_tokenizer

WIDTH, CONTEXT, VOCABULARY = 32, 8, 514


def without_text(settings: TrainSettings) -> bool:
    """Whether the U-Net to be trained looks at no text, and nothing else brings a text encoder."""
    stage = settings.unet
    if stage is None or stage.condition == "text" or settings.clip is not None:
        return False
    return stage.fresh or settings.start_from is None


def write_no_text(output: Path) -> None:
    """Write ``tokenizer/`` and ``text_encoder/``, of which the U-Net sees nothing.

    The runtime and diffusers' pipelines then run the model like any other, with any prompt.
    """
    write_tokenizer([], VOCABULARY, CONTEXT, output / "tokenizer")
    count = len(read_tokenizer(output / "tokenizer"))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = build_text_encoder(width=WIDTH, vocabulary=count, context=CONTEXT)
    save_part(encoder, output / "text_encoder")
