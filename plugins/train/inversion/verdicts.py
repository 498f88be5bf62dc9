"""How much a word has become its pictures, and how far other words still act beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL.Image import Image
from torch import Tensor

LEAST = 0.02
"""difference of cosines below which nothing is divided by it: pairs are no more precise"""


@dataclass(frozen=True)
class Cosines:
    """What a pair of picture and text says of the pictures of one word; all in [-1, 1].

    Attributes:
        likeness: mean cosine of pictures of the word by itself to the training pictures.
        fit: mean cosine of its pictures in scenes to the texts of those scenes.
        without: mean cosine of its pictures by itself to the same texts.
    """

    likeness: float
    fit: float
    without: float

    @property
    def lift(self) -> float:
        """What asking for the scenes changes."""
        return self.fit - self.without


@dataclass(frozen=True)
class Verdict:
    """A look at the word as it was learned so far.

    Attributes:
        step: of the training.
        similarity: 0 where its pictures are as like the training pictures as those of the initial
            word are, 1 where they are as like them as they are like one another; less and more
            are possible.
        editability: 0 where other words of a prompt do nothing, 1 where they do as much as beside
            the initial word; less and more are possible.
        cosines: what both come from.
        sheet: the pictures.
    """

    step: int
    similarity: float
    editability: float
    cosines: Cosines
    sheet: Image

    @property
    def score(self) -> float:
        """One number for both; see ``balance``."""
        return balance(self.similarity, self.editability)

    def figures(self) -> dict[str, float]:
        """All numbers, for a file."""
        return {
            "step": self.step,
            "similarity": self.similarity,
            "editability": self.editability,
            "score": self.score,
            "likeness": self.cosines.likeness,
            "fit": self.cosines.fit,
            "without": self.cosines.without,
        }


def compare(groups: Sequence[Tensor], training: Tensor, texts: Tensor) -> Cosines:
    """Cosines of a word's pictures.

    Args:
        groups: unit vectors (N, D) of its pictures by itself, then of those in each scene.
        training: (M, D) of the training pictures.
        texts: (S, D) of the scenes' texts, in their order.
    """
    alone, within = groups[0], groups[1:]
    fits = [float((made @ text).mean()) for made, text in zip(within, texts, strict=True)]
    return Cosines(
        likeness=float((alone @ training.T).mean()),
        fit=sum(fits) / len(fits),
        without=float((alone @ texts.T).mean()),
    )


def own_likeness(training: Tensor) -> float:
    """Mean cosine of different training pictures (M, D); 1 for a single one."""
    count = len(training)
    if count < 2:
        return 1.0
    cosines = training @ training.T
    return float((cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1)))


def similarity(now: Cosines, initial: Cosines, top: float) -> float:
    """Share of the way from the initial word's likeness to that of the pictures' own."""
    return (now.likeness - initial.likeness) / max(top - initial.likeness, LEAST)


def editability(now: Cosines, initial: Cosines) -> float:
    """What asking for the scenes changes, by what it changes beside the initial word."""
    return now.lift / max(initial.lift, LEAST)


def balance(one: float, other: float) -> float:
    """Harmonic mean of two shares, of which neither makes up for the other; at most 1.

    Where one is not above 0 it is that one, so that worse and worse stays in order.
    """
    one, other = min(one, 1.0), min(other, 1.0)
    if min(one, other) <= 0:
        return min(one, other)
    return 2 * one * other / (one + other)
