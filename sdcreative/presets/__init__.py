"""Preset files: read, checked against a tool's settings, described by a JSON Schema."""

from .faults import SettingError
from .json_schema import schema
from .loading import bundled_presets, find_preset, load_preset
from .model import Preset
from .validation import validate

__all__ = [
    "Preset",
    "SettingError",
    "bundled_presets",
    "find_preset",
    "load_preset",
    "schema",
    "validate",
]
