"""Presets of `animate`: every way to write keyframes and times, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sdcreative import PresetError
from sdcreative.presets import load_preset, schema, validate
from sdcreative.scheduled import ScheduleKey
from sdcreative_plugins.animate.schedule import schedule
from sdcreative_plugins.animate.settings import AnimateSettings, Keyframe


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def load(text: str, **arguments: Any) -> AnimateSettings:
    """Settings of a preset; its text begins on line 2."""
    Path("film.yaml").write_text(f"plugin: animate\n{text}\n", encoding="utf-8")
    return validate(load_preset("film.yaml", **arguments), AnimateSettings)


def stops(settings: AnimateSettings) -> list[Keyframe]:
    return list(settings.stops.values())


BEAR_APPLE = [Keyframe(prompt="bear"), Keyframe(prompt="apple")]
AT_0_AND_60 = [Keyframe(prompt="bear", frame=0), Keyframe(prompt="apple", frame=60)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("keyframes: [bear, apple]", BEAR_APPLE),
        ("keyframes: [{prompt: bear}, apple]", BEAR_APPLE),
        ("prompts: [bear, apple]", BEAR_APPLE),
        ("prompts: bear | apple", BEAR_APPLE),
        ("prompts: bear|apple", BEAR_APPLE),
        ("keyframes: {0: bear, 60: apple}", AT_0_AND_60),
        ("keyframes: {60: apple, 0: {prompt: bear}}", AT_0_AND_60),
        ('prompts: {"0": bear, "60": apple}', AT_0_AND_60),
        ("keyframes: [{prompt: bear, frame: 0}, {prompt: apple, frame: 60}]", AT_0_AND_60),
        ("prompts: '|'", [Keyframe(prompt=""), Keyframe(prompt="")]),
    ],
)
def test_forms_of_keyframes(text: str, expected: list[Keyframe]) -> None:
    assert stops(load(text)) == expected


def test_a_keyframe_keeps_its_own_settings_in_a_map() -> None:
    text = "keyframes:\n  0: a\n  9: {prompt: b, seed: 3, guidance_scale: 2, negative_prompt: c}"
    assert stops(load(text))[1] == Keyframe(
        prompt="b", seed=3, guidance_scale=2, negative_prompt="c", frame=9
    )


@pytest.mark.parametrize(
    ("text", "times", "frames"),
    [
        ("keyframes: [a, b]", (0, 24), 25),
        ("keyframes: [a, b, c]", (0, 24, 48), 49),
        ("keyframes: [a, b, c]\nframes: 11", (0, 5, 10), 11),
        ("keyframes: [a, b]\nseconds: 2\nfps: 10", (0, 19), 20),
        ("keyframes: [a, b]\nseconds: 0.01", (0, 1), 2),
        ("keyframes: {0: a, 3: b, 10: c}", (0, 3, 10), 11),
        ("keyframes: [{prompt: a, at: 0}, {prompt: b, at: 0.5}]\nfps: 10", (0, 5), 6),
        ("keyframes: [a, {prompt: b, at: 0.5}]\nfps: 10", (0, 5), 6),
        ("keyframes: [a, {prompt: b, frame: 5}]\nfps: 10", (0, 5), 6),
        ("keyframes: [a, {prompt: b, at: beat 5}]\nfps: 10\nbpm: 120", (0, 20), 21),
        (
            "keyframes: [{prompt: a, at: bar 1}, {prompt: b, at: 1}, {prompt: c, at: bar 2.5}]\n"
            "fps: 10\nbpm: 60",
            (0, 10, 60),
            61,
        ),
        (
            "keyframes: [{prompt: a, duration: 1}, {prompt: b, duration: 0.5}, c]\nfps: 10",
            (0, 10, 15),
            16,
        ),
        (
            "keyframes: [{prompt: a, duration: 1}, {prompt: b, duration: 0.5}]\nfps: 10",
            (0, 10),
            11,
        ),
        ("keyframes: [a, b]\nloop: true", (0, 24, 48), 48),
        ("keyframes: [a, b]\nloop: true\nframes: 10", (0, 5, 10), 10),
        ("keyframes: [a, b]\nloop: true\nseconds: 1", (0, 6, 12), 12),
        ("keyframes: {0: a, 4: b, 10: c}\nloop: true", (0, 4, 10, 15), 15),
        (
            "keyframes: [{prompt: a, duration: 1}, {prompt: b, duration: 3}]\nloop: true\nfps: 1",
            (0, 1, 4),
            4,
        ),
        ("keyframes: [{prompt: a, hold: 1}, b, c]", (0, 36, 60), 61),
        ("keyframes: [a, b, {prompt: c, hold: 6 frames}]", (0, 24, 48), 55),
        ("keyframes: [{prompt: a, hold: 6 frames}, b, c]\nframes: 21", (0, 13, 20), 21),
        (
            "keyframes: [{prompt: a, hold: 0.5}, {prompt: b, hold: 1 frame}]\n"
            "loop: true\nfps: 4\nseconds: 2",
            (0, 4.5, 8),
            8,
        ),
        ("keyframes: {0: {prompt: a, hold: 0.1}, 9: {prompt: b, hold: 3 frames}}", (0, 9), 13),
        (
            "keyframes: [{prompt: a, duration: 2, hold: 1}, {prompt: b, hold: 1}]\nfps: 2",
            (0, 4),
            7,
        ),
        ("keyframes: [a]\nloop: true\nnoise: circle", (0, 24), 24),
        ("prompts: a\nloop: true\nnoise: circle\nframes: 5", (0, 5), 5),
        ("keyframes: {0: a}\nloop: true\nnoise: circle\nseconds: 1", (0, 12), 12),
    ],
)
def test_forms_of_timing(text: str, times: tuple[float, ...], frames: int) -> None:
    plan = schedule(load(text))
    assert plan.times == pytest.approx(times)
    assert (plan.frames, len(plan.positions())) == (frames, frames)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("keyfranes: [a, b]", "2:1: unknown key 'keyfranes'; did you mean 'keyframes'?"),
        ("promts: a | b", "2:1: unknown key 'promts'; did you mean 'prompts'?"),
        ("fps: 3", " missing key 'keyframes', or 'prompts: a bear | an apple'"),
        (
            "keyframes: [a, b]\nprompts: a | b",
            "3:10: prompts: give 'prompts' or 'keyframes', not both",
        ),
        ("keyframes: [a]", "2:12: keyframes: 1 item; at least 2 items"),
        ("keyframes: {0: a}", "2:12: keyframes: 1 item; at least 2 items"),
        ("keyframes: a", "2:12: keyframes: 'a' is not a list or a mapping of keys"),
        (
            "prompts: a",
            "2:10: prompts: one prompt; write two or more with '|' between, as in 'bear | apple'",
        ),
        ("prompts: 3", "2:10: prompts: 3 is not text or a list or a mapping of keys"),
        ("keyframes:\n- a\n- 3", "4:3: keyframes.1: 3 is not text or a mapping of keys"),
        (
            "keyframes:\n- a\n- {prompt: b, promt: c}",
            "4:15: unknown key 'promt'; did you mean 'prompt'?",
        ),
        (
            "keyframes:\n  0: a\n  9: {prompt: b, see: 1}",
            "4:18: unknown key 'see'; did you mean 'seed'?",
        ),
        ("keyframes:\n  0: a\n  9: 3", "4:6: keyframes.9: 3 is not text or a mapping of keys"),
        ("keyframes:\n  0: a\n  x: b", "4:3: keyframes.x: the key 'x' is not a whole number"),
        ("keyframes: {0: a, -5: b}", "2:19: keyframes.-5: the key -5 is too small; at least 0"),
        ('keyframes: {0: a, "0": b}', "2:24: keyframes.0: frame 0 again; keep one of them"),
        (
            "keyframes: {0: a, 9: {prompt: b, at: 3}}",
            "2:38: keyframes.9.at: the map's key is its time; leave this out",
        ),
        (
            "keyframes: {5: a, 9: b}",
            "2:16: keyframes.5.frame: the first keyframe has to be at 0; leave its time out",
        ),
        (
            "keyframes:\n- {prompt: a, at: 1}\n- {prompt: b, at: 2}",
            "3:19: keyframes.0.at: the first keyframe has to be at 0; leave its time out",
        ),
        (
            "keyframes:\n- {prompt: a, at: 0}\n- {prompt: b, at: 2}\n- {prompt: c, at: 2}",
            "5:19: keyframes.2.at: not later than the keyframe before it; move it",
        ),
        (
            "keyframes:\n- {prompt: a, at: 0}\n- {prompt: b, frame: 9}",
            "4:3: keyframes.1: keyframes are timed by 'at' and by 'frame'; use one of them for all",
        ),
        (
            "keyframes:\n- a\n- {prompt: b, at: 2}\n- c",
            "5:3: keyframes.2: a keyframe without 'at'; give it to all or to none",
        ),
        (
            "keyframes:\n- {prompt: a, duration: 2}\n- b\n- c",
            "4:3: keyframes.1: a keyframe without 'duration'; give it to all or to none",
        ),
        (
            "loop: true\nkeyframes:\n- {prompt: a, duration: 2}\n- b",
            "5:3: keyframes.1: a keyframe without 'duration'; give it to all or to none",
        ),
        (
            "keyframes: [{prompt: a, duration: 0}, b]",
            "2:35: keyframes.0.duration: 0 is too small; over 0",
        ),
        (
            "keyframes: {0: a, 9: b}\nframes: 5",
            "3:9: frames: the keyframes have times already; leave one out",
        ),
        (
            "keyframes: [a, b]\nframes: 5\nseconds: 1",
            "4:10: seconds: give 'frames' or 'seconds', not both",
        ),
        ("keyframes: [a, b]\nframes: 1", "3:9: frames: 1 is too small; at least 2"),
        (
            "keyframes: [a, b]\nseconds: 1e300",
            "3:10: seconds: a film of over 3,000,000 frames; shorten it or lower 'fps'",
        ),
        (
            "keyframes: [{prompt: a, at: 0}, {prompt: b, at: 1e308}]",
            " a film of over 3,000,000 frames; shorten it or lower 'fps'",
        ),
        (
            "keyframes: [a, b]\nloop: true\nping_pong: true",
            "4:12: ping_pong: 'loop' and 'ping_pong' exclude each other",
        ),
        (
            "keyframes: [a, b]\nease: in-oot",
            "3:7: ease: no easing is called 'in-oot'; did you mean 'in-out'?",
        ),
        (
            "keyframes:\n- {prompt: a, ease: inn}\n- b",
            "3:21: keyframes.0.ease: no easing is called 'inn'; did you mean 'in'?",
        ),
        ("keyframes: [a, {seed: 3}]", "2:16: keyframes.1: missing key 'prompt'"),
        (
            "keyframes: [a, {image: b.png}]",
            "2:16: keyframes.1: missing key 'prompt'; it says what the picture shows",
        ),
        (
            "keyframes: [a, {prompt: b, image: b.png, still: c.png}]",
            "2:49: keyframes.1.still: give 'image' or 'still', not both",
        ),
        (
            "keyframes: [a, {prompt: b, image: b.png, seed: 3}]",
            "2:48: keyframes.1.seed: an inverted picture has its own noise; leave it out, or use "
            "'images: fade'",
        ),
        (
            "keyframes: [a, {prompt: b, image: b.png}]\nnoise: circle",
            "2:35: keyframes.1.image: an inverted picture has its own noise, 'noise: circle' goes "
            "by the film's seed; use 'images: fade'",
        ),
        (
            "keyframes: [a, {still: b.png}]\nnoise: circle",
            "2:24: keyframes.1.still: 'noise: circle' goes by the film's seed, and a still has its "
            "own",
        ),
        (
            "keyframes: [a, b]\nimages: fade",
            "3:9: images: no keyframe has an 'image'; leave it out",
        ),
        (
            "keyframes: [a, {prompt: b, image: b.png}]\nstrength: 0.5",
            "3:11: strength: is for keyframes with an 'image', and 'images: fade'",
        ),
        (
            "keyframes: [a, {prompt: b, image: b.png}]\nimages: fade\nstrength: t/10",
            "4:11: strength: 1.1 at frame 11; keep it within 0 and 1, as with clip(..., 0, 1)",
        ),
        (
            "keyframes: [a, b]\nvariation: 0.5",
            "3:12: variation: needs 'variation_seed', where it leads to",
        ),
        (
            "keyframes: [a, b]\nvariation_seed: 3",
            "3:17: variation_seed: needs 'variation', how far to go there: 0 to 1",
        ),
        (
            "keyframes: [a, {prompt: b, seed: 3}]\nvariation_seed: 3\nvariation: 0.1",
            "3:17: variation_seed: the film's own noise is of seed 3 already; give another",
        ),
        (
            "keyframes: [a, b]\nnoise: circle\nvariation_seed: 1\nvariation: 0.1",
            "4:17: variation_seed: the film's own noise is of seed 1 already; give another",
        ),
        (
            "keyframes: [a, {prompt: b, image: b.png}]\nvariation_seed: 1\nvariation: 0.1",
            "3:17: variation_seed: the noise of inverted pictures cannot be varied; use "
            "'images: fade'",
        ),
        (
            "keyframes: [a, {prompt: b, at: beat 5}]",
            "2:32: keyframes.1.at: 'beat 5' needs 'audio', or the tempo: 'bpm: 120'",
        ),
        (
            "keyframes: [a, {prompt: b, at: beat 0}]\nbpm: 120",
            "2:32: keyframes.1.at: 'beat 0': they are counted from 1; a film may begin before it",
        ),
        (
            "keyframes: [a, {prompt: b, at: bart 2}]\nbpm: 120",
            "2:32: keyframes.1.at: 'bart 2' is no time; give seconds (1.5), 'beat 16' or 'bar 5'",
        ),
        (
            "keyframes: [a, {prompt: b, at: beat 5}, {prompt: c, at: bar 2}]\nbpm: 120",
            "2:57: keyframes.2.at: not later than the keyframe before it; move it",
        ),
        (
            "keyframes: [{prompt: a, at: beat 2}, {prompt: b, at: beat 5}]\nbpm: 120",
            "2:29: keyframes.0.at: the first keyframe has to be at 0; leave its time out",
        ),
        (
            "keyframes: [a, b]\nbpm: 120",
            "3:6: bpm: no keyframe is on a beat, as with 'at: beat 5'; leave it out",
        ),
        (
            "keyframes: [a, {prompt: b, at: beat 5}]\nbpm: 120\naudio: {file: a.wav}",
            "3:6: bpm: the sound has a tempo; a known one is 'audio: {bpm: 120}'",
        ),
        (
            "keyframes: [a, b]\naudio: {file: a.wav}\nping_pong: true",
            "4:12: ping_pong: the way back would not follow the sound; leave it out",
        ),
        (
            "keyframes: [{prompt: a, at: beat 1}, {prompt: b, at: beat 5}]\naudio: {file: a.wav}",
            "2:29: keyframes.0.at: the first keyframe has to be at 0; leave its time out",
        ),
        (
            "keyframes: [a, {prompt: b, at: beat 5}, {prompt: c, at: beat 4}]\n"
            "audio: {file: a.wav}",
            "2:57: keyframes.2.at: not later than the keyframe before it; move it",
        ),
        (
            "keyframes: [a, {prompt: b, at: beat 5}]\naudio: {file: a.wav}\nseconds: 3",
            "4:10: seconds: the keyframes have times already; leave one out",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: 5 + bass",
            "3:17: guidance_scale: it hears a sound; give one with 'audio'",
        ),
        (
            "keyframes: [a, b]\naudio: {file: a.wav}\nseconds: 2\nguidance_scale: 101 + t",
            "5:17: guidance_scale: 101 at frame 0; keep it within 0 and 100, as with "
            "clip(..., 0, 100)",
        ),
        ("prompts: [a]\nloop: true", "2:10: prompts: 1 item; at least 2 items"),
        ("keyframes: [a]\nnoise: circle", "2:12: keyframes: 1 item; at least 2 items"),
        (
            "keyframes: [{prompt: a, hold: -1}, b]",
            "2:31: keyframes.0.hold: -1 is too small; at least 0",
        ),
        (
            "keyframes: [{prompt: a, hold: 6 fraems}, b]",
            "2:31: keyframes.0.hold: '6 fraems' is no length; give seconds (0.5), or frames "
            "('6 frames')",
        ),
        (
            "keyframes:\n- {prompt: a, at: 0, hold: 2}\n- {prompt: b, at: 2}\nfps: 4",
            "3:28: keyframes.0.hold: held for 8 frames, but the next keyframe comes after 8; "
            "hold it for less",
        ),
        (
            "keyframes:\n  0: a\n  4: {prompt: b, hold: 5 frames}\nloop: true",
            "4:24: keyframes.4.hold: held for 5 frames, but the next keyframe comes after 4; "
            "hold it for less",
        ),
        (
            "keyframes: [{prompt: a, hold: 5 frames}, b]\nframes: 6",
            "3:9: frames: the keyframes are held for 5 of 5 frames; hold them for less, or "
            "make the film longer",
        ),
        (
            "keyframes: [a, {prompt: b, seed: 3}]\nnoise: circle",
            "2:34: keyframes.1.seed: 'noise: circle' goes by the film's seed",
        ),
        (
            "keyframes: [a, b]\nnoise: circle\nnoise_radius: 1.6",
            "4:15: noise_radius: 1.6 is too large; at most 1.5708",
        ),
        (
            "keyframes: [a, b]\npath: smoth",
            "3:7: path: 'smoth' is not 'straight' or 'smooth'; did you mean 'smooth'?",
        ),
        (
            "keyframes: [a, b]\ncentre: middle",
            "3:9: centre: 'middle' is not 'zero', 'empty' or 'negative'",
        ),
        ("keyframes: [a, b]\nprobes: 2", "3:9: probes: 2 is too small; at least 3"),
        (
            "keyframes: [a, b]\nmetric: latnet",
            "3:9: metric: no metric is called 'latnet'; did you mean 'latent'?",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: 101",
            "3:17: guidance_scale: 101 is too large; at most 100",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: [1]",
            "3:17: guidance_scale: a list is not a number or text or a mapping of keys",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: 7 + sinn(t)",
            "3:17: guidance_scale: '7 + sinn(t)', column 5: 'sinn' is unknown; did you mean 'sin'?",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: 0:(7), 30:(t",
            "3:17: guidance_scale: '0:(7), 30:(t', column 13: it ends; ')' is missing",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: t*5",
            "3:17: guidance_scale: 105 at frame 21; keep it within 0 and 100, as with "
            "clip(..., 0, 100)",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: 7 + 1/(t-3)",
            "3:17: guidance_scale: '7 + 1/(t-3)' has no value at frame 3: it divides by 0",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: {0: 1, x: 2}",
            "3:24: guidance_scale.x: the key 'x' is not a whole number",
        ),
        (
            'keyframes: [a, b]\nguidance_scale: {0: 1, "0": 2}',
            "3:29: guidance_scale.0: frame 0 again; keep one of them",
        ),
        (
            "keyframes: [a, b]\nguidance_scale: {0: {value: 1, ease: inn}, 9: 2}",
            "3:38: guidance_scale.0.ease: no easing is called 'inn'; did you mean 'in'?",
        ),
        (
            "keyframes: [a, b]\ninterpolation: slurp",
            "3:16: interpolation: 'slurp' is not 'slerp' or 'lerp'; did you mean 'slerp'?",
        ),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(PresetError) as error:
        load(text)
    assert str(error.value) == f"film.yaml:{message}"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3.0),
        ("2.5", 2.5),
        ("7 + sin(t)", "7 + sin(t)"),
        ("0:(1.0), 30:(7.5)", "0:(1.0), 30:(7.5)"),
        ("{0: 1.0, 30: 2 + t/20}", {0: 1.0, 30: "2 + t/20"}),
        ('{"0": 1.0}', {0: 1.0}),
        (
            "{0: {value: 1, ease: in_out}, 9: 4}",
            {0: ScheduleKey(value=1, ease="in_out"), 9: 4.0},
        ),
    ],
)
def test_forms_of_guidance(text: str, expected: Any) -> None:
    assert load(f"keyframes: [a, b]\nguidance_scale: {text}").guidance_scale == expected


@pytest.mark.parametrize(
    "ease", ["in_out", "easeOutBounce", "'steps(3)'", "cubic-bezier(0.4, 0, 0.2, 1)", "ease"]
)
def test_easings_may_be_written_in_many_ways(ease: str) -> None:
    assert load(f"keyframes: [a, b]\nease: {ease}").ease == ease.strip("'")


def test_all_faults_of_a_keyframe_at_once() -> None:
    with pytest.raises(PresetError) as error:
        load("keyframes:\n- a\n- {prompt: b, at: -1, seed: -1, guidance_scale: 101}\nfps: 0")
    assert str(error.value).splitlines() == [
        "film.yaml:4:19: keyframes.1.at: -1 is too small; at least 0",
        "film.yaml:4:29: keyframes.1.seed: -1 is too small; at least 0",
        "film.yaml:4:49: keyframes.1.guidance_scale: 101 is too large; at most 100",
        "film.yaml:5:6: fps: 0 is too small; at least 0.01",
    ]


def test_set_reaches_into_keyframes() -> None:
    text = "keyframes: {0: {prompt: a}, 9: b}"
    settings = load(text, assignments=["keyframes.0.prompt=x", "keyframes.9=y", "keyframes.12=z"])
    assert [stop.prompt for stop in stops(settings)] == ["x", "y", "z"]


def test_schema_knows_every_form_and_describes_every_key() -> None:
    result = schema(AnimateSettings)
    assert "required" not in result
    forms = {key: result["properties"][key]["anyOf"] for key in ("keyframes", "prompts")}
    assert [form["type"] for form in forms["keyframes"]] == ["array", "object", "null"]
    assert [form["type"] for form in forms["prompts"]] == ["string", "array", "object", "null"]
    assert result["additionalProperties"] is False
    keyframe = result["$defs"]["Keyframe"]
    assert keyframe["anyOf"] == [{"required": ["prompt"]}, {"required": ["still"]}]
    own = set(AnimateSettings.__annotations__) - {"model_config"}
    for properties, names in (
        (result["properties"], own),
        (keyframe["properties"], set(Keyframe.model_fields)),
    ):
        assert [name for name in names if "description" not in properties[name]] == []
