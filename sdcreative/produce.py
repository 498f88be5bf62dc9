"""A picture tool's settings to a finished file: plan, run folder, model, pictures, writer."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL.Image import Image

from . import __version__
from .core.timeline import Retiming, Timeline
from .errors import SdcreativeError, UsageError
from .estimate import say_plan
from .guarding import Guard
from .interrupts import unbroken
from .media.replay import there_and_back
from .media.writers import Writer
from .models.digests import model_digest
from .models.facts import reading_notes
from .models.opening import open_model
from .models.placement import device_name, dtype_name
from .models.places import ModelPlace, locate
from .models.sizes import film_sizes
from .outlet import Outlet
from .planning import Plan, plan
from .progress import Bar
from .provenance import library_versions, tags
from .retiming import RetimingReport, retime
from .runs.home import models_file
from .runs.kept import Kept, KeptFrames
from .runs.keys import frame_keys
from .runs.manifest import Manifest
from .runs.run import Run, run_arcs, run_id
from .serving import check_serves
from .settings import PLACES, RenderSettings
from .studio import Studio, Studios
from .tools import PictureTool, Report


def produce(
    tool: PictureTool,
    settings: RenderSettings,
    *,
    default_name: str,
    overwrite: bool,
    dry_run: bool,
    report: Report,
    keep: bool = True,
    metadata: bool = True,
    studios: Studios | None = None,
) -> Path | None:
    """Render the timeline that a tool makes of its settings.

    Args:
        tool: the tool.
        settings: an instance of ``tool.settings``.
        default_name: name of the output without its ending, where the settings give none.
        overwrite: whether an existing output may be replaced.
        dry_run: only say what it would take.
        report: prints a line.
        keep: keep every finished frame in a run folder, and take those that are there.
        metadata: write the settings into the output.
        studios: has the model of the last job, and keeps this one's.

    Returns:
        The output, or None for a dry run.

    Raises:
        UsageError, ModelError, RenderError, OutputError: as the parts say.
        KeyboardInterrupt: Ctrl-C; what was finished is kept as a playable file.
    """
    if settings.seed == -1:
        settings = settings.model_copy(update={"seed": random.SystemRandom().randrange(2**32)})
        report(f"seed {settings.seed}")
    timeline = tool.plan(settings)
    if len(timeline) == 0:
        raise UsageError(f"{tool.name}: these settings give no frames")
    output = os.path.expanduser(settings.output or f"{default_name}{tool.suffix}")
    place = locate(settings)
    for note in reading_notes(place):
        report(note)
    model = open_model(place)
    first, size = film_sizes(timeline, model)
    check_serves(timeline, model, size)
    job = _Production(
        tool,
        settings,
        default_name,
        timeline,
        place,
        first,
        size,
        output,
        report,
        metadata,
        studios or Studios(),
    )
    # A model without a checker, where one is needed, is said before anything is rendered.
    _ = job.guard
    if dry_run:
        job.outlet.writer(overwrite=True).abort()
        film = job.outlet.processed
        say_plan(job.studio, job.plan(timeline), first, settings.batch_size, output, film, report)
        return None
    if keep:
        job.render_and_keep(overwrite)
    else:
        job.render(overwrite)
    return Path(output)


@dataclass(frozen=True)
class _Production:
    tool: PictureTool
    settings: RenderSettings
    name: str
    timeline: Timeline
    place: ModelPlace
    first: tuple[int, int]
    size: tuple[int, int]
    output: str
    report: Report
    metadata: bool
    studios: Studios

    @property
    def studio(self) -> Studio:
        """The model, loaded when it is first needed; a film that is only encoded needs none."""
        settings = self.settings
        return self.studios.load(self.place, settings.device, settings.dtype, settings.low_memory)

    @cached_property
    def guard(self) -> Guard:
        """What looks at the finished pictures."""

        def load() -> Any:
            from .models.safety import load_safety

            parts = self.studio.parts
            return load_safety(self.place.path, parts.device, parts.dtype)

        return Guard(self.settings.safety, self.place, load)

    @cached_property
    def digest(self) -> str:
        return model_digest(self.place, models_file())

    @cached_property
    def outlet(self) -> Outlet:
        return Outlet(
            self.timeline,
            self.size,
            self.settings.process,
            self.output,
            self._tags,
            self.report,
            self.settings.beside,
            device_name(self.settings.device),
        )

    def plan(
        self, timeline: Timeline, composes: Callable[[int], bool] = lambda index: True
    ) -> Plan:
        """What a timeline will take."""
        return plan(timeline, composes, (self.first, self.size))

    def _tags(self) -> dict[str, str] | None:
        if not self.metadata:
            return None
        return tags(self.tool.name, self.settings, self.timeline, self.first, self.digest)

    def render(self, overwrite: bool) -> None:
        """Render all, and keep nothing but the output."""
        writer = self.outlet.writer(overwrite)
        try:
            timeline = self.timeline
            if timeline.retiming is not None:
                timeline, _ = self._measured(timeline, lambda probe: Kept())
            self._write(writer, timeline, Kept())
        finally:
            writer.abort()

    def render_and_keep(self, overwrite: bool) -> None:
        """Render what is missing of a run, and write all of it."""
        with ExitStack() as leaving:
            run = leaving.enter_context(Run(self._manifest(), self.report))
            run.reserve(self.output)
            writer = self.outlet.writer(overwrite or run.owns(self.output))
            leaving.callback(writer.abort)
            run.begin()
            kept = Kept()
            try:
                timeline = self.timeline
                if timeline.retiming is not None:
                    timeline = self._placed(timeline, timeline.retiming, run)
                kept = run.frames(self._keys(timeline))
                kept.around(timeline)
                run.compose(kept)
                if kept.there:
                    self.report(f"{kept.there} of {len(kept.keys)} frames are there already")
                self._write(writer, timeline, kept)
            except KeyboardInterrupt:
                with unbroken():
                    published = self.output if writer.published else ""
                    run.end("stopped", output=published, batch_size=kept.batch_size)
                    self.report(f"go on with: sdcreative runs resume {run.manifest.id}")
                raise
            except Exception as error:
                run.end("failed", fault=str(error), batch_size=kept.batch_size)
                if kept.made and isinstance(error, SdcreativeError):
                    self.report(
                        f"the {kept.made} frames made so far are kept; the same command, or "
                        f"'sdcreative runs resume {run.manifest.id}', goes on from there"
                    )
                raise
            run.end("finished", output=self.output, batch_size=kept.batch_size)

    def _manifest(self) -> Manifest:
        settings = self.settings
        resolved = settings.model_dump(mode="json", exclude=PLACES)
        return Manifest(
            id=run_id(self.tool.name, self.name, resolved, self.digest, self.size),
            tool=self.tool.name,
            name=self.name,
            # What was not given stays so: a default that is written out may contradict the rest.
            settings=settings.model_dump(mode="json", exclude_unset=True),
            folder=os.getcwd(),
            metadata=self.metadata,
            model_name=settings.model,
            model=self.digest,
            size=self.size,
            dtype=self.dtype,
            device=device_name(settings.device),
            seed=settings.seed,
            versions={"sdcreative": __version__, **library_versions()},
            frames=len(self.timeline),
            began=time.time(),
            output=_absolute(self.output),
        )

    @cached_property
    def dtype(self) -> str:
        return dtype_name(self.settings.dtype, device_name(self.settings.device))

    def _keys(self, timeline: Timeline) -> list[str]:
        return list(frame_keys(timeline, model=self.digest, size=self.first, dtype=self.dtype))

    def _placed(self, timeline: Timeline, retiming: Retiming, run: Run) -> Timeline:
        """Frames at equal visual steps; what was measured once is not measured again."""
        if arcs := run_arcs(run.manifest, retiming.segments):
            return retiming.timeline(arcs)

        def keep(probe: Timeline) -> Kept:
            keys = self._keys(probe)
            run.add_probes(keys)
            # In the same batches however often it is stopped, so that it measures the same.
            return KeptFrames(run.store, keys, composed=range(len(keys)))

        placed, found = self._measured(timeline, keep)
        run.note_arcs(found.arcs)
        return placed

    def _measured(
        self, timeline: Timeline, keep: Callable[[Timeline], Kept]
    ) -> tuple[Timeline, RetimingReport]:
        work = self.plan(timeline)
        with Bar(work.probing, 0) as bar:

            def render(probe: Timeline) -> Generator[Image, None, None]:
                return self._pictures(probe, keep(probe), bar.advance)

            return retime(self.studio, timeline, render=render, report=self.report)

    def _write(self, writer: Writer, timeline: Timeline, kept: Kept) -> None:
        """Put all pictures into the file, those that are missing rendered."""
        work = self.plan(timeline, lambda index: kept.composes(index) and not kept.finished(index))
        film = self.outlet.processed
        made = 0
        try:
            with (
                writer,
                Bar(work.evaluations, film.length) as bar,
                closing(self._pictures(timeline, kept, bar.advance)) as rendered,
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

    def _pictures(
        self, timeline: Timeline, kept: Kept, on_evaluations: Callable[[int], None]
    ) -> Generator[Image, None, None]:
        if isinstance(kept, KeptFrames) and not kept.missing:
            pictures = (kept.picture(index) for index in range(len(kept.keys)))
            return there_and_back(pictures) if timeline.ping_pong else pictures
        return self.studio.render(
            timeline,
            batch_size=self.settings.batch_size,
            kept=kept,
            on_evaluations=on_evaluations,
        )


def _absolute(output: str) -> str:
    """Where an output is, whatever folder is the current one; a folder keeps its last slash."""
    return str(Path(output).resolve()) + ("/" if output.endswith(("/", "\\")) else "")
