"""Tokenizers: their files are data, in which no pattern, path or number does harm."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcreative.models.folders import read_tokenizer
from sdcreative.models.tokenizer_files import is_tame

Tables = dict[str, Any]


@pytest.fixture(scope="session")
def whole(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's tokenizer as one tokenizer.json; never write to it."""
    folder = tmp_path_factory.mktemp("whole") / "tokenizer"
    read_tokenizer(tiny_checkpoint / "tokenizer", "CLIPTokenizer").save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy, to be broken."""
    return Path(shutil.copytree(whole, tmp_path / "tokenizer"))


def replacing(pattern: dict[str, str], content: str) -> Tables:
    return {"normalizer": {"type": "Replace", "pattern": pattern, "content": content}}


def splitting(pattern: str) -> Tables:
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return {"pre_tokenizer": {"type": "Sequence", "pretokenizers": [step]}}


HOSTILE: dict[str, Tables] = {
    "a group that repeats": replacing({"Regex": "(a+)+$"}, "b"),
    "choices that repeat": replacing({"Regex": "^(a|a?)+$"}, "b"),
    "a pattern that comes again": replacing({"Regex": r"(.*)\1\1\1"}, "b"),
    "many repeats": splitting("a*a*a*a*a*a*a*a*b"),
    "many choices": splitting("a?" * 40 + "a" * 40),
    "groups of repeats": splitting("(a*|b)(a*|c)(a*|d)(a*|e)"),
    "a long pattern": splitting("a" * 100_000),
    "text that grows": replacing({"Regex": "."}, "b" * 1000),
    "text that grows again and again": {
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Replace", "pattern": {"String": "a"}, "content": "aa"} for _ in range(30)
            ],
        }
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_pattern_of_a_tokenizer_takes_hours(
    name: str, folder: Path, edit: Any, refused: Callable[..., str]
) -> None:
    edit.json(folder / "tokenizer.json", **HOSTILE[name])
    # This class takes all of the file; CLIPTokenizer its vocabulary alone.
    for kind in ("PreTrainedTokenizerFast", "CLIPTokenizer"):
        message = refused(lambda kind=kind: read_tokenizer(folder, kind), "tokenizer.json")
        assert "not trusted" in message


def test_patterns_that_are_in_use_are_tame() -> None:
    tame = (
        r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|"
        r"[^\s\p{L}\p{N}]+",
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\s+(?!\S)|\s+",
        r"\s+",
        " {2,}",
        r"[!\"\#\$%&'\(\)\*\+,\-\.:;=\?@\[\\\]\^_`\{\|\}\~]",
    )
    assert all(map(is_tame, tame))


def test_a_tame_pattern_ends_soon() -> None:
    import re

    began = time.process_time()
    for pattern in ("a*b", "a?a?a?a?aaaab", "(a+)b", "[a-z]+!"):
        assert is_tame(pattern)
        assert re.search(pattern, "a" * 3000) is None
    assert time.process_time() - began < 10


CONFIGS: dict[str, Tables] = {
    "code of its own": {"trust_remote_code": True},
    "another file": {"gguf_file": "/etc/passwd"},
    "arguments": {"init_inputs": [1, 2]},
    "a vocabulary beside": {"vocab": {"a": 0}},
    "merges beside": {"merges": [["a", "b"]]},
    "an object": {"tokenizer_object": "x"},
    "no length": {"model_max_length": 0},
    "a length below none": {"model_max_length": -5},
    "a length in words": {"model_max_length": "long"},
    "half a length": {"model_max_length": 7.5},
    "a length of true": {"model_max_length": True},
    "no number for a length": {"model_max_length": float("nan")},
    "a beginning that is none": {"bos_token": None},
    "no filling": {"pad_token": None},
    "an end that is a number": {"eos_token": 7},
    "tokens that are numbers": {"added_tokens_decoder": {"x": 5}},
}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_a_tokenizer_is_told_is_checked(
    name: str, folder: Path, edit: Any, refused: Callable[..., str]
) -> None:
    edit.json(folder / "tokenizer_config.json", **CONFIGS[name])
    refused(lambda: read_tokenizer(folder, "CLIPTokenizer"), folder.parent)


def test_a_file_elsewhere_is_not_read_for_a_vocabulary(
    tiny_checkpoint: Path, edit: Any, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint / "tokenizer", tmp_path / "tokenizer"))
    secret = tmp_path / "secret.json"
    secret.write_text(json.dumps({"secret": 0}))
    paths = {"vocab_file": str(secret), "merges_file": str(secret), "tokenizer_file": str(secret)}
    edit.json(folder / "tokenizer_config.json", **paths)
    assert "secret" not in read_tokenizer(folder, "CLIPTokenizer").get_vocab()


def change_model(**values: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        table = json.loads((folder / "tokenizer.json").read_text())
        table["model"] |= values
        (folder / "tokenizer.json").write_text(json.dumps(table))

    return change


def renumber(number: int) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        table = json.loads((folder / "tokenizer.json").read_text())
        table["model"]["vocab"]["b"] = number
        (folder / "tokenizer.json").write_text(json.dumps(table))

    return change


BROKEN: dict[str, Callable[[Path], object]] = {
    "a number past the table": renumber(10**9),
    "a number past 32 bits": renumber(10**20),
    "a number below none": renumber(-1),
    "no vocabulary": change_model(vocab={}),
    "a vocabulary that is a list": change_model(vocab=[1, 2]),
    "merges of tokens that are none": change_model(merges=[["nowhere", "never"]]),
    "merges of three": change_model(merges=[["a", "b", "c"]]),
    "another kind": change_model(type="evil"),
    "no model": lambda folder: (folder / "tokenizer.json").write_text('{"model": 5}'),
    "deeply nested": lambda folder: (folder / "tokenizer.json").write_text('{"a":' * 100_000),
    "ends of no kind": lambda folder: (folder / "tokenizer.json").write_text(
        json.dumps(
            json.loads((folder / "tokenizer.json").read_text())
            | {"post_processor": {"type": "RobertaProcessing", "sep": ["x", 10**12]}}
        )
    ),
    "special tokens in a list": lambda folder: (folder / "special_tokens_map.json").write_text(
        "[1]"
    ),
    "tokens that are added far away": lambda folder: (folder / "added_tokens.json").write_text(
        '{"<q>": "many"}'
    ),
    "a pipe": lambda folder: os.mkfifo(folder / "added_tokens.json"),
    "a template that is a pipe": lambda folder: os.mkfifo(folder / "chat_template.jinja"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_vocabularies_are_refused(
    name: str, folder: Path, refused: Callable[..., str], harmless: Callable[..., Any]
) -> None:
    BROKEN[name](folder)
    check = harmless if name == "tokens that are added far away" else refused
    check(lambda: read_tokenizer(folder, "CLIPTokenizer"))


def test_a_model_has_room_for_a_prompt(
    checkpoint: Path, edit: Any, load: Any, refused: Callable[..., str]
) -> None:
    edit.json(checkpoint / "tokenizer" / "tokenizer_config.json", model_max_length=2)
    refused(lambda: load(checkpoint), "model_max_length")


def test_templates_are_never_filled_in(folder: Path, edit: Any) -> None:
    template = "{{ cycler.__init__.__globals__.os.system('touch canary') }}"
    edit.json(folder / "tokenizer_config.json", chat_template=template)
    (folder / "chat_template.jinja").write_text(template)
    tokenizer = read_tokenizer(folder, "CLIPTokenizer")
    assert tokenizer("a bear", add_special_tokens=False).input_ids == [320, 514]
