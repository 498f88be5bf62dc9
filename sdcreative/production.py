"""What a film is made with: its model, its run, its frames where they are placed, its writer."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL.Image import Image

from .core.retiming import ArcLength
from .core.timeline import Timeline
from .estimate import say_plan
from .guarding import Guard
from .media.replay import there_and_back
from .media.writers import Writer
from .models.few_steps import told_guidance
from .models.placement import device_name, dtype_name, pick_device, pick_dtype
from .outlet import Outlet
from .picture_job import PictureJob
from .progress import Bar
from .provenance import tags
from .rendering.planning import Plan, plan
from .retiming import retime
from .runs.kept import Kept, KeptFrames
from .runs.reading import in_order
from .runs.run import Run, run_arcs
from .settings import RenderSettings
from .spreading.film import FilmWorkers
from .studio import Studio, Studios
from .tools import Report

Arcs = Sequence[ArcLength]
Counter = Callable[[int], None]


@dataclass(frozen=True)
class Production:
    """What one film is made with.

    Attributes:
        job: what is rendered.
        name: of the output where the settings give none.
        output: file or folder.
        report: prints a line.
        metadata: whether the settings go into the output.
        studios: has the model of the last job.
        workers: render the frames; None renders them here.
    """

    job: PictureJob
    name: str
    output: str
    report: Report
    metadata: bool
    studios: Studios
    workers: FilmWorkers | None = None

    @property
    def settings(self) -> RenderSettings:
        return self.job.settings

    @property
    def studio(self) -> Studio:
        """The model, loaded when it is first needed; a film that is only encoded needs none."""
        settings = self.settings
        return self.studios.load(
            self.job.place,
            settings.device,
            settings.dtype,
            settings.low_memory,
            settings.compile,
            self.report,
        )

    @cached_property
    def guard(self) -> Guard:
        """What looks at the finished pictures."""

        def load() -> Any:
            from .models.safety import load_safety

            device = pick_device(self.settings.device)
            return load_safety(self.job.place.path, device, pick_dtype(self.settings.dtype, device))

        return Guard(self.settings.safety, self.job.place, load)

    @cached_property
    def outlet(self) -> Outlet:
        return Outlet(
            self.job.timeline,
            self.job.sizes[1],
            self.settings.process,
            self.output,
            self._tags,
            self.report,
            self.settings.beside,
            device_name(self.settings.device),
            self.settings.encoder,
        )

    @cached_property
    def own_dtype(self) -> str:
        """The floating-point type of what is rendered by this process."""
        return dtype_name(self.settings.dtype, device_name(self.settings.device))

    @property
    def dtype(self) -> str:
        """The floating-point type of the film."""
        return self.own_dtype if self.workers is None else self.workers.dtype

    def plan(
        self, timeline: Timeline, composes: Callable[[int], bool] = lambda index: True
    ) -> Plan:
        """What a timeline will take."""
        return plan(timeline, composes, self.job.sizes, told_guidance(self.job.model))

    def say_plan(self) -> None:
        work, film = self.plan(self.job.timeline), self.outlet.processed
        first, batch = self.job.sizes[0], self.settings.batch_size
        studio = self.studio.measuring(self.job.timeline)
        say_plan(studio, work, first, batch, self.output, film, self.report)

    def _tags(self) -> dict[str, str] | None:
        job = self.job
        if not self.metadata:
            return None
        return tags(job.tool.name, job.settings, job.timeline, job.sizes[0], job.digest)

    def run(self, shard: str = "") -> Run:
        """The film's run, or one shard of it."""
        device = self.settings.device
        manifest = self.job.manifest(
            self.name,
            output=_absolute(self.output),
            metadata=self.metadata,
            device=device_name(device) if self.workers is None else self.workers.device,
            dtype=self.dtype,
        )
        return Run(manifest, self.report, shard)

    def begun(self, run: Run) -> tuple[Timeline, Arcs | None, KeptFrames]:
        """The film's frames where they are placed, and those of them that are there."""
        timeline = self.job.timeline
        arcs: Arcs | None = None
        if timeline.retiming is not None:
            timeline, arcs = self._placed(timeline, run)
        kept = run.frames(self.job.keys(timeline, self.dtype))
        kept.around(timeline)
        run.compose(kept)
        # What fits on a device may be more or less by now; batches of another size would not be
        # the same bit for bit.
        kept.batch_size = run.manifest.batch_size
        if kept.there:
            self.report(f"{kept.there} of {len(kept.keys)} frames are there already")
        return timeline, arcs, kept

    def _placed(self, timeline: Timeline, run: Run) -> tuple[Timeline, Arcs]:
        """Frames at equal visual steps; what was measured once is not measured again."""
        retiming = timeline.retiming
        if retiming and (arcs := run_arcs(run.manifest, retiming.segments)):
            return retiming.timeline(arcs), arcs

        def keep(probe: Timeline) -> Kept:
            keys = self.job.keys(probe, self.own_dtype)
            run.add_probes(keys)
            # In the same batches however often it is stopped, so that it measures the same.
            return KeptFrames(run.store, keys, composed=range(len(keys)))

        placed, found = self.measured(timeline, keep)
        run.note_arcs(found)
        return placed, found

    def measured(
        self, timeline: Timeline, keep: Callable[[Timeline], Kept]
    ) -> tuple[Timeline, Arcs]:
        """The timeline at equal visual steps, its path measured by pictures that are kept so."""
        work = self.plan(timeline)
        with Bar(work.probing, 0) as bar:

            def render(probe: Timeline) -> Generator[Image, None, None]:
                return self._pictures(probe, keep(probe), bar.advance)

            placed, found = retime(self.studio, timeline, render=render, report=self.report)
        return placed, found.arcs

    def write(self, writer: Writer, timeline: Timeline, arcs: Arcs | None, kept: Kept) -> None:
        """Put all pictures into the file, those that are missing rendered."""
        work = self.plan(timeline, lambda index: kept.composes(index) and not kept.finished(index))
        film = self.outlet.processed
        made = 0
        try:
            with (
                writer,
                Bar(work.evaluations, film.length) as bar,
                closing(self._film(timeline, arcs, kept, bar.advance)) as rendered,
                closing(self.guard.watch(rendered)) as pictures,
                closing(self.outlet.process(pictures)) as processed,
            ):
                for picture in processed:
                    writer.add(picture)
                    made += 1
                    bar.frame(made)
        except KeyboardInterrupt:
            if writer.published:
                self.report(f"stopped: {made} of {film.length} frames are kept in {self.output}")
            raise
        files = ", ".join((self.output, *self.settings.beside))
        self.report(f"{files}: {self.outlet.summary}, seed {self.settings.seed}")
        if found := self.guard.summary():
            self.report(found)

    def _film(
        self, timeline: Timeline, arcs: Arcs | None, kept: Kept, on_evaluations: Counter
    ) -> Generator[Image, None, None]:
        there = isinstance(kept, KeptFrames) and not kept.missing
        if self.workers is None or there:
            if timeline.preview and not there:
                self.report(self.studio.preview_said(timeline))
            return self._pictures(timeline, kept, on_evaluations)
        return self.workers.render(timeline, arcs, kept, on_evaluations)

    def _pictures(
        self, timeline: Timeline, kept: Kept, on_evaluations: Counter
    ) -> Generator[Image, None, None]:
        if isinstance(kept, KeptFrames) and not kept.missing:
            pictures = in_order(kept, len(kept.keys))
            return there_and_back(pictures) if timeline.ping_pong else pictures
        return self.studio.render(
            timeline,
            batch_size=self.settings.batch_size or kept.batch_size or None,
            kept=kept,
            on_evaluations=on_evaluations,
        )


def _absolute(output: str) -> str:
    """Where an output is, whatever folder is the current one; a folder keeps its last slash."""
    return str(Path(output).resolve()) + ("/" if output.endswith(("/", "\\")) else "")
