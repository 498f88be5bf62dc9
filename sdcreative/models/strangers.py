"""Files of strangers: opened only if they are files, read only so far, quoted on one line.

Imports no torch.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path
from typing import Any, BinaryIO

MOST_JSON = 1 << 24
"""bytes of a configuration; real ones have thousands"""
MOST_VOCABULARY = 1 << 27
"""bytes of a file of a tokenizer; the largest that are in use have 34 million"""
_SHOWN = 80
_LONGEST = 2000


def open_file(path: Path) -> BinaryIO:
    """A file to read bytes of.

    Raises:
        OSError: there is none, or it is a folder, a pipe or a device: opening these may wait for
            ever, and reading them too.
    """
    _refuse_others(path, path.stat())
    # It may have become a pipe in between; this way opening one does not wait.
    file = open(  # noqa: SIM115 - the caller closes it
        path, "rb", opener=lambda name, flags: os.open(name, flags | _NO_WAITING)
    )
    try:
        _refuse_others(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


def read_file(path: Path, most: int = MOST_JSON) -> bytes:
    """The content of a file.

    Raises:
        OSError: as ``open_file``; or it has more bytes than these.
    """
    with open_file(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"has more than {most:,} bytes", str(path))
    return content


def parse_json(content: bytes) -> Any:
    """What JSON says.

    Raises:
        ValueError: it is no JSON, or nested too deeply.
    """
    try:
        return json.loads(content.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def is_file(path: Path) -> bool:
    """Whether there is a file; a name that no file can have is that of none."""
    return os.path.isfile(path)


def is_folder(path: Path) -> bool:
    """Whether there is a folder; a name that no folder can have is that of none."""
    return os.path.isdir(path)


def at_home(name: str) -> Path:
    """A path in which ``~`` is the user's folder; that of a user who is not known stays."""
    return Path(os.path.expanduser(name))


def shown(value: object, limit: int = _SHOWN) -> str:
    """What a file says, for a message: on one line, without signs that command a terminal.

    >>> shown("a\\nb" + 90 * "c")[:8]
    'a\\\\nbcccc'
    """
    text = str(value)[: limit + 1]
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line if len(line) <= limit else line[: limit - 1] + "…"


def quoted(name: str, limit: int = 200) -> str:
    """A name that someone asked for, in quotes, for a message.

    >>> quoted("a\\nb")
    "'a\\\\nb'"
    """
    return repr(name if len(name) <= limit else f"{name[:limit]}…")


def said(error: BaseException, limit: int = 200) -> str:
    """What another library says is wrong, for a message."""
    return shown(" ".join(str(error)[:_LONGEST].split()) or type(error).__name__, limit)


_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def _refuse_others(path: Path, state: os.stat_result) -> None:
    if stat.S_ISDIR(state.st_mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder, not a file", str(path))
    if not stat.S_ISREG(state.st_mode):
        raise OSError(errno.EINVAL, "is a pipe or a device, not a file", str(path))
