"""A file written anew, piece by piece, out of its old contents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ..errors import DataError, OutputError


@contextmanager
def rewritten(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when it is whole, or leaves no trace.

    Raises:
        OutputError: what is there turned out not to be what it begins as.
        OSError: from the disk.
    """
    beside = path.with_name(path.name + ".tags")
    try:
        with beside.open("wb") as new:
            yield new
        beside.replace(path)
    except DataError as error:
        raise OutputError(str(error)) from error
    finally:
        beside.unlink(missing_ok=True)
