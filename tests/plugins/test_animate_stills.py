"""Finished stills in keyframes of `animate`: their settings are read out of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdcreative import Blend, DataError, Noise, SettingError, Shot, Studio, Timeline
from sdcreative.produce import produce
from sdcreative.tools import PictureTool
from sdcreative_plugins.animate import sdcreative_tools as animate_tools
from sdcreative_plugins.animate.settings import AnimateSettings
from sdcreative_plugins.animate.timeline import timeline
from sdcreative_plugins.image import sdcreative_tools as image_tools


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)


def make(tools: Any, output: str, **settings: Any) -> None:
    """The file that a tool makes of these settings, written as the command does."""
    tool: PictureTool = tools()[0]
    given = {"steps": 2, "device": "cpu", "output": output} | settings
    produce(
        tool,
        tool.settings(**given),
        default_name="x",
        overwrite=True,
        dry_run=False,
        report=lambda line: None,
        keep=False,
    )


def still(name: str, **settings: Any) -> None:
    make(image_tools, name, **({"prompt": "a bear"} | settings))


def foreign(name: str, text: str, size: tuple[int, int] = (64, 64)) -> None:
    """A picture with the text that AUTOMATIC1111 writes."""
    info = PngInfo()
    info.add_text("parameters", text)
    Image.new("RGB", size).save(name, pnginfo=info)


def film(*keyframes: Any, **settings: Any) -> Timeline:
    return timeline(AnimateSettings(keyframes=list(keyframes), **({"steps": 2} | settings)))


def first(made: Timeline) -> Shot:
    shot = next(iter(made))
    assert isinstance(shot, Shot)
    return shot


def test_keyframes_are_the_stills(studio: Studio) -> None:
    still("a.png", seed=7, guidance_scale=3, negative_prompt="blue", size=(64, 48))
    still("b.png", prompt="a red apple", seed=8, size=(64, 48))
    made = film({"still": "a.png"}, {"still": "b.png"}, frames=3)
    assert made.size == (64, 48)
    pictures = list(studio.render(made))
    for index, name in ((0, "a.png"), (2, "b.png")):
        with Image.open(name) as file:
            expected = np.asarray(file, dtype=int)
        assert np.abs(np.asarray(pictures[index], dtype=int) - expected).max() <= 1
    assert np.asarray(pictures[0], dtype=int).std() > 1


def test_what_stands_beside_a_still_counts() -> None:
    still("a.png", seed=7, guidance_scale=3, negative_prompt="blue")
    shot = first(film({"still": "a.png"}, "b", guidance_scale=9, negative_prompt="x"))
    assert (shot.prompt, shot.negative, shot.guidance_scale) == (Blend("a bear"), Blend("blue"), 3)
    assert shot.noise == Noise(7, 0, 0.0)
    own = {"prompt": "", "negative_prompt": "", "seed": 1, "guidance_scale": 0}
    shot = first(film({"still": "a.png"} | own, "b", guidance_scale=9))
    assert (shot.prompt, shot.negative, shot.guidance_scale) == (Blend(""), Blend(""), 0)
    assert shot.noise == Noise(1, 0, 0.0)


def test_a_drawn_seed_is_the_one_in_the_file() -> None:
    still("a.png", seed=-1)
    seed = first(film({"still": "a.png"}, "b")).noise.start
    assert isinstance(seed, int)
    assert seed > 0


def test_stills_of_other_programs() -> None:
    text = "a cat\nNegative prompt: dog\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 5, Seed: 9"
    foreign("a.png", f"{text}, Size: 64x64")
    shot = first(film({"still": "a.png"}, "b", negative_prompt="x"))
    assert (shot.prompt, shot.negative, shot.guidance_scale) == (Blend("a cat"), Blend("dog"), 5)
    assert shot.noise == Noise(9, 0, 0.0)
    foreign("b.png", "a cat\nSteps: 2, Sampler: DPM++ 2M, Seed: 9")
    shot = first(film({"still": "b.png"}, "b", negative_prompt="x", guidance_scale=6))
    assert (shot.negative, shot.guidance_scale) == (Blend(""), 6)


def test_a_still_is_read_when_the_film_is_made() -> None:
    settings = AnimateSettings(keyframes=[{"still": "none.png"}, "b"])
    with pytest.raises(DataError, match=r"^none.png"):
        timeline(settings)


@pytest.mark.parametrize(
    ("made", "film_has", "message"),
    [
        ({}, {"steps": 3}, "was made with steps 2, the film has steps 3; set 'steps: 2'"),
        (
            {"steps": 4, "sampler": "Euler a"},
            {},
            "was made with steps 4 and sampler Euler a, the film has steps 2 and sampler "
            "DPM++ 2M; set 'steps: 4', 'sampler: Euler a'",
        ),
        (
            {},
            {"model": "other"},
            "was made with model emoji, the film has model other; set 'model: emoji'",
        ),
        (
            {},
            {"size": (64, 32)},
            "was made with size 64x64, the film has size 64x32; set 'size: 64x64'",
        ),
        (
            {"count": 2},
            {},
            "is a sheet of pictures; make the one you want by itself",
        ),
        (
            {"prompt": ["a", "b"]},
            {},
            "is a sheet of pictures; make the one you want by itself",
        ),
    ],
)
def test_a_still_that_the_film_would_not_make_again(
    made: dict[str, Any], film_has: dict[str, Any], message: str
) -> None:
    still("a.png", **made)
    with pytest.raises(DataError) as error:
        film({"still": "a.png"}, "b", **film_has)
    assert str(error.value) == f"a.png: {message}"


def test_a_still_that_was_painted_on_a_picture_is_no_keyframe() -> None:
    still("a.png")
    still("b.png", image="a.png")
    with pytest.raises(DataError, match=r"^b.png: was made from another picture, a.png; show it"):
        film({"still": "b.png"}, "b")


def test_a_frame_of_a_film_is_no_still() -> None:
    make(animate_tools, "film/", keyframes=["a", "b"], frames=2)
    name = sorted(str(path) for path in Path("film").glob("*.png"))[0]
    with pytest.raises(DataError, match=r"was made by 'animate'; a still is made by 'image'"):
        film({"still": name}, "b")


def test_stills_have_to_agree() -> None:
    still("a.png")
    still("b.png", steps=3)
    with pytest.raises(DataError) as error:
        film({"still": "a.png"}, {"still": "b.png"})
    assert str(error.value) == (
        "b.png: was made with steps 3, and a.png with 2; the stills of a film have to agree: make "
        "one of them anew"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x\nSteps: 2, Sampler: DPM++ 2M, CFG scale: 5, Seed: 9, Size: 32x64", "size 32x64"),
        ("just words", "holds no settings"),
    ],
)
def test_strange_files(text: str, message: str) -> None:
    foreign("a.png", text)
    with pytest.raises(DataError, match=message):
        film({"still": "a.png"}, "b", size=(64, 64))


def test_a_broken_record_is_told() -> None:
    info = PngInfo()
    info.add_text(
        "sdcreative",
        '{"sdcreative": 1, "plugin": "image", "settings": {"prompt": "a", "seed": "x"}}',
    )
    Image.new("RGB", (64, 64)).save("a.png", pnginfo=info)
    with pytest.raises(DataError, match=r"^a.png: the settings in it are broken: seed: "):
        film({"still": "a.png"}, "b")


def test_a_still_of_the_variation_seed_is_found() -> None:
    still("a.png", seed=5)
    with pytest.raises(SettingError, match=r"^the film's own noise is of seed 5"):
        film({"still": "a.png"}, "b", variation_seed=5, variation=0.1)
