"""Training the rows of a word: steps, looks, the best of them, and going on where it stopped."""

from __future__ import annotations

import io
import json
import math
import pickle
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from sdcreative import DataError, OutputError

from ..checkpoint import drop_later_rows, uninterrupted
from ..tuning.store import write_whole
from .best import Best
from .objective import WordObjective
from .settings import RowSchedule
from .verdicts import Verdict

Look = Callable[[int, tuple[torch.Tensor, ...]], Verdict]
BETAS = (0.9, 0.999)


@dataclass
class Learned:
    """How far a training is.

    Attributes:
        step: steps done.
        best: the word of the best look.
        figures: of that look.
        enough: whether looks brought nothing better for so long that it ended early.
    """

    step: int = 0
    best: Best = field(default_factory=Best)
    figures: dict[str, float] = field(default_factory=dict)
    enough: bool = False


def learning_rate(step: int, schedule: RowSchedule) -> float:
    """Linear warm-up; then the peak, or down to a hundredth of it, straight or by half a cosine."""
    if step < schedule.warmup:
        return schedule.learning_rate * (step + 1) / schedule.warmup
    done = min(1.0, (step - schedule.warmup) / max(1, schedule.steps - schedule.warmup))
    share = {
        "constant": 1.0,
        "linear": 1 - done,
        "cosine": 0.5 * (1 + math.cos(math.pi * done)),
    }[schedule.decay]
    return schedule.learning_rate * (0.01 + 0.99 * share)


def active_rows(step: int, steps: int, count: int, *, progressive: bool) -> int:
    """How many vectors a step trains: all, or one at first and the last from half of the steps."""
    if not progressive:
        return count
    return min(count, 1 + 2 * step * (count - 1) // max(1, steps))


class Training:
    """The rows of a word, an optimiser that knows nothing else, and the folder of their training.

    Batch and noise of step n depend on the seed and n alone, so that a training which was stopped,
    or killed, takes the same steps as one that was not. Files in the folder: checkpoint.pt,
    log.jsonl, measured.jsonl and sheet_<step>.png.
    """

    def __init__(
        self,
        objective: WordObjective,
        folder: Path,
        accelerator: Accelerator,
        look: Look,
        report: Callable[[str], None],
    ) -> None:
        self.objective, self.folder, self.accelerator = objective, folder, accelerator
        self.look, self.report = look, report
        self.settings, self.rows = objective.settings, objective.rows
        # Decay would pull rows that a step does not use to zero.
        self.optimizer: Any = torch.optim.AdamW(
            self.rows.parameters(),
            lr=self.settings.schedule.learning_rate,
            betas=BETAS,
            weight_decay=0.0,
        )
        self.state = Learned()

    def run(self) -> Learned:
        """Train to the end of the schedule, or until looks bring nothing better.

        Raises:
            DataError: the loss is NaN or infinite, or the checkpoint is broken.
            OutputError: the disk is full; the checkpoint before is whole.
            KeyboardInterrupt: after saving a checkpoint.
        """
        self._resume()
        state, schedule = self.state, self.settings.schedule
        optimizer = self.accelerator.prepare(self.optimizer)
        log = self.folder / "log.jsonl"
        begun, first, saved = time.monotonic(), state.step, state.step
        sums: dict[str, float] = {}
        try:
            if state.best.step < 0:
                self._look()
            while state.step < schedule.steps and not state.enough:
                terms = self._step(optimizer)
                sums = {name: sums.get(name, 0.0) + value for name, value in terms.items()}
                last = state.step == schedule.steps
                if state.step % schedule.log_every == 0 or last:
                    count = (state.step - 1) % schedule.log_every + 1
                    figures = {name: value / count for name, value in sums.items()}
                    speed = (state.step - first) / (time.monotonic() - begun)
                    _append(log, {"step": state.step, **figures, "steps_per_second": speed})
                    self.report(
                        f"learn {state.step}/{schedule.steps}  loss {figures['loss']:.4f}  "
                        f"{speed:.2f} steps/s"
                    )
                    sums = {}
                if state.step % self.settings.look_every == 0 or last:
                    self._look()
                    saved = state.step
        except KeyboardInterrupt:
            if state.step > saved:
                self._save()
            self.report(
                f"learn: stopped, {state.step} of {schedule.steps} steps are saved; run the same "
                "command again to go on"
            )
            raise
        return state

    @property
    def active(self) -> int:
        """Vectors that the word has by now."""
        return active_rows(
            max(0, self.state.step - 1),
            self.settings.schedule.steps,
            self.rows.count,
            progressive=self.settings.progressive,
        )

    def word(self) -> tuple[torch.Tensor, ...]:
        """What the training comes to: the word of the best look, or as it is now."""
        if self.settings.keep_best and self.state.best.rows:
            return self.state.best.rows
        return self.rows.copies(self.active)

    def _step(self, optimizer: Any) -> dict[str, float]:
        step, schedule = self.state.step, self.settings.schedule
        active = active_rows(
            step, schedule.steps, self.rows.count, progressive=self.settings.progressive
        )
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, schedule)
        sums: dict[str, float] = {}
        for part in range(schedule.accumulate):
            batch, generator = self.objective.batch(step, part)
            with self.accelerator.autocast():
                terms = self.objective.loss(batch, generator, active)
            values = {name: float(value.detach()) for name, value in terms.items()}
            if not math.isfinite(values["loss"]):
                optimizer.zero_grad(set_to_none=True)
                raise DataError(
                    f"learn: the loss became {values['loss']} at step {step + 1}; lower "
                    "schedule.learning_rate and run again with --overwrite, it goes on from the "
                    "last checkpoint"
                )
            self.accelerator.backward(terms["loss"] / schedule.accumulate)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value / schedule.accumulate
        self.accelerator.clip_grad_norm_(list(self.rows.parameters()), schedule.clip)
        with uninterrupted():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            self.state.step = step + 1
        return sums

    def _look(self) -> None:
        """Look at the word, keep it if it is the best so far, and save all."""
        state, active = self.state, self.active
        with self.accelerator.autocast():
            loss = self.objective.validation_loss(active)
        rows = self.rows.copies(active)
        verdict = self.look(state.step, rows)
        figures = {"validation_loss": loss, **verdict.figures()}
        state.best = state.best.after(verdict, rows, self.settings.judge.least)
        if state.best.step == state.step:
            state.figures = figures
        all_active = active == self.rows.count
        state.enough = all_active and state.best.is_enough(self.settings.judge.patience)
        sheet = io.BytesIO()
        verdict.sheet.save(sheet, "PNG")
        write_whole(self.folder / f"sheet_{state.step:07d}.png", sheet.getvalue())
        _append(self.folder / "measured.jsonl", figures)
        self._save()
        self.report(
            f"learn {state.step}/{self.settings.schedule.steps}  validation {loss:.4f}  similarity "
            f"{verdict.similarity:.2f}  editability {verdict.editability:.2f}"
            + ("  (best so far)" if state.best.step == state.step else "")
        )

    def _save(self) -> None:
        state, scaler = self.state, self.accelerator.scaler
        content = {
            "step": state.step,
            "rows": self.rows.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "best": state.best.state(),
            "figures": state.figures,
            "enough": state.enough,
            "scaler": None if scaler is None else scaler.state_dict(),
        }
        stream = io.BytesIO()
        torch.save(content, stream)
        write_whole(self.folder / "checkpoint.pt", stream.getvalue())

    def _resume(self) -> None:
        path = self.folder / "checkpoint.pt"
        if path.is_file():
            self._load(path)
        drop_later_rows(self.folder / "log.jsonl", self.state.step)
        drop_later_rows(self.folder / "measured.jsonl", self.state.step if path.is_file() else -1)
        if 0 < self.state.step < self.settings.schedule.steps:
            self.report(f"learn: going on from step {self.state.step}")

    def _load(self, path: Path) -> None:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            self.rows.load_state_dict(content["rows"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.state = Learned(
                int(content["step"]),
                Best.of_state(content["best"]),
                dict(content["figures"]),
                bool(content["enough"]),
            )
            if self.accelerator.scaler is not None and content["scaler"] is not None:
                self.accelerator.scaler.load_state_dict(content["scaler"])
        except (
            RuntimeError,
            pickle.UnpicklingError,
            EOFError,
            OSError,
            ValueError,
            KeyError,
            TypeError,
        ) as error:
            raise DataError(
                f"{path}: this checkpoint is broken, or of another word; delete it to begin anew"
            ) from error


def _append(path: Path, figures: dict[str, float]) -> None:
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(figures) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
