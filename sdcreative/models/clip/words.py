"""Texts as a text tower wants them: the tokens that its tokenizer makes of them."""

from __future__ import annotations

import importlib.util
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import ModelError
from ..checks import read_json
from ..folders import read_tokenizer

_GEMMA = ("GemmaTokenizer", "GemmaTokenizerFast", "Siglip2Tokenizer")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Words:
    """A tokenizer, and how many tokens are read.

    Attributes:
        tokenizer: of transformers.
        context: tokens of a text, with those that begin and end it.
        plain: what is done to a text before.
    """

    tokenizer: Any
    context: int
    plain: Callable[[str], str] = str

    @property
    def room(self) -> int:
        """Tokens of a text, without those that begin and end it."""
        return self.context - int(self.tokenizer.num_special_tokens_to_add())

    def count(self, text: str) -> int:
        """Tokens that a text has, without those that begin and end it."""
        return len(self.tokenizer(self.plain(text), add_special_tokens=False).input_ids)

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Numbers of the tokens and which of them are no filling, each (N, context)."""
        made = self.tokenizer(
            [self.plain(text) for text in texts],
            padding="max_length",
            truncation=True,
            max_length=self.context,
            return_attention_mask=True,
            return_tensors="pt",
        )
        return made.input_ids, made.attention_mask


def clip_words(folder: Path, positions: int) -> Words:
    """The tokenizer of a CLIP.

    Raises:
        ModelError: its files are missing or broken.
    """
    tokenizer = read_tokenizer(folder, "CLIPTokenizer")
    return Words(tokenizer, min(tokenizer.model_max_length, positions))


def siglip_words(folder: Path, positions: int) -> Words:
    """The tokenizer of a SigLIP or SigLIP 2.

    SigLIP was trained on texts in small letters without punctuation, SigLIP 2 on texts in small
    letters.

    Raises:
        ModelError: its files are missing or broken, or it needs sentencepiece.
    """
    about = folder / "tokenizer_config.json"
    said = read_json(about, "the tokenizer").get("tokenizer_class") if about.is_file() else None
    plain = str.lower if said in _GEMMA else canonical
    # Read as it stands, whatever class it was written by: the file says all.
    if (folder / "tokenizer.json").is_file():
        tokenizer = read_tokenizer(folder, "PreTrainedTokenizerFast")
    elif not (folder / "spiece.model").is_file():
        raise ModelError(f"the tokenizer is missing: no tokenizer.json in {folder}")
    elif importlib.util.find_spec("sentencepiece") is None:
        raise ModelError(
            f"{folder} has its tokenizer as spiece.model alone, which needs the package "
            "sentencepiece: pip install sentencepiece"
        )
    else:
        tokenizer = _sentencepiece(folder)
    return Words(tokenizer, min(tokenizer.model_max_length, positions), plain)


def _sentencepiece(folder: Path) -> Any:
    from transformers import SiglipTokenizer

    try:
        return SiglipTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"the tokenizer in {folder} cannot be read: {line}") from error


def canonical(text: str) -> str:
    """Small letters, no punctuation, one space between words: as SigLIP's texts were."""
    return " ".join(text.lower().translate(_NO_PUNCTUATION).split())
