"""Classes of pictures as numbers, for U-Nets that are told a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdcreative import DataError

from .pictures import Drawing


def class_names(drawings: Sequence[Drawing], of: str) -> tuple[str, ...]:
    """The classes that there are, in alphabetical order.

    Args:
        drawings: all of them, held-out ones too.
        of: group, name, style or colour.

    Raises:
        DataError: a picture has none, or all have the same.
    """
    names = sorted({class_of(drawing, of) for drawing in drawings})
    if "" in names:
        raise DataError(
            "condition class: a picture lies in no folder of its own; put the pictures of each "
            "class into a folder, and those into data.folder"
        )
    if len(names) < 2:
        raise DataError(f"condition class: all pictures have the same {of}, {', '.join(names)}")
    return tuple(names)


def class_of(drawing: Drawing, of: str) -> str:
    return str(getattr(drawing, of))


def numbers(drawings: Sequence[Drawing], of: str, names: Sequence[str]) -> np.ndarray:
    """The number of the class of each drawing, int64 (N,)."""
    place = {name: number for number, name in enumerate(names)}
    return np.array([place[class_of(drawing, of)] for drawing in drawings], dtype=np.int64)
