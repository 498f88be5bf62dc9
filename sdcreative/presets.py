"""Preset files: YAML -> settings, with every fault at its file, line and column.

A preset names the tool it is for (``plugin: animate``), may build on another (``extends: base``)
and holds the tool's settings. Later sources win: extended preset, preset, ``--set``, flags.
"""

from __future__ import annotations

import copy
import difflib
import enum
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, is_dataclass
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from . import hardened_yaml
from .errors import PresetError
from .hardened_yaml import KeyPath, printable

if TYPE_CHECKING:
    from pydantic import BaseModel

    Settings = TypeVar("Settings", bound=BaseModel)

Position = tuple[Path, int, int]

MAX_EXTENDS = 10
_PACKAGE = "sdcreative_presets"
_ENDINGS = (".yaml", ".yml")
_LISTED = 12
_NOT_A_KEY = ("extra_forbidden", "invalid_key")


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


def bundled_presets() -> list[Path]:
    """The presets that come with the package, in order of name."""
    from importlib import resources

    try:
        folder = resources.files(_PACKAGE)
    except ModuleNotFoundError:
        return []
    return sorted(p for p in folder.iterdir() if isinstance(p, Path) and p.suffix in _ENDINGS)


def find_preset(name: str | os.PathLike[str]) -> Path:
    """The file of an existing path, or of a bundled preset's name (``bear_to_apple``).

    Raises:
        PresetError: there is none; close names are suggested.
    """
    text = os.fspath(name)
    if os.path.exists(text) and not os.path.isdir(text):
        return Path(text)
    if bundled := _bundled(text):
        return bundled
    if os.path.isdir(text):
        raise PresetError(f"{printable(text)}: a folder; give a preset file")
    raise _no_preset(text)


def load_preset(
    path_or_name: str | os.PathLike[str] | None,
    overrides: Mapping[KeyPath, tuple[object, str]] | None = None,
    assignments: Sequence[str] = (),
    *,
    plugin: str | None = None,
) -> Preset:
    """Read a preset and what it extends, then lay ``--set`` and flags over it.

    Args:
        path_or_name: file or bundled name; None for settings from flags alone.
        overrides: key path -> (value, label), the label being the flag: ``(5, "--steps")``.
        assignments: ``key.path=value`` of each ``--set``; list indexes are numbers from 0.
        plugin: the tool it must be for; needed where the preset does not say.

    Raises:
        PresetError: unreadable or malformed files, cycles, a preset for another tool.
    """
    layer = _Layer({}, {}, {})
    source = None
    if path_or_name is not None:
        source = find_preset(path_or_name)
        layer = _load(source, [])
    name = _plugin(layer, source, plugin)
    labels: dict[KeyPath, str] = {}
    for text in assignments:
        _apply(layer, labels, *_assignment(layer.data, text))
    for path, (value, label) in (overrides or {}).items():
        _apply(layer, labels, path, copy.deepcopy(value), label)
    return Preset(name, layer.data, source, layer.positions, layer.values, labels)


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
    faults: list[_Fault] = []
    for eager in (False, True):
        while True:
            try:
                return settings_class.model_validate(data, strict=strict)
            except ValidationError as error:
                found = [_Fault.locate(dict(e), settings_class, data) for e in error.errors()]
            # Where another branch of a union took the list, a tuple in its place is a guess: it
            # may make the settings valid, but must not change what is reported.
            chosen = [f for f in found if eager or not f.is_shallow(found)]
            if not any([_convert(data, fault) for fault in chosen]):
                break
        faults = faults or found
    lines = sorted(_line(preset, fault) for fault in _settle(faults))
    raise PresetError("\n".join(dict.fromkeys(text for _, text in lines)))


def schema(settings_class: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema of a preset file for these settings, for editors that complete and check."""
    result = settings_class.model_json_schema()
    named = {
        "plugin": {"type": "string", "description": "the tool this preset is for"},
        "extends": {"type": "string", "description": "preset to build on: a file or bundled name"},
    }
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    result["properties"] = named | result.get("properties", {})
    if required := result.pop("required", None):
        # An extended preset may hold the keys that this one lacks.
        result["if"] = {"not": {"required": ["extends"]}}
        result["then"] = {"required": required}
    return result


@dataclass
class _Layer:
    data: dict[str | int, Any]
    positions: dict[KeyPath, Position]
    values: dict[KeyPath, Position]

    def forget(self, replaced: set[KeyPath]) -> None:
        """Drop the positions at and below these paths."""
        for table in (self.positions, self.values):
            for path in [p for p in table if any(p[:n] in replaced for n in range(len(p) + 1))]:
                del table[path]


def _load(path: Path, chain: list[Path]) -> _Layer:
    shown = printable(str(path))
    document = hardened_yaml.read(path, shown)
    data = document.data
    if not isinstance(data, dict):
        what = "empty" if data is None else f"{_show(data)} where keys are expected"
        raise PresetError(f"{shown}:1:1: {what}; write keys such as 'plugin: animate'")
    layer = _Layer(
        data,
        {p: (path, *place) for p, place in document.positions.items()},
        {p: (path, *place) for p, place in document.values.items()},
    )
    chain = [*chain, path]
    if "extends" not in data:
        return layer
    at = _at(layer.values["extends",])
    name = data.pop("extends")
    layer.forget({("extends",)})
    if not isinstance(name, str) or not name:
        raise PresetError(f"{at} extends: {_show(name)} is not the path or name of a preset")
    base_path = path.parent / name
    if not os.path.isfile(base_path):
        bundled = _bundled(name)
        if bundled is None:
            raise PresetError(f"{at} extends: {_no_preset(str(base_path))}")
        base_path = bundled
    names = " -> ".join(printable(str(p)) for p in [*chain, base_path])
    if any(os.path.samefile(base_path, p) for p in chain):
        raise PresetError(f"{at} extends: goes round in a circle: {names}")
    if len(chain) > MAX_EXTENDS:
        raise PresetError(f"{at} extends: over {MAX_EXTENDS} presets deep: {names}")
    return _merge(_load(base_path, chain), layer)


def _bundled(name: str) -> Path | None:
    path = Path(name)
    if str(path.parent) in (".", "presets"):
        for preset in bundled_presets():
            if path.name in (preset.name, preset.stem):
                return _relative(preset)
    return None


def _no_preset(name: str) -> PresetError:
    path = Path(name)
    choices = {p.stem: p.stem for p in bundled_presets()}
    if os.path.isdir(path.parent):
        choices |= {p.stem: str(p) for p in path.parent.iterdir() if p.suffix in _ENDINGS}
    close = [choices[stem] for stem in _close(path.stem, choices)]
    names = ", ".join(sorted(choices.values())[:_LISTED])
    advice = f"there are: {names}" if names else "give the path of a file"
    if close:
        advice = f"did you mean {_either(close)}?"
    return PresetError(f"no preset '{printable(name, 200)}'; {printable(advice)}")


def _merge(base: _Layer, top: _Layer) -> _Layer:
    """Mappings are merged, all else is replaced by ``top``."""
    replaced: set[KeyPath] = set()

    def merge(below: dict[Any, Any], above: dict[Any, Any], path: KeyPath) -> dict[Any, Any]:
        result = dict(below)
        for key, value in above.items():
            here = (*path, key)
            if isinstance(value, dict) and isinstance(below.get(key), dict):
                result[key] = merge(below[key], value, here)
            else:
                result[key] = value
                replaced.add(here)
        return result

    data = merge(base.data, top.data, ())
    base.forget(replaced)
    return _Layer(data, base.positions | top.positions, base.values | top.values)


def _plugin(layer: _Layer, source: Path | None, wanted: str | None) -> str:
    data, shown = layer.data, printable(str(source))
    if "plugin" not in data:
        if wanted is not None:
            return wanted
        if close := [k for k in data if _close("plugin", [str(k)])]:
            at = _at(layer.positions[close[0],])
            raise PresetError(f"{at} unknown key {_show(close[0])}; did you mean 'plugin'?")
        raise PresetError(f"{shown}: missing key 'plugin'; name the tool, as in 'plugin: animate'")
    at = _at(layer.values["plugin",])
    name = data.pop("plugin")
    layer.forget({("plugin",)})
    if not isinstance(name, str) or not name:
        raise PresetError(f"{at} plugin: {_show(name)} is not the name of a tool")
    if wanted is not None and name.replace("-", "_") != wanted.replace("-", "_"):
        raise PresetError(
            f"{at} plugin: this preset is for {_show(name)}, not '{wanted}'; "
            f"run 'sdcreative {printable(name, 40)} {shown}'"
        )
    return name


def _assignment(data: dict[str | int, Any], text: str) -> tuple[KeyPath, object, str]:
    label = "--set " + printable(text, 60)
    name, equals, value = text.partition("=")
    parts = name.strip().split(".")
    if not equals:
        raise PresetError(f"{label}: no '='; write --set KEY=VALUE, as in --set steps=20")
    if not all(parts) or len(parts) > hardened_yaml.MAX_DEPTH:
        raise PresetError(f"{label}: {_show(name)} is not a key; write KEY or KEY.KEY, as in a.1.b")
    if parts[0] in ("plugin", "extends"):
        raise PresetError(f"{label}: '{parts[0]}' is set in the preset file only")
    path: list[str | int] = []
    node: Any = data
    for part in parts:
        number = int(part) if re.fullmatch("[0-9]{1,18}", part) else None
        where = ".".join(map(str, path))
        key: str | int = part if number is None else number
        if isinstance(node, list):
            if number is None or number >= len(node):
                span = f"from 0 to {len(node) - 1}" if node else "but it is empty"
                raise PresetError(f"{label}: {where} is a list; {part!r} is no index {span}")
            node = node[number]
        elif isinstance(node, dict):
            key = part if part in node else key
            node = node.get(key)
        elif node is not None:
            raise PresetError(f"{label}: {where} is {_show(node)}, which has no keys of its own")
        path.append(key)
    return tuple(path), hardened_yaml.parse_value(value, label), label


def _apply(
    layer: _Layer, labels: dict[KeyPath, str], path: KeyPath, value: object, label: str
) -> None:
    node: Any = layer.data
    for length, key in enumerate(path[:-1], 1):
        if isinstance(node, dict) and not isinstance(node.get(key), dict | list):
            node[key] = {}
            layer.forget({path[:length]})
            labels[path[:length]] = label
        node = node[key]
    node[path[-1]] = value
    layer.forget({path})
    for old in [p for p in labels if p[: len(path)] == path]:
        del labels[old]
    labels[path] = label


@dataclass(frozen=True)
class _Tag:
    """A part of pydantic's location that names a branch of a union, not a key."""

    name: str


@dataclass(frozen=True)
class _Fault:
    """One of pydantic's errors.

    Attributes:
        error: as pydantic gives it.
        loc: keys and indexes, with a _Tag for each branch of a union.
        kinds: the types that may stand there; for an unknown or missing key, around it.
    """

    error: dict[str, Any]
    loc: tuple[str | int | _Tag, ...]
    kinds: tuple[Any, ...]

    @property
    def path(self) -> KeyPath:
        return tuple(part for part in self.loc if not isinstance(part, _Tag))

    def is_shallow(self, faults: Iterable[_Fault]) -> bool:
        """Whether another fault lies inside the value that this one is about."""
        size = len(self.path)
        return any(len(f.path) > size and f.path[:size] == self.path for f in faults)

    @classmethod
    def locate(cls, error: dict[str, Any], annotation: Any, data: Any) -> _Fault:
        kinds: tuple[Any, ...] = (annotation,)
        loc: list[str | int | _Tag] = []
        raw = list(error["loc"])
        if error["type"] in ("missing", *_NOT_A_KEY):
            raw.pop()
        chosen = False
        for part in raw:
            members = _members(kinds)
            if len(members) > 1 and not chosen:
                kinds = tuple(m for m in members if _tagged(m, part)) or members
                chosen = len(kinds) > 1
                loc.append(_Tag(str(part)))
                continue
            if part == "[key]":
                break
            chosen = False
            present = isinstance(data, list | tuple) and type(part) is int and part < len(data)
            present = present or (isinstance(data, dict) and part in data)
            inner = tuple(kind for member in members for kind in _inside(member, part))
            if not present and not inner and isinstance(part, str):
                loc.append(_Tag(part))
                continue
            kinds, data = inner, data[part] if present else None
            loc.append(part)
        if len(raw) < len(error["loc"]):
            loc.append(error["loc"][-1])
        return cls(error, tuple(loc), kinds)


def _unwrap(kind: Any) -> Any:
    while True:
        if get_origin(kind) is Annotated:
            kind = get_args(kind)[0]
        elif hasattr(kind, "__value__"):
            kind = kind.__value__
        elif hasattr(kind, "__supertype__"):
            kind = kind.__supertype__
        elif getattr(kind, "__pydantic_root_model__", False):
            kind = kind.model_fields["root"].annotation
        else:
            return kind


def _members(kinds: Iterable[Any]) -> tuple[Any, ...]:
    """The branches among which pydantic's next location part chooses, without None."""
    found: list[Any] = []
    for kind in kinds:
        bare = _unwrap(kind)
        if get_origin(bare) in (Union, UnionType):
            found += [a for a in get_args(bare) if a is not type(None)]
        else:
            found.append(kind)
    if len(found) == 1 and get_origin(_unwrap(found[0])) in (Union, UnionType):
        return _members(found)
    return tuple(found)


def _tagged(member: Any, tag: Any) -> bool:
    """Whether a union's branch goes by this tag: its Tag, a Literal field of it, or its name."""
    if any(getattr(extra, "tag", None) == tag for extra in get_args(member)[1:]):
        return True
    bare = _unwrap(member)
    for info in getattr(bare, "model_fields", {}).values():
        if get_origin(info.annotation) is Literal and tag in get_args(info.annotation):
            return True
    name = getattr(bare, "__name__", "")
    return bool(name) and re.search(rf"\b{re.escape(name)}\b", str(tag)) is not None


def _hints(kind: Any) -> dict[str, Any]:
    """Keys -> types of a model, dataclass or typed dictionary; empty for anything else."""
    if hasattr(kind, "model_fields"):
        hints: dict[str, Any] = {}
        by_name = kind.model_config.get("populate_by_name") or kind.model_config.get(
            "validate_by_name"
        )
        for name, info in kind.model_fields.items():
            alias = info.validation_alias or info.alias
            for choice in getattr(alias, "choices", [alias] if alias else [name]):
                key = choice if isinstance(choice, str) else choice.path[0]
                hints[str(key)] = info.annotation
            if by_name:
                hints[name] = info.annotation
        return hints
    if is_dataclass(kind) or hasattr(kind, "__total__"):
        try:
            return get_type_hints(kind, include_extras=True)
        except NameError:
            return {}
    return {}


def _inside(kind: Any, part: str | int) -> tuple[Any, ...]:
    """The types that may stand at a key or index of ``kind``; empty where that is unknown."""
    bare = _unwrap(kind)
    hints = _hints(bare)
    if hints:
        return (hints[part],) if isinstance(part, str) and part in hints else ()
    arguments = [a for a in get_args(bare) if a is not Ellipsis]
    origin = get_origin(bare)
    if not isinstance(origin, type) or not arguments:
        return ()
    if issubclass(origin, tuple) and len(arguments) > 1 and isinstance(part, int):
        return tuple(arguments[part : part + 1])
    return (arguments[-1],)


def _convert(data: Any, fault: _Fault) -> bool:
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


def _instance(node: str | int, fault: _Fault) -> Any:
    wanted = fault.error["ctx"]["class"]
    if isinstance(node, str) and wanted in ("Path", "PurePath", "PathLike"):
        return Path(node)
    for kind in _enums(fault):
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


def _settle(faults: list[_Fault]) -> list[_Fault]:
    """Of each union keep the branch that was meant, or join what its branches expected."""
    settled: list[_Fault] = []
    groups: dict[tuple[Any, ...], dict[str, list[_Fault]]] = {}
    for fault in faults:
        tags = [(n, part) for n, part in enumerate(fault.loc) if isinstance(part, _Tag)]
        if not tags:
            settled.append(fault)
            continue
        index, tag = tags[0]
        rest = _Fault(fault.error, fault.loc[:index] + fault.loc[index + 1 :], fault.kinds)
        groups.setdefault(fault.loc[:index], {}).setdefault(tag.name, []).append(rest)
    for path, branches in groups.items():
        kept = [b for b in branches.values() if not any(_mismatch(f) and f.loc == path for f in b)]
        if kept:
            settled += _settle(min(kept, key=len))
            continue
        every = [f for branch in branches.values() for f in branch if f.loc == path]
        expected = " or ".join(dict.fromkeys(_expected(f) for f in every if _mismatch(f)))
        error = {**every[0].error, "type": "literal_error", "ctx": {"expected": expected}}
        settled.append(_Fault(error, path, every[0].kinds))
    return settled


_MAPPING = "a mapping of keys"
_WRONG_TYPE = {
    "int_type": "a whole number", "int_from_float": "a whole number",
    "int_parsing": "a whole number", "float_type": "a number", "float_parsing": "a number",
    "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "list_type": "a list", "tuple_type": "a list", "set_type": "a list",
    "frozen_set_type": "a list", "dict_type": _MAPPING, "model_type": _MAPPING,
    "model_attributes_type": _MAPPING, "dataclass_type": _MAPPING, "mapping_type": _MAPPING,
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


def _mismatch(fault: _Fault) -> bool:
    return fault.error["type"] in _WRONG_TYPE or fault.error["type"] in (
        "is_instance_of", "literal_error", "enum",
    )  # fmt: skip


def _expected(fault: _Fault) -> str:
    error = fault.error
    context = error.get("ctx", {})
    if enums := _enums(fault):
        return " or ".join(f"'{member.value}'" for kind in enums for member in kind)
    other = context.get("expected") or context.get("expected_tags") or context.get("class", "")
    return _WRONG_TYPE.get(error["type"]) or {"Path": "a path"}.get(other, str(other))


def _enums(fault: _Fault) -> list[type[enum.Enum]]:
    """The enumerations of which a member was expected."""
    name = fault.error.get("ctx", {}).get("class")
    kinds = [_unwrap(kind) for kind in _members(fault.kinds)]
    kinds = [k for k in kinds if isinstance(k, type) and issubclass(k, enum.Enum)]
    return [k for k in kinds if k.__name__ == name]


def _reason(fault: _Fault) -> str:
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
        return _RANGES[kind].format(value=_show(given), **counts)
    if kind in _RANGES:
        limits = {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
        return _RANGES[kind].format(value=_show(given), **limits)
    expected = _expected(fault)
    if not expected:
        return f"{_show(given)}: {printable(error['msg'])}"
    given = context.get("tag", given)
    hint = ""
    if kind == "string_type" and isinstance(given, bool | int | float):
        hint = "; put it in quotes"
    elif close := _close(str(given), re.findall(r"'([^']*)'", expected)):
        hint = f"; did you mean {_either(close)}?"
    return f"{_show(given)} is not {expected}{hint}"


def _line(preset: Preset, fault: _Fault) -> tuple[tuple[Any, ...], str]:
    """(order, message) of one fault: where it stands, its key, the reason."""
    kind, path = fault.error["type"], fault.path
    key = ".".join(map(str, path))
    if kind in ("missing", "union_tag_not_found"):
        name = fault.error["ctx"]["discriminator"] if kind != "missing" else f"'{path[-1]}'"
        around = path[:-1] if kind == "missing" else path
        return _place(preset, around, preset.positions, "", f"missing key {name}")
    if kind in _NOT_A_KEY:
        return _place(preset, path, preset.positions, "", _unknown(path, fault.kinds))
    if "[key]" in fault.error["loc"]:
        return _place(preset, path, preset.positions, key, "the key " + _reason(fault))
    if kind == "union_tag_invalid":
        path = (*path, fault.error["ctx"]["discriminator"].strip("'"))
        key = ".".join(map(str, path))
    return _place(preset, path, preset.values, key, _reason(fault))


def _unknown(path: KeyPath, kinds: Iterable[Any]) -> str:
    known = [name for kind in _members(kinds) for name in _hints(_unwrap(kind))]
    if len(path) == 1:
        known += ["plugin", "extends"]
    known = list(dict.fromkeys(known))
    if close := _close(str(path[-1]), known):
        return f"unknown key {_show(path[-1])}; did you mean {_either(close)}?"
    names = ", ".join(known[:_LISTED]) + (", …" if len(known) > _LISTED else "")
    return f"unknown key {_show(path[-1])}" + (f"; there are: {names}" if names else "")


def _place(
    preset: Preset, path: KeyPath, table: Mapping[KeyPath, Position], key: str, reason: str
) -> tuple[tuple[Any, ...], str]:
    text = f"{key}: {reason}" if key else reason
    for length in range(len(path), -1, -1):
        here = path[:length]
        if here in preset.labels:
            label = preset.labels[here]
            same = length == len(path) or not key
            return (2, label, 0, 0), f"{label}: {reason if same else text}"
        if here and (place := table.get(here) or preset.positions.get(here)):
            return (place[0] != preset.source, str(place[0]), *place[1:]), f"{_at(place)} {text}"
    where = "" if preset.source is None else f"{printable(str(preset.source))}: "
    return (0, str(preset.source), 0, 0), where + text


def _at(place: Position) -> str:
    return f"{printable(str(place[0]))}:{place[1]}:{place[2]}:"


def _show(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "a mapping of keys"
    if isinstance(value, list | tuple | set | frozenset):
        return "a list"
    return f"'{printable(value, 60)}'" if isinstance(value, str) else printable(repr(value), 60)


def _close(name: str, choices: Iterable[str]) -> list[str]:
    """The choices that look most like the name, best first; several only if nearly as close."""
    plain = {c.lower().replace("-", "_"): c for c in choices}
    name = name.lower().replace("-", "_")
    found = difflib.get_close_matches(name, plain)
    likeness = [difflib.SequenceMatcher(None, match, name).ratio() for match in found]
    return [plain[m] for m, r in zip(found, likeness, strict=True) if r > likeness[0] - 0.05]


def _either(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _relative(path: Path) -> Path:
    """The path as seen from the current folder, where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
