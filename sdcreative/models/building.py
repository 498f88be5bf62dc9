"""Parts for training: new and untrained, or read from a folder, in float32."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .checks import check_config, check_weights_file, class_of
from .empty import build_empty
from .filling import Target, _rename, fill
from .folders import read_tokenizer as read_any_tokenizer
from .folders import read_weights
from .loading import quiet
from .noise_schedule import read_scheduler
from .single_files.reading import open_tensors


def build_autoencoder(
    channels: Sequence[int],
    layers: int,
    latent_channels: int,
    size: int,
    codebook: int | None = None,
) -> Any:
    """An autoencoder; downsampling is 2 ** (len(channels) - 1).

    Args:
        channels: of each level.
        layers: residual blocks of a level.
        latent_channels: of the latents.
        size: side in pixels of the pictures that it is trained on.
        codebook: number of codes of a VQModel; None for an AutoencoderKL.
    """
    quiet()
    from diffusers import AutoencoderKL, VQModel

    shape: dict[str, Any] = {
        "block_out_channels": tuple(channels),
        "down_block_types": ("DownEncoderBlock2D",) * len(channels),
        "up_block_types": ("UpDecoderBlock2D",) * len(channels),
        "layers_per_block": layers,
        "latent_channels": latent_channels,
        "norm_num_groups": 8,
        "sample_size": size,
    }
    if codebook is None:
        return AutoencoderKL(**shape)
    return VQModel(**shape, num_vq_embeddings=codebook)


def build_unet(
    channels: Sequence[int],
    layers: int,
    latent_channels: int,
    latent_size: int | tuple[int, int],
    text_width: int | None,
    *,
    context_width: int = 32,
) -> Any:
    """A U-Net; the first level has no attention, all others attend to the text.

    Without ``text_width`` they attend to the picture alone: what is given as text, of
    ``context_width``, is not looked at.
    """
    quiet()
    from diffusers import UNet2DConditionModel

    deeper = len(channels) - 1
    kind = "Attn" if text_width is None else "CrossAttn"
    shape: dict[str, Any] = {
        "sample_size": latent_size,
        "in_channels": latent_channels,
        "out_channels": latent_channels,
        "block_out_channels": tuple(channels),
        "down_block_types": ("DownBlock2D", *(f"{kind}DownBlock2D",) * deeper),
        "up_block_types": (*(f"{kind}UpBlock2D",) * deeper, "UpBlock2D"),
        "layers_per_block": layers,
        # Groups of a single channel would take away all that a level is told of time and class.
        "norm_num_groups": 32 if min(channels) >= 64 else 8,
    }
    if text_width is not None:
        return UNet2DConditionModel(**shape, cross_attention_dim=text_width, attention_head_dim=4)
    # These blocks read attention_head_dim as what it says, the others as the number of heads.
    return UNet2DConditionModel(
        **shape,
        mid_block_type="UNetMidBlock2D",
        cross_attention_dim=context_width,
        attention_head_dim=tuple(count // 4 for count in channels),
    )


def build_text_encoder(*, width: int, vocabulary: int, context: int) -> Any:
    """A text encoder of one layer, for U-Nets that do not look at it."""
    quiet()
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            hidden_size=width,
            intermediate_size=width,
            projection_dim=width,
            num_hidden_layers=1,
            num_attention_heads=1,
            vocab_size=vocabulary,
            max_position_embeddings=context,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
        )
    )


def build_clip(
    *, width: int, layers: int, heads: int, vocabulary: int, context: int, size: int, patch: int
) -> Any:
    """A CLIP pair: the text encoder of a diffusion model and a vision transformer beside it."""
    quiet()
    from transformers import CLIPConfig, CLIPModel

    shape = {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "projection_dim": width,
    }
    return CLIPModel(
        CLIPConfig(
            text_config={
                **shape,
                "vocab_size": vocabulary,
                "max_position_embeddings": context,
                "bos_token_id": vocabulary - 2,
                "eos_token_id": vocabulary - 1,
                "pad_token_id": vocabulary - 1,
            },
            vision_config={**shape, "image_size": size, "patch_size": patch},
            projection_dim=width,
        )
    )


def text_half(clip: Any) -> Any:
    """A CLIPTextModel with the weights of a CLIPModel's text tower."""
    from transformers import CLIPTextModel

    encoder: Any = CLIPTextModel(clip.config.text_config)
    source = clip.text_model.state_dict()
    encoder.load_state_dict(
        {key: source[key.removeprefix("text_model.")] for key in encoder.state_dict()}
    )
    return encoder


def build_scheduler(config: Mapping[str, Any]) -> Any:
    """A DDIMScheduler with the noise schedule and the prediction type of any scheduler's config."""
    quiet()
    from diffusers import DDIMScheduler

    scheduler: Any = DDIMScheduler
    return scheduler.from_config(dict(config))


def read_scheduler_config(folder: Path) -> dict[str, Any]:
    """The scheduler configuration of a diffusers model.

    Raises:
        ModelError: missing, not JSON, or with values that no noise schedule has.
    """
    return read_scheduler(folder / "scheduler" / "scheduler_config.json")


def read_tokenizer(folder: Path) -> Any:
    """The CLIPTokenizer of a folder.

    Raises:
        ModelError: its files are missing, of which transformers says nothing, or broken.
    """
    quiet()
    return read_any_tokenizer(folder, "CLIPTokenizer")


def read_part(folder: Path) -> Any:
    """A part of a model, in float32, ready to be trained.

    Args:
        folder: named vae, unet, text_encoder, or clip for a CLIPModel.

    Raises:
        ModelError: no such folder, another kind of part, broken or incomplete weights.
    """
    quiet()
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel, VQModel
    from transformers import CLIPModel, CLIPTextModel

    kinds: dict[str, tuple[Any, ...]] = {
        "vae": (AutoencoderKL, VQModel),
        "unet": (UNet2DConditionModel,),
        "text_encoder": (CLIPTextModel,),
        "clip": (CLIPModel,),
    }
    classes = {kind.__name__: kind for kind in kinds[folder.name]}
    config = check_config(folder, folder.name, tuple(classes))
    kind = classes.get(class_of(config) or "", kinds[folder.name][0])
    part = build_empty(kind, config, f"config.json of {folder.name}")
    read = _read_clip(folder) if folder.name == "clip" else read_weights(folder, folder.name)
    state, weights, release = read
    state = _rename(folder.name, state, part.state_dict())
    if missing := part.state_dict().keys() - state.keys():
        raise ModelError(
            f"weights of {folder.name} do not fit its config.json: {len(missing)} tensors are "
            f"missing in {weights}, such as {min(missing)}"
        )
    target = Target(torch.device("cpu"), torch.float32)
    fill(folder.name, part, state, weights, None, release, target)
    return part.requires_grad_(True)


def _read_clip(folder: Path) -> tuple[dict[str, Any], Path, Callable[[], None]]:
    """What ``read_weights`` gives, of a CLIPModel."""
    path = folder / "model.safetensors"
    check_weights_file(path, "clip")
    opened = open_tensors(path, "weights of clip")
    return dict(opened.tensors), path, opened.release


def save_part(part: Any, folder: Path) -> None:
    """Write a part in half precision; its own weights are rounded to that, and stay float32."""
    with _no_progress_bars():
        part.half().save_pretrained(folder)
    part.float()


@contextmanager
def _no_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
