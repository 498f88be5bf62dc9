"""A small CLIP tokenizer: byte-pair merges learned from the captions (Sennrich et al. 2016)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

START, END = "<|startoftext|>", "<|endoftext|>"


def write_tokenizer(captions: Iterable[str], vocabulary: int, context: int, folder: Path) -> None:
    """Write vocab.json, merges.txt and tokenizer_config.json of an ordinary CLIPTokenizer.

    Ids are laid out as in CLIP: 256 bytes, the same 256 ending a word, merges, start, end; so
    every text can be encoded.

    Args:
        captions: the texts to learn from.
        vocabulary: upper bound of the number of tokens, at least 514.
        context: longest sequence, start and end included.
        folder: created if need be.
    """
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    words = Regex(r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+")
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(words, behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learner.decoder = decoders.ByteLevel()
    letters = _byte_letters()
    endings = [letter + "</w>" for letter in letters]
    # Among equally frequent pairs the trainer goes by their numbers, and it would number the
    # endings in the order of a hash table, another one in every run.
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 2,
        end_of_word_suffix="</w>",
        show_progress=False,
        min_frequency=2,
        special_tokens=endings,
    )
    learner.train_from_iterator(captions, trainer)
    learned = json.loads(learner.to_str())["model"]["merges"]
    pairs = [tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in learned]
    tokens = [*letters, *endings]
    known = set(tokens)
    merges = []
    for left, right in pairs[: vocabulary - len(tokens) - 2]:
        merges.append(f"{left} {right}")
        if left + right not in known:
            known.add(left + right)
            tokens.append(left + right)
    tokens += [START, END]
    folder.mkdir(parents=True, exist_ok=True)
    table = {token: i for i, token in enumerate(tokens)}
    lines = "\n".join(["#version: 0.2", *merges, ""])
    (folder / "merges.txt").write_text(lines, encoding="utf-8")
    config = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": context,
        "bos_token": START,
        "eos_token": END,
        "pad_token": END,
        "unk_token": END,
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n")
    # Last, because its presence says that the tokenizer is complete.
    (folder / "vocab.json").write_text(json.dumps(table, ensure_ascii=False), encoding="utf-8")


def _byte_letters() -> list[str]:
    """The printable letters that stand for the 256 bytes (Radford et al. 2019)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
