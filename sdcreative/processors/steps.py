"""A preset's ``process:`` to processors with their settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..errors import PresetError, UsageError
from ..presets.faults import SettingError
from ..presets.model import Preset
from ..presets.parsing import KeyPath
from ..presets.validation import validate
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
    except _StepError as error:
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
    except _StepError as error:
        path, words = error.faults[0]
        raise SettingError(words, *path) from None
    return value


class _StepError(Exception):
    """(keys and indexes below ``process``, what is wrong there), at least one."""

    def __init__(self, *faults: tuple[KeyPath, str]) -> None:
        super().__init__(*faults)
        self.faults = faults


def _read(value: Any) -> tuple[Step, ...]:
    if not isinstance(value, list | tuple):
        raise _StepError(((), f"{show(value)} is not a list of processors"))
    return tuple(_step(index, item) for index, item in enumerate(value))


def _step(index: int, item: Any) -> Step:
    name: Any = item
    given: Any = {}
    more: list[Any] = []
    if isinstance(item, dict) and item:
        name, *more = item
        given = item[name]
    if not isinstance(name, str):
        raise _StepError(
            ((index,), f"{show(item)} is not a processor's name, alone or with its settings")
        )
    if more:
        beside = f"{' and '.join(map(show, more))} beside {show(name)}"
        how = f"settings stand further in than their processor, and each has a '-': '- {name}: ...'"
        raise _StepError(((index,), f"{beside}; {how}"))
    if name not in PROCESSORS:
        close = closest(name, PROCESSORS)
        there = f"there are: {', '.join(PROCESSORS)}; others come with plugins that are installed"
        hint = f"did you mean {either(close)}?" if close else there
        raise _StepError(((index,), f"no processor is called {show(name)}; {hint}"))
    if not isinstance(given, dict):
        wanted = f"a mapping of its settings; without any, write '- {name}'"
        raise _StepError(((index, name), f"{show(given)} is not {wanted}"))
    processor = PROCESSORS[name]
    try:
        return Step(processor, _settings(given, processor.settings))
    except _StepError as error:
        raise _StepError(*(((index, name, *path), words) for path, words in error.faults)) from None


def _settings(given: dict[Any, Any], kind: type[Strict]) -> Strict:
    """The settings of one step; the paths of faults begin below it.

    They are checked as those of a whole preset are. So that messages lead back to keys, every
    value is labelled with its number among the paths.
    """
    from pydantic import create_model

    paths = list(_paths((), {"settings": given}))
    labels = {path: str(number) for number, path in enumerate(paths)}
    preset = Preset("", {"settings": given}, None, labels=labels)
    whole: Any = create_model("Whole", __base__=Strict, settings=(kind, ...))
    try:
        settings: Strict = validate(preset, whole).settings
    except PresetError as error:
        told = (line.partition(": ") for line in str(error).split("\n"))
        faults = sorted((int(number), words) for number, _, words in told)
        raise _StepError(*((paths[number][1:], words) for number, words in faults)) from None
    return settings


def _paths(path: KeyPath, value: Any) -> Iterator[KeyPath]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths((*path, key), inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _paths((*path, index), inner)


def _label(path: KeyPath) -> str:
    return "process" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path)
