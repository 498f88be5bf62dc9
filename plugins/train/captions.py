"""Captions of files: in a text beside each, or all in one JSONL or CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from sdcreative import DataError


class Captions:
    """Captions of the files of a folder: of one JSONL or CSV file, or of a .txt beside each.

    Attributes:
        files: that the captions file names.
    """

    def __init__(self, folder: Path, captions_file: str | None) -> None:
        """Read the captions file, if there is one.

        Raises:
            DataError: it cannot be read, or names a file that is not there.
        """
        self._table: Mapping[Path, Sequence[str]] = {}
        if captions_file:
            table = _read_table(folder / captions_file)
            for name in table:
                if not (folder / name).is_file():
                    raise DataError(f"{folder / captions_file}: names {name}, which is not there")
            self._table = {folder / name: captions for name, captions in table.items()}
        self.files = tuple(self._table)

    def of(self, path: Path, *, needed: bool = True) -> tuple[str, ...]:
        """Phrasings of what is in one file; an empty one if there is none, and none is needed.

        Raises:
            DataError: there is none, or it is no UTF-8 text.
        """
        captions, text = self._table.get(path, ()), path.with_suffix(".txt")
        if not captions and text.is_file():
            try:
                lines = text.read_text(encoding="utf-8-sig").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise DataError(f"{text}: cannot be read as UTF-8 text ({error})") from error
            captions = [line.strip() for line in lines if line.strip()]
        if not captions and not needed:
            return ("",)
        if not captions:
            raise DataError(f"{path}: no caption; write one into {text.name} or the captions file")
        return tuple(captions)


def _read_table(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise DataError(f"{path}: no such captions file")
    table: dict[str, list[str]] = {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix.lower() == ".csv":
                rows: list[Any] = list(csv.DictReader(file))
            else:
                rows = [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path}: cannot be read as captions ({error})") from error
    for number, row in enumerate(rows, 1):
        row = row if isinstance(row, dict) else {}
        name = row.get("file") or row.get("file_name")
        caption = row.get("caption") or row.get("text")
        if not (isinstance(name, str) and isinstance(caption, str) and caption.strip()):
            raise DataError(f"{path}: row {number} needs 'file' and 'caption', both as text")
        table.setdefault(PurePosixPath(name).as_posix(), []).append(caption.strip())
    return table
