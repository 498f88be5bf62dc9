"""Whether a model's family can make what a timeline asks for, said before anything is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .core.timeline import Timeline
from .errors import UsageError
from .models.few_steps import told_guidance
from .models.fitting import prediction_of
from .models.sampler_names import check_eta, check_flow, check_spacing

if TYPE_CHECKING:
    from .models.opening import Source


def check_serves(timeline: Timeline, model: Source, size: tuple[int, int]) -> None:
    """Refuse what the model cannot do.

    Args:
        timeline: what to render.
        model: its configurations, of which no weights are read.
        size: (width, height) in pixels of the largest pass.

    Raises:
        UsageError: naming the setting, and what to do instead.
    """
    title = model.family.title
    flow = prediction_of(model.scheduler) == "flow"
    if flow:
        check_flow(timeline.sampler)
    check_spacing(timeline.sampler, timeline.spacing, flow)
    check_eta(timeline.sampler, timeline.eta)
    if timeline.caching is not None and told_guidance(model):
        raise UsageError(
            "cache: this model is told the guidance scale and takes so few steps that none can be "
            "left out; leave cache and speed fast out"
        )
    if timeline.sizes is not None and model.family.name != "sdxl":
        raise UsageError(
            f"sizes: {title} is told no sizes, only Stable Diffusion XL is; leave it out"
        )
    layers = model.configs["text_encoder"].get("num_hidden_layers")
    if isinstance(layers, int) and timeline.clip_skip > layers:
        raise UsageError(
            f"clip_skip: {timeline.clip_skip}, but the text encoder of this model has {layers} "
            "layers"
        )
    if model.family.name == "sd3":
        _check_transformer(timeline, model, size)


def _check_transformer(timeline: Timeline, model: Source, size: tuple[int, int]) -> None:
    if timeline.seamless:
        raise UsageError(
            f"seamless {timeline.seamless!r} does not work with {model.family.title}, whose "
            "transformer sees the edges of a picture; leave it out, or choose a model with a U-Net"
        )
    config, steps = model.configs["transformer"], model.configs["vae"].get("block_out_channels")
    places = config.get("pos_embed_max_size")
    if timeline.tiling is not None or not isinstance(places, int) or not steps:
        return
    longest = places * int(config.get("patch_size", 2)) * 2 ** (len(steps) - 1)
    if max(size) > longest:
        raise UsageError(
            f"size {size[0]}x{size[1]}: {model.family.title} makes at most {longest} pixels a "
            "side at once; set tile, such as tile: 1024"
        )
