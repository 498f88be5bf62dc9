"""What shapes do not tell of a family: published configurations, and CLIP's tokenizers."""

from __future__ import annotations

import lzma
from functools import lru_cache
from pathlib import Path
from typing import Any

from ..checks import read_json

_CONFIGS = Path(__file__).resolve().parent / "configs"
_MERGES = _CONFIGS / "clip_merges" / "merges.txt.xz"


def family_config(folder: str, part: str) -> dict[str, Any]:
    """A part's configuration for the model of full size.

    Args:
        folder: of the family: v1, v2, xl, sd3 or x4.
        part: as diffusers calls it, such as unet, text_encoder_2, scheduler or tokenizer.
    """
    named = part == "scheduler" or part.startswith("tokenizer")
    name = f"{part.removesuffix('_2')}_config.json" if named else "config.json"
    return read_json(_CONFIGS / folder / part / name, part)


def clip_tokenizer(folder: str, part: str = "tokenizer") -> Any:
    """A tokenizer of a family, made in memory; a new one at each call.

    Args:
        folder: of the family.
        part: tokenizer or tokenizer_2.
    """
    from transformers import CLIPTokenizer

    vocabulary, merges = clip_vocabulary()
    config = family_config(folder, part)
    del config["tokenizer_class"]
    tokenizer: Any = CLIPTokenizer
    return tokenizer(vocab=dict(vocabulary), merges=list(merges), **config)


@lru_cache(maxsize=1)
def clip_vocabulary() -> tuple[dict[str, int], tuple[tuple[str, str], ...]]:
    """CLIP's 49,408 tokens with their numbers, and the pairs that are merged, first ones first.

    Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision";
    the bytes come in the order of GPT-2: those that can be seen, then the others, which are
    written as letters from U+0100 on.
    """
    lines = lzma.decompress(_MERGES.read_bytes()).decode("utf-8").splitlines()
    merges = [(first, second) for first, second in (line.split(" ") for line in lines)]
    seen = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), 256)]
    letters = [*map(chr, seen), *(chr(256 + n) for n in range(256 - len(seen)))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters)]
    tokens += [first + second for first, second in merges]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    return {token: number for number, token in enumerate(tokens)}, tuple(merges)
