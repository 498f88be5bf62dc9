"""`sdcreative models`, with the built-in model and files of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from sdcreative.cli.models import models_group
from sdcreative.errors import ModelError, UsageError
from sdcreative.models.digests import model_digest
from sdcreative.models.sources import BUILTIN


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SDCREATIVE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SDCREATIVE_MODELS_DIR", raising=False)
    shelf = tmp_path / "models" / "loras"
    shelf.mkdir(parents=True)
    layer = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    tensors = {
        f"{layer}.lora_down.weight": torch.ones(4, 1024),
        f"{layer}.lora_up.weight": torch.ones(8, 4),
    }
    save_file(tensors, shelf / "ink.safetensors")
    save_file({"clip_l": torch.ones(2, 768)}, shelf / "word.safetensors")
    (shelf / "broken.safetensors").write_bytes(b"")
    return tmp_path


def call(*words: str) -> Result:
    return CliRunner().invoke(models_group(), words, standalone_mode=False)


def read(*words: str) -> object:
    done = call(*words, "--json")
    assert done.exception is None, done.exception
    return json.loads(done.output)


def test_list(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bare = call().output
    assert "emoji" in bare and "built-in" in bare
    assert "ink" not in bare
    for how in ("flag", "environment"):
        flags = ["--models-dir", str(folder)] if how == "flag" else []
        if how == "environment":
            monkeypatch.setenv("SDCREATIVE_MODELS_DIR", str(folder))
        lines = call("list", *flags).output.splitlines()
        [line] = [line for line in lines if line.startswith("ink ")]
        assert " ".join(line.split()[1:]) == "lora Stable Diffusion 2 16.8 kB models folder"
        [line] = [line for line in lines if line.startswith("broken")]
        assert "empty (0 bytes)" in line
        found = read("list", *flags)
        assert isinstance(found, list)
        kinds = {one["name"]: one["kind"] for one in found if one["where"] == "models folder"}
        assert kinds == {"ink": "lora", "word": "embedding", "broken": "lora"}


def test_info_of_a_model(folder: Path) -> None:
    said = call("info", "emoji").output
    for words in ("v_prediction", "64x64 pixels, multiples of 4", "CLIPTextModel", "float16  17.5"):
        assert words in said
    found = read("info", "emoji")
    assert isinstance(found, dict)
    assert found["digest"] == model_digest(BUILTIN / "emoji")
    assert found["parameters"] == sum(one["amount"]["parameters"] for one in found["parts"])
    assert (folder / "home/models.json").is_file()


def test_info_of_addons(folder: Path) -> None:
    flags = ("--models-dir", str(folder))
    said = call("info", "ink", *flags).output
    for words in (
        "LoRA for Stable Diffusion 2",
        "1 of the denoiser, 0 of text",
        "ranks       4 (1)",
    ):
        assert words in said
    said = call("info", "word", *flags).output
    assert "embedding for Stable Diffusion 1, 2 vectors" in said
    assert isinstance(read("info", "ink", *flags), dict)
    with pytest.raises(ModelError, match="are empty"):
        raise call("info", "broken", *flags).exception or AssertionError
    with pytest.raises(ModelError, match=r"no model 'emojy'.*did you mean 'emoji'"):
        raise call("info", "emojy").exception or AssertionError


def test_check(folder: Path) -> None:
    flags = ("--models-dir", str(folder))
    done = call("check", "emoji", "ink", *flags)
    assert done.output.splitlines()[0].startswith("emoji: will load: Stable Diffusion")
    assert done.output.splitlines()[1] == "ink: is sound: LoRA for Stable Diffusion 2"
    assert done.return_value == 0
    assert call("check", "emoji", "--load").output.startswith("emoji: has loaded")
    done = call("check", "broken", "xyzzy", "word", *flags)
    broken, unknown, word = done.output.splitlines()
    assert broken.startswith("broken: will not load: ") and "empty" in broken
    assert unknown.startswith("xyzzy: will not load: no model 'xyzzy'")
    assert word == "word: is sound: embedding for Stable Diffusion 1, 2 vectors"
    assert done.return_value == 1


def test_digest(folder: Path) -> None:
    digest = model_digest(BUILTIN / "emoji")
    assert call("digest", "emoji").output == f"run key  {digest}\n"
    found = read("digest", str(folder / "models/loras/ink.safetensors"))
    assert isinstance(found, dict)
    assert found["sha256"][:16] == found["run key"]
    assert found["sha256"][:10] == found["A1111"]
    assert len(found["without header"]) == 12


def test_fetch_wants_an_id() -> None:
    with pytest.raises(UsageError, match="'emoji' is no id on the hub"):
        raise call("fetch", "emoji").exception or AssertionError


def test_fetch_says_where(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 12)
    asked = []

    def fetched(source: object, offline: bool = False, *, also: object = ()) -> Path:
        asked.append((str(getattr(source, "hub", None)), also))
        return tmp_path

    monkeypatch.setattr("sdcreative.models.sources.fetch", fetched)
    done = call("fetch", "https://huggingface.co/owner/name/tree/v1", "--also", "safety_checker")
    assert done.output == f"{tmp_path}: 12 bytes\n"
    assert asked == [("owner/name@v1", ("safety_checker",))]


@pytest.mark.parametrize("words", [["--help"], ["info", "--help"], ["check", "--help"]])
def test_help_needs_no_torch(words: list[str]) -> None:
    code = (
        "import sys; from sdcreative.cli.models import models_group;"
        f"models_group().main({words!r}, standalone_mode=False);"
        "sys.exit(bool({'torch', 'numpy', 'diffusers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0


def test_listing_and_looking_at_models_need_no_torch(folder: Path) -> None:
    code = (
        "import sys; from sdcreative.cli.models import models_group;"
        "[models_group().main(words, standalone_mode=False) for words in"
        " (['list'], ['info', 'emoji'], ['digest', 'emoji'])];"
        "sys.exit(bool({'torch', 'diffusers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True)
    assert done.returncode == 0, done.stderr
