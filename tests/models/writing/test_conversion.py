"""Folder to single file and back, bit for bit, and all that can be asked for on the way."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdcreative import Studio
from sdcreative.errors import ModelError
from sdcreative.models.digests import model_digest
from sdcreative.models.places import ModelPlace
from sdcreative.models.sources import BUILTIN
from sdcreative.models.writing.conversion import plan_conversion

Tensors = dict[str, torch.Tensor]
Folders = Callable[[str], Path]
UNET = "model.diffusion_model."
VAE = "first_stage_model."


def to_file(source: Path, target: Path, dtype: str | None = None, **place: Any) -> Tensors:
    plan_conversion(ModelPlace(source, **place), to_file=True, dtype=dtype).write(target)
    return load_file(target)


def to_folder(source: Path, target: Path, dtype: str | None = None, **place: Any) -> Path:
    target.mkdir()
    plan_conversion(ModelPlace(source, **place), to_file=False, dtype=dtype).write(target)
    return target


def weights(folder: Path) -> dict[str, Tensors]:
    """Tensors of a folder part by part, text encoders' without text_model in their names."""
    return {
        path.parent.name: {
            name.removeprefix("text_model."): one for name, one in load_file(path).items()
        }
        for path in sorted(folder.glob("*/*.safetensors"))
    }


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(
        one[name].dtype == other[name].dtype and torch.equal(one[name], other[name])
        for name in other
    )


def same_parts(one: Path, other: Path) -> bool:
    ours, theirs = weights(one), weights(other)
    return ours.keys() == theirs.keys() and all(same(ours[part], theirs[part]) for part in ours)


def notes(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as opened:
        return dict(opened.metadata())


@pytest.mark.parametrize("name", ["v1", "v1-9", "v2", "v2-9", "xl", "xl-9", "sd3"])
def test_there_and_back_bit_for_bit(name: str, folders: Folders, tmp_path: Path) -> None:
    folder = folders(name)
    to_file(folder, tmp_path / "a.safetensors")
    back = to_folder(tmp_path / "a.safetensors", tmp_path / "back")
    assert same_parts(back, folder)
    own, other = (json.loads((one / "model_index.json").read_text()) for one in (folder, back))
    parts = [part for part in own if isinstance(own[part], list) and part != "scheduler"]
    assert {part: other[part] for part in parts} == {part: own[part] for part in parts}
    if name != "xl-9":
        assert other["_class_name"] == own["_class_name"]
    # And once more: the same file, but for what it says that it is from.
    again = to_file(back, tmp_path / "b.safetensors")
    assert same(again, load_file(tmp_path / "a.safetensors"))
    first, second = notes(tmp_path / "a.safetensors"), notes(tmp_path / "b.safetensors")
    assert second.pop("sdcreative.source_digest") == model_digest(back)
    assert first.pop("sdcreative.source_digest") == model_digest(folder)
    assert {key for key in first if first[key] != second[key]} <= {"sdcreative.source"}


def test_stable_diffusion_35_with_t5(build: Any, tmp_path: Path) -> None:
    folder = build(
        tmp_path / "model",
        "sd3",
        t5=True,
        qk_norm="rms_norm",
        dual_attention_layers=(0,),
        pos_embed_max_size=8,
    )
    found = to_file(folder, tmp_path / "a.safetensors")
    block = f"{UNET}joint_blocks.0.x_block."
    assert found[f"{block}attn2.qkv.weight"].shape == (384, 128)
    assert found[f"{block}attn.ln_q.weight"].shape == (64,)
    assert "text_encoders.t5xxl.transformer.shared.weight" in found
    back = to_folder(
        tmp_path / "a.safetensors", tmp_path / "back", swaps=(("tokenizer_3", folder),)
    )
    assert same_parts(back, folder)
    assert (back / "tokenizer_3" / "tokenizer.json").is_file()
    without = plan_conversion(ModelPlace(tmp_path / "a.safetensors"), to_file=False)
    assert "without its T5 text encoder" in without.notes[0]
    with pytest.raises(ModelError, match="needs no tokenizer of T5"):
        plan_conversion(ModelPlace(folder, swaps=(("tokenizer_3", folder),)), to_file=True)


def test_a_picture_is_the_same_from_all_three(folders: Folders, tmp_path: Path) -> None:
    from sdcreative.models.loading import load_parts

    to_file(folders("v1"), tmp_path / "a.safetensors")
    back = to_folder(tmp_path / "a.safetensors", tmp_path / "back")
    pictures = [
        np.asarray(
            Studio(load_parts(place, device=torch.device("cpu"), dtype=torch.float32)).picture(
                "A bear, 2 Äpfel!", steps=2, size=(32, 32), seed=7
            )
        )
        for place in (folders("v1"), tmp_path / "a.safetensors", back)
    ]
    assert np.array_equal(pictures[0], pictures[1])
    assert np.array_equal(pictures[0], pictures[2])
    assert pictures[0].std() > 1


def test_text_encoders_get_back_the_names_that_transformers_5_leaves_out(
    folders: Folders, tmp_path: Path
) -> None:
    name = "embeddings.position_embedding.weight"
    assert name in load_file(folders("v1") / "text_encoder" / "model.safetensors")
    found = to_file(folders("v1"), tmp_path / "a.safetensors")
    assert f"cond_stage_model.transformer.text_model.{name}" in found
    back = to_folder(folders("v1"), tmp_path / "back")
    assert f"text_model.{name}" in load_file(back / "text_encoder" / "model.safetensors")
    assert (back / "tokenizer" / "tokenizer.json").read_bytes() == (
        folders("v1") / "tokenizer" / "tokenizer.json"
    ).read_bytes()


def test_a_folder_has_what_older_programs_read(folders: Folders, tmp_path: Path) -> None:
    from transformers import CLIPTokenizer

    to_file(folders("v2"), tmp_path / "a.safetensors")
    back = to_folder(tmp_path / "a.safetensors", tmp_path / "back", "float16")
    for name in ("vocab.json", "merges.txt", "special_tokens_map.json", "tokenizer.json"):
        assert (back / "tokenizer" / name).is_file()
    (back / "tokenizer" / "tokenizer.json").unlink()
    tokenizer: Any = CLIPTokenizer.from_pretrained(back / "tokenizer")
    cat = [49406, 320, 1125, 539, 320, 2368, 49407]
    assert tokenizer("a photo of a cat").input_ids == cat
    assert tokenizer.pad_token_id == 0
    config = json.loads((back / "text_encoder" / "config.json").read_text())
    assert config["architectures"] == ["CLIPTextModel"]
    assert config["torch_dtype"] == "float16"
    assert json.loads((back / "unet" / "config.json").read_text())["sample_size"] == 96


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_weights_in_another_type(dtype: str, folders: Folders, tmp_path: Path) -> None:
    whole = to_file(folders("v1"), tmp_path / "a.safetensors")
    half = to_file(folders("v1"), tmp_path / "b.safetensors", dtype)
    kind: torch.dtype = getattr(torch, dtype)
    assert same(half, {name: one.to(kind) for name, one in whole.items()})
    copied = to_file(tmp_path / "a.safetensors", tmp_path / "c.safetensors", dtype)
    assert same(copied, half)
    again = to_folder(tmp_path / "b.safetensors", tmp_path / "back", "float32")
    assert {one.dtype for part in weights(again).values() for one in part.values()} == {
        torch.float32
    }


def test_what_does_not_fit_into_a_type_is_refused(folders: Folders, tmp_path: Path) -> None:
    tensors = to_file(folders("v1"), tmp_path / "a.safetensors")
    tensors[f"{UNET}out.2.bias"][1] = 1e6
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(ModelError, match=r"out\.2\.bias in .* NaN or infinity as float16"):
        to_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "float16")
    to_file(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "bfloat16")


def test_the_averaged_weights(folders: Folders, tmp_path: Path) -> None:
    plain = to_file(folders("v1"), tmp_path / "a.safetensors")
    averaged = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): one + 1
        for name, one in plain.items()
        if name.startswith(UNET)
    }
    full = tmp_path / "full.safetensors"
    save_file(plain | averaged | {"model_ema.decay": torch.ones(())}, full)
    taken = to_file(full, tmp_path / "b.safetensors", ema=True)
    assert taken.keys() == plain.keys()
    assert same(
        taken, {name: one + 1 if name.startswith(UNET) else one for name, one in plain.items()}
    )
    assert same(to_file(full, tmp_path / "c.safetensors"), load_file(full))
    folder = to_folder(full, tmp_path / "folder", ema=True)
    own = weights(folders("v1"))["unet"]
    assert same(weights(folder)["unet"], {name: one + 1 for name, one in own.items()})
    for none in (tmp_path / "a.safetensors", folders("v1")):
        with pytest.raises(ModelError, match=r"^ema: "):
            to_file(none, tmp_path / "d.safetensors", ema=True)


def test_pickles_become_safetensors(folders: Folders, tmp_path: Path) -> None:
    tensors = to_file(folders("v1"), tmp_path / "a.safetensors")
    schedule = {"alphas_cumprod": torch.linspace(1, 0, 1000)}
    torch.save({"state_dict": tensors | schedule, "epoch": 1}, tmp_path / "a.ckpt")
    found = to_file(tmp_path / "a.ckpt", tmp_path / "b.safetensors", "float16")
    assert torch.equal(found["alphas_cumprod"], schedule["alphas_cumprod"])
    assert found[f"{UNET}out.2.bias"].dtype == torch.float16
    assert notes(tmp_path / "b.safetensors")["modelspec.title"] == "a"
    pickled = Path(shutil.copytree(folders("v1"), tmp_path / "pickled"))
    for path in list(pickled.glob("*/*.safetensors")):
        name = "pytorch_model" if path.stem == "model" else path.stem
        torch.save(load_file(path), path.with_name(f"{name}.bin"))
        if name == path.stem:
            path.unlink()
    back = to_folder(pickled, tmp_path / "back")
    assert same_parts(back, folders("v1"))


def test_a_pickle_that_is_no_model_is_copied(tmp_path: Path) -> None:
    tensors = {"lora_unet_mid.lora_up.weight": torch.randn(3, 2)}
    torch.save(tensors, tmp_path / "lora.pt")
    plan = plan_conversion(ModelPlace(tmp_path / "lora.pt"), to_file=True)
    plan.write(tmp_path / "lora.safetensors")
    assert same(load_file(tmp_path / "lora.safetensors"), tensors)
    assert plan.notes[0].startswith("copied tensor by tensor, whatever it is: ")
    for refused in ({"to_file": False}, {"to_file": True, "ema": True}):
        ema = refused.pop("ema", False)
        with pytest.raises(ModelError, match="is a LoRA, not a model"):
            plan_conversion(ModelPlace(tmp_path / "lora.pt", ema=ema), **refused)


def other_vae(folder: Path, target: Path) -> Tensors:
    """The autoencoder of a model with other numbers, written as a folder; its tensors."""
    shutil.copytree(folder / "vae", target)
    path = target / "diffusion_pytorch_model.safetensors"
    tensors = {name: one + 1 for name, one in load_file(path).items()}
    save_file(tensors, path, metadata={"format": "pt"})
    return tensors


@pytest.mark.parametrize("form", ["folder", "diffusers' names", "original names", "checkpoint"])
def test_another_autoencoder(form: str, folders: Folders, tmp_path: Path) -> None:
    expected = other_vae(folders("v1"), tmp_path / "vae")
    vae = tmp_path / "vae"
    if form == "diffusers' names":
        vae = vae / "diffusion_pytorch_model.safetensors"
    if form in ("original names", "checkpoint"):
        found = to_file(folders("v1"), tmp_path / "v.safetensors", swaps=(("vae", vae),))
        vae = tmp_path / "v.safetensors"
        if form == "original names":
            bare = {n.removeprefix(VAE): one for n, one in found.items() if n.startswith(VAE)}
            save_file(bare | {"loss.logvar": torch.zeros(1)}, vae)
    plain = to_file(folders("v1"), tmp_path / "plain.safetensors")
    swaps = (("vae", vae),)
    to_file(tmp_path / "plain.safetensors", tmp_path / "baked.safetensors", swaps=swaps)
    back = weights(to_folder(tmp_path / "baked.safetensors", tmp_path / "back"))
    assert same(back["vae"], expected)
    assert same(back["unet"], weights(folders("v1"))["unet"])
    assert load_file(tmp_path / "baked.safetensors").keys() == plain.keys()


def test_an_autoencoder_of_another_family_is_refused(folders: Folders, tmp_path: Path) -> None:
    place = ModelPlace(folders("v1"), swaps=(("vae", folders("xl")),))
    with pytest.raises(ModelError, match=r"scaling_factor of .* is 0\.13025, .* 0\.18215"):
        plan_conversion(place, to_file=True)
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    for path, message in (
        (tmp_path / "a.safetensors", "holds no autoencoder"),
        (tmp_path / "no", "there is no file or folder"),
    ):
        with pytest.raises(ModelError, match=message):
            plan_conversion(ModelPlace(folders("v1"), swaps=(("vae", path),)), to_file=True)


def test_notes_say_what_it_is_and_are_kept(folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("v2"), tmp_path / "bear"))
    (folder / "README.md").write_text("---\nlanguage: en\nlicense: openrail++\n---\nlicense: no\n")
    found = to_file(folder, tmp_path / "a.safetensors")
    said = notes(tmp_path / "a.safetensors")
    assert said == {
        "format": "pt",
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": "stable-diffusion-v2-768-v",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.title": "bear",
        "modelspec.license": "openrail++",
        "modelspec.resolution": "384x384",
        "modelspec.prediction_type": "v",
        "sdcreative.source": "bear",
        "sdcreative.source_digest": model_digest(folder),
    }
    old = {"modelspec.title": "Ours", "trained": "long", "modelspec.hash_sha256": "0x0"}
    save_file(found, tmp_path / "b.safetensors", metadata=said | old)
    to_folder(tmp_path / "b.safetensors", tmp_path / "back")
    to_file(tmp_path / "back", tmp_path / "c.safetensors")
    kept = notes(tmp_path / "c.safetensors")
    assert (kept["modelspec.title"], kept["trained"]) == ("Ours", "long")
    assert kept["modelspec.license"] == "openrail++"
    assert "modelspec.hash_sha256" not in kept
    base = ModelPlace(tmp_path / "b.safetensors", prediction_type="epsilon")
    plan_conversion(base, to_file=True).write(tmp_path / "d.safetensors")
    assert notes(tmp_path / "d.safetensors")["modelspec.architecture"].endswith("v2-512")


def test_what_predicts_velocity_says_so_to_other_programs(folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("xl"), tmp_path / "model"))
    path = folder / "scheduler" / "scheduler_config.json"
    more = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True}
    path.write_text(json.dumps(json.loads(path.read_text()) | more))
    found = to_file(folder, tmp_path / "a.safetensors")
    assert found["v_pred"].shape == found["ztsnr"].shape == (0,)
    back = to_folder(tmp_path / "a.safetensors", tmp_path / "back")
    scheduler = json.loads((back / "scheduler" / "scheduler_config.json").read_text())
    assert (scheduler["prediction_type"], scheduler["rescale_betas_zero_snr"]) == (
        "v_prediction",
        True,
    )
    other = to_file(
        tmp_path / "a.safetensors", tmp_path / "b.safetensors", prediction_type="epsilon"
    )
    assert "v_pred" not in other


def test_the_built_in_models_have_to_stay_folders(tmp_path: Path) -> None:
    for name in ("emoji", "riff"):
        with pytest.raises(ModelError, match=r"is not CLIP's tokenizer .* has to stay a folder"):
            plan_conversion(ModelPlace(BUILTIN / name), to_file=True)
    back = to_folder(BUILTIN / "riff", tmp_path / "riff")
    assert same_parts(back, BUILTIN / "riff")
    assert (back / "spectrogram.json").is_file()


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("unet", {"norm_eps": 1e-3}, "norm_eps of its unet is 0.001, read as 1e-05"),
        ("vae", {"scaling_factor": 0.3}, "scaling_factor of its vae is 0.3, read as 0.18215"),
        ("text_encoder", {"layer_norm_eps": 0.1}, "layer_norm_eps of its text_encoder is 0.1"),
        ("scheduler", {"beta_end": 0.02}, "beta_end of its scheduler is 0.02, read as 0.012"),
        ("scheduler", {"prediction_type": "sample"}, "prediction_type of its scheduler is sample"),
    ],
)
def test_what_a_single_file_cannot_say_is_not_lost_in_silence(
    part: str, change: dict[str, Any], message: str, folders: Folders, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(folders("v1"), tmp_path / "model"))
    path = folder / part / f"{'scheduler_' * (part == 'scheduler')}config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(ModelError, match=message):
        to_file(folder, tmp_path / "a.safetensors")


def test_a_model_that_lacks_a_tensor_is_not_written(folders: Folders, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(folders("v1"), tmp_path / "model"))
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    del tensors["conv_out.bias"]
    save_file(tensors, path, metadata={"format": "pt"})
    for as_file in (True, False):
        with pytest.raises(ModelError, match=r"1 missing \(conv_out\.bias\)"):
            plan_conversion(ModelPlace(folder), to_file=as_file)
