"""A preset to an object of a tool's settings class, or all of its faults at once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import PresetError
from .faults import NOT_A_KEY, Fault, enumerations, reason, settle
from .field_types import keys, members, unwrap
from .model import Position, Preset, where
from .parsing import KeyPath, printable
from .wording import closest, either, show

if TYPE_CHECKING:
    from pydantic import BaseModel

    Settings = TypeVar("Settings", bound=BaseModel)

_LISTED = 12


def validate(preset: Preset, settings_class: type[Settings]) -> Settings:
    """The preset's settings as an object of ``settings_class``.

    Values are taken strictly, as the class says; lists stand for tuples and sets, and text for
    paths and enumerations, since YAML has no way to write those.

    Raises:
        PresetError: every fault, one line each, in the order of the file.
    """
    from pydantic import ValidationError

    strict = None if "strict" in settings_class.model_config else True
    data: Any = copy.deepcopy(preset.settings)
    faults: list[Fault] = []
    for eager in (False, True):
        while True:
            try:
                return settings_class.model_validate(data, strict=strict)
            except ValidationError as error:
                found = [Fault.locate(dict(e), settings_class, data) for e in error.errors()]
            # Where another branch of a union took the list, a tuple in its place is a guess: it
            # may make the settings valid, but must not change what is reported.
            chosen = [f for f in found if eager or not f.is_shallow(found)]
            converted = [_convert(data, fault) for fault in chosen]
            if not any(converted):
                break
        faults = faults or found
    lines = sorted(_line(preset, fault) for fault in settle(faults))
    raise PresetError("\n".join(dict.fromkeys(text for _, text in lines)))


def _convert(data: Any, fault: Fault) -> bool:
    """Replace a list by the tuple or set, or text by the path, that was expected there."""
    kind = fault.error["type"]
    path = fault.path
    if not path or kind not in ("tuple_type", "set_type", "frozen_set_type", "is_instance_of"):
        return False
    node = data
    trail = [data]
    for part in path:
        node = _child(node, part)
        trail.append(node)
    new: Any = None
    if isinstance(node, list):
        make: dict[str, Callable[[Any], Any]] = {
            "tuple_type": tuple, "set_type": set, "frozen_set_type": frozenset,
        }  # fmt: skip
        if kind == "tuple_type" or not any(isinstance(v, dict | list) for v in node):
            new = make[kind](node) if kind in make else None
    elif kind == "is_instance_of" and isinstance(node, str | int):
        new = _instance(node, fault)
    if new is None:
        return False
    # Parents that are tuples already cannot be changed in place.
    for parent, part in zip(reversed(trail[:-1]), reversed(path), strict=True):
        if isinstance(parent, tuple):
            index = int(part)
            new = (*parent[:index], new, *parent[index + 1 :])
            continue
        parent[part] = new
        return True
    return False


def _instance(node: str | int, fault: Fault) -> Any:
    wanted = fault.error["ctx"]["class"]
    if isinstance(node, str) and wanted in ("Path", "PurePath", "PathLike"):
        return Path(node)
    for kind in enumerations(fault):
        for member in kind:
            if type(member.value) is type(node) and member.value == node:
                return member
    return None


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, dict):
        return node.get(part)
    if isinstance(node, list | tuple) and isinstance(part, int) and part < len(node):
        return node[part]
    return None


def _line(preset: Preset, fault: Fault) -> tuple[tuple[Any, ...], str]:
    """(order, message) of one fault: where it stands, its key, the reason."""
    kind, path = fault.error["type"], fault.path
    key = ".".join(map(str, path))
    if kind in ("missing", "union_tag_not_found"):
        name = fault.error["ctx"]["discriminator"] if kind != "missing" else f"'{path[-1]}'"
        around = path[:-1] if kind == "missing" else path
        return _place(preset, around, preset.positions, "", f"missing key {name}")
    if kind in NOT_A_KEY:
        return _place(preset, path, preset.positions, "", _unknown(path, fault.kinds))
    if "[key]" in fault.error["loc"]:
        return _place(preset, path, preset.positions, key, "the key " + reason(fault))
    if kind == "union_tag_invalid":
        path = (*path, fault.error["ctx"]["discriminator"].strip("'"))
        key = ".".join(map(str, path))
    return _place(preset, path, preset.values, key, reason(fault))


def _unknown(path: KeyPath, kinds: Iterable[Any]) -> str:
    known = [name for kind in members(kinds) for name in keys(unwrap(kind))]
    if len(path) == 1:
        known += ["plugin", "extends"]
    known = list(dict.fromkeys(known))
    if close := closest(str(path[-1]), known):
        return f"unknown key {show(path[-1])}; did you mean {either(close)}?"
    names = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
    return f"unknown key {show(path[-1])}" + (f"; there are: {names}" if names else "")


def _place(
    preset: Preset, path: KeyPath, table: Mapping[KeyPath, Position], key: str, words: str
) -> tuple[tuple[Any, ...], str]:
    text = f"{key}: {words}" if key else words
    for length in range(len(path), -1, -1):
        here = path[:length]
        if here in preset.labels:
            label = preset.labels[here]
            same = length == len(path) or not key
            return (2, label, 0, 0), f"{label}: {words if same else text}"
        if here and (place := table.get(here) or preset.positions.get(here)):
            order = (place[0] != preset.source, str(place[0]), *place[1:])
            return order, f"{where(place)} {text}"
    file = "" if preset.source is None else f"{printable(str(preset.source))}: "
    return (0, str(preset.source), 0, 0), file + text
