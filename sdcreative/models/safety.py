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
    import torch
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from huggingface_hub.errors import StrictDataclassError
    from transformers import CLIPConfig

    try:
        with torch.device("meta"):
            return StableDiffusionSafetyChecker(CLIPConfig.from_dict(config))
    except (
        TypeError, ValueError, LookupError, RuntimeError, AttributeError, ArithmeticError,
        StrictDataclassError,
    ) as error:  # fmt: skip
        line = " ".join(str(error).split())[:200]
        raise ModelError(
            f"config.json of {PART} describes nothing that can be built: {line}"
        ) from error


def _processor(folder: Path, config: dict[str, Any]) -> Any:
    """How pictures are brought to the size and colours that the checker sees."""
    from transformers import CLIPImageProcessor

    path = folder / "feature_extractor" / "preprocessor_config.json"
    if path.is_file():
        said = read_json(path, "feature_extractor")
    else:
        vision = config.get("vision_config")
        side = vision.get("image_size", 224) if isinstance(vision, dict) else 224
        said = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    known = {key: value for key, value in said.items() if not key.endswith("_type")}
    try:
        return CLIPImageProcessor(**known)
    except (TypeError, ValueError, LookupError) as error:
        line = (str(error).splitlines() or [""])[0]
        raise ModelError(f"feature_extractor in {folder} cannot be used: {line}") from error
