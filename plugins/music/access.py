"""Where the server listens, whom it answers, and for how long it does."""

from __future__ import annotations

import io
import ipaddress
import os
import re
import socket
import time
from dataclasses import dataclass
from typing import Any

from sdcreative import UsageError

ORIGINS = ("http://localhost:3000", "http://127.0.0.1:3000")
"""where riffusion-app runs"""
_OWN_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_EVERYWHERE = ("0.0.0.0", "::")


@dataclass(frozen=True)
class Access:
    """Whom the server answers.

    A web page anywhere can have its own name point to this machine (DNS rebinding), and any page
    can send requests without reading the answers: the first is told by the Host that the browser
    sends, the second by its Origin.

    Attributes:
        host: the name or address that the server was told to listen on.
        origins: such as "http://localhost:3000"; pages from elsewhere are refused.
    """

    host: str
    origins: frozenset[str]

    @classmethod
    def of(cls, host: str, origins: tuple[str, ...]) -> Access:
        """Access by a host and origins as they were typed.

        Raises:
            UsageError: no origin.
        """
        found = set()
        for typed in origins:
            origin = typed.lower().removesuffix("/")
            if not re.fullmatch(r"https?://(\[[0-9a-f:]+\]|[^/:\s\[\]]+)(:\d{1,5})?", origin):
                raise UsageError(
                    f"--allow-origin {typed}: is no origin; give such as http://localhost:3000"
                )
            found.add(origin)
        return cls(host.strip("[]").lower(), frozenset(found))

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in _OWN_NAMES or (
            _is_address(self.host) and ipaddress.ip_address(self.host).is_loopback
        )

    def knows_host(self, given: list[str]) -> bool:
        """Whether the Host fields of a request are one, and a name of this server.

        A server that listens everywhere has many addresses; addresses cannot be rebound.
        """
        if len(given) != 1:
            return False
        match = re.fullmatch(r"(?:\[([^\]]+)\]|([^:\[\]]+))(?::\d{1,5})?", given[0].strip().lower())
        if match is None:
            return False
        name = match[1] or match[2]
        if self.host in _EVERYWHERE and _is_address(name):
            return True
        return name == self.host or name in _OWN_NAMES


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to a host and port; it takes no connections yet.

    Args:
        host: name or address of this machine.
        port: 0 takes any that is free.

    Raises:
        UsageError: no such host, or the port is in use or not allowed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise UsageError(f"--host {host}: is no address of this machine ({error})") from error
    listener = socket.socket(family, kind, protocol)
    try:
        # On Windows this would let two programs have one port.
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        listener.close()
        reason = error.strerror or error
        raise UsageError(
            f"--host {host} --port {port}: cannot be listened on ({reason}); choose another --port"
        ) from error
    return listener


class Incoming(io.RawIOBase):
    """What a client sends, up to a point in time: many slow bytes do not last longer than one."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        self._connection = connection
        self.allow(seconds)

    def allow(self, seconds: float) -> None:
        """So much time from now on."""
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("the request takes too long")
        self._connection.settimeout(left)
        return self._connection.recv_into(buffer)
