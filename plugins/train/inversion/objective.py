"""What the rows of a word are trained on: noise prediction on its pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..tuning.latents import Latents, fit
from ..tuning.noising import Noising, draw_noise, predict
from .data import Variant
from .rows import Rows
from .scenes import PLACE
from .settings import LearnSettings
from .texts import WordTexts

TIMES = 8
"""timesteps of every picture in the validation loss"""
TOGETHER = 8
"""pictures that are measured at once"""


@dataclass(frozen=True)
class Batch:
    """Pictures of one bucket, a caption each, and how much each place counts, or None."""

    latents: Tensor
    captions: list[str]
    sizes: Tensor
    counts: Tensor | None


class WordObjective:
    """The loss of a word, on pictures that are latents already."""

    def __init__(
        self,
        settings: LearnSettings,
        parts: Any,
        rows: Rows,
        texts: WordTexts,
        pictures: Sequence[Sequence[Variant]],
        latents: Latents,
    ) -> None:
        """
        Args:
            settings: as checked.
            parts: the model.
            rows: what is trained.
            texts: reads captions.
            pictures: variants of each picture.
            latents: of all variants, in their order.
        """
        self.settings, self.parts, self.rows = settings, parts, rows
        self.texts, self.latents = texts, latents
        self.noising = Noising(parts.prediction_type, parts.scheduler_config)
        flat = [one for some in pictures for one in some]
        self.captions = [one.example.captions for one in flat]
        starts = [0, *accumulate(len(some) for some in pictures)]
        self.variants = [range(first, after) for first, after in pairwise(starts)]
        self.masks = [self._mask(one) for one in flat]
        buckets = [some[0].placement.bucket for some in pictures]
        self.order = Order(buckets, settings.schedule.batch, settings.schedule.seed)
        self._start = [one.detach().clone() for one in rows.each]

    def _mask(self, variant: Variant) -> Tensor | None:
        """How much each latent counts, (1, h, w)."""
        if variant.mask is None:
            return None
        mask = fit(variant.mask(), variant.placement)
        down, outside = self.parts.downsampling, self.settings.loss.outside
        small = mask.resize((mask.width // down, mask.height // down), Image.Resampling.BOX)
        share = torch.from_numpy(np.asarray(small, dtype=np.float32) / 255)[None]
        return outside + (1 - outside) * share

    def batch(self, step: int, part: int) -> tuple[Batch, torch.Generator]:
        """Pictures of a step, and where their noise is from; the same for the same step."""
        schedule = self.settings.schedule
        rng = np.random.default_rng([schedule.seed, step, part])
        # Alike in all of a batch, as each caption is encoded once.
        phrase = rng.random()
        places, captions = [], []
        for picture in self.order.at(step * schedule.accumulate + part):
            place = int(rng.choice(self.variants[picture]))
            said = self.captions[place]
            caption = said[int(phrase * len(said))]
            dropped = rng.random() < self.settings.loss.caption_dropout
            places.append(place)
            captions.append(PLACE if dropped else caption)
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        return self._batch(places, captions), generator

    def _batch(self, places: Sequence[int], captions: list[str]) -> Batch:
        latents = self.latents.stack(places)
        masks = [self.masks[place] for place in places]
        counts = None
        if any(one is not None for one in masks):
            whole = torch.ones(1, *latents.shape[2:])
            counts = torch.stack([whole if one is None else one for one in masks])
        return Batch(latents, captions, self.latents.sizes(places), counts)

    def loss(self, batch: Batch, generator: torch.Generator, active: int) -> dict[str, Tensor]:
        """Scalars; the one called "loss" is minimised."""
        options = self.settings.loss
        times = self.noising.draw(len(batch.latents), generator)
        noise = draw_noise(batch.latents.shape, options.noise_offset, generator)
        error = self._errors(batch, times, noise, options.huber, active)
        weights = self.noising.weights(times, options.min_snr_gamma).to(error)
        terms = {"error": error.mean(), "loss": (weights * error).mean()}
        if options.stay_near:
            terms["loss"] = terms["loss"] + options.stay_near * self.distance()
        return terms

    def distance(self) -> Tensor:
        """Squared distance of the rows from the initial ones, relative to these."""
        far = [
            (now - first.to(now)).square().sum() / first.to(now).square().sum()
            for now, first in zip(self.rows.each, self._start, strict=True)
        ]
        return torch.stack(far).mean()

    def _errors(
        self, batch: Batch, times: Tensor, noise: Tensor, huber: float | None, active: int
    ) -> Tensor:
        device = self.parts.device
        latents, noise, times = batch.latents.to(device), noise.to(device), times.to(device)
        said = predict(
            self.parts,
            self.noising.noisy(latents, noise, times),
            self.noising.model_times(times),
            self.texts.told(batch.captions, active),
            batch.sizes.to(device),
        )
        target = self.noising.target(latents, noise, times)
        counts = None if batch.counts is None else batch.counts.to(device)
        return counted_errors(said, target, counts, huber)

    @torch.no_grad()
    def validation_loss(self, active: int) -> float:
        """Squared error on the pictures as they are, noise and timesteps the same every time."""
        times = self.noising.spread(TIMES)
        errors = []
        for number, some in enumerate(self.variants):
            place = some[0]
            caption = self.captions[place][0]
            batch = self._batch([place] * TIMES, [caption] * TIMES)
            generator = torch.Generator().manual_seed(number)
            noise = torch.randn(batch.latents.shape, generator=generator)
            errors.append(float(self._errors(batch, times, noise, None, active).mean()))
        return sum(errors) / len(errors)


def counted_errors(
    said: Tensor, target: Tensor, counts: Tensor | None, huber: float | None
) -> Tensor:
    """(N,) means of squared errors over places, each as much as it counts.

    Args:
        said, target: (N, C, h, w).
        counts: (N, 1, h, w) in [0, 1]; None: all in full.
        huber: errors above it count linearly (Huber 1964), continued from the square.
    """
    if huber is None:
        each = (said - target).square()
    else:
        each = 2 * torch.nn.functional.huber_loss(said, target, reduction="none", delta=huber)
    if counts is None:
        return each.mean(dim=(1, 2, 3))
    total = (counts.sum(dim=(1, 2, 3)) * each.shape[1]).clamp_min(1e-6)
    return (each * counts).sum(dim=(1, 2, 3)) / total


class Order:
    """Which pictures each batch holds: all of them in every round, shuffled, of one bucket each.

    A batch is known by its number alone, so that a resumed training takes the same ones.
    """

    def __init__(self, buckets: Sequence[tuple[int, int]], batch: int, seed: int) -> None:
        """``buckets``: of each picture; ``batch``: pictures in one."""
        self._members: dict[tuple[int, int], list[int]] = {}
        for place, bucket in enumerate(buckets):
            self._members.setdefault(bucket, []).append(place)
        self._batch, self._seed = batch, seed
        # So often is each picture in a round that batches of every bucket come out even.
        sizes = [len(some) for some in self._members.values()]
        self._often = int(np.lcm.reduce([batch // int(np.gcd(batch, size)) for size in sizes]))
        self._per_round = len(buckets) * self._often // batch

    def at(self, number: int) -> list[int]:
        """Places of the pictures in a batch."""
        which, place = divmod(number, self._per_round)
        rng = np.random.default_rng([self._seed, which, 1])
        batches: list[list[int]] = []
        for some in self._members.values():
            row = [int(one) for _ in range(self._often) for one in rng.permutation(some)]
            batches += [row[a : a + self._batch] for a in range(0, len(row), self._batch)]
        return batches[int(rng.permutation(len(batches))[place])]
