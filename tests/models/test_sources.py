from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sdcreative.errors import ModelError
from sdcreative.models import sources
from sdcreative.models.hub_names import HubPlace, read_hub_name
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


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("owner/some.name-1", HubPlace("owner/some.name-1")),
        ("owner/name@fp16", HubPlace("owner/name", "fp16")),
        ("owner/name@refs/pr/1", HubPlace("owner/name", "refs/pr/1")),
        ("owner/name:sub/folder", HubPlace("owner/name", None, "sub/folder")),
        ("owner/name@v1.0:a b [1].ckpt", HubPlace("owner/name", "v1.0", "a b [1].ckpt")),
        ("https://huggingface.co/owner/name", HubPlace("owner/name")),
        ("https://huggingface.co/owner/name/tree/fp16", HubPlace("owner/name", "fp16")),
        ("https://hf.co/owner/name/tree/main/sub/", HubPlace("owner/name", "main", "sub")),
        (
            "https://huggingface.co/owner/name/resolve/main/big%20one.safetensors?download=true",
            HubPlace("owner/name", "main", "big one.safetensors"),
        ),
        (
            "https://huggingface.co/owner/name/blob/refs%2Fpr%2F7/x.ckpt",
            HubPlace("owner/name", "refs/pr/7", "x.ckpt"),
        ),
    ],
)
def test_names_on_the_hub(name: str, place: HubPlace) -> None:
    assert resolve(name) == Source(name, hub=place)
    assert place.is_file == name.partition("?")[0].endswith((".ckpt", ".safetensors"))
    assert read_hub_name(str(place)) == place


@pytest.mark.parametrize(
    "name",
    [
        "owner",
        "owner/name@",
        "owner/name:",
        "owner/name:../x.ckpt",
        "owner/name:/etc/x.ckpt",
        "owner/name:a//b",
        "owner/name@a/../b",
        "owner/..",
        "C:\\models\\sd",
        "https://elsewhere.org/owner/name",
        "https://huggingface.co/owner/name/discussions/1",
        "https://[/owner/name",
    ],
)
def test_names_that_are_none_of_the_hub(name: str) -> None:
    assert read_hub_name(name) is None
    with pytest.raises(ModelError, match="not a built-in name"):
        resolve(name.replace(".ckpt", ""))


def test_unknown_names_come_with_a_suggestion(emoji: Path) -> None:
    with pytest.raises(ModelError, match="did you mean 'emoji'"):
        resolve("emojy")
    with pytest.raises(ModelError, match="built in: emoji"):
        resolve("xyzzy")
    for wrong in ("./no/such", "/no/such/folder", "a/b/c", "", "owner/", "../x"):
        with pytest.raises(ModelError, match="not a built-in name, a folder, a file or a hub id"):
            resolve(wrong)
    with pytest.raises(ModelError, match="inside a model of the hub: 'a/b:c/d'"):
        resolve("a/b/c/d")


def test_names_in_a_models_folder(emoji: Path, tmp_path: Path) -> None:
    home = tmp_path / "ComfyUI"
    for name in ("checkpoints/Real One.safetensors", "checkpoints/emoji.ckpt", "vae/soft.pt"):
        (home / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        (home / "models" / name).write_bytes(b"x")
    checkpoints = home / "models/checkpoints"
    (checkpoints / "owner/name").mkdir(parents=True)
    (checkpoints / "owner/name/model_index.json").write_text("{}")
    found = resolve("real one", models_dir=[home])
    assert found == Source("real one", file=checkpoints / "Real One.safetensors")
    assert resolve("Real One.safetensors", models_dir=[home]).file == found.file
    assert resolve("emoji", models_dir=[home]).folder == emoji
    assert resolve("owner/name", models_dir=[home]).folder == checkpoints / "owner/name"
    assert resolve("owner/name").hub == HubPlace("owner/name")
    with pytest.raises(ModelError, match=r"a name in the models folder .*did you mean 'Real One'"):
        resolve("Reel One", models_dir=[home])
    with pytest.raises(ModelError, match="not a built-in name"):
        resolve("soft", models_dir=[home])


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


def test_names_are_resolved_without_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from sdcreative.models.sources import resolve; "
        f"resolve('owner/name', models_dir=[{str(tmp_path)!r}]);"
        "print({'torch', 'yaml', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
