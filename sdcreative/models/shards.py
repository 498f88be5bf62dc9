"""Weights that are split among several files, by the table of their index. Imports no torch."""

from __future__ import annotations

from pathlib import Path

from ..errors import ModelError
from .strangers import is_file, parse_json, read_file, shown


def shard_names(index: Path, part: str) -> tuple[str, ...]:
    """Names of the files among which weights are split, whether they are there or not.

    Args:
        index: such as ``model.safetensors.index.json``, in the folder of the files.
        part: what the weights are of, for the messages.

    Raises:
        ModelError: no such table, or one that names files of other folders.
    """
    try:
        content = parse_json(read_file(index))
    except (OSError, ValueError):
        content = None
    table = content.get("weight_map") if isinstance(content, dict) else None
    names = list(table.values()) if isinstance(table, dict) else []
    if not names or not all(isinstance(name, str) for name in names):
        raise ModelError(f"weights of {part}: {index} has no weight_map; download it again")
    for name in names:
        if name in ("", "..") or Path(name).name != name or "\\" in name:
            raise ModelError(
                f"weights of {part}: {index} names {shown(name)!r}, outside of its "
                "folder: it is not trusted"
            )
    return tuple(sorted(set(names)))


def find_shards(index: Path, part: str) -> tuple[Path, ...]:
    """The files that an index names.

    Raises:
        ModelError: as ``shard_names``; or one of them is missing.
    """
    names = shard_names(index, part)
    for name in names:
        if not is_file(index.parent / name):
            raise ModelError(
                f"weights of {part} are missing: {index.name} names {shown(name)}, which is not in "
                f"{index.parent}"
            )
    return tuple(index.parent / name for name in names)
