"""Where a tensor of diffusers goes in the original layout, and what becomes of it on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from .stream import Planned

if TYPE_CHECKING:
    from torch import Tensor

Change = Literal["none", "convolution", "transposed", "halves swapped"]


class NoNameError(ValueError):
    """A tensor that the original layout has no name for; its message is the tensor's name."""


@dataclass(frozen=True)
class Piece:
    """A tensor, or a part of one, of the original layout.

    Attributes:
        name: in the file.
        place: among the pieces with this name, which are joined along their first axis.
        change: to a 1x1 convolution from a matrix, rows for columns, or the second half of the
            rows first.
    """

    name: str
    place: int = 0
    change: Change = "none"

    def within(self, prefix: str) -> Piece:
        """The same under a prefix."""
        return replace(self, name=prefix + self.name)


def plan(state: Mapping[str, Tensor], named: Callable[[str], Iterable[Piece]]) -> list[Planned]:
    """Tensors of the original layout, none of which is made yet.

    Args:
        state: name -> tensor, as diffusers and transformers have them.
        named: name -> where it goes; to two places, where the layout has it twice.

    Raises:
        NoNameError: by ``named``.
    """
    found: dict[str, list[tuple[int, Change, Tensor]]] = {}
    for name, tensor in state.items():
        for piece in named(name):
            found.setdefault(piece.name, []).append((piece.place, piece.change, tensor))
    return [_joined(name, sorted(pieces, key=lambda one: one[0])) for name, pieces in found.items()]


def _joined(name: str, pieces: list[tuple[int, Change, Tensor]]) -> Planned:
    changed = [(change, tensor) for _, change, tensor in pieces]
    shapes = [_shape(change, tuple(tensor.shape)) for change, tensor in changed]
    shape = shapes[0]
    if len(shapes) > 1:
        shape = (sum(one[0] for one in shapes), *shape[1:])

    def make() -> Tensor:
        import torch

        made = [_made(change, tensor) for change, tensor in changed]
        return made[0] if len(made) == 1 else torch.cat(made)

    return Planned(name, pieces[0][2].dtype, shape, make)


def _shape(change: Change, shape: tuple[int, ...]) -> tuple[int, ...]:
    if change == "convolution" and len(shape) == 2:
        return (*shape, 1, 1)
    return shape[::-1] if change == "transposed" else shape


def _made(change: Change, tensor: Tensor) -> Tensor:
    import torch

    if change == "convolution" and tensor.ndim == 2:
        return tensor[:, :, None, None]
    if change == "transposed":
        return tensor.T
    if change == "halves swapped":
        first, second = tensor.chunk(2)
        return torch.cat([second, first])
    return tensor
