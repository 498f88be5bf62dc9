"""Stable Diffusion x4 upscaler: a folder to parts that can be used, or one line that says why not.

Its U-Net sees, beside the latents, the small picture with some noise in it, and is told how much as
a class (diffusers' StableDiffusionUpscalePipeline; noise conditioning augmentation, J. Ho et al.
2022, "Cascaded Diffusion Models for High Fidelity Image Generation", section 4).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .checks import check_config, read_json
from .families import SD, Family
from .parts import Parts
from .sizes import MOST_PIXELS
from .strangers import said, shown
from .tokenizer_files import context_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ..core.conditioning import Conditioning
    from ..core.sampling import Predict

X4 = Family("sd", "Stable Diffusion x4 upscaler", SD.parts)
PIPELINE = "StableDiffusionUpscalePipeline"
FACTOR = 4
COLOURS = 3
_PARTS = ("unet", "vae", "text_encoder")
_LIBRARIES = (None, "diffusers", "transformers", "stable_diffusion")
_LATENTS = 128
_SCALING = 0.08333
"""of this family's latents, which early configurations leave out"""


@dataclass(frozen=True, eq=False)
class Upscaler:
    """A loaded upscaler.

    Attributes:
        parts: the denoiser takes ``COLOURS`` more channels than the latents have.
        noising: diffusers' DDPMScheduler, which puts noise into the small picture.
        most_noise: the highest noise level that it was made for.
    """

    parts: Parts
    noising: Any
    most_noise: int

    def noised(self, pixels: Tensor, noise: Tensor, level: int) -> Tensor:
        """The small picture (N, 3, h, w) in [-1, 1], with noise of a level."""
        import torch

        levels = torch.full((len(pixels),), level, device=pixels.device)
        found: Tensor = self.noising.add_noise(pixels, noise, levels)
        return found

    def predictor(self, level: int) -> Predict:
        """The U-Net; its input is latents with the noised picture beside them, (N, 7, h, w)."""
        import torch

        unet = self.parts.unet
        dtype: torch.dtype = unet.dtype

        def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
            output: Tensor = unet(
                latents.to(dtype),
                time,
                encoder_hidden_states=conditioning.embeddings.to(dtype),
                class_labels=torch.full((len(latents),), level, device=latents.device),
                return_dict=False,
            )[0]
            return output

        return predict


def check_upscaler(folder: Path) -> dict[str, Any]:
    """The ``model_index.json`` of an upscaler; nothing that it names is imported. Imports no torch.

    Raises:
        ModelError: another kind of model, a foreign library, or a part that is missing.
    """
    path = folder / "model_index.json"
    if not path.is_file():
        raise ModelError(
            f"{folder} is not a diffusers model: it has no model_index.json (give the folder that "
            "holds unet/, vae/, text_encoder/, tokenizer/, scheduler/ and low_res_scheduler/)"
        )
    index = read_json(path, "the upscaler")
    if index.get("_class_name") != PIPELINE:
        raise ModelError(
            f"{folder} is a {shown(index.get('_class_name'))}, not a {PIPELINE}; give a Stable "
            "Diffusion x4 upscaler, or use 'upscale'"
        )
    for key, entry in index.items():
        if isinstance(entry, list) and (
            len(entry) != 2 or entry[0] not in _LIBRARIES or not isinstance(entry[1], str | None)
        ):
            raise ModelError(
                f"{path}: {shown(key)} is {shown(entry)}; only parts of diffusers and "
                "transformers are allowed, so this model is not trusted"
            )
    for part in _PARTS:
        check_config(folder / part, part, X4.parts[part][1])
    return index


def load_upscaler(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Upscaler:
    """Load an upscaler, trusting nothing in it.

    Args:
        folder: a diffusers folder.
        device: where to.
        dtype: weights of another type are cast.

    Raises:
        ModelError: a part is missing, broken, of another model, or does not fit the others.
    """
    index = check_upscaler(folder)
    from .filling import Target, fill
    from .fitting import prediction_of
    from .folders import read_tokenizer, read_weights
    from .loading import quiet
    from .noise_schedule import read_scheduler

    scheduler = read_scheduler(folder / "scheduler" / "scheduler_config.json")
    low_res = read_scheduler(
        folder / "low_res_scheduler" / "scheduler_config.json", "low_res_scheduler"
    )
    prediction = prediction_of(scheduler)
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise ModelError(
            f"scheduler in {folder} has prediction_type {shown(prediction)!r}, not supported"
        )
    most_noise = index.get("max_noise_level", 350)
    if type(most_noise) is not int or most_noise < 0:
        raise ModelError(f"{folder / 'model_index.json'}: max_noise_level is {shown(most_noise)!r}")
    quiet()
    modules = {part: _built(folder, part) for part in _PARTS}
    _check_fit(folder, modules, most_noise)
    tokenizer = read_tokenizer(folder / "tokenizer", "CLIPTokenizer")
    text = modules["text_encoder"].config
    if not text.vocab_size - 256 < len(tokenizer) <= text.vocab_size:
        raise ModelError(
            f"tokenizer and text_encoder do not fit: {len(tokenizer)} tokens in "
            f"{folder / 'tokenizer'}, {text.vocab_size} in the text encoder"
        )
    for part, module in modules.items():
        state, path, release = read_weights(folder / part, part)
        fill(part, module, state, path, None, release, Target(device, dtype))
    side = _side(folder, modules["unet"].config.sample_size) * FACTOR
    parts = Parts(
        family=X4,
        scheduler_config=scheduler,
        prediction_type=prediction,
        latent_channels=modules["vae"].config.latent_channels,
        downsampling=FACTOR,
        multiple=FACTOR,
        sample_size=(side, side),
        context=context_of(tokenizer, text.max_position_embeddings, folder),
        device=device,
        dtype=dtype,
        tokenizer=tokenizer,
        **modules,
    )
    return Upscaler(parts, _noising(folder, low_res), most_noise)


def _built(folder: Path, part: str) -> Any:
    """A module without memory for its weights."""
    from .empty import build_empty

    library, classes = X4.parts[part]
    config = check_config(folder / part, part, classes)
    if part == "vae":
        # As diffusers' pipeline does.
        config["scaling_factor"] = _SCALING
    cls: Any = getattr(importlib.import_module(library), classes[0])
    return build_empty(cls, config, f"config.json of {part}")


def _side(folder: Path, latents: Any) -> int:
    """Of the latents that the U-Net was trained on."""
    side = latents or _LATENTS
    if type(side) is not int or not 1 <= side <= MOST_PIXELS // FACTOR:
        raise ModelError(f"{folder}: sample_size of its unet is {shown(side)}, no side of latents")
    return side


def _check_fit(folder: Path, modules: dict[str, Any], most_noise: int) -> None:
    unet, vae, text = (modules[part].config for part in _PARTS)
    channels = vae.latent_channels
    if (unet.in_channels, unet.out_channels) != (channels + COLOURS, channels):
        raise ModelError(
            f"unet and vae in {folder} do not fit: the unet takes {unet.in_channels} and gives "
            f"{unet.out_channels} channels; of an upscaler with {channels} latent channels it "
            f"takes {channels + COLOURS} and gives {channels}"
        )
    if unet.class_embed_type is not None or (unet.num_class_embeds or 0) <= most_noise:
        raise ModelError(
            f"unet in {folder} is not told the noise level as one of {most_noise + 1} classes, as "
            "an upscaler's is"
        )
    if 2 ** (len(vae.block_out_channels) - 1) != FACTOR:
        raise ModelError(
            f"vae in {folder} enlarges latents by {2 ** (len(vae.block_out_channels) - 1)}; an "
            f"upscaler's by {FACTOR}"
        )
    if unet.cross_attention_dim != text.hidden_size:
        raise ModelError(
            f"unet and text_encoder in {folder} do not fit: the unet reads vectors of "
            f"{unet.cross_attention_dim}, the text encoder gives {text.hidden_size}"
        )


def _noising(folder: Path, config: dict[str, Any]) -> Any:
    from diffusers import DDPMScheduler

    try:
        return DDPMScheduler.from_config(config)
    except (TypeError, ValueError, LookupError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"low_res_scheduler in {folder} cannot be used: {said(error)}") from error
