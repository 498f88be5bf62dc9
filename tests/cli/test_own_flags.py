"""Flags that a tool has for itself, made of its settings."""

from __future__ import annotations

from typing import Annotated, Any

import click
import pytest
from click.testing import CliRunner
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field

from sdcreative import PictureTool, PresetError, RenderSettings, Strict, Timeline
from sdcreative.cli.own_flags import own_flags, own_values


class Sound(Strict):
    file: str


class Tune(RenderSettings):
    model_config = ConfigDict(use_attribute_docstrings=True)

    tempo: Annotated[float, Field(ge=20)] | None = None
    """beats per minute, as in ``audio``"""
    beat_key: Annotated[str, AfterValidator(str.strip)] | None = None
    """such as
    A minor"""
    negative_prompt: str = ""
    loop: bool = False
    also: list[str] = Field(default=[])
    audio: Annotated[Sound, BeforeValidator(lambda value: value)] | None = None


NAMES = ("tempo", "beat_key", "negative_prompt", "loop", "also", "audio")
TOOL = PictureTool("tune", "A tune", Tune, lambda said: Timeline(list, 0), flags=NAMES)


def given(*words: str) -> dict[str, tuple[object, str]]:
    found: dict[str, tuple[object, str]] = {}

    def keep(**flags: Any) -> None:
        found.update(own_values(TOOL, flags))

    command = click.Command("tune", callback=keep, params=[*own_flags(TOOL)])
    result = CliRunner().invoke(command, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return found


def test_help_is_what_the_settings_say() -> None:
    tempo, key, negative, loop, *_ = own_flags(TOOL)
    assert tempo.help == "Beats per minute, as in audio."
    assert tempo.metavar == "VALUE"
    assert key.opts == ["--beat-key"]
    assert key.help == "Such as A minor."
    assert key.metavar == negative.metavar == "TEXT"
    assert negative.help is None
    assert loop.is_flag


def test_nothing_given_changes_nothing() -> None:
    assert given() == {}


def test_values_are_read_as_in_a_preset() -> None:
    assert given("--tempo", "120") == {"tempo": (120, "--tempo")}
    assert given("--tempo", "fast") == {"tempo": ("fast", "--tempo")}
    assert given("--audio", "{file: a.wav}") == {"audio": ({"file": "a.wav"}, "--audio")}
    assert given("--audio", "A: b #1.wav") == {"audio": ("A: b #1.wav", "--audio")}
    with pytest.raises(PresetError, match=r"^--audio: .*needs quotes around it"):
        given("--audio", "[live].wav")


def test_text_is_text_whatever_it_looks_like() -> None:
    assert given("--beat-key", "3") == {"beat_key": ("3", "--beat-key")}
    assert given("--negative-prompt", "{no") == {"negative_prompt": ("{no", "--negative-prompt")}


def test_a_flag_is_true_and_a_list_is_given_bit_by_bit() -> None:
    assert given("--loop") == {"loop": (True, "--loop")}
    assert given("--also", "a.png", "--also", "1.mp4") == {"also": (["a.png", "1.mp4"], "--also")}


def test_a_tool_without_flags_has_none() -> None:
    plain = PictureTool("tune", "A tune", Tune, lambda said: Timeline(list, 0))
    assert own_flags(plain) == []
    assert own_values(plain, {"tempo": "3"}) == {}
