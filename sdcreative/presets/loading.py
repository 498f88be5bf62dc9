"""Preset files: found, read with what they extend, and overlaid by flags.

A preset names the tool it is for (``plugin: animate``), may build on another (``extends: base``)
and holds the tool's settings. Later sources win: extended preset, preset, ``--set``, flags.
"""

from __future__ import annotations

import copy
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PresetError
from . import parsing
from .model import Position, Preset, where
from .parsing import KeyPath, printable
from .wording import closest, either, show

MAX_EXTENDS = 10
_PACKAGE = "sdcreative_presets"
_ENDINGS = (".yaml", ".yml")
_LISTED = 12


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
    document = parsing.read(path, shown)
    data = document.data
    if not isinstance(data, dict):
        what = "empty" if data is None else f"{show(data)} where keys are expected"
        raise PresetError(f"{shown}:1:1: {what}; write keys such as 'plugin: animate'")
    layer = _Layer(
        data,
        {p: (path, *place) for p, place in document.positions.items()},
        {p: (path, *place) for p, place in document.values.items()},
    )
    chain = [*chain, path]
    if "extends" not in data:
        return layer
    at = where(layer.values["extends",])
    name = data.pop("extends")
    layer.forget({("extends",)})
    if not isinstance(name, str) or not name:
        raise PresetError(f"{at} extends: {show(name)} is not the path or name of a preset")
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
    close = [choices[stem] for stem in closest(path.stem, choices)]
    names = ", ".join(sorted(choices.values())[:_LISTED])
    advice = f"there are: {names}" if names else "give the path of a file"
    if close:
        advice = f"did you mean {either(close)}?"
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
        if close := [k for k in data if closest("plugin", [str(k)])]:
            at = where(layer.positions[close[0],])
            raise PresetError(f"{at} unknown key {show(close[0])}; did you mean 'plugin'?")
        raise PresetError(f"{shown}: missing key 'plugin'; name the tool, as in 'plugin: animate'")
    at = where(layer.values["plugin",])
    name = data.pop("plugin")
    layer.forget({("plugin",)})
    if not isinstance(name, str) or not name:
        raise PresetError(f"{at} plugin: {show(name)} is not the name of a tool")
    if wanted is not None and name.replace("-", "_") != wanted.replace("-", "_"):
        raise PresetError(
            f"{at} plugin: this preset is for {show(name)}, not '{wanted}'; "
            f"run 'sdcreative {printable(name, 40)} {shown}'"
        )
    return name


def _assignment(data: dict[str | int, Any], text: str) -> tuple[KeyPath, object, str]:
    label = "--set " + printable(text, 60)
    name, equals, value = text.partition("=")
    parts = name.strip().split(".")
    if not equals:
        raise PresetError(f"{label}: no '='; write --set KEY=VALUE, as in --set steps=20")
    if not all(parts) or len(parts) > parsing.MAX_DEPTH:
        raise PresetError(f"{label}: {show(name)} is not a key; write KEY or KEY.KEY, as in a.1.b")
    if parts[0] in ("plugin", "extends"):
        raise PresetError(f"{label}: '{parts[0]}' is set in the preset file only")
    path: list[str | int] = []
    node: Any = data
    for part in parts:
        number = int(part) if re.fullmatch("[0-9]{1,18}", part) else None
        so_far = ".".join(map(str, path))
        key: str | int = part if number is None else number
        if isinstance(node, list):
            if number is None or number >= len(node):
                span = f"from 0 to {len(node) - 1}" if node else "but it is empty"
                raise PresetError(f"{label}: {so_far} is a list; {part!r} is no index {span}")
            node = node[number]
        elif isinstance(node, dict):
            key = part if part in node else key
            node = node.get(key)
        elif node is not None:
            raise PresetError(f"{label}: {so_far} is {show(node)}, which has no keys of its own")
        path.append(key)
    return tuple(path), parsing.parse_value(value, label), label


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


def _relative(path: Path) -> Path:
    """The path as seen from the current folder, where it lies below it."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
