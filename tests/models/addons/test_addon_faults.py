"""Bad files: one clear line for each, quickly, and never anything else."""

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import load_file, save_file

from sdcreative.errors import ModelError
from sdcreative.models.addons.embedding_files import read_embedding
from sdcreative.models.addons.lora_reading import read_lora
from sdcreative.models.loading import Parts

MUTATIONS = 2000

BROKEN = {
    "empty": (b"", "is empty"),
    "web page": (b"\n<!DOCTYPE html><html>", "is a web page"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git-lfs pointer"),
    "text": (b"hello, this is no file of weights at all", "neither safetensors nor a PyTorch"),
    "short": (b"abc", "neither safetensors nor a PyTorch"),
    "long header": (struct.pack("<Q", 10**12) + b'{"a": 1}', "has a header of 1000000000000"),
    "cut header": (struct.pack("<Q", 10**6) + b'{"a": 1}', "is truncated"),
    "deep header": (struct.pack("<Q", 10**5) + b'{"a":' * 20_000, "is damaged: the header"),
    "no header": (struct.pack("<Q", 9) + b"{ nonsens" + bytes(9), "is damaged: the header"),
    "zip": (b"PK\x03\x04" + bytes(60), "is damaged"),
    "pickle": (b"\x80\x02}q\x00." + bytes(60), "is damaged"),
    "cut pickle": (b"\x80\x02}q\x00(X", "is damaged"),
}


def read_either(what: str, parts: Parts) -> Callable[[Path], object]:
    return read_embedding if what == "embedding" else lambda path: read_lora(path, parts)


@pytest.mark.parametrize("what", ["lora", "embedding"])
@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_told_apart(parts: Parts, tmp_path: Path, what: str, kind: str) -> None:
    content, message = BROKEN[kind]
    for ending in ("safetensors", "pt"):
        path = tmp_path / f"broken.{ending}"
        path.write_bytes(content)
        with pytest.raises(ModelError, match=message) as caught:
            read_either(what, parts)(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", ["lora", "embedding"])
def test_what_is_not_there(parts: Parts, tmp_path: Path, what: str) -> None:
    for path in (tmp_path, tmp_path / "missing.safetensors"):
        with pytest.raises(ModelError, match="cannot be read"):
            read_either(what, parts)(path)


def test_headers_of_any_length_are_those_of_safetensors(parts: Parts, tmp_path: Path) -> None:
    path, firsts = tmp_path / "one.safetensors", set()
    for length in range(500, 800, 8):
        table = {"lora_unet_conv_in.lora_up.weight": torch.ones(32, 1, 1, 1)}
        table["lora_unet_conv_in.lora_down.weight"] = torch.ones(1, 4, 3, 3)
        save_file(table, path, {"comment": "x" * (length - 300)})
        firsts.add(path.read_bytes()[0])
        assert len(read_lora(path, parts).layers) == 1
    # What pickles begin with.
    assert 0x80 in firsts


def test_a_truncated_lora(parts: Parts, kohya: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.safetensors"
    path.write_bytes(kohya.read_bytes()[:-100])
    size = kohya.stat().st_size
    with pytest.raises(ModelError, match=f"truncated: .* has {size - 100} bytes of at least"):
        read_lora(path, parts)


Change = Callable[[dict[str, Any], str], object]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, k: t[f"{k}.lora_up.weight"].fill_(torch.nan), "NaN or infinity as .*lora_up"),
        (
            lambda t, k: t.update({f"{k}.lora_up.weight": torch.ones(64, 4, dtype=torch.int32)}),
            "holds int32 as .*lora_up.*, not floating-point",
        ),
        (
            lambda t, k: t.update({f"{k}.lora_up.weight": torch.ones(0, 4)}),
            "an empty tensor as .*lora_up",
        ),
        (
            lambda t, k: t.update({f"{k}.lora_up.weight": torch.ones(63, 4)}),
            r"1 layer \(\w+\) of \d+ have other shapes than its modules",
        ),
        (
            lambda t, k: t.update({f"{k}.lora_up.weight": torch.ones(64, 3)}),
            r"1 layer \(\w+\) of \d+ have other shapes than its modules",
        ),
        (lambda t, k: t.update({f"{k}.alpha": torch.ones(3)}), "no single number as .*alpha"),
        (lambda t, k: t.update({f"{k}.alpha": torch.tensor(torch.inf)}), "NaN or inf.*alpha"),
        (
            lambda t, k: t.pop(f"{k}.lora_up.weight"),
            "incomplete or unknown layer .*, made of alpha",
        ),
        (
            lambda t, k: t.update({f"{k}.strange": torch.ones(2)}),
            r"1 key \(.*strange\) of no known",
        ),
        (
            lambda t, k: t.update({"lora_unet_other_to_q.diff": torch.ones(2)}),
            r"1 layer \(lora_unet_other_to_q\) of \d+ are of modules that it lacks",
        ),
    ],
    ids=range(10),
)
def test_faults_inside_a_lora(
    parts: Parts,
    kohya: Path,
    kohya_keys: Callable[[Any], str],
    tmp_path: Path,
    change: Change,
    message: str,
) -> None:
    table = dict(load_file(kohya))
    name = kohya_keys(("unet", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"))
    change(table, name)
    save_file(table, tmp_path / "wrong.safetensors")
    with pytest.raises(ModelError, match=message):
        read_lora(tmp_path / "wrong.safetensors", parts)


def test_layers_that_a_model_lacks_can_be_left_out(
    parts: Parts, kohya: Path, tmp_path: Path
) -> None:
    table = dict(load_file(kohya)) | {"lora_unet_other_to_q.diff": torch.ones(2)}
    save_file(table, tmp_path / "more.safetensors")
    lora = read_lora(tmp_path / "more.safetensors", parts, strict=False)
    assert lora.unmatched == ("lora_unet_other_to_q",)
    assert lora.layers.keys() == read_lora(kohya, parts).layers.keys()
    save_file({"lora_unet_other_to_q.diff": torch.ones(2)}, tmp_path / "none.safetensors")
    with pytest.raises(ModelError, match=r"1 layer .* of 1 are of modules that it lacks"):
        read_lora(tmp_path / "none.safetensors", parts, strict=False)


def pair(width: int, rank: int = 2) -> dict[str, torch.Tensor]:
    return {"lora_down.weight": torch.ones(rank, width), "lora_up.weight": torch.ones(8, rank)}


BLOCK = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
TEXT = "lora_te_text_model_encoder_layers_0_self_attn_q_proj"


@pytest.mark.parametrize(
    ("name", "width", "metadata", "family"),
    [
        (BLOCK, 768, {}, "Stable Diffusion 1"),
        (BLOCK, 1024, {}, "Stable Diffusion 2"),
        (BLOCK, 2048, {}, "Stable Diffusion XL"),
        (BLOCK.replace("attn2", "attn1"), 320, {}, None),
        (
            BLOCK.replace("attn2", "attn1"),
            640,
            {"ss_base_model_version": "sdxl_base_v1-0"},
            "Stable Diffusion XL",
        ),
        (TEXT, 768, {"modelspec.architecture": "stable-diffusion-v1/lora"}, "Stable Diffusion 1"),
        (TEXT, 1024, {}, "Stable Diffusion 2"),
        ("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, {}, "Stable Diffusion XL"),
        ("lora_unet_double_blocks_0_img_attn_qkv", 3072, {}, "Flux"),
        ("transformer.single_transformer_blocks.0.attn.to_q", 3072, {}, "Flux"),
        ("lora_unet_joint_blocks_0_x_block_attn_qkv", 1536, {}, "Stable Diffusion 3"),
    ],
)
def test_a_lora_for_another_family(
    parts: Parts,
    tmp_path: Path,
    name: str,
    width: int,
    metadata: dict[str, str],
    family: str | None,
) -> None:
    path = tmp_path / "other.safetensors"
    save_file({f"{name}.{key}": one for key, one in pair(width).items()}, path, metadata)
    expected = f"is a LoRA for {family}, and this model is another" if family else "does not fit"
    with pytest.raises(ModelError, match=expected) as caught:
        read_lora(path, parts)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"emb_params": torch.ones(2, 8)}, "is a textual-inversion embedding, not a LoRA"),
        ({"<cat-toy>": torch.ones(8)}, r"1 key \(<cat-toy>\) of no known form.*is it a LoRA"),
        ({"model.diffusion_model.out.2.weight": torch.ones(8)}, "is a whole model, not a LoRA"),
        ({"conv_in.weight": torch.ones(8)}, r"1 key \(conv_in\.weight\) of no known form"),
    ],
)
def test_files_of_another_kind(
    parts: Parts, tmp_path: Path, table: Mapping[str, Any], message: str
) -> None:
    save_file(dict(table), tmp_path / "other.safetensors")
    with pytest.raises(ModelError, match=message):
        read_lora(tmp_path / "other.safetensors", parts)


class Attack:
    def __reduce__(self) -> Any:
        return print, ("this must not be seen",)


def test_nothing_in_a_lora_is_run(
    parts: Parts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = {f"{BLOCK}.{key}": one for key, one in pair(32).items()} | {"x": Attack()}
    torch.save(table, tmp_path / "evil.safetensors")
    with pytest.raises(ModelError, match=r"a pickle that would run code \([\w.]*print\)"):
        read_lora(tmp_path / "evil.safetensors", parts)
    assert capsys.readouterr().out == ""


def mutated(content: bytes, part: int, dice: random.Random) -> bytes:
    """A file with a few bytes of its first part changed, taken out, put in, or the end cut off."""
    whole = bytearray(content)
    for _ in range(dice.randint(1, 4)):
        place = dice.randrange(min(part, len(whole)))
        match dice.randrange(5):
            case 0:
                whole[place] = dice.randrange(256)
            case 1:
                whole[place] ^= 1 << dice.randrange(8)
            case 2:
                del whole[place : place + dice.randint(1, 8)]
            case 3:
                whole[place:place] = dice.randbytes(dice.randint(1, 8))
            case _:
                # A digit for a digit keeps the JSON whole, and what it says wrong.
                digits = [at for at in range(min(part, len(whole))) if chr(whole[at]).isdigit()]
                if digits:
                    whole[dice.choice(digits)] = ord(dice.choice("0123456789"))
        if not whole:
            break
    return bytes(whole[: dice.randrange(len(whole) + 1)] if dice.random() < 0.05 else whole)


def survive(
    content: bytes, part: int, path: Path, read: Callable[[Path], object], count: int = MUTATIONS
) -> float:
    """Read many mutations; the share that was refused."""
    dice, refused, began = random.Random(7), 0, time.monotonic()
    for _ in range(count):
        path.write_bytes(mutated(content, part, dice))
        try:
            read(path)
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
    assert time.monotonic() - began < 120
    return refused / count


def test_mutations_of_a_loras_header(parts: Parts, tmp_path: Path) -> None:
    table: dict[str, Any] = {"lora_unet_conv_in.lora_down.weight": torch.ones(2, 4, 3, 3)}
    table["lora_unet_conv_in.lora_up.weight"] = torch.ones(32, 2, 1, 1)
    table["lora_unet_conv_in.alpha"] = torch.tensor(1.0)
    path = tmp_path / "small.safetensors"
    save_file(table, path, {"ss_network_dim": "2"})
    content = path.read_bytes()
    read_lora(path, parts)
    header = 8 + struct.unpack("<Q", content[:8])[0]
    assert json.loads(content[8:header])
    assert survive(content, header, path, lambda one: read_lora(one, parts)) > 0.8


@pytest.mark.parametrize("legacy", [False, True])
def test_mutations_of_a_pickle(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "small.pt"
    saved = {"string_to_param": {"*": torch.ones(2, 8)}, "name": "a", "step": 3}
    torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
    read_embedding(path)
    content = path.read_bytes()
    assert survive(content, len(content), path, read_embedding, 500) > 0.2


def test_mutations_of_an_embedding_and_of_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    save_file({"<cat>": torch.ones(2, 8)}, path)
    header = 8 + struct.unpack("<Q", path.read_bytes()[:8])[0]
    assert survive(path.read_bytes(), header, path, read_embedding) > 0.5
    info = PngInfo()
    # Base64 of {"string_to_param": {"*": {"TORCHTENSOR": [[1, 2]]}}}.
    text = "eyJzdHJpbmdfdG9fcGFyYW0iOiB7IioiOiB7IlRPUkNIVEVOU09SIjogW1sxLCAyXV19fX0="
    info.add_text("sd-ti-embedding", text)
    picture = tmp_path / "small.png"
    Image.new("RGB", (16, 16), "white").save(picture, pnginfo=info)
    assert torch.equal(read_embedding(picture).vectors, torch.tensor([[1.0, 2.0]]))
    content = picture.read_bytes()
    assert survive(content, len(content), picture, read_embedding, 500) > 0.5
