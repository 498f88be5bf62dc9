"""A preset's ``process:`` to processors with their settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import UsageError
from ..presets.faults import SettingError
from ..presets.nested import NestedError, validate_nested
from ..presets.parsing import KeyPath
from ..presets.wording import closest, either, show
from ..settings import Strict
from ..tools import Processor
from .builtin import PROCESSORS


@dataclass(frozen=True)
class Step:
    """A processor, and what a preset says to it.

    Attributes:
        settings: an instance of ``processor.settings``.
    """

    processor: Processor
    settings: Strict


def read_processors(value: Any) -> tuple[Step, ...]:
    """Processors in the order in which they are applied.

    Args:
        value: as in a preset: a list of names, and of mappings of one name to its settings.

    Raises:
        UsageError: every fault of the first step that has any, one line each, such as
            ``process[1].upscale.scale: 5 is too large; at most 4``.

    >>> [step.processor.name for step in read_processors(["deflicker", {"upscale": {"scale": 2}}])]
    ['deflicker', 'upscale']
    """
    try:
        return _read(value)
    except NestedError as error:
        raise UsageError(
            "\n".join(f"{_label(path)}: {words}" for path, words in error.faults)
        ) from None


def check_processors(value: Any) -> Any:
    """The value itself, for a field of settings, where its first fault gets its own line and key.

    Raises:
        SettingError: it holds no processors and settings of theirs.
    """
    try:
        _read(value)
    except NestedError as error:
        path, words = error.faults[0]
        raise SettingError(words, *path) from None
    return value


def _read(value: Any) -> tuple[Step, ...]:
    if not isinstance(value, list | tuple):
        raise NestedError(((), f"{show(value)} is not a list of processors"))
    return tuple(_step(index, item) for index, item in enumerate(value))


def _step(index: int, item: Any) -> Step:
    name: Any = item
    given: Any = {}
    more: list[Any] = []
    if isinstance(item, dict) and item:
        name, *more = item
        given = item[name]
    if not isinstance(name, str):
        raise NestedError(
            ((index,), f"{show(item)} is not a processor's name, alone or with its settings")
        )
    if more:
        beside = f"{' and '.join(map(show, more))} beside {show(name)}"
        how = f"settings stand further in than their processor, and each has a '-': '- {name}: ...'"
        raise NestedError(((index,), f"{beside}; {how}"))
    if name not in PROCESSORS:
        close = closest(name, PROCESSORS)
        there = f"there are: {', '.join(PROCESSORS)}; others come with plugins that are installed"
        hint = f"did you mean {either(close)}?" if close else there
        raise NestedError(((index,), f"no processor is called {show(name)}; {hint}"))
    if not isinstance(given, dict):
        wanted = f"a mapping of its settings; without any, write '- {name}'"
        raise NestedError(((index, name), f"{show(given)} is not {wanted}"))
    processor = PROCESSORS[name]
    try:
        return Step(processor, validate_nested(given, processor.settings))
    except NestedError as error:
        raise NestedError(
            *(((index, name, *path), words) for path, words in error.faults)
        ) from None


def _label(path: KeyPath) -> str:
    return "process" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
