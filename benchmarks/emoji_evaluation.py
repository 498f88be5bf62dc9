"""The run of emoji_quality.py: what is asked of the model, painted, and measured in turn."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from emoji_classifier import Classifier, Guesses
from emoji_measures import (
    Figure,
    composed,
    judge_pairs,
    measure_autoencoder,
    nearest_distances,
    rate,
    recognise,
    reconstruct,
    summarise,
)
from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative_plugins.train.pictures import BACKGROUNDS, Drawing
from sdcreative_plugins.train.sheets import tile

FAVOURITES = {"bear": ("bear",), "apple": ("red apple", "green apple")}
ALWAYS = ("bear", "red apple")
MIN_STYLES = 3
HELD_OUT_PLACEMENTS = 8
COPIES = 400

Item = TypeVar("Item")


@dataclass(frozen=True)
class Painter:
    """A model and how to sample from it."""

    studio: Studio
    guidance_scale: float
    steps: int
    sampler: str
    batch_size: int | None

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """One picture for each prompt and seed: (N, 3, S, S) in [-1, 1]."""
        shots = [
            Shot(Blend(prompt), Noise(seed), guidance_scale=self.guidance_scale)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        timeline = Timeline(
            lambda: shots, length=len(shots), steps=self.steps, sampler=self.sampler
        )
        pictures = self.studio.render(timeline, batch_size=self.batch_size)
        arrays = [np.asarray(p.convert("RGB"), dtype=np.float32) for p in pictures]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1


def prompt_for(thing: str, background: str = "") -> str:
    """The captions' phrasing: "a picture of an owl, on a blue background"."""
    plain = f"a picture of {'an' if thing[0] in 'aeiou' else 'a'} {thing}"
    return f"{plain}, on a {background} background" if background else plain


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many items, evenly spread over the sequence; all of them if it has no more."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def well_drawn_things(drawings: Sequence[Drawing]) -> list[str]:
    """Names, sorted, of the things drawn in at least three styles."""
    styles: dict[str, set[str]] = defaultdict(set)
    for drawing in drawings:
        styles[drawing.name].add(drawing.style)
    return sorted(name for name, known in styles.items() if len(known) >= MIN_STYLES)


def choose_things(names: Sequence[str], count: int) -> list[str]:
    """So many of the names, evenly spread, bear and red apple always among them."""
    always = [name for name in ALWAYS if name in names]
    others = [name for name in names if name not in always]
    return sorted(always + spread(others, max(0, count - len(always))))


def choose_pairs(
    drawings: Sequence[Drawing], names: Sequence[str], count: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Pairs of a thing and a background colour: never shown in training, and, for each, shown."""
    avoid = {d.name: d.avoid for d in drawings}
    held = spread([(name, colour) for name in names for colour in sorted(avoid[name])], count)
    rng = np.random.default_rng(0)
    seen = [
        (name, str(rng.choice([c for c in BACKGROUNDS if c not in {"white", *avoid[name]}])))
        for name, _ in held
    ]
    return held, seen


class Evaluation:
    """The measurements, one method each; they fill ``figures`` and ``sheet`` in order."""

    def __init__(
        self,
        painter: Painter,
        classifier: Classifier,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
    ) -> None:
        self.painter, self.classifier = painter, classifier
        self.training, self.held_out = training, held_out
        self.names = well_drawn_things([*training, *held_out])
        self.figures: dict[str, Figure] = {}
        self.guesses: dict[str, Guesses] = {}
        self.sheet: list[tuple[Tensor, list[int]]] = []

    def run(self, prompts: int, seeds: int, pairs: int, favourite_seeds: int) -> None:
        quality = measure_autoencoder(self.painter.studio, self.held_out)
        self.figures["autoencoder, held-out drawings"] = quality
        for name, accepted in FAVOURITES.items():
            self.favourite(name, accepted, favourite_seeds)
        pixels = self.things(choose_things(self.names, prompts), seeds)
        self.references(pixels)
        self.backgrounds(pairs)

    def favourite(self, name: str, accepted: Sequence[str], seeds: int) -> None:
        if not set(accepted) & set(self.names):
            return
        pixels = self.painter.paint([prompt_for(name)] * seeds, range(seeds))
        label = f"{name}, seeds 0 to {seeds - 1}"
        self.guesses[label] = self._judge(label, pixels, [accepted] * seeds)

    def things(self, names: Sequence[str], seeds: int) -> Tensor:
        """Pictures of each name; every picture has a seed of its own."""
        asked = [name for name in names for _ in range(seeds)]
        pixels = self.painter.paint([prompt_for(name) for name in asked], range(len(asked)))
        guesses = self._judge("things, generated", pixels, [(name,) for name in asked])
        for i, name in enumerate(names):
            self.guesses[name] = guesses[i * seeds : (i + 1) * seeds]
        return pixels

    def references(self, generated: Tensor) -> None:
        """Recognition and distance of generated pictures beside those of real drawings."""
        real = composed(self.held_out, len(self.held_out) * HELD_OUT_PLACEMENTS)
        chosen = spread(self.training, COPIES)
        copies = reconstruct(self.painter.studio, composed(chosen, len(chosen)))
        held_out_names = [(d.name,) for d in self.held_out] * HELD_OUT_PLACEMENTS
        for label, pixels, names in (
            ("held-out drawings", real, held_out_names),
            ("copies", copies, [(d.name,) for d in chosen]),
        ):
            self.figures[f"things, {label}"] = recognise(self.classifier.guess(pixels), names)
        compared = {"generated": generated, "held-out drawings": real, "copies": copies}
        distances = {k: nearest_distances(v, self.training) for k, v in compared.items()}
        threshold = float(distances["copies"].median())
        for label, values in distances.items():
            self.figures[f"nearest drawing, {label}"] = summarise(values, threshold)

    def backgrounds(self, count: int) -> None:
        held, seen = choose_pairs(self.training, self.names, count)
        for label, pairs in (("held-out", held), ("seen", seen)):
            if pairs:
                prompts = [prompt_for(name, colour) for name, colour in pairs]
                pixels = self.painter.paint(prompts, range(len(pairs)))
                score, marks = judge_pairs(pixels, self.classifier.guess(pixels), pairs)
                self.figures[f"backgrounds, {label} pairs"] = score
                self.sheet.append((pixels, marks))

    def _judge(self, label: str, pixels: Tensor, accepted: Sequence[Sequence[str]]) -> Guesses:
        guesses = self.classifier.guess(pixels)
        self.figures[label] = recognise(guesses, accepted)
        self.sheet.append((pixels, rate(guesses, accepted)))
        return guesses


def draw_sheet(rows: Sequence[tuple[Tensor, list[int]]], columns: int) -> Image.Image:
    """All pictures, framed in red, orange (in the top 5, or half right) or green."""
    frames = torch.tensor([(214, 58, 52), (250, 180, 60), (84, 172, 84)]) / 127.5 - 1
    sheets = []
    for pixels, marks in rows:
        framed = functional.pad(pixels, (3, 3, 3, 3), value=1.0)
        framed[:, :, 1:-1, 1:-1] = frames[torch.tensor(marks)][:, :, None, None]
        framed[:, :, 3:-3, 3:-3] = pixels
        sheets.append(np.asarray(tile(framed, columns)))
    return Image.fromarray(np.concatenate(sheets))


def describe_misses(guesses: Mapping[str, Guesses]) -> list[str]:
    """Things never in the top 5, each with what it was most often taken for."""
    return [
        f"{name} ({Counter(guess[0] for guess in rows).most_common(1)[0][0]})"
        for name, rows in guesses.items()
        if not any(name in guess for guess in rows)
    ]
