"""A single file again, tensor by tensor, under the same names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ModelError
from ..fitting import prediction_of
from ..places import ModelPlace
from ..single_files.layouts import EMA, UNET, VAE
from ..single_files.reading import open_tensors
from .casting import cast
from .layouts import layout_of, names_of
from .notes import default_notes, kept_notes, model_notes, source_notes
from .pieces import plan
from .single_file import V_PREDICTION, markers
from .stream import Planned, TensorFile
from .whole import Whole, takes_mask

if TYPE_CHECKING:
    from torch import Tensor

# The noise schedule, of which every reader makes its own, with more digits.
_SCHEDULE = (
    "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
    "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod",
    "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped",
    "posterior_mean_coef1", "posterior_mean_coef2", "logvar", "denoiser.sigmas",
)  # fmt: skip


class CopyToBe:
    """A copy of a single file that is planned: what it holds, safe, in another type, or pruned.

    Args:
        place: the file, whether its averaged weights are taken, and the last ones left out, and
            where another autoencoder is.
        dtype: float32, float16, bfloat16, or None for what each tensor has.
        whole: the model that it is; None for a file that is no whole model, such as an autoencoder
            or a LoRA in a pickle.

    Attributes:
        size: of the file in bytes.
        notes: what people should know of it, a line each.

    Raises:
        ModelError: numbers of a type that safetensors lacks.
    """

    notes: tuple[str, ...] = ()

    def __init__(self, place: ModelPlace, dtype: str | None, whole: Whole | None) -> None:
        opened = open_tensors(place.path)
        tensors = _averaged(dict(opened.tensors)) if place.ema else dict(opened.tensors)
        notes = default_notes(place.path) | kept_notes(place.path)
        added: list[Planned] = []
        if whole is not None:
            layout = layout_of(whole.model.family.name, whole.modules)
            notes |= model_notes(whole.model, layout, takes_mask(whole.modules))
            added += markers(layout, whole.model.scheduler)
            if prediction_of(whole.model.scheduler) != "v_prediction":
                tensors.pop(V_PREDICTION, None)
            if "vae" in dict(place.swaps):
                tensors = _without(tensors, VAE)
                names = names_of(layout, "vae", whole.modules["vae"], place.path)
                added += plan(whole.states["vae"], names)
        own = (_planned(name, one) for name, one in tensors.items())
        planned = {one.name: one for one in (*own, *added)}
        releases = [opened.release] if whole is None else [opened.release, whole.release]

        def release() -> None:
            for one in releases:
                one()

        try:
            self._file = TensorFile(
                cast(planned.values(), dtype, place.path, keep=_SCHEDULE),
                notes | source_notes(place),
                release,
            )
        except ValueError as error:
            raise ModelError(f"{place.path}: {error}") from None
        self.size = self._file.size

    def write(self, path: Path) -> None:
        """Write it.

        Raises:
            ModelError: a number does not fit into the type.
            OSError: the disk is full or refuses.
        """
        self._file.write(path)


def _planned(name: str, tensor: Tensor) -> Planned:
    return Planned(name, tensor.dtype, tuple(tensor.shape), lambda: tensor)


def _averaged(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """With the averaged weights for the last ones, which LitEma names without dots."""
    taken = {
        name: tensors[EMA + name.removeprefix("model.").replace(".", "")]
        for name in tensors
        if name.startswith(UNET)
    }
    return _without(tensors, EMA) | taken


def _without(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name: one for name, one in tensors.items() if not name.startswith(prefix)}
