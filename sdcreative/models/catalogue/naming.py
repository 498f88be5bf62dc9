"""From a name to what it means on this machine; nothing is downloaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from ..shelves import KINDS, look_up
from ..sources import builtin_names, fetch, resolve
from ..strangers import at_home


def find_thing(name: str, models_dir: Sequence[Path | str]) -> Path:
    """The model, LoRA, embedding or other file that a name means.

    Args:
        name: whatever ``model:`` takes, or the name of anything in a models folder.
        models_dir: folders as ``shelves`` reads them.

    Raises:
        ModelError: there is none, or it is on the hub and not in its cache.
        UsageError: several are named so.
    """
    path = at_home(name)
    if name not in builtin_names() and not (name and os.path.exists(path)):
        for kind in KINDS:
            if found := look_up(kind, name, models_dir):
                return found
    return fetch(resolve(name, offline=True, models_dir=models_dir), offline=True)
