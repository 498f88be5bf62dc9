"""Whether a U-Net fits the other parts and the settings, and making it fit where it can."""

from __future__ import annotations

from typing import Any

from sdcreative import UsageError

from .seen import Seen
from .shapes import add_classes, attends_to_text, widen_input


def fit_unet(unet: Any, vae: Any, text: Any, seen: Seen | None, classes: int) -> None:
    """Give a U-Net the input channels and the class labels that it lacks.

    Args:
        unet: new, or one to go on from.
        vae, text: configurations of the other parts.
        seen: what it is shown beside the latents.
        classes: how many classes it is told, or 0.

    Raises:
        UsageError: it was made for other latents, other text, other pictures or classes.
    """
    latents = vae.latent_channels
    wanted = latents + (seen.channels if seen else 0)
    given = unet.config.in_channels
    if unet.config.out_channels != latents or given not in (latents, wanted):
        kind = "an inpainting U-Net; set unet.inpainting" if given == 2 * latents + 1 else ""
        raise UsageError(
            f"unet: the one to go on from takes {given} channels and gives "
            f"{unet.config.out_channels}, the autoencoder makes {latents}; "
            + (f"it is {kind}" if kind else "start from a model of that kind")
        )
    if given != wanted:
        widen_input(unet, wanted)
    if attends_to_text(unet) and unet.config.cross_attention_dim != text.hidden_size:
        raise UsageError(
            f"unet: the one to go on from reads text vectors of {unet.config.cross_attention_dim}, "
            f"the text encoder gives {text.hidden_size}; leave out the clip stage, or start_from"
        )
    levels = seen.levels if seen else 0
    _fit_classes(unet, levels or (classes + 1 if classes else 0), noise=levels > 0)


def _fit_classes(unet: Any, wanted: int, *, noise: bool) -> None:
    own = unet.config.num_class_embeds
    if unet.config.class_embed_type is not None:
        raise UsageError(
            f"unet: the one to go on from has class labels of type {unet.config.class_embed_type}, "
            "which this version does not train on; start from another model"
        )
    if own is None and wanted:
        add_classes(unet, wanted)
    elif own is not None and (own < wanted if noise else own != wanted):
        raise UsageError(
            f"unet: the one to go on from has {own} class labels, the settings make {wanted}; "
            "train on with the same classes or noise levels, or set unet.fresh: true"
        )
