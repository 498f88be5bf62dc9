"""The pictures of a training set as latents, encoded once and kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from .pictures import Drawing, compose

if TYPE_CHECKING:
    from .seen import Seen

TOGETHER = 64


@dataclass(frozen=True)
class Latents:
    """Encoded training set.

    Attributes:
        values: latents (N, C, h, w) in float16.
        captions: phrasings of each.
        seen: what the U-Net is shown beside each, (N, K, h, w) in float16, or None.
    """

    values: Tensor
    captions: list[tuple[str, ...]]
    seen: Tensor | None = None


def encode_mean(vae: Any, pixels: Tensor) -> Tensor:
    """Latents (N, C, h, w) of pictures, not scaled: the mean, or those before the codebook."""
    encoded = vae.encode(pixels)
    if hasattr(encoded, "latents"):
        return encoded.latents  # type: ignore[no-any-return]
    return encoded.latent_dist.mean  # type: ignore[no-any-return]


def cached_latents(
    training: Sequence[Drawing],
    vae: Any,
    variants: int,
    device: torch.device,
    run: Path,
    report: Callable[[str], None],
    *,
    white: float = 0.5,
    seen: Seen | None = None,
) -> Latents:
    """Compose and encode every drawing ``variants`` times; captions are drawn again, not stored.

    The latents are stored with a digest of what they were made from, and made anew when the
    drawings or the autoencoder have changed. ``white`` is the share of plain backgrounds;
    ``seen`` makes what the U-Net is shown beside the latents.
    """
    rng, other = np.random.default_rng(4), np.random.default_rng(5)
    file, label = run / "latents.pt", run / "latents.json"
    origin = json.dumps({"made_from": _digest(training, vae, variants, white, seen)}) + "\n"
    stored = None
    if file.is_file() and label.is_file() and label.read_text("utf-8") == origin:
        stored = torch.load(file, weights_only=True)
    captions: list[tuple[str, ...]] = []
    encoded: list[Tensor] = []
    shown: list[Tensor] = []
    for start in range(0, len(training), TOGETHER):
        part = training[start : start + TOGETHER]
        samples = [compose(d, rng, white=white) for d in part for _ in range(variants)]
        captions += [sample.captions for sample in samples]
        if stored is None:
            for first in range(0, len(samples), TOGETHER):
                pixels = np.stack([s.pixels for s in samples[first : first + TOGETHER]])
                batch = torch.from_numpy(pixels).to(device)
                with torch.no_grad():
                    mean = encode_mean(vae, batch)
                    if seen is not None:
                        shown.append(seen.of(batch, vae, other).half().cpu())
                encoded.append((mean * vae.config.scaling_factor).half().cpu())
            report(f"latents {len(captions)}/{len(training) * variants}")
    if stored is None:
        stored = {"latents": torch.cat(encoded)}
        if seen is not None:
            stored["seen"] = torch.cat(shown)
        run.mkdir(parents=True, exist_ok=True)
        label.unlink(missing_ok=True)
        torch.save(stored, file)
        label.write_text(origin, encoding="utf-8")
    return Latents(stored["latents"], captions, stored.get("seen"))


def _digest(
    training: Sequence[Drawing], vae: Any, variants: int, white: float, seen: Seen | None
) -> str:
    said = f"2 {variants} {vae.config.scaling_factor} {white} {seen.digest() if seen else ''}"
    digest = hashlib.sha256(said.encode())
    for drawing in training:
        traits = (drawing.rgba.shape, drawing.background_caption, drawing.mirror)
        digest.update(repr((*traits, len(drawing.captions), sorted(drawing.avoid))).encode())
        digest.update(np.ascontiguousarray(drawing.rgba))
    for tensor in vae.state_dict().values():
        digest.update(tensor.detach().cpu().numpy().tobytes())
    return digest.hexdigest()
