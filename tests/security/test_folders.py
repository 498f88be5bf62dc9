"""Folders of models: what their JSON names is not imported, and what it counts is not made."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sdcreative.errors import ModelError

CLASS = "sdcreative_canary"
INDEX: dict[str, dict[str, object]] = {
    "a module of the system": {"unet": ["os", "system"]},
    "a module of its own": {"unet": [CLASS, "Model"]},
    "a module beside the parts": {"more": [CLASS, "Model"]},
    "a part of diffusers that is none": {"unet": ["diffusers", "DiffusionPipeline"]},
    "a private name": {"unet": ["diffusers", "__loader__"]},
    "a path": {"vae": ["../../vae", "AutoencoderKL"]},
    "a table": {"unet": {"0": "diffusers"}},
    "a number": {"unet": 5},
    "a text": {"unet": "diffusers"},
    "an empty text": {"unet": ""},
    "half of it": {"unet": ["diffusers"]},
    "a list in the list": {"unet": ["diffusers", ["UNet2DConditionModel"]]},
    "a pipeline of its own": {"_class_name": [CLASS, "Model"]},
    "lines and colours": {"_class_name": "Stable\n\x1b[31mDiffusion" * 1000},
    "a key of many lines": {"a\nb\x1b]0;x\x07": ["os", "system"]},
}


@pytest.mark.parametrize("name", INDEX)
def test_an_index_imports_nothing(
    name: str, checkpoint: Path, edit: Any, load: Any, refused: Callable[..., str]
) -> None:
    edit.json(checkpoint / "model_index.json", **INDEX[name])
    refused(lambda: load(checkpoint), checkpoint)


def test_what_asks_for_code_of_its_own_is_not_heard(
    checkpoint: Path, edit: Any, load: Any, tmp_path: Path
) -> None:
    remote = {
        "auto_map": {"AutoModel": f"{CLASS}.Model", "AutoTokenizer": [f"{CLASS}.Model", None]},
        "custom_pipeline": CLASS,
        "trust_remote_code": True,
        "attn_implementation": f"{CLASS}/kernel",
        "_attn_implementation_internal": f"{CLASS}/kernel",
        "kernel_config": {"Linear": f"{CLASS}/kernel:Linear"},
        "chat_template": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "return_dict": False,
        "num_labels": 10**9,
        "quantization_config": {"quant_method": "bitsandbytes"},
        "torch_dtype": "load",
        "dtype": "load",
    }
    for part in ("unet", "vae", "text_encoder"):
        edit.json(checkpoint / part / "config.json", **remote)
        shutil.copy(tmp_path / "modules" / f"{CLASS}.py", checkpoint / part)
    edit.json(checkpoint / "model_index.json", custom_pipeline=CLASS, trust_remote_code=True)
    edit.json(checkpoint / "scheduler" / "scheduler_config.json", **remote)
    del remote["trust_remote_code"]
    edit.json(checkpoint / "tokenizer" / "tokenizer_config.json", **remote)
    (checkpoint / "tokenizer" / "chat_template.jinja").write_text("{{ 1 / 0 }}")
    shutil.copy(tmp_path / "modules" / f"{CLASS}.py", checkpoint / "pipeline.py")
    load(checkpoint)


CONFIGS: dict[str, tuple[str, dict[str, object]]] = {
    "layers of a U-Net": ("unet", {"layers_per_block": 10**9}),
    "fewer layers, still too many": ("unet", {"layers_per_block": 201}),
    "layers of a list": ("unet", {"layers_per_block": [10**9, 1]}),
    "layers in lists of lists": ("unet", {"transformer_layers_per_block": [[10**9], 1]}),
    "transformers": ("unet", {"transformer_layers_per_block": 199}),
    "channels": ("unet", {"block_out_channels": [10**9, 10**9]}),
    "channels that go in": ("unet", {"in_channels": 10**9}),
    "levels": (
        "unet",
        {
            "block_out_channels": [32] * 600,
            "down_block_types": ["DownBlock2D"] * 600,
            "up_block_types": ["UpBlock2D"] * 600,
        },
    ),
    "pixels": ("unet", {"sample_size": 10**30}),
    "pixels without an end": ("unet", {"sample_size": float("inf")}),
    "pixels below none": ("unet", {"sample_size": -8}),
    "pixels of three sides": ("unet", {"sample_size": [8, 8, 8]}),
    "something beside the prompt": ("unet", {"addition_embed_type": "image"}),
    "a picture beside the prompt": (
        "unet",
        {"encoder_hid_dim_type": "image_proj", "encoder_hid_dim": 32},
    ),
    "another class": ("unet", {"_class_name": "AutoPipeline"}),
    "a class that is a table": ("unet", {"_class_name": {"a": 1}}),
    "layers of an autoencoder": ("vae", {"layers_per_block": 10**9}),
    "levels of an autoencoder": ("vae", {"block_out_channels": [8, 16] * 20}),
    "a scale that is none": ("vae", {"scaling_factor": "x"}),
    "a scale of nothing": ("vae", {"scaling_factor": 0}),
    "a scale without an end": ("vae", {"scaling_factor": float("inf")}),
    "a shift that is none": ("vae", {"shift_factor": [1]}),
    "one colour": ("vae", {"out_channels": 1}),
    "layers of a text encoder": ("text_encoder", {"num_hidden_layers": 10**9}),
    "width of a text encoder": ("text_encoder", {"hidden_size": 10**9}),
    "places of a text encoder": ("text_encoder", {"max_position_embeddings": 10**12}),
    "no heads": ("text_encoder", {"num_attention_heads": 0}),
    "an activation": ("text_encoder", {"hidden_act": "os.system"}),
    "no architecture": ("text_encoder", {"architectures": [], "model_type": None}),
    "an architecture of lists": (
        "text_encoder",
        {"architectures": [["CLIPTextModel"]], "model_type": []},
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_configuration_takes_no_memory_before_it_fits(
    name: str, checkpoint: Path, edit: Any, load: Any, refused: Callable[..., str]
) -> None:
    from sdcreative.models.building import read_part
    from sdcreative.models.catalogue.describing import describe
    from sdcreative.models.catalogue.kinds import identify

    part, values = CONFIGS[name]
    edit.json(checkpoint / part / "config.json", **values)
    message = refused(lambda: load(checkpoint))
    assert part in message or str(checkpoint) in message
    for act in (lambda: identify(checkpoint), lambda: describe(checkpoint)):
        try:
            act()
        except ModelError as error:
            assert str(error).isprintable()
    if "layers of" in name or "channels" in name or "width" in name:
        refused(lambda: read_part(checkpoint / part), part)


SCHEDULES: dict[str, dict[str, object]] = {
    "timesteps": {"num_train_timesteps": 10**12},
    "no timesteps": {"num_train_timesteps": 0},
    "half a timestep": {"num_train_timesteps": 1.5},
    "timesteps in a list": {"num_train_timesteps": [1000]},
    "a form": {"beta_schedule": "__import__('os')"},
    "a beginning": {"beta_start": "0.1"},
    "an end": {"beta_end": None},
    "an end over 1": {"beta_end": 5.0},
    "betas": {"trained_betas": [0.1]},
    "betas that are no numbers": {"trained_betas": [None] * 1000},
    "spacing": {"timestep_spacing": "os"},
    "an offset": {"steps_offset": 10**9},
    "an offset below none": {"steps_offset": -5},
    "a flag": {"set_alpha_to_one": "yes"},
    "a prediction": {"prediction_type": "\x1b[31mred\n"},
    "a prediction that is a list": {"prediction_type": ["epsilon"]},
    "a shift": {"shift": "3"},
    "no shift": {"shift": 0},
    "an exponent": {"shift": 3.0, "use_dynamic_shifting": True, "max_shift": 1e6},
    "lengths": {"shift": 3.0, "base_image_seq_len": 5, "max_image_seq_len": 5},
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_noise_schedule_that_cannot_be_is_refused(
    name: str,
    checkpoint: Path,
    edit: Any,
    load: Any,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    from sdcreative.models.opening import open_model
    from sdcreative.models.places import ModelPlace

    path = checkpoint / "scheduler" / "scheduler_config.json"
    good = shutil.copy(path, tmp_path / "good.json")
    edit.json(path, **SCHEDULES[name])
    refused(lambda: load(checkpoint), checkpoint)
    swapped = shutil.move(path, tmp_path / "swapped.json")
    shutil.copy(good, path)
    place = ModelPlace(checkpoint, swaps=(("scheduler", Path(swapped)),))
    if not name.startswith("a prediction"):
        refused(lambda: open_model(place), swapped)


JSON_FILES = (
    "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
    "scheduler/scheduler_config.json", "tokenizer/vocab.json", "tokenizer/tokenizer_config.json",
)  # fmt: skip
TEXTS: dict[str, Callable[[Path], object]] = {
    "deeply nested": lambda path: path.write_text('{"a":' * 100_000),
    "a deep list": lambda path: path.write_text("[" * 100_000),
    "a long number": lambda path: path.write_text('{"a": ' + "9" * 100_000 + "}"),
    "no UTF-8": lambda path: path.write_bytes(b"\xff\xfe{}"),
    "nothing": lambda path: path.write_bytes(b""),
    "a list": lambda path: path.write_text("[]"),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "zeros": lambda path: (path.unlink(), path.symlink_to("/dev/zero")),
    "a loop": lambda path: (path.unlink(), path.symlink_to(path.name)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("text", TEXTS)
def test_json_that_is_none_is_refused(
    text: str, tiny_checkpoint: Path, load: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    for number, name in enumerate(JSON_FILES):
        folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / f"model{number}"))
        TEXTS[text](folder / name)
        refused(lambda folder=folder: load(folder), folder, name.split("/")[0])


def test_files_beyond_all_measure_are_not_read(
    checkpoint: Path, load: Any, refused: Callable[..., str]
) -> None:
    for name in ("unet/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        path = checkpoint / name
        good = path.read_bytes()
        with path.open("wb") as file:
            file.truncate(1 << 40)
        assert "more than" in refused(lambda: load(checkpoint), path)
        path.write_bytes(good)


@pytest.mark.parametrize(
    "name", ["../unet/x.safetensors", "/etc/passwd", "..", "", "a\\b", "x" * 500, "a\0b", "a\nb"]
)
def test_an_index_of_shards_stays_in_its_folder(
    name: str, checkpoint: Path, load: Any, refused: Callable[..., str]
) -> None:
    weights = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("x.safetensors"))
    index = weights.with_name(f"{weights.name}.index.json")
    index.write_text(json.dumps({"weight_map": {"a": "x.safetensors", "b": name}}))
    refused(lambda: load(checkpoint), index.name)


def test_a_shard_that_is_a_pipe_is_not_waited_for(
    checkpoint: Path, load: Any, refused: Callable[..., str]
) -> None:
    weights = checkpoint / "unet" / "diffusion_pytorch_model.safetensors"
    weights.unlink()
    os.mkfifo(weights.with_name("x.safetensors"))
    index = weights.with_name(f"{weights.name}.index.json")
    index.write_text(json.dumps({"weight_map": {"a": "x.safetensors"}}))
    refused(lambda: load(checkpoint), "x.safetensors")
    os.mkfifo(weights)
    assert "is a pipe" in refused(lambda: load(checkpoint), weights)
