"""A classifier of things, trained on the real drawings: the yardstick of emoji_quality.py."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from sdcreative_plugins.train.pictures import BACKGROUNDS, Drawing

BATCH = 64
CLASSIFIER_VERSION = 1
"""raised when the network or its augmentation changes, so that cached weights are not reused"""

Report = Callable[[str], None]
Guesses = list[tuple[str, ...]]


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2015, fig. 2)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


def build_network(classes: int) -> nn.Sequential:
    """A residual network of 0.9 M parameters: (N, 3, S, S) in [-1, 1] to (N, classes) logits."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Block(32, 32, 1),
        Block(32, 64, 2),
        Block(64, 128, 2),
        Block(128, 192, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(192, classes),
    )


@dataclass(frozen=True)
class Classifier:
    """Names what a picture shows.

    Attributes:
        network: of ``build_network``, in evaluation mode.
        things: names of the classes.
        side: of the pictures it was trained on, in pixels.
    """

    network: nn.Module
    things: tuple[str, ...]
    side: int

    @torch.no_grad()
    def guess(self, pixels: Tensor) -> Guesses:
        """The five likeliest things, best first, of each picture (N, 3, H, W) in [-1, 1]."""
        device = next(self.network.parameters()).device
        best: list[list[int]] = []
        for rows in fit(pixels, self.side).split(BATCH):
            logits = self.network(rows.to(device))
            best += logits.topk(min(5, len(self.things))).indices.tolist()
        return [tuple(self.things[i] for i in row) for row in best]


def read_classifier(
    drawings: Sequence[Drawing], steps: int, cache: Path, device: torch.device, report: Report
) -> Classifier:
    """The classifier of these drawings: from the cache folder, or trained and stored there."""
    things = tuple(sorted({d.name for d in drawings}))
    side = drawings[0].rgba.shape[0]
    digest = hashlib.sha256(f"{CLASSIFIER_VERSION} {steps} {BATCH} {side}".encode())
    for drawing in drawings:
        digest.update(drawing.name.encode() + b"\0" + drawing.rgba.tobytes())
    path = cache / f"emoji_classifier_{digest.hexdigest()[:16]}.safetensors"
    if path.is_file():
        network = build_network(len(things))
        network.load_state_dict(load_file(path))
    else:
        network = train_classifier(drawings, things, steps, device, report)
        temporary = path.with_suffix(".part")
        save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, temporary)
        temporary.replace(path)
    network.to(device).to(memory_format=torch.channels_last)
    return Classifier(network.eval(), things, side)


def train_classifier(
    drawings: Sequence[Drawing],
    things: Sequence[str],
    steps: int,
    device: torch.device,
    report: Report,
) -> nn.Sequential:
    """Train on batches of drawings drawn and augmented at random, seed fixed."""
    number = {thing: i for i, thing in enumerate(things)}
    labels = torch.tensor([number[d.name] for d in drawings])
    stored = torch.from_numpy(np.stack([d.rgba for d in drawings])).permute(0, 3, 1, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(len(things))
    network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=max(2, steps), pct_start=0.15
    )
    began = time.perf_counter()
    for step in range(1, steps + 1):
        chosen = torch.randint(len(drawings), (BATCH,), generator=generator)
        pixels = augment(stored[chosen], generator)
        logits = network(pixels.to(device, memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, labels[chosen].to(device), label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            left = (time.perf_counter() - began) / step * (steps - step)
            report(f"classifier: step {step} of {steps}, loss {loss.item():.3f}, {left:.0f} s left")
    return network


def augment(rgba: Tensor, generator: torch.Generator) -> Tensor:
    """Drawings on backgrounds: turned, mirrored, scaled, shifted, softened, brighter or darker.

    Args:
        rgba: (N, 4, S, S) uint8.
        generator: the only source of randomness.

    Returns:
        (N, 3, S, S), about [-1, 1].
    """
    count = len(rgba)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((count, *shape), generator=generator) * (high - low) + low

    straight = rgba.float() / 255
    alpha = straight[:, 3:]
    drawn = torch.cat([straight[:, :3] * alpha, alpha], dim=1)
    angle, scale = uniform(-0.2, 0.2), uniform(0.75, 1.03)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    # The grid leads from where a pixel lands to where it comes from: the inverse of the placing.
    turn = torch.stack(
        [angle.cos() * flip, -angle.sin() * flip, angle.sin(), angle.cos()], dim=1
    ).view(count, 2, 2) / scale.view(count, 1, 1)
    room = ((1 - scale).clamp_min(0) + 0.04).unsqueeze(1)
    shift = uniform(-1, 1, 2) * room
    theta = torch.cat([turn, -turn @ shift.unsqueeze(2)], dim=2)
    grid = functional.affine_grid(theta, list(drawn.shape), align_corners=False)
    placed = functional.grid_sample(drawn, grid, align_corners=False)
    palette = torch.tensor(list(BACKGROUNDS.values())) / 255
    colour = palette[torch.randint(len(palette), (count,), generator=generator)]
    colour = (colour + uniform(-0.04, 0.04, 1)).clamp(0, 1)
    colour = torch.where(uniform(0, 1, 1) < 0.5, torch.ones(3), colour)
    filled = placed[:, :3] + (1 - placed[:, 3:]) * colour.view(count, 3, 1, 1)
    pixels = (filled * 2 - 1) * uniform(0.9, 1.1, 1, 1, 1) + uniform(-0.05, 0.05, 1, 1, 1)
    return soften(pixels, generator)


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur one half of a batch as a small autoencoder does; add a little noise to all of it."""
    side, half = pixels.shape[-1], len(pixels) // 2
    small = int(torch.randint(side * 3 // 8, side, (), generator=generator))
    blurred = functional.interpolate(fit(pixels[:half], small), size=side, mode="bicubic")
    pixels = torch.cat([blurred, pixels[half:]])
    strength = torch.rand((len(pixels), 1, 1, 1), generator=generator) * 0.08
    return pixels + strength * torch.randn(pixels.shape, generator=generator)


def fit(pixels: Tensor, side: int) -> Tensor:
    """Pictures (N, 3, H, W) resized to (N, 3, side, side)."""
    if pixels.shape[-2:] == (side, side):
        return pixels
    return functional.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)


def fit_drawing(drawing: Drawing, side: int) -> Drawing:
    """The drawing at another size, for the classifier."""
    if drawing.rgba.shape[0] == side:
        return drawing
    resized = Image.fromarray(drawing.rgba).resize((side, side), Image.Resampling.LANCZOS)
    return replace(drawing, rgba=np.array(resized))
