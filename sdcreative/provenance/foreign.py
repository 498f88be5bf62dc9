"""Pictures of other programs: what they say of their making, as settings of the tool `image`."""

from __future__ import annotations

import importlib
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.large import LARGEST
from ..errors import UsageError
from ..models.sampler_names import canonical
from ..models.sources import builtin_names
from .parameters import Parameters
from .record import Provenance

# Said elsewhere, or of no consequence for the picture.
_SILENT = ("Version", "Model hash", "Schedule type", "Model", "Sampler")
_ORDINARY_SCHEDULES = ("", "automatic", "normal", "simple", "uniform")
_UPSCALERS = {
    "latent": "latent-bilinear",
    "latent (antialiased)": "latent-bilinear",
    "latent (bicubic)": "latent-bicubic",
    "latent (bicubic antialiased)": "latent",
    "latent (nearest-exact)": "latent-nearest",
    "lanczos": "image",
    "r-esrgan 4x+": "realesrgan-photo",
    "r-esrgan 4x+ anime6b": "realesrgan-drawing",
}
"""AUTOMATIC1111's names, in small letters -> ours"""
_SECOND_PASS = ("Denoising strength", "Hires upscale", "Hires steps", "Hires upscaler")
# What a parser of strangers' files may stumble over in a hostile one.
_STUMBLES = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, AttributeError,
    ArithmeticError, RecursionError, struct.error, zlib.error,
)  # fmt: skip


def provenance_of(parameters: Parameters, program: str = "AUTOMATIC1111") -> Provenance:
    """Settings of the tool `image` for what another program noted, and what they leave out."""
    details = parameters.details
    settings: dict[str, Any] = {"prompt": parameters.prompt}
    left_out: list[str] = []
    if parameters.negative_prompt:
        settings["negative_prompt"] = parameters.negative_prompt
    taken = {
        "Steps": ("steps", _whole(details.get("Steps"), 1, 1000)),
        "CFG scale": ("guidance_scale", _number(details.get("CFG scale"), 100)),
        "Seed": ("seed", _whole(details.get("Seed"), 0, 2**32 - 1)),
        "Size": ("size", _size(details.get("Size"))),
        "Clip skip": ("clip_skip", _whole(details.get("Clip skip"), 1, 24)),
    }
    second = _second_pass(details, left_out)
    if second:
        settings["hires"] = second
    for name, value in details.items():
        key, ours = taken.get(name, ("", None))
        if ours is not None:
            settings[key] = ours
        elif name not in _SILENT and not (second and name in _SECOND_PASS):
            left_out.append(f"{name}: {value}")
    _take_sampler(details, settings, left_out)
    _take_model(details, settings, left_out)
    return Provenance(
        "image",
        settings,
        seed=settings.get("seed"),
        model=settings.get("model"),
        program=program,
        left_out=tuple(left_out),
    )


def _second_pass(details: Mapping[str, str], left_out: list[str]) -> dict[str, Any]:
    """``hires`` of a picture that was made in two passes; empty for one."""
    scale = _number(details.get("Hires upscale"), LARGEST)
    if scale is None or scale <= 1:
        return {}
    found: dict[str, Any] = {"scale": scale}
    strength = _number(details.get("Denoising strength"), 1)
    if strength is not None:
        found["strength"] = strength
    if steps := _whole(details.get("Hires steps"), 1, 1000):
        found["steps"] = steps
    if name := details.get("Hires upscaler", ""):
        found["upscale"] = _UPSCALERS.get(name.lower(), "image")
        if name.lower() not in _UPSCALERS:
            left_out.append(f"Hires upscaler: {name}; pictures are enlarged by resampling instead")
    return found


def _take_sampler(
    details: Mapping[str, str], settings: dict[str, Any], left_out: list[str]
) -> None:
    name, schedule = details.get("Sampler", ""), details.get("Schedule type", "")
    if not name:
        return
    plain = schedule.lower() in _ORDINARY_SCHEDULES
    try:
        settings["sampler"] = canonical(name if plain else f"{name} {schedule}")
        return
    except UsageError:
        left_out.append(f"Sampler: {name}" if plain else f"Schedule type: {schedule} of {name}")
    if not plain:
        _take_sampler({"Sampler": name}, settings, left_out)


def _take_model(details: Mapping[str, str], settings: dict[str, Any], left_out: list[str]) -> None:
    name, digest = details.get("Model", ""), details.get("Model hash", "")
    if name in builtin_names():
        settings["model"] = name
    elif name or digest:
        shown = f"Model: {name} ({digest})" if name and digest else f"Model: {name or digest}"
        left_out.append(f"{shown}; name its folder or hub id with 'model:'")


def _whole(text: str | None, least: int, most: int) -> int | None:
    if text is None or not re.fullmatch(r"\d{1,19}", text):
        return None
    return int(text) if least <= int(text) <= most else None


def _number(text: str | None, most: float) -> float | None:
    if text is None or not re.fullmatch(r"\d{1,9}(\.\d{1,30})?", text):
        return None
    return float(text) if float(text) <= most else None


def _size(text: str | None) -> str | None:
    match = re.fullmatch(r"(\d{1,5})x(\d{1,5})", text or "")
    return match[0] if match and min(int(match[1]), int(match[2])) >= 8 else None


def ask_sd_parsers(path: Path) -> Provenance | None:
    """What the package sd-parsers makes of a picture; None where it is not installed, or nothing.

    It reads what ComfyUI, InvokeAI, NovelAI, Fooocus and others write.
    """
    try:
        package: Any = importlib.import_module("sd_parsers")
    except ModuleNotFoundError:
        return None
    from PIL import Image

    try:
        info = package.ParserManager().parse(path)
        if info is None or not info.samplers:
            return None
        return provenance_of(_parameters(info), str(info.generator.value))
    except (*_STUMBLES, Image.DecompressionBombError):
        return None


def _parameters(info: Any) -> Parameters:
    sampler = info.samplers[0]
    known = {"steps": "Steps", "cfg_scale": "CFG scale", "seed": "Seed"}
    details = {"Sampler": str(sampler.name)}
    for name, value in sampler.parameters.items():
        details[known.get(name, "Schedule type" if name == "scheduler" else name)] = str(value)
    if sampler.model is not None:
        details["Model"] = str(sampler.model.name or "")
        details["Model hash"] = str(sampler.model.hash or "")
    if len(info.samplers) > 1:
        details["further samplers"] = str(len(info.samplers) - 1)
    for place in (sampler.parameters, info.metadata, *info.metadata.get("EmptyLatentImage", ())):
        if isinstance(place, Mapping) and {"width", "height"} <= set(place):
            details["Size"] = f"{place['width']}x{place['height']}"
    details |= {str(name): "…" for name in info.metadata if str(name) not in details}
    return Parameters(str(info.full_prompt), str(info.full_negative_prompt), details)
