"""Whether a film is rendered with the model's layers compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

from ..core.timeline import Timeline
from ..models.parts import Parts
from .planning import plan

if TYPE_CHECKING:
    from ..models.compiling import Compiled
    from ..runs.kept import Kept


class Warming:
    """Has a model's layers compiled for the films that it pays back for, and keeps them.

    Args:
        parts: the model.
        choice: on, off, or auto.
        report: told in a line if they should be and cannot.
    """

    def __init__(
        self, parts: Parts, choice: Literal["auto", "on", "off"], report: Callable[[str], None]
    ) -> None:
        self.parts, self.choice, self.report = parts, choice, report
        self._compiled: Compiled | None = None

    def of(
        self, timeline: Timeline, size: tuple[int, int], batch: int, kept: Kept | None
    ) -> Compiled | None:
        """Layers that are compiled for a film in its first batch, or None.

        Args:
            timeline: the film.
            size: (width, height) in pixels of its pictures.
            batch: pictures that are denoised together.
            kept: its frames that are finished already.
        """
        device = self.parts.device
        if self.choice == "off" or self.parts.low_memory:
            return None
        if self.choice == "auto" and device.type != "cuda":
            return None
        from ..models.compiling import Compiled, is_worth_it

        work = plan(timeline, lambda index: kept is None or not kept.finished(index))
        if not is_worth_it(self.choice, device, work.evaluations, size[0] * size[1]):
            return None
        if self._compiled is None:
            self._compiled = Compiled(self.parts, self.report)
        return self._compiled.begin(max(1, min(batch, work.shots)))
