"""Held-out pictures on which a U-Net that is shown one is looked at and measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .latents import encode_mean
from .masks import random_mask
from .pictures import Drawing, compose
from .seen import Holes, Seen, SmallPicture, resize
from .sheets import tile
from .stages import Inpainting

COUNT = 16
ON_A_SHEET = 8


class Examples:
    """Pictures, what the U-Net is shown of them, and how near what it makes comes.

    Attributes:
        captions: one of each.
        seen: (N, K, h, w), noised.
        levels: noise levels (N,), or None.
    """

    def __init__(
        self, seen: Seen, vae: Any, drawings: Sequence[Drawing], device: torch.device
    ) -> None:
        rng = np.random.default_rng(6)
        chosen = [drawings[i % len(drawings)] for i in range(COUNT)]
        samples = [compose(drawing, rng) for drawing in chosen]
        self.captions = [sample.captions[0] for sample in samples]
        self.pixels = torch.from_numpy(np.stack([s.pixels for s in samples])).to(device)
        self.levels: Tensor | None = None
        with torch.no_grad():
            if isinstance(seen, SmallPicture):
                self._small(seen, vae)
            elif isinstance(seen, Holes):
                self._holes(seen, vae, rng)

    def _small(self, seen: SmallPicture, vae: Any) -> None:
        small = seen.shrink(self.pixels)
        clean = seen.of_small(small, vae)
        # The least there is: more would be held against the model, not against bicubic.
        self.levels = torch.zeros(COUNT, dtype=torch.long, device=clean.device)
        grain = torch.randn(clean.shape, generator=torch.Generator().manual_seed(6))
        self.seen = seen.noised(clean, self.levels, grain.to(clean.device))
        self.masks: Tensor | None = None
        self.simple = resize(small, *self.pixels.shape[-2:])
        self.copies = vae.decode(encode_mean(vae, self.pixels)).sample

    def _holes(self, seen: Holes, vae: Any, rng: np.random.Generator) -> None:
        """Masks of every kind but the whole one; filled with the mean colour of the rest."""
        kinds = Inpainting(whole=0, strokes=seen.settings.strokes)
        height, width = self.pixels.shape[-2:]
        drawn = np.stack([random_mask(rng, height, width, kinds) for _ in range(COUNT)])
        masks = torch.from_numpy(drawn)[:, None].to(self.pixels.device)
        self.masks, self.seen = masks, seen.of_masks(self.pixels, masks, vae)
        rest = (~masks).sum(dim=(2, 3), keepdim=True).clamp_min(1)
        mean = (self.pixels * ~masks).sum(dim=(2, 3), keepdim=True) / rest
        self.simple = torch.where(masks, mean, self.pixels)

    def measure(self, made: Tensor) -> dict[str, float]:
        """PSNR in dB, or the error under the masks.

        PSNR stands beside that of bicubic enlargement, and that of the autoencoder's copies of the
        large pictures, which nothing can exceed by much. The error is the mean absolute one, in
        shares of the range from black to white, beside that of filling the hole with the mean
        colour of the rest.
        """
        if self.masks is None:
            shown = {"psnr": made, "bicubic": self.simple, "copies": self.copies}
            return {name: psnr(pictures, self.pixels) for name, pictures in shown.items()}
        return {"hole": self._under_masks(made), "mean_fill": self._under_masks(self.simple)}

    def _under_masks(self, made: Tensor) -> float:
        error = (made.clamp(-1, 1) - self.pixels).abs().mean(dim=1, keepdim=True) / 2
        return float(error[self.masks].mean())

    def sheet(self, made: Tensor) -> Image.Image:
        """What was shown, what was made, and what it was."""
        shown = self.simple
        if self.masks is not None:
            shown = self.pixels * ~self.masks
        rows = [shown[:ON_A_SHEET], made[:ON_A_SHEET], self.pixels[:ON_A_SHEET]]
        return tile(torch.cat(rows).cpu(), columns=ON_A_SHEET)


def psnr(made: Tensor, wanted: Tensor) -> float:
    """Mean over pictures in [-1, 1] of the peak signal-to-noise ratio in dB."""
    error = ((made.clamp(-1, 1) - wanted) / 2).square().mean(dim=(1, 2, 3)).clamp_min(1e-10)
    return float((-10 * error.log10()).mean())
