"""The record that a file carries: which tool made it, with which settings, model and versions.

It is JSON, under the tag ``sdcreative``:

    {"sdcreative": 1, "version": "0.1.0", "plugin": "image", "settings": {"prompt": "a bear", ...},
     "seed": 3, "model": {"name": "emoji", "digest": "9c…"}, "libraries": {"torch": "2.13.0", ...}}

The number after ``sdcreative`` is that of this form. There is no time in it, so that the same
settings give the same bytes.
"""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__
from ..errors import DataError, OutputError
from ..settings import PLACES

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ..settings import RenderSettings

FORMAT = 1
TAG = "sdcreative"
HASH_SHOWN = 10
"""digits of a digest that people see, as many as in AUTOMATIC1111"""
MOST_LEVELS = 25
LIBRARIES = ("torch", "diffusers", "transformers")


@dataclass(frozen=True)
class Provenance:
    """How a file was made.

    Attributes:
        plugin: name of the tool.
        settings: its settings as plain data; all of them where we wrote the file.
        version: of sdcreative; None where another program wrote the file.
        seed: of the noise.
        model: as the settings name it.
        digest: of the model's weights.
        libraries: name -> version.
        program: what wrote the file.
        left_out: what another program noted and we have no setting for, one text each.
    """

    plugin: str
    settings: Mapping[str, Any]
    version: str | None = None
    seed: int | None = None
    model: str | None = None
    digest: str | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)
    program: str = "sdcreative"
    left_out: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The record as it goes into a file."""
        record = {
            "sdcreative": FORMAT,
            "version": self.version,
            "plugin": self.plugin,
            "settings": self.settings,
            "seed": self.seed,
            "model": {"name": self.model, "digest": self.digest},
            "libraries": self.libraries,
        }
        text = json.dumps(record, ensure_ascii=False)
        # Half of a surrogate pair, from a command line that is not UTF-8, stays an escape.
        return text if text.isascii() or _is_unicode(text) else json.dumps(record)

    @classmethod
    def from_json(cls, text: str, path: Path) -> Provenance:
        """The record in a file.

        Raises:
            DataError: it is no record, or one of a newer sdcreative.
        """
        try:
            record = json.loads(text, parse_constant=_refuse)
        except (ValueError, RecursionError) as error:
            raise _broken(path, f"no JSON ({str(error).splitlines()[0]})") from error
        if _is_deep(record, MOST_LEVELS):
            raise _broken(path, f"nested over {MOST_LEVELS} levels")
        number = _get(path, record, "sdcreative", int)
        if number > FORMAT:
            raise DataError(
                f"{path}: written by a newer sdcreative (format {number}, this one knows "
                f"{FORMAT}); upgrade with 'pip install -U sdcreative'"
            )
        settings = _get(path, record, "settings", dict)
        model = record.get("model")
        libraries = record.get("libraries")
        return cls(
            plugin=_get(path, record, "plugin", str),
            settings={key: value for key, value in settings.items() if key not in PLACES},
            version=_optional(record, "version", str),
            seed=_optional(record, "seed", int),
            model=_optional(model, "name", str),
            digest=_optional(model, "digest", str),
            libraries={
                name: version
                for name, version in (libraries if isinstance(libraries, dict) else {}).items()
                if isinstance(version, str)
            },
        )


def kept_settings(tool_name: str, settings: BaseModel) -> dict[str, Any]:
    """All settings that decide what comes out, as plain data; inside them, what is no default.

    Raises:
        OutputError: settings of a plugin that have no form in JSON.
    """
    from pydantic_core import PydanticSerializationError

    try:
        whole = settings.model_dump(mode="json", by_alias=True, exclude=PLACES)
        chosen = settings.model_dump(
            mode="json", by_alias=True, exclude=PLACES, exclude_defaults=True
        )
    except PydanticSerializationError as error:
        raise OutputError(
            f"the settings of {tool_name!r} cannot be kept in the file: {error}; pass --no-metadata"
        ) from error
    return whole | chosen


def describe_run(
    tool_name: str, settings: RenderSettings, model_digest: str | None = None
) -> Provenance:
    """The record of a run. Versions are looked up without importing anything.

    Args:
        tool_name: which tool.
        settings: its settings, the seed drawn.
        model_digest: of the model's weights, in hexadecimal digits.

    Raises:
        OutputError: settings of a plugin that have no form in JSON.
    """
    return Provenance(
        plugin=tool_name,
        settings=kept_settings(tool_name, settings),
        version=__version__,
        seed=settings.seed,
        model=settings.model,
        digest=model_digest,
        libraries=library_versions(),
    )


def library_versions() -> dict[str, str]:
    """Versions of the libraries that have a say in a picture; imports none of them."""
    found: dict[str, str] = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _is_deep(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_is_deep(item, levels - 1) for item in inner)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")


def _broken(path: Path, why: str) -> DataError:
    return DataError(f"{path}: its tag 'sdcreative' is broken: {why}")


def _get(path: Path, record: Any, key: str, kind: type[Any]) -> Any:
    value = _optional(record, key, kind)
    if value is None:
        raise _broken(path, f"{key!r} is missing or not {kind.__name__}")
    return value


def _optional(record: Any, key: str, kind: type[Any]) -> Any:
    """The value of a key where it has the type that is wanted; a bool is no number."""
    value = record.get(key) if isinstance(record, dict) else None
    return value if isinstance(value, kind) and not isinstance(value, bool) else None
