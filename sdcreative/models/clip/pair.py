"""What pictures and texts have in common: unit vectors of one space, whatever the model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ...errors import UsageError

if TYPE_CHECKING:
    from PIL.Image import Image

Item = TypeVar("Item")
PORTION = 32
"""pictures or texts that go through a tower together"""


class TextTower(Protocol):
    """Texts to vectors."""

    room: int
    """tokens of a text that are read, beside those that begin and end it"""

    def count(self, text: str) -> int:
        """Tokens that a text has, beside those that begin and end it."""

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(N, D), of any length; what is beyond the room is left out."""


class PictureTower(Protocol):
    """Pictures to vectors."""

    def embed(self, pictures: Sequence[Image]) -> Tensor:
        """(N, D), of any length, for RGB pictures of any sizes."""


@dataclass(frozen=True, eq=False)
class PictureText:
    """A model that was trained to match pictures with texts.

    With a softmax: A. Radford et al., "Learning transferable visual models from natural language
    supervision", ICML 2021. With a sigmoid: X. Zhai et al., "Sigmoid loss for language image
    pre-training", ICCV 2023.

    Attributes:
        name: of the model, as it was asked for.
        scale: what cosines are multiplied by to become logits; at least 0.
        bias: what is added to that, for models trained with a sigmoid; None for those trained
            with a softmax.
        picture_tower: None where the model has only a text tower.
        text_tower: None where it has only a picture tower.
    """

    name: str
    scale: float
    bias: float | None
    picture_tower: PictureTower | None
    text_tower: TextTower | None

    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors of texts.

        Args:
            texts: each read up to the tower's room; see ``beyond``.

        Returns:
            (N, D), float32, on the CPU.

        Raises:
            UsageError: a text without a letter or sign, or a model without a text tower.
        """
        tower = self._text_tower()
        for text in texts:
            if not text.strip():
                raise UsageError("an empty text fits no picture; say in words what to look for")
        return _gathered([tower.embed(some) for some in _portions(texts)])

    def pictures(self, pictures: Sequence[Image]) -> Tensor:
        """Unit vectors of pictures.

        Args:
            pictures: RGB, of any sizes.

        Returns:
            (N, D), float32, on the CPU.

        Raises:
            UsageError: a model without a picture tower.
        """
        if self.picture_tower is None:
            raise UsageError(f"{self.name} has no picture tower; give a CLIP or SigLIP model")
        return _gathered([self.picture_tower.embed(some) for some in _portions(pictures)])

    def beyond(self, text: str) -> int:
        """How many tokens at the end of a text are not read, 0 for most texts."""
        tower = self._text_tower()
        return max(0, tower.count(text) - tower.room)

    @property
    def room(self) -> int:
        """Tokens of a text that are read."""
        return self._text_tower().room

    def likeness(self, pictures: Sequence[Image], texts: Sequence[str]) -> Tensor:
        """Cosines (N, M), in [-1, 1], of pictures and texts; see ``pictures`` and ``texts``."""
        return (self.pictures(pictures) @ self.texts(texts).T).clamp(-1, 1)

    def logits(self, pictures: Tensor, texts: Tensor) -> Tensor:
        """How well each picture fits each text, as the model was trained to say it.

        Args:
            pictures: (N, D) unit vectors.
            texts: (M, D) unit vectors.

        Returns:
            (N, M): scale * cosine, plus the bias if there is one.
        """
        return self.scale * pictures @ texts.T + (self.bias or 0.0)

    def probabilities(self, logits: Tensor) -> Tensor:
        """Logits (N, M) as probabilities.

        For a model of the softmax kind the M texts are all there is, and each row adds up to 1;
        for one of the sigmoid kind each text is right or wrong by itself.
        """
        return logits.softmax(dim=1) if self.bias is None else logits.sigmoid()

    def _text_tower(self) -> TextTower:
        if self.text_tower is None:
            raise UsageError(
                f"{self.name} has no text tower, only one for pictures; compare pictures with "
                "pictures, or give a CLIP or SigLIP model"
            )
        return self.text_tower


def _portions(items: Sequence[Item]) -> list[Sequence[Item]]:
    return [items[start : start + PORTION] for start in range(0, len(items), PORTION)]


def _gathered(vectors: list[Tensor]) -> Tensor:
    if not vectors:
        return torch.zeros(0, 1)
    return normalize(torch.cat(vectors).float().cpu(), dim=-1)
