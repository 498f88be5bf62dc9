"""Training a picture tower beside a text encoder that stays as it is.

X. Zhai, X. Wang, B. Mustafa, A. Steiner, D. Keysers, A. Kolesnikov, L. Beyer, "LiT: Zero-shot
transfer with locked-image text tuning", CVPR 2022: of two towers, one that is trained already is
locked. There it is the pictures'; here, where drawings are few, it is the texts'.
"""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sdcreative import UsageError
from sdcreative.models.clip.locked import (
    LockedTextPair,
    Shape,
    read_text_encoder,
    save_locked,
)
from sdcreative.models.sources import fetch, resolve

from .clip import CONTRAST, ClipObjective, title_of
from .pictures import Drawing
from .placing import place
from .settings import ClipStage

BANK = 512
"""things that a picture is told from in a step, if there are as many"""
PORTION = 256


@dataclass(frozen=True)
class Batch:
    """Pictures placed anew, a caption of each, and what each is to be told from.

    Attributes:
        pixels: (N, 3, H, W), about [-1, 1].
        captions: N.
        fits: (N, N); whether the picture of a row is described by the caption of a column.
        bank: a text for each of some things, all of the batch among them.
        things: (N,) places of the pictures' own things in the bank.
    """

    pixels: Tensor
    captions: list[str]
    fits: Tensor
    bank: list[str]
    things: Tensor


class LockedClipObjective(ClipObjective):
    """Match pictures with captions within a batch, both ways, and with their thing among all."""

    def __init__(
        self,
        stage: ClipStage,
        size: int,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
        device: torch.device,
        folder: Path,
        module: nn.Module | None = None,
    ) -> None:
        """``folder``: where the tokenizer of the locked text encoder is copied to."""
        if module is not None:
            raise UsageError("clip.locked_text: the pair begins anew; leave out start_from")
        self.stage, self.device, self.size = stage, device, size
        self.training, self.held_out = training, held_out or training
        self.model = fetch(resolve(str(stage.locked_text)))
        self.locked = read_text_encoder(self.model)
        if not (folder / "tokenizer_config.json").is_file():
            shutil.copytree(self.model / "tokenizer", folder, dirs_exist_ok=True)
        self._pooled: dict[str, Tensor] = {}
        self.things, self.phrases = _things(training)
        titles = sorted({title_of(d) for d in training})
        pooled = self.pooled(titles).cpu()
        torch.manual_seed(stage.schedule.seed)
        shape = Shape(tuple(stage.channels), size, stage.projection, pooled.shape[1])
        pair = LockedTextPair(shape)
        _whiten(pair.text_projection, pooled)
        self.clip: Any = pair.to(device, memory_format=torch.channels_last)
        self.modules: dict[str, nn.Module] = {"clip": self.clip}

    def batch(self, rng: np.random.Generator, size: int) -> Any:
        chosen = rng.integers(len(self.training), size=size)
        drawings = [self.training[i] for i in chosen]
        pixels, grounds = place(drawings, rng)
        captions, known = [], []
        for drawing, ground in zip(drawings, grounds, strict=True):
            plain, named = list(drawing.captions), []
            if ground is not None:
                behind = drawing.background_caption.format(background=ground)
                named = [f"{caption}, {behind}" for caption in plain]
            captions.append(str(rng.choice(named if named and rng.random() < 0.5 else plain)))
            known.append({*plain, *named})
        fits = [[caption in texts for caption in captions] for texts in known]
        own = [self.things[i] for i in chosen]
        others = [i for i in range(len(self.phrases)) if i not in set(own)]
        room = max(0, BANK - len(set(own)))
        if len(others) > room:
            others = rng.choice(others, size=room, replace=False).tolist()
        told = sorted({*own, *others})
        bank = [str(rng.choice(self.phrases[i])) for i in told]
        places = {thing: place for place, thing in enumerate(told)}
        things = torch.tensor([places[i] for i in own])
        return Batch(pixels, captions, torch.tensor(fits), bank, things)

    def loss(self, batch: Any, generator: torch.Generator) -> dict[str, Tensor]:
        vectors = self.picture_features(batch.pixels)
        with torch.autocast(self.device.type, enabled=False):
            scale = self.clip.logit_scale.clamp(max=CONTRAST).exp()
            things = batch.things.to(self.device)
            among = scale * vectors @ self.text_features(batch.bank).T
            by_thing = functional.cross_entropy(
                among, things, label_smoothing=self.stage.label_smoothing
            )
            logits = scale * vectors @ self.text_features(batch.captions).T
            target = torch.arange(len(things), device=self.device)
            right = torch.eye(len(things), dtype=torch.bool, device=self.device)
            logits = logits.masked_fill(batch.fits.to(self.device) & ~right, float("-inf"))
            by_picture = functional.cross_entropy(logits, target)
            by_text = functional.cross_entropy(logits.T, target)
        return {
            "loss": by_thing + (by_picture + by_text) / 2,
            "things": by_thing,
            "accuracy": (among.argmax(1) == things).float().mean(),
        }

    def text_features(self, captions: Sequence[str]) -> Tensor:
        found: Tensor = self.clip.text_features(self.pooled(captions))
        return functional.normalize(found, dim=-1)

    def picture_features(self, pixels: Tensor) -> Tensor:
        pixels = pixels.to(self.device)
        if pixels.shape[-2:] != (self.size, self.size):
            pixels = functional.interpolate(
                pixels, (self.size, self.size), mode="bilinear", antialias=True
            )
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return functional.normalize(self.clip.picture_features(pixels).float(), dim=-1)

    def pooled(self, texts: Sequence[str]) -> Tensor:
        """What the locked encoder makes of texts, (N, text_width), each computed once."""
        fresh = [text for text in dict.fromkeys(texts) if text not in self._pooled]
        for start in range(0, len(fresh), PORTION):
            some = fresh[start : start + PORTION]
            self._pooled.update(zip(some, self.locked.embed(some), strict=True))
        return torch.stack([self._pooled[text] for text in texts]).to(self.device)

    def save(self, folder: Path) -> None:
        """The pair in ``clip/``, beside the text encoder that it goes with."""
        save_locked(self.clip, folder / "clip")
        encoder = folder / "text_encoder"
        if not encoder.exists():
            shutil.copytree(self.model / "text_encoder", encoder)


def _things(drawings: Sequence[Drawing]) -> tuple[list[int], list[list[str]]]:
    """The number of each drawing's thing, and the captions that all drawings of a thing share.

    Half of what is drawn of these is the title. A drawing without a name is a thing of its own.
    """
    numbers: dict[str, int] = {}
    own: list[int] = []
    shared: list[set[str]] = []
    titles: dict[int, str] = {}
    for place_, drawing in enumerate(drawings):
        number = numbers.setdefault(drawing.name or f"\n{place_}", len(numbers))
        own.append(number)
        titles.setdefault(number, title_of(drawing))
        if number == len(shared):
            shared.append(set(drawing.captions))
        shared[number] &= set(drawing.captions)
    phrases: dict[int, list[str]] = defaultdict(list)
    for number, texts in enumerate(shared):
        texts = texts or {titles[number]}
        phrases[number] = [*sorted(texts), *[titles[number]] * len(texts)]
    return own, [phrases[number] for number in range(len(shared))]


@torch.no_grad()
def _whiten(projection: nn.Linear, pooled: Tensor) -> None:
    """Begin with the directions in which texts differ most, all made alike in spread.

    A text encoder's vectors lie close together; from random directions the first thousands of
    steps would go into telling them apart.
    """
    mean = pooled.mean(dim=0)
    _, spreads, directions = torch.linalg.svd(pooled - mean, full_matrices=False)
    count = min(len(directions), projection.out_features)
    # Directions with hardly any spread hold little but noise.
    floor = spreads[min(len(spreads) - 1, 60)].clamp_min(0.01 * float(spreads[0]) + 1e-6)
    weight = directions[:count] / (spreads[:count, None] + floor)
    weight = weight * (len(pooled) / projection.out_features) ** 0.5
    projection.weight.zero_()
    projection.weight[:count] = weight
    projection.bias.zero_()
    projection.bias[:count] = -weight @ mean
