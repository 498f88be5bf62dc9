"""A progress bar for the whole job."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from typing import Any


class Bar(AbstractContextManager["Bar"]):
    """A progress bar on standard error; its time left is for the whole job."""

    def __init__(self, evaluations: int, frames: int) -> None:
        """
        Args:
            evaluations: U-Net evaluations to come.
            frames: frames to come; 0 where pictures are only measured.
        """
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(file=sys.stderr)
        self._frames = frames
        self._progress: Any = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: Any = self._progress.add_task(
            f"frame 0/{frames}" if frames else "measuring the path", total=evaluations + frames
        )

    def advance(self, evaluations: int) -> None:
        self._progress.advance(self._task, evaluations)

    def frame(self, made: int) -> None:
        self._progress.update(self._task, advance=1, description=f"frame {made}/{self._frames}")

    def __enter__(self) -> Bar:
        self._progress.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._progress.stop()
