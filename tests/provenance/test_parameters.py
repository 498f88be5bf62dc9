"""AUTOMATIC1111's text: written, read back, and read as others write it."""

from __future__ import annotations

import pytest

from sdcreative.provenance.foreign import provenance_of
from sdcreative.provenance.parameters import Parameters, format_parameters, parse_parameters

REAL = """a photo of a (bear:1.2), masterpiece, best quality
second line: of the prompt
Negative prompt: blurry, low quality,
worst quality
Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, Seed: 3452345645, \
Size: 512x768, Model hash: 9aba26abdf, Model: deliberate_v2, Denoising strength: 0.55, \
Clip skip: 2, Hires upscale: 2, Lora hashes: "one: 0a1b, two: 2c3d", Version: v1.10.1"""


def test_the_common_form_is_read() -> None:
    found = parse_parameters(REAL)
    assert found is not None
    assert found.prompt == (
        "a photo of a (bear:1.2), masterpiece, best quality\nsecond line: of the prompt"
    )
    assert found.negative_prompt == "blurry, low quality,\nworst quality"
    assert list(found.details.items()) == [
        ("Steps", "28"),
        ("Sampler", "DPM++ 2M"),
        ("Schedule type", "Karras"),
        ("CFG scale", "6.5"),
        ("Seed", "3452345645"),
        ("Size", "512x768"),
        ("Model hash", "9aba26abdf"),
        ("Model", "deliberate_v2"),
        ("Denoising strength", "0.55"),
        ("Clip skip", "2"),
        ("Hires upscale", "2"),
        ("Lora hashes", "one: 0a1b, two: 2c3d"),
        ("Version", "v1.10.1"),
    ]


def test_what_is_taken_over_and_what_is_not() -> None:
    found = parse_parameters(REAL)
    assert found is not None
    provenance = provenance_of(found)
    assert provenance.plugin == "image"
    assert provenance.settings == {
        "prompt": found.prompt,
        "negative_prompt": found.negative_prompt,
        "steps": 28,
        "guidance_scale": 6.5,
        "seed": 3452345645,
        "size": "512x768",
        "sampler": "DPM++ 2M Karras",
        "clip_skip": 2,
        "hires": {"scale": 2.0, "strength": 0.55},
    }
    assert provenance.left_out == (
        "Lora hashes: one: 0a1b, two: 2c3d",
        "Model: deliberate_v2 (9aba26abdf); name its folder or hub id with 'model:'",
    )


@pytest.mark.parametrize(
    ("details", "hires", "left_out"),
    [
        ({"Hires upscale": "1.5", "Hires upscaler": "Latent", "Hires steps": "0"},
         {"scale": 1.5, "upscale": "latent-bilinear"}, ()),
        ({"Hires upscale": "2", "Hires steps": "9", "Hires upscaler": "R-ESRGAN 4x+"},
         {"scale": 2.0, "steps": 9, "upscale": "realesrgan-photo"}, ()),
        ({"Hires upscale": "2", "Hires upscaler": "4x-Strange"},
         {"scale": 2.0, "upscale": "image"},
         ("Hires upscaler: 4x-Strange; pictures are enlarged by resampling instead",)),
        ({"Denoising strength": "0.5"}, None, ("Denoising strength: 0.5",)),
        ({"Hires upscale": "0"}, None, ("Hires upscale: 0",)),
    ],
)  # fmt: skip
def test_a_second_pass(
    details: dict[str, str], hires: dict[str, object] | None, left_out: tuple[str, ...]
) -> None:
    found = provenance_of(Parameters("a bear", "", {"Steps": "5", **details}))
    assert found.settings.get("hires") == hires
    assert found.left_out == left_out


@pytest.mark.parametrize(
    "parameters",
    [
        Parameters("a bear", "blurry", {"Steps": "20", "Seed": "1"}),
        Parameters("", "", {"Steps": "1"}),
        Parameters("ein Bär, 熊\nzwei: Zeilen", "", {"Steps": "2", "Model": 'a, "b": c\n\\d 熊'}),
        Parameters("Steps: many", "no", {"Steps": "3", "Odd": "x"}),
    ],
)
def test_what_is_written_is_read(parameters: Parameters) -> None:
    assert parse_parameters(format_parameters(parameters)) == parameters


@pytest.mark.parametrize(
    ("text", "details"),
    [
        ("a\nSteps: 5", {"Steps": "5"}),
        ("Steps: 5, , junk, Seed: 1,", {"Steps": "5", "Seed": "1"}),
        ("a\r\nSteps: 5, Seed: 1\r\nTemplate: x", {"Steps": "5", "Seed": "1", "Template": "x"}),
        ('Steps: 5, Model: "never closed, Seed: 1', {"Steps": "5", "Model": '"never closed'}),
        ('Steps: 5, Model: "a" b', {"Steps": "5", "Model": "a"}),
        ("Steps: 5" + "," * 100_000, {"Steps": "5"}),
        ("Steps: 5, " + ":" * 100_000, {"Steps": "5"}),
    ],
)
def test_untidy_texts_are_read_as_far_as_they_go(text: str, details: dict[str, str]) -> None:
    found = parse_parameters(text)
    assert found is not None
    assert dict(found.details) | details == dict(found.details)


@pytest.mark.parametrize("text", ["", "a bear", "Steps: many", "a bear, Steps: 20, Seed: 1"])
def test_other_texts_are_none(text: str) -> None:
    assert parse_parameters(text) is None


@pytest.mark.parametrize(
    ("details", "settings", "left_out"),
    [
        ({"Sampler": "Euler a"}, {"sampler": "Euler a"}, ()),
        ({"Sampler": "dpmpp_2m", "Schedule type": "karras"}, {"sampler": "DPM++ 2M Karras"}, ()),
        ({"Sampler": "Euler", "Schedule type": "Automatic"}, {"sampler": "Euler"}, ()),
        (
            {"Sampler": "Euler", "Schedule type": "Exponential"},
            {"sampler": "Euler"},
            ("Schedule type: Exponential of Euler",),
        ),
        ({"Sampler": "Restart"}, {}, ("Sampler: Restart",)),
        ({"Steps": "0"}, {}, ("Steps: 0",)),
        ({"Steps": "1e3"}, {}, ("Steps: 1e3",)),
        ({"Seed": "4294967296"}, {}, ("Seed: 4294967296",)),
        ({"Seed": "9" * 5000}, {}, ("Seed: " + "9" * 5000,)),
        ({"CFG scale": "nan"}, {}, ("CFG scale: nan",)),
        ({"CFG scale": "1"}, {"guidance_scale": 1.0}, ()),
        ({"Size": "4x64"}, {}, ("Size: 4x64",)),
        ({"Model": "emoji"}, {"model": "emoji"}, ()),
        ({"Model hash": "ab"}, {}, ("Model: ab; name its folder or hub id with 'model:'",)),
    ],
)
def test_values_are_taken_over_where_they_make_sense(
    details: dict[str, str], settings: dict[str, object], left_out: tuple[str, ...]
) -> None:
    provenance = provenance_of(Parameters("x", "", details))
    assert provenance.settings == {"prompt": "x", **settings}
    assert provenance.left_out == left_out
