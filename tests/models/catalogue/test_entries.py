"""What there is on a machine."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
import torch

from sdcreative.models.catalogue.entries import cached, list_entries
from sdcreative.models.catalogue.kinds import Identity, identify
from sdcreative.models.catalogue.naming import find_thing
from sdcreative.models.hub_names import HubPlace


@pytest.fixture
def home(tmp_path: Path, single_file: Path, lora: Path, embedding: Path, tiny_xl: Path) -> Path:
    folder = tmp_path / "webui"
    for place, file in (
        ("models/Stable-diffusion", single_file),
        ("models/Lora", lora),
        ("embeddings", embedding),
    ):
        (folder / place).mkdir(parents=True)
        shutil.copy(file, folder / place)
    (folder / "models/Stable-diffusion/broken.safetensors").write_bytes(b"<html>no</html>")
    shutil.copytree(tiny_xl, folder / "models/Stable-diffusion/Tiny XL")
    (folder / "models/VAE").mkdir()
    shutil.copy(single_file, folder / "models/VAE/odd.safetensors")
    torch.save({"string_to_param": {"*": torch.ones(2, 1024)}}, folder / "embeddings/old.pt")
    return folder


def test_a_models_folder(home: Path) -> None:
    entries = [one for one in list_entries([home]) if one.where == "models folder"]
    found = {one.name: (one.kind, one.family) for one in entries}
    assert found == {
        "bears": ("model", "Stable Diffusion 1"),
        "broken": ("model", None),
        "Tiny XL": ("model", "Stable Diffusion XL"),
        "odd": ("vae", None),
        "ink": ("lora", "Stable Diffusion 1"),
        "bad hands": ("embedding", "Stable Diffusion XL"),
        "old": ("embedding", "Stable Diffusion 2"),
    }
    faults = {one.name: one.fault for one in entries if one.fault}
    assert list(faults) == ["broken"]
    assert "a web page" in faults["broken"]
    bears = home / "models/Stable-diffusion/bears.safetensors"
    [size] = [one.size for one in entries if one.name == "bears"]
    assert size == bears.stat().st_size
    assert find_thing("INK", [home]) == home / "models/Lora/ink.safetensors"
    assert find_thing("bears", [home]) == bears


def test_a_plain_folder_is_told_by_content(lora: Path, embedding: Path, single_file: Path) -> None:
    shutil.copy(single_file, lora.parent)
    (lora.parent / "zebra.ckpt").write_bytes(b"")
    entries = {
        one.name: one.kind
        for one in list_entries([lora.parent])
        if one.where == "models folder" and "/" not in one.name
    }
    assert entries == {
        "bad hands": "embedding",
        "bears": "model",
        "ink": "lora",
        "zebra": "unknown",
    }
    assert identify(lora) == Identity("lora", "Stable Diffusion 1")


def test_built_in_models_are_there() -> None:
    entries = {one.name: one for one in list_entries([]) if one.where == "built-in"}
    assert entries["emoji"].kind == "model"
    assert entries["emoji"].size > 20_000_000
    assert find_thing("emoji", []).name == "emoji"


def test_the_cache_of_the_hub(tmp_path: Path) -> None:
    def put(repository: str, ref: str, *names: str) -> Path:
        folder = tmp_path / f"models--{repository.replace('/', '--')}"
        commit = hashlib.sha1(ref.encode()).hexdigest()
        for name, text in (
            (f"refs/{ref}", commit),
            *((f"snapshots/{commit}/{n}", "{}") for n in names),
        ):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return folder / "snapshots" / commit

    whole = put("owner/a", "main", "model_index.json", "unet/x.safetensors")
    other = put("owner/a", "refs/pr/1", "model_index.json")
    parts = put("o/b-c", "main", "x/model_index.json", "x/vae/y.safetensors", "z.ckpt", "README.md")
    put("owner/text", "main", "config.json")
    assert list(cached(tmp_path)) == [
        (HubPlace("o/b-c", None, "x"), parts / "x"),
        (HubPlace("o/b-c", None, "z.ckpt"), parts / "z.ckpt"),
        (HubPlace("owner/a"), whole),
        (HubPlace("owner/a", "refs/pr/1"), other),
    ]
    assert list(cached(tmp_path / "none")) == []
