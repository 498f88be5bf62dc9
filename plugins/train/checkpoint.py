"""Checkpoints of a stage, from which training goes on as if it had never stopped."""

from __future__ import annotations

import json
import pickle
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from sdcreative import DataError

from .ema import Ema


def save_checkpoint(
    path: Path, bundle: nn.Module, optimizer: Any, ema: Ema, name: str, step: int, scaler: Any
) -> None:
    """Write beside the target first, so that a checkpoint is whole or is not there."""
    state = {
        "name": name,
        "step": step,
        "modules": bundle.state_dict(),
        "optimizer": optimizer.state_dict(),
        "ema": ema.shadow,
        "ema_updates": ema.updates,
    }
    if scaler is not None:
        state["scaler"] = scaler.state_dict()
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    temporary.replace(path)


def load_checkpoint(
    path: Path, bundle: nn.Module, optimizer: Any, ema: Ema, name: str, scaler: Any
) -> int:
    """Restore everything in place; returns the number of steps done, 0 without a checkpoint.

    Raises:
        DataError: the file is broken, or is of a model of other shapes.
    """
    if not path.is_file():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError) as error:
        raise DataError(
            f"{path}: this checkpoint is broken; delete it to train {name} from the start"
        ) from error
    try:
        bundle.load_state_dict(state["modules"])
        optimizer.load_state_dict(state["optimizer"])
        for key, value in state["ema"].items():
            ema.shadow[key].copy_(value)
        ema.updates = int(state["ema_updates"])
        if scaler is not None and "scaler" in state:
            scaler.load_state_dict(state["scaler"])
        return int(state["step"])
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{path}: this checkpoint is of another {name} model; give another output folder"
        ) from error


def drop_later_rows(log: Path, step: int) -> None:
    """Drop what was logged after the checkpoint that training goes on from."""
    if not log.is_file():
        return
    lines = log.read_text("utf-8").splitlines()
    kept = [line for line in lines if _step_of(line) is not None and _step_of(line) <= step]
    if len(kept) < len(lines):
        log.write_text("".join(f"{line}\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> Any:
    """None for a line that was cut off when the process died."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return None


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold back Ctrl-C until the block is left, so that it cannot tear a state in two."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield
        return
    asked: list[int] = []
    signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        before(asked[0], None)
