"""The command `learn` itself: stopped, killed, on a full disk, diverging, and given what is bad."""

from __future__ import annotations

import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from few_pictures import draw_few
from forked_commands import Commands

COMMANDS = Path(__file__).parents[2] / "shared" / "learn_commands.py"
pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

HOW: dict[str, Any] = {
    "schedule": {
        "steps": 5,
        "batch": 2,
        "log_every": 1,
        "learning_rate": 0.05,
        "accumulate": 2,
        "warmup": 2,
        "decay": "cosine",
        "seed": 3,
    },
    "look_every": 2,
    "vectors": 3,
    "progressive": True,
    "crops": 1,
    "backgrounds": ["white", "teal"],
    "loss": {
        "min_snr_gamma": 5,
        "noise_offset": 0.1,
        "huber": 0.5,
        "caption_dropout": 0.3,
        "outside": 0.2,
    },
    "keep_best": False,
}
SHORT: dict[str, Any] = {"schedule": {"steps": 1, "batch": 2, "log_every": 1}}
ABSURD: dict[str, Any] = {"schedule": {"steps": 3, "batch": 2, "learning_rate": 1e30}}


@dataclass(frozen=True)
class Done:
    """What commands came to: a folder of all their files, and exit codes by name."""

    folder: Path
    codes: dict[str, int]

    def said(self, name: str) -> str:
        text = (self.folder / f"{name}.txt").read_text("utf-8")
        assert "Traceback" not in text
        return text

    def error(self, name: str) -> str:
        [line] = [one for one in self.said(name).splitlines() if one.startswith("error: ")]
        return line

    def word(self, name: str) -> torch.Tensor:
        return load_file(self.folder / f"{name}.safetensors")["<my-ball>"]


@pytest.fixture(scope="module")
def done(commands: Commands, tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Done:
    folder = tmp_path_factory.mktemp("commands")
    draw_few(folder / "pictures")
    (folder / "none").mkdir()
    (folder / "none" / "notes.txt").write_text("no picture")
    shutil.copytree(folder / "pictures", folder / "five")
    whole = (folder / "five" / "red.png").read_bytes()
    (folder / "five" / "torn.png").write_bytes(whole[: len(whole) // 2])
    save_file({"<old>": torch.zeros(2, 768)}, folder / "old.safetensors")
    wanted: list[dict[str, Any]] = []

    def add(name: str, values: dict[str, Any], data: str = "pictures", **happens: Any) -> None:
        preset = {
            "plugin": "learn",
            "model": str(tiny),
            "data": {"source": "folder", "folder": data},
            "token": "<my-ball>",
            "initial": "red apple",
            "output": f"{happens.pop('output', name)}.safetensors",
            "cache": "cache",
            "look_every": 100,
            "judge": {"seeds": 1, "steps": 1, "scenes": ["a {}, on a blue background"]},
            **values,
        }
        (folder / f"{name}.yaml").write_text(json.dumps(preset))
        words = ["learn", f"{name}.yaml"]
        wanted.append({"name": name, "folder": str(folder), "words": words, **happens})

    add("whole", HOW)
    for name, what, at in (("killed", "kill", 7), ("stopped", "stop", 7), ("full", "full", 6)):
        add(name, HOW, at=at, what=what)
        add(f"{name}_again", HOW, output=name)
    add("absurd", ABSURD)
    add("no_pictures", SHORT, "none")
    add("torn", SHORT, "five")
    add("torn_left_out", {**SHORT, "skip_broken": True}, "five")
    add("known", {**SHORT, "token": "bear"})
    add("spaces", {**SHORT, "token": "my ball"})
    add("other_family", {**SHORT, "start_from": "old.safetensors"})
    run = commands.run(
        json.dumps(wanted),
        cwd=folder,
        script=COMMANDS.read_text("utf-8"),
        SDCREATIVE_HOME=str(folder / "home"),
    )
    assert run.returncode == 0, run.stderr
    return Done(folder, json.loads(run.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("name", "code", "from_step"),
    # Killed, it goes on from its last look; stopped, from its last step.
    [("killed", -signal.SIGKILL, 2), ("stopped", 130, 3), ("full", 1, 2)],
)
def test_a_training_cut_short_ends_as_one_that_was_not(
    done: Done, name: str, code: int, from_step: int
) -> None:
    again = f"{name}_again"
    assert (done.codes["whole"], done.codes[name], done.codes[again]) == (0, code, 0)
    assert f"learn: going on from step {from_step}\n" in done.said(again)
    assert torch.equal(done.word(name), done.word("whole"))
    for file in ("measured.jsonl", "sheet_0000005.png"):
        kept, whole = (done.folder / one / "training" / file for one in (name, "whole"))
        assert kept.read_bytes() == whole.read_bytes(), file
    states = [
        torch.load(done.folder / one / "training" / "checkpoint.pt", weights_only=True)
        for one in (name, "whole")
    ]
    for key, value in states[1]["optimizer"]["state"][0].items():
        assert torch.equal(value, states[0]["optimizer"]["state"][0][key]), key


def test_ctrl_c_says_how_to_go_on(done: Done) -> None:
    assert "learn: stopped, 3 of 5 steps are saved; run the same command" in done.said("stopped")
    assert done.error("stopped") == "error: stopped by Ctrl-C"


def test_a_full_disk_is_one_line_and_leaves_no_half_of_a_file(done: Done) -> None:
    assert "training/sheet_0000004.png: cannot be written (File too large)" in done.error("full")
    assert not list(done.folder.rglob("*.part"))


def test_an_absurd_learning_rate_ends_it_with_the_last_good_word(done: Done) -> None:
    assert done.codes["absurd"] == 1
    assert "the loss became nan at step 2; lower schedule.learning_rate" in done.error("absurd")
    assert "The last good word is in absurd.safetensors, of step 0" in done.error("absurd")
    assert torch.isfinite(done.word("absurd")).all()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("no_pictures", "none: no pictures (.png"),
        (
            "torn",
            "1 of 5 pictures cannot be used: five/torn.png: this picture is broken or truncated",
        ),
        ("known", "the model has the token 'bear' already; choose another token for it"),
        ("spaces", "'my ball' has spaces; a token is one word, such as <my-toy>"),
        (
            "other_family",
            "has vectors of 768 numbers, as in Stable Diffusion 1; this model takes 32",
        ),
    ],
)
def test_what_is_bad_is_one_line_and_leaves_nothing(done: Done, name: str, said: str) -> None:
    assert done.codes[name] != 0
    assert said in done.error(name)
    assert not (done.folder / f"{name}.safetensors").exists()
    assert not (done.folder / name / "training" / "settings.json").exists()


def test_a_broken_picture_is_left_out_where_that_is_asked_for(done: Done) -> None:
    assert done.codes["torn_left_out"] == 0
    assert "data: left out: five/torn.png" in done.said("torn_left_out")
    assert "4 pictures in" in done.said("torn_left_out")
