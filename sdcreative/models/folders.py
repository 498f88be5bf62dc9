"""A diffusers folder as a model: configurations, tokenizers and weights of its parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .checks import check_config, check_index, find_weights, read_json
from .noise_schedule import read_scheduler
from .places import ModelPlace
from .single_files.reading import open_tensors
from .strangers import is_file, said
from .tokenizer_files import check_tokenizer_files, check_tokens


class Folder:
    """A model in a folder, of which nothing is trusted.

    Attributes:
        path: where it is.
        family: what kind of model it is.
        configs: of the parts that have weights and are there.
        scheduler: noise schedule and prediction type.
        zeroes_negative: whether an empty negative prompt is zeros, as Stable Diffusion XL has it.

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
        self.family, there = check_index(self.path)
        self.configs = {
            part: check_config(self.path / part, part, self.family.parts[part][1])
            for part in self.family.weights
            if part in there
        }
        self.scheduler = read_scheduler(self.path / "scheduler" / "scheduler_config.json")
        index = read_json(self.path / "model_index.json", "the model")
        self.zeroes_negative = (
            self.family.name == "sdxl" and index.get("force_zeros_for_empty_prompt", True) is True
        )
        if place.prediction_type is not None:
            self.scheduler["prediction_type"] = place.prediction_type

    def described(self, part: str) -> str:
        """What the configuration of a part is from, for messages."""
        return f"config.json of {part}"

    def tokenizer(self, part: str) -> tuple[Any, Path]:
        """A tokenizer of the folder, and where it is, for messages.

        Args:
            part: tokenizer, tokenizer_2 or tokenizer_3.

        Raises:
            ModelError: its files are missing or broken.
        """
        folder = self.path / part
        return read_tokenizer(folder, self.family.parts[part][1][0]), folder

    def weights(self, part: str, module: Any) -> tuple[dict[str, Any], Path, Callable[[], None]]:
        """Weights of a part, the file they are in, and what gives memory back after reading."""
        return read_weights(self.path / part, part)


def read_weights(folder: Path, part: str) -> tuple[dict[str, Any], Path, Callable[[], None]]:
    """Weights in the folder of a part, of one file or of several, as ``Folder.weights`` gives them.

    Raises:
        ModelError: missing or broken.
    """
    paths = find_weights(folder, part)
    opened = [open_tensors(path, f"weights of {part}") for path in paths]

    def release() -> None:
        for one in opened:
            one.release()

    tensors = {name: tensor for one in opened for name, tensor in one.tensors.items()}
    return tensors, paths[0], release


def read_tokenizer(folder: Path, kind: str) -> Any:
    """The tokenizer in a folder, of which nothing is trusted.

    Args:
        folder: holds ``tokenizer.json``, or CLIP's ``vocab.json`` and ``merges.txt``, or T5's
            ``spiece.model``.
        kind: CLIPTokenizer or T5Tokenizer.

    Raises:
        ModelError: its files are missing or broken, or ask for more than being read.
    """
    # Without these files transformers makes a tokenizer of two tokens, in silence.
    needed = ("spiece.model",) if kind == "T5Tokenizer" else ("vocab.json", "merges.txt")
    if not is_file(folder / "tokenizer.json"):
        for name in needed:
            if not is_file(folder / name):
                raise ModelError(f"{folder.name} is incomplete: no {name} in {folder}")
    check_tokenizer_files(folder)
    import transformers

    cls: Any = getattr(transformers, kind)
    try:
        tokenizer = cls.from_pretrained(str(folder), local_files_only=True)
    # tokenizers raises bare Exception for a vocabulary that it cannot parse, and what Rust panics
    # with is none.
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise ModelError(f"{folder.name} in {folder} cannot be read: {said(error)}") from error
    check_tokens(tokenizer, folder)
    return tokenizer
