"""`sdcreative storyboard` with the built-in model: its stills are the film's own frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sdcreative import Studio
from sdcreative.cli import build_cli
from sdcreative.cli.storyboard import storyboard_command
from sdcreative.errors import OutputError, UsageError
from sdcreative.host import Host
from sdcreative.runs.home import frames_folder
from sdcreative.runs.store import FrameStore

PRESET = """
plugin: animate
keyframes:
  - {prompt: a picture of a bear, seed: 9}
  - {prompt: a red apple, seed: 4}
  - {prompt: a picture of a cat, seed: 9}
  - a green tree
guidance_scale: {0: 3, 9: 7}
frames: 13
steps: 2
device: cpu
output: film.gif
"""


@pytest.fixture(autouse=True)
def _preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    Path("film.yaml").write_text(PRESET, encoding="utf-8")


def call(*words: str) -> Result:
    return CliRunner().invoke(storyboard_command(Host.load(enabled=False)), words)


def run(*words: str) -> Result:
    return CliRunner().invoke(build_cli(Host.load(enabled=False)), words)


def test_only_the_keyframes_are_rendered_and_the_film_takes_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = call("film.yaml")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "stills: 4 of 13 frames; 0 there, 4 rendered" in done.output
    store = FrameStore(frames_folder())
    kept = {key: np.asarray(store.read(key)) for key in store}
    assert len(kept) == 4
    with Image.open("film_storyboard.png") as sheet:
        assert sheet.width == 1600

    with monkeypatch.context() as nothing_to_render:
        nothing_to_render.setattr(Studio, "load", None)
        again = call("film.yaml", "-o", "again.png")
        assert "stills: 4 of 13 frames; 4 there, 0 rendered" in again.output
    assert Path("again.png").read_bytes() == Path("film_storyboard.png").read_bytes()

    film = run("animate", "film.yaml")
    assert "4 of 13 frames are there already" in film.output
    assert len(list(store)) == 13
    alone = run("animate", "film.yaml", "--no-keep", "-o", "alone/")
    assert alone.exit_code == 0, alone.exception
    frames = [np.asarray(Image.open(file), int) for file in sorted(Path("alone").iterdir())]
    for picture in kept.values():
        assert min(np.abs(frame - picture).max() for frame in frames[::4]) <= 1


def test_settings_are_changed_and_stills_counted() -> None:
    done = call("film.yaml", "--stills", "2", "--set", "steps=1", "-o", "small.webp")
    assert "stills: 2 of 13 frames; 0 there, 2 rendered" in done.output
    assert Path("small.webp").is_file()
    assert "4 rendered" in call("film.yaml").output


def test_a_seed_that_is_drawn_is_told() -> None:
    done = call("film.yaml", "--set", "seed=-1", "--stills", "1")
    assert done.output.startswith("seed ")
    assert "--seed" in done.output


def test_a_film_that_is_placed_by_what_it_shows_is_shown_as_it_was_placed() -> None:
    Path("film.yaml").write_text(
        PRESET.replace("frames: 13", "frames: 9\ntiming: perceptual\nprobes: 3\nmetric: pixel"),
        encoding="utf-8",
    )
    assert "shown evenly timed" in call("film.yaml").output
    film = run("animate", "film.yaml")
    assert film.exit_code == 0, film.exception
    done = call("film.yaml", "-o", "placed.png", "--stills", "9")
    assert "timed" not in done.output
    assert "0 rendered" in done.output


def test_what_cannot_be_shown_is_refused() -> None:
    Path("film_storyboard.png").touch()
    assert isinstance(call("film.yaml").exception, OutputError)
    assert "ending '.txt'" in str(call("film.yaml", "-o", "a.txt").exception)
    assert not list(FrameStore(frames_folder()))
    assert call("film.yaml", "--overwrite", "--stills", "1").exit_code == 0
    Path("train.yaml").write_text("plugin: train\n", encoding="utf-8")
    refused = call("train.yaml").exception
    assert isinstance(refused, UsageError)
    assert "makes no film" in str(refused)


def test_later_frames_of_a_feedback_film_are_shown_once_they_are_there() -> None:
    preset = """
plugin: feedback
prompts: {0: a bear, 3: a cat}
frames: 4
steps: 2
device: cpu
output: feedback.gif
"""
    Path("feedback.yaml").write_text(preset, encoding="utf-8")
    done = call("feedback.yaml")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "0 there, 1 rendered" in done.output
    assert "not shown: 1, following from frames that are not rendered yet" in done.output
    film = run("run", "feedback.yaml")
    assert film.exit_code == 0, (film.output, film.exception)
    assert "1 of 4 frames are there already" in film.output
    again = call("feedback.yaml", "--overwrite")
    assert "2 there, 0 rendered" in again.output
    assert "not shown" not in again.output
