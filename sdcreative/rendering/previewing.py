"""A model as one timeline wants it: with a quick decoder for previews, with 8-bit linear layers."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from ..core.shots import Blend, Noise, Shot
from ..core.timeline import Timeline
from ..models.float8 import is_float8, parts_in_float8
from ..models.parts import Parts
from ..models.quick_decoder import QuickDecoder
from ..models.vae import decode_latents
from ..runs.home import previews_folder
from .denoising import Denoiser

FORMAT = 1
"""Counted up whenever the same model would give another decoder."""

LEAST_PLACES = 4096
"""latents that a decoder is fitted to, and a third as many that tell how good it is"""
PICTURES = 4
STEPS = 4
_BATCH = 4
_SAMPLED = 64
"""numbers of every tensor that a model is told by"""

_QUICK = ("AutoencoderTiny", "QuickDecoder")
_made: WeakKeyDictionary[Parts, dict[tuple[str, bool], Parts]] = WeakKeyDictionary()


def parts_for(parts: Parts, timeline: Timeline, *, fitted: bool = True) -> Parts:
    """The model that a timeline is rendered with; made once, and as it is for plain timelines.

    Args:
        parts: the model.
        timeline: its ``preview`` and ``linears`` say what is wanted.
        fitted: whether the quick decoder is to show anything; without it only takes its time.

    Raises:
        UsageError: a device without 8-bit products.
    """
    known = _made.setdefault(parts, {})
    found, wanted = parts, ("", True)
    if timeline.linears == "float8" and not is_float8(parts.denoiser):
        wanted = ("float8", True)
        if wanted not in known:
            known[wanted] = parts_in_float8(parts)
        found = known[wanted]
    if timeline.preview and type(parts.vae).__name__ not in _QUICK:
        wanted = (f"{timeline.linears} preview", fitted)
        if wanted not in known:
            known[wanted] = replace(found, vae=_decoder(parts, fitted))
        found = known[wanted]
    return found


def said_of(parts: Parts) -> str:
    """One line on how a preview is decoded."""
    if isinstance(parts.vae, QuickDecoder):
        fit = parts.vae.fit or 0.0
        return f"preview: few steps; a quick decoder shows {fit:.0%} of what the full one does"
    return "preview: few steps, decoded by a tiny autoencoder"


def _decoder(parts: Parts, fitted: bool) -> QuickDecoder:
    decoder = QuickDecoder(parts.vae, parts.latent_channels, parts.downsampling)
    decoder.to(parts.device)
    if not fitted:
        return decoder
    name = _digest(parts)
    file = previews_folder() / f"{name}.safetensors" if name else None
    if file is None or not _read(decoder, file):
        _fit(decoder, parts)
        if file is not None:
            _write(decoder, file)
    return decoder


@torch.inference_mode()
def _fit(decoder: QuickDecoder, parts: Parts) -> None:
    """Fit to pictures that the model makes of no prompt, some of which only tell how good it is."""
    width, height = parts.sample_size
    places = width * height // parts.downsampling**2
    count = max(PICTURES, ceil(LEAST_PLACES / places))
    total = count + max(1, count // 3)
    found = [(rows, _clipped(parts, rows)) for rows in _samples(parts, total)]
    latents = torch.cat([rows for rows, _ in found])
    pixels = torch.cat([rows for _, rows in found])
    factor = float(parts.vae.config.scaling_factor)
    seen = latents / factor + float(parts.vae.config.get("shift_factor") or 0.0)
    with torch.inference_mode(False), torch.no_grad():
        seen, pixels = seen.clone(), pixels.clone()
        decoder.solve(seen[:count], pixels[:count])
        decoder.fit = decoder.explained(seen[count:], pixels[count:])


def _clipped(parts: Parts, latents: Tensor) -> Tensor:
    return decode_latents(parts, latents).clamp(-1, 1).cpu()


def _samples(parts: Parts, count: int) -> Iterator[Tensor]:
    """Final latents (N, C, h, w) of seeds 0, 1, ... in few steps, without guidance."""
    shots = [Shot(Blend(""), Noise(seed), guidance_scale=1.0) for seed in range(count)]
    # Models that are told the guidance scale make nothing sensible with other samplers.
    sampler = "LCM" if parts.told_guidance else "DPM++ 2M"
    timeline = Timeline(lambda: shots, count, steps=STEPS, sampler=sampler)
    denoiser = Denoiser(parts, timeline, parts.sample_size, lambda rows: None)
    batch = 1 if parts.low_memory else _BATCH
    for start in range(0, count, batch):
        part = shots[start : start + batch]
        yield denoiser.latents([denoiser.prepare(shot, start) for shot in part])


def _digest(parts: Parts) -> str:
    """16 hexadecimal digits of a model's numbers, a few of every tensor; empty if they are away."""
    digest = hashlib.sha256(f"{FORMAT} {parts.dtype} {parts.sample_size}".encode())
    modules: dict[str, Any] = {"denoiser": parts.denoiser, "vae": parts.vae}
    for part, module in modules.items():
        for name, tensor in module.state_dict().items():
            if tensor.is_meta:
                return ""
            digest.update(f"{part}.{name} {tuple(tensor.shape)}".encode())
            few = tensor.detach().flatten()[:_SAMPLED].float().cpu().contiguous()
            digest.update(few.numpy().tobytes())
    return digest.hexdigest()[:16]


def _read(decoder: QuickDecoder, file: Path) -> bool:
    """Whether a decoder of the same shape was there; a damaged file is made anew."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found = load_file(file)
    except (OSError, SafetensorError):
        return False
    return decoder.restore(found)


def _write(decoder: QuickDecoder, file: Path) -> None:
    """Best effort: without the file the next preview only begins later."""
    from safetensors.torch import save_file

    part = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        save_file(decoder.state(), part)
        os.replace(part, file)
