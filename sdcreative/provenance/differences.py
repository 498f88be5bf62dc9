"""In what two sets of settings differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Change:
    """One setting that differs.

    Attributes:
        setting: its path, such as ``keyframes.1.prompt``.
        before: its value in the first; None where it is not given.
        after: its value in the second.
    """

    setting: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """``guidance_scale: 7.5 -> 4``."""
        return f"{self.setting}: {_show(self.before)} -> {_show(self.after)}"


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """All that differ, in the order of the first, then of the second.

    >>> [str(change) for change in differences({"a": 1.0, "b": [2, 3]}, {"a": 1, "b": [2, 4]})]
    ['b.1: 3 -> 4']
    """
    return list(_walk("", dict(before), dict(after)))


def _walk(path: str, before: Any, after: Any) -> Iterator[Change]:
    first, second = _parts(before), _parts(after)
    if first is not None and second is not None and type(before) is type(after):
        for key in dict.fromkeys((*first, *second)):
            inner = f"{path}.{key}" if path else str(key)
            yield from _walk(inner, first.get(key), second.get(key))
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield Change(path, before, after)


def _parts(value: Any) -> dict[str | int, Any] | None:
    """Key or index -> value, of a mapping or a list."""
    if isinstance(value, Mapping):
        return {str(key): item for key, item in value.items()}
    return dict(enumerate(value)) if isinstance(value, list) else None


def _show(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
