"""What a LoRA, or one of LyCORIS' other forms, adds to the weights of one module.

W is a module's weight: (out, in) of a linear layer, (out, in, height, width) of a convolution,
(width,) of a norm. All is computed in float32, on the weight's device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Change(Protocol):
    """One way to say what is added to a weight."""

    def delta(self, weight: Tensor) -> Tensor:
        """What is added to W at scale 1; its shape may differ from that of W, its order not."""
        ...


@dataclass(frozen=True, eq=False)
class LowRank:
    """LoRA (Hu et al. 2021, eq. 3); with ``mid``, LoCon's Tucker form of a convolution.

    Attributes:
        down: (rank, in, ...).
        up: (out, rank, ...).
        alpha: the sum is multiplied by alpha / rank.
        mid: (rank, rank, height, width).
    """

    down: Tensor
    up: Tensor
    alpha: float
    mid: Tensor | None = None

    @property
    def scale(self) -> float:
        return self.alpha / self.down.shape[0]

    def delta(self, weight: Tensor) -> Tensor:
        down, up = _flat(self.down, weight), _flat(self.up, weight)
        if self.mid is None:
            return (up @ down) * self.scale
        mid = _float(self.mid, weight)
        return torch.einsum("om,mnkl,ni->oikl", up, mid, down) * self.scale


@dataclass(frozen=True, eq=False)
class Hadamard:
    """LoHa: the product, number by number, of two low-rank matrices (FedPara, prop. 2).

    Attributes:
        w1_a, w2_a: (out, rank); (rank, out) where there is t1 or t2.
        w1_b, w2_b: (rank, in, ...).
        alpha: as in ``LowRank``.
        t1, t2: (rank, rank, height, width), of convolutions in Tucker form (prop. 3).
    """

    w1_a: Tensor
    w1_b: Tensor
    w2_a: Tensor
    w2_b: Tensor
    alpha: float
    t1: Tensor | None = None
    t2: Tensor | None = None

    def delta(self, weight: Tensor) -> Tensor:
        one = _product(self.w1_a, self.w1_b, self.t1, weight)
        other = _product(self.w2_a, self.w2_b, self.t2, weight)
        return one * other * (self.alpha / self.w1_b.shape[0])


@dataclass(frozen=True, eq=False)
class Kronecker:
    """LoKr: the Kronecker product of two matrices, each whole or of low rank.

    Attributes:
        w1, w2: whole, or (a, b, t) as ``Hadamard`` has them, t of w2 only.
        scale: alpha / rank; 1 where both are whole.
    """

    w1: Tensor | tuple[Tensor, Tensor]
    w2: Tensor | tuple[Tensor, Tensor, Tensor | None]
    scale: float

    def delta(self, weight: Tensor) -> Tensor:
        if isinstance(self.w1, Tensor):
            small = _float(self.w1, weight)
        else:
            small = _product(*self.w1, None, weight)
        if isinstance(self.w2, Tensor):
            large = _float(self.w2, weight)
        else:
            large = _product(*self.w2, weight)
        while small.dim() < large.dim():
            small = small[..., None]
        # torch.kron fails where an einsum has left its product in another order.
        return torch.kron(small, large.contiguous()) * self.scale


@dataclass(frozen=True, eq=False)
class Scaling:
    """IA3 (Liu et al. 2022): every output, or every input, is multiplied by 1 + w.

    Attributes:
        w: one number for each.
        on_input: which of the two.
    """

    w: Tensor
    on_input: bool

    def delta(self, weight: Tensor) -> Tensor:
        axis = 1 if self.on_input else 0
        shape = [1] * weight.dim()
        shape[axis] = weight.shape[axis]
        return weight * _float(self.w, weight).reshape(shape)


@dataclass(frozen=True, eq=False)
class Difference:
    """The difference itself."""

    weight: Tensor

    def delta(self, weight: Tensor) -> Tensor:
        return _float(self.weight, weight)


@dataclass(frozen=True, eq=False)
class LoraLayer:
    """All that a file changes of one module.

    Attributes:
        change: of its weight.
        magnitude: DoRA's: norms of the changed weight, for every output (out, 1, ...) or, as
            older files of LyCORIS have them, for every input (1, in, ...).
        bias: (out,), added to its bias.
    """

    change: Change | None = None
    magnitude: Tensor | None = None
    bias: Tensor | None = None

    def delta(self, weight: Tensor) -> Tensor | None:
        """What is added to W at scale 1, float32, of its shape; None where W stays.

        With a magnitude it is m (W + d) / ||W + d|| - W (DoRA, Liu et al. 2024, eq. 5). At other
        scales that whole difference is scaled, as AUTOMATIC1111 and ComfyUI do.

        Raises:
            ValueError, RuntimeError, IndexError: the shapes do not fit W.
        """
        if self.change is None:
            return None
        weight = weight.float()
        delta = self.change.delta(weight)
        if delta.numel() != weight.numel() or delta.shape[:1] != weight.shape[:1]:
            raise ValueError(f"{tuple(delta.shape)} does not fit {tuple(weight.shape)}")
        delta = delta.reshape(weight.shape)
        if self.magnitude is None:
            return delta
        changed = weight + delta
        magnitude = _float(self.magnitude, weight)
        axis = 1 if magnitude.dim() > 1 and magnitude.shape[0] != changed.shape[0] else 0
        others = [each for each in range(changed.dim()) if each != axis]
        norm = torch.linalg.vector_norm(changed, dim=others, keepdim=True)
        factor: Tensor = magnitude.reshape(norm.shape) / norm.clamp_min(1e-12)
        return changed * factor - weight

    def fits(self, weight: Sequence[int], bias: Sequence[int] | None) -> bool:
        """Whether the shapes fit a module's; computes nothing.

        Args:
            weight, bias: shapes of the module's; None for no bias.
        """
        if self.bias is not None and (bias is None or tuple(self.bias.shape) != tuple(bias)):
            return False
        try:
            # Tensors follow the weight to a device where they have shapes and no numbers.
            self.delta(torch.empty(tuple(weight), device="meta"))
        except (ValueError, RuntimeError, IndexError):
            return False
        return True


def _product(a: Tensor, b: Tensor, t: Tensor | None, weight: Tensor) -> Tensor:
    """(out, in, ...) of a low-rank pair."""
    if t is None:
        return _flat(a, weight) @ _flat(b, weight)
    core = _float(t, weight)
    return torch.einsum("ijkl,ip,jr->prkl", core, _flat(a, weight), _flat(b, weight))


def _flat(tensor: Tensor, weight: Tensor) -> Tensor:
    return _float(tensor, weight).flatten(1)


def _float(tensor: Tensor, weight: Tensor) -> Tensor:
    return tensor.to(weight.device, torch.float32)
