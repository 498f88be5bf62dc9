"""How messages name values, and which names they suggest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

from .parsing import printable

MAPPING = "a mapping of keys"


def show(value: object) -> str:
    """A value on one line, as its preset would hold it; a list or mapping by its kind."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return MAPPING
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    return f"'{printable(value, 60)}'" if isinstance(value, str) else printable(repr(value), 60)


def closest(name: str, choices: Iterable[str]) -> list[str]:
    """The choices that look most like the name, best first; several only if nearly as close."""
    plain = {c.lower().replace("-", "_"): c for c in choices}
    name = name.lower().replace("-", "_")
    found = difflib.get_close_matches(name, plain)
    likeness = [difflib.SequenceMatcher(None, match, name).ratio() for match in found]
    return [plain[m] for m, r in zip(found, likeness, strict=True) if r > likeness[0] - 0.05]


def either(names: Sequence[str]) -> str:
    """Quoted names with 'or' between them."""
    return " or ".join(f"'{name}'" for name in names)
