"""A preset's storyboard: its timeline read, its stills rendered or taken from the store."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import PurePath

from PIL.Image import Image

from ..core.retiming import ArcLength
from ..core.timeline import Timeline
from ..errors import DataError, UsageError
from ..models.digests import model_digest
from ..models.opening import open_model
from ..models.placement import device_name, dtype_name
from ..models.places import locate
from ..models.sizes import film_sizes
from ..progress import Bar
from ..rendering.planning import plan
from ..runs.home import frames_folder, models_file, runs_folder
from ..runs.kept import KeptFrames
from ..runs.keys import frame_keys
from ..runs.manifest import read_manifest
from ..runs.run import run_arcs, run_id
from ..runs.store import FrameStore, check_writable
from ..settings import PLACES, RenderSettings
from ..studio import Studio
from ..tools import PictureTool, Report
from .board import Board, read_board
from .drawing import draw_board
from .hearing import sound_plot
from .text import DOT


def make_storyboard(
    tool: PictureTool,
    settings: RenderSettings,
    name: str,
    *,
    most: int,
    report: Report,
    heard: RenderSettings | None = None,
) -> Image:
    """The storyboard of the film that a tool makes of its settings.

    Stills are frames of the film itself, and are kept where it finds them when it is rendered;
    those that are there already are not rendered.

    Args:
        tool: the tool.
        settings: an instance of ``tool.settings``.
        name: as of the preset.
        most: stills at most.
        report: prints a line.
        heard: settings whose ``audio`` is a file, where the others name music.

    Raises:
        UsageError, ModelError, RenderError, OutputError: as in rendering.
    """
    if settings.seed == -1:
        settings = settings.model_copy(update={"seed": random.SystemRandom().randrange(2**32)})
        report(f"seed {settings.seed}; the film takes these stills with --seed {settings.seed}")
    timeline = tool.plan(settings)
    if timeline.length == 0:
        raise UsageError(f"{tool.name}: these settings give no frames")
    place = locate(settings)
    size, _ = film_sizes(timeline, open_model(place))
    digest = model_digest(place, models_file())
    placed = timeline
    if (retiming := timeline.retiming) is not None:
        resolved = settings.model_dump(mode="json", exclude=PLACES)
        run = run_id(tool.name, name, resolved, digest, size)
        if arcs := _measured(run, retiming.segments):
            placed = retiming.timeline(arcs)
        else:
            report("timing: frames find their places when the film is rendered; shown evenly timed")
    board = read_board(placed, most)
    dtype = dtype_name(settings.dtype, device_name(settings.device))
    keys = list(frame_keys(placed, model=digest, size=size, dtype=dtype))
    store = FrameStore(frames_folder())
    check_writable(store.folder)

    def studio() -> Studio:
        return Studio.load(place, device=settings.device, dtype=settings.dtype)

    pictures, there = take_stills(
        studio, placed, board, store, keys, batch_size=settings.batch_size
    )
    lacking = sum(picture is None for picture in pictures)
    made = len(pictures) - there - lacking
    report(f"stills: {len(pictures)} of {board.length} frames; {there} there, {made} rendered")
    if lacking:
        report(f"not shown: {lacking}, following from frames that are not rendered yet")
    sound = sound_plot(placed, heard or settings)
    return draw_board(board, pictures, name, _subtitle(tool, settings, placed, size), sound)


def take_stills(
    studio: Callable[[], Studio],
    timeline: Timeline,
    board: Board,
    store: FrameStore,
    keys: Sequence[str],
    *,
    batch_size: int | None = None,
) -> tuple[list[Image | None], int]:
    """Pictures of a board's stills, rendered and kept where they are not in the store.

    A picture that follows from the one before it is taken from the store, or left out.

    Args:
        studio: gives the model; not called where nothing is to be rendered.
        timeline: the film's.
        board: of that timeline.
        store: where finished frames are.
        keys: of all frames of the timeline.
        batch_size: as in ``Studio.render``.

    Returns:
        A picture per still, or None for one that cannot be shown; and how many were in the store.
    """
    found = {still.frame: store.read(keys[still.frame]) for still in board.stills}
    there = sum(picture is not None for picture in found.values())
    missing = [s for s in board.stills if found[s.frame] is None and not s.follows]
    if missing:
        shots = [still.shot for still in missing]
        part = replace(
            timeline,
            frames=lambda: shots,
            length=len(shots),
            ping_pong=False,
            closed=False,
            retiming=None,
            sound=None,
        )
        kept = KeptFrames(store, [keys[still.frame] for still in missing])
        with Bar(plan(part).evaluations, len(shots)) as bar:
            pictures = studio().render(
                part, batch_size=batch_size, kept=kept, on_evaluations=bar.advance
            )
            for made, (still, picture) in enumerate(zip(missing, pictures, strict=True), 1):
                found[still.frame] = picture
                bar.frame(made)
    return [found[still.frame] for still in board.stills], there


def _measured(run: str, segments: int) -> list[ArcLength]:
    """What the run of that name measured of its path; nothing if it did not, or is not there."""
    try:
        return run_arcs(read_manifest(runs_folder() / run), segments)
    except DataError:
        return []


def _subtitle(
    tool: PictureTool, settings: RenderSettings, timeline: Timeline, size: tuple[int, int]
) -> str:
    many = "s" if timeline.length > 1 else ""
    film = [f"{timeline.length} frame{many}{', and back' if timeline.ping_pong else ''}"]
    if timeline.columns is not None:
        film = [f"{timeline.length} picture{many}, {timeline.columns} in a row"]
    elif timeline.length > 1:
        film += [f"{len(timeline) / timeline.fps:.1f} s at {timeline.fps:g} fps"]
    steps = f"{timeline.steps} step{'s' if timeline.steps > 1 else ''}"
    words = [
        tool.name,
        *film,
        f"{size[0]}x{size[1]}",
        f"{timeline.sampler}, {steps}",
        PurePath(settings.model).name or settings.model,
    ]
    return DOT.join(words)
