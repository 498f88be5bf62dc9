from __future__ import annotations

import pytest
import torch

from sdcreative import UsageError
from sdcreative.models import placement
from sdcreative.models.placement import pick_device, pick_dtype

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_devices() -> None:
    assert pick_device("cpu") == CPU
    assert pick_device("auto").type in ("cuda", "mps", "cpu")
    for wrong in ("gpu", "cuda:x", "CPU", ""):
        with pytest.raises(UsageError, match="is not one of auto, cpu"):
            pick_device(wrong)
    with pytest.raises(UsageError, match="is not available"):
        pick_device("cuda:99")


def test_torch_is_not_asked_for_a_gpu_where_there_can_be_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert placement._may_have_gpu() or not torch.cuda.is_available()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(placement, "_may_have_gpu", lambda: False)
    assert placement.device_name() == "cpu"
    monkeypatch.setattr(placement, "_may_have_gpu", lambda: True)
    assert placement.device_name() == "cuda"


def test_dtypes() -> None:
    assert pick_dtype("auto", CPU) is torch.float32
    assert pick_dtype("auto", torch.device("mps")) is torch.float32
    assert pick_dtype("auto", CUDA) is torch.float16
    assert pick_dtype("bfloat16", CUDA) is torch.bfloat16
    with pytest.raises(UsageError, match="not usable on the CPU"):
        pick_dtype("float16", CPU)
    with pytest.raises(UsageError, match="is not one of auto, float32"):
        pick_dtype("fp16", CUDA)


@pytest.mark.parametrize("able", [True, False])
def test_bfloat16_on_a_cpu_needs_instructions_for_it(
    able: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "cpu_has_bfloat16", lambda: able)
    if able:
        assert pick_dtype("bfloat16", CPU) is torch.bfloat16
        return
    with pytest.raises(UsageError, match="no instructions for bfloat16; use float32"):
        pick_dtype("bfloat16", CPU)
