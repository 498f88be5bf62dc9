"""How a model's pictures become sound: ``spectrogram.json``, beside its ``model_index.json``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError
from .params import SpectrogramParams

FILE = "spectrogram.json"
_VERSION = 1
_LARGEST = 64_000
"""bytes; a real one has 300"""
_PARAMS = tuple(field.name for field in fields(SpectrogramParams))
_KEYS = ("version", *_PARAMS, "max_value")
_HIGHEST = 1e15
"""above every magnitude, so that no number is too long to be printed"""
_KINDS = {bool: "true or false", int: "a number"}


def read_model_spectrogram(folder: Path) -> tuple[SpectrogramParams, float] | None:
    """What the training of a model has written down about its pictures.

    Args:
        folder: of the model.

    Returns:
        The bands, and the magnitude that black stands for; None if the model says nothing.

    Raises:
        DataError: a file that cannot be read, is over 64 kB or no JSON, of another version, with
            keys that are missing or unknown, or with values out of their range.
    """
    path = folder / FILE
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    if len(content) > _LARGEST:
        raise DataError(f"{path}: over {_LARGEST // 1000} kB; it says nothing of a spectrogram")
    try:
        return _checked(_parsed(content))
    except UsageError as error:
        raise DataError(f"{path}: {error}") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}; copy it again from where it was trained") from error


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        values = json.loads(content.decode("utf-8"), object_pairs_hook=_once)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"no JSON ({error})") from error
    if not isinstance(values, dict):
        raise ValueError("no JSON object")
    return values


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key stands in it twice")
    return values


def _checked(values: dict[str, Any]) -> tuple[SpectrogramParams, float]:
    version = values.get("version")
    if type(version) is not int or version != _VERSION:
        raise UsageError(f"version is {_shown(version)}; this sdcreative reads {_VERSION}")
    missing = [key for key in _KEYS if key not in values]
    unknown = [key for key in values if key not in _KEYS]
    if missing or unknown:
        said = [f"{key} is missing" for key in missing[:1]]
        said += [f"{_shown(key)} is unknown" for key in unknown[:1]]
        raise ValueError(", ".join(said))
    for key in (*_PARAMS, "max_value"):
        value, wanted = values[key], (bool,) if key == "stereo" else (int, float)
        if type(value) not in wanted or not abs(value) < _HIGHEST:
            raise UsageError(f"{key} is {_shown(value)}; give {_KINDS[wanted[0]]}")
    max_value = float(values["max_value"])
    if max_value <= 0:
        raise UsageError(f"max_value is {max_value:g}; give a number above 0")
    return SpectrogramParams(**{name: values[name] for name in _PARAMS}), max_value


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
