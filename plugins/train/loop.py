"""The training loop that every stage shares: seeded batches, EMA, checkpoints that resume exactly."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from sdcreative.errors import DataError

from .curve import draw_curve
from .settings import Schedule


class Objective(Protocol):
    """One thing to train: what a batch is, what the loss is, how progress looks."""

    name: str
    modules: dict[str, nn.Module]

    def batch(self, rng: np.random.Generator, size: int) -> Any:
        """Draw a batch; all its randomness comes from ``rng``."""

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars; the one called "loss" is minimised, the others are logged."""

    def measure(self) -> dict[str, float]:
        """Figures from fixed seeds, on held-out data where there is any."""

    def sheet(self) -> Image.Image:
        """A picture of the present state, drawn from fixed seeds."""

    def save(self, folder: Path) -> None:
        """Write the trained parts as a diffusers folder or sub-folders of one."""


@dataclass
class Ema:
    """Exponential moving average of parameters, warmed up as (1 + n) / (10 + n)."""

    decay: float
    shadow: dict[str, Tensor]
    updates: int = 0

    @classmethod
    def of(cls, module: nn.Module, decay: float) -> Ema:
        return cls(decay, {k: v.detach().clone() for k, v in module.state_dict().items()})

    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.shadow[key].lerp_(value.detach(), 1 - decay)
            else:
                self.shadow[key].copy_(value)

    def applied(self, module: nn.Module, action: Callable[[], Any]) -> Any:
        """Run ``action`` while ``module`` holds the averaged weights."""
        kept = {k: v.detach().clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.shadow)
        try:
            return action()
        finally:
            module.load_state_dict(kept)


def learning_rate(step: int, schedule: Schedule) -> float:
    """Linear warm-up, then half a cosine down to a hundredth of the peak."""
    if step < schedule.warmup:
        return schedule.learning_rate * (step + 1) / schedule.warmup
    done = (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup)
    return schedule.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def train(
    objective: Objective,
    schedule: Schedule,
    run: Path,
    accelerator: Accelerator,
    report: Callable[[str], None] = print,
) -> None:
    """Train one objective to the end of its schedule, resuming from ``run`` where it stopped.

    Batch and noise of step n depend on (seed, n, process) alone, so a resumed run takes the same
    steps as an uninterrupted one. Files in ``run``: checkpoint.pt, log.jsonl, curve.png and
    sheet_<step>.png.

    Raises:
        DataError: the loss became NaN or infinite, or the checkpoint is of another model.
    """
    run.mkdir(parents=True, exist_ok=True)
    device = accelerator.device
    bundle = nn.ModuleDict(objective.modules).to(device)
    optimizer = torch.optim.AdamW(
        [p for p in bundle.parameters() if p.requires_grad],
        lr=schedule.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=schedule.weight_decay,
    )
    ema = Ema.of(bundle, schedule.ema)
    start = _resume(run / "checkpoint.pt", bundle, optimizer, ema, objective.name)
    optimizer = accelerator.prepare(optimizer)
    began, log = time.monotonic(), run / "log.jsonl"
    sums: dict[str, float] = {}
    for step in range(start, schedule.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        for part in range(schedule.accumulate):
            key = [schedule.seed, step, part, accelerator.process_index]
            rng = np.random.default_rng(key)
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            batch = objective.batch(rng, schedule.batch)
            with accelerator.autocast():
                terms = objective.loss(batch, generator)
            accelerator.backward(terms["loss"] / schedule.accumulate)
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach()) / schedule.accumulate
        if accelerator.num_processes > 1:
            _average_gradients(bundle, accelerator)
        nn.utils.clip_grad_norm_(bundle.parameters(), schedule.clip)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        ema.update(bundle)
        done = step + 1
        if done % schedule.log_every == 0 or done == schedule.steps:
            count = (done - 1) % schedule.log_every + 1
            means = {name: value / count for name, value in sums.items()}
            sums = {}
            if not all(math.isfinite(v) for v in means.values()):
                raise DataError(
                    f"{objective.name}: the loss became {means['loss']} at step {done}; "
                    "lower learning_rate and run again, it resumes from the last checkpoint"
                )
            speed = (done - start) * schedule.batch * schedule.accumulate
            means["samples_per_second"] = speed / (time.monotonic() - began)
            if accelerator.is_main_process:
                with log.open("a") as file:
                    file.write(json.dumps({"step": done, **means}) + "\n")
                report(f"{objective.name} {done}/{schedule.steps}  {_shown(means)}")
        if accelerator.is_main_process and (
            done % schedule.save_every == 0 or done == schedule.steps
        ):
            _save(run / "checkpoint.pt", bundle, optimizer, ema, objective.name, done)
            draw_curve(log, run / "curve.png", title=objective.name)
            bundle.eval()
            figures = ema.applied(bundle, lambda n=done: _look(objective, run, n))
            bundle.train()
            report(f"{objective.name} {done}/{schedule.steps}  {_shown(figures)}")
    bundle.load_state_dict(ema.shadow)
    bundle.eval()


def _look(objective: Objective, run: Path, step: int) -> dict[str, float]:
    objective.sheet().save(run / f"sheet_{step:07d}.png")
    figures = objective.measure()
    with (run / "measured.jsonl").open("a") as file:
        file.write(json.dumps({"step": step, **figures}) + "\n")
    return figures


def _shown(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in figures.items())


def _average_gradients(bundle: nn.Module, accelerator: Accelerator) -> None:
    for parameter in bundle.parameters():
        if parameter.grad is not None:
            parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")


def _save(
    path: Path, bundle: nn.Module, optimizer: Any, ema: Ema, name: str, step: int
) -> None:
    state = {
        "name": name,
        "step": step,
        "modules": bundle.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.shadow,
        "ema_updates": ema.updates,
    }
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def _resume(path: Path, bundle: nn.Module, optimizer: Any, ema: Ema, name: str) -> int:
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    try:
        bundle.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise DataError(
            f"{path}: this checkpoint is of another {name} model; give another output folder"
        ) from error
    for key, value in state["ema"].items():
        ema.shadow[key].copy_(value)
    ema.updates = state["ema_updates"]
    return int(state["step"])
