"""Single files give the same weights and pictures as diffusers folders, bit for bit."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from forked_commands import Commands
from sdcreative import Studio
from sdcreative.errors import ModelError
from sdcreative.models.digests import model_digest
from sdcreative.models.facts import model_facts, reading_notes
from sdcreative.models.loading import Parts, load_parts
from sdcreative.models.places import ModelPlace
from sdcreative.models.single_files.checkpoint import SingleFile
from sdcreative.models.single_files.converting_unet import unet_state
from sdcreative.models.single_files.families import clip_tokenizer, clip_vocabulary
from sdcreative.models.single_files.recognising import PREDICTIONS
from sdcreative.models.sizes import native_size

CPU = torch.device("cpu")


def load(place: Path | ModelPlace, dtype: torch.dtype = torch.float32) -> Parts:
    return load_parts(place, device=CPU, dtype=dtype)


def same_weights(ours: Any, theirs: Any) -> bool:
    one, other = ours.state_dict(), theirs.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in other)


def same_parts(ours: Any, theirs: Any) -> bool:
    parts = ("unet", "vae", "text_encoder")
    return all(same_weights(getattr(ours, part), getattr(theirs, part)) for part in parts)


@pytest.fixture(params=["v1", "v2"])
def twins(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def test_a_file_is_the_folder_bit_for_bit(twins: Any, tmp_path: Path) -> None:
    file = load(twins.write(tmp_path / "model.safetensors"))
    folder = load(twins.folder)
    assert same_parts(file, folder)
    assert (file.prediction_type, file.sample_size) == (folder.prediction_type, folder.sample_size)
    assert (file.context, file.latent_channels, file.downsampling) == (77, 4, 4)
    # Of what shapes do not tell, everything has an effect on the picture.
    pictures = [
        np.asarray(Studio(parts).picture("A bear, 2 Äpfel!", steps=3, size=(32, 32), seed=7))
        for parts in (file, folder)
    ]
    assert np.array_equal(*pictures)
    assert pictures[0].std() > 1


def test_configurations_are_those_of_the_folder(twins: Any, tmp_path: Path) -> None:
    file = load(twins.write(tmp_path / "model.safetensors"))
    folder = load(twins.folder)
    assert file.scheduler_config == folder.scheduler_config
    for part in ("unet", "vae", "text_encoder"):
        ours, theirs = (config_of(getattr(one, part)) for one in (file, folder))
        assert ours == theirs


def config_of(module: Any) -> dict[str, Any]:
    """A configuration without what says who wrote it, or has no effect."""
    config = module.config if isinstance(module.config, dict) else module.config.to_dict()
    silent = {"_diffusers_version", "_name_or_path", "_use_default_values", "architectures"}
    silent |= {"dtype", "transformers_version", "projection_dim", "upcast_attention"}
    return {
        key: list(value) if isinstance(value, tuple) else value
        for key, value in dict(config).items()
        if key not in silent
    }


def test_weights_are_those_of_diffusers_own_loader(twins: Any, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline

    path = twins.write(tmp_path / "model.safetensors")
    theirs = StableDiffusionPipeline.from_single_file(
        str(path), config=str(twins.folder), local_files_only=True, safety_checker=None
    )
    assert same_parts(load(path), theirs)


def test_pickles_and_wrong_endings(v1: Any, tmp_path: Path) -> None:
    folder = load(v1.folder)
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": v1.tensors, "global_step": 5, "epoch": 1}, path)
    assert same_parts(load(path), folder)
    path.rename(tmp_path / "pickle.safetensors")
    assert same_parts(load(tmp_path / "pickle.safetensors"), folder)
    assert same_parts(load(v1.write(tmp_path / "safe.ckpt")), folder)
    torch.save(v1.tensors, tmp_path / "old.ckpt", _use_new_zipfile_serialization=False)
    assert same_parts(load(tmp_path / "old.ckpt"), folder)


def test_what_training_scripts_leave_in_a_pickle_is_left_out(v1: Any, tmp_path: Path) -> None:
    class ModelCheckpoint:
        pass

    names = {"__module__": "pytorch_lightning.callbacks.model_checkpoint"}
    kind = type("ModelCheckpoint", (), names)
    modules = {name: type(sys)(name) for name in
               ("pytorch_lightning", "pytorch_lightning.callbacks", kind.__module__)}  # fmt: skip
    modules[kind.__module__].ModelCheckpoint = kind  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        for name, module in modules.items():
            patch.setitem(sys.modules, name, module)
        content = {
            "state_dict": v1.tensors,
            "callbacks": {kind: {"best_model_score": np.float64(0.5)}},
        }
        torch.save(content, tmp_path / "model.ckpt")
    assert same_parts(load(tmp_path / "model.ckpt"), load(v1.folder))


def test_half_precision_both_ways(v1: Any, tmp_path: Path) -> None:
    half = {key: one.half() if one.is_floating_point() else one for key, one in v1.tensors.items()}
    parts = load(v1.write(tmp_path / "half.safetensors", half))
    whole = load(v1.folder)
    for part in ("unet", "vae", "text_encoder"):
        for ours, theirs in zip(
            getattr(parts, part).parameters(), getattr(whole, part).parameters(), strict=True
        ):
            assert ours.dtype == torch.float32
            assert torch.equal(ours, theirs.half().float())
    small = load(v1.write(tmp_path / "whole.safetensors"), torch.bfloat16)
    assert {one.dtype for one in small.unet.parameters()} == {torch.bfloat16}


def test_tensors_that_begin_at_odd_places(v1: Any, tmp_path: Path) -> None:
    tensors = {"a_flag": torch.ones(3, dtype=torch.uint8), **v1.tensors}
    path = v1.write(tmp_path / "model.safetensors", tensors)
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = content[8 : 8 + length].rstrip() + b" " * 3
    path.write_bytes(len(header).to_bytes(8, "little") + header + content[8 + length :])
    assert same_parts(load(path), load(v1.folder))


def test_old_merges_without_text_model_in_their_names(v1: Any, tmp_path: Path) -> None:
    tensors = {
        key.replace(
            "cond_stage_model.transformer.text_model.", "cond_stage_model.transformer."
        ): one
        for key, one in v1.tensors.items()
    }
    assert tensors.keys() != v1.tensors.keys()
    assert same_parts(load(v1.write(tmp_path / "model.safetensors", tensors)), load(v1.folder))


def test_averaged_weights_where_they_are_asked_for(v1: Any, tmp_path: Path) -> None:
    start = "model.diffusion_model."
    averaged = {
        "model_ema." + key.removeprefix("model.").replace(".", ""): one + 1
        for key, one in v1.tensors.items()
        if key.startswith(start)
    }
    path = v1.write(tmp_path / "full.safetensors", v1.tensors | averaged)
    plain = load(v1.folder)
    assert same_parts(load(path), plain)
    taken = load(ModelPlace(path, ema=True))
    for ours, theirs in zip(taken.unet.parameters(), plain.unet.parameters(), strict=True):
        assert torch.equal(ours, theirs + 1)
    assert same_weights(taken.vae, plain.vae)
    assert "its last weights (ema: true averages)" in reading_notes(path)[0]
    assert "its averaged (EMA) weights" in reading_notes(ModelPlace(path, ema=True))[0]
    averaged.popitem()
    part = v1.write(tmp_path / "part.safetensors", v1.tensors | averaged)
    with pytest.raises(ModelError, match="has no averaged weight of model"):
        load(ModelPlace(part, ema=True))
    for none in (v1.write(tmp_path / "none.safetensors"), v1.folder):
        with pytest.raises(ModelError, match=r"^ema: .*leave"):
            load(ModelPlace(none, ema=True))


def test_what_version_2_predicts_is_said_or_taken_as_diffusers_does(
    v2: Any, tmp_path: Path
) -> None:
    path = v2.write(tmp_path / "v2.safetensors")
    assert load(path).prediction_type == "v_prediction"
    assert native_size(path) == ((384, 384), 4)
    [note] = reading_notes(path)
    assert note.startswith("v2.safetensors: Stable Diffusion 2, v_prediction; taken for the 768")
    base = ModelPlace(path, prediction_type="epsilon")
    assert load(base).prediction_type == "epsilon"
    assert load(base).scheduler_config["prediction_type"] == "epsilon"
    assert native_size(base) == ((256, 256), 4)
    assert reading_notes(base) == ("v2.safetensors: Stable Diffusion 2, epsilon",)
    assert model_facts(str(path)).size == (384, 384)
    assert model_facts(str(path), prediction_type="epsilon").size == (256, 256)


def test_what_a_folder_predicts_can_be_overruled(v1: Any) -> None:
    assert load(v1.folder).prediction_type == "epsilon"
    place = ModelPlace(v1.folder, prediction_type="v_prediction")
    assert load(place).prediction_type == "v_prediction"
    assert reading_notes(place) == ()
    assert set(PREDICTIONS) == {"epsilon", "v_prediction"}


def test_inpainting_checkpoints_convert(build: Any, tmp_path: Path) -> None:
    from diffusers import UNet2DConditionModel

    for version in (1, 2):
        twins = build(tmp_path / f"v{version}", version, channels=9)
        path = twins.write(tmp_path / f"{version}-inpainting.safetensors")
        file = SingleFile(ModelPlace(path))
        assert file.recognised.inpainting
        assert file.recognised.title == f"Stable Diffusion {version} inpainting"
        assert file.recognised.prediction_type == "epsilon"
        assert file.configs["unet"]["in_channels"] == 9
        unet = UNet2DConditionModel.from_config(file.configs["unet"])
        unet.load_state_dict(
            unet_state(twins.tensors, file.configs["unet"], ema=False, path=path), strict=True
        )
        assert same_weights(unet, UNet2DConditionModel.from_pretrained(twins.folder / "unet"))


def test_a_digest_is_of_the_content_and_of_how_it_is_read(v1: Any, tmp_path: Path) -> None:
    import hashlib

    path, cache = v1.write(tmp_path / "model.safetensors"), tmp_path / "models.json"
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert model_digest(path, cache) == model_digest(path, cache) == whole[:16]
    twin = Path(shutil.copy(path, tmp_path / "other.ckpt"))
    assert model_digest(twin, cache) == whole[:16]
    places = [ModelPlace(path, prediction_type=one) for one in (None, *PREDICTIONS)]
    places += [ModelPlace(path, ema=True)]
    assert len({model_digest(place, cache) for place in places}) == 4
    v1.write(path, v1.tensors | {"more": torch.zeros(1)})
    assert model_digest(path, cache) != whole[:16]


def test_the_tokenizer_is_clips() -> None:
    vocabulary, merges = clip_vocabulary()
    assert (len(vocabulary), len(merges)) == (49408, 48894)
    first, second = clip_tokenizer("v1"), clip_tokenizer("v2")
    cat = [49406, 320, 1125, 539, 320, 2368, 49407]
    assert first("a photo of a cat").input_ids == second("a photo of a cat").input_ids == cat
    assert (first.pad_token_id, second.pad_token_id) == (49407, 0)
    assert first.decode(first("Ein Bär — 2€ 🐻!").input_ids[1:-1]).replace(" ", "") == (
        "einbär—2€🐻!"
    )


def test_a_notes_line_and_no_more(
    v1: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = v1.write(tmp_path / "bear.safetensors")
    assert reading_notes(path) == ("bear.safetensors: Stable Diffusion 1, epsilon",)
    load(path)
    assert capfd.readouterr() == ("", "")


def test_the_size_of_a_safetensors_file_is_known_without_torch(v1: Any, tmp_path: Path) -> None:
    path = v1.write(tmp_path / "model.safetensors")
    code = (
        "import sys; from pathlib import Path\n"
        "from sdcreative.models.facts import model_facts\n"
        f"print(model_facts({str(path)!r}).size, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(256, 256) False"


PEAK = """
import gc, sys, torch
from pathlib import Path
from sdcreative.models.loading import load_parts

cpu, dtype, kept = torch.device("cpu"), getattr(torch, sys.argv[3]), []

def read(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024

def weights_and_peak(path):
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before = read("VmRSS")
    parts = load_parts(Path(path), device=cpu, dtype=dtype)
    kept.append(parts)
    modules = (parts.unet, parts.vae, parts.text_encoder)
    return sum(p.nbytes for m in modules for p in m.parameters()), read("VmHWM") - before

weights_and_peak(sys.argv[1])
print(*weights_and_peak(sys.argv[1]), *weights_and_peak(sys.argv[2]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_loading_takes_little_more_memory_than_the_weights(
    commands: Commands, v1: Any, large: Path, tmp_path: Path, dtype: str
) -> None:
    assert large.stat().st_size > 100e6
    small = v1.write(tmp_path / "small.safetensors")
    done = commands.run(str(small), str(large), dtype, cwd=tmp_path, script=PEAK)
    assert done.returncode == 0, done.stderr
    # The small one has the same tokenizer and token table, which cost the same.
    few, low, many, high = map(int, done.stdout.split())
    assert many - few > (80e6 if dtype == "float32" else 40e6)
    assert high - low < 1.2 * (many - few)
