"""The training loop of every stage: seeded batches, EMA, checkpoints that resume exactly."""

from __future__ import annotations

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import product
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor, nn

from sdcreative import DataError
from sdcreative.models.cpu.quickening import quicken

from .checkpoint import drop_later_rows, load_checkpoint, save_checkpoint, uninterrupted
from .curve import draw_curve
from .ema import Ema
from .settings import Schedule


class Objective(Protocol):
    """One thing to train: what a batch is, what the loss is, how progress looks."""

    name: str
    modules: dict[str, nn.Module]

    def batch(self, rng: np.random.Generator, size: int) -> Any:
        """Draw a batch; all its randomness comes from ``rng``. Called from several threads."""

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        """Scalars; the one called "loss" is minimised, the others are logged."""

    def measure(self) -> dict[str, float]:
        """Figures from fixed seeds, on held-out data where there is any."""

    def sheet(self) -> Image.Image:
        """A picture of the present state, drawn from fixed seeds."""

    def save(self, folder: Path) -> None:
        """Write the trained parts as a diffusers folder or sub-folders of one."""


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
    steps as an uninterrupted one. Files in ``run``: checkpoint.pt, log.jsonl, measured.jsonl,
    curve.png and sheet_<step>.png. Ctrl-C keeps the steps done so far.

    Raises:
        DataError: the loss became NaN or infinite, or the checkpoint is broken or of another
            model.
        KeyboardInterrupt: after saving a checkpoint.
    """
    run.mkdir(parents=True, exist_ok=True)
    log, checkpoint = run / "log.jsonl", run / "checkpoint.pt"
    bundle = nn.ModuleDict(objective.modules).to(accelerator.device).train()
    quicken(bundle)
    optimizer: Any = torch.optim.AdamW(
        [p for p in bundle.parameters() if p.requires_grad],
        lr=schedule.learning_rate,
        betas=(0.9, 0.99),
        weight_decay=schedule.weight_decay,
    )
    ema = Ema.of(bundle, schedule.ema)
    main, name, scaler = accelerator.is_main_process, objective.name, accelerator.scaler
    start = load_checkpoint(checkpoint, bundle, optimizer, ema, name, scaler)
    optimizer = accelerator.prepare(optimizer)
    if main:
        drop_later_rows(log, start)
        drop_later_rows(run / "measured.jsonl", start)
    if 0 < start < schedule.steps:
        report(f"{name}: going on from step {start}")
    began, done, saved = time.monotonic(), start, start
    means = _Means()
    try:
        with closing(_batches(objective, schedule, start, accelerator)) as batches:
            for step in range(start, schedule.steps):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, schedule)
                for _ in range(schedule.accumulate):
                    batch, generator = next(batches)
                    with accelerator.autocast():
                        terms = objective.loss(batch, generator)
                    _check_finite(terms["loss"], name, step + 1, accelerator)
                    accelerator.backward(terms["loss"] / schedule.accumulate)
                    means.add(terms)
                if accelerator.num_processes > 1:
                    _average_gradients(bundle, accelerator)
                accelerator.clip_grad_norm_(list(bundle.parameters()), schedule.clip)
                with uninterrupted():
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    ema.update(bundle)
                    done = step + 1
                last = done == schedule.steps
                if main and (done % schedule.log_every == 0 or last):
                    figures = means.take()
                    taken = schedule.batch * schedule.accumulate * accelerator.num_processes
                    samples = (done - start) * taken
                    figures["samples_per_second"] = samples / (time.monotonic() - began)
                    _append(log, done, figures)
                    report(f"{name} {done}/{schedule.steps}  {_shown(figures)}")
                if main and (done % schedule.save_every == 0 or last):
                    save_checkpoint(checkpoint, bundle, optimizer, ema, name, done, scaler)
                    saved = done
                    draw_curve(log, run / "curve.png", title=name)
                    bundle.eval()
                    figures = ema.applied(bundle, lambda n=done: _look(objective, run, n))
                    bundle.train()
                    report(f"{name} {done}/{schedule.steps}  {_shown(figures)}")
    except KeyboardInterrupt:
        if main and done > saved:
            save_checkpoint(checkpoint, bundle, optimizer, ema, name, done, scaler)
        report(
            f"{name}: stopped, {done} of {schedule.steps} steps are saved; "
            "run the same command again to go on"
        )
        raise
    bundle.load_state_dict(ema.shadow)
    bundle.eval()


class _Means:
    """Running means of the terms of a loss since they were last taken."""

    def __init__(self) -> None:
        self.sums: dict[str, float] = {}
        self.count = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        self.count += 1
        for name, value in terms.items():
            self.sums[name] = self.sums.get(name, 0.0) + float(value.detach())

    def take(self) -> dict[str, float]:
        means = {name: total / self.count for name, total in self.sums.items()}
        self.sums, self.count = {}, 0
        return means


def _batches(
    objective: Objective, schedule: Schedule, start: int, accelerator: Accelerator
) -> Iterator[tuple[Any, torch.Generator]]:
    """(batch, generator of its noise) of every step and part, in order.

    Where the CPU does not compute, its cores draw batches ahead; what a batch holds depends on
    its own seed alone, so it is the same either way.
    """

    def draw(step: int, part: int) -> tuple[Any, torch.Generator]:
        key = [schedule.seed, step, part, accelerator.process_index]
        rng = np.random.default_rng(key)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return objective.batch(rng, schedule.batch), generator

    keys = product(range(start, schedule.steps), range(schedule.accumulate))
    if accelerator.device.type == "cpu":
        for key in keys:
            yield draw(*key)
        return
    workers = min(8, os.cpu_count() or 1)
    waiting: deque[Future[tuple[Any, torch.Generator]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for key in keys:
                waiting.append(pool.submit(draw, *key))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _check_finite(loss: Tensor, name: str, step: int, accelerator: Accelerator) -> None:
    """Before the step is taken, on all processes alike: no checkpoint ever holds NaN."""
    value = loss.detach()
    if accelerator.num_processes > 1:
        value = accelerator.reduce(value, reduction="sum")
    if not math.isfinite(float(value)):
        raise DataError(
            f"{name}: the loss became {float(value)} at step {step}; lower learning_rate and run "
            "again with --overwrite, it goes on from the last checkpoint"
        )


def _average_gradients(bundle: nn.Module, accelerator: Accelerator) -> None:
    for parameter in bundle.parameters():
        if parameter.grad is not None:
            parameter.grad = accelerator.reduce(parameter.grad, reduction="mean")


def _look(objective: Objective, run: Path, step: int) -> dict[str, float]:
    objective.sheet().save(run / f"sheet_{step:07d}.png")
    figures = objective.measure()
    _append(run / "measured.jsonl", step, figures)
    return figures


def _append(path: Path, step: int, figures: dict[str, float]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, **figures}) + "\n")


def _shown(figures: dict[str, float]) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
