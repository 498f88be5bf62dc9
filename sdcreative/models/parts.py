"""A loaded model: its parts by the names that diffusers gives them, and what they make."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .families import Family

if TYPE_CHECKING:
    import torch

    from .compiling import Compiled


@dataclass(frozen=True, eq=False)
class Parts:
    """A loaded latent-diffusion model, in evaluation mode and without gradients.

    Attributes:
        family: what kind of model it is.
        vae, text_encoder: modules of diffusers and transformers.
        tokenizer: the text encoder's.
        scheduler_config: noise schedule, as in ``scheduler/scheduler_config.json``.
        prediction_type: what the denoiser says: epsilon, v_prediction, sample, or flow.
        latent_channels: channels of the latents.
        downsampling: pixels per latent along a side.
        multiple: what sides of its pictures have to be multiples of, in pixels.
        sample_size: the model's own (width, height) in pixels.
        context: tokens of one chunk of a prompt, with its two ends.
        device, dtype: where the denoiser computes, and how precisely.
        zeroes_negative: whether an empty negative prompt is zeros, not what the text encoders say
            of no text.
        low_memory: whether to take as little memory as can be.
        unet, transformer: the one that the family denoises with; the other is None.
        text_encoder_2, tokenizer_2, text_encoder_3, tokenizer_3: None in families without.
        compiled: its layers compiled for the film that is rendered, or None.
    """

    family: Family
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler_config: dict[str, Any]
    prediction_type: str
    latent_channels: int
    downsampling: int
    multiple: int
    sample_size: tuple[int, int]
    context: int
    device: torch.device
    dtype: torch.dtype
    zeroes_negative: bool = False
    low_memory: bool = False
    unet: Any = None
    transformer: Any = None
    text_encoder_2: Any = None
    tokenizer_2: Any = None
    text_encoder_3: Any = None
    tokenizer_3: Any = None
    compiled: Compiled | None = None

    @property
    def denoiser(self) -> Any:
        """The U-Net or transformer."""
        return self.unet if self.transformer is None else self.transformer

    @property
    def told_guidance(self) -> bool:
        """Whether the denoiser is told the guidance scale, and makes up for it in one call."""
        return self.denoiser.config.get("time_cond_proj_dim") is not None

    @property
    def inpaints(self) -> bool:
        """Whether the denoiser also takes a mask and the masked picture's latents."""
        return int(self.denoiser.config.in_channels) == 2 * self.latent_channels + 1
