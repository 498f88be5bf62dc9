"""A single checkpoint file as a model: configurations, tokenizers and weights of its parts."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from ...errors import ModelError
from ..folders import read_tokenizer
from ..places import ModelPlace
from .converting_sd3 import transformer_state
from .converting_text import text_state
from .converting_unet import denoiser_tensors, unet_state
from .converting_vae import vae_state
from .families import clip_tokenizer, family_config
from .layouts import VAE, full_name
from .reading import Opened, Outline, open_tensors, read_outline
from .recognising import Recognised, recognise
from .shapes import size_width, transformer_config, unet_config, vae_config
from .text_shapes import text_config

_T5, _T5_TOKENIZER = "text_encoder_3", "tokenizer_3"


class SingleFile:
    """A checkpoint in one file; nothing of it is read before it is used.

    Parts that the place says are elsewhere may be missing in it; their configurations are those
    of the family's published model.

    Attributes:
        path: where it is.
        recognised: what it is.
        family: which parts such a model has.
        configs: of the parts that have weights, as in a diffusers folder.
        scheduler: noise schedule and prediction type, as in a diffusers folder.
        zeroes_negative: whether an empty negative prompt is zeros, as Stable Diffusion XL has it.

    Raises:
        ModelError: another kind of file, or one that is broken or lacks parts.
    """

    def __init__(self, place: ModelPlace) -> None:
        self.path = place.path
        self._swaps = dict(place.swaps)
        outline = read_outline(place.path)
        self._start = full_name(outline.shapes)
        shapes = {self._start + name: shape for name, shape in outline.shapes.items()}
        outline = replace(outline, shapes=shapes)
        self.recognised = recognise(outline, place.path, place.prediction_type, self._swaps)
        self.family = self.recognised.layout.family
        self.zeroes_negative = self.family.name == "sdxl"
        self._ema = place.ema
        if place.ema and not self.recognised.ema:
            raise ModelError(
                f"ema: {place.path} holds no averaged weights (model_ema.…); leave ema out"
            )
        try:
            self.configs = part_configs(self.recognised, outline, self._swaps)
        except ModelError as error:
            title = self.recognised.title
            raise ModelError(f"{place.path} is {title}, but broken: {error}") from None
        self.scheduler = scheduler_config(self.recognised)

    @cached_property
    def _opened(self) -> Opened:
        opened = open_tensors(self.path)
        tensors = {self._start + name: one for name, one in opened.tensors.items()}
        return replace(opened, tensors=tensors)

    @property
    def build(self) -> str:
        """What its weights have to fit, for messages."""
        return self.recognised.title

    def described(self, part: str) -> str:
        """What the configuration of a part is from, for messages."""
        return f"the shape of {part} in {self.path}"

    def tokenizer(self, part: str) -> tuple[Any, Path]:
        """A tokenizer, and where it is, for messages.

        CLIP's comes with this package; T5's is where the place says.

        Args:
            part: tokenizer, tokenizer_2 or tokenizer_3.

        Raises:
            ModelError: T5's files are missing or broken.
        """
        if part == _T5_TOKENIZER:
            path = self._swaps.get(part)
            if path is None:
                raise ModelError(
                    f"{_T5}: T5's tokenizer does not come with this package; swap in "
                    f"{_T5_TOKENIZER}, or a folder {_T5} with {_T5_TOKENIZER} beside it"
                )
            folder = path / part if (path / part).is_dir() else path
            return read_tokenizer(folder, self.family.parts[part][1][0]), folder
        return clip_tokenizer(self.recognised.layout.folder, part), self.path

    def weights(self, part: str, module: Any) -> tuple[dict[str, Any], Path, Callable[[], None]]:
        """Weights of a part, the file they are in, and what gives memory back after reading."""
        tensors, config = self._opened.tensors, self.configs[part]
        if part == "unet":
            state = unet_state(tensors, config, ema=self._ema, path=self.path)
        elif part == "transformer":
            own = denoiser_tensors(tensors, ema=self._ema, path=self.path)
            state = transformer_state(own, config["num_layers"])
        elif part == "vae":
            state = vae_state(tensors, VAE, config)
        else:
            text = self.recognised.layout.texts[part]
            state = text_state(tensors, text, config, part, module)
        return state, self.path, self._opened.release

    def notes(self) -> str:
        """One line: what it is taken for, and which of its weights are taken."""
        found = self.recognised
        parts = [f"{self.path.name}: {found.title}, {found.prediction_type}"]
        if found.zero_snr:
            parts[0] += ", zero terminal SNR"
        if not found.sure:
            parts.append(
                "taken for the 768-pixel model, as diffusers does (if pictures are mere noise, "
                "set prediction_type: epsilon)"
            )
        if found.ema:
            taken = "averaged (EMA)" if self._ema else "last"
            parts.append(f"its {taken} weights" + ("" if self._ema else " (ema: true averages)"))
        if _T5 in found.parts and _T5 not in self.configs:
            parts.append(
                "without its T5 text encoder, whose tokenizer does not come with this package "
                "(swap in tokenizer_3 to read it too)"
            )
        return "; ".join(parts)


def part_configs(
    found: Recognised, outline: Outline, given: Collection[str] = ()
) -> dict[str, dict[str, Any]]:
    """Configurations of the parts with weights, as in a diffusers folder.

    Args:
        found: what the file is.
        outline: of it.
        given: parts that come from elsewhere.

    Raises:
        ModelError: tensors are missing, or fit no such model.
    """
    shapes, layout = outline.shapes, found.layout
    configs: dict[str, dict[str, Any]] = {}
    for part in layout.family.weights:
        base = family_config(layout.folder, part)
        readable = part != _T5 or _T5_TOKENIZER in given
        if part not in found.parts or not readable:
            if part in given:
                configs[part] = base
        elif part == "unet":
            configs[part] = unet_config(shapes, base, fixed_heads=layout.fixed_heads)
        elif part == "transformer":
            configs[part] = transformer_config(shapes, base)
        elif part == "vae":
            configs[part] = vae_config(shapes, VAE, base)
        else:
            configs[part] = text_config(shapes, layout.texts[part], base, part)
    denoiser, vae = configs[layout.family.denoiser], configs["vae"]
    step = 2 ** (len(vae["block_out_channels"]) - 1)
    side = found.sample_size(step, denoiser["sample_size"])
    denoiser["sample_size"] = side
    vae["sample_size"] = step * (max(side) if isinstance(side, list) else side)
    if "addition_time_embed_dim" in denoiser:
        denoiser["addition_time_embed_dim"] = size_width(
            denoiser["projection_class_embeddings_input_dim"],
            configs["text_encoder_2"]["projection_dim"],
            denoiser["addition_time_embed_dim"],
        )
    return configs


def scheduler_config(found: Recognised) -> dict[str, Any]:
    """Noise schedule and prediction type, as in a diffusers folder."""
    config = family_config(found.layout.folder, "scheduler")
    if found.prediction_type != "flow":
        config["prediction_type"] = found.prediction_type
    if found.zero_snr:
        # The last step is noise alone only where sampling begins at it.
        config |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return config
