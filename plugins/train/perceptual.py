"""Differences that one sees: between features of pictures, not between their pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sdcreative import ModelError, UsageError
from sdcreative.models.building import read_part
from sdcreative.models.clip.locked import MODEL_TYPE, LockedTextPair, read_locked
from sdcreative.models.sources import fetch, resolve

from .stages import AutoencoderStage


class Perceptual:
    """Distance between features, each of unit length (Zhang et al. 2018, eq. 1, all weights 1).

    The paper's networks and weights come with no package; features of an autoencoder's encoder,
    or of an image tower trained with captions, are what there is without a download.
    """

    def __init__(
        self,
        network: nn.Module,
        layers: list[nn.Module],
        side: int | None = None,
        run: Callable[[Tensor], Any] | None = None,
    ) -> None:
        """Features of a network's layers.

        Args:
            network: stays as it is.
            layers: of it, whose results are compared.
            side: of pictures in pixels, where it takes no other; others are resized.
            run: what sends pictures through the layers; the network itself if left out.
        """
        self.network, self.layers, self.side = network.eval().requires_grad_(False), layers, side
        self.run = run or network

    def to(self, device: torch.device) -> Perceptual:
        self.network.to(device)
        return self

    def features(self, pixels: Tensor) -> list[Tensor]:
        """What the layers say of pictures (N, 3, H, W) in [-1, 1], channels first."""
        if self.side is not None and pixels.shape[-2:] != (self.side, self.side):
            size = (self.side, self.side)
            pixels = functional.interpolate(pixels, size, mode="bilinear", antialias=True)
        found: list[Tensor] = []

        def keep(layer: nn.Module, given: Any, result: Any) -> None:
            value: Tensor = result[0] if isinstance(result, tuple) else result
            found.append(value if value.ndim == 4 else value.movedim(-1, 1))

        hooks = [layer.register_forward_hook(keep) for layer in self.layers]
        try:
            self.run(pixels)
        finally:
            for hook in hooks:
                hook.remove()
        return found

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        """Mean over pictures and layers, in [0, 4]; gradients reach ``a`` alone."""
        with torch.no_grad():
            wanted = self.features(b)
        parts = [
            (functional.normalize(x.float(), dim=1) - functional.normalize(y.float(), dim=1))
            .square()
            .sum(dim=1)
            .mean()
            for x, y in zip(self.features(a), wanted, strict=True)
        ]
        return torch.stack(parts).mean()


def perceptual(stage: AutoencoderStage, *, offline: bool) -> Perceptual | None:
    """The network that the settings name; None if the term has no weight.

    Raises:
        UsageError: the model is a single file, or has no such part.
        ModelError: it is not found, or broken.
    """
    if stage.perceptual_weight == 0:
        return None
    source = resolve(stage.perceptual_network, offline=offline)
    if source.file is not None:
        raise UsageError(
            f"autoencoder.perceptual_network: {source.file} is a single file; give a folder in "
            "the format of diffusers"
        )
    folder = fetch(source, offline) / stage.perceptual_part
    if not folder.is_dir():
        raise UsageError(
            f"autoencoder.perceptual_part: {stage.perceptual_network} has no folder "
            f"{folder.name}/; use {'vae' if folder.name == 'clip' else 'clip'}, or another "
            "perceptual_network"
        )
    return of_part(read_locked(folder) if _is_locked(folder) else read_part(folder))


def _is_locked(folder: Path) -> bool:
    config = folder / "config.json"
    if folder.name != "clip" or not config.is_file():
        return False
    try:
        said = json.loads(config.read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(said, dict) and said.get("model_type") == MODEL_TYPE


def of_part(part: Any) -> Perceptual:
    """Features of an autoencoder's encoder, after each level, or of a CLIP pair's image tower.

    Raises:
        ModelError: the part has neither.
    """
    if hasattr(part, "encoder") and hasattr(part.encoder, "down_blocks"):
        return Perceptual(part.encoder, [*part.encoder.down_blocks, part.encoder.mid_block])
    if isinstance(part, LockedTextPair):
        return Perceptual(part, list(part.blocks), run=part.picture_features)
    if hasattr(part, "vision_model"):
        tower = part.vision_model
        return Perceptual(tower, list(tower.encoder.layers), part.config.vision_config.image_size)
    raise ModelError(f"a {type(part).__name__} has no features of pictures to compare")
