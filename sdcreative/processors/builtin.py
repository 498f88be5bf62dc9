"""Processors by name."""

from __future__ import annotations

from ..tools import Processor
from .colour_match import COLOUR_MATCH
from .deflicker import DEFLICKER
from .diffusion_upscale import DIFFUSION_UPSCALE
from .interpolate import INTERPOLATE
from .upscale import UPSCALE

PROCESSORS: dict[str, Processor] = {
    processor.name: processor
    for processor in (COLOUR_MATCH, DEFLICKER, DIFFUSION_UPSCALE, INTERPOLATE, UPSCALE)
}
"""The built-in ones, to which those of plugins are added."""
