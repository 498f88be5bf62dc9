"""Flags of one tool, made of the settings that it offers as such."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin

import click

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..tools import Tool


def own_flags(tool: Tool) -> list[click.Option]:
    """A flag for each key that the tool names, with the key's description as its help."""
    return [_option(tool.settings, key) for key in getattr(tool, "flags", ())]


def own_values(tool: Tool, given: Mapping[str, Any]) -> dict[str, tuple[object, str]]:
    """What was given with these flags: key -> (value, flag), as a preset would hold it.

    Raises:
        PresetError: a value that is no YAML.
    """
    from ..presets.parsing import parse_value

    found: dict[str, tuple[object, str]] = {}
    for key in getattr(tool, "flags", ()):
        value, label = given.get(key), _name(key)
        if value is None or value == ():
            continue
        if isinstance(value, tuple):
            found[key] = (list(value), label)
        elif isinstance(value, str) and not _is_words(tool.settings, key):
            found[key] = (parse_value(value, label), label)
        else:
            found[key] = (value, label)
    return found


def _name(key: str) -> str:
    return "--" + key.replace("_", "-")


def _option(settings: type[BaseModel], key: str) -> click.Option:
    field = settings.model_fields[key]
    words = " ".join((field.description or "").replace("``", "").split())
    text = f"{words[:1].upper()}{words[1:]}." if words else None
    if field.annotation is bool:
        return click.Option([_name(key), key], is_flag=True, default=None, help=text)
    kind = "TEXT" if _is_words(settings, key) else "VALUE"
    several = get_origin(field.annotation) is list
    return click.Option([_name(key), key], metavar=kind, multiple=several, help=text)


def _is_words(settings: type[BaseModel], key: str) -> bool:
    """Whether a setting is text as it stands, checked in some way or not."""
    kinds = _plain(settings.model_fields[key].annotation) - {NoneType}
    return kinds == {str}


def _plain(annotation: Any) -> set[Any]:
    """The types that an annotation allows, without what is said of them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _plain(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return {kind for one in get_args(annotation) for kind in _plain(one)}
    return {annotation}
