"""`models convert` as a person calls it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from sdcreative.cli.models_convert import convert
from sdcreative.errors import ModelError, OutputError, UsageError
from sdcreative.media import output
from sdcreative.models.sources import BUILTIN

EMOJI = BUILTIN / "emoji"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"w": torch.ones(500_000), "n": torch.arange(3)}, "part.ckpt")


def run(*words: str) -> str:
    return CliRunner().invoke(convert, list(words), catch_exceptions=False).output


def there() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


def test_a_folder_again_in_half_precision() -> None:
    said = run("emoji", "models/half", "--dtype", "bfloat16")
    assert said.startswith("wrote models/half: 24.")
    whole = load_file(EMOJI / "unet" / "diffusion_pytorch_model.safetensors")
    half = load_file("models/half/unet/diffusion_pytorch_model.safetensors")
    assert half.keys() == whole.keys()
    assert all(torch.equal(half[name], one.bfloat16()) for name, one in whole.items())
    assert sorted(path.name for path in Path("models").iterdir()) == ["half"]


def test_a_pickle_to_safetensors() -> None:
    said = run("part.ckpt", "part.safetensors")
    assert said.startswith("copied tensor by tensor, whatever it is: part.ckpt is no model")
    assert "wrote part.safetensors: 2.0 MB (" in said
    assert load_file("part.safetensors")["n"].tolist() == [0, 1, 2]


def test_nothing_is_overwritten_unasked() -> None:
    Path("part.safetensors").write_text("old")
    run("emoji", "half")
    (Path("half") / "mine").touch()
    for words in (("part.ckpt", "part.safetensors"), ("emoji", "half")):
        with pytest.raises(OutputError, match="exists; pass --overwrite or choose another target"):
            run(*words)
        run(*words, "--overwrite")
    assert load_file("part.safetensors")["w"].sum() == 500_000
    assert not (Path("half") / "mine").exists()
    assert sorted(os.listdir()) == ["half", "part.ckpt", "part.safetensors"]


def test_only_a_model_or_an_empty_folder_is_replaced() -> None:
    Path("photos").mkdir()
    (Path("photos") / "a.png").touch()
    with pytest.raises(OutputError, match="photos is a folder of other things"):
        run("emoji", "photos", "--overwrite")
    (Path("photos") / "a.png").unlink()
    run("emoji", "photos", "--overwrite")
    assert (Path("photos") / "model_index.json").is_file()
    with pytest.raises(OutputError, match=r"photos\.safetensors exists and is no file"):
        Path("photos").rename("photos.safetensors")
        run("part.ckpt", "photos.safetensors", "--overwrite")


def test_the_source_is_never_replaced() -> None:
    run("part.ckpt", "part.safetensors")
    os.link("part.safetensors", "twin.safetensors")
    Path("models").mkdir()
    Path("part.ckpt").rename("models/part.ckpt")
    before = there()
    for words, message in (
        (("part.safetensors", "part.safetensors"), "is the source itself"),
        (("part.safetensors", "twin.safetensors"), "is the source itself"),
        (("models/part.ckpt", "models"), "models holds the source models/part.ckpt"),
    ):
        with pytest.raises(UsageError, match=message):
            run(*words, "--overwrite")
    assert there() == before


def test_pickles_are_not_written() -> None:
    with pytest.raises(UsageError, match=r"pickles are only read; .* ends in \.safetensors"):
        run("part.ckpt", "part.bin")


def test_faults_of_the_source_leave_nothing_behind() -> None:
    before = there()
    for words, message in (
        (("part.ckpt", "new/model"), r"is no model that is known \(2 tensors"),
        (("emoji", "new/emoji.safetensors"), "has to stay a folder"),
        (("lost.ckpt", "new/a.safetensors"), "there is no such file"),
        (("emoji", "new/emoji", "--ema"), "^ema: "),
        (("emoji", "new/emoji", "--vae", "lost"), "vae: there is no file or folder lost"),
        (("emoji", "new/emoji", "--t5-tokenizer", "."), "needs no tokenizer of T5"),
    ):
        with pytest.raises(ModelError, match=message):
            run(*words)
    assert there() == before


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may be longer than 1 MB, which is as if the disk were full."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("words", [("part.ckpt", "new/part.safetensors"), ("emoji", "new/emoji")])
def test_a_full_disk_leaves_nothing_behind(words: tuple[str, str], small_files: None) -> None:
    before = there()
    with pytest.raises(OutputError, match=rf"^{words[1]}: disk full; about .* wanted"):
        run(*words)
    assert there() == before


def test_a_full_disk_leaves_the_old_one(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    run("emoji", "half")
    before = there()
    request.getfixturevalue("small_files")
    with pytest.raises(OutputError, match="disk full"):
        run("emoji", "half", "--overwrite")
    assert there() == before


def test_too_little_space_is_said_before_anything_is_written(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(output, "free_bytes", lambda path: 1000)
    before = there()
    with pytest.raises(
        OutputError, match=r"^new: about 24\.\d MB .* wanted, 1\.0 kB .* another target$"
    ):
        run("emoji", "new")
    assert there() == before


def test_stopping_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    from sdcreative.models.writing.stream import TensorFile

    def stop(*given: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(TensorFile, "fill", stop)
    before = there()
    for words in (("part.ckpt", "new/a.safetensors"), ("emoji", "new/a")):
        result = CliRunner().invoke(convert, words)
        assert result.exit_code == 1
        assert there() == before


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from sdcreative.cli.models_convert import convert\n"
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
