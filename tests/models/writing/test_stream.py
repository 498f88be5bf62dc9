"""A safetensors file tensor by tensor."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from sdcreative.models.single_files.headers import read_header
from sdcreative.models.writing.stream import Planned, TensorFile


def planned(tensors: dict[str, torch.Tensor]) -> list[Planned]:
    return [
        Planned(name, one.dtype, tuple(one.shape), lambda one=one: one)  # type: ignore[misc]
        for name, one in tensors.items()
    ]


def test_every_type_and_shape_is_read_by_others_bit_for_bit(tmp_path: Path) -> None:
    noise = torch.randn(3, 5)
    tensors = {
        "ä.b": noise.half(),
        "flag": torch.tensor([True, False, True]),
        "count": torch.tensor(7),
        "none": torch.empty(0),
        "rows": noise.T,
        "short": noise.bfloat16(),
        "eighth": noise.to(torch.float8_e4m3fn),
    }
    file = TensorFile(planned(tensors), {"format": "pt", "z": "ü"})
    file.write(tmp_path / "a.safetensors")
    assert (tmp_path / "a.safetensors").stat().st_size == file.size
    found = load_file(tmp_path / "a.safetensors")
    assert found.keys() == tensors.keys()
    for name, one in tensors.items():
        assert (found[name].dtype, found[name].shape) == (one.dtype, one.shape)
        assert torch.equal(found[name].float(), one.float())
    with safe_open(tmp_path / "a.safetensors", "pt") as opened:
        assert opened.metadata() == {"format": "pt", "z": "ü"}
    for entry in read_header(tmp_path / "a.safetensors").entries.values():
        assert entry.offset % {"I64": 8, "F32": 4, "F16": 2, "BF16": 2}.get(entry.dtype, 1) == 0


def test_one_tensor_at_a_time_is_held(tmp_path: Path) -> None:
    alive: list[Any] = []
    most, released = [], []

    def make() -> torch.Tensor:
        most.append(sum(one() is not None for one in alive))
        tensor = torch.zeros(1 << 20)
        alive.append(weakref.ref(tensor))
        return tensor

    many = [Planned(f"{n}", torch.float32, (1 << 20,), make) for n in range(8)]
    TensorFile(many, {}, lambda: released.append(1)).write(tmp_path / "a.safetensors")
    assert most == [0] * 8
    assert len(released) == 5


def test_the_header_alone_is_as_long_as_the_file(tmp_path: Path) -> None:
    file = TensorFile(planned({"a": torch.ones(9)}), {})
    file.begin(tmp_path / "a")
    assert load_file(tmp_path / "a")["a"].tolist() == [0] * 9
    file.fill(tmp_path / "a")
    assert load_file(tmp_path / "a")["a"].tolist() == [1] * 9


def test_what_the_format_lacks_is_refused() -> None:
    with pytest.raises(ValueError, match="w has numbers of type complex64"):
        TensorFile(planned({"w": torch.zeros(1, dtype=torch.complex64)}), {})
