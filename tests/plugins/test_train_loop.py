"""The loop of all stages: exact resume, averages, rates, accumulation, faults."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from sdcreative import DataError
from sdcreative_plugins.train.autoencoder import AutoencoderObjective
from sdcreative_plugins.train.checkpoint import drop_later_rows, uninterrupted
from sdcreative_plugins.train.ema import Ema
from sdcreative_plugins.train.loop import learning_rate, train
from sdcreative_plugins.train.pictures import Drawing
from sdcreative_plugins.train.settings import AutoencoderStage, Schedule

SILENT: Callable[[str], None] = lambda line: None  # noqa: E731


class Regression:
    """y = 2 x with noise: small enough to compute by hand."""

    name = "regression"

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.layer = nn.Linear(3, 1)
        self.modules: dict[str, nn.Module] = {"layer": self.layer}
        self.seen: list[Tensor] = []
        self.fault: Callable[[int], None] = lambda count: None

    def batch(self, rng: np.random.Generator, size: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal((size, 3), dtype=np.float32))

    def loss(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        self.seen.append(batch)
        self.fault(len(self.seen))
        noise = 0.1 * torch.randn(len(batch), 1, generator=generator)
        error = self.layer(batch) - 2 * batch.sum(1, keepdim=True) - noise
        return {"loss": error.square().mean()}

    def measure(self) -> dict[str, float]:
        return {"weight": float(self.layer.weight.detach().sum())}

    def sheet(self) -> Image.Image:
        return Image.new("RGB", (4, 4))

    def save(self, folder: Path) -> None:
        pass


def schedule(steps: int = 6, **changes: Any) -> Schedule:
    values = {"batch": 4, "warmup": 2, "log_every": 2, "save_every": 3, "learning_rate": 0.05}
    return Schedule(steps=steps, **{**values, **changes})


def run(objective: Any, plan: Schedule, folder: Path) -> dict[str, Tensor]:
    train(objective, plan, folder, Accelerator(cpu=True), SILENT)
    return {
        key: value.clone() for key, value in nn.ModuleDict(objective.modules).state_dict().items()
    }


def stop_at(count: int) -> Callable[[int], None]:
    def fault(seen: int) -> None:
        if seen == count:
            raise KeyboardInterrupt

    return fault


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


@pytest.mark.parametrize("stop", [2, 4, 5, 7])
def test_a_stopped_training_goes_on_bit_for_bit(tmp_path: Path, stop: int) -> None:
    straight = run(Regression(), schedule(), tmp_path / "straight")
    stopped = Regression()
    stopped.fault = stop_at(stop)
    if stop <= 6:
        with pytest.raises(KeyboardInterrupt):
            run(stopped, schedule(), tmp_path / "stopped")
        state = torch.load(tmp_path / "stopped" / "checkpoint.pt", weights_only=True)
        assert state["step"] == stop - 1
    else:
        run(stopped, schedule(), tmp_path / "stopped")
    resumed = Regression()
    assert same(straight, run(resumed, schedule(), tmp_path / "stopped"))
    assert len(resumed.seen) == max(0, 7 - stop)
    first, second = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)
        for name in ("straight", "stopped")
    )
    assert same(first["ema"], second["ema"]) and same(first["modules"], second["modules"])
    log = (tmp_path / "stopped" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in log] == [2, 4, 6]


def test_an_autoencoder_with_a_critic_resumes_bit_for_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    drawings = [
        Drawing(rng.integers(0, 256, (16, 16, 4), dtype=np.uint8), ("a",), "on {background}")
        for _ in range(5)
    ]
    stage = AutoencoderStage(
        schedule=schedule(), channels=[8, 16], adversarial_weight=0.1, adversarial_start=2
    )

    def objective(fault: Callable[[int], None] = lambda count: None) -> AutoencoderObjective:
        made = AutoencoderObjective(stage, 16, drawings, [], torch.device("cpu"))
        inner, count = made.loss, [0]

        def loss(batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
            count[0] += 1
            fault(count[0])
            return inner(batch, generator)

        made.loss = loss  # type: ignore[method-assign]
        return made

    straight = run(objective(), schedule(), tmp_path / "straight")
    with pytest.raises(KeyboardInterrupt):
        run(objective(stop_at(4)), schedule(), tmp_path / "stopped")
    assert same(straight, run(objective(), schedule(), tmp_path / "stopped"))
    assert (tmp_path / "stopped" / "curve.png").is_file()


def test_batches_drawn_ahead_are_the_same(tmp_path: Path) -> None:
    from sdcreative_plugins.train.loop import _batches

    class Gpu:
        device, process_index = torch.device("cuda"), 0

    class Cpu:
        device, process_index = torch.device("cpu"), 0

    def drawn(kind: Any) -> list[Tensor]:
        batches = _batches(Regression(), schedule(accumulate=3), 2, kind)
        return [torch.cat([b, torch.randn(4, 3, generator=g)]) for b, g in batches]

    ahead, inline = drawn(Gpu), drawn(Cpu)
    assert len(ahead) == 12 and all(map(torch.equal, ahead, inline))
    early = _batches(Regression(), schedule(), 0, Gpu)  # type: ignore[arg-type]
    next(early)
    early.close()  # type: ignore[attr-defined]


def test_accumulated_batches_equal_one_big_batch(tmp_path: Path) -> None:
    class Halves(Regression):
        """Draws what the accumulated batches of ``Quarters`` are together."""

        def loss(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
            error = self.layer(batch) - 2 * batch.sum(1, keepdim=True)
            return {"loss": error.square().mean()}

    parts = Halves()
    plan = schedule(accumulate=2)
    keys = [np.random.default_rng([0, step, part, 0]) for step in range(6) for part in range(2)]
    for rng in keys:
        rng.integers(2**62)
    pool = [parts.batch(rng, 4) for rng in keys]

    class Whole(Halves):
        turn = -1

        def batch(self, rng: np.random.Generator, size: int) -> Tensor:
            self.turn += 1
            return torch.cat(pool[2 * self.turn : 2 * self.turn + 2])

    one = run(parts, plan, tmp_path / "parts")
    two = run(Whole(), schedule(batch=8), tmp_path / "whole")
    for key in one:
        torch.testing.assert_close(one[key], two[key], atol=1e-6, rtol=1e-5)


def test_averages_follow_their_formula() -> None:
    module = nn.BatchNorm1d(1)
    with torch.no_grad():
        module.weight.fill_(1.0)
    ema = Ema.of(module, 0.5)
    expected = 1.0
    for n, value in enumerate([2.0, -1.0, 4.0, 0.5, 3.0, 3.0, 3.0, 3.0, 3.0], 1):
        with torch.no_grad():
            module.weight.fill_(value)
        module.num_batches_tracked.fill_(n)
        ema.update(module)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = decay * expected + (1 - decay) * value
    assert ema.shadow["weight"].item() == pytest.approx(expected)
    assert ema.shadow["num_batches_tracked"] == 9
    assert ema.applied(module, lambda: module.weight.item()) == pytest.approx(expected)
    assert module.weight.item() == 3.0


def test_the_rate_warms_up_and_falls_along_a_cosine() -> None:
    plan = Schedule(steps=110, warmup=10, learning_rate=1.0)
    rates = [learning_rate(step, plan) for step in range(111)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.01 + 0.99 / 2) and rates[110] == pytest.approx(0.01)
    assert rates[35] == pytest.approx(0.01 + 0.99 * (1 + math.cos(math.pi / 4)) / 2)
    assert learning_rate(0, Schedule(steps=1, warmup=0, learning_rate=2.0)) == 2.0
    assert learning_rate(4, Schedule(steps=5, warmup=50, learning_rate=1.0)) == pytest.approx(0.1)


def test_a_loss_of_nan_is_an_error_and_no_checkpoint_holds_it(tmp_path: Path) -> None:
    class Broken(Regression):
        def loss(self, batch: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
            terms = super().loss(batch, generator)
            return {"loss": terms["loss"] * (math.nan if len(self.seen) == 5 else 1)}

    with pytest.raises(DataError, match="loss became nan at step 5; lower learning_rate"):
        run(Broken(), schedule(log_every=100), tmp_path)
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert state["step"] == 3
    assert all(torch.isfinite(value).all() for value in state["modules"].values())


def test_a_foreign_or_broken_checkpoint_is_an_error(tmp_path: Path) -> None:
    run(Regression(), schedule(), tmp_path)
    other = Regression()
    other.modules = {"layer": nn.Linear(5, 1)}
    with pytest.raises(DataError, match="is of another regression model"):
        run(other, schedule(), tmp_path)
    file = tmp_path / "checkpoint.pt"
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match="broken; delete it"):
        run(Regression(), schedule(), tmp_path)


def test_rows_after_the_checkpoint_are_dropped(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    drop_later_rows(log, 3)
    log.write_text('{"step": 2}\n{"step": 3}\n{"step": 4}\n{"st')
    drop_later_rows(log, 3)
    assert log.read_text() == '{"step": 2}\n{"step": 3}\n'


def test_ctrl_c_waits_until_a_step_is_taken() -> None:
    import os
    import signal

    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        done.append(sum(range(10000)))
    assert done
