"""The workers of one film, whatever runs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING

from ..core.retiming import ArcLength
from ..core.timeline import Timeline
from ..media.replay import there_and_back
from ..models.placement import dtype_name
from ..picture_job import PictureJob, digest_of, given
from ..runs.kept import Kept
from .driver import Driver
from .messages import Order
from .wanted import Spread

if TYPE_CHECKING:
    from PIL.Image import Image


class FilmWorkers:
    """Render the frames of a film elsewhere.

    Args:
        job: the film.
        spread: where.
        report: prints a line.

    Raises:
        UsageError: a device that this machine lacks, a cluster that does not answer.
    """

    def __init__(self, job: PictureJob, spread: Spread, report: Callable[[str], None]) -> None:
        self.job, self.spread, self.report = job, spread, report
        self._executor = spread.executor(job.settings.device)

    @property
    def device(self) -> str:
        """Where they compute."""
        return self._executor.device

    @property
    def dtype(self) -> str:
        """How precisely."""
        return dtype_name(self.job.settings.dtype, self.device)

    def render(
        self,
        timeline: Timeline,
        arcs: Sequence[ArcLength] | None,
        kept: Kept,
        on_evaluations: Callable[[int], None],
    ) -> Generator[Image, None, None]:
        """The pictures of a timeline, in order; as ``Studio.render``.

        Args:
            timeline: the film's, its frames placed.
            arcs: what was measured to place them.
            kept, on_evaluations: as in ``Studio.render``.
        """
        pictures = self._driver(timeline, arcs, kept, on_evaluations).pictures()
        return there_and_back(pictures) if timeline.ping_pong else pictures

    def make(
        self,
        timeline: Timeline,
        arcs: Sequence[ArcLength] | None,
        kept: Kept,
        on_evaluations: Callable[[int], None],
    ) -> None:
        """Only keep what is missing."""
        self._driver(timeline, arcs, kept, on_evaluations).make()

    def _driver(
        self,
        timeline: Timeline,
        arcs: Sequence[ArcLength] | None,
        kept: Kept,
        on_evaluations: Callable[[int], None],
    ) -> Driver:
        job, told = self.job, self.spread.told or self.job.settings
        measured = [{"times": [*one.times], "distances": [*one.distances]} for one in arcs or ()]
        order = Order(
            tool=job.tool.name,
            settings={**given(told), "seed": job.settings.seed},
            folder=os.getcwd(),
            plugins=self.spread.plugins,
            model=job.digest,
            frames=digest_of(job.keys(timeline, self.dtype)),
            device=self.device,
            dtype=self.dtype,
            arcs=measured or None,
        )
        return Driver(
            self._executor,
            order,
            timeline,
            kept,
            sizes=job.sizes,
            sure_bytes=job.sure_bytes,
            report=self.report,
            on_evaluations=on_evaluations,
        )

    def __enter__(self) -> FilmWorkers:
        return self

    def __exit__(self, *details: object) -> None:
        self._executor.close()
