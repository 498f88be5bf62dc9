"""A preset in memory: settings, and where each of them comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .parsing import KeyPath, printable

Position = tuple[Path, int, int]
"""File, line and column, the last two from 1."""


@dataclass(frozen=True)
class Preset:
    """The settings of one tool, not yet validated.

    Attributes:
        plugin: name of the tool, as written.
        settings: plain data without the keys ``plugin`` and ``extends``.
        source: the file, as the user gave it; None where all settings come from flags.
        positions: key path -> (file, line, column), from 1, of the key or list item.
        values: the same for the value.
        labels: key path -> the flag its value comes from, such as ``--set steps=0``.
    """

    plugin: str
    settings: dict[str | int, Any]
    source: Path | None
    positions: Mapping[KeyPath, Position] = field(default_factory=dict)
    values: Mapping[KeyPath, Position] = field(default_factory=dict)
    labels: Mapping[KeyPath, str] = field(default_factory=dict)


def where(place: Position) -> str:
    """How a message begins: ``bear.yaml:7:1:``."""
    return f"{printable(str(place[0]))}:{place[1]}:{place[2]}:"
