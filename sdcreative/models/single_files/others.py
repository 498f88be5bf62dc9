"""Files that are no checkpoint of a family that can be run: what they are, said by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..strangers import shown
from .layouts import OPEN_CLIP, UNET, any_begins

_REFINER_WIDTH = 2560
"""what the SDXL refiner is told of sizes and its prompt; the base is told 2816 numbers"""


def other_unet(names: Mapping[str, tuple[int, ...]], channels: int) -> str | None:
    """A family with a U-Net of the same layout that is not one of ours.

    Args:
        names: and shapes, of the whole file.
        channels: that its U-Net takes.
    """
    told = names.get(f"{UNET}label_emb.0.0.weight", ())
    if "conditioner.embedders.0.model.transformer.resblocks.0.ln_1.weight" in names or told[1:] == (
        _REFINER_WIDTH,
    ):
        return "SDXL refiner, which is not supported"
    if any_begins(names, "conditioner.") or told:
        if any_begins(names, OPEN_CLIP):
            return "Stable Diffusion 2 unCLIP, which is not supported"
        if "edm_mean" in names:
            return "Playground 2.5, which is trained by EDM and not supported"
        if "edm_vpred.sigma_max" in names:
            return "CosXL, which is trained by EDM and not supported"
        if channels == 8:
            return "SDXL instruct-pix2pix, which is not supported"
    if any(".time_stack." in name or ".time_mixer." in name for name in names):
        return "Stable Video Diffusion, which is not supported"
    if any_begins(names, "control_model."):
        return "a ControlNet with a model, which is not supported"
    if any_begins(names, f"{UNET}input_hint_block."):
        return "a ControlNet, not a model"
    if f"{UNET}label_emb.weight" in names and channels != 7:
        return "a model that is asked for classes, which is not supported"
    others = {
        5: "a depth model (Stable Diffusion 2 depth), which is not supported",
        8: "InstructPix2Pix, which is not supported",
    }
    if channels in others:
        return others[channels]
    if channels not in (4, 7, 9):
        return f"a U-Net of {channels} input channels, where 4 are expected (9 for inpainting)"
    return None


def packed(names: Iterable[str]) -> str | None:
    """Whether weights are packed in a way that their type alone does not tell, and how."""
    for name in names:
        if name.endswith((".scale_weight", ".weight_scale", "scaled_fp8", ".comfy_quant")):
            return "has weights in 8-bit numbers with scales"
        if ".quant_state.bitsandbytes" in name:
            return "has weights in 4-bit numbers (bitsandbytes)"
    return None


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


def other_file(names: Mapping[str, tuple[int, ...]]) -> str:
    """What a file without the U-Net of our families is."""
    if any(name.startswith(UNET) for name in names):
        inside = {name.removeprefix(UNET) for name in names}
        known = next((title for test, title in _FILES if test(inside)), None)
        return known or f"a model of an unknown family ({UNET}…)"
    for test, title in _FILES:
        if test(names):
            return title
    first = ", ".join(map(shown, sorted(names)[:2])) or "none"
    return f"no model that is known ({len(names)} tensors, such as {first})"
