"""Runs `sdcreative learn` many times, as a person does: a script for ``forked_commands``.

Its argument is a JSON list of commands with ``name``, ``folder``, ``words`` and, where something is
to happen to it, ``at`` (the batch before whose loss it happens) and ``what``: kill, stop, or full,
after which no file may grow beyond 3000 bytes. Each leaves ``<name>.txt`` in its folder; printed is
a JSON object of exit codes by name, negative ones those of signals.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

from accelerate import Accelerator  # noqa: F401 - once for all commands
from transformers import CLIPModel  # noqa: F401

from sdcreative import load_pair
from sdcreative.cli import main
from sdcreative_plugins.train.inversion import job
from sdcreative_plugins.train.inversion.objective import WordObjective

FULL = 3000
# Once for all commands.
PAIR = load_pair("emoji", device="cpu")


def happen(what: str) -> None:
    if what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif what == "stop":
        os.kill(os.getpid(), signal.SIGINT)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (FULL, FULL))


def child(command: dict[str, Any]) -> None:
    os.chdir(command["folder"])
    log = os.open(f"{command['name']}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(log, 1)
    os.dup2(log, 2)
    loss, seen = WordObjective.loss, []

    def watched(*given: Any) -> Any:
        seen.append(1)
        if len(seen) == command.get("at"):
            happen(command["what"])
        return loss(*given)

    WordObjective.loss = watched  # type: ignore[method-assign]
    job.load_pair = lambda name, **where: PAIR  # type: ignore[assignment]
    try:
        main(command["words"])
    except SystemExit as done:
        sys.stdout.flush()
        os._exit(done.code)


def run(command: dict[str, Any]) -> int:
    pid = os.fork()
    if not pid:
        child(command)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    print(json.dumps({one["name"]: run(one) for one in json.loads(sys.argv[1])}))
