"""A single checkpoint file as a model: configurations, tokenizer and weights of its parts."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..places import ModelPlace
from .converting import text_state, unet_state, vae_state
from .families import clip_tokenizer, family_config
from .reading import Opened, Outline, open_tensors, read_outline
from .recognising import Recognised, recognise
from .shapes import clip_config, open_clip_config, unet_config, vae_config


class SingleFile:
    """A checkpoint of Stable Diffusion 1 or 2 in one file; nothing of it is read before it is used.

    Attributes:
        path: where it is.
        recognised: what it is.
        configs: of unet, vae and text_encoder, as in a diffusers folder.
        scheduler: noise schedule and prediction type, as in a diffusers folder.

    Raises:
        ModelError: another kind of file, or one that is broken.
    """

    def __init__(self, place: ModelPlace) -> None:
        self.path = place.path
        outline = read_outline(place.path)
        self.recognised = recognise(outline, place.path, place.prediction_type)
        self._ema = place.ema
        if place.ema and not self.recognised.ema:
            raise ModelError(
                f"ema: {place.path} holds no averaged weights (model_ema.…); leave ema out"
            )
        try:
            self.configs = part_configs(self.recognised, outline)
        except ModelError as error:
            title = self.recognised.title
            raise ModelError(f"{place.path} is {title}, but broken: {error}") from None
        self.scheduler = family_config(self.recognised.family, "scheduler") | {
            "prediction_type": self.recognised.prediction_type
        }

    @cached_property
    def _opened(self) -> Opened:
        return open_tensors(self.path)

    @property
    def build(self) -> str:
        """What its weights have to fit, for messages."""
        return self.recognised.title

    def described(self, part: str) -> str:
        """What the configuration of a part is from, for messages."""
        return f"the shape of {part} in {self.path}"

    def tokenizer(self) -> tuple[Any, Path]:
        """CLIP's, which comes with this package; and the file, for messages."""
        return clip_tokenizer(self.recognised.family), self.path

    def weights(self, part: str, module: Any) -> tuple[dict[str, Any], Path, Callable[[], None]]:
        """Weights of a part, the file they are in, and what gives memory back after reading."""
        tensors, config = self._opened.tensors, self.configs[part]
        if part == "unet":
            state = unet_state(tensors, config, ema=self._ema, path=self.path)
        elif part == "vae":
            state = vae_state(tensors, config)
        else:
            state = text_state(tensors, module)
        return state, self.path, self._opened.release

    def notes(self) -> str:
        """One line: what it is taken for, and which of its weights are taken."""
        found = self.recognised
        parts = [f"{self.path.name}: {found.title}, {found.prediction_type}"]
        if not found.sure:
            parts.append(
                "taken for the 768-pixel model, as diffusers does (if pictures are mere noise, "
                "set prediction_type: epsilon)"
            )
        if found.ema:
            taken = "averaged (EMA)" if self._ema else "last"
            parts.append(f"its {taken} weights" + ("" if self._ema else " (ema: true averages)"))
        return "; ".join(parts)


def part_configs(found: Recognised, outline: Outline) -> dict[str, dict[str, Any]]:
    """Configurations of unet, vae and text_encoder, as in a diffusers folder.

    Raises:
        ModelError: tensors are missing, or fit no such model.
    """
    shapes = outline.shapes
    base = {part: family_config(found.family, part) for part in ("unet", "vae", "text_encoder")}
    first = found.family == "v1"
    text = clip_config if first else open_clip_config
    unet = unet_config(shapes, base["unet"], fixed_heads=first)
    vae = vae_config(shapes, base["vae"])
    step = 2 ** (len(vae["block_out_channels"]) - 1)
    return {
        "unet": unet | {"sample_size": found.sample_size},
        "vae": vae | {"sample_size": found.sample_size * step},
        "text_encoder": text(shapes, base["text_encoder"]),
    }
