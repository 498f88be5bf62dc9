"""Averaged weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn


@dataclass
class Ema:
    """Exponential moving average of weights, warmed up: decay min(decay, (1 + n) / (10 + n)).

    Attributes:
        decay: share of the average that each update keeps, in [0, 1).
        shadow: the averaged weights; whole numbers are copied, not averaged.
        updates: n, how often ``update`` was called.
    """

    decay: float
    shadow: dict[str, Tensor]
    updates: int = 0

    @classmethod
    def of(cls, module: nn.Module, decay: float) -> Ema:
        return cls(decay, {k: v.detach().clone() for k, v in module.state_dict().items()})

    def update(self, module: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for key, value in module.state_dict().items():
            if value.dtype.is_floating_point:
                self.shadow[key].lerp_(value.detach(), 1 - decay)
            else:
                self.shadow[key].copy_(value)

    def applied(self, module: nn.Module, action: Callable[[], Any]) -> Any:
        """Run ``action`` while ``module`` holds the averaged weights."""
        kept = {k: v.detach().clone() for k, v in module.state_dict().items()}
        module.load_state_dict(self.shadow)
        try:
            return action()
        finally:
            module.load_state_dict(kept)
