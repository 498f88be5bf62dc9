"""Commands of ``sdcreative``, each a process of its own that starts in no time.

They are forked from one process that has imported all, and end as a process does that was started
from a shell. That process is this file, run as a script: it reads a request a line in JSON, and
answers each with a line.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 300.0
"""seconds after which a command counts as hanging"""


class Commands:
    """The process that is forked; close it when no more commands are to be started."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._count = 0

    def run(
        self, *words: str, cwd: Path, script: str = "", **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Wait for a command; see ``start``."""
        return self.start(*words, cwd=cwd, script=script, **environment).wait()

    def start(self, *words: str, cwd: Path, script: str = "", **environment: str) -> Command:
        """Start ``sdcreative`` with such words, or a script.

        Args:
            words: behind the name of the command.
            cwd: its folder.
            script: Python code in place of the command; the words are its ``sys.argv[1:]``.
            environment: what is added to that of the tests.
        """
        self._count += 1
        files = [cwd / f".command-{self._count}-{name}" for name in ("out", "err", "script")]
        files[2].write_text(script, encoding="utf-8")
        pid = self.ask(
            words=words,
            folder=str(cwd),
            environment={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            files=[*map(str, files[:2])],
            script=script and str(files[2]),
        )
        return Command(self, pid, words, files)

    def ask(self, **request: Any) -> Any:
        """What is answered to a request."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return json.loads(self._server.stdout.readline())

    def close(self) -> None:
        self._server.kill()
        self._server.communicate()


class Command:
    """One that has been started."""

    def __init__(
        self, commands: Commands, pid: int, words: Sequence[str], files: Sequence[Path]
    ) -> None:
        self.pid, self._commands, self._words, self._files = pid, commands, words, files
        self._code: int | None = None

    def ended(self) -> bool:
        if self._code is None:
            self._code = self._commands.ask(pid=self.pid)
        return self._code is not None

    def wait(self) -> subprocess.CompletedProcess[str]:
        """What it said, and its exit code; a negative one is that of a signal."""
        until = time.monotonic() + PATIENCE
        while not self.ended():
            if time.monotonic() > until:
                os.kill(self.pid, signal.SIGKILL)
            time.sleep(0.01)
        assert self._code is not None
        said = [file.read_text("utf-8") for file in self._files[:2]]
        for file in self._files:
            file.unlink()
        return subprocess.CompletedProcess(self._words, self._code, *said)


def _import_all() -> None:
    import torch

    torch.set_num_threads(1)
    import diffusers
    import rich.progress
    import transformers

    import sdcreative.models.solvers
    import sdcreative.produce
    import sdcreative.rendering.overlapping
    import sdcreative.rendering.previewing
    import sdcreative.rendering.warming
    import sdcreative.soundtrack
    import sdcreative.studio
    import sdcreative_plugins.animate.timeline
    from sdcreative.host import Host

    for name in ("AutoencoderKL", "UNet2DConditionModel"):
        getattr(diffusers, name)
    for name in ("CLIPTextConfig", "CLIPTextModel", "CLIPTokenizer"):
        getattr(transformers, name)
    assert Host.load().tools
    del rich, sdcreative, sdcreative_plugins
    gc.freeze()  # what is here by now is not copied into forks to be looked through


def _become(request: Mapping[str, Any], answers: int) -> None:
    """Be the process that was asked for."""
    os.close(answers)
    nothing, *files = [
        os.open(name, flags, 0o600)
        for name, flags in (
            (os.devnull, os.O_RDONLY),
            *((name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in request["files"]),
        )
    ]
    for number, file in enumerate((nothing, *files)):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["script"]:
        sys.argv = [request["script"], *request["words"]]
        runpy.run_path(request["script"], run_name="__main__")
    else:
        from sdcreative.cli import main

        main(request["words"])


def _end(work: Callable[..., None], *given: Any) -> NoReturn:
    """Do the last work of this process, and end as Python does; nothing is taken apart, though."""
    code: Any = 0
    try:
        work(*given)
    except SystemExit as said:
        code = said.code or 0
    except BaseException:  # noqa: BLE001 - told as Python tells it
        sys.excepthook(*sys.exc_info())
        code = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _ended(pid: int) -> int | None:
    """The exit code of a process, or None while it runs."""
    found, status = os.waitpid(pid, os.WNOHANG)
    return os.waitstatus_to_exitcode(status) if found else None


def _serve() -> None:
    """Fork until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    _import_all()
    # By its number: nothing that was read ahead may be a fork's.
    waiting = b""
    while True:
        while b"\n" not in waiting:
            more = os.read(0, 1 << 16)
            if not more:
                return
            waiting += more
        line, _, waiting = waiting.partition(b"\n")
        request = json.loads(line)
        if "pid" in request:
            answer = _ended(request["pid"])
        else:
            answer = os.fork()
            if not answer:
                _end(_become, request, answers)
        os.write(answers, json.dumps(answer).encode() + b"\n")


if __name__ == "__main__":
    _serve()
