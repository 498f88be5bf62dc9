"""A model from one form to another: single file and diffusers folder, both ways."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ...errors import ModelError
from ..facts import reading_notes
from ..places import ModelPlace
from .autoencoders import open_source
from .copying import CopyToBe
from .folder import FolderToBe
from .single_file import SingleFileToBe
from .whole import read_whole


class Conversion(Protocol):
    """A model that is planned in its new form; nothing is written yet.

    Attributes:
        size: of its weights in bytes.
        notes: what people should know of it, a line each.
    """

    size: int
    notes: tuple[str, ...]

    def write(self, path: Path) -> None:
        """Write it: to a file, or into a folder that is there and empty.

        Raises:
            ModelError: it would be read as another model, or a number does not fit into the type.
            OSError: the disk is full or refuses.
        """


def plan_conversion(place: ModelPlace, *, to_file: bool, dtype: str | None = None) -> Conversion:
    """A model in another form; its weights are read, one at a time, when they are written.

    From file to file all tensors are copied, also those that no model needs; only ``ema`` leaves
    out what it replaces. Such a file need be no model, if nothing is asked of it as one.

    Args:
        place: of the model, how it is read, and another autoencoder, as ``open_source`` has it.
        to_file: to a single file in the original layout; else to a folder.
        dtype: float32, float16 or bfloat16; None leaves each tensor's own, bit for bit.

    Raises:
        ModelError: the model, or the autoencoder, is missing, broken, or cannot have this form.
    """
    copied = to_file and place.path.is_file()
    as_model = place.ema or place.prediction_type is not None or place.swaps
    if copied and not as_model and (reason := _no_model(place)):
        conversion: Conversion = CopyToBe(place, dtype, None)
        conversion.notes = (f"copied tensor by tensor, whatever it is: {reason}",)
        return conversion
    whole = read_whole(open_source(place))
    if copied:
        conversion = CopyToBe(place, dtype, whole)
    elif to_file:
        conversion = SingleFileToBe(whole, place, dtype)
    else:
        conversion = FolderToBe(whole, place, dtype)
    conversion.notes = (*reading_notes(place), *conversion.notes)
    return conversion


def _no_model(place: ModelPlace) -> str | None:
    try:
        open_source(place)
    except ModelError as error:
        return str(error)
    return None
