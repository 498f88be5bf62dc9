"""A diffusers folder as a model: configurations, tokenizer and weights of its parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .checks import check_config, check_index, find_weights, read_json
from .places import ModelPlace
from .single_files.reading import open_tensors


class Folder:
    """A Stable Diffusion 1 or 2 model in a folder, of which nothing is trusted.

    Attributes:
        path: where it is.
        configs: of unet, vae and text_encoder.
        scheduler: noise schedule and prediction type.

    Raises:
        ModelError: a part is missing, or is of another class.
    """

    build = None

    def __init__(self, place: ModelPlace) -> None:
        self.path = place.path
        if place.ema:
            raise ModelError(
                f"ema: {place.path} is a folder, which has one set of weights; ema is for single "
                "files, leave it out"
            )
        family = check_index(self.path)
        self.configs = {
            part: check_config(self.path, part, family.parts[part][1])
            for part in ("unet", "vae", "text_encoder")
        }
        self.scheduler = read_json(self.path / "scheduler" / "scheduler_config.json", "scheduler")
        if place.prediction_type is not None:
            self.scheduler["prediction_type"] = place.prediction_type

    def described(self, part: str) -> str:
        """What the configuration of a part is from, for messages."""
        return f"config.json of {part}"

    def tokenizer(self) -> tuple[Any, Path]:
        """The folder's tokenizer, and where it is, for messages.

        Raises:
            ModelError: its files are missing or broken.
        """
        folder = self.path / "tokenizer"
        # Without these files transformers makes a tokenizer of two tokens, in silence.
        if not (folder / "tokenizer.json").is_file():
            for name in ("vocab.json", "merges.txt"):
                if not (folder / name).is_file():
                    raise ModelError(f"tokenizer is incomplete: no {name} in {folder}")
        from transformers import CLIPTokenizer

        try:
            return CLIPTokenizer.from_pretrained(str(folder), local_files_only=True), folder
        # tokenizers raises bare Exception for a vocabulary that it cannot parse.
        except Exception as error:
            line = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(f"tokenizer in {folder} cannot be read: {line}") from error

    def weights(self, part: str, module: Any) -> tuple[dict[str, Any], Path, Callable[[], None]]:
        """Weights of a part, the file they are in, and what gives memory back after reading."""
        path = find_weights(self.path, part)
        opened = open_tensors(path, f"weights of {part}")
        return dict(opened.tensors), path, opened.release
