"""`sdcreative score` and `sdcreative classify`, with the built-in pair."""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sdcreative import Studio, open_writer
from sdcreative.cli.clip import classify_command, fill_template, score_command
from sdcreative.errors import DataError, ModelError, SdcreativeError, UsageError
from sdcreative.models.clip.loading import load_pair

THINGS = ("bear", "red apple", "banana")


@pytest.fixture(scope="module")
def drawn(studio: Studio, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of three pictures, a text file and a hidden folder; never write to it."""
    folder = tmp_path_factory.mktemp("drawn")
    for thing in THINGS:
        picture = studio.picture(f"a picture of a {thing}", seed=1, steps=8, guidance_scale=5)
        picture.save(folder / f"{thing.replace(' ', '_')}.png")
    (folder / "notes.txt").write_text("of fruit")
    (folder / "inside").mkdir()
    return folder


def run(command: click.Command, *words: Any) -> Result:
    return CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)


def read(command: click.Command, *words: Any) -> Any:
    return json.loads(run(command, *words, "--json").stdout)


def fault(kind: type[SdcreativeError], command: click.Command, *words: Any) -> str:
    with pytest.raises(kind) as error:
        run(command, *words)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_drawings_are_classified_right(drawn: Path) -> None:
    found = read(classify_command(), drawn, "--labels", "bear,red apple,banana,owl,cup")
    names = [Path(row["picture"]).stem.replace("_", " ") for row in found["pictures"]]
    assert names == ["banana", "bear", "red apple"]
    assert [row["labels"][0]["label"] for row in found["pictures"]] == names
    assert [row["frame"] for row in found["pictures"]] == [None] * 3
    for row in found["pictures"]:
        chances = [one["probability"] for one in row["labels"]]
        assert chances == sorted(chances, reverse=True)
        assert len(chances) == 3
        assert chances[0] > 0.5
    assert found["texts"][3] == "a picture of an owl"
    whole = read(classify_command(), drawn, "--labels", "bear,owl,cup", "--top", "9")
    for row in whole["pictures"]:
        assert sum(one["probability"] for one in row["labels"]) == pytest.approx(1, abs=1e-5)


def test_the_table_shows_the_best_first(drawn: Path) -> None:
    said = run(classify_command(), drawn / "bear.png", "--labels", "cup, bear", "--top", "1").output
    head, row = said.splitlines()
    assert head.split() == ["PICTURE", "BEST"]
    assert re.fullmatch(r"\S*bear\.png  bear \d+\.\d%", row)


def test_scores_are_cosines_of_the_pair(drawn: Path) -> None:
    words = ("--text", "a bear", "--text", "a banana", "--against", drawn / "bear.png")
    found = read(score_command(), drawn / "banana.png", drawn / "bear.png", *words)
    pair = load_pair(device="cpu")
    pictures = [Image.open(drawn / f"{thing}.png").convert("RGB") for thing in ("banana", "bear")]
    wanted = pair.likeness(pictures, ["a bear", "a banana"]).tolist()
    seen = pair.pictures(pictures)
    for row, texts, other in zip(found["pictures"], wanted, (seen @ seen[1]).tolist(), strict=True):
        assert row["texts"] == pytest.approx(texts, abs=1e-5)
        assert row["against"] == pytest.approx([other], abs=1e-5)
    assert found["pictures"][1]["against"] == [1.0]
    assert found["texts"] == ["a bear", "a banana"]
    first, second = (row["texts"] for row in found["pictures"])
    assert first[1] > first[0]
    assert second[0] > second[1]
    said = run(score_command(), drawn / "bear.png", *words).output
    assert re.fullmatch(r"PICTURE +a bear  a banana  …\S+bear.png", said.splitlines()[0])
    assert said.splitlines()[1].endswith("1.000")


@pytest.mark.parametrize("ending", [".gif", ".mp4"])
def test_the_frames_of_a_film_are_looked_at(drawn: Path, tmp_path: Path, ending: str) -> None:
    pictures = [Image.open(drawn / name).convert("RGB") for name in ("bear.png", "banana.png")]
    film = tmp_path / f"film{ending}"
    with open_writer(str(film), 4.0, (64, 64), length=5) as writer:
        for number in range(5):
            writer.add(pictures[number >= 3])
    found = read(classify_command(), film, "--labels", "bear,banana", "--top", "1")["pictures"]
    assert [row["frame"] for row in found] == [0, 1, 2, 3, 4]
    best = [row["labels"][0]["label"] for row in found]
    assert best == ["bear"] * 3 + ["banana"] * 2
    for every, frames in ((2, [0, 2, 4]), (3, [0, 3]), (9, [0])):
        some = read(score_command(), film, "--text", "a bear", "--every", every)["pictures"]
        assert [row["frame"] for row in some] == frames
    assert "film" + ending + " frame 4" in run(score_command(), film, "--text", "a bear").output


def test_an_animation_of_one_frame_is_a_picture(drawn: Path, tmp_path: Path) -> None:
    Image.open(drawn / "bear.png").save(tmp_path / "bear.webp", lossless=True)
    found = read(score_command(), tmp_path / "bear.webp", drawn / "bear.png", "--text", "a bear")
    assert [row["frame"] for row in found["pictures"]] == [None, None]
    assert found["pictures"][0]["texts"] == found["pictures"][1]["texts"]


def test_a_long_text_is_cut_and_that_is_said(drawn: Path) -> None:
    done = run(score_command(), drawn / "bear.png", "--text", "bear " * 40)
    [warning] = done.stderr.splitlines()
    assert warning.startswith("warning: 'bear bear bear")
    assert warning.endswith("emoji reads 30 tokens of a text, the last 10 of this one are left out")
    assert "warning" not in done.stdout


def test_broken_pictures_are_skipped_when_asked(drawn: Path, tmp_path: Path) -> None:
    for name in ("a.png", "c.png"):
        shutil.copy(drawn / "bear.png", tmp_path / name)
    data = (drawn / "bear.png").read_bytes()
    (tmp_path / "b.png").write_bytes(data[: len(data) // 2])
    words = (tmp_path, "--text", "a bear")
    assert "b.png: this picture is broken or truncated" in fault(DataError, score_command(), *words)
    done = run(score_command(), *words, "--skip-broken", "--json")
    assert [Path(row["picture"]).name for row in json.loads(done.stdout)["pictures"]] == [
        "a.png",
        "c.png",
    ]
    assert re.match(r"warning: \S+b\.png: this picture is broken", done.stderr)
    broken = (tmp_path / "b.png", "--text", "a bear", "--skip-broken")
    assert fault(DataError, score_command(), *broken) == "no picture could be read"


def test_faults_of_score_are_one_line(drawn: Path, tmp_path: Path) -> None:
    bear, score = drawn / "bear.png", score_command()
    assert "nothing to compare with; give --text or --against" in fault(UsageError, score, bear)
    assert "--text: an empty text" in fault(UsageError, score, bear, "--text", " ")
    missing = fault(DataError, score, bear, tmp_path / "no.png", "--text", "a")
    assert missing == f"{tmp_path / 'no.png'}: no such file"
    assert "holds no picture or film" in fault(DataError, score, tmp_path, "--text", "a")
    assert "is no picture" in fault(DataError, score, drawn / "notes.txt", "--text", "a")
    unknown = fault(ModelError, score, bear, "--text", "a", "--model", "emojy")
    assert "no model 'emojy'" in unknown
    assert "did you mean 'emoji'?" in unknown
    assert "riff has no pair" in fault(ModelError, score, bear, "--text", "a", "--model", "riff")
    assert "no such file" in fault(DataError, score, bear, "--against", tmp_path / "no.png")


def test_faults_of_classify_are_one_line(drawn: Path) -> None:
    bear, classify = drawn / "bear.png", classify_command()
    assert "an empty label" in fault(UsageError, classify, bear, "--labels", "a,,b")
    assert "'a' comes twice" in fault(UsageError, classify, bear, "--labels", "a,b, a")
    assert "give two or more" in fault(UsageError, classify, bear, "--labels", "a")
    plain = ("--labels", "a,b", "--template", "a picture")
    assert "has no {} where the label goes" in fault(UsageError, classify, bear, *plain)


def test_a_sigmoid_judges_each_label_by_itself(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = replace(load_pair(device="cpu"), bias=-12.0)
    monkeypatch.setattr("sdcreative.models.clip.loading.load_pair", lambda *a, **k: pair)
    [alone] = read(classify_command(), drawn / "bear.png", "--labels", "bear")["pictures"]
    [one, *others] = read(classify_command(), drawn / "bear.png", "--labels", "bear,cup")[
        "pictures"
    ][0]["labels"]
    assert one["probability"] == pytest.approx(alone["labels"][0]["probability"], abs=1e-5)
    wanted = 1 / (1 + math.exp(12 - pair.scale * one["similarity"]))
    assert one["probability"] == pytest.approx(wanted, abs=1e-4)
    assert others[0]["probability"] < one["probability"]


@pytest.mark.parametrize(
    ("template", "label", "text"),
    [
        ("a picture of a {}", "owl", "a picture of an owl"),
        ("a picture of a {}", "bear", "a picture of a bear"),
        ("a picture of a {}, flat", "Apple", "a picture of an Apple, flat"),
        ("A {}", "ewe", "An ewe"),
        ("the {}", "owl", "the owl"),
        ("banana{}", "s", "bananas"),
        ("{}", "owl", "owl"),
    ],
)
def test_labels_in_their_texts(template: str, label: str, text: str) -> None:
    assert fill_template(template, label) == text


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from sdcreative.cli.clip import score_command, classify_command;"
        "[c().make_context('x', ['a', '--labels', 'b']) for c in (classify_command,)];"
        "score_command();"
        "print([name for name in ('torch', 'numpy', 'PIL', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
