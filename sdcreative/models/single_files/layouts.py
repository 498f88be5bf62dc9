"""Where the original layouts keep the parts of a model: the beginnings of the tensors' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ..families import SD, SD3, SDXL, Family

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
EMA = "model_ema."
_BARE = ("input_blocks.0.0.weight", "joint_blocks.0.context_block.attn.qkv.weight")
_SPOKEN = {"vae": "autoencoder", "text_encoder": "text encoder"}


@dataclass(frozen=True)
class Text:
    """A text encoder in a file.

    Attributes:
        prefix: what the names of its tensors begin with.
        style: whose names follow: those of transformers (clip, t5) or of open_clip.
        penultimate: its last layer is there and not used, as in Stable Diffusion 2.
    """

    prefix: str
    style: Literal["clip", "open_clip", "t5"]
    penultimate: bool = False


@dataclass(frozen=True)
class Layout:
    """How the files of a family are laid out.

    Attributes:
        folder: of its published configuration.
        title: as people call it.
        family: which parts it has.
        texts: name of a text encoder -> where it is.
        fixed_heads: attention of as many heads at every level, else of heads of 64 channels.
    """

    folder: str
    title: str
    family: Family
    texts: Mapping[str, Text]
    fixed_heads: bool = False

    def prefix(self, part: str) -> str:
        """What the names of a part's tensors begin with."""
        if part in self.texts:
            return self.texts[part].prefix
        return VAE if part == "vae" else UNET


_SECOND = {"text_encoder": Text(OPEN_CLIP, "open_clip", penultimate=True)}
V1 = Layout("v1", "Stable Diffusion 1", SD, {"text_encoder": Text(CLIP, "clip")}, fixed_heads=True)
V2 = Layout("v2", "Stable Diffusion 2", SD, _SECOND)
X4 = Layout("x4", "Stable Diffusion x4 upscaler", SD, _SECOND, fixed_heads=True)
XL = Layout(
    "xl",
    "Stable Diffusion XL",
    SDXL,
    {
        "text_encoder": Text("conditioner.embedders.0.transformer.", "clip"),
        "text_encoder_2": Text("conditioner.embedders.1.model.", "open_clip"),
    },
)
V3 = Layout(
    "sd3",
    "Stable Diffusion 3",
    SD3,
    {
        "text_encoder": Text("text_encoders.clip_l.transformer.", "clip"),
        "text_encoder_2": Text("text_encoders.clip_g.transformer.", "clip"),
        "text_encoder_3": Text("text_encoders.t5xxl.transformer.", "t5"),
    },
)
LAYOUTS = (V1, V2, XL, V3, X4)


def any_begins(names: Iterable[str], start: str) -> bool:
    """Whether a name begins so."""
    return any(name.startswith(start) for name in names)


def full_name(names: Iterable[str]) -> str:
    """What all names of a file lack at their beginning.

    ComfyUI's files of a U-Net or transformer alone leave out ``model.diffusion_model.``.
    """
    return UNET if any(name in _BARE for name in names) else ""


def missing_parts(layout: Layout, missing: Iterable[str]) -> str:
    """Parts that a file lacks, for a message."""
    return " and ".join(
        f"no {_SPOKEN[part.rstrip('_23')]} ({layout.prefix(part)}…)" for part in missing
    )
