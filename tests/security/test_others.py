"""CLIP folders, upscalers, safety checkers, LoRAs and embeddings: the rest of what lies beside."""

from __future__ import annotations

import base64
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

CANARY = "sdcreative_canary"
CPU = torch.device("cpu")
SMALL = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2
}  # fmt: skip


@pytest.fixture(scope="session")
def pair(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of 32 pixels; never write to it."""
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("pair") / "clip"
    shutil.copytree(tiny_checkpoint / "tokenizer", folder)
    text = json.loads((tiny_checkpoint / "text_encoder" / "config.json").read_text())
    shape = {**SMALL, "image_size": 32, "patch_size": 8, "projection_dim": 24}
    config = CLIPConfig(
        text_config={**text, **SMALL, "projection_dim": 24}, vision_config=shape, projection_dim=24
    )
    CLIPModel(config).save_pretrained(folder)
    return folder


def nested(config: Any, **values: object) -> Any:
    """The values at the top and in both towers."""
    towers = {name: config[name] | values for name in ("text_config", "vision_config")}
    return config | towers | values


PAIRS: dict[str, dict[str, object]] = {
    "layers": {"num_hidden_layers": 10**9},
    "fewer layers, still too many": {"num_hidden_layers": 201},
    "width": {"hidden_size": 1 << 16},
    "no heads": {"num_attention_heads": 0},
    "another kind": {"model_type": CANARY},
    "no kind": {"model_type": None},
    "a kind that is a list": {"model_type": ["clip"]},
    "numbers in words": {"hidden_size": "32"},
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_is_not_made_before_it_fits(
    name: str, pair: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    from sdcreative.models.clip.loading import load_pair

    folder = Path(shutil.copytree(pair, tmp_path / "clip"))
    path = folder / "config.json"
    path.write_text(json.dumps(nested(json.loads(path.read_text()), **PAIRS[name])))
    refused(lambda: load_pair(str(folder), device="cpu"), folder)


def test_a_pair_that_names_code_is_read_without_it(pair: Path, tmp_path: Path) -> None:
    from sdcreative.models.clip.loading import load_pair

    folder = Path(shutil.copytree(pair, tmp_path / "clip"))
    path = folder / "config.json"
    code = {
        "auto_map": {"AutoModel": f"{CANARY}.Model"},
        "attn_implementation": f"{CANARY}/kernel",
        "num_labels": 10**9,
        "return_dict": False,
    }
    path.write_text(json.dumps(nested(json.loads(path.read_text()), **code)))
    shutil.copy(tmp_path / "modules" / f"{CANARY}.py", folder)
    found = load_pair(str(folder), device="cpu")
    ours, theirs = found.texts(["a bear"]), load_pair(str(pair), device="cpu").texts(["a bear"])
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "values",
    [
        {"channels": [65_535] * 8},
        {"channels": [8] * 100_000},
        {"channels": 8},
        {"size": 0},
        {"projection": "x"},
    ],
)
def test_a_locked_pair_is_not_made_before_it_fits(
    values: dict[str, object], refused: Callable[..., str], tmp_path: Path
) -> None:
    from sdcreative.models.clip.locked import LockedTextPair, Shape, read_locked, save_locked

    folder = tmp_path / "clip"
    save_locked(LockedTextPair(Shape((8, 8), 32, 8, 16)), folder)
    read_locked(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    refused(lambda: read_locked(folder), folder)


def test_weights_of_a_pair_run_nothing(
    pair: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    from sdcreative.models.clip.loading import load_pair

    folder = Path(shutil.copytree(pair, tmp_path / "clip"))
    (folder / "model.safetensors").unlink()
    weights = folder / "pytorch_model.bin"
    torch.save({"a": torch.ones(1), "b": os.system}, weights)
    assert "would run code" in refused(lambda: load_pair(str(folder), device="cpu"), weights)
    (folder / "model.safetensors").write_bytes(weights.read_bytes())
    refused(lambda: load_pair(str(folder), device="cpu"), "a pickle named .safetensors")


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("model_index.json", {"unet": [CANARY, "Model"]}),
        ("model_index.json", {"_class_name": "StableDiffusion\nPipeline"}),
        ("model_index.json", {"max_noise_level": -1}),
        ("unet/config.json", {"layers_per_block": 10**9}),
        ("unet/config.json", {"sample_size": [10**9]}),
        ("vae/config.json", {"layers_per_block": 201}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**12}),
        ("low_res_scheduler/scheduler_config.json", {"beta_schedule": "os"}),
        ("tokenizer/tokenizer_config.json", {"trust_remote_code": True}),
    ],
)
def test_an_upscaler_is_not_trusted(
    file: str,
    values: dict[str, object],
    checkpoint: Path,
    edit: Any,
    refused: Callable[..., str],
) -> None:
    from sdcreative.models.upscaler import load_upscaler

    shutil.copytree(checkpoint / "scheduler", checkpoint / "low_res_scheduler")
    edit.json(checkpoint / "model_index.json", _class_name="StableDiffusionUpscalePipeline")
    fitting = {
        "unet": {"in_channels": 7, "num_class_embeds": 1000},
        "vae": {"block_out_channels": [8, 16, 16]},
    }
    for part, shape in fitting.items():
        edit.json(checkpoint / part / "config.json", **shape)
    edit.json(checkpoint / file, **values)
    refused(
        lambda: load_upscaler(checkpoint, device=CPU, dtype=torch.float32), file.split("/")[0][:4]
    )


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("safety_checker/config.json", {"architectures": ["os"]}),
        ("safety_checker/config.json", {"vision_config": {"num_hidden_layers": 10**9}}),
        ("safety_checker/config.json", {"vision_config_dict": {"hidden_size": 10**9}}),
        ("safety_checker/config.json", {"text_config": 5}),
        ("feature_extractor/preprocessor_config.json", {"size": 10**9}),
        ("feature_extractor/preprocessor_config.json", {"crop_size": 10**6}),
        ("feature_extractor/preprocessor_config.json", {"crop_size": -1}),
        ("feature_extractor/preprocessor_config.json", {"resample": 77}),
        ("feature_extractor/preprocessor_config.json", {"image_mean": "os"}),
        ("feature_extractor/preprocessor_config.json", {"image_std": [0, 0, 0]}),
    ],
)
def test_a_safety_checker_is_not_trusted(
    file: str,
    values: dict[str, object],
    tiny_safety: Path,
    edit: Any,
    refused: Callable[..., str],
    tmp_path: Path,
) -> None:
    from sdcreative.models.safety import load_safety

    folder = Path(shutil.copytree(tiny_safety, tmp_path / "model"))
    edit.json(folder / file, **values)
    refused(lambda: load_safety(folder, CPU, torch.float32), file.split("/")[0])


def test_labels_and_code_of_a_safety_checker_are_not_heard(
    tiny_safety: Path, edit: Any, tmp_path: Path
) -> None:
    from sdcreative.models.safety import load_safety

    folder = Path(shutil.copytree(tiny_safety, tmp_path / "model"))
    code = {"num_labels": 10**9, "auto_map": {"AutoModel": f"{CANARY}.Model"}}
    path = folder / "safety_checker" / "config.json"
    path.write_text(json.dumps(nested(json.loads(path.read_text()), **code)))
    extractor = folder / "feature_extractor" / "preprocessor_config.json"
    edit.json(extractor, processor_class=CANARY, auto_map={"AutoImageProcessor": f"{CANARY}.Model"})
    safety = load_safety(folder, CPU, torch.float32)
    assert safety is not None
    assert len(safety.check([Image.new("RGB", (40, 30))])) == 1


LAYER = "base_model.model.unet.conv_in.lora_{}.weight"


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"lora_alpha": 1' + "0" * 400 + "}", '{"lora_alpha": NaN}', "5", "{"]
)
def test_what_peft_says_beside_a_lora_is_checked(
    text: str, parts: Any, harmless: Callable[..., Any], tmp_path: Path
) -> None:
    from sdcreative.models.addons.lora_reading import read_lora

    table = {LAYER.format("A"): torch.ones(2, 4, 3, 3), LAYER.format("B"): torch.ones(32, 2, 1, 1)}
    save_file(table, tmp_path / "lora.safetensors", {"lora_adapter_metadata": text})
    harmless(lambda: read_lora(tmp_path / "lora.safetensors", parts))
    (tmp_path / "adapter_config.json").write_text(text)
    harmless(lambda: read_lora(tmp_path / "lora.safetensors", parts))
    (tmp_path / "adapter_config.json").unlink()
    os.mkfifo(tmp_path / "adapter_config.json")
    harmless(lambda: read_lora(tmp_path / "lora.safetensors", parts))


@pytest.mark.parametrize(
    "text",
    [
        '{"string_to_param":' + '{"a":' * 700 + "1" + "}" * 701,
        '{"string_to_param": {"*": {"TORCHTENSOR": ' + "[" * 900 + "]" * 900 + "}}}",
        '{"string_to_param": {"*": {"TORCHTENSOR": [[1e999]]}}}',
        '{"string_to_param": {"*": {"TORCHTENSOR": "os.system"}}}',
        "{" * 100_000,
        "[]",
    ],
)
def test_an_embedding_in_a_picture_is_checked(
    text: str, readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(text.encode()).decode())
    path = tmp_path / "word.png"
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    for reader in ("embedding", "any"):
        refused(lambda reader=reader: readers[reader](path), path)


def test_pictures_that_unpack_without_an_end_are_refused(
    readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "word.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert path.stat().st_size < 500_000
    refused(lambda: readers["embedding"](path), path)
    info = PngInfo()
    info.add_text("sd-ti-embedding", "a" * (66 << 20), zip=True)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    assert path.stat().st_size < 500_000
    refused(lambda: readers["embedding"](path), path)


def test_an_embedding_that_is_huge_is_refused(
    readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "word.pt"
    torch.save({"string_to_param": {"*": torch.ones(5000, 8)}}, path)
    refused(lambda: readers["embedding"](path), path)
    path.write_bytes(pickle.dumps({"string_to_param": {"*": [[1.0]]}}, protocol=2))
    refused(lambda: readers["embedding"](path), path)
