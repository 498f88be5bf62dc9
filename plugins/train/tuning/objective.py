"""What tuning minimises, and what it measures: the loop's ``Objective`` for any family."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from ..sheets import tile
from .latents import Latents
from .looks import Looks, colour_distance, colours, distance, saturation
from .lora import TEXT_ENCODERS, Lora
from .noising import Noising, draw_noise, errors, predict
from .settings import FinetuneSettings
from .texts import Texts

MEASURED = 32
"""held-out pictures that are measured on, at most"""
TIMES = 4
"""timesteps of each"""
COMPARED = 64
"""training pictures whose colours generated ones are compared with, at most"""


@dataclass(frozen=True)
class Batch:
    """Pictures of one bucket, with a caption each, and how much their loss counts."""

    latents: Tensor
    captions: list[str]
    sizes: Tensor
    weight: float


class TuningObjective:
    """Noise prediction on one's own pictures, and on others of their class if there are any."""

    name = "finetune"

    def __init__(
        self,
        settings: FinetuneSettings,
        parts: Any,
        lora: Lora | None,
        noising: Noising,
        texts: Texts,
        training: Latents,
        held_out: Latents | None,
        prior: Latents | None,
        looks: Looks,
        keep: Callable[[], None],
    ) -> None:
        """
        Args:
            settings: as checked.
            parts: the model, float32, where it computes.
            lora: what is trained; None for the model's own weights.
            noising: its noise.
            texts: its text encoders.
            training, held_out, prior: pictures; None where there are none.
            looks: makes the pictures of the sheet; the first ones are made here.
            keep: called after every measurement, to keep what was measured.
        """
        self.settings, self.parts, self.noising = settings, parts, noising
        self.texts, self.training, self.prior = texts, training, prior
        self.measured_on = held_out or training
        self.looks, self.keep = looks, keep
        self.modules: dict[str, nn.Module] = {}
        if lora is not None:
            self.modules["lora"] = lora.module
        else:
            names = [parts.family.denoiser, *(TEXT_ENCODERS if settings.text_encoders else ())]
            self.modules = {
                name: getattr(parts, name) for name in names if getattr(parts, name) is not None
            }
            for module in self.modules.values():
                module.requires_grad_(True)
        self._own, self._others = _Buckets(training), None if prior is None else _Buckets(prior)
        compared = range(min(COMPARED, len(training.examples)))
        self.colours = colours([training.pixels(place) for place in compared])
        self.before = looks.pictures()
        self._now: Tensor | None = None

    def batch(self, rng: np.random.Generator, size: int) -> list[Batch]:
        drawn = [self._draw(self.training, self._own, rng, size, 1.0)]
        if self.prior is not None and self._others is not None and self.settings.prior is not None:
            weight = self.settings.prior.weight
            drawn.append(self._draw(self.prior, self._others, rng, size, weight))
        return drawn

    def _draw(
        self, data: Latents, buckets: _Buckets, rng: np.random.Generator, size: int, weight: float
    ) -> Batch:
        places = buckets.draw(rng, size)
        captions = [str(rng.choice(data.examples[place].captions)) for place in places]
        dropped = rng.random(size) < self.settings.loss.caption_dropout
        captions = ["" if drop else text for drop, text in zip(dropped, captions, strict=True)]
        return Batch(data.stack(places), captions, data.sizes(places), weight)

    def loss(self, batch: list[Batch], generator: torch.Generator) -> dict[str, Tensor]:
        # Dropout draws from torch's own generator; a resumed run is to drop the same.
        torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        options = self.settings.loss
        terms: dict[str, Tensor] = {}
        for name, part in zip(("error", "prior"), batch, strict=False):
            times = self.noising.draw(len(part.latents), generator)
            noise = draw_noise(part.latents.shape, options.noise_offset, generator)
            error = self._errors(part, times, noise, options.huber)
            weights = self.noising.weights(times, options.min_snr_gamma).to(error)
            terms[name] = error.mean()
            weighted = part.weight * (weights * error).mean()
            terms["loss"] = terms["loss"] + weighted if "loss" in terms else weighted
        return terms

    def _errors(self, part: Batch, times: Tensor, noise: Tensor, huber: float | None) -> Tensor:
        device = self.parts.device
        latents, noise, times = part.latents.to(device), noise.to(device), times.to(device)
        told = self.texts.told(part.captions)
        said = predict(
            self.parts,
            self.noising.noisy(latents, noise, times),
            self.noising.model_times(times),
            told,
            part.sizes.to(device),
        )
        return errors(said, self.noising.target(latents, noise, times), huber)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Squared error on pictures, noise and timesteps that are the same every time."""
        times = self.noising.spread(TIMES)
        data = self.measured_on
        found = []
        for place in range(min(MEASURED, len(data.examples))):
            latents = data.stack([place] * TIMES)
            noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(place))
            captions = [data.examples[place].captions[0]] * TIMES
            part = Batch(latents, captions, data.sizes([place] * TIMES), 1.0)
            found.append(float(self._errors(part, times, noise, None).mean()))
        return sum(found) / len(found)

    def measure(self) -> dict[str, float]:
        """Validation loss; and of the sheet's pictures, how far they moved and their colours."""
        now = self.looks.pictures() if self._now is None else self._now
        figures = {
            "validation_loss": self.validation_loss(),
            "moved": distance(self.before, now),
            "saturation": saturation(now),
            "colour_distance": colour_distance(colours(list(now.split(1))), self.colours),
        }
        self._now = None
        self.keep()
        return figures

    def sheet(self) -> Image.Image:
        """The same seeds without (above) and with what was learned (below)."""
        self._now = self.looks.pictures()
        return tile(torch.cat([self.before, self._now]), columns=len(self.before))


class _Buckets:
    """Places of pictures by bucket."""

    def __init__(self, data: Latents) -> None:
        self._of: list[tuple[int, int]] = [one.bucket for one in data.placements]
        self._members: dict[tuple[int, int], list[int]] = {}
        for place, bucket in enumerate(self._of):
            self._members.setdefault(bucket, []).append(place)

    def draw(self, rng: np.random.Generator, size: int) -> list[int]:
        """Places in one bucket, so drawn that every picture comes up equally often."""
        members = self._members[self._of[int(rng.integers(len(self._of)))]]
        drawn: list[int] = []
        while len(drawn) < size:
            some: Sequence[int] = rng.permutation(members)[: size - len(drawn)].tolist()
            drawn += some
        return drawn
