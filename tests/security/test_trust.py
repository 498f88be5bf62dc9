"""What is trusted: versions in which the readers hold, digests of all that is loaded, a page."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sdcreative.models.digests import model_digest
from sdcreative.models.places import locate
from sdcreative.provenance.writing import job_tags
from sdcreative.settings import RenderSettings

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "security.md"
LEAST = {"torch": (2, 10), "diffusers": (0, 38), "transformers": (5, 6)}


def test_versions_with_known_holes_are_not_installed() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for name, least in LEAST.items():
        found = re.search(rf'"{name}>=(\d+)\.(\d+)', text)
        assert found is not None
        assert (int(found[1]), int(found[2])) >= least


@pytest.mark.parametrize("version", ["2.9.1", "2.5.1+cu121", "1.13.0"])
def test_no_pickle_is_read_by_an_old_torch(
    version: str,
    readers: Any,
    refused: Callable[..., str],
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from safetensors.torch import load_file

    from sdcreative.models.building import read_part

    path = tmp_path / "model.pt"
    torch.save({"string_to_param": {"*": torch.ones(1, 8)}}, path)
    weights = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    monkeypatch.setattr(torch, "__version__", version)
    for reader in readers.values():
        assert "needs torch 2.10 or newer" in refused(lambda reader=reader: reader(path))
    assert "needs torch 2.10" in refused(lambda: read_part(checkpoint / "unet"))


@pytest.fixture
def settings(checkpoint: Path, tmp_path: Path) -> RenderSettings:
    """A model with another autoencoder and text encoder, a LoRA and an embedding."""
    shutil.copytree(checkpoint / "vae", tmp_path / "other" / "vae")
    for part in ("text_encoder", "tokenizer"):
        shutil.copytree(checkpoint / part, tmp_path / "second" / part)
    for name in ("lora.safetensors", "word.pt"):
        (tmp_path / name).write_bytes(name.encode())
    return RenderSettings(
        model=str(checkpoint),
        seed=1,
        loras=[{"file": str(tmp_path / "lora.safetensors")}],
        embeddings=[{"file": str(tmp_path / "word.pt")}],
        swap={
            "vae": str(tmp_path / "other" / "vae"),
            "text_encoder": str(tmp_path / "second" / "text_encoder"),
        },
    )


CHANGED = (
    "model/unet/config.json",
    "model/unet/diffusion_pytorch_model.safetensors",
    "model/scheduler/scheduler_config.json",
    "other/vae/config.json",
    "other/vae/diffusion_pytorch_model.safetensors",
    "second/text_encoder/model.safetensors",
    "second/tokenizer/vocab.json",
    "lora.safetensors",
    "word.pt",
)


def test_the_digest_is_of_all_that_is_loaded(settings: RenderSettings, tmp_path: Path) -> None:
    seen = {model_digest(locate(settings))}
    for name in CHANGED:
        path = tmp_path / name
        path.write_bytes(path.read_bytes() + b" ")
        digest = model_digest(locate(settings))
        assert digest not in seen, name
        seen.add(digest)
    (tmp_path / "adapter_config.json").write_text('{"lora_alpha": 2}')
    assert model_digest(locate(settings)) not in seen


def test_a_finished_file_says_which_weights_made_it(settings: RenderSettings) -> None:
    class One:
        """No picture."""

        columns = None

        def __len__(self) -> int:
            return 2

    tags = job_tags("image", settings, One(), (8, 8))  # type: ignore[arg-type]
    record = json.loads(tags["sdcreative"])
    assert record["model"]["digest"] == model_digest(locate(settings))
    assert set(record["libraries"]) == {"torch", "diffusers", "transformers"}


def test_every_claim_of_the_page_has_a_test() -> None:
    page = PAGE.read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) > 25
    there = {
        name
        for path in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))
    }
    assert set(named) <= there
