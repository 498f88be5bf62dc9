"""Training by several processes: the same steps as by one with all of their batches."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sdcreative import DataError, Job, UsageError
from sdcreative_plugins import train as plugin
from sdcreative_plugins.train import launch, launched
from sdcreative_plugins.train.settings import TrainSettings


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def settings(pictures: Path, output: Path, **changes: Any) -> TrainSettings:
    values = {
        "data": {"source": "folder", "folder": str(pictures)},
        "size": 16,
        "device": "cpu",
        "output": str(output),
        "processes": 2,
        "autoencoder": {
            "channels": [8, 8],
            "regulariser": "vq",
            "codebook": 8,
            "restart_after": None,
            "schedule": {"steps": 3, "batch": 2, "warmup": 0, "save_every": 3, "log_every": 1},
        },
    }
    return TrainSettings.model_validate({**values, **changes})


SCRIPT = """
import os, sys
from pathlib import Path
import numpy as np, torch
from accelerate import Accelerator
from PIL import Image
from sdcreative_plugins.train.loop import train
from sdcreative_plugins.train.regularisers import _of_all_processes, _of_first_process
from sdcreative_plugins.train.stages import Schedule

class Regression:
    name = "regression"

    def __init__(self, ranks):
        torch.manual_seed(0)
        self.layer, self.ranks, self.step = torch.nn.Linear(3, 2), ranks, -1
        self.modules = {"layer": self.layer}

    def batch(self, rng, size):
        self.step += 1
        drawn = [np.random.default_rng([self.step, rank]) for rank in self.ranks]
        rows = [one.standard_normal((4, 3), dtype=np.float32) for one in drawn]
        return torch.from_numpy(np.concatenate(rows))

    def loss(self, batch, generator):
        return {"loss": (self.layer(batch) - batch.sum(1, keepdim=True)).square().mean()}

    def measure(self):
        return {}

    def sheet(self):
        return Image.new("RGB", (4, 4))

rank, count = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
accelerator = Accelerator(cpu=True)
plan = Schedule(steps=4, batch=4, warmup=0, clip=0.5, learning_rate=0.01, log_every=4)
ranks = [rank] if count > 1 else [0, 1]
train(Regression(ranks), plan, Path(sys.argv[1]), accelerator, lambda line: None)
counts = _of_all_processes(torch.tensor([1, rank]))
first = _of_first_process(torch.full((2,), 5.0 + rank))
print(accelerator.num_processes, counts.tolist(), first.tolist())
accelerator.wait_for_everyone()
accelerator.end_training()
"""


def test_two_processes_take_the_steps_of_one_with_both_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    script, lines = tmp_path / "script.py", []
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(tmp_path / "2")]
    assert launch.run_all(command, 2, lines.append, cpu=True) == [0, 0]
    monkeypatch.setattr(sys, "argv", [str(script), str(tmp_path / "1")])
    runpy.run_path(str(script))
    assert lines == ["2 [2, 1] [5.0, 5.0]"]
    assert capsys.readouterr().out == "1 [1, 0] [5.0, 5.0]\n"
    files = [tmp_path / count / "checkpoint.pt" for count in ("2", "1")]
    states = [torch.load(file, weights_only=True) for file in files]
    for kind in ("modules", "ema"):
        for ours, both in zip(*(state[kind].values() for state in states), strict=True):
            torch.testing.assert_close(ours, both, atol=1e-6, rtol=1e-5)
    rate = json.loads((tmp_path / "2" / "log.jsonl").read_text())["samples_per_second"]
    assert rate > 0


def test_a_process_trains_as_its_plan_says_and_leaves_what_it_failed_with(
    pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, fault = tmp_path / "plan.json", tmp_path / "fault.json"
    wanted = settings(pictures, tmp_path / "model").model_dump(mode="json", exclude_unset=True)
    plan.write_text(json.dumps({"settings": wanted, "overwrite": False, "fault": str(fault)}))
    assert launched.main(plan) == 0 and not fault.exists()
    assert (tmp_path / "model" / "vae" / "config.json").is_file()
    assert "autoencoder 3/3" in capsys.readouterr().out
    wanted["data"]["folder"] = str(tmp_path / "nowhere")
    wanted["output"] = str(tmp_path / "other")
    plan.write_text(json.dumps({"settings": wanted, "overwrite": False, "fault": str(fault)}))
    assert launched.main(plan) == 1
    assert "nowhere: no such folder" in str(launch._fault(fault, [1, 1]))


def test_what_a_process_fails_with_is_told_as_it_is(pictures: Path, tmp_path: Path) -> None:
    fault = tmp_path / "fault.json"
    fault.write_text(json.dumps({"kind": "DataError", "message": "a.png: no caption"}))
    told = launch._fault(fault, [1, -9])
    assert type(told) is DataError and str(told) == "a.png: no caption"
    fault.write_text(json.dumps({"kind": "Studio", "message": "no"}))
    assert "one of 2 ended with -9" in str(launch._fault(fault, [0, -9]))


def test_a_process_that_fails_ends_the_others_and_they_are_told_apart() -> None:
    code = (
        "import os, sys, time\n"
        "rank = int(os.environ['RANK'])\n"
        "print(rank, os.environ['WORLD_SIZE'], os.environ['ACCELERATE_USE_CPU'])\n"
        "sys.stdout.flush()\n"
        "time.sleep(60) if rank == 0 else sys.exit(3)\n"
    )
    lines: list[str] = []
    codes = launch.run_all([sys.executable, "-c", code], 2, lines.append, cpu=True)
    assert codes == [-9, 3] and lines in (["0 2 true"], [])
    codes = launch.run_all([sys.executable, "-c", "print('ü')"], 3, lines.append, cpu=True)
    assert codes == [0, 0, 0] and lines[-1] == "ü"


def test_more_processes_than_gpus_are_refused(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = settings(pictures, tmp_path / "out", device="auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UsageError, match="2, but there are 1 GPUs"):
        plugin._run(wanted, Job(False, False, print))
    assert not (tmp_path / "out").exists()


def test_a_missing_accelerate_is_said(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'sdcreative\[train\]'"):
        plugin._run(settings(pictures, tmp_path), Job(False, False, print))


def test_processes_that_accelerate_launched_start_no_others(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not launch.is_launched()
    monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
    assert launch.is_launched()
    lines: list[str] = []
    plugin._run(settings(pictures, tmp_path / "new"), Job(False, True, lines.append))
    assert lines[-1] == "autoencoder: 3 steps of 2 in each of 2 processes, 12 samples"
