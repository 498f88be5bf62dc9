"""Which family a single checkpoint file is of, from the names and shapes of its tensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from .layouts import (
    CLIP,
    EMA,
    OPEN_CLIP,
    UNET,
    V1,
    V2,
    V3,
    X4,
    XL,
    Layout,
    any_begins,
    missing_parts,
)
from .others import other_file, other_unet, packed
from .reading import Outline

PREDICTIONS = ("epsilon", "v_prediction")
_BASE_STEPS = 875_000
"""of training of Stable Diffusion 2 base, the only one of its family to predict noise"""
_WIDE = 96
"""a side of the latents of Stable Diffusion 2 with v-prediction; its base has 64"""
_RUN = "Stable Diffusion 1, 2, XL, 3 and 3.5"
_SIDES = range(128, 4097)


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    Attributes:
        layout: of its family.
        title: as people call it.
        inpainting: whether its U-Net also takes a mask and a masked picture.
        prediction_type: what its denoiser says: epsilon, v_prediction or flow.
        sure: whether the file, or whoever asks, has said so.
        ema: whether it also holds averaged weights (EMA), beside the last ones.
        parts: with weights, that it holds.
        zero_snr: whether its noise schedule ends in noise alone (zero terminal SNR).
        resolution: (width, height) in pixels, where the file says what it was trained on.
    """

    layout: Layout
    title: str
    inpainting: bool
    prediction_type: str
    sure: bool
    ema: bool
    parts: tuple[str, ...]
    zero_snr: bool = False
    resolution: tuple[int, int] | None = None

    def sample_size(self, step: int, published: int) -> int | list[int]:
        """A side of the latents that it was trained on, or their height and width.

        Args:
            step: pixels per latent along a side.
            published: a side, of the family's.
        """
        if self.resolution is not None:
            width, height = (max(1, length // step) for length in self.resolution)
            return width if width == height else [height, width]
        wide = self.layout is V2 and self.prediction_type == "v_prediction"
        return _WIDE if wide else published


def recognise(
    outline: Outline,
    path: Path,
    prediction_type: str | None = None,
    given: Collection[str] = (),
) -> Recognised:
    """The family of a file.

    Stable Diffusion 2 with 768 pixels (v-prediction) and its base (epsilon) have the same names
    and shapes. Where neither the settings nor the file say which it is, it is read as the former,
    as diffusers does; so is one that has been trained for other than the base's steps.

    Args:
        outline: of the file.
        path: for the messages.
        prediction_type: what the settings say; None leaves it to the file.
        given: parts that come from elsewhere, which it may lack.

    Raises:
        ModelError: another kind of file, which is named, or a family that cannot be run, or one
            that lacks parts.
    """
    names = outline.shapes
    if how := packed(names):
        raise ModelError(f"{path} {how}, which are not read: get it in float16, bfloat16 or float8")
    layout = _layout(names, path)
    title = _title(names, layout)
    parts = tuple(part for part in layout.family.weights if any_begins(names, layout.prefix(part)))
    missing = [
        part
        for part in layout.family.weights
        if part not in (*parts, *given, *layout.family.optional)
    ]
    if missing:
        raise ModelError(
            f"{path} is {title}, but holds {missing_parts(layout, missing)}: get the whole model, "
            f"or swap in {' and '.join(missing)}"
        )
    if layout is V3 and prediction_type is not None:
        raise ModelError(
            f"prediction_type: {path} is {title}, which predicts a flow; leave prediction_type out"
        )
    inpainting = layout is not V3 and names[f"{UNET}input_blocks.0.0.weight"][1] == 9
    said = prediction_type or _said(outline, layout, inpainting)
    prediction = said or "v_prediction"
    return Recognised(
        layout=layout,
        title=title + (" inpainting" if inpainting else ""),
        inpainting=inpainting,
        prediction_type=prediction,
        sure=said is not None,
        ema=any_begins(names, f"{EMA}diffusion_model"),
        parts=parts,
        zero_snr=prediction == "v_prediction" and _ends_in_noise(outline),
        resolution=_resolution(outline),
    )


def _layout(names: Mapping[str, tuple[int, ...]], path: Path) -> Layout:
    if any_begins(names, f"{UNET}joint_blocks."):
        return V3
    conv = names.get(f"{UNET}input_blocks.0.0.weight", ())
    if len(conv) != 4 or (kind := other_unet(names, conv[1])):
        found = kind if len(conv) == 4 else other_file(names)
        raise ModelError(
            f"{path} is {found}; of single files this version runs checkpoints of {_RUN}"
        )
    if conv[1] == 7:
        return X4
    if any_begins(names, "conditioner.") or any_begins(names, f"{UNET}label_emb."):
        return XL
    if any_begins(names, OPEN_CLIP) or any_begins(names, CLIP):
        return V2 if any_begins(names, OPEN_CLIP) else V1
    # Only version 2 projects by matrices, and not by convolutions.
    project = next((one for one in names if one.startswith(UNET) and "proj_in.weight" in one), "")
    return V2 if len(names.get(project, ())) == 2 else V1


def _title(names: Mapping[str, tuple[int, ...]], layout: Layout) -> str:
    if layout is V3 and any(".attn.ln_q." in name for name in names):
        medium = any(".x_block.attn2." in name for name in names)
        return f"Stable Diffusion 3.5 {'medium' if medium else 'large'}"
    return layout.title


def _said(outline: Outline, layout: Layout, inpainting: bool) -> str | None:
    """What a file says of its predictions, or all of its family do."""
    if layout is V3:
        return "flow"
    noted = outline.metadata.get("modelspec.prediction_type")
    if "v_pred" in outline.shapes or noted in ("v", "v_prediction") or layout is X4:
        return "v_prediction"
    if layout is not V2 or inpainting or noted == "epsilon" or outline.steps == _BASE_STEPS:
        return "epsilon"
    return None


def _ends_in_noise(outline: Outline) -> bool:
    """As checkpoints for ComfyUI mark it, and those of sd-scripts."""
    noted = outline.metadata.get("ss_zero_terminal_snr", "").lower()
    return "ztsnr" in outline.shapes or noted == "true"


def _resolution(outline: Outline) -> tuple[int, int] | None:
    """By the specification of https://github.com/Stability-AI/ModelSpec: 1024x1024."""
    noted = outline.metadata.get("modelspec.resolution", "")
    found = re.fullmatch(r"\s*(\d{1,5})\s*x\s*(\d{1,5})\s*", noted, re.ASCII)
    if found is None:
        return None
    width, height = int(found[1]), int(found[2])
    return (width, height) if width in _SIDES and height in _SIDES else None
