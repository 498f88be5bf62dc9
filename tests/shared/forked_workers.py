"""A small film, and workers that are forked: they have all imported, and start in no time."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import IO, Any

from PIL import Image

from sdcreative.produce import produce
from sdcreative.runs.home import frames_folder
from sdcreative.spreading.process import serve
from sdcreative_plugins.animate import sdcreative_tools
from sdcreative_plugins.animate.settings import AnimateSettings


class ForkedProcess:
    """What ``Processes`` needs of a ``Popen``."""

    def __init__(self, log: IO[bytes]) -> None:
        orders, answers = os.pipe(), os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.dup2(log.fileno(), 2)
            os.close(orders[1])
            os.close(answers[0])
            try:
                serve(os.fdopen(orders[0], "rb"), os.fdopen(answers[1], "wb"))
            finally:
                os._exit(0)
        os.close(orders[0])
        os.close(answers[1])
        self.stdin, self.stdout = os.fdopen(orders[1], "wb"), os.fdopen(answers[0], "rb")
        self._code: int | None = None

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self._code is None:
            try:
                self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            except ChildProcessError:  # another thread has waited
                self._code = -signal.SIGKILL
        return self._code


def settings(output: str = "film/", **changes: Any) -> AnimateSettings:
    """A film of nine frames, in batches of two."""
    prompts = ["a picture of a bear", "a picture of a red apple", "a picture of a cat"]
    given = {"keyframes": prompts, "frames": 9, "steps": 2, "seed": 3, "batch_size": 2}
    return AnimateSettings(**(given | {"device": "cpu", "output": output} | changes))


def render(
    output: str = "film/", spread: Any = None, keep: bool = True, **changes: Any
) -> list[str]:
    """Render it; what was reported."""
    lines: list[str] = []
    [tool] = sdcreative_tools()
    produce(
        tool,
        settings(output, **changes),
        default_name="film",
        overwrite=False,
        dry_run=False,
        report=lines.append,
        keep=keep,
        spread=spread,
    )
    return lines


def frames() -> dict[str, bytes]:
    """Files of all finished frames."""
    return {path.name: path.read_bytes() for path in frames_folder().rglob("*.png")}


def pictures(folder: str = "film") -> list[bytes]:
    return [Image.open(path).tobytes() for path in sorted(Path(folder).glob("*.png"))]
