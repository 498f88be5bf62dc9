"""A model's configurations, read and checked, before any of its weights. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from .families import Family
from .folders import Folder
from .places import ModelPlace, as_place
from .single_files.checkpoint import SingleFile
from .swapping import Swapped


class Source(Protocol):
    """What parts are loaded from: a folder or a single file."""

    @property
    def path(self) -> Path: ...
    @property
    def family(self) -> Family: ...
    @property
    def configs(self) -> Mapping[str, dict[str, Any]]: ...
    @property
    def scheduler(self) -> dict[str, Any]: ...
    @property
    def zeroes_negative(self) -> bool: ...
    @property
    def build(self) -> str | None: ...
    def described(self, part: str) -> str: ...
    def tokenizer(self, part: str) -> tuple[Any, Path]: ...
    def weights(
        self, part: str, module: Any
    ) -> tuple[dict[str, Any], Path, Callable[[], None]]: ...


def open_model(place: Path | ModelPlace) -> Source:
    """A model's configurations, read and checked; no weights are read.

    Raises:
        ModelError: a part is missing or broken, or the family cannot be run.
    """
    place = as_place(place)
    source: Source = SingleFile(place) if place.path.is_file() else Folder(place)
    return Swapped(source, dict(place.swaps)) if place.swaps else source
