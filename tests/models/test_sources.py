from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sdcreative.errors import ModelError
from sdcreative.models import sources
from sdcreative.models.sources import Source, fetch, resolve


@pytest.fixture
def emoji(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "builtin" / "emoji"
    folder.mkdir(parents=True)
    (folder / "model_index.json").write_text("{}")
    monkeypatch.setattr(sources, "BUILTIN", tmp_path / "builtin")
    return folder


def test_built_in_names(emoji: Path) -> None:
    source = resolve("emoji")
    assert source == Source("emoji", folder=emoji)
    assert fetch(source) == emoji


def test_folders(tmp_path: Path) -> None:
    assert resolve(str(tmp_path)) == Source(str(tmp_path), folder=tmp_path)


def test_a_folder_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    assert resolve("~/model").folder == tmp_path / "model"


def test_hub_ids() -> None:
    assert resolve("owner/some.name-1") == Source("owner/some.name-1", hub_id="owner/some.name-1")


def test_unknown_names_come_with_a_suggestion(emoji: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'emoji'"):
        resolve("emojy")
    with pytest.raises(ModelError, match="built in: emoji"):
        resolve("xyzzy")
    for wrong in ("./no/such", "/no/such/folder", "a/b/c", "", "owner/", "../x"):
        with pytest.raises(ModelError, match="not a built-in name, a folder, a file or a hub id"):
            resolve(wrong)


def test_single_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # What a file is, its content says; a file of any name may be a model.
    for name in ("model.safetensors", "model.ckpt", "model"):
        file = tmp_path / name
        file.write_bytes(b"x")
        source = resolve(str(file))
        assert source == Source(str(file), file=file)
        assert fetch(source) == file
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/model.ckpt").file == tmp_path / "model.ckpt"


def test_single_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "bears.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match=r"no such file; did you mean '.*bears.safetensors'\?"):
        resolve(str(tmp_path / "bear.safetensors"))
    with pytest.raises(ModelError, match=f"there is no such file in {tmp_path}"):
        resolve(str(tmp_path / "xyzzy.ckpt"))
    with pytest.raises(ModelError, match="there is no folder models either"):
        resolve("models/other.ckpt")


def in_fresh_python(code: str, cache: Path, **environment: str) -> str:
    """The hub's library reads the environment when it is imported, so each case has its own."""
    import os

    prologue = (
        "from sdcreative.errors import ModelError\n"
        "from sdcreative.models.sources import *\n"
        "import sys\n"
    )
    body = "\n".join(f"    {line}" for line in code.splitlines())
    code = f"{prologue}try:\n{body}\nexcept ModelError as error:\n    print('ModelError:', error)"
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGINGFACE"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**keep, "HF_HOME": str(cache), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


def cached(cache: Path, hub_id: str, files: dict[str, str]) -> Path:
    """A model in the layout of the hub's cache."""
    model = cache / "hub" / ("models--" + hub_id.replace("/", "--"))
    (model / "refs").mkdir(parents=True)
    (model / "refs" / "main").write_text("0" * 40)
    folder = model / "snapshots" / ("0" * 40)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


COMPLETE = {
    "model_index.json": json.dumps({"_class_name": "StableDiffusionPipeline"}),
    "unet/diffusion_pytorch_model.safetensors": "x",
    "vae/diffusion_pytorch_model.safetensors": "x",
    "text_encoder/model.fp16.safetensors": "x",
}


@pytest.mark.parametrize("way", ["offline=True", "HF_HUB_OFFLINE"])
def test_a_cached_model_needs_no_network(tmp_path: Path, way: str) -> None:
    folder = cached(tmp_path, "owner/name", COMPLETE)
    if way == "HF_HUB_OFFLINE":
        out = in_fresh_python("print(fetch(resolve('owner/name')))", tmp_path, HF_HUB_OFFLINE="1")
    else:
        out = in_fresh_python("print(resolve('owner/name', offline=True).folder)", tmp_path)
    assert out == str(folder)


@pytest.mark.parametrize(
    "code",
    ["resolve('owner/name', offline=True)", "fetch(resolve('owner/name'), offline=True)"],
)
def test_a_model_that_is_not_cached(tmp_path: Path, code: str) -> None:
    out = in_fresh_python(code, tmp_path)
    assert out.startswith("ModelError: model owner/name is not in the cache")
    assert str(tmp_path / "hub") in out
    assert "`hf download owner/name`" in out
    assert "\n" not in out


def test_an_unreachable_hub(tmp_path: Path) -> None:
    out = in_fresh_python(
        "fetch(resolve('owner/name'))", tmp_path, HF_ENDPOINT="http://127.0.0.1:9"
    )
    assert out.startswith("ModelError: model owner/name ")
    assert "`hf download owner/name`" in out
    assert "\n" not in out


def test_a_model_that_is_cached_in_part(tmp_path: Path) -> None:
    cached(tmp_path, "owner/name", {k: v for k, v in COMPLETE.items() if "vae" not in k})
    out = in_fresh_python("fetch(resolve('owner/name'), offline=True)", tmp_path)
    assert out.startswith("ModelError: model owner/name has no weights of vae")
    assert "`hf download owner/name`" in out
