"""Every error this project raises on purpose.

SdcreativeError               exit code 1
├── UsageError                exit code 2: bad flags, presets, settings
│   └── PresetError           a preset file, with line and column
├── ModelError                a checkpoint that cannot be found, read or trusted
├── DataError                 pictures, captions, audio given as input
├── OutputError               files that cannot be written, encoded or checked
├── RenderError               a frame that came out black or NaN, out of memory
└── PluginError               a plugin that is broken or clashes with another
"""

from __future__ import annotations


class SdcreativeError(Exception):
    """Base of the family; its message is one clear line: what, where, what to do."""

    exit_code = 1


class UsageError(SdcreativeError):
    """Flags, settings or values outside their range."""

    exit_code = 2


class PresetError(UsageError):
    """A preset file that does not hold valid settings; one message line per fault."""


class ModelError(SdcreativeError):
    """A model that cannot be found, read or trusted."""


class DataError(SdcreativeError):
    """Input pictures, captions or audio that cannot be used."""


class OutputError(SdcreativeError):
    """An output that cannot be written, encoded or verified."""


class RenderError(SdcreativeError):
    """A render that produced no valid picture."""


class PluginError(SdcreativeError):
    """A plugin that is broken or registers something another plugin owns."""
