"""Loading: what comes out, and one clear line for everything that can be wrong."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from sdcreative import Studio
from sdcreative.errors import ModelError
from sdcreative.models.loading import Parts, load_parts

UNET = "unet/diffusion_pytorch_model.safetensors"
VAE = "vae/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
CPU = torch.device("cpu")


def load(folder: Path) -> Parts:
    return load_parts(folder, device=CPU, dtype=torch.float32)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def edit_weights(path: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    state = {key: tensor.clone() for key, tensor in load_file(path).items()}
    path.unlink()
    save_file(change(state) or state, path)


def shard(path: Path) -> Path:
    """Split weights into two files and an index; returns the second of them."""
    state = load_file(path)
    names = sorted(state)
    paths = [path.with_name(f"{path.stem}-{n:05}.safetensors") for n in (1, 2)]
    halves = [names[: len(names) // 2], names[len(names) // 2 :]]
    for one, half in zip(paths, halves, strict=True):
        save_file({name: state[name] for name in half}, one)
    table = {name: one.name for one, half in zip(paths, halves, strict=True) for name in half}
    index = path.with_name(f"{path.name}.index.json")
    index.write_text(json.dumps({"weight_map": table}))
    path.unlink()
    return paths[1]


def test_a_good_checkpoint(tiny_checkpoint: Path) -> None:
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel

    parts = load(tiny_checkpoint)
    assert (parts.latent_channels, parts.downsampling, parts.sample_size) == (4, 4, (32, 32))
    assert (parts.prediction_type, parts.context, len(parts.tokenizer)) == ("epsilon", 16, 517)
    assert parts.scheduler_config["beta_schedule"] == "scaled_linear"
    for module, cls, name in (
        (parts.unet, UNet2DConditionModel, "unet"),
        (parts.vae, AutoencoderKL, "vae"),
        (parts.text_encoder, CLIPTextModel, "text_encoder"),
    ):
        theirs = cls.from_pretrained(tiny_checkpoint / name).state_dict()
        ours = module.state_dict()
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
        assert not module.training
        assert not any(one.requires_grad for one in module.parameters())
        assert not any(one.is_meta for one in (*module.parameters(), *module.buffers()))


def test_half_precision_files_are_cast(checkpoint: Path) -> None:
    for path in (UNET, VAE, TEXT):
        edit_weights(checkpoint / path, lambda state: {k: t.half() for k, t in state.items()})
    parts = load(checkpoint)
    for module in (parts.unet, parts.vae, parts.text_encoder):
        assert {one.dtype for one in module.parameters()} == {torch.float32}


def test_text_encoders_of_older_transformers_load_too(
    tiny_checkpoint: Path, checkpoint: Path
) -> None:
    def older(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        prefix = "" if any(key.startswith("text_model.") for key in state) else "text_model."
        state = {prefix + key: tensor for key, tensor in state.items()}
        return state | {"text_model.embeddings.position_ids": torch.arange(16)[None]}

    edit_weights(checkpoint / TEXT, older)
    ours, theirs = (load(one).text_encoder.state_dict() for one in (checkpoint, tiny_checkpoint))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_text_encoders_of_newer_transformers_load_too(checkpoint: Path) -> None:
    edit_weights(
        checkpoint / TEXT,
        lambda state: {key.removeprefix("text_model."): one for key, one in state.items()},
    )
    load(checkpoint)


def test_autoencoders_of_older_diffusers_load_too(checkpoint: Path) -> None:
    new = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def older(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        for before, after in new.items():
            state = {key.replace(f".{before}.", f".{after}."): one for key, one in state.items()}
        assert any(".proj_attn." in key for key in state)
        return state

    edit_weights(checkpoint / VAE, older)
    load(checkpoint)


def test_weights_in_several_files(tiny_checkpoint: Path, checkpoint: Path) -> None:
    shard(checkpoint / UNET)
    ours, theirs = (load(one).unet.state_dict() for one in (checkpoint, tiny_checkpoint))
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_pickled_weights_of_tensors_alone(checkpoint: Path) -> None:
    path = checkpoint / UNET
    torch.save(load_file(path), path.with_suffix(".bin"))
    path.unlink()
    load(checkpoint)


def test_the_half_precision_variant_is_taken_where_there_is_no_other(checkpoint: Path) -> None:
    path = checkpoint / UNET
    path.rename(path.with_name("diffusion_pytorch_model.fp16.safetensors"))
    load(checkpoint)


class Attack:
    def __reduce__(self) -> Any:
        return print, ("this must not be seen",)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def to_bin(path: Path, content: Any) -> None:
    path.unlink()
    with path.with_suffix(".bin").open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            pickle.dump(content, file, protocol=2)


def drop(path: Path, key: str) -> None:
    edit_weights(path, lambda state: {k: t for k, t in state.items() if k != key})


def poison(path: Path, value: float) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state["conv_in.bias"][3] = value

    edit_weights(path, change)


def enlarge(path: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state["conv_in.bias"] = torch.zeros(33)

    edit_weights(path, change)


def swap_parts(model: Path) -> None:
    (model / "unet").rename(model / "other")
    (model / "vae").rename(model / "unet")
    (model / "other").rename(model / "vae")


def other_vocabulary(model: Path) -> None:
    path = model / "tokenizer" / "vocab.json"
    words = json.loads(path.read_text())
    path.write_text(json.dumps(words | {f"more{n}": 517 + n for n in range(20)}))


def index(model: Path, **changes: Any) -> None:
    edit_json(model / "model_index.json", **changes)


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no index": (
        lambda m: (m / "model_index.json").unlink(),
        "is not a diffusers model: it has no model_index.json",
    ),
    "index is text": (
        lambda m: (m / "model_index.json").write_text("<html>"),
        "cannot be read as JSON",
    ),
    "index is a list": (lambda m: (m / "model_index.json").write_text("[]"), "not a JSON object"),
    "other family": (
        lambda m: index(m, _class_name="FluxPipeline"),
        "is a FluxPipeline, which this version cannot run; supported: Stable",
    ),
    "foreign library": (lambda m: index(m, unet=["os", "system"]), "not trusted"),
    "foreign extra": (lambda m: index(m, more=["os", "system"]), "not trusted"),
    "other class": (
        lambda m: index(m, vae=["diffusers", "AutoencoderOobleck"]),
        r"vae is \['diffusers', 'AutoencoderOobleck'\], expected \[diffusers, AutoencoderKL\]",
    ),
    "no part": (lambda m: (m / "unet").rename(m / "u"), "the model lacks its unet"),
    "no config": (lambda m: (m / "vae/config.json").unlink(), "vae has no config.json in"),
    "parts swapped": (swap_parts, "unet holds a AutoencoderKL, expected UNet2DConditionModel"),
    "impossible config": (
        lambda m: edit_json(m / "unet/config.json", block_out_channels=[31, 64]),
        "config.json of unet describes nothing that can be built",
    ),
    "no weights": (lambda m: (m / UNET).unlink(), "weights of unet are missing"),
    "empty weights": (lambda m: (m / UNET).write_bytes(b""), "weights of unet are empty"),
    "web page": (
        lambda m: (m / UNET).write_text("\n<!DOCTYPE html><html>404</html>"),
        "weights of unet are a web page",
    ),
    "lfs pointer": (
        lambda m: (m / TEXT).write_text("version https://git-lfs.github.com/spec/v1\noid x\n"),
        "weights of text_encoder are a git-lfs pointer.*git lfs pull",
    ),
    "truncated": (lambda m: truncate(m / VAE), "weights of vae are truncated"),
    "header truncated": (
        lambda m: (m / VAE).write_bytes((m / VAE).read_bytes()[:100]),
        "weights of vae are truncated",
    ),
    "noise": (lambda m: (m / VAE).write_bytes(b"\x11" * 5000), "not a safetensors file"),
    "seven bytes": (lambda m: (m / VAE).write_bytes(b"\x11" * 7), "not a safetensors file"),
    "header not a table": (
        lambda m: (m / VAE).write_bytes(struct.pack("<Q", 4) + b"[12]"),
        "not a safetensors file",
    ),
    "pickle named safetensors": (
        lambda m: torch.save({"a": torch.zeros(1)}, m / VAE),
        "weights of vae are a pickle named .safetensors",
    ),
    "pickle that runs code": (lambda m: to_bin(m / UNET, Attack()), "would run code"),
    "damaged pickle": (lambda m: to_bin(m / UNET, b"PK\x03\x04broken"), "are damaged"),
    "bin of noise": (lambda m: to_bin(m / UNET, b"noise"), "are not a PyTorch file"),
    "pickled list": (
        lambda m: (
            torch.save([torch.zeros(1)], (m / UNET).with_suffix(".bin")),
            (m / UNET).unlink(),
        ),
        "not a table of tensors",
    ),
    "sharded": (
        lambda m: shard(m / UNET).unlink(),
        "names diffusion_pytorch_model-00002.safetensors, which is not in",
    ),
    "shards elsewhere": (
        lambda m: edit_json(
            shard(m / UNET).with_name("diffusion_pytorch_model.safetensors.index.json"),
            weight_map={"conv_in.weight": "../../other.safetensors"},
        ),
        "names '../../other.safetensors', outside of its folder",
    ),
    "no table of shards": (
        lambda m: edit_json(
            shard(m / UNET).with_name("diffusion_pytorch_model.safetensors.index.json"),
            weight_map=[],
        ),
        "has no weight_map",
    ),
    "key missing": (
        lambda m: drop(m / UNET, "conv_in.bias"),
        r"unet do not fit its config.json: 1 missing \(conv_in.bias\)",
    ),
    "key too many": (
        lambda m: edit_weights(m / VAE, lambda s: s | {"lora.up": torch.zeros(1)}),
        r"vae do not fit its config.json: 1 unexpected \(lora.up\)",
    ),
    "weights of the vae in the unet": (
        lambda m: (m / UNET).write_bytes((m / VAE).read_bytes()),
        r"unet do not fit its config.json: \d+ missing .* and \d+ unexpected .*different models",
    ),
    "wrong shape": (lambda m: enlarge(m / UNET), r"conv_in.bias is \[33\], expected \[32\]"),
    "NaN": (lambda m: poison(m / UNET, float("nan")), "hold NaN or infinity.*conv_in.bias"),
    "infinity": (lambda m: poison(m / UNET, float("inf")), "hold NaN or infinity"),
    "other latents": (
        lambda m: edit_json(m / "unet/config.json", in_channels=16, out_channels=16),
        "the unet takes 16 and gives 16 channels, the vae has 4",
    ),
    "other text width": (
        lambda m: edit_json(m / "unet/config.json", cross_attention_dim=64),
        "the unet reads vectors of 64, the text encoder gives 32",
    ),
    "no tokenizer": (
        lambda m: (m / "tokenizer").rename(m / "t"),
        "tokenizer is incomplete: no vocab.json",
    ),
    "no merges": (lambda m: (m / "tokenizer/merges.txt").unlink(), "no merges.txt"),
    "broken vocabulary": (
        lambda m: (m / "tokenizer/vocab.json").write_text("{"),
        "tokenizer in .* cannot be read",
    ),
    "other vocabulary": (other_vocabulary, "do not fit: 537 tokens in .*, 517 in"),
    "tokenizer of two tokens": (
        lambda m: (m / "tokenizer/vocab.json").write_text(
            '{"<|startoftext|>": 0, "<|endoftext|>": 1}'
        ),
        "do not fit: 2 tokens|cannot be read",
    ),
    "no scheduler": (
        lambda m: (m / "scheduler/scheduler_config.json").unlink(),
        "scheduler has no scheduler_config.json",
    ),
    "another prediction": (
        lambda m: edit_json(m / "scheduler/scheduler_config.json", prediction_type="score"),
        "has prediction_type 'score', not supported",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_own_line(
    fault: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage, message = FAULTS[fault]
    damage(checkpoint)
    with pytest.raises(ModelError, match=message) as caught:
        load(checkpoint)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr() == ("", "")


def test_loading_says_nothing(tiny_checkpoint: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(tiny_checkpoint)
    assert capfd.readouterr() == ("", "")


def test_a_model_may_be_wider_than_high(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    shutil.copytree(tiny_checkpoint, folder)
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": [8, 12]}))
    studio = Studio.load(str(folder), device="cpu")
    assert studio.size == (48, 32)
    assert studio.picture("a bear", steps=2).size == (48, 32)
    assert studio.picture("a bear", steps=2, size=(32, 40)).size == (32, 40)


@pytest.mark.parametrize("length", [640, 896, 1152])
def test_a_header_whose_length_begins_like_a_pickle_is_a_header(
    tmp_path: Path, length: int
) -> None:
    from sdcreative.models.checks import weights_kind

    text = b'{"__metadata__":{"note":"' + b"x" * (length - 28) + b'"}}'
    path = tmp_path / "weights.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert path.read_bytes()[:1] == b"\x80"
    assert weights_kind(path, "unet") == "safetensors"
