"""Which family a single checkpoint file is of, from the names and shapes of its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ...errors import ModelError
from .reading import Outline

UNET, VAE = "model.diffusion_model.", "first_stage_model."
CLIP, OPEN_CLIP = "cond_stage_model.transformer.", "cond_stage_model.model."
EMA = "model_ema."
PREDICTIONS = ("epsilon", "v_prediction")
_BASE_STEPS = 875_000
"""of training of Stable Diffusion 2 base, the only one of its family to predict noise"""


@dataclass(frozen=True)
class Recognised:
    """What a file is.

    Attributes:
        family: folder of its configuration: v1 or v2.
        title: as people call it.
        inpainting: whether its U-Net also takes a mask and a masked picture.
        prediction_type: what its U-Net says: epsilon or v_prediction.
        sure: whether the file, or whoever asks, has said so.
        ema: whether it also holds averaged weights (EMA), beside the last ones.
    """

    family: str
    title: str
    inpainting: bool
    prediction_type: str
    sure: bool
    ema: bool

    @property
    def sample_size(self) -> int:
        """A side of the latents that it was trained on."""
        wide = self.family == "v2" and self.prediction_type == "v_prediction"
        return 96 if wide else 64


def recognise(outline: Outline, path: Path, prediction_type: str | None = None) -> Recognised:
    """The family of a file.

    Stable Diffusion 2 with 768 pixels (v-prediction) and its base (epsilon) have the same names
    and shapes. Where neither the settings nor the file say which it is, it is read as the former,
    as diffusers does; so is one that has been trained for other than the base's steps.

    Args:
        outline: of the file.
        path: for the messages.
        prediction_type: what the settings say; None leaves it to the file.

    Raises:
        ModelError: another kind of file, which is named, or a family that cannot be run.
    """
    names = outline.shapes
    conv = names.get(f"{UNET}input_blocks.0.0.weight", ())
    if len(conv) != 4 or (kind := _other_unet(names, conv[1])):
        found = kind if len(conv) == 4 else _other_file(names)
        raise ModelError(
            f"{path} is {found}; of single files this version runs checkpoints of Stable "
            "Diffusion 1 and 2"
        )
    version = 2 if _any(names, OPEN_CLIP) else 1
    if not _any(names, OPEN_CLIP) and not _any(names, CLIP):
        raise ModelError(f"{path} holds no text encoder (cond_stage_model.…): get the whole model")
    if not _any(names, VAE):
        raise ModelError(f"{path} holds no autoencoder (first_stage_model.…): get the whole model")
    inpainting = conv[1] == 9
    said = prediction_type or _said(outline, version, inpainting)
    return Recognised(
        family=f"v{version}",
        title=f"Stable Diffusion {version}{' inpainting' if inpainting else ''}",
        inpainting=inpainting,
        prediction_type=said or "v_prediction",
        sure=said is not None,
        ema=_any(names, f"{EMA}diffusion_model"),
    )


def _said(outline: Outline, version: int, inpainting: bool) -> str | None:
    """What a file says of its predictions, or all of its family do."""
    noted = outline.metadata.get("modelspec.prediction_type")
    if "v_pred" in outline.shapes or noted in ("v", "v_prediction"):
        return "v_prediction"
    if version == 1 or inpainting or noted == "epsilon" or outline.steps == _BASE_STEPS:
        return "epsilon"
    return None


def _other_unet(names: Mapping[str, tuple[int, ...]], channels: int) -> str | None:
    """A family with a U-Net of the same layout that is not one of ours."""
    if "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight" in names:
        return "SDXL refiner, which is not supported yet"
    if _any(names, "conditioner.") or _any(names, f"{UNET}label_emb.0.0."):
        by_channels = {8: "SDXL instruct-pix2pix", 9: "SDXL inpainting"}
        unclip = _any(names, OPEN_CLIP)
        name = "Stable Diffusion 2 unCLIP" if unclip else by_channels.get(channels, "SDXL")
        return f"{name}, which is not supported yet"
    if _any(names, f"{UNET}label_emb.") or _any(names, "low_scale_model."):
        return "an upscaler (Stable Diffusion x4), which is not supported"
    if any(".time_stack." in name or ".time_mixer." in name for name in names):
        return "Stable Video Diffusion, which is not supported"
    if _any(names, "control_model."):
        return "a ControlNet with a model, which is not supported"
    others = {
        5: "a depth model (Stable Diffusion 2 depth), which is not supported",
        7: "an upscaler (Stable Diffusion x4), which is not supported",
        8: "InstructPix2Pix, which is not supported",
    }
    if channels in others:
        return others[channels]
    if channels not in (4, 9):
        return f"a U-Net of {channels} input channels, where 4 are expected (9 for inpainting)"
    return None


def _any(names: Iterable[str], start: str) -> bool:
    return any(name.startswith(start) for name in names)


def _has(*fragments: str) -> Callable[[Iterable[str]], bool]:
    return lambda names: any(fragment in name for name in names for fragment in fragments)


_FILES: tuple[tuple[Callable[[Iterable[str]], bool], str], ...] = (
    (
        _has(".lora_down.", ".lora_up.", ".lora_A.", ".lora_B.", ".lora.down.", ".hada_w1"),
        "a LoRA, not a model",
    ),
    (
        _has("emb_params", "string_to_param", "string_to_token"),
        "an embedding of textual inversion, not a model",
    ),
    (
        _has("control_model.", "controlnet_cond_embedding", "controlnet_down_blocks"),
        "a ControlNet, not a model",
    ),
    (_has("motion_modules."), "a motion module of AnimateDiff, not a model"),
    (_has("distilled_guidance_layer."), "Chroma, which is not supported"),
    (_has("single_stream_modulation."), "Flux.2, which is not supported"),
    (_has("single_blocks.0.linear1"), "Flux.1, which is not supported"),
    (_has("txt_in.individual_token_refiner"), "HunyuanVideo, which is not supported"),
    (_has("double_blocks.0.img_attn"), "Flux.1, which is not supported"),
    (_has("joint_blocks.0."), "Stable Diffusion 3, which is not supported yet"),
    (_has("double_layers.0."), "AuraFlow, which is not supported"),
    (_has("clip_txt_mapper.", "down_blocks.1.0.channelwise"), "Stable Cascade, not supported"),
    (_has("cap_embedder.", "adaLN_single."), "a diffusion transformer, which is not supported"),
    (_has("patchify_proj.", "head.modulation", "blocks.0.attn.qkv_x"), "a video model"),
    (
        _has("down_blocks.0.resnets.0.time_emb_proj"),
        "a U-Net alone in the names of diffusers: put it into the folder that it is from",
    ),
    (
        _has("encoder.down.0.block.0", "encoder.down_blocks.0.resnets.0"),
        "an autoencoder (VAE) alone",
    ),
    (_has("text_model.encoder.layers.", "resblocks.0.ln_1"), "a text encoder alone"),
)


def _other_file(names: Mapping[str, tuple[int, ...]]) -> str:
    """What a file without the U-Net of our families is."""
    if any(name.startswith(UNET) for name in names):
        inside = {name.removeprefix(UNET) for name in names}
        known = next((title for test, title in _FILES if test(inside)), None)
        return known or f"a model of an unknown family ({UNET}…)"
    for test, title in _FILES:
        if test(names):
            return title
    first = sorted(names)[:2]
    return f"no model that is known ({len(names)} tensors, such as {', '.join(first) or 'none'})"
