"""What is said of models and add-ons."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdcreative.errors import ModelError
from sdcreative.models.catalogue.addons import (
    EmbeddingFacts,
    LoraFacts,
    OtherFacts,
    describe_addon,
)
from sdcreative.models.catalogue.checking import check_model, load_model
from sdcreative.models.catalogue.describing import AVERAGED, describe, is_model
from sdcreative.models.catalogue.hashes import hash_file
from sdcreative.models.digests import model_digest
from sdcreative.models.loading import load_parts

CPU = torch.device("cpu")


def counted(module: Any) -> int:
    return sum(one.numel() for one in module.parameters())


def test_a_folder(tiny_checkpoint: Path) -> None:
    found = describe(tiny_checkpoint)
    parts = load_parts(tiny_checkpoint, device=CPU, dtype=torch.float32)
    names = ("unet", "vae", "text_encoder")
    assert {one.name: one.amount.parameters for one in found.parts} == {
        name: counted(getattr(parts, name)) for name in names
    }
    assert found.parameters == sum(counted(getattr(parts, name)) for name in names)
    assert all(list(one.amount.dtypes) == ["float32"] and one.loaded for one in found.parts)
    assert [one.amount.size for one in found.parts] == [
        4 * one.amount.parameters for one in found.parts
    ]
    assert (found.form, found.family, found.prediction_type) == (
        "diffusers folder",
        "sd",
        "epsilon",
    )
    assert (found.size, found.multiple) == (parts.sample_size, parts.multiple)
    assert found.memory["float32"]["load"] == 4 * found.parameters
    assert found.memory["float16"]["render"] > found.memory["float16"]["load"]
    assert found.digest == model_digest(tiny_checkpoint)
    assert not found.inpainting and not found.ema


def test_other_families(tiny_xl: Path, tiny_inpainting: Path) -> None:
    found = describe(tiny_xl)
    assert found.title == "Stable Diffusion XL"
    assert [one.name for one in found.parts] == ["unet", "vae", "text_encoder", "text_encoder_2"]
    assert not found.inpainting
    assert describe(tiny_inpainting).inpainting


def test_a_single_file(single_file: Path, twins: Any) -> None:
    found, folder = describe(single_file), describe(twins.folder)
    assert found.title == "Stable Diffusion 1"
    assert found.form == "single file"
    parts = {one.name: one for one in found.parts}
    assert list(parts) == ["unet", "vae", "text_encoder", AVERAGED]
    own = {one.name: one.amount.parameters for one in folder.parts}
    assert {name: one.amount.parameters for name, one in parts.items() if one.loaded} == own
    assert found.parameters == folder.parameters
    assert parts[AVERAGED].amount.parameters == own["unet"]
    unet = parts["unet"].amount.dtypes
    assert list(unet) == ["float16", "float32"]
    assert unet["float32"] == 1
    assert found.ema and found.memory == folder.memory
    assert found.said == {"license": "CreativeML Open RAIL-M", "author": "a b c"}
    assert "last weights" in found.notes[0]
    assert found.digest == hash_file(single_file).sha256[:16]


def test_safetensors_models_are_described_without_torch(single_file: Path, tiny_xl: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "from sdcreative.models.catalogue.describing import describe;"
        "from sdcreative.models.catalogue.entries import identify;"
        "[(describe(Path(one)), identify(Path(one))) for one in sys.argv[1:]];"
        "print({'torch', 'diffusers', 'transformers'} & set(sys.modules))"
    )
    words = [sys.executable, "-c", code, str(single_file), str(tiny_xl)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_a_licence_of_a_folder(checkpoint: Path) -> None:
    assert describe(checkpoint).said == {}
    (checkpoint / "README.md").write_text("---\ntags: [x]\nlicense: openrail++\n---\nlicense: no\n")
    assert describe(checkpoint).said == {"license": "openrail++"}


@pytest.mark.parametrize("form", ["folder", "file"])
def test_what_will_load(form: str, tiny_checkpoint: Path, single_file: Path) -> None:
    path = tiny_checkpoint if form == "folder" else single_file
    assert is_model(path)
    check_model(path)
    load_model(path)


def test_what_will_not_load_is_said_without_reading_weights(checkpoint: Path) -> None:
    config = checkpoint / "unet" / "config.json"
    said = json.loads(config.read_text())
    config.write_text(json.dumps(said | {"layers_per_block": 2}))
    with pytest.raises(ModelError, match=r"weights of unet do not fit its config.json: .* missing"):
        check_model(checkpoint)
    config.write_text(json.dumps(said))
    weights = checkpoint / "vae" / "diffusion_pytorch_model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-8])
    with pytest.raises(ModelError, match="weights of vae are truncated"):
        check_model(checkpoint)
    # The last number is NaN: only loading reads it.
    weights.write_bytes(content[:-4] + b"\xff\xff\xff\xff")
    check_model(checkpoint)
    with pytest.raises(ModelError, match="NaN"):
        load_model(checkpoint)


def test_a_lora(lora: Path) -> None:
    found = describe_addon(lora)
    assert isinstance(found, LoraFacts)
    assert not is_model(lora)
    assert found.family == "Stable Diffusion 1"
    assert (found.forms, found.ranks, found.dora) == ({"LoRA": 3}, {4: 2, 8: 1}, 0)
    assert (found.denoiser, found.text) == (2, 1)
    assert (found.base, found.said) == ("sd15.ckpt", {"title": "Ink"})
    assert found.amount.parameters == 2 * 4 * (768 + 320) + 8 * (768 + 320) + 3
    assert found.digest == hash_file(lora).sha256[:16]


def test_loras_that_cannot_be_used(lora: Path, tmp_path: Path) -> None:
    for tensors, said in (
        ({"a.lora_down.weight": torch.ones(4, 4)}, "incomplete layer a, made of down"),
        (
            {"a.lora_down.weight": torch.ones(4, 4) * torch.nan},
            "holds NaN or infinity as a.lora_down.weight",
        ),
        (
            {"a.oft_blocks": torch.ones(4, 4), "b.lora_down.weight": torch.ones(4, 4)},
            r"no form that can be merged, a.oft_blocks \(OFT\)",
        ),
    ):
        save_file(tensors, tmp_path / "x.safetensors")
        with pytest.raises(ModelError, match=said):
            describe_addon(tmp_path / "x.safetensors")


def test_embeddings(embedding: Path, tmp_path: Path) -> None:
    found = describe_addon(embedding)
    assert isinstance(found, EmbeddingFacts)
    assert (found.word, found.family, found.vectors) == ("bad hands", "Stable Diffusion XL", 3)
    assert found.widths == (768, 1280)
    old = tmp_path / "old.pt"
    torch.save({"string_to_param": {"*": torch.ones(2, 768)}, "name": "x", "step": 7}, old)
    found = describe_addon(old)
    assert isinstance(found, EmbeddingFacts)
    assert (found.word, found.family, found.step) == ("old", "Stable Diffusion 1", 7)


def test_other_files(twins: Any, tmp_path: Path) -> None:
    path = tmp_path / "vae.safetensors"
    start = "first_stage_model."
    tensors = {
        name.removeprefix(start): one
        for name, one in twins.tensors.items()
        if name.startswith(start)
    }
    twins.write(path, tensors)
    found = describe_addon(path)
    assert isinstance(found, OtherFacts)
    assert found.title.startswith("an autoencoder (VAE) alone")
    assert found.amount.parameters == sum(one.numel() for one in tensors.values())


def test_hashes(tmp_path: Path, single_file: Path) -> None:
    import hashlib

    content = bytes(range(256)) * 5000
    (tmp_path / "x.ckpt").write_bytes(b"PK\x03\x04" + content)
    found = hash_file(tmp_path / "x.ckpt")
    whole = b"PK\x03\x04" + content
    assert found.sha256 == hashlib.sha256(whole).hexdigest()
    assert found.sha256.startswith(found.short) and len(found.short) == 10
    assert found.old == hashlib.sha256(whole[0x100000:0x110000]).hexdigest()[:8]
    assert found.weights is None
    whole = single_file.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    weights = hashlib.sha256(whole[8 + length :]).hexdigest()[:12]
    assert hash_file(single_file).weights == weights
