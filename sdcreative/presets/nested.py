"""Settings within settings, of a class that only a name in them tells; checked as a preset is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import PresetError
from .model import Preset
from .parsing import KeyPath
from .validation import validate

if TYPE_CHECKING:
    from pydantic import BaseModel

    Settings = TypeVar("Settings", bound=BaseModel)

_KEY = "settings"


class NestedError(Exception):
    """(keys and indexes below the settings, what is wrong there), at least one."""

    def __init__(self, *faults: tuple[KeyPath, str]) -> None:
        super().__init__(*faults)
        self.faults = faults


def validate_nested(given: Mapping[Any, Any], settings_class: type[Settings]) -> Settings:
    """Settings as an object of ``settings_class``; the paths of faults begin below them.

    So that messages lead back to keys, every value is labelled with its number among the paths.

    Raises:
        NestedError: every fault, in the order of the settings.
    """
    from pydantic import ConfigDict, create_model

    data: dict[str | int, Any] = {_KEY: dict(given)}
    paths = list(_paths((), data))
    labels = {path: str(number) for number, path in enumerate(paths)}
    config = ConfigDict()
    if "strict" in settings_class.model_config:
        config["strict"] = settings_class.model_config["strict"]
    whole: Any = create_model("Whole", __config__=config, settings=(settings_class, ...))
    try:
        settings: Settings = validate(Preset("", data, None, labels=labels), whole).settings
    except PresetError as error:
        told = (line.partition(": ") for line in str(error).split("\n"))
        faults = sorted((int(number), words) for number, _, words in told)
        raise NestedError(
            *((paths[number][1:], words.removeprefix(f"{_KEY}.")) for number, words in faults)
        ) from None
    return settings


def _paths(path: KeyPath, value: Any) -> Iterator[KeyPath]:
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _paths((*path, key), inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _paths((*path, index), inner)
