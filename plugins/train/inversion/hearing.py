"""What judges a learned sound, in place of a pair of CLIP: the timbre that spectrograms show."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

COEFFICIENTS = 12
"""of the cepstrum, without the first, which is loudness; later ones are of the notes"""
SILENT = 1e-6
LEAST = 1e-3
"""spread of a number below which it tells nothing apart"""

Play = Callable[[Sequence[str]], Sequence[Image.Image]]
"""texts -> the model's pictures of them, as many of each as of any other, one text after another"""


def timbre(picture: Image.Image) -> np.ndarray:
    """What a clip sounds like, apart from its notes: means and spreads of its mel cepstrum.

    S. Davis, P. Mermelstein, "Comparison of parametric representations for monosyllabic word
    recognition", IEEE Trans. ASSP 28(4), 1980, equation 1, of a picture whose darkness is the
    magnitude, raised to a power in place of the logarithm; all divided by its root mean square, so
    that loudness says nothing.

    Returns:
        float64 (2 * COEFFICIENTS,): of each coefficient the mean over time, then the spread.
    """
    grey = np.asarray(picture.convert("L"), np.float64)
    loud = 1 - grey / 255
    loud /= max(float(np.sqrt(np.square(loud).mean())), SILENT)
    bands = len(loud)
    order = np.arange(1, COEFFICIENTS + 1)[:, None]
    basis = np.cos(np.pi * order * (np.arange(bands) + 0.5) / bands) / bands
    cepstrum = basis @ loud
    found: np.ndarray = np.concatenate([cepstrum.mean(axis=1), cepstrum.std(axis=1)])
    return found


class Hearing:
    """Compares sounds, and sounds with texts, as ``PictureText`` does pictures.

    Numbers are taken from the mean of what the model plays for some texts and divided by their
    spread there: what all its sounds have in common says nothing. A text is what the model plays
    for it.

    Attributes:
        name: for messages.
    """

    name = "timbre"

    def __init__(self, play: Play, texts: Sequence[str]) -> None:
        """
        Args:
            play: makes pictures.
            texts: of all kinds of sound that are to be told apart, two or more.
        """
        self._play = play
        self._known: dict[str, np.ndarray] = {}
        self._learn(texts)
        every = np.concatenate(list(self._known.values()))
        self._mean, self._spread = every.mean(axis=0), np.maximum(every.std(axis=0), LEAST)

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors (N, D), float32."""
        self._learn([one for one in texts if one not in self._known])
        return self._unit(np.stack([self._known[one].mean(axis=0) for one in texts]))

    def pictures(self, pictures: Sequence[Image.Image]) -> Tensor:
        """Unit vectors (N, D), float32, of spectrograms."""
        return self._unit(np.stack([timbre(one) for one in pictures]))

    def _learn(self, texts: Sequence[str]) -> None:
        if not texts:
            return
        made = self._play(texts)
        each = len(made) // len(texts)
        for place, text in enumerate(texts):
            some = made[place * each : (place + 1) * each]
            self._known[text] = np.stack([timbre(one) for one in some])

    def _unit(self, rows: np.ndarray) -> Tensor:
        return normalize(torch.from_numpy((rows - self._mean) / self._spread).float(), dim=1)
