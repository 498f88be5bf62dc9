"""A folder or a single file to parts that can be used, or one line that says why not."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelError
from .addons.wanted import NOTHING, add_to
from .checks import compare_shapes
from .folders import Folder
from .places import ModelPlace, as_place
from .single_files.checkpoint import SingleFile
from .sizes import native_size

if TYPE_CHECKING:
    import torch

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_RELEASE_BYTES = 8 << 20
_CHECKED_AT_ONCE = 1 << 22


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


def load_parts(place: Path | ModelPlace, *, device: torch.device, dtype: torch.dtype) -> Parts:
    """Load a Stable Diffusion 1 or 2 model, trusting nothing in it.

    Args:
        place: a diffusers folder, with model_index.json and a folder per part, or a single
            checkpoint file in the original layout.
        device: where to.
        dtype: weights of another type are cast.

    Raises:
        ModelError: a part, or what is added, is missing, broken, of another model, or does not
            fit the others.
        UsageError: a word of an embedding that the model has already.
    """
    place = as_place(place)
    model = SingleFile(place) if place.path.is_file() else Folder(place)
    prediction = model.scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction", "sample"):
        raise ModelError(
            f"scheduler in {model.path} has prediction_type {prediction!r}, not supported"
        )

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
    empty = {
        part: _build_empty(model.described(part), builders[part], model.configs[part])
        for part in builders
    }
    unet, vae, text_encoder = empty["unet"], empty["vae"], empty["text_encoder"]
    _check_fit(model.path, unet.config, vae.config, text_encoder.config)
    tokenizer, words = model.tokenizer()
    _check_vocabulary(len(tokenizer), text_encoder.config.vocab_size, words)
    for part, module in empty.items():
        state, path, release = model.weights(part, module)
        _fill(part, module, state, path, model.build, release, device, dtype)
    own, downsampling = native_size(place)
    parts = Parts(
        vae=vae,
        unet=unet,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        scheduler_config=model.scheduler,
        prediction_type=prediction,
        latent_channels=vae.config.latent_channels,
        downsampling=downsampling,
        sample_size=own,
        context=min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings),
        device=device,
        dtype=dtype,
    )
    if place.addons != NOTHING:
        add_to(parts, place.addons)
    return parts


def _build_empty(described: str, build: Any, config: Mapping[str, Any]) -> Any:
    """A module without memory for its weights."""
    import torch

    try:
        with torch.device("meta"):
            return build(config)
    except (
        TypeError, ValueError, LookupError, RuntimeError, AttributeError, ArithmeticError
    ) as error:  # fmt: skip
        line = (str(error).splitlines() or [""])[0]
        raise ModelError(f"{described} describes nothing that can be built: {line}") from error


def _check_fit(path: Path, unet: Any, vae: Any, text: Any) -> None:
    latents = vae.latent_channels
    if unet.in_channels == 2 * latents + 1:
        raise ModelError(
            f"{path} is an inpainting checkpoint: its unet takes {unet.in_channels} channels; "
            f"this version runs those that take {latents} (they can inpaint too)"
        )
    if unet.in_channels != latents or unet.out_channels != latents:
        raise ModelError(
            f"unet and vae in {path} do not fit: the unet takes {unet.in_channels} and gives "
            f"{unet.out_channels} channels, the vae has {latents}"
        )
    if unet.cross_attention_dim != text.hidden_size:
        raise ModelError(
            f"unet and text_encoder in {path} do not fit: the unet reads vectors of "
            f"{unet.cross_attention_dim}, the text encoder gives {text.hidden_size}"
        )


def _check_vocabulary(tokens: int, vocabulary: int, path: Path) -> None:
    # A text encoder's table may be padded to a multiple of a power of two.
    if not vocabulary - 256 < tokens <= vocabulary:
        raise ModelError(
            f"tokenizer and text_encoder do not fit: {tokens} tokens in {path}, "
            f"{vocabulary} in the text encoder"
        )


def _fill(
    part: str,
    module: Any,
    state: dict[str, Any],
    path: Path,
    build: str | None,
    release: Callable[[], None],
    device: Any,
    dtype: Any,
) -> None:
    """Check, cast and place the weights of one part, a tensor at a time."""
    import torch

    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    state = _rename(part, state, expected)
    compare_shapes(
        part, path, {key: tuple(one.shape) for key, one in state.items()}, expected, build
    )
    read = 0
    for key in list(state):
        tensor = state.pop(key)
        read += tensor.nbytes
        tensor = _place(part, tensor, path, device, dtype)
        if not _is_finite(tensor):
            raise ModelError(
                f"weights of {part} hold NaN or infinity as {str(dtype).removeprefix('torch.')} "
                f"({key} in {path}); the file is damaged, or needs float32"
            )
        state[key] = tensor
        if read >= _RELEASE_BYTES:
            release()
            read = 0
    release()
    module.load_state_dict(state, strict=True, assign=True)
    if part == "text_encoder":
        # The only buffer that is not in the file.
        for layer in module.modules():
            if "position_ids" in layer._buffers:
                length = layer.position_embedding.weight.shape[0]
                layer._buffers["position_ids"] = torch.arange(length, device=device)[None]
    module.eval().requires_grad_(False)


def _is_finite(tensor: Any) -> bool:
    """Whether there is neither NaN nor infinity; a sum of finite weights is finite, and quick."""
    import torch

    if torch.isfinite(tensor.sum(dtype=torch.float32)):
        return True
    flat = tensor.flatten()
    return all(bool(torch.isfinite(some).all()) for some in flat.split(_CHECKED_AT_ONCE))


def _place(part: str, tensor: Any, path: Path, device: Any, dtype: Any) -> Any:
    """A copy that no longer needs the file."""
    import torch

    wanted = dtype if tensor.is_floating_point() else tensor.dtype
    try:
        return tensor.to(device=device, dtype=wanted, copy=True).contiguous()
    except RuntimeError as error:
        if not isinstance(error, torch.OutOfMemoryError) and "llocat" not in str(error):
            raise
        raise ModelError(
            f"weights of {part} do not fit into the memory of {device}: {path}; close other "
            "programs, or choose a smaller dtype or another device"
        ) from None


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
