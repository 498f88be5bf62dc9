"""Presets: every fault is one line with file, line, column and remedy; everything else loads."""

from __future__ import annotations

import enum
import math
import random
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sdcreative import presets
from sdcreative.errors import PresetError
from sdcreative.presets import (
    bundled_presets,
    find_preset,
    load_preset,
    schema,
    validate,
)
from sdcreative.presets.faults import SettingError
from sdcreative.presets.parsing import parse, parse_value, resolve_plain
from sdcreative.settings import RenderSettings, Strict


class Keyframe(Strict):
    prompt: str
    at: Annotated[int, Field(ge=0)] = 0
    weights: tuple[float, ...] = ()


class Walk(Strict):
    kind: Literal["walk"]
    seeds: Annotated[list[int], Field(min_length=2)]


class Circle(Strict):
    kind: Literal["circle"]
    radius: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _small(self) -> Circle:
        if self.radius > 9:
            raise ValueError("a circle that large leaves the canvas; keep the radius to 9")
        return self


class Colour(enum.Enum):
    RED = "red"


class Film(RenderSettings):
    keyframes: Annotated[list[Keyframe], Field(min_length=1)]
    path: Annotated[Walk | Circle, Field(discriminator="kind")] | None = None
    either: Keyframe | Circle | int | None = None
    fps: Annotated[float, Field(gt=0, le=120)] = 12.0
    prompts: dict[int, str] = Field(default={})
    folder: Path | None = None
    colour: Colour | None = None
    boxes: list[tuple[int, int]] = Field(default=[])
    shape: list[Keyframe] | tuple[int, int] | None = None
    loop: bool = False
    note: Annotated[str, Field(alias="remark")] = ""


BEAR = """\
# runs offline
plugin: animate
steps: 8
fps: 12
size: 64x64
keyframes:
  - {prompt: a bear, at: 0}
  - prompt: a red apple
    at: 30
    weights: [1, 0.5]
path:
  kind: walk
  seeds: [1, 2]
prompts: {0: no, 60: pear}
"""


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write(text: str, name: str = "bear.yaml") -> str:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text, encoding="utf-8")
    return name


def film(text: str, **arguments: Any) -> Film:
    return validate(load_preset(write(text), **arguments), Film)


def fault(text: str, **arguments: Any) -> str:
    with pytest.raises(PresetError) as error:
        film(text, **arguments)
    return str(error.value)


HEAD = "plugin: animate\nkeyframes: [{prompt: a}]\n"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("1:30", "1:30"),
        ("1e3", 1000.0),
        ("012", 12),
        ("0o14", 12),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("0b1", "0b1"),
        ("2024-01-01", "2024-01-01"),
        ("-5", -5),
        ("+.5", 0.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("Null", None),
        ("~", None),
        ("", None),
        ("=", "="),
        (".", "."),
        ("٣", "٣"),
    ],
)
def test_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    for read in (resolve_plain(text), parse(f"- {text}", "x").data[0], parse_value(text, "x")):  # type: ignore[index]
        assert (type(read), read) == (type(value), value)


def test_nan_is_read_and_refused_by_the_settings() -> None:
    assert fault(HEAD + "fps: .nan\n") == "bear.yaml:3:6: fps: nan is not a finite number"
    assert fault(HEAD + "fps: 1e999\n") == "bear.yaml:3:6: fps: inf is not a finite number"


def test_keys_are_text_or_whole_numbers_with_their_places() -> None:
    document = parse("\ufeff{0: bear, 60: [a,\n  {b: c}]}", "x")
    assert document.data == {0: "bear", 60: ["a", {"b": "c"}]}
    assert document.positions == {
        (0,): (1, 2),
        (60,): (1, 11),
        (60, 0): (1, 16),
        (60, 1): (2, 3),
        (60, 1, "b"): (2, 4),
    }
    assert document.values[60, 1, "b"] == (2, 7)


TRAPS = [
    ("a: &x [1]\nb: *x", "1:4: anchor '&x'; leave it out, or put text in quotes"),
    ("a: *bear*", "1:4: text that starts with '*' or '&' needs quotes around it"),
    ("a: *x", "1:4: alias '*x'; write the value out, or put text with '*' in quotes"),
    ("a: 1\nb: 2\na: 3", "3:1: key 'a' again, after line 1; keep one of them"),
    ("{0: a, 00: b}", "1:8: key '0' again, after line 1; keep one of them"),
    (
        "a: !!python/object:os.system x",
        "1:4: tag '!!python/object:os.system'; leave it out, or put text in quotes",
    ),
    ("a: !!int 1", "1:4: tag '!!int'; leave it out, or put text in quotes"),
    ("a: ! 1", "1:4: tag '!'; leave it out, or put text in quotes"),
    ("a: 1\n---\nb: 1", "2:1: a second document; keep one preset in each file"),
    ("[" * 21 + "]" * 21, "1:21: nested over 20 levels; make it flatter"),
    ("[" * 5000, "1:21: nested over 20 levels; make it flatter"),
    ("<<: {a: 1}", "1:1: merge key '<<'; write the keys out, or use 'extends:'"),
    ("true: 1", "1:1: key 'true' is neither text nor a whole number; put it in quotes"),
    ("? [a]\n: 1", "1:3: a list or mapping as a key; use text or a whole number"),
    ("a:\n\tb: 1", "2:1: a tab; indent with spaces"),
    ("a: 'x", "1:4: a quote that is never closed; add the closing quote"),
    ('a: "x\n---\n', "1:4: a quote that is not closed before '---'; add the closing quote"),
    ("a: [1, 2", "1:4: an opening bracket whose ',' or ']' is missing"),
    ("a: @b", "1:4: text that starts with '@' needs quotes around it"),
    ("a: b: c", "1:5: a ': ' too many; quote text that holds ': ', or see the line above"),
    ("steps:20\nb: 1", "2:2: a ': ' too many; quote text that holds ': ', or see the line above"),
    (
        "a:\n  b: 1\n c: 2",
        "3:2: this does not line up with the lines above, or a quote is too many",
    ),
    ('a: "\\0"', "1:4: text with the control character U+0000; leave it out"),
    ('a: "\\ud800"', "1:4: text with the control character U+D800; leave it out"),
    ('a: "\\UFFFFFFFF"', "1:7: an escape that is no character; use '\\\\' or single quotes"),
    ("a: 1\nb: \x1b[31m", "2:4: control character U+001B; delete it"),
    ("a: " + "9" * 5000, "1:4: a number of over 40 digits; put it in quotes if it is text"),
]


@pytest.mark.parametrize(("text", "message"), TRAPS)
def test_traps_of_yaml_are_refused(text: str, message: str) -> None:
    with pytest.raises(PresetError) as error:
        parse(text, "bear.yaml")
    assert str(error.value) == f"bear.yaml:{message}"


def test_depth_20_is_allowed() -> None:
    assert parse("[" * 20 + "]" * 20, "x").data


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: \xff", "2:4: byte 0xff is not UTF-8 text; save the file as UTF-8"),
        ("a: 1".encode("utf-16"), "1:1: UTF-16 text; save the file as UTF-8"),
        (b"#" * 1_000_001, "1:1: over 1,000,000 bytes; is this a preset?"),
        (b"", "1:1: empty; write keys such as 'plugin: animate'"),
        (b"# a\n", "1:1: empty; write keys such as 'plugin: animate'"),
        (b"- a", "1:1: a list where keys are expected; write keys such as 'plugin: animate'"),
    ],
)
def test_files_that_are_no_presets(content: bytes, message: str) -> None:
    Path("bear.yaml").write_bytes(content)
    with pytest.raises(PresetError) as error:
        load_preset("bear.yaml")
    assert str(error.value) == f"bear.yaml:{message}"


def test_a_whole_preset() -> None:
    preset = load_preset(write(BEAR))
    assert (preset.plugin, preset.source) == ("animate", Path("bear.yaml"))
    assert "plugin" not in preset.settings
    assert preset.positions["keyframes", 1, "at"] == (Path("bear.yaml"), 9, 5)
    assert preset.values["keyframes", 1, "at"] == (Path("bear.yaml"), 9, 9)
    settings = validate(preset, Film)
    assert settings.size == (64, 64)
    assert settings.keyframes[1] == Keyframe(prompt="a red apple", at=30, weights=(1.0, 0.5))
    assert settings.prompts == {0: "no", 60: "pear"}
    assert settings.path == Walk(kind="walk", seeds=[1, 2])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "either: {prompt: a, 3: b}",
            "3:21: unknown key 3; there are: prompt, at, weights",
        ),
        ("colour: 1", "3:9: colour: 1 is not 'red'"),
        ("folder: 1", "3:9: folder: 1 is not a path"),
        ("steps: ten", "3:8: steps: 'ten' is not a whole number"),
        ("steps: 0", "3:8: steps: 0 is too small; at least 1"),
        ("steps: 1001", "3:8: steps: 1001 is too large; at most 1000"),
        ("steps: 20.0", "3:8: steps: 20.0 is not a whole number"),
        ("steps: true", "3:8: steps: true is not a whole number"),
        ("steps:", "3:7: steps: null is not a whole number"),
        ("fps: 0", "3:6: fps: 0 is too small; over 0"),
        ("fps: true", "3:6: fps: true is not a number"),
        ("loop: 1", "3:7: loop: 1 is not true or false"),
        ("loop: no", "3:7: loop: 'no' is not true or false"),
        ("sampler: 5", "3:10: sampler: 5 is not text; put it in quotes"),
        ("model: ''", "3:8: model: '' is too short; at least 1 character"),
        ("seed: [1]", "3:7: seed: a list is not a whole number"),
        (
            "size: 7",
            "3:7: size: 7 is not a size; give pixels (512) or WIDTHxHEIGHT (768x512)",
        ),
        (
            "dtype: flot16",
            "3:8: dtype: 'flot16' is not 'auto', 'float32', 'float16' or 'bfloat16'; "
            "did you mean 'float16'?",
        ),
        ("stesp: 3", "3:1: unknown key 'stesp'; did you mean 'steps'?"),
        ("guidance-scale: 3", "3:1: unknown key 'guidance-scale'; did you mean 'guidance_scale'?"),
        ("extend: x", "3:1: unknown key 'extend'; did you mean 'extends'?"),
        ("remarc: x", "3:1: unknown key 'remarc'; did you mean 'remark'?"),
        ("prompts: {a: b}", "3:11: prompts.a: the key 'a' is not a whole number"),
        ("prompts: {1: 2}", "3:14: prompts.1: 2 is not text; put it in quotes"),
        (
            "path: {kind: walk, seed: [1]}",
            "3:1: missing key 'seeds'\nbear.yaml:3:20: unknown key 'seed'; did you mean 'seeds'?",
        ),
        ("path: {kind: walk, seeds: [1]}", "3:27: path.seeds: 1 item; at least 2 items"),
        (
            "path: {kind: wlak}",
            "3:14: path.kind: 'wlak' is not 'walk', 'circle'; did you mean 'walk'?",
        ),
        ("path: {seeds: [1, 2]}", "3:1: missing key 'kind'"),
        (
            "path: {kind: circle, radius: 10}",
            "3:7: path: a circle that large leaves the canvas; keep the radius to 9",
        ),
        ("path: 3", "3:7: path: 3 is not a mapping of keys"),
        ("either: {prompt: a, att: 1}", "3:21: unknown key 'att'; did you mean 'at'?"),
        ("either: x", "3:9: either: 'x' is not a mapping of keys or a whole number"),
        ("shape: x", "3:8: shape: 'x' is not a list"),
        ("boxes: [[1, 2], [1, b]]", "3:21: boxes.1.1: 'b' is not a whole number"),
        ("boxes: [[1, 2], 3]", "3:17: boxes.1: 3 is not a list"),
        ("colour: blue", "3:9: colour: 'blue' is not 'red'"),
    ],
)
def test_faults_in_settings(line: str, message: str) -> None:
    assert fault(HEAD + line + "\n") == f"bear.yaml:{message}"


def test_the_branch_of_a_union_that_was_meant_is_reported() -> None:
    assert fault(HEAD + "shape: [{promt: x, prompt: y}]") == (
        "bear.yaml:3:10: unknown key 'promt'; did you mean 'prompt'?"
    )


def test_all_faults_at_once_in_the_order_of_the_file() -> None:
    text = BEAR.replace("steps: 8", "steps: ten").replace("keyframes:", "keyfranes:")
    text = text.replace("kind: walk", "kind: walk\n  seads: 1")
    assert fault(text).splitlines() == [
        "bear.yaml: missing key 'keyframes'",
        "bear.yaml:3:8: steps: 'ten' is not a whole number",
        "bear.yaml:6:1: unknown key 'keyfranes'; did you mean 'keyframes'?",
        "bear.yaml:13:3: unknown key 'seads'; did you mean 'seeds'?",
    ]


class Pair(Strict):
    films: list[Keyframe]

    @model_validator(mode="after")
    def _later(self) -> Pair:
        if self.films[1].at == 0:
            raise SettingError("too early", "films", 1, "at")
        return self


def test_validators_of_a_whole_class_name_the_key_at_fault() -> None:
    text = "plugin: x\nfilms:\n  - {prompt: a}\n  - prompt: b\n"
    for line, place in (("    at: 0\n", "5:9"), ("", "4:5")):
        with pytest.raises(PresetError) as error:
            validate(load_preset(write(text + line)), Pair)
        assert str(error.value) == f"bear.yaml:{place}: films.1.at: too early"
    preset = load_preset(write(text), assignments=["films.1.at=0"])
    with pytest.raises(PresetError, match=r"^--set films\.1\.at=0: too early$"):
        validate(preset, Pair)


def test_nested_keys_are_placed_and_missing_ones_at_their_item() -> None:
    text = "plugin: animate\nkeyframes:\n  - prompt: a\n  - promt: b\n    at: -1\n"
    assert fault(text).splitlines() == [
        "bear.yaml:4:5: missing key 'prompt'",
        "bear.yaml:4:5: unknown key 'promt'; did you mean 'prompt'?",
        "bear.yaml:5:9: keyframes.1.at: -1 is too small; at least 0",
    ]


def test_an_unknown_key_that_resembles_nothing_lists_what_there_is() -> None:
    text = HEAD.replace("prompt: a", "prompt: a, zzz: 1")
    assert fault(text) == "bear.yaml:2:25: unknown key 'zzz'; there are: prompt, at, weights"


def test_yaml_lists_and_text_stand_for_what_yaml_cannot_write() -> None:
    settings = film(HEAD + "boxes: [[1, 2]]\nfolder: out\ncolour: red\nshape: [3, 4]\nfps: 1\n")
    assert settings.boxes == [(1, 2)]
    assert settings.folder == Path("out")
    assert settings.colour is Colour.RED
    assert settings.shape == (3, 4)
    assert settings.fps == 1.0


def test_settings_classes_without_strictness_are_taken_strictly() -> None:
    class Loose(BaseModel):
        model_config = ConfigDict(extra="forbid")
        steps: int = 1

    preset = load_preset(write("plugin: loose\nsteps: '5'\n"))
    with pytest.raises(PresetError, match=r"bear.yaml:2:8: steps: '5' is not a whole number"):
        validate(preset, Loose)


def test_plugin_is_needed_and_must_agree() -> None:
    assert fault("steps: 3") == (
        "bear.yaml: missing key 'plugin'; name the tool, as in 'plugin: animate'"
    )
    assert fault("plugn: x") == "bear.yaml:1:1: unknown key 'plugn'; did you mean 'plugin'?"
    assert fault("plugin: 3") == "bear.yaml:1:9: plugin: 3 is not the name of a tool"
    assert fault(BEAR, plugin="image") == (
        "bear.yaml:2:9: plugin: this preset is for 'animate', not 'image'; "
        "run 'sdcreative animate bear.yaml'"
    )
    assert film("keyframes: [{prompt: a}]", plugin="animate").steps == 20
    assert load_preset(write("plugin: seed_walk"), plugin="seed-walk").plugin == "seed_walk"


def test_extends_merges_mappings_and_replaces_the_rest() -> None:
    write(BEAR, "sub/base.yaml")
    text = (
        "extends: sub/base.yaml\nsteps: 9\nprompts: {60: plum, 90: fig}\nkeyframes:\n- prompt: x\n"
    )
    preset = load_preset(write(text))
    assert preset.plugin == "animate"
    assert preset.settings["prompts"] == {0: "no", 60: "plum", 90: "fig"}
    assert preset.settings["keyframes"] == [{"prompt": "x"}]
    assert preset.positions["steps",] == (Path("bear.yaml"), 2, 1)
    assert preset.positions["fps",] == (Path("sub/base.yaml"), 4, 1)
    assert ("keyframes", 1) not in preset.positions
    assert ("extends",) not in preset.positions
    assert validate(preset, Film).steps == 9


def test_faults_of_both_files_name_their_file() -> None:
    write(BEAR.replace("fps: 12", "fps: x"), "base.yaml")
    assert fault("extends: base.yaml\nsteps: x\nprompts: {0: 3}\n").splitlines() == [
        "bear.yaml:2:8: steps: 'x' is not a whole number",
        "bear.yaml:3:14: prompts.0: 3 is not text; put it in quotes",
        "base.yaml:4:6: fps: 'x' is not a number",
    ]


def test_extends_goes_neither_in_circles_nor_too_deep() -> None:
    write("extends: c.yaml", "b.yaml")
    write("extends: bear.yaml", "c.yaml")
    assert fault("extends: b.yaml") == (
        "c.yaml:1:10: extends: goes round in a circle: bear.yaml -> b.yaml -> c.yaml -> bear.yaml"
    )
    for n in range(12):
        write(f"extends: p{n + 1}.yaml\n", f"p{n}.yaml")
    write(BEAR, "p12.yaml")
    with pytest.raises(PresetError, match=r"p10.yaml:1:10: extends: over 10 presets deep: p0.yaml"):
        load_preset("p0.yaml")
    assert load_preset("p2.yaml").settings["steps"] == 8


def test_extends_needs_a_preset_that_exists() -> None:
    write(BEAR, "base.yaml")
    assert fault("a: 1\nextends: baze.yaml") == (
        "bear.yaml:2:10: extends: no preset 'baze.yaml'; did you mean 'base.yaml'?"
    )
    assert fault("extends: [a]") == (
        "bear.yaml:1:10: extends: a list is not the path or name of a preset"
    )


def test_find_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = Path("elsewhere/bear_to_apple.yaml").absolute()
    write(BEAR, str(bundled))
    write(BEAR, "mine.yaml")
    monkeypatch.setattr(presets.loading, "bundled_presets", lambda: [bundled])
    for name in ("bear_to_apple", "bear_to_apple.yaml", "presets/bear_to_apple.yaml"):
        assert find_preset(name) == Path("elsewhere/bear_to_apple.yaml")
    assert find_preset(Path("mine.yaml")) == Path("mine.yaml")
    for name, advice in {
        "bear_to_aple": "no preset 'bear_to_aple'; did you mean 'bear_to_apple'?",
        "mien.yaml": "no preset 'mien.yaml'; did you mean 'mine.yaml'?",
        "mine": "no preset 'mine'; did you mean 'mine.yaml'?",
        "zzz": "no preset 'zzz'; there are: bear_to_apple, mine.yaml",
        "": "no preset ''; there are: bear_to_apple, mine.yaml",
        "elsewhere": "elsewhere: a folder; give a preset file",
        "no/where.yaml": "no preset 'no/where.yaml'; there are: bear_to_apple",
    }.items():
        with pytest.raises(PresetError) as error:
            find_preset(name)
        assert str(error.value) == advice
    for name in ("x" * 5000, "a\0b", "\udcff"):
        with pytest.raises(PresetError):
            find_preset(name)
    assert load_preset(write("extends: bear_to_apple\n")).settings["steps"] == 8


def test_bundled_presets_are_found_by_name() -> None:
    for path in bundled_presets():
        assert find_preset(path.stem).samefile(path)


@pytest.mark.parametrize(
    ("text", "path", "value"),
    [
        ("steps=3", ("steps",), 3),
        ("output=no", ("output",), "no"),
        ("keyframes.1.prompt=pear", ("keyframes", 1, "prompt"), "pear"),
        ("keyframes.0.prompt=*a* bear: brown #1", ("keyframes", 0, "prompt"), "*a* bear: brown #1"),
        ("prompts.60=x=y", ("prompts", 60), "x=y"),
        ("prompts.5=five", ("prompts", 5), "five"),
        ("keyframes=[{prompt: x}]", ("keyframes",), [{"prompt": "x"}]),
        ('keyframes.0.prompt="7"', ("keyframes", 0, "prompt"), "7"),
        ("size=[64, 32]", ("size",), [64, 32]),
    ],
)
def test_set(text: str, path: tuple[str | int, ...], value: object) -> None:
    preset = load_preset(write(BEAR), assignments=[text])
    node: Any = preset.settings
    for key in path:
        node = node[key]
    assert node == value
    assert preset.labels[path] == f"--set {text}"
    assert path not in preset.positions
    validate(preset, Film)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps", "no '='; write --set KEY=VALUE, as in --set steps=20"),
        ("=3", "'' is not a key; write KEY or KEY.KEY, as in a.1.b"),
        ("a..b=3", "'a..b' is not a key; write KEY or KEY.KEY, as in a.1.b"),
        ("plugin=x", "'plugin' is set in the preset file only"),
        ("keyframes.2.prompt=x", "keyframes is a list; '2' is no index from 0 to 1"),
        ("keyframes.a=x", "keyframes is a list; 'a' is no index from 0 to 1"),
        ("steps.a=x", "steps is 8, which has no keys of its own"),
        ("steps=0", "0 is too small; at least 1"),
        ("setps=3", "unknown key 'setps'; did you mean 'steps'?"),
        ("keyframes.0.promt=x", "unknown key 'promt'; did you mean 'prompt'?"),
        ("keyframes=[{at: 1}]", "missing key 'prompt'"),
        ("keyframes=[{prompt: 1}]", "keyframes.0.prompt: 1 is not text; put it in quotes"),
        (
            "steps=[1",
            "an opening bracket whose ',' or ']' is missing; "
            "text that starts with [ needs quotes around it",
        ),
    ],
)
def test_faults_of_set(text: str, message: str) -> None:
    assert fault(BEAR, assignments=[text]) == f"--set {text}: {message}"


def test_flags_win_and_are_named() -> None:
    arguments = {"assignments": ["steps=3", "fps=24"], "overrides": {("steps",): (5, "--steps")}}
    settings = film(BEAR, **arguments)
    assert (settings.steps, settings.fps) == (5, 24.0)
    assert fault(BEAR, overrides={("steps",): (0, "--steps")}) == (
        "--steps: 0 is too small; at least 1"
    )


def test_settings_from_flags_alone() -> None:
    flags = {("keyframes",): ([{"prompt": "a"}], "PROMPT"), ("steps",): (0, "--steps")}
    preset = load_preset(None, flags, plugin="animate")
    assert preset.source is None
    with pytest.raises(PresetError, match=r"^--steps: 0 is too small; at least 1$"):
        validate(preset, Film)
    with pytest.raises(PresetError, match=r"^missing key 'keyframes'$"):
        validate(load_preset(None, plugin="animate"), Film)


def test_messages_stay_printable() -> None:
    text = fault(HEAD, assignments=["steps=" + "\udcff" * 100])
    assert text.isprintable()
    assert text.endswith("…: control character U+DCFF; delete it")


def test_schema_allows_what_a_preset_may_hold() -> None:
    result = schema(Film)
    assert list(result["properties"])[:2] == ["plugin", "extends"]
    assert "steps" in result["properties"]
    assert "required" not in result
    assert result["then"] == {"required": ["keyframes"]}
    assert result["additionalProperties"] is False


PIECES = ["'", '"', "[", "]", "{", "}", ":", "- ", "\n", "\t", "&a ", "*a", "!x ", "#", "0", "~"]
PIECES += [
    "null",
    "\x00",
    "\ud800",
    "  ",
    "---\n",
    "? ",
    "|",
    ">",
    "%",
    "@",
    "\\",
    "é",
    ".nan",
    ",",
]


@pytest.mark.parametrize("seed", range(300))
def test_mutated_presets_load_or_raise_preset_errors(seed: int) -> None:
    source = random.Random(seed)
    text = BEAR + "boxes: [[1, 2]]\nshape: [{prompt: a}]\neither: {kind: circle, radius: 2}\n"
    for _ in range(source.randint(1, 6)):
        at = source.randrange(len(text))
        text = text[:at] + source.choice([*PIECES, ""]) + text[at + source.choice([0, 1, 1, 5]) :]
    Path("bear.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        validate(load_preset("bear.yaml"), Film)
    except PresetError as error:
        for line in str(error).splitlines():
            assert line.startswith("bear.yaml:") and line.isprintable()


def test_reading_presets_imports_neither_torch_nor_pydantic() -> None:
    code = "import sys, sdcreative.presets as p; p.bundled_presets(); "
    code += "print([m for m in ('torch', 'numpy', 'pydantic', 'diffusers') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
