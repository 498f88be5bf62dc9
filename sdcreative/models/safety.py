"""The safety checker that comes with Stable Diffusion 1, where a checkpoint brings it.

It compares a picture's CLIP embedding with those of a list of concepts; one that is closer to any
than that concept's threshold is flagged (J. Rando, D. Paleka, D. Lindner, L. Heim, F. Tramèr,
"Red-Teaming the Stable Diffusion Safety Filter", 2022, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .checks import check_config, check_weights_file, read_json
from .strangers import is_file, said, shown

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

PART = "safety_checker"
AT_ONCE = 16
"""pictures that are checked together"""
_FILES = tuple(
    f"{name}{ending}"
    for ending in (".safetensors", ".fp16.safetensors", ".bin", ".fp16.bin")
    for name in ("model", "pytorch_model")
)
_OF_PICTURES = (
    "crop_size", "do_center_crop", "do_convert_rgb", "do_normalize", "do_rescale", "do_resize",
    "image_mean", "image_std", "resample", "rescale_factor", "size",
)  # fmt: skip
"""what is taken of a ``preprocessor_config.json``"""
_MOST_PIXELS = 4096
_TWICE, _ONCE = "vision_model.vision_model.", "vision_model."


@dataclass(frozen=True, eq=False)
class Safety:
    """A loaded checker.

    Attributes:
        checker: diffusers' StableDiffusionSafetyChecker.
        processor: transformers' CLIPImageProcessor.
        device, dtype: where it computes, and how precisely.
    """

    checker: Any
    processor: Any
    device: torch.device
    dtype: torch.dtype

    def check(self, pictures: Sequence[Image]) -> list[bool]:
        """Whether the checker takes offence, for each RGB picture; none of them is changed."""
        import numpy

        found: list[bool] = []
        for start in range(0, len(pictures), AT_ONCE):
            some = list(pictures[start : start + AT_ONCE])
            inputs = self.processor(images=some, return_tensors="pt").pixel_values
            # It blackens what it is given to blacken.
            given = [numpy.zeros(1) for _ in some]
            _, flagged = self.checker(clip_input=inputs.to(self.device, self.dtype), images=given)
            found += [bool(one) for one in flagged]
        return found


def load_safety(folder: Path, device: torch.device, dtype: torch.dtype) -> Safety | None:
    """The checker in a diffusers folder, trusting nothing in it.

    Args:
        folder: of the model.
        device: where to.
        dtype: weights of another type are cast.

    Returns:
        None where the model brings none, or its model_index.json says that it is not to be used.

    Raises:
        ModelError: it is broken, or of another kind.
    """
    place = folder / PART
    index = read_json(folder / "model_index.json", "the model")
    if not place.is_dir() or index.get(PART) in (None, [None, None]):
        return None
    config = check_config(place, PART, ("StableDiffusionSafetyChecker",))
    path = _weights(place)

    from .filling import Target, fill
    from .loading import quiet
    from .single_files.reading import open_tensors

    quiet()
    processor = _processor(folder, config)
    checker = _built(config)
    opened = open_tensors(path, f"weights of {PART}")
    # transformers 5 has one level less around the same layers.
    names = {name.replace(_TWICE, _ONCE): name for name in checker.state_dict()}
    state = {
        names.get(bare, key): tensor
        for key, tensor in opened.tensors.items()
        if not (bare := key.replace(_TWICE, _ONCE)).endswith("position_ids")
    }
    fill(PART, checker, state, path, None, opened.release, Target(device, dtype))
    return Safety(checker, processor, device, dtype)


def _weights(place: Path) -> Path:
    for name in _FILES:
        path = place / name
        if path.exists():
            kind = check_weights_file(path, PART)
            if kind == "pickle" and path.suffix == ".safetensors":
                raise ModelError(
                    f"weights of {PART} are a pickle named .safetensors: {path}; download it again"
                )
            return path
    raise ModelError(f"weights of {PART} are missing: no model.safetensors in {place}")


def _built(config: dict[str, Any]) -> Any:
    """A checker without memory for its weights."""
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker

    from .empty import build_empty

    return build_empty(StableDiffusionSafetyChecker, config, f"config.json of {PART}")


def _processor(folder: Path, config: dict[str, Any]) -> Any:
    """How pictures are brought to the size and colours that the checker sees."""
    from transformers import CLIPImageProcessor

    path = folder / "feature_extractor" / "preprocessor_config.json"
    vision = config.get("vision_config")
    side = vision.get("image_size", 224) if isinstance(vision, dict) else 224
    if is_file(path):
        given = read_json(path, "feature_extractor")
    else:
        given = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    known = {key: value for key, value in given.items() if key in _OF_PICTURES}
    try:
        processor = CLIPImageProcessor(**known)
        _try_out(processor, side)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ModelError(f"feature_extractor in {folder} cannot be used: {said(error)}") from error
    return processor


def _try_out(processor: Any, side: int) -> None:
    """Prepare a picture.

    Raises:
        ValueError: of a size that takes too much memory, or that the checker does not see.
    """
    import numpy
    from PIL import Image

    for name in ("size", "crop_size"):
        for length in dict(getattr(processor, name) or {}).values():
            if length is not None and not 1 <= length <= _MOST_PIXELS:
                raise ValueError(f"{name} of {shown(length)} pixels")
    with numpy.errstate(all="ignore"):
        made = processor(images=[Image.new("RGB", (40, 30))], return_tensors="np").pixel_values
    if made.shape != (1, 3, side, side) or not numpy.isfinite(made).all():
        raise ValueError(f"the checker sees {shown(side)} pixels, these would be {made.shape[2:]}")
