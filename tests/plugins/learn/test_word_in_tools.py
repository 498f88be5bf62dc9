"""A learned word in every tool: one of which it is known what it says, so that all must be equal.

Its vectors are those of words that the model has, so a prompt with it gives to the bit what the
prompt with these words gives.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image
from safetensors.torch import save_file

from sdcreative import Studio
from sdcreative.cli import main
from sdcreative_plugins.train.inversion.files import write_word

SAYS = {"<fruit>": "red apple", "toy": "banana"}
"""word -> what its vectors say, one token or two"""
FEW: dict[str, Any] = {"steps": 2, "size": 64, "device": "cpu"}

TOOLS: dict[str, dict[str, Any]] = {
    "image": {"prompt": "a picture of a {<fruit>}", "negative_prompt": "({toy}:1.2)"},
    "seed_walk": {"prompt": "a picture of a {toy}", "seeds": [1, 2], "frames": 3, "fps": 4},
    "feedback": {"prompts": ["a {<fruit>}", "a {toy}"], "frames": 3, "fps": 4},
    "scout": {"prompt": "a picture of a {<fruit>}", "first": 3, "show": 2},
}
FILMS = {
    "from an ordinary prompt": ["a picture of a bear", "a picture of a {<fruit>}"],
    "between two words, of two vectors and of one": ["a {<fruit>}", "a picture of a {toy}"],
}


@pytest.fixture
def home(tmp_path: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with one word that settings name, and one that only prompts do."""
    monkeypatch.chdir(tmp_path)
    table = studio.parts.text_encoder.get_input_embeddings().weight.detach()

    def rows(text: str) -> torch.Tensor:
        return table[studio.parts.tokenizer(text, add_special_tokens=False).input_ids].clone()

    shelf = tmp_path / "models" / "embeddings"
    shelf.mkdir(parents=True)
    write_word(tmp_path / "learned.safetensors", "<fruit>", [rows(SAYS["<fruit>"])], {})
    save_file({"emb_params": rows(SAYS["toy"])}, shelf / "toy.safetensors")
    return tmp_path


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as done:
        main(words)
    assert done.value.code == 0


def said(value: Any, words: Callable[[str], str]) -> Any:
    """Settings with every {word} as the word itself, or as what it says."""
    if isinstance(value, list):
        return [said(one, words) for one in value]
    if isinstance(value, str):
        for word in SAYS:
            value = value.replace(f"{{{word}}}", words(word))
    return value


def both(tool: str, values: dict[str, Any], ending: str) -> tuple[Path, Path]:
    """What a preset makes with the words, and with what they say."""
    made = []
    for name, words in (("learned", str), ("plain", SAYS.__getitem__)):
        preset: dict[str, Any] = {"plugin": tool, **FEW, "output": f"{name}{ending}"}
        preset |= {key: said(value, words) for key, value in values.items()}
        if name == "learned":
            preset |= {"embeddings": ["learned.safetensors"], "models_dir": "models"}
        Path(f"{tool}_{name}.yaml").write_text(json.dumps(preset), encoding="utf-8")
        run(tool, f"{tool}_{name}.yaml")
        made.append(Path(f"{name}{ending}"))
    return made[0], made[1]


def pixels(path: Path) -> np.ndarray:
    files = sorted(path.glob("*.png")) if path.is_dir() else [path]
    assert files
    return np.stack([np.asarray(Image.open(one).convert("RGB"), int) for one in files])


@pytest.mark.parametrize("tool", TOOLS)
def test_a_word_is_read_by_every_tool(home: Path, tool: str) -> None:
    learned, plain = both(tool, TOOLS[tool], ".png" if tool in ("image", "scout") else "/")
    found = pixels(learned)
    assert np.ptp(found) > 50
    assert np.array_equal(found, pixels(plain))


@pytest.mark.parametrize("prompts", FILMS.values(), ids=FILMS)
def test_a_film_goes_from_word_to_word(home: Path, prompts: list[str]) -> None:
    learned, plain = both("animate", {"prompts": prompts, "frames": 4}, "/")
    found = pixels(learned)
    assert np.array_equal(found, pixels(plain))
    assert all(np.abs(a - b).max() > 2 for a, b in pairwise(found))


def test_music_goes_from_a_prompt_to_a_word(home: Path, musical: Path) -> None:
    sections = [
        {"prompt": "a picture of a bear", "seconds": 1},
        {"prompt": "a {<fruit>}", "seconds": 1},
    ]
    made = []
    for name, words in (("learned", str), ("plain", SAYS.__getitem__)):
        parts = [{**one, "prompt": said(one["prompt"], words)} for one in sections]
        preset = {"plugin": "music", "model": str(musical), "sections": parts, "steps": 2}
        preset |= {"output": f"{name}.wav", "join": "walk", "device": "cpu"}
        if name == "learned":
            preset["embeddings"] = ["learned.safetensors"]
        Path(f"{name}.yaml").write_text(json.dumps(preset), encoding="utf-8")
        run("music", f"{name}.yaml")
        made.append(soundfile.read(f"{name}.wav")[0])
    assert np.abs(made[0]).max() > 0.01
    assert np.array_equal(*made)


def test_a_word_on_the_command_line_is_taken_over_by_from_and_told_by_diff(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--steps", "2", "--size", "64", "--device", "cpu"]
    named = ["--set", 'embeddings=["learned.safetensors"]']
    run("image", "a picture of a <fruit>", *few, "-o", "a.png", *named)
    run("image", "a picture of a red apple", *few, "-o", "b.png")
    assert np.array_equal(pixels(Path("a.png")), pixels(Path("b.png")))
    capsys.readouterr()
    run("from", "a.png")
    preset = capsys.readouterr().out
    assert "learned.safetensors" in preset and "a picture of a <fruit>" in preset
    Path("again.yaml").write_text(preset, encoding="utf-8")
    run("image", "again.yaml", "-o", "c.png")
    assert np.array_equal(pixels(Path("c.png")), pixels(Path("b.png")))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        main(["diff", "a.png", "b.png"])
    assert "embeddings" in capsys.readouterr().out


def test_a_run_with_a_word_is_resumed(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SDCREATIVE_HOME", str(tmp_path / "runs_of_this"))
    learned, plain = both("animate", {"prompts": ["a bear", "a {toy}"], "frames": 4}, "/")
    names = [one.name for one in (tmp_path / "runs_of_this" / "runs").iterdir()]
    [identity] = [one for one in names if "learned" in one]
    for frame in list((tmp_path / "runs_of_this" / "frames").rglob("*.png"))[::2]:
        frame.unlink()
    for frame in learned.iterdir():
        frame.unlink()
    run("runs", "resume", identity)
    assert np.array_equal(pixels(learned), pixels(plain))


def test_a_word_of_another_family_is_one_line(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file({"<far>": torch.zeros(2, 768)}, "far.safetensors")
    with pytest.raises(SystemExit) as done:
        main(["image", "a <far>", "--device", "cpu", "--set", 'embeddings=["far.safetensors"]'])
    assert done.value.code == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "far.safetensors has vectors of 768 numbers, as made for Stable Diffusion 1" in line
