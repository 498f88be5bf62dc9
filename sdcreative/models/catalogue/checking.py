"""Whether a model will load, found out with no weight or with all of them read."""

from __future__ import annotations

from pathlib import Path

from ..opening import Source, open_model


def check_model(path: Path) -> Source:
    """A model, all of whose structure has been looked at: every weight's name and shape.

    No weight is read.

    Raises:
        ModelError: why it would not load.
    """
    import torch

    from ..loading import load_parts

    load_parts(path, device=torch.device("meta"), dtype=torch.float32)
    return open_model(path)


def load_model(path: Path) -> None:
    """Load a model on the CPU, in float32, and let go of it.

    Raises:
        ModelError: why it cannot be loaded.
    """
    import torch

    from ..loading import load_parts

    load_parts(path, device=torch.device("cpu"), dtype=torch.float32)
