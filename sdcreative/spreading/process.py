"""``python -m sdcreative.spreading.process``: a worker that is told by its standard input."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from typing import IO

from .messages import receive, send


def serve(orders: IO[bytes], answers: IO[bytes]) -> None:
    """Work until there is nothing more to read; an error is told, and ends it."""
    # Ctrl-C is for the driver, which ends its workers itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from .worker import Worker, failure

    with suppress(BrokenPipeError):
        try:
            worker = Worker.load(receive(orders))
            send(answers, worker.ready)
            while (task := receive(orders)) is not None:
                for event in worker.render(task):
                    send(answers, event)
        except BrokenPipeError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the driver says it in one line
            send(answers, failure(error))


def main() -> None:
    """Whatever a library prints goes to standard error, as standard output is for answers."""
    answers, orders = os.fdopen(os.dup(1), "wb"), os.fdopen(os.dup(0), "rb")
    os.dup2(2, 1)
    sys.stdin.close()
    serve(orders, answers)


if __name__ == "__main__":
    main()
