"""The reference of learning.py in a process of its own, a portion of steps at a time.

So it takes turns with the tool, and what else the machine does slows both alike; and nothing in its
process is as this project has it: diffusers loads the model, and memory is had as glibc gives it.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from learning_reference import Item, Recipe, learn_reference
from sdcreative.models.sources import fetch, resolve

_MEMORY = "GLIBC_TUNABLES"
"""where it is in the environment, this project leaves memory alone"""
STEP = re.compile(r"learn (\d+)/\d+  (loss|validation)")
"""how the tool tells of a portion of steps, and of a look at pictures"""


class Beside:
    """The reference, waiting for its turns.

    Attributes:
        ours, theirs: seconds of a step, one figure for each turn.
    """

    def __init__(self, connection: Connection[Any, Any]) -> None:
        self._connection = connection
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self._step, self._since = 0, time.perf_counter()
        self._rows: Tensor | None = None

    def after(self, report: Callable[[str], None]) -> Callable[[str], None]:
        """A report for the tool: whenever that says a step, it is the reference's turn."""

        def read(line: str) -> None:
            report(line)
            said = STEP.match(line)
            if said is None:
                return
            step = int(said[1])
            if said[2] == "loss":
                self.ours.append((time.perf_counter() - self._since) / (step - self._step))
                self._turn(report)
            # A look at pictures, which is told afterwards, is no part of a step.
            self._step, self._since = step, time.perf_counter()

        return read

    def _turn(self, report: Callable[[str], None]) -> None:
        if self._rows is not None:
            return
        self._connection.send(True)
        seconds, self._rows = self._connection.recv()
        if seconds is not None:
            self.theirs.append(seconds)
            report(f"reference: {1 / seconds:.2f} steps/s")

    def rows(self, report: Callable[[str], None]) -> Tensor:
        """Train to the end, however far the turns came; the rows (n, width)."""
        while self._rows is None:
            self._turn(report)
        return self._rows


@contextmanager
def reference(
    model: str, token: str, began: Tensor, items: Sequence[Item], recipe: Recipe
) -> Iterator[Beside]:
    """``learn_reference`` in a new process; the arguments are its, and the name of a model."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(
        target=_serve, args=(there, model, token, began, items, recipe), daemon=True
    )
    with patch.dict(os.environ, {_MEMORY: ""}):
        process.start()
    there.close()
    try:
        yield Beside(here)
    finally:
        here.close()
        process.join()


def _serve(
    connection: Connection[Any, Any],
    model: str,
    token: str,
    began: Tensor,
    items: Sequence[Item],
    recipe: Recipe,
) -> None:
    training = learn_reference(parts_of(model), token, began, items, recipe)
    while True:
        try:
            connection.recv()
        except EOFError:
            return
        try:
            answer: tuple[float | None, Tensor | None] = (next(training), None)
        except StopIteration as end:
            answer = (None, end.value)
        connection.send(answer)


def quiet_seconds(each: Sequence[float]) -> float:
    """The lower quartile of timings: other programs on the machine only add to them."""
    return float(np.quantile(each, 0.25))


def parts_of(model: str) -> Any:
    """A model's parts as diffusers' pipeline has them."""
    from diffusers import StableDiffusionPipeline

    loading: Any = StableDiffusionPipeline
    pipe = loading.from_pretrained(
        fetch(resolve(model)), torch_dtype=torch.float32, safety_checker=None
    )
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False)
    return SimpleNamespace(
        tokenizer=pipe.tokenizer,
        text_encoder=pipe.text_encoder,
        unet=pipe.unet,
        vae=pipe.vae,
        context=pipe.tokenizer.model_max_length,
        scheduler_config=dict(pipe.scheduler.config),
        prediction_type=pipe.scheduler.config.prediction_type,
    )
