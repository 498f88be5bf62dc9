"""Every format that embeddings come in."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from sdcreative.errors import ModelError
from sdcreative.models.addons.embedding_files import read_embedding

VECTORS = torch.randn(3, 768, generator=torch.Generator().manual_seed(5))


def a1111(params: Any) -> dict[str, Any]:
    return {
        "string_to_token": {"*": 265},
        "string_to_param": params,
        "name": "written inside",
        "step": 1200,
        "sd_checkpoint": "a1b2c3d4",
        "sd_checkpoint_name": "photoreal",
    }


@pytest.mark.parametrize("legacy", [False, True])
def test_automatic1111(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "Easy Negative.pt"
    saved = a1111({"*": VECTORS.clone().requires_grad_()})
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    found = read_embedding(path)
    assert (found.name, found.step, found.base) == ("Easy Negative", 1200, "photoreal")
    assert torch.equal(found.vectors, VECTORS)
    assert found.vectors.requires_grad is False
    assert found.second is None
    assert found.family == "Stable Diffusion 1"


def test_the_first_authors(tmp_path: Path) -> None:
    saved = {
        "string_to_token": {"*": torch.tensor(265)},
        "string_to_param": torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS.clone())}),
    }
    path = tmp_path / "embeddings.pt"
    torch.save(saved, path)
    found = read_embedding(path)
    assert (found.name, found.step, found.base) == ("embeddings", None, None)
    assert torch.equal(found.vectors, VECTORS)
    # Files of that age keep the module's source code; nothing reads it.
    torch.save(saved, path, _use_new_zipfile_serialization=False)
    with pytest.raises(ModelError, match="damaged, or holds more than tensors"):
        read_embedding(path)


@pytest.mark.parametrize("ending", ["bin", "safetensors"])
def test_diffusers(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"learned_embeds.{ending}"
    table = {"<cat-toy>": VECTORS[0].clone()}
    save_file(table, path) if ending == "safetensors" else torch.save(table, path)
    found = read_embedding(path)
    assert found.name == "<cat-toy>"
    assert torch.equal(found.vectors, VECTORS[:1])


def test_kohya(tmp_path: Path) -> None:
    save_file({"emb_params": VECTORS.half()}, tmp_path / "style.safetensors")
    found = read_embedding(tmp_path / "style.safetensors")
    assert found.name == "style"
    assert found.vectors.dtype == torch.float32
    assert torch.equal(found.vectors, VECTORS.half().float())


def test_two_encoders(tmp_path: Path) -> None:
    table = {"clip_g": torch.ones(3, 1280), "clip_l": VECTORS}
    save_file(table, tmp_path / "xl.safetensors")
    found = read_embedding(tmp_path / "xl.safetensors")
    assert torch.equal(found.vectors, VECTORS)
    assert [tuple(each.shape) for each in found.per_encoder] == [(3, 768), (3, 1280)]
    assert found.family == "Stable Diffusion XL"
    table["clip_g"] = torch.ones(2, 1280)
    save_file(table, tmp_path / "xl.safetensors")
    with pytest.raises(ModelError, match="not as many vectors for either text encoder"):
        read_embedding(tmp_path / "xl.safetensors")


def as_json(vectors: torch.Tensor) -> bytes:
    params = {"*": {"TORCHTENSOR": vectors.tolist()}}
    return json.dumps(a1111(params)).encode()


def write_chunk(path: Path, content: bytes) -> None:
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(content).decode())
    Image.new("RGB", (64, 64), "white").save(path, pnginfo=info)


def hide(content: bytes, path: Path, height: int = 96) -> None:
    """As AUTOMATIC1111 does: lower halves, a picture, upper halves, and black between them."""
    packed = np.frombuffer(zlib.compress(content, 9), np.uint8)
    row = 3 * height
    size = -(-(len(packed) + height) // row) * row
    padded = np.resize(packed, size).reshape(height, -1, 3)
    state, sequence = 0, np.empty(size, np.uint8)
    for index in range(size):
        state = (1664525 * state + 1013904223) % 2**32
        sequence[index] = state % 255
    # The upper halves of the bytes are decoration, which no reader looks at.
    decoration = np.full(padded.shape, 0x50, np.uint8)
    mixed = sequence.reshape(padded.shape) & 0x0F
    black, picture = np.zeros((height, 1, 3), np.uint8), np.full((height, 80, 3), 201, np.uint8)
    low, high = ((half ^ mixed) | decoration for half in (padded & 0x0F, padded >> 4))
    whole = np.concatenate([low, black, picture, black, high], axis=1)
    Image.fromarray(whole).save(path)


def test_a_picture_with_a_chunk(tmp_path: Path) -> None:
    write_chunk(tmp_path / "shared.png", as_json(VECTORS))
    found = read_embedding(tmp_path / "shared.png")
    assert (found.name, found.step, found.base) == ("written inside", 1200, "photoreal")
    assert torch.equal(found.vectors, VECTORS)


def test_a_picture_that_hides_it(tmp_path: Path) -> None:
    hide(as_json(VECTORS), tmp_path / "hidden.png")
    found = read_embedding(tmp_path / "hidden.png")
    assert (found.name, found.step) == ("written inside", 1200)
    assert torch.equal(found.vectors, VECTORS)
    # Another name does not matter, a picture that was scaled does.
    (tmp_path / "hidden.png").rename(tmp_path / "hidden.pt")
    assert torch.equal(read_embedding(tmp_path / "hidden.pt").vectors, VECTORS)
    with Image.open(tmp_path / "hidden.pt") as picture:
        picture.resize((200, 96)).save(tmp_path / "scaled.png")
    with pytest.raises(ModelError, match="no embedding can be read from the picture"):
        read_embedding(tmp_path / "scaled.png")


@pytest.mark.parametrize(
    "content",
    [
        b"[1, 2]",
        b"{}",
        b"[" * 100_000,
        b'{"string_to_param": {"*": {"TORCHTENSOR": [[1, 2], [3]]}}}',
        b'{"string_to_param": {"*": {"TORCHTENSOR": "1"}}}',
        b'{"string_to_param": {"*": {"TORCHTENSOR": [[NaN]]}}}',
        b'{"string_to_param": {"*": [[1.0]]}}',
        b'{"string_to_param": [[1.0]]}',
    ],
    ids=range(8),
)
def test_pictures_with_something_else(tmp_path: Path, content: bytes) -> None:
    write_chunk(tmp_path / "one.png", content)
    hide(content, tmp_path / "other.png")
    for name in ("one.png", "other.png"):
        with pytest.raises(ModelError, match=name):
            read_embedding(tmp_path / name)


def test_a_picture_that_unpacks_to_gigabytes(tmp_path: Path) -> None:
    hide(b" " * ((1 << 26) + 100), tmp_path / "bomb.png")
    with pytest.raises(ModelError, match="no embedding can be read"):
        read_embedding(tmp_path / "bomb.png")


@pytest.mark.parametrize("colour", ["black", "white"])
def test_ordinary_pictures(tmp_path: Path, colour: str) -> None:
    Image.new("RGB", (64, 64), colour).save(tmp_path / "picture.png")
    with pytest.raises(ModelError, match="no embedding can be read"):
        read_embedding(tmp_path / "picture.png")


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"a": torch.ones(2, 4), "b": torch.ones(2, 4)}, "holds 2 tensors, expected one"),
        ({"<cat>": torch.ones(2, 3, 4)}, r"\[2, 3, 4\] as <cat>, expected vectors"),
        ({"<cat>": torch.ones(0, 4)}, r"\[0, 4\] as <cat>"),
        ({"<cat>": torch.ones(2, 4, dtype=torch.int64)}, "holds int64 as <cat>"),
        ({"<cat>": torch.full((2, 4), torch.nan)}, "holds NaN or infinity as <cat>"),
        ({"<cat>": torch.ones(1, 1).expand(90_000, 90_000)}, "smaller than its tensor <cat>"),
        ({"clip_g": torch.ones(2, 1280)}, "has clip_g and no clip_l"),
        ({"string_to_param": {"a": VECTORS, "b": VECTORS}}, "stands for 2 words"),
        ({"string_to_param": {}}, "stands for 0 words"),
        ({"lora_te_x.lora_up.weight": VECTORS}, "is a LoRA, not an embedding"),
        ({1: VECTORS}, "not a table of tensors"),
        ([VECTORS], "not a table of tensors"),
        (VECTORS, "not a table of tensors"),
    ],
)
def test_what_is_no_embedding(tmp_path: Path, saved: Any, message: str) -> None:
    torch.save(saved, tmp_path / "wrong.pt")
    with pytest.raises(ModelError, match=message):
        read_embedding(tmp_path / "wrong.pt")


class Attack:
    def __reduce__(self) -> Any:
        return print, ("this must not be seen",)


@pytest.mark.parametrize("plain", [False, True])
def test_nothing_in_a_pickle_is_run(
    tmp_path: Path, plain: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "evil.pt"
    if plain:
        path.write_bytes(pickle.dumps({"step": Attack()}, protocol=2))
    else:
        torch.save(a1111({"*": VECTORS}) | {"step": Attack()}, path)
    with pytest.raises(ModelError, match=r"a pickle that would run code \([\w.]*print\)"):
        read_embedding(path)
    assert capsys.readouterr().out == ""
