"""The measures of learning.py: what a classifier, colours, and a pair of CLIP say of a word."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from emoji_classifier import BATCH, Classifier, fit
from emoji_evaluation import Painter
from emoji_measures import background_names
from sdcreative_plugins.train.inversion.scenes import fill
from sdcreative_plugins.train.pictures import Drawing

COLOURS = ("blue", "red", "green", "black", "pink")
"""of the backgrounds that are asked for; more than any training picture is on"""


@dataclass(frozen=True)
class Figures:
    """What is measured of one word.

    Attributes:
        probability: mean over pictures of the classifier's probability of the thing, in [0, 1].
        named: share of pictures that it takes for the thing.
        pictures: how many.
        obeyed: share of pictures on the background that was asked for.
        probability_there: as ``probability``, of those pictures.
        backgrounds: how many.
        similarity, editability: as ``Verdict`` has them.
        seconds: of a training step; None where nothing was trained.
    """

    probability: float
    named: float
    pictures: int
    obeyed: float
    probability_there: float
    backgrounds: int
    similarity: float
    editability: float
    seconds: float | None = None


@torch.no_grad()
def probabilities(classifier: Classifier, pixels: Tensor) -> Tensor:
    """(N, classes) for pictures (N, 3, H, W) in [-1, 1]."""
    device = next(classifier.network.parameters()).device
    rows = fit(pixels, classifier.side).split(BATCH)
    return torch.cat([classifier.network(some.to(device)).softmax(dim=1).cpu() for some in rows])


def recognised(classifier: Classifier, pixels: Tensor, thing: str) -> tuple[float, float]:
    """Mean probability of a thing, and the share of pictures where it is the likeliest."""
    found = probabilities(classifier, pixels)
    place = classifier.things.index(thing)
    return float(found[:, place].mean()), float((found.argmax(dim=1) == place).float().mean())


def obeyed(pixels: Tensor, asked: Sequence[str]) -> float:
    """Share of pictures whose border is of the colour asked for."""
    pairs = list(zip(background_names(pixels), asked, strict=True))
    return sum(found == colour for found, colour in pairs) / len(pairs)


def measure(
    painter: Painter,
    classifier: Classifier,
    word: str,
    thing: str,
    seeds: int,
    verdict: tuple[float, float],
    seconds: float | None = None,
) -> Figures:
    """All of one word that the model knows at the moment.

    Args:
        painter: the model.
        classifier: knows the thing.
        word: what stands for it in prompts.
        thing: its name among the classifier's.
        seeds: pictures of it by itself; as many are made for each colour.
        verdict: similarity and editability.
        seconds: of a training step.
    """
    alone = painter.paint([fill("a picture of a {}", word)] * seeds, range(1000, 1000 + seeds))
    probability, named = recognised(classifier, alone, thing)
    asked = [colour for colour in COLOURS for _ in range(seeds)]
    prompts = [fill(f"a picture of a {{}}, on a {colour} background", word) for colour in asked]
    there = painter.paint(prompts, range(2000, 2000 + len(asked)))
    return Figures(
        probability,
        named,
        seeds,
        obeyed(there, asked),
        recognised(classifier, there, thing)[0],
        len(asked),
        *verdict,
        seconds,
    )


def as_drawings(pictures: Sequence[np.ndarray], name: str, side: int) -> list[Drawing]:
    """Pictures (H, W, 4), uint8, as drawings of a thing."""
    return [
        Drawing(
            np.array(Image.fromarray(one).resize((side, side), Image.Resampling.LANCZOS)),
            (f"a picture of a {name}",),
            "on a {background} background",
            name,
        )
        for one in pictures
    ]


def table(columns: Mapping[str, Figures]) -> str:
    """All figures in Markdown; a column for each word."""

    def row(label: str, values: Sequence[str]) -> str:
        return f"| {label} | {' | '.join(values)} |"

    found = list(columns.values())
    first = found[0]
    speeds = ["" if one.seconds is None else f"{1 / one.seconds:.2f}" for one in found]
    return "\n".join(
        [
            row("", list(columns)),
            "|---" * (len(found) + 1) + "|",
            row(
                f"probability of the thing, of {first.pictures} pictures",
                [f"{one.probability:.1%}" for one in found],
            ),
            row("taken for the thing", [f"{one.named:.0%}" for one in found]),
            row(
                f"colour of the background obeyed, of {first.backgrounds}",
                [f"{one.obeyed:.0%}" for one in found],
            ),
            row(
                "probability of the thing on those",
                [f"{one.probability_there:.1%}" for one in found],
            ),
            row("similarity", [f"{one.similarity:.2f}" for one in found]),
            row("editability", [f"{one.editability:.2f}" for one in found]),
            row("steps a second", speeds),
        ]
    )
