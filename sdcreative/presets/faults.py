"""What pydantic found wrong: where in the file's own terms, and in plain words."""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from .field_types import inside, members, tagged, unwrap
from .parsing import KeyPath, printable
from .wording import MAPPING, closest, either, show

NOT_A_KEY = ("extra_forbidden", "invalid_key")


class SettingError(ValueError):
    """Raised by a validator of a settings class for a fault at a key below what it checks.

    A validator of a whole class that finds ``keyframes[1].at`` wrong raises
    ``SettingError("too late", "keyframes", 1, "at")``; the message then has that key's line.
    """

    def __init__(self, message: str, *path: str | int) -> None:
        super().__init__(message)
        self.path: KeyPath = path


@dataclass(frozen=True)
class Tag:
    """A part of pydantic's location that names a branch of a union, not a key."""

    name: str


@dataclass(frozen=True)
class Fault:
    """One of pydantic's errors.

    Attributes:
        error: as pydantic gives it.
        loc: keys and indexes, with a Tag for each branch of a union.
        kinds: the types that may stand there; for an unknown or missing key, around it.
    """

    error: dict[str, Any]
    loc: tuple[str | int | Tag, ...]
    kinds: tuple[Any, ...]

    @property
    def path(self) -> KeyPath:
        """Keys and indexes without branches."""
        return tuple(part for part in self.loc if not isinstance(part, Tag))

    def is_shallow(self, faults: Iterable[Fault]) -> bool:
        """Whether another fault lies inside the value that this one is about."""
        size = len(self.path)
        return any(len(f.path) > size and f.path[:size] == self.path for f in faults)

    @classmethod
    def locate(cls, error: dict[str, Any], annotation: Any, data: Any) -> Fault:
        """One of pydantic's errors about ``data``, which ``annotation`` did not accept."""
        kinds: tuple[Any, ...] = (annotation,)
        loc: list[str | int | Tag] = []
        raw = list(error["loc"])
        cause = error.get("ctx", {}).get("error")
        if error["type"] in ("missing", *NOT_A_KEY):
            raw.pop()
        chosen = False
        for part in raw:
            branches = members(kinds)
            if len(branches) > 1 and not chosen:
                kinds = tuple(m for m in branches if tagged(m, part)) or branches
                chosen = len(kinds) > 1
                loc.append(Tag(str(part)))
                continue
            if part == "[key]":
                break
            chosen = False
            present = isinstance(data, list | tuple) and type(part) is int and part < len(data)
            present = present or (isinstance(data, dict) and part in data)
            inner = tuple(kind for member in branches for kind in inside(member, part))
            if not present and not inner and isinstance(part, str):
                loc.append(Tag(part))
                continue
            kinds, data = inner, data[part] if present else None
            loc.append(part)
        if len(raw) < len(error["loc"]):
            loc.append(error["loc"][-1])
        if isinstance(cause, SettingError):
            loc.extend(cause.path)
        return cls(error, tuple(loc), kinds)


def settle(faults: list[Fault]) -> list[Fault]:
    """Of each union keep the branch that was meant, or join what its branches expected."""
    settled: list[Fault] = []
    groups: dict[tuple[Any, ...], dict[str, list[Fault]]] = {}
    for fault in faults:
        tags = [(n, part) for n, part in enumerate(fault.loc) if isinstance(part, Tag)]
        if not tags:
            settled.append(fault)
            continue
        index, tag = tags[0]
        rest = Fault(fault.error, fault.loc[:index] + fault.loc[index + 1 :], fault.kinds)
        groups.setdefault(fault.loc[:index], {}).setdefault(tag.name, []).append(rest)
    for path, branches in groups.items():
        kept = [b for b in branches.values() if not any(_mismatch(f) and f.loc == path for f in b)]
        if kept:
            settled += settle(min(kept, key=len))
            continue
        every = [f for branch in branches.values() for f in branch if f.loc == path]
        expected = " or ".join(dict.fromkeys(_expected(f) for f in every if _mismatch(f)))
        error = {**every[0].error, "type": "literal_error", "ctx": {"expected": expected}}
        settled.append(Fault(error, path, every[0].kinds))
    return settled


_WRONG_TYPE = {
    "int_type": "a whole number", "int_from_float": "a whole number",
    "int_parsing": "a whole number", "float_type": "a number", "float_parsing": "a number",
    "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "list_type": "a list", "tuple_type": "a list", "set_type": "a list",
    "frozen_set_type": "a list", "dict_type": MAPPING, "model_type": MAPPING,
    "model_attributes_type": MAPPING, "dataclass_type": MAPPING, "mapping_type": MAPPING,
    "none_required": "null",
}  # fmt: skip
_RANGES = {
    "greater_than": "{value} is too small; over {gt}",
    "greater_than_equal": "{value} is too small; at least {ge}",
    "less_than": "{value} is too large; under {lt}",
    "less_than_equal": "{value} is too large; at most {le}",
    "string_too_short": "{value} is too short; at least {min_length}",
    "string_too_long": "{value} is too long; at most {max_length}",
    "too_short": "{actual_length}; at least {min_length}",
    "too_long": "{actual_length}; at most {max_length}",
    "finite_number": "{value} is not a finite number",
    "string_pattern_mismatch": "{value} does not have the form {pattern}",
    "multiple_of": "{value} is not a multiple of {multiple_of}",
}
_SIZES = {
    "string_too_short": "character", "string_too_long": "character", "too_short": "item",
    "too_long": "item",
}  # fmt: skip


def _mismatch(fault: Fault) -> bool:
    return fault.error["type"] in _WRONG_TYPE or fault.error["type"] in (
        "is_instance_of", "literal_error", "enum",
    )  # fmt: skip


def _expected(fault: Fault) -> str:
    error = fault.error
    context = error.get("ctx", {})
    if enums := enumerations(fault):
        return " or ".join(f"'{member.value}'" for kind in enums for member in kind)
    other = context.get("expected") or context.get("expected_tags") or context.get("class", "")
    return _WRONG_TYPE.get(error["type"]) or {"Path": "a path"}.get(other, str(other))


def enumerations(fault: Fault) -> list[type[enum.Enum]]:
    """The enumerations of which a member was expected."""
    name = fault.error.get("ctx", {}).get("class")
    kinds = [unwrap(kind) for kind in members(fault.kinds)]
    kinds = [k for k in kinds if isinstance(k, type) and issubclass(k, enum.Enum)]
    return [k for k in kinds if k.__name__ == name]


def reason(fault: Fault) -> str:
    """What is wrong, in plain words, beginning with the value."""
    error = fault.error
    kind, given, context = error["type"], error["input"], error.get("ctx", {})
    if kind in ("value_error", "assertion_error"):
        return printable(" ".join(str(context["error"]).split()))
    if kind in _SIZES:
        counts = {
            key: f"{n} {_SIZES[kind]}{'' if n == 1 else 's'}"
            for key, n in context.items()
            if key.endswith("_length")
        }
        return _RANGES[kind].format(value=show(given), **counts)
    if kind in _RANGES:
        limits = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
        return _RANGES[kind].format(value=show(given), **limits)
    expected = _expected(fault)
    if not expected:
        return f"{show(given)}: {printable(error['msg'])}"
    given = context.get("tag", given)
    hint = ""
    if kind == "string_type" and isinstance(given, bool | int | float):
        hint = "; put it in quotes"
    elif close := closest(str(given), re.findall(r"'([^']*)'", expected)):
        hint = f"; did you mean {either(close)}?"
    return f"{show(given)} is not {expected}{hint}"
