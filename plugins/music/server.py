"""An HTTP server that answers as riffusion-hobby's does, to this machine only unless told so."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from threading import BoundedSemaphore
from typing import Any

from .access import Access
from .answering import Handler
from .protocol import Riffer
from .riff_queue import RiffQueue

_CONNECTIONS = 64
"""beside those that wait in the queue"""


class RiffServer(ThreadingHTTPServer):
    """The server; ``run`` serves until ``shutdown`` or an exception such as Ctrl-C.

    Args:
        listener: a bound socket, see ``listen``; closed at the end.
        access: whom it answers.
        riffer: makes the clips.
        queue: how many requests may wait while one is answered.
        report: prints one line.
    """

    daemon_threads = True
    request_queue_size = 32
    request_seconds = 15.0
    """in which a request has to be here as a whole"""
    answer_seconds = 30.0
    """in which an answer has to be taken as a whole"""
    closing_seconds = 2.0
    """that those who still wait get for taking their refusal at the end"""

    def __init__(
        self,
        listener: socket.socket,
        access: Access,
        riffer: Riffer,
        queue: int,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(listener.getsockname()[:2], Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self.access, self.riffer, self.report = access, riffer, report
        self.queue = RiffQueue(riffer, queue)
        self._most = _CONNECTIONS + queue
        self._room = BoundedSemaphore(self._most)
        self.server_activate()

    def run(self) -> None:
        """Serve; at the end, whoever waits is told, and the clip that is being made is given up."""
        try:
            self.serve_forever(poll_interval=0.1)
        finally:
            self.server_close()
            self.queue.stop()
            end = time.monotonic() + self.closing_seconds
            for _ in range(self._most):
                if not self._room.acquire(timeout=max(0.0, end - time.monotonic())):
                    break

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread, of which there are so many and no more."""
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except RuntimeError:  # no thread to be had
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news; anything else is a fault of ours, in one line."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            self.report(f"error: unexpected {type(error).__name__}: {error}")
