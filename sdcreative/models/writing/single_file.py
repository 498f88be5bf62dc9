"""A model as one safetensors file in the original layout."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..fitting import prediction_of
from ..places import ModelPlace
from ..single_files.checkpoint import SingleFile
from ..single_files.layouts import V1, V3, XL, Layout
from ..sizes import sizes_of
from .casting import cast
from .fidelity import check_fidelity, check_words
from .layouts import layout_of, names_of
from .notes import default_notes, kept_notes, model_notes, source_notes
from .pieces import plan
from .stream import Planned, TensorFile
from .whole import Whole, takes_mask

if TYPE_CHECKING:
    from torch import Tensor

V_PREDICTION, ZERO_TERMINAL = "v_pred", "ztsnr"
"""tensors without numbers, by which AUTOMATIC1111 and ComfyUI know such models"""
_PROJECTION = "text_projection.weight"


class SingleFileToBe:
    """A single file that is planned.

    Args:
        whole: the model.
        place: where it is from, for the notes in the file.
        dtype: float32, float16, bfloat16, or None for what each tensor has.

    Attributes:
        size: of the file in bytes.
        notes: what people should know of it, a line each.

    Raises:
        ModelError: single files cannot hold this model.
    """

    def __init__(self, whole: Whole, place: ModelPlace, dtype: str | None) -> None:
        model, modules = whole.model, whole.modules
        check_words(model)
        self._whole, self._path = whole, place.path
        layout = layout_of(model.family.name, modules)
        planned = list(tensors_of(whole, layout))
        planned += markers(layout, model.scheduler)
        metadata = {
            **default_notes(place.path),
            **kept_notes(place.path, model.family.denoiser),
            **model_notes(model, layout, takes_mask(modules)),
            **source_notes(place),
        }
        self._file = TensorFile(cast(planned, dtype, place.path), metadata, whole.release)
        self.size = self._file.size
        self.notes = tuple(_lost(whole, layout))

    def write(self, path: Path) -> None:
        """Write it, once it is certain that it will be read as the same model.

        Raises:
            ModelError: it would not, or a number does not fit into the type.
            OSError: the disk is full or refuses.
        """
        self._file.begin(path)
        # T5's tokenizer is in no single file.
        swaps = (("tokenizer_3", self._path),) if "text_encoder_3" in self._whole.modules else ()
        try:
            read = SingleFile(ModelPlace(path, swaps=swaps))
        except ModelError as error:
            reason = str(error).replace(str(path), "it")
            raise ModelError(f"{self._path} cannot be a single file: {reason}") from None
        check_fidelity(self._whole, read, self._path)
        self._file.fill(path)


def tensors_of(whole: Whole, layout: Layout) -> Iterator[Planned]:
    """All tensors of a model by their original names.

    Raises:
        ModelError: the layout has no name for one.
    """
    for part, state in whole.states.items():
        yield from plan(state, names_of(layout, part, whole.modules[part], whole.model.path))


def markers(layout: Layout, scheduler: Mapping[str, object]) -> list[Planned]:
    """Tensors that say what the noise schedule and the predictions are, where they do."""
    import torch

    def nothing() -> Tensor:
        return torch.empty(0)

    names = []
    if layout in (V1, XL) and prediction_of(scheduler) == "v_prediction":
        names.append(V_PREDICTION)
    if scheduler.get("rescale_betas_zero_snr"):
        names.append(ZERO_TERMINAL)
    return [Planned(name, torch.float32, (0,), nothing) for name in names]


def _lost(whole: Whole, layout: Layout) -> Iterator[str]:
    """What is not in the file, but does not change what the model is."""
    import torch

    width, height = sizes_of(whole.model).own
    usual = {"v1": (512,), "v2": (512, 768), "xl": (1024,), "sd3": (512, 1024)}[layout.folder]
    if width != height or width not in usual:
        yield f"its own size, {width}x{height}, is only noted: most readers take {usual[-1]}"
    projection = whole.states["text_encoder"].get(_PROJECTION)
    if layout is V3 and projection is not None:
        eye = torch.eye(len(projection), dtype=projection.dtype)
        if not torch.equal(projection, eye):
            yield (
                "text_projection of its text_encoder is not the identity, which diffusers and "
                "ComfyUI take it for in single files"
            )
