"""`sdcreative runs` on real runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sdcreative import Studio
from sdcreative.cli import build_cli
from sdcreative.host import Host
from sdcreative.runs.home import frames_folder, music_folder
from sdcreative.runs.run import list_runs
from sdcreative.runs.store import FrameStore

PRESET = """
plugin: animate
keyframes: [a bear, a cat]
frames: 5
steps: 1
device: cpu
output: bear.gif
"""


@pytest.fixture(autouse=True)
def _rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    Path("bear.yaml").write_text(PRESET, encoding="utf-8")
    done = call("animate", "bear.yaml")
    assert done.exit_code == 0, done.output


def call(*words: str) -> Result:
    return CliRunner().invoke(build_cli(Host.load(enabled=False)), words)


def test_list_and_show_say_what_there_is() -> None:
    [run] = json.loads(call("runs", "--json").output)
    assert (run["tool"], run["state"], run["there"], run["frames"]) == ("animate", "finished", 5, 5)
    assert run["run"].startswith("bear-")
    assert run["run"] in call("runs").output
    shown = call("runs", "show", "bear").output
    for words in ("5 of 5", "a cat", "torch", "finished", "began; 0 of 5 frames"):
        assert words in shown
    assert json.loads(call("runs", "show", "last", "--json").output)["seed"] == 0


def test_resume_encodes_to_another_file() -> None:
    done = call("runs", "resume", "last", "-o", "again.apng")
    assert "5 of 5 frames are there already" in done.output
    assert Path("again.apng").is_file()
    assert len(list_runs()) == 1
    refused = call("runs", "resume", "last")
    assert "exists; pass --overwrite" in str(refused.exception)


@pytest.mark.parametrize(
    "words",
    [
        ["image", "a bear", "-o", "bear.png", "--steps", "1"],
        ["seed_walk", "walk.yaml"],
        ["animate", "map.yaml"],
    ],
)
def test_every_tools_runs_can_be_gone_on_with(words: list[str], tmp_path: Path) -> None:
    common = "steps: 1\noutput: walk.gif\nframes: 4\n"
    walk = "plugin: seed_walk\nprompt: a bear\nseeds: [1, 2]\n" + common
    Path("walk.yaml").write_text(walk, encoding="utf-8")
    keys = "plugin: animate\nkeyframes: {0: a bear, 3: {prompt: a cat, ease: in}}\n"
    Path("map.yaml").write_text(keys + "steps: 1\noutput: walk.gif\n", encoding="utf-8")
    done = call(*words)
    assert done.exit_code == 0, (done.output, done.exception)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.chdir(elsewhere)
    done = call("runs", "resume", "last", "-o", "again.png" if "image" in words else "again.gif")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "frames are there already" in done.output
    assert len(list(elsewhere.iterdir())) == 1
    done = call("runs", "verify", "last", "--frames", "1")
    assert done.exit_code == 0, (done.output, done.exception)


def test_verify_renders_again_and_compares() -> None:
    done = call("runs", "verify", "last", "--frames", "3")
    assert done.output.startswith("3 identical, 0 within 1/255, 0 different, 0 not there") or (
        "0 different, 0 not there" in done.output
    )
    store = FrameStore(frames_folder())
    first, *rest = sorted(store)
    other = store.read(rest[0])
    assert other is not None
    store.write(first, other)
    store.remove(rest[1])
    done = call("runs", "verify", "last", "--frames", "99", "--json")
    found = json.loads(done.output)
    assert len(found["different"]) == len(found["lacking"]) == 1
    assert len(found["identical"]) + len(found["close"]) == 3


def test_clean_removes_runs_and_frames_that_are_no_runs() -> None:
    call("animate", "bear.yaml", "-o", "other.gif", "--set", "keyframes.1=a dog")
    assert len(list(FrameStore(frames_folder()))) == 9
    assert "and 0 frames" in call("runs", "clean").output
    assert "and 0 frames" in call("runs", "clean", "--older-than", "1").output
    would = call("runs", "clean", "last", "--dry-run").output
    assert would.startswith("would remove bear-")
    assert len(list_runs()) == 2
    assert "and 4 frames" in call("runs", "clean", "last").output
    assert len(list(FrameStore(frames_folder()))) == 5
    music = [music_folder() / f"{name}.flac" for name in (list_runs()[0].id, "gone-12345678")]
    for file in music:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"sound")
    call("runs", "clean")
    assert [file.exists() for file in music] == [True, False]
    assert "and 5 frames" in call("runs", "clean", "--all").output
    assert not music[0].exists()
    assert list_runs() == []


@pytest.mark.parametrize("words", [["show"], ["resume"], ["verify"], ["clean"]])
def test_a_run_that_is_not_there_is_told(words: list[str]) -> None:
    done = call("runs", *words, "nothing")
    assert "there is no run 'nothing'" in str(done.exception)


def test_names_that_could_be_several_runs_are_told() -> None:
    call("animate", "bear.yaml", "-o", "other.gif", "--seed", "2")
    assert "could be bear-" in str(call("runs", "show", "bear").exception)


def test_a_broken_manifest_breaks_nothing_else() -> None:
    [run] = list_runs()
    folder = frames_folder().parent / "runs"
    (folder / run.id / "manifest.json").write_text("{", encoding="utf-8")
    assert call("runs").exit_code == 0
    assert "and 0 frames" in call("runs", "clean").output
    assert "is broken" in str(call("runs", "show", run.id).exception)
    done = call("animate", "bear.yaml", "--overwrite")
    assert done.exit_code == 0, done.output
    assert "5 of 5 frames are there already" in done.output
