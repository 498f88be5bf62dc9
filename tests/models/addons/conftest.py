"""LoRAs of random numbers for the tiny checkpoint, in the forms that files have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import save_file

from sdcreative.models.loading import Parts, load_parts

Place = tuple[str, str]
LINEAR = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "_proj", "fc1", "fc2")
CONVOLUTIONS = ("proj_in", "proj_out", "conv1", "conv2", "conv_shortcut", "conv")


class Pair(NamedTuple):
    """down, up and alpha of one module."""

    down: torch.Tensor
    up: torch.Tensor
    alpha: float


@pytest.fixture(scope="session")
def load(tiny_checkpoint: Path) -> Callable[[], Parts]:
    return lambda: load_parts(tiny_checkpoint, device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def parts(load: Callable[[], Parts]) -> Parts:
    return load()


@pytest.fixture(scope="session")
def pairs(load: Callable[[], Parts]) -> dict[Place, Pair]:
    """Every attention, feed-forward and convolution layer, rank 4, alpha 2."""
    generator = torch.Generator().manual_seed(3)
    parts, found = load(), {}
    for root in ("unet", "text_encoder"):
        for name, module in getattr(parts, root).named_modules():
            weight = getattr(module, "weight", None)
            if weight is None or weight.dim() < 2 or not name.endswith(LINEAR + CONVOLUTIONS):
                continue
            kernel = weight.shape[2:]
            down = torch.randn(4, *weight.shape[1:], generator=generator) * 0.2
            up = torch.randn(weight.shape[0], 4, *(1 for _ in kernel), generator=generator) * 0.2
            found[root, name] = Pair(down, up, 2.0)
    assert len(found) > 70
    return found


def layer_name(place: Place) -> str:
    """As in the files of kohya's scripts."""
    root, name = place
    if root == "unet":
        return "lora_unet_" + name.replace(".", "_")
    return "lora_te_text_model_" + name.removeprefix("text_model.").replace(".", "_")


def dotted_name(place: Place) -> str:
    """As in the files of diffusers."""
    root, name = place
    if root == "unet":
        return f"unet.{name}"
    return f"text_encoder.text_model.{name.removeprefix('text_model.')}"


@pytest.fixture(scope="session")
def kohya_keys() -> Callable[[Place], str]:
    return layer_name


@pytest.fixture(scope="session")
def diffusers_keys() -> Callable[[Place], str]:
    return dotted_name


@pytest.fixture(scope="session")
def kohya(tmp_path_factory: pytest.TempPathFactory, pairs: Mapping[Place, Pair]) -> Path:
    """A file as sd-scripts writes it."""
    table: dict[str, Any] = {}
    for place, (down, up, alpha) in pairs.items():
        name = layer_name(place)
        table |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        table[f"{name}.alpha"] = torch.tensor(alpha)
    path = tmp_path_factory.mktemp("kohya") / "detail.safetensors"
    save_file(table, path, {"ss_network_dim": "4", "ss_base_model_version": "sd_v1"})
    return path
