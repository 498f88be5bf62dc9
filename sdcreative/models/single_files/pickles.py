"""Pickled checkpoints, read without running anything that is in them.

Only ``torch.load(weights_only=True)`` is used, and only with a torch in which it holds
(CVE-2025-32434, CVE-2026-24747). Nothing falls back to an ordinary pickle.
"""

from __future__ import annotations

import pickle
import re
import struct
import warnings
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..strangers import open_file, shown
from .archives import archive_fault

# What checkpoints of training scripts hold beside tensors; nothing of it is wanted.
_IGNORED = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "torch.nn.modules.container.ParameterDict",
    "_codecs.encode",
)
ZIP = b"PK\x03\x04"
_READ_OTHERWISE = (".safetensors", ".dduf")
# What torch's reader may stumble over in a damaged or hostile file.
_STUMBLES = (
    RuntimeError, OSError, EOFError, ValueError, LookupError, TypeError, AttributeError,
    ArithmeticError, AssertionError, MemoryError, struct.error,
)  # fmt: skip


class Ignored:
    """Stands for an object of another library: takes anything, does nothing, keeps nothing."""

    def __new__(cls, *given: Any, **named: Any) -> Ignored:
        return super().__new__(cls)

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def read_pickle(path: Path, what: str) -> Any:
    """The content of a pickled file on the CPU; tensors stay on the disk until they are used.

    Args:
        path: starts with the bytes of a pickle or of a zip archive.
        what: "weights of unet", for the messages.

    Raises:
        ModelError: it holds objects other than tensors and tables (their name is said), it is
            damaged, or this torch cannot be trusted with it.
    """
    import torch

    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < (2, 10):
        raise ModelError(
            f"{what} are a pickle ({path}); that needs torch 2.10 or newer, this is "
            f"{torch.__version__}: get the model as safetensors"
        )
    try:
        with open_file(path) as file:
            zipped = file.read(4) == ZIP
        if zipped and (fault := archive_fault(path)):
            raise ModelError(f"{what} are damaged: {path} {fault}; download it again")
        with (
            open_file(path) as file,
            warnings.catch_warnings(),
            torch.serialization.safe_globals([(Ignored, name) for name in _IGNORED]),
        ):
            warnings.simplefilter("ignore")
            # Only files by name are mapped; of those, torch goes by the ending.
            mapped = zipped and path.suffix.lower() not in _READ_OTHERWISE
            return torch.load(
                path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped
            )
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S{1,120})", str(error))
        if found is None:
            raise _damaged(path, what) from None
        raise ModelError(
            f"{what} are a pickle that would run code: {path} asks for {shown(found[1])} and is "
            "refused; get the model as safetensors"
        ) from None
    except _STUMBLES:
        raise _damaged(path, what) from None


def _damaged(path: Path, what: str) -> ModelError:
    return ModelError(f"{what} are damaged: {path}; download it again")
