"""A record to settings, and settings to a preset file."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, PresetError
from ..presets import Preset, validate
from ..presets.parsing import parse, printable, resolve_plain
from ..settings import PLACES
from .record import HASH_SHOWN, Provenance

if TYPE_CHECKING:
    from pydantic import BaseModel


def resolve(provenance: Provenance, settings_class: type[BaseModel], source: Path) -> BaseModel:
    """The settings in a record, checked as those of a preset are.

    Args:
        settings_class: of the record's tool.
        source: the file, for errors.

    Raises:
        PresetError: every fault, one line each.
    """
    ours = _without_defaults(provenance.settings, settings_class)
    try:
        return validate(Preset(provenance.plugin, ours, source), settings_class)
    except PresetError:
        # JSON has text as keys only; the preset may have had numbers there.
        numbered = Preset(provenance.plugin, _numbered(ours), source)
        with suppress(PresetError):
            return validate(numbered, settings_class)
        raise


def preset_text(
    provenance: Provenance,
    tool_name: str,
    settings_class: type[BaseModel],
    source: Path,
    output: str | None = None,
) -> str:
    """A preset that renders the same again: the settings that are not the defaults, and the seed.

    Args:
        tool_name: for the preset's ``plugin:``.
        settings_class: of that tool.
        source: the file that the record is from.
        output: for the preset's ``output:``; none if None.

    Raises:
        PresetError: the settings are not valid, or not such as a preset can hold.
    """
    import yaml

    settings = resolve(provenance, settings_class, source)
    data = {"plugin": tool_name, **_chosen(settings)}
    expected = settings.model_dump()
    if output is not None:
        data["output"] = expected["output"] = output
    body: str = yaml.dump(data, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=96)
    text = "".join(f"# {line}\n" for line in _comments(provenance, source)) + body
    read = parse(text, printable(str(source))).data
    again = dict(read) if isinstance(read, dict) else {}
    again.pop("plugin", None)
    same = validate(Preset(tool_name, again, source), settings_class)
    if same.model_dump() != expected:
        raise DataError(f"{source}: the settings of {tool_name!r} do not survive being a preset")
    return text


def another_output(source: Path, suffix: str | None) -> str | None:
    """A name beside that of a finished file, for one of the same format.

    Args:
        source: the file, a folder of frames, or one of these.
        suffix: what the tool's output ends in where no name is given; None if it says so itself.

    Returns:
        None where that is the same ending anyway: the output is then named after the preset.
    """
    ending = "/" if source.is_dir() else source.suffix
    if ending.lower() == suffix:
        return None
    if ending.lower() == ".png" and suffix in (".mp4", ".mov", ".mkv", ".gif", ".apng"):
        ending = "/"  # a film is no PNG, but may be a folder of them
    stem = source.resolve().name if source.is_dir() else source.stem
    return re.sub(r"[^\w .+-]", "_", f"{stem}_again") + ending


def _comments(provenance: Provenance, source: Path) -> list[str]:
    by = f"sdcreative {provenance.version}" if provenance.version else provenance.program
    lines = [f"The settings in {source.name}, made by {by}."]
    if provenance.digest:
        lines.append(f"The model had the weights {provenance.digest[:HASH_SHOWN]}.")
    lines += [f"Not taken over: {item}" for item in provenance.left_out]
    return [printable(line, 200) for line in lines]


def _chosen(settings: BaseModel) -> dict[str, Any]:
    """Settings that differ from the defaults, and the seed, in the order of the class."""
    chosen = settings.model_dump(exclude_defaults=True, by_alias=True, exclude=PLACES)
    if "seed" in type(settings).model_fields:
        chosen["seed"] = settings.model_dump(include={"seed"})["seed"]
    order = [_key(name, info) for name, info in type(settings).model_fields.items()]
    return {key: _plain(chosen[key]) for key in order if key in chosen}


def _key(name: str, info: Any) -> str:
    return str(info.serialization_alias or info.alias or name)


def _plain(value: Any) -> Any:
    """What YAML can hold: keys stay numbers, tuples become lists."""
    from pydantic_core import to_jsonable_python

    if isinstance(value, Mapping):
        return {k if isinstance(k, int) else str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return to_jsonable_python(value)


def _without_defaults(
    settings: Mapping[str, Any], settings_class: type[BaseModel]
) -> dict[str | int, Any]:
    """A record names every setting; some classes mind settings that mean nothing being given."""
    from pydantic_core import to_jsonable_python

    kept: dict[str | int, Any] = {k: v for k, v in settings.items() if k not in PLACES}
    for name, info in settings_class.model_fields.items():
        key = _key(name, info)
        if key in kept and not info.is_required():
            default = to_jsonable_python(info.get_default(call_default_factory=True))
            if kept[key] == default and type(kept[key]) is type(default):
                del kept[key]
    return kept


def _numbered(value: Any, top: bool = True) -> Any:
    """Keys of digits as numbers, below the top."""
    if isinstance(value, dict):
        return {
            int(k) if not top and isinstance(k, str) and _is_number(k) else k: _numbered(v, False)
            for k, v in value.items()
        }
    return [_numbered(item, False) for item in value] if isinstance(value, list) else value


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdecimal() and str(int(key[:18])) == key


def _dumper() -> Any:
    """PyYAML writes YAML 1.1; what YAML 1.2 would take for a number or nothing gets quotes."""
    import yaml

    class Dumper(yaml.SafeDumper):  # type: ignore[misc, unused-ignore]
        pass

    def quote(dumper: Any, text: str) -> Any:
        try:
            plain = resolve_plain(text) == text
        except ValueError:
            plain = False
        style = None if plain else "'"
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, quote)
    return Dumper
