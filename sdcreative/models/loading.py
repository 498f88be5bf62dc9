"""A diffusers folder to parts that can be used, or one line that says why not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .checks import check_config, check_index, compare_shapes, find_weights, read_json
from .sizes import native_size

if TYPE_CHECKING:
    import torch

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


@dataclass(frozen=True, eq=False)
class Parts:
    """A loaded latent-diffusion model, in evaluation mode and without gradients.

    Attributes:
        vae, unet, text_encoder: modules of diffusers and transformers.
        tokenizer: the text encoder's.
        scheduler_config: noise schedule, as in ``scheduler/scheduler_config.json``.
        prediction_type: what the U-Net says: epsilon, v_prediction or sample.
        latent_channels: channels of the latents.
        downsampling: pixels per latent along a side.
        sample_size: the model's own (width, height) in pixels.
        context: tokens of one chunk of a prompt, with its two ends.
        device, dtype: where the U-Net computes, and how precisely.
    """

    vae: Any
    unet: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]
    prediction_type: str
    latent_channels: int
    downsampling: int
    sample_size: tuple[int, int]
    context: int
    device: torch.device
    dtype: torch.dtype


def quiet() -> None:
    """Keep warnings of diffusers and transformers to themselves; call before importing either.

    A level that the user has set in the environment stays.
    """
    for library in ("TRANSFORMERS", "DIFFUSERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


def load_parts(folder: Path, *, device: torch.device, dtype: torch.dtype) -> Parts:
    """Load a Stable Diffusion 1 or 2 model from a diffusers folder, trusting nothing in it.

    Args:
        folder: holds model_index.json and a folder per part.
        device: where to.
        dtype: weights of another type are cast.

    Raises:
        ModelError: a part is missing, broken, of another model, or does not fit the others.
    """
    family = check_index(folder)
    configs = {
        part: check_config(folder, part, family.parts[part][1])
        for part in ("unet", "vae", "text_encoder")
    }
    scheduler = read_json(folder / "scheduler" / "scheduler_config.json", "scheduler")
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise ModelError(f"scheduler in {folder} has prediction_type {prediction!r}, not supported")

    quiet()
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    def build_text_encoder(config: Mapping[str, Any]) -> Any:
        return CLIPTextModel(CLIPTextConfig.from_dict(dict(config)))

    builders = {
        "unet": UNet2DConditionModel.from_config,
        "vae": AutoencoderKL.from_config,
        "text_encoder": build_text_encoder,
    }
    empty = {part: _build_empty(part, builders[part], configs[part]) for part in builders}
    unet, vae, text_encoder = empty["unet"], empty["vae"], empty["text_encoder"]
    _check_fit(folder, unet.config, vae.config, text_encoder.config)
    tokenizer = _load_tokenizer(folder / "tokenizer", text_encoder.config.vocab_size)
    for part, module in empty.items():
        _fill(part, module, find_weights(folder, part), device, dtype)
    own, downsampling = native_size(folder)
    return Parts(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler_config=scheduler,
        prediction_type=prediction,
        latent_channels=vae.config.latent_channels,
        downsampling=downsampling,
        sample_size=own,
        context=min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings),
        device=device,
        dtype=dtype,
    )


def _build_empty(part: str, build: Any, config: Mapping[str, Any]) -> Any:
    """A module without memory for its weights."""
    import torch

    try:
        with torch.device("meta"):
            return build(config)
    except (TypeError, ValueError, KeyError, IndexError, RuntimeError, AttributeError) as error:
        line = (str(error).splitlines() or [""])[0]
        message = f"config.json of {part} describes nothing that can be built: {line}"
        raise ModelError(message) from error


def _check_fit(folder: Path, unet: Any, vae: Any, text: Any) -> None:
    latents = vae.latent_channels
    if unet.in_channels == 2 * latents + 1:
        raise ModelError(
            f"{folder} is an inpainting checkpoint: its unet takes {unet.in_channels} channels; "
            f"this version runs those that take {latents} (they can inpaint too)"
        )
    if unet.in_channels != latents or unet.out_channels != latents:
        raise ModelError(
            f"unet and vae in {folder} do not fit: the unet takes {unet.in_channels} and gives "
            f"{unet.out_channels} channels, the vae has {latents}"
        )
    if unet.cross_attention_dim != text.hidden_size:
        raise ModelError(
            f"unet and text_encoder in {folder} do not fit: the unet reads vectors of "
            f"{unet.cross_attention_dim}, the text encoder gives {text.hidden_size}"
        )


def _load_tokenizer(folder: Path, vocabulary: int) -> Any:
    # Without these files transformers makes a tokenizer of two tokens, in silence.
    wanted = ("vocab.json", "merges.txt")
    if not (folder / "tokenizer.json").is_file():
        for name in wanted:
            if not (folder / name).is_file():
                raise ModelError(f"tokenizer is incomplete: no {name} in {folder}")
    from transformers import CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(folder), local_files_only=True)
    # tokenizers raises bare Exception for a vocabulary that it cannot parse.
    except Exception as error:
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelError(f"tokenizer in {folder} cannot be read: {line}") from error
    # A text encoder's table may be padded to a multiple of a power of two.
    if not vocabulary - 256 < len(tokenizer) <= vocabulary:
        raise ModelError(
            f"tokenizer and text_encoder do not fit: {len(tokenizer)} tokens in {folder}, "
            f"{vocabulary} in the text encoder's config.json"
        )
    return tokenizer


def _fill(part: str, module: Any, path: Path, device: Any, dtype: Any) -> None:
    """Read, check, cast and place the weights of one part."""
    import torch

    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    state = _rename(part, _read(part, path), expected)
    compare_shapes(part, path, {key: tuple(one.shape) for key, one in state.items()}, expected)
    for key, tensor in state.items():
        tensor = tensor.to(device=device, dtype=dtype) if tensor.is_floating_point() else tensor
        if not torch.isfinite(tensor).all():
            raise ModelError(
                f"weights of {part} hold NaN or infinity as {str(dtype).removeprefix('torch.')} "
                f"({key} in {path}); the file is damaged, or needs float32"
            )
        state[key] = tensor
    module.load_state_dict(state, strict=True, assign=True)
    if part == "text_encoder":
        # The only buffer that is not in the file.
        for layer in module.modules():
            if "position_ids" in layer._buffers:
                length = layer.position_embedding.weight.shape[0]
                layer._buffers["position_ids"] = torch.arange(length, device=device)[None]
    module.eval().requires_grad_(False)


def _read(part: str, path: Path) -> dict[str, Any]:
    """Tensors by name. Pickles only through weights_only, and never with a torch where it leaks."""
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise ModelError(f"weights of {part} cannot be read: {path} ({error})") from None
    import pickle

    # CVE-2025-32434, CVE-2026-24747: weights_only could be got around before 2.10.
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < (2, 10):
        raise ModelError(f"weights of {part} are a pickle ({path}); that needs torch 2.10 or newer")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ModelError(
            f"weights of {part} are a pickle that would run code: {path} is refused; "
            "get the model as safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        raise ModelError(f"weights of {part} are damaged: {path}; download it again") from None
    if not isinstance(state, dict) or not all(isinstance(v, torch.Tensor) for v in state.values()):
        raise ModelError(f"weights of {part} are not a table of tensors: {path}")
    return state


def _rename(part: str, state: dict[str, Any], expected: Mapping[str, Any]) -> dict[str, Any]:
    """Names of older versions of diffusers and transformers to those of the installed ones."""
    if part == "vae":
        for old, new in _OLD_ATTENTION.items():
            state = {key.replace(f".{old}.", f".{new}."): one for key, one in state.items()}
    if part == "text_encoder":
        prefix = "text_model."
        state = {
            key.removeprefix(prefix): tensor
            for key, tensor in state.items()
            if not key.endswith("position_ids")
        }
        if any(key.startswith(prefix) for key in expected):
            state = {prefix + key: tensor for key, tensor in state.items()}
    return state
