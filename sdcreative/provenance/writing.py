"""The tags that a run puts into its output."""

from __future__ import annotations

from pathlib import PurePath

from .. import __version__
from ..core.shots import Noise, Shot
from ..core.timeline import Timeline
from ..models.digests import model_digest
from ..models.places import locate
from ..runs.home import models_file
from ..settings import RenderSettings
from .parameters import Parameters, format_parameters
from .record import HASH_SHOWN, TAG, describe_run


def tags(
    tool_name: str,
    settings: RenderSettings,
    timeline: Timeline,
    size: tuple[int, int],
    model_digest: str | None = None,
) -> dict[str, str]:
    """What to give a writer as metadata.

    The tag ``sdcreative`` is our own record. A picture, or a sheet of pictures, also has
    ``parameters`` in AUTOMATIC1111's form, which describes the first.

    Args:
        tool_name: which tool.
        settings: its settings, the seed drawn.
        timeline: what the tool made of them.
        size: (width, height) of one picture in pixels.
        model_digest: of the model's weights, in hexadecimal digits.

    Raises:
        OutputError: settings of a plugin that have no form in JSON.
    """
    found = {TAG: describe_run(tool_name, settings, model_digest).to_json()}
    if timeline.columns is not None or len(timeline) == 1:
        shot = next((frame for frame in timeline if isinstance(frame, Shot)), None)
        if shot is not None:
            text = _parameters(settings, timeline, shot, size, model_digest)
            found["parameters"] = text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
    return found


def job_tags(
    tool_name: str, settings: RenderSettings, timeline: Timeline, size: tuple[int, int]
) -> dict[str, str]:
    """``tags`` for a job that opens a writer by itself; the model's digest is looked up.

    Args:
        tool_name: which tool.
        settings: its settings, the seed drawn.
        timeline: what it renders; ``columns`` None if the file shows something else.
        size: (width, height) of one picture in pixels.

    Raises:
        OutputError: settings of a plugin that have no form in JSON.
        ModelError: the model cannot be found or read.
    """
    return tags(tool_name, settings, timeline, size, model_digest(locate(settings), models_file()))


def _parameters(
    settings: RenderSettings,
    timeline: Timeline,
    shot: Shot,
    size: tuple[int, int],
    model_digest: str | None,
) -> str:
    seed = shot.noise.start if isinstance(shot.noise, Noise) else settings.seed
    details = {
        "Steps": str(timeline.steps),
        "Sampler": timeline.sampler,
        "CFG scale": f"{shot.guidance_scale:g}",
        "Seed": str(seed),
        "Size": f"{size[0]}x{size[1]}",
    }
    if model_digest:
        details["Model hash"] = model_digest[:HASH_SHOWN]
    # The name alone: where a model lies on someone's disk is nobody's business.
    details["Model"] = PurePath(settings.model).name or settings.model
    if timeline.clip_skip > 1:
        details["Clip skip"] = str(timeline.clip_skip)
    if (hires := timeline.hires) is not None:
        details["Denoising strength"] = f"{hires.strength:g}"
        scale = hires.size[0] / size[0] if hires.size else hires.scale
        details["Hires upscale"] = f"{scale:g}"
        if hires.steps:
            details["Hires steps"] = str(hires.steps)
        details["Hires upscaler"] = hires.upscale
    elif shot.image is not None:
        details["Denoising strength"] = f"{shot.strength:g}"
    details["Version"] = f"sdcreative {__version__}"
    return format_parameters(Parameters(shot.prompt.start, shot.negative.start, details))
