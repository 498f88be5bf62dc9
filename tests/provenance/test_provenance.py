"""Records into files and out of them again, as settings and as presets that render the same."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import pytest
from PIL import Image, PngImagePlugin
from pydantic import ConfigDict, Field

from sdcreative import RenderSettings, Studio
from sdcreative.core.timeline import Timeline
from sdcreative.errors import DataError, OutputError, PresetError
from sdcreative.host import Host
from sdcreative.media.image import write_picture
from sdcreative.media.metadata import read_tags
from sdcreative.media.writers import open_writer
from sdcreative.presets import load_preset, validate
from sdcreative.provenance import (
    Provenance,
    another_output,
    describe_run,
    differences,
    preset_text,
    read_provenance,
    resolve,
    tags,
)
from sdcreative.tools import PictureTool

HOST = Host.load(enabled=False)
IMAGE = HOST.tools["image"]
ANIMATE = HOST.tools["animate"]
DIGEST = "0123456789abcdef"


def settings_of(tool: Any, folder: Path, text: str) -> Any:
    file = folder / "preset.yaml"
    file.write_text(text, encoding="utf-8")
    return validate(load_preset(file, plugin=tool.name), tool.settings)


def film(tool: Any, settings: Any, path: Path, studio: Studio) -> list[Image.Image]:
    """Renders as `sdcreative run` does, with the tags of the run."""
    assert isinstance(tool, PictureTool)
    timeline = tool.timeline(settings)
    size = timeline.size or (64, 64)
    metadata = tags(tool.name, settings, timeline, size, DIGEST)
    pictures = list(studio.render(timeline, batch_size=2))
    with open_writer(
        path, timeline.fps, size, columns=timeline.columns, length=len(timeline), metadata=metadata
    ) as writer:
        for picture in pictures:
            writer.add(picture)
    return pictures


def again(path: Path, tool: Any, folder: Path) -> Any:
    """A finished file to a preset file, and that to settings."""
    text = preset_text(read_provenance(path), tool.name, tool.settings, path)
    file = folder / "again.yaml"
    file.write_text(text, encoding="utf-8")
    return validate(load_preset(file), tool.settings)


ODD = """
prompt:
  - "1e3"
  - "0o17"
  - "no"
  - "ein Bär 熊 🐻: 'x' # \\"y\\""
  - "  two\\n\\nlines "
  - "-"
  - "~"
  - "1:30"
  - "[a"
  - "a\\u2028b"
  - ""
negative_prompt: "12345678901234567890123456789012345678901234567890"
guidance_scale: 1e-5
size: 32x48
seed: 4294967295
"""


def test_odd_texts_survive_being_a_preset(tmp_path: Path) -> None:
    settings = settings_of(IMAGE, tmp_path, ODD)
    record = Provenance.from_json(describe_run("image", settings).to_json(), Path("a.png"))
    text = preset_text(record, "image", IMAGE.settings, Path("a\n#b.png"))
    assert text.startswith("# The settings in a\\n#b.png, made by sdcreative 0.")
    (tmp_path / "again.yaml").write_text(text, encoding="utf-8")
    assert validate(load_preset(tmp_path / "again.yaml"), IMAGE.settings) == settings


def test_only_what_differs_from_the_defaults_is_in_a_preset(tmp_path: Path) -> None:
    settings = settings_of(IMAGE, tmp_path, "prompt: a bear\nsteps: 20\noutput: x.png\n")
    text = preset_text(describe_run("image", settings), "image", IMAGE.settings, Path("a.png"))
    assert text.splitlines()[1:] == ["plugin: image", "seed: 0", "prompt: a bear"]


@pytest.mark.parametrize(
    "keyframes",
    [
        "prompts: a bear | an apple",
        "keyframes: [a bear, {prompt: an apple, seed: 3, ease: in}, {prompt: ''}]",
        "keyframes: {0: a bear, 3: {prompt: an apple}}",
    ],
)
def test_a_film_gives_its_settings_back(tmp_path: Path, keyframes: str) -> None:
    settings = settings_of(ANIMATE, tmp_path, f"{keyframes}\nseed: 7\nloop: true\n")
    metadata = tags("animate", settings, ANIMATE.timeline(settings), (8, 8))
    assert list(metadata) == ["sdcreative"]
    with open_writer(tmp_path / "a.mp4", 12, (8, 8), metadata=metadata) as writer:
        writer.add(Image.new("RGB", (8, 8)))
    assert again(tmp_path / "a.mp4", ANIMATE, tmp_path).model_dump() == settings.model_dump()


@pytest.mark.parametrize("name", ["a.png", "b.jpg", "c.webp", "d/"])
def test_a_picture_renders_the_same_again(tmp_path: Path, studio: Studio, name: str) -> None:
    text = "prompt: a bear\nsteps: 2\nseed: 5\nsize: 32\nsampler: euler_a\nguidance_scale: 4\n"
    settings = settings_of(IMAGE, tmp_path, text)
    target = tmp_path / name
    first = film(IMAGE, settings, f"{target}/" if name == "d/" else target, studio)
    second = film(IMAGE, again(target, IMAGE, tmp_path), tmp_path / "again.png", studio)
    assert [p.tobytes() for p in first] == [p.tobytes() for p in second]


def test_the_parameters_of_a_picture_are_as_others_write_them(
    tmp_path: Path, studio: Studio
) -> None:
    text = "prompt: a bear, red\nnegative_prompt: blurry\nsteps: 2\nseed: 5\nsize: 32x48\n"
    film(IMAGE, settings_of(IMAGE, tmp_path, text), tmp_path / "a.png", studio)
    assert read_tags(tmp_path / "a.png")["parameters"] == (
        "a bear, red\nNegative prompt: blurry\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 7.5, "
        "Seed: 5, Size: 32x48, Model hash: 0123456789, Model: emoji, Version: sdcreative 0.1.0"
    )


def test_parameters_alone_render_the_same_picture_again(tmp_path: Path, studio: Studio) -> None:
    settings = settings_of(IMAGE, tmp_path, "prompt: a bear\nsteps: 2\nseed: 5\nsize: 32\n")
    first = film(IMAGE, settings, tmp_path / "a.png", studio)
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", read_tags(tmp_path / "a.png")["parameters"])
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png", pnginfo=info)
    assert read_provenance(tmp_path / "b.png").program == "AUTOMATIC1111"
    second = film(IMAGE, again(tmp_path / "b.png", IMAGE, tmp_path), tmp_path / "c.png", studio)
    assert [p.tobytes() for p in first] == [p.tobytes() for p in second]


def test_the_record_names_model_seed_and_versions(tmp_path: Path) -> None:
    settings = settings_of(IMAGE, tmp_path, "prompt: a bear\nseed: 9\ndevice: cpu\noffline: true\n")
    record = json.loads(describe_run("image", settings, DIGEST).to_json())
    assert list(record) == [
        "sdcreative", "version", "plugin", "settings", "seed", "model", "libraries",
    ]  # fmt: skip
    assert (record["sdcreative"], record["plugin"], record["seed"]) == (1, "image", 9)
    assert record["model"] == {"name": "emoji", "digest": DIGEST}
    assert set(record["libraries"]) == {"torch", "diffusers", "transformers"}
    assert record["settings"]["steps"] == 20
    assert not {"device", "offline", "output", "batch_size"} & set(record["settings"])


def test_tags_are_made_without_torch() -> None:
    code = (
        "import sys; from sdcreative.host import Host; from sdcreative.provenance import tags\n"
        "tool = Host.load(enabled=False).tools['image']; s = tool.settings(prompt='x')\n"
        "tags('image', s, tool.timeline(s), (8, 8)); print([m for m in "
        "('torch', 'diffusers', 'transformers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_prompt_that_is_no_unicode_is_kept_all_the_same() -> None:
    settings = IMAGE.settings.model_construct(prompt="b\udce4r\0")
    timeline = Timeline(lambda: ANIMATE.timeline(ANIMATE.settings(prompts="\udce4|b")), length=1)
    found = tags("image", settings, timeline, (8, 8))
    assert found["parameters"].startswith("?\nSteps: ")
    assert '"b\\udce4r\\u0000"' in found["sdcreative"]


class OddSettings(RenderSettings):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    when: dict[int, str] = Field(default_factory=dict)
    where: Annotated[tuple[int, int], Field()] = (0, 0)
    code: Any = None


def test_numbers_as_keys_and_tuples_come_back(tmp_path: Path) -> None:
    settings = OddSettings(when={0: "a", 12: "b"}, where=(1, 2))
    record = Provenance.from_json(describe_run("odd", settings).to_json(), tmp_path)
    assert resolve(record, OddSettings, tmp_path) == settings
    text = preset_text(record, "odd", OddSettings, Path("a.png"))
    assert text.endswith("when:\n  0: a\n  12: b\nwhere:\n- 1\n- 2\n")


def test_settings_without_a_form_in_json_are_one_clear_error() -> None:
    with pytest.raises(OutputError, match=r"settings of 'odd' cannot be kept .* --no-metadata"):
        describe_run("odd", OddSettings(code=object()))


GOOD: dict[str, Any] = {"sdcreative": 1, "plugin": "image", "settings": {"prompt": "x"}}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ("[" * 30 + "]" * 30, "nested over 25 levels"),
        ('{"sdcreative": NaN}', "NaN is no JSON"),
        ("1" * 5000, "no JSON"),
        ("[]", "'sdcreative' is missing or not int"),
        ({**GOOD, "sdcreative": True}, "'sdcreative' is missing or not int"),
        ({**GOOD, "sdcreative": 2}, "written by a newer sdcreative .* upgrade"),
        ({**GOOD, "settings": []}, "'settings' is missing or not dict"),
        ({**GOOD, "plugin": 3}, "'plugin' is missing or not str"),
    ],
)
def test_a_broken_record_is_one_clear_error(tmp_path: Path, record: Any, message: str) -> None:
    path = tmp_path / "a.gif"
    text = record if isinstance(record, str) else json.dumps(record)
    with open_writer(path, 12, (8, 8), metadata={"sdcreative": text}) as writer:
        writer.add(Image.new("RGB", (8, 8)))
    with pytest.raises(DataError, match=message) as caught:
        read_provenance(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": "x", "steps": 0}, r"a\.png: steps: 0 is too small; at least 1"),
        ({"prompt": 3}, r"a\.png: prompt: 3 is not"),
        ({"prompt": "x", "setps": 3}, "unknown key 'setps'; did you mean 'steps'"),
        ({}, r"a\.png: missing key 'prompt'"),
        ({"prompt": "x", "image": None, "strength": "__import__('os')"}, "strength"),
        ({"prompt": ["x"] * 3, "seed": 1e999}, "seed"),
    ],
)
def test_hostile_settings_are_refused_as_those_of_a_preset(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(PresetError, match=message):
        preset_text(Provenance("image", settings), "image", IMAGE.settings, Path("a.png"))


def test_places_in_a_record_are_not_taken_over(tmp_path: Path) -> None:
    record = {**GOOD, "settings": {"prompt": "x", "output": "../../x.png", "device": "mps"}}
    provenance = Provenance.from_json(json.dumps(record), tmp_path)
    assert provenance.settings == {"prompt": "x"}


def test_a_file_that_says_nothing_is_one_clear_error(tmp_path: Path) -> None:
    write_picture(Image.new("RGB", (8, 8)), tmp_path / "a.png")
    with pytest.raises(DataError, match="holds no settings, neither ours nor AUTOMATIC1111's; was"):
        read_provenance(tmp_path / "a.png")
    write_picture(Image.new("RGB", (8, 8)), tmp_path / "b.png", metadata={"workflow": "{}"})
    with pytest.raises(DataError, match="sd-parsers"):
        read_provenance(tmp_path / "b.png")


def test_comfyui_is_read_through_sd_parsers(tmp_path: Path) -> None:
    pytest.importorskip("sd_parsers")
    encode = {"class_type": "CLIPTextEncode", "inputs": {"text": "a bear", "clip": ["4", 1]}}
    sampler = {
        "class_type": "KSampler",
        "inputs": {
            "seed": 5, "steps": 9, "cfg": 4.0, "sampler_name": "dpmpp_2m", "scheduler": "karras",
            "denoise": 1.0, "positive": ["6", 0], "latent_image": ["5", 0],
        },
    }  # fmt: skip
    latent = {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 32}}
    prompt = {"3": sampler, "5": latent, "6": encode}
    links = [[1, 6, 0, 3, 1, "CONDITIONING"], [2, 5, 0, 3, 3, "LATENT"]]
    metadata = {"prompt": json.dumps(prompt), "workflow": json.dumps({"links": links})}
    write_picture(Image.new("RGB", (8, 8)), tmp_path / "a.png", metadata=metadata)
    provenance = read_provenance(tmp_path / "a.png")
    assert provenance.program == "ComfyUI"
    assert provenance.settings == {
        "prompt": "a bear", "steps": 9, "guidance_scale": 4.0, "seed": 5, "size": "64x32",
        "sampler": "DPM++ 2M Karras",
    }  # fmt: skip
    assert "denoise: 1.0" in provenance.left_out


def test_differences_are_listed_by_path() -> None:
    before = {"a": 1.0, "b": {"c": [1, {"d": "x\n"}]}, "e": True, "f": None, "g": [1]}
    after = {"a": 1, "b": {"c": [1, {"d": "y"}, 3]}, "e": 1, "f": 7.0, "g": {"0": 1}}
    assert [str(change) for change in differences(before, after)] == [
        'b.c.1.d: "x\\n" -> "y"',
        "b.c.2: null -> 3",
        "e: true -> 1",
        "f: null -> 7",
        'g: [1] -> {"0": 1}',
    ]
    assert differences(before, before) == []


@pytest.mark.parametrize(
    ("source", "suffix", "output"),
    [
        ("bear.mp4", ".mp4", None),
        ("bear.gif", ".mp4", "bear_again.gif"),
        ("bear_000003.png", ".mp4", "bear_000003_again/"),
        ("bear.png", ".png", None),
        ("bear.jpg", ".png", "bear_again.jpg"),
        ("bear.png", ".webp", "bear_again.png"),
        ("sheet.png", None, "sheet_again.png"),
        ("frames", ".mp4", "frames_again/"),
    ],
)
def test_another_output_is_one_that_the_tool_can_write(
    tmp_path: Path, source: str, suffix: str | None, output: str | None
) -> None:
    if source == "frames":
        (tmp_path / source).mkdir()
    assert another_output(tmp_path / source, suffix) == output
