"""A tokenizer's files before transformers reads them, and what it made of them after.

transformers hands every key of a ``tokenizer_config.json`` to the tokenizer, and a
``tokenizer.json`` may hold patterns that take hours on a short text, or make a long one of it.
Imports no torch.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .checks import read_json
from .strangers import MOST_VOCABULARY, open_file, shown

LEAST_TOKENS = 3
"""of a text: both ends, and one between them"""
_JSON = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json")
_OTHERS = ("merges.txt", "spiece.model", "chat_template.jinja")
_REFUSED = (
    "gguf_file", "init_inputs", "merges", "tokenizer_object", "trust_remote_code", "vocab"
)  # fmt: skip
"""keys that transformers takes for arguments of its own"""
_LONGEST_PATTERN = 1000
_REPEATS, _CHOICES = 1, 4
"""in one alternative of a pattern, so that time grows with the square of a text at most"""
_SET = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]")
_REPEATED_GROUP = re.compile(r"\)(?:[*+]|\{)")
_REPEAT = re.compile(r"[*+]|\{\d*,\d*\}")
_MARK = re.compile(r"\(\?[\w:!=<>-]*")


def check_tokenizer_files(folder: Path) -> None:
    """Refuse what is no file, too long or no JSON, and what asks for more than reading it.

    Args:
        folder: of the tokenizer; which files have to be there is not looked at.

    Raises:
        ModelError: with the file and what it says.
    """
    what = f"{shown(folder.name)} in {folder.parent}"
    said = {
        name: read_json(folder / name, what, MOST_VOCABULARY)
        for name in _JSON
        if _is_there(folder / name)
    }
    for name in _OTHERS:
        if _is_there(folder / name):
            _check_length(folder / name, what)
    for name in _JSON[:2]:
        for key in said.get(name, {}):
            if key in _REFUSED and said[name][key]:
                raise ModelError(
                    f"{what}: {folder / name} has {key}, which no tokenizer needs; it is not "
                    "trusted: get the model from its makers"
                )
    if _is_there(folder / "tokenizer.json"):
        whole = read_json(folder / "tokenizer.json", what, MOST_VOCABULARY)
        for part in ("normalizer", "pre_tokenizer", "decoder"):
            for step in _steps(whole.get(part)):
                _check_step(step, what, folder / "tokenizer.json")


def check_tokens(tokenizer: Any, folder: Path) -> None:
    """Refuse a tokenizer whose numbers cannot be those of a table of vectors.

    Raises:
        ModelError: a length, a number of a token, or an end of texts that cannot be.
    """
    what = shown(folder.name)
    longest = tokenizer.model_max_length
    if type(longest) not in (int, float) or longest < LEAST_TOKENS or longest != longest // 1:
        raise ModelError(
            f"{what} in {folder} has model_max_length {shown(longest)}, expected a whole number "
            f"from {LEAST_TOKENS} on"
        )
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= len(tokenizer):
        raise ModelError(
            f"{what} in {folder} numbers its {len(tokenizer)} tokens up to {highest}; they are "
            "not of one table"
        )
    for name in ("eos_token", "pad_token"):
        if not isinstance(getattr(tokenizer, f"{name}_id"), int):
            raise ModelError(f"{what} in {folder} has no {name}; its files are damaged")


def context_of(tokenizer: Any, positions: int, path: Path) -> int:
    """Tokens of one chunk of a prompt, with its two ends.

    Args:
        tokenizer: of a text encoder.
        positions: that the text encoder has.
        path: of the model, for the message.

    Raises:
        ModelError: so few that no token has room between the ends.
    """
    longest = min(tokenizer.model_max_length, positions)
    if longest < LEAST_TOKENS:
        raise ModelError(f"text_encoder in {path} has {positions} positions, too few for a prompt")
    return int(longest)


def _is_there(path: Path) -> bool:
    """Whether there is anything of this name, be it no file."""
    return path.is_symlink() or path.exists()


def _check_length(path: Path, what: str) -> None:
    try:
        with open_file(path) as file:
            length = file.seek(0, 2)
    except OSError as error:
        raise ModelError(f"{what}: {path} cannot be read ({error.strerror or error})") from None
    if length > MOST_VOCABULARY:
        raise ModelError(f"{what}: {path} has more than {MOST_VOCABULARY:,} bytes")


def _steps(value: Any) -> Iterator[Mapping[str, Any]]:
    """All steps of a normaliser, pre-tokenizer or decoder, those in sequences too."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Mapping):
            yield one
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one


def _check_step(step: Mapping[str, Any], what: str, path: Path) -> None:
    pattern = step.get("Regex")
    if isinstance(pattern, str) and not is_tame(pattern):
        raise ModelError(
            f"{what}: {path} has the pattern {shown(pattern)!r}, which could take hours on a "
            "short text; it is not trusted"
        )
    replaced, new = step.get("pattern"), step.get("content", step.get("prepend"))
    old = replaced.get("String") if isinstance(replaced, Mapping) else None
    if isinstance(new, str) and len(new) > max(1, len(old) if isinstance(old, str) else 0):
        raise ModelError(
            f"{what}: {path} replaces text by the longer {shown(new)!r}; it is not trusted"
        )


def is_tame(pattern: str) -> bool:
    """Whether finding a pattern takes no longer than the square of a text's length.

    No group is repeated, nothing is asked to come again, and an alternative repeats little.

    >>> is_tame(r"'s|'t|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"), is_tame("(a+)+$")
    (True, False)
    """
    if len(pattern) > _LONGEST_PATTERN:
        return False
    bare = _SET.sub("x", re.sub(r"\\[pP]\{\^?\w+\}", "x", pattern))
    if re.search(r"\\[1-9kg]", bare) or "(?P=" in bare:
        return False
    bare = re.sub(r"\\.", "x", bare)
    if _REPEATED_GROUP.search(bare):
        return False
    bare = _MARK.sub("(", bare)
    return all(
        len(_REPEAT.findall(one)) <= _REPEATS and one.count("?") <= _CHOICES
        for one in _alternatives(bare)
    )


def _alternatives(pattern: str) -> list[str]:
    """What "|" parts outside of all groups."""
    found, depth = [""], 0
    for letter in pattern:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and not depth:
            found.append("")
        else:
            found[-1] += letter
    return found
