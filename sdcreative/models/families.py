"""The families of models that can be run: which parts each has, and of which classes.

Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Classes = tuple[str, tuple[str, ...]]
"""(library, classes that may be there)"""

AUTOENCODERS: Classes = ("diffusers", ("AutoencoderKL", "VQModel", "AutoencoderTiny"))
_UNET: Classes = ("diffusers", ("UNet2DConditionModel",))
_CLIP: Classes = ("transformers", ("CLIPTextModel",))
_PROJECTED_CLIP: Classes = ("transformers", ("CLIPTextModelWithProjection",))
_CLIP_TOKENIZER: Classes = ("transformers", ("CLIPTokenizer", "CLIPTokenizerFast"))


@dataclass(frozen=True)
class Family:
    """A kind of latent-diffusion model.

    Attributes:
        name: sd, sdxl or sd3.
        title: as people call it.
        parts: name of a part, as diffusers calls it -> what it has to be.
        optional: parts that a model may lack.
    """

    name: Literal["sd", "sdxl", "sd3"]
    title: str
    parts: Mapping[str, Classes]
    optional: tuple[str, ...] = ()

    @property
    def denoiser(self) -> str:
        """The part that denoises."""
        return "unet" if "unet" in self.parts else "transformer"

    @property
    def weights(self) -> tuple[str, ...]:
        """Parts that have weights."""
        return tuple(part for part in self.parts if not part.startswith("tokenizer"))

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """Parts that read prompts; the tokenizer of each has its ending."""
        return tuple(part for part in self.parts if part.startswith("text_encoder"))


def tokenizer_of(text_encoder: str) -> str:
    """The part that cuts prompts for a text encoder: text_encoder_2 has tokenizer_2."""
    return text_encoder.replace("text_encoder", "tokenizer")


def weights_name(part: str) -> str:
    """Name of the weights file of a part in a folder, without its ending."""
    return "model" if part.startswith("text_encoder") else "diffusion_pytorch_model"


SD = Family(
    "sd",
    "Stable Diffusion 1 or 2",
    {
        "unet": _UNET,
        "vae": AUTOENCODERS,
        "text_encoder": _CLIP,
        "tokenizer": _CLIP_TOKENIZER,
    },
)
SDXL = Family(
    "sdxl",
    "Stable Diffusion XL",
    {
        "unet": _UNET,
        "vae": AUTOENCODERS,
        "text_encoder": _CLIP,
        "tokenizer": _CLIP_TOKENIZER,
        "text_encoder_2": _PROJECTED_CLIP,
        "tokenizer_2": _CLIP_TOKENIZER,
    },
)
SD3 = Family(
    "sd3",
    "Stable Diffusion 3",
    {
        "transformer": ("diffusers", ("SD3Transformer2DModel",)),
        "vae": AUTOENCODERS,
        "text_encoder": _PROJECTED_CLIP,
        "tokenizer": _CLIP_TOKENIZER,
        "text_encoder_2": _PROJECTED_CLIP,
        "tokenizer_2": _CLIP_TOKENIZER,
        "text_encoder_3": ("transformers", ("T5EncoderModel",)),
        "tokenizer_3": ("transformers", ("T5Tokenizer", "T5TokenizerFast")),
    },
    optional=("text_encoder_3", "tokenizer_3"),
)
FAMILIES = (SD, SDXL, SD3)

_KINDS = ("Pipeline", "Img2ImgPipeline", "InpaintPipeline")
PIPELINES: Mapping[str, Family] = {
    f"{start}{kind}": family
    for start, family in (
        ("StableDiffusion", SD),
        ("StableDiffusionXL", SDXL),
        ("StableDiffusion3", SD3),
    )
    for kind in _KINDS
}
"""``_class_name`` of a model_index.json -> the family"""
