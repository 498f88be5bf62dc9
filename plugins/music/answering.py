"""One request over HTTP: what it may ask for, and what it is answered."""

from __future__ import annotations

import io
import json
import re
import socket
import time
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast

from sdcreative import SdcreativeError, UsageError

from .access import Incoming
from .protocol import Riff, read_request, write_answer
from .riff_queue import Full, Job, Left

if TYPE_CHECKING:
    from .server import RiffServer

LARGEST = 1 << 20
"""bytes in a request"""
METHODS = {"/": ("GET", "HEAD"), "/run_inference/": ("POST",), "/run_inference": ("POST",)}
_LOOK = 0.2
"""seconds from one look at whether a client is still there to the next"""
_DRAINED, _DRAIN_SECONDS = 16 * LARGEST, 2.0
_TEXT, _JSON = "text/plain; charset=utf-8", "application/json"


class Refusal(Exception):  # noqa: N818 - an answer like others
    """What a request is refused with.

    Attributes:
        status: of HTTP.
        text: one line; it may quote the request.
        headers: beside the usual ones.
    """

    def __init__(self, status: HTTPStatus, text: str, **headers: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = "".join(letter if letter.isprintable() else "?" for letter in text)
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class Handler(BaseHTTPRequestHandler):
    """One request; the connection is closed after it."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sdcreative", ""
    _unread = 0

    @property
    def _host(self) -> RiffServer:
        return cast("RiffServer", self.server)

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._incoming = Incoming(self.connection, self._host.request_seconds)
        self.rfile = io.BufferedReader(self._incoming)

    def _serve(self) -> None:
        try:
            length = self._check()
            if self.command == "OPTIONS":
                self._preflight()
            elif self.command == "POST":
                self._answer_riff(self._body(length))
            else:
                self._answer(HTTPStatus.OK, json.dumps(self._state()).encode(), _JSON)
        except Refusal as refusal:
            self._refuse(refusal)

    do_GET = do_HEAD = do_POST = do_OPTIONS = _serve  # noqa: N815
    do_PUT = do_DELETE = do_PATCH = do_TRACE = do_CONNECT = _serve  # noqa: N815

    def handle_expect_100(self) -> bool:
        """A client that asks before it sends a body is told at once where that is not wanted."""
        try:
            self._check()
        except Refusal as refusal:
            self._unread = 0
            self._refuse(refusal)
            return False
        return super().handle_expect_100()

    def _check(self) -> int:
        """The length of the body.

        Raises:
            Refusal: of what can be told without the body.
        """
        access = self._host.access
        lengths = self.headers.get_all("Content-Length", [])
        is_length = len(lengths) == 1 and re.fullmatch("[0-9]{1,15}", lengths[0])
        self._unread = int(lengths[0]) if is_length else 0
        if not access.knows_host(self.headers.get_all("Host", [])):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "the Host of this request is not this server; use 127.0.0.1, localhost or --host",
            )
        origin = self.headers.get("Origin")
        if origin is not None and origin not in access.origins:
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "pages of this origin are not answered; the server's --allow-origin names some",
            )
        methods = METHODS.get(self.path.partition("?")[0])
        if methods is None:
            raise Refusal(HTTPStatus.NOT_FOUND, "there are / and /run_inference/ here")
        if self.command not in (*methods, "OPTIONS"):
            raise Refusal(
                HTTPStatus.METHOD_NOT_ALLOWED,
                f"this is for {' and '.join(methods)}",
                Allow=", ".join((*methods, "OPTIONS")),
            )
        if self.command == "POST":
            if "Transfer-Encoding" in self.headers or not lengths:
                raise Refusal(HTTPStatus.LENGTH_REQUIRED, "send the body with a Content-Length")
            if not is_length:
                raise Refusal(HTTPStatus.BAD_REQUEST, "Content-Length is no whole number")
            if self._unread > LARGEST:
                raise Refusal(
                    HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                    f"the body has {self._unread} bytes; up to {LARGEST} are read",
                )
        return self._unread

    def _body(self, length: int) -> bytes:
        try:
            body = self.rfile.read(length)
        except TimeoutError:
            self._unread = 0
            seconds = self._host.request_seconds
            raise Refusal(
                HTTPStatus.REQUEST_TIMEOUT, f"the request was not here in {seconds:g} seconds"
            ) from None
        self._unread = 0
        if len(body) < length:
            raise Refusal(
                HTTPStatus.BAD_REQUEST, f"the body ends after {len(body)} of {length} bytes"
            )
        return body

    def _answer_riff(self, body: bytes) -> None:
        began = time.monotonic()
        try:
            job = self._host.queue.put(read_request(body))
        except UsageError as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from error
        except Full as full:
            if full.seconds is None:
                raise _closing() from full
            raise Refusal(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"{self._host.queue.most} requests wait behind the one at work; try again later",
                Retry_After=str(full.seconds),
            ) from full
        while not job.done.wait(_LOOK):
            if self._is_gone():
                job.leave()
                self._host.report("POST /run_inference/: the client went away")
                self.close_connection = True
                return
        riff = _result(job)
        self._answer(HTTPStatus.OK, write_answer(riff), _JSON, seconds=time.monotonic() - began)

    def _is_gone(self) -> bool:
        self.connection.settimeout(0)
        try:
            return not self.connection.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _state(self) -> dict[str, Any]:
        making, waiting = self._host.queue.counts()
        return {
            "model": self._host.riffer.model,
            "making": making,
            "waiting": waiting,
            "queue": self._host.queue.most,
            "seed_images": list(self._host.riffer.seed_images),
        }

    def _preflight(self) -> None:
        """What a browser asks before it sends a page's request (Fetch standard, 4.8)."""
        methods = ", ".join((*METHODS[self.path.partition("?")[0]], "OPTIONS"))
        headers = {"Allow": methods}
        if "Origin" in self.headers:
            headers |= {
                "Access-Control-Allow-Methods": methods,
                "Access-Control-Allow-Headers": "*",
                "Access-Control-Max-Age": "600",
            }
        self._answer(HTTPStatus.NO_CONTENT, b"", None, headers)

    def _refuse(self, refusal: Refusal) -> None:
        self._answer(refusal.status, f"{refusal.text}\n".encode(), _TEXT, refusal.headers)
        self._report(f"{refusal.status.value} {refusal.text}")
        self._drain()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What is found wrong before the request is read; in plain text like all else."""
        status = HTTPStatus(code)
        self._answer(status, f"{message or status.phrase}\n".encode(), _TEXT)
        self._report(f"{code} {status.phrase}")

    def _answer(
        self,
        status: HTTPStatus,
        body: bytes,
        kind: str | None,
        headers: Mapping[str, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        self.connection.settimeout(self._host.answer_seconds)
        self.send_response(status)
        fields = {"Connection": "close", "X-Content-Type-Options": "nosniff", **(headers or {})}
        if kind is not None:
            fields |= {"Content-Type": kind, "Content-Length": str(len(body))}
        # Not there before the request is parsed.
        given: Mapping[str, str] = getattr(self, "headers", None) or {}
        fields["Vary"] = "Origin"
        if given.get("Origin") in self._host.access.origins:
            fields["Access-Control-Allow-Origin"] = given["Origin"]
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        if seconds is not None:
            self._report(f"{status.value} in {seconds:.1f} s")

    def _drain(self) -> None:
        """Read what is still sent: closing before would take the answer away from the client."""
        left = min(self._unread, _DRAINED)
        self._incoming.allow(_DRAIN_SECONDS)
        try:
            self.connection.shutdown(socket.SHUT_WR)
            while left > 0 and (part := self.rfile.read1(1 << 16)):
                left -= len(part)
        except OSError:
            return

    def _report(self, text: str) -> None:
        path = ascii(getattr(self, "path", "")).strip("'")[:80]
        self._host.report(f"{self.command or '-'} {path}: {text}")

    def log_message(self, *args: Any) -> None:
        """Said by ``_report``."""


def _closing() -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "the server is being stopped")


def _result(job: Job) -> Riff:
    """The clip.

    Raises:
        Refusal: there is none.
    """
    if job.future.cancelled():
        raise _closing()
    error = job.future.exception()
    if error is None:
        return job.future.result()
    if isinstance(error, Left):
        raise _closing() from error
    text, status = str(error), HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(error, UsageError):
        status = HTTPStatus.BAD_REQUEST
    elif not isinstance(error, SdcreativeError):
        text = f"unexpected {type(error).__name__}: {(text.splitlines() or [''])[0]}"
    raise Refusal(status, text) from error
