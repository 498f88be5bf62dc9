"""A classifier of composed clips, trained on real ones: the yardstick of riff_quality.py."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from sdcreative_plugins.train.clips import ClipPictures
from sdcreative_plugins.train.music.composer import compose_clip
from sdcreative_plugins.train.music.genres import GENRES
from sdcreative_plugins.train.music.score import FAMILIES as PITCHED

BATCH = 64
BANDS, COLUMNS = 96, 256
"""what pictures are resized to"""
PIECE = 192
"""columns that one step of the training sees of a picture"""
CLASSIFIER_VERSION = 1
"""raised when the network or its augmentation changes, so that cached weights are not reused"""
FAMILIES = (*PITCHED, "drums")
NAMES = tuple(GENRES)

Report = Callable[[str], None]


@dataclass(frozen=True)
class Labels:
    """What is in clips, in numbers.

    Attributes:
        family: the prominent one, (N,), places in ``FAMILIES``.
        genre: (N,), places in ``NAMES``.
        heard: which families play, bool (N, families).
    """

    family: Tensor
    genre: Tensor
    heard: Tensor

    def __getitem__(self, places: Tensor | Sequence[int]) -> Labels:
        chosen = torch.as_tensor(places)
        return Labels(self.family[chosen], self.genre[chosen], self.heard[chosen])


@dataclass(frozen=True)
class Guesses(Labels):
    """What the classifier takes to be in pictures."""


def compose_labels(places: Sequence[int], seed: int, seconds: float) -> Labels:
    """Labels of composed clips, read from their scores: a millisecond each.

    Args:
        places: which clips of the series.
        seed: of the series.
        seconds: that the notes fill, as when they were played.
    """
    clips = [compose_clip(place, seed, seconds) for place in places]
    family = [FAMILIES.index(clip.prominent) for clip in clips]
    genre = [NAMES.index(clip.genre) for clip in clips]
    heard = torch.zeros(len(clips), len(FAMILIES), dtype=torch.bool)
    for row, clip in zip(heard, clips, strict=True):
        row[[FAMILIES.index(part.family) for part in clip.parts]] = True
    return Labels(torch.tensor(family), torch.tensor(genre), heard)


def loudness(greys: np.ndarray | Tensor) -> Tensor:
    """Grey pictures, uint8 (N, bands, columns), loud is 0, as float32 in [0, 1], loud is 1."""
    return 1 - torch.as_tensor(greys).float() / 255


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2015, fig. 2), at half the size."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, 2, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, 2, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


class Network(nn.Module):
    """0.5 M parameters: loudness (N, bands, columns) to logits of family, genre and heard.

    Pooled over time alone, because what is high and what is low tells instruments apart.
    """

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 16, 5, 2, 2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            Block(16, 32),
            Block(32, 64),
            Block(64, 128),
        )
        width = 2 * 128 * BANDS // 16
        self.heads = nn.ModuleList(
            nn.Linear(width, count) for count in (len(FAMILIES), len(NAMES), len(FAMILIES))
        )

    def forward(self, loud: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        found = self.body(loud.unsqueeze(1))
        pooled = torch.cat([found.mean(dim=3), found.amax(dim=3)], dim=1).flatten(1)
        family, genre, heard = (head(pooled) for head in self.heads)
        return family, genre, heard


@dataclass(frozen=True)
class Classifier:
    """Names instruments and genre of spectrogram pictures."""

    network: Network

    @torch.no_grad()
    def guess(self, loud: Tensor) -> Guesses:
        """Of loudness (N, bands, columns) in [0, 1]."""
        device = next(self.network.parameters()).device
        found = [self.network(fit(rows).to(device)) for rows in loud.split(BATCH)]
        family, genre, heard = (torch.cat(part).cpu() for part in zip(*found, strict=True))
        return Guesses(family.argmax(1), genre.argmax(1), heard > 0)


def fit(loud: Tensor) -> Tensor:
    """Loudness (N, H, W) resized to (N, 96, 256)."""
    if loud.shape[1:] == (BANDS, COLUMNS):
        return loud
    size = (BANDS, COLUMNS)
    return functional.interpolate(loud[:, None], size=size, mode="bilinear", antialias=True)[:, 0]


def read_classifier(
    clips: ClipPictures,
    places: Sequence[int],
    label: Callable[[Sequence[int]], Labels],
    steps: int,
    cache: Path,
    device: torch.device,
    report: Report,
) -> Classifier:
    """The classifier of the clips at these places: from the cache folder, or trained into it.

    Args:
        clips: pictures and facts.
        places: of the clips to train on.
        label: gives the labels of such places; not asked where the classifier is in the cache.
        steps: of the training.
        cache: folder of classifiers.
        device: that trains and guesses.
        report: prints one line.
    """
    # The largest magnitudes tell clips apart as well as their pictures would.
    rows = [(r.loudest, r.genre, r.prominent) for r in (clips.facts[place] for place in places)]
    said = repr((CLASSIFIER_VERSION, steps, BATCH, clips.params, FAMILIES, NAMES, rows))
    path = cache / f"riff_classifier_{hashlib.sha256(said.encode()).hexdigest()[:16]}.safetensors"
    if path.is_file():
        network = Network()
        network.load_state_dict(load_file(path))
    else:
        network = train_classifier(clips, places, label(places), steps, device, report)
        temporary = path.with_suffix(".part")
        cache.mkdir(parents=True, exist_ok=True)
        save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, temporary)
        temporary.replace(path)
    return Classifier(network.to(device).eval())


def train_classifier(
    clips: ClipPictures,
    places: Sequence[int],
    labels: Labels,
    steps: int,
    device: torch.device,
    report: Report,
) -> Network:
    """Train on batches of clips drawn and augmented at random, seed fixed; one label a place."""
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network()
    network.to(device).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=max(2, steps), pct_start=0.15
    )
    began = time.perf_counter()
    for step in range(1, steps + 1):
        drawn = torch.randint(len(places), (BATCH,), generator=generator).tolist()
        loud = fit(loudness(np.stack([clips.grey(places[i]) for i in drawn])))
        found = network(augment(loud, generator).to(device))
        right = labels[drawn]
        loss = (
            functional.cross_entropy(found[0], right.family.to(device), label_smoothing=0.05)
            + functional.cross_entropy(found[1], right.genre.to(device), label_smoothing=0.05)
            + functional.binary_cross_entropy_with_logits(found[2], right.heard.float().to(device))
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            left = (time.perf_counter() - began) / step * (steps - step)
            report(f"classifier: step {step} of {steps}, loss {loss.item():.3f}, {left:.0f} s left")
    return network


def augment(loud: Tensor, generator: torch.Generator) -> Tensor:
    """A piece of each clip, louder or quieter, half of them blurred as by an autoencoder, noisy.

    Args:
        loud: (N, 96, 256) in [0, 1].
        generator: the only source of randomness.

    Returns:
        (N, 96, 192), about [0, 1].
    """
    starts = torch.randint(COLUMNS - PIECE + 1, (len(loud),), generator=generator).tolist()
    pieces = torch.stack([row[:, s : s + PIECE] for row, s in zip(loud, starts, strict=True)])
    half = len(pieces) // 2
    share = float(torch.rand((), generator=generator)) * 0.5 + 0.5
    small = (round(BANDS * share), round(PIECE * share))
    blurred = functional.interpolate(pieces[:half, None], small, mode="bilinear", antialias=True)
    blurred = functional.interpolate(blurred, (BANDS, PIECE), mode="bicubic")[:, 0]
    pieces = torch.cat([blurred, pieces[half:]])
    gain, noise = torch.rand((2, len(pieces), 1, 1), generator=generator)
    pieces = pieces * (0.85 + 0.3 * gain)
    return pieces + 0.06 * noise * torch.randn(pieces.shape, generator=generator)
