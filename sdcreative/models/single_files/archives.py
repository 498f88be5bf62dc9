"""The zip archive around a pickled checkpoint, looked at before torch unpacks it.

torch stores what it writes. An archive of another hand can hold a few bytes that unpack to
terabytes, or the same bytes as many files, and torch would take the memory for all.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

from ..strangers import open_file, shown

_MOST_FILES = 200_000
_MOST_PICKLE = 1 << 26
"""bytes; that of a checkpoint of 7 GB has 300,000"""


def archive_fault(path: Path) -> str | None:
    """What no archive of torch has, as the end of a sentence; None for a sound one.

    Args:
        path: of a file that begins as a zip archive does.
    """
    try:
        with open_file(path) as file, zipfile.ZipFile(file) as archive:
            files, size = archive.infolist(), file.seek(0, 2)
    except (OSError, ValueError, LookupError, NotImplementedError, zipfile.BadZipFile):
        return "is no whole archive"
    if len(files) > _MOST_FILES:
        return f"holds {len(files):,} files"
    for one in files:
        if one.compress_type != zipfile.ZIP_STORED or one.file_size != one.compress_size:
            return f"would unpack to more than it is ({shown(one.filename)})"
        if one.filename.endswith("data.pkl") and one.file_size > _MOST_PICKLE:
            return f"holds a table of {one.file_size:,} bytes"
    if sum(one.file_size for one in files) > size:
        return f"holds more than its {size:,} bytes"
    return None
