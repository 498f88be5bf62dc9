"""Which of the words so far to keep, and when to look no longer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .verdicts import Verdict

Rows = tuple[Tensor, ...]
"""(n, width) for each text encoder"""


@dataclass(frozen=True, eq=False)
class Best:
    """The word of the best look, copied; nothing changes it.

    Attributes:
        step: of that look; -1 before the first.
        score: of its verdict.
        rows: the word.
        waited: looks since then.
    """

    step: int = -1
    score: float = -math.inf
    rows: Rows = ()
    waited: int = 0

    def after(self, verdict: Verdict, rows: Tensor | Sequence[Tensor], least: float) -> Best:
        """What is the best after one more look.

        Args:
            verdict: of the look.
            rows: the word that was looked at.
            least: rise of the score that counts as better; 0 or more.
        """
        if verdict.score > self.score + least or self.step < 0:
            each = (rows,) if isinstance(rows, Tensor) else tuple(rows)
            kept = tuple(one.detach().float().cpu().clone() for one in each)
            return Best(verdict.step, verdict.score, kept, 0)
        return Best(self.step, self.score, self.rows, self.waited + 1)

    def is_enough(self, patience: int) -> bool:
        """Whether so many looks brought nothing better; never for a patience of 0."""
        return 0 < patience <= self.waited

    def state(self) -> dict[str, Any]:
        """Plain values and tensors, for a checkpoint."""
        return {
            "step": self.step,
            "score": self.score,
            "rows": list(self.rows),
            "waited": self.waited,
        }

    @classmethod
    def of_state(cls, state: Mapping[str, Any]) -> Best:
        """The same again."""
        return cls(state["step"], state["score"], tuple(state["rows"]), state["waited"])
