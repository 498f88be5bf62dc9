from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sdcreative import UsageError
from sdcreative.models import placement
from sdcreative.models.placement import cpu_quota, pick_device, pick_dtype, settle_device

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


def test_a_container_says_how_many_cores_it_may_use(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    (root / "slice" / "job").mkdir(parents=True)
    assert cpu_quota(root, own) is None
    own.write_text("0::/slice/job\n")
    assert cpu_quota(root, own) is None
    (root / "cpu.max").write_text("max 100000\n")
    (root / "slice" / "cpu.max").write_text("150000 100000\n")
    (root / "slice" / "job" / "cpu.max").write_text("400000 100000\n")
    assert cpu_quota(root, own) == 1.5
    # Version 1 of control groups has a hierarchy for each kind.
    own.write_text("3:memory:/job\n2:cpu,cpuacct:/job\n")
    (root / "cpu" / "job").mkdir(parents=True)
    for name, value in (("quota", 300000), ("period", 100000)):
        (root / "cpu" / "job" / f"cpu.cfs_{name}_us").write_text(f"{value}\n")
    (root / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (root / "cpu.max").unlink()
    assert cpu_quota(root, own) == 3


@pytest.mark.parametrize("quota", [1.5, None])
def test_torch_takes_no_more_threads_than_that(
    monkeypatch: pytest.MonkeyPatch, quota: float | None
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(placement, "cpu_quota", lambda: quota)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        settle_device(CPU, torch.float32)
        assert torch.get_num_threads() == (2 if quota is None else 1)
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        settle_device(CPU, torch.float32)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
