"""What a preset says under ``audio: {music: ...}``: settings of a tool that makes sound.

music: {prompt: techno, tempo: 120, bars: 4}      # of the tool `music`
music: {plugin: my_synth, notes: c e g}           # of another tool
music: presets/loop_techno.yaml                   # a preset file, or a bundled preset's name
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ..errors import PresetError
from ..presets.faults import SettingError
from ..presets.loading import load_preset
from ..presets.nested import NestedError, validate_nested
from ..presets.validation import validate
from ..presets.wording import closest, either, show
from ..tools import Tool

USUAL = "music"
"""the tool where none is named"""
ENDINGS = (".wav", ".flac", ".ogg", ".mp3")
"""a tool makes sound if the output that it names itself ends in one of these"""
_PLUGIN = "plugin"
_OUTPUTS = ("output", "also")

TOOLS: dict[str, Tool] = {}
"""Those of all plugins, by name; the host puts them here."""


@dataclass(frozen=True)
class Music:
    """A tool that makes sound, and what it is told.

    Attributes:
        settings: an instance of ``tool.settings``.
    """

    tool: Tool
    settings: BaseModel


def read_music(said: dict[str, Any], **more: Any) -> Music:
    """The tool and its settings.

    Args:
        said: as in a preset; ``plugin`` names another tool.
        more: settings that are added, such as ``output``, as a preset would hold them. Those that
            the tool does not have are left out.

    Raises:
        SettingError: the first fault, with its key.
    """
    tool = _find(said.get(_PLUGIN, USUAL))
    known = {key: value for key, value in more.items() if key in tool.settings.model_fields}
    given = {key: value for key, value in said.items() if key != _PLUGIN}
    try:
        return Music(tool, validate_nested(given | known, tool.settings))
    except NestedError as error:
        path, words = error.faults[0]
        raise SettingError(words, *path) from None


def check_music(said: dict[str, Any]) -> None:
    """Refuse what is not settings of a tool that makes sound.

    Raises:
        SettingError: the first fault, with its key.
    """
    for key in _OUTPUTS:
        if key in said:
            raise SettingError("the film has the music; leave it out", key)
    read_music(said)


def preset_settings(name: str) -> dict[str, Any]:
    """The settings of a preset, and its tool where that is not the usual one.

    With these in the place of the preset's name, a film's record holds its music, and not where a
    preset lay on someone's disk. An output of the preset's own is left out.

    Raises:
        SettingError: no such preset, or faults in it, with their places in its file.
    """
    try:
        preset = load_preset(name)
        tool = _find(preset.plugin)
        validate(preset, tool.settings)
    except PresetError as error:
        raise SettingError("; ".join(str(error).split("\n"))) from None
    except SettingError as error:
        raise SettingError(f"{preset.source}: {error}") from None
    plugin = {} if tool.name == USUAL else {_PLUGIN: tool.name}
    settings = {str(key): value for key, value in preset.settings.items() if key not in _OUTPUTS}
    return plugin | settings


def _find(name: Any) -> Tool:
    makers = [tool.name for tool in TOOLS.values() if _sounds(tool)]
    there = f"there are: {', '.join(makers)}" if makers else "see 'sdcreative plugins'"
    if not isinstance(name, str):
        raise SettingError(f"{show(name)} is not the name of a tool; {there}", _PLUGIN)
    for spelt in (name, name.replace("-", "_"), name.replace("_", "-")):
        if (tool := TOOLS.get(spelt)) is not None:
            if not _sounds(tool):
                raise SettingError(f"the tool {show(name)} makes no sound; {there}", _PLUGIN)
            return tool
    close = closest(name, makers)
    hint = f"did you mean {either(close)}?" if close else there
    path = () if name == USUAL else (_PLUGIN,)
    raise SettingError(f"no plugin has a tool {show(name)}; {hint}", *path)


def _sounds(tool: Tool) -> bool:
    fields = tool.settings.model_fields
    return getattr(tool, "suffix", None) in ENDINGS and "output" in fields
