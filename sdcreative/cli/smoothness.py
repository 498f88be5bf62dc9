"""`sdcreative smoothness`: how even the steps of a finished film are, and halving its jumps."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from ..host import Host, plugins_enabled
from .pictures import check_picture
from .repair import repair_run
from .tables import json_flag

if TYPE_CHECKING:
    from ..smoothness import Smoothness

_SHOWN = 12
_WITH_MODEL = ("latent",)


def smoothness_command(host: Host | None = None) -> click.Command:
    """The command; exit code 0 whatever it finds, 1 where the film cannot be read.

    Args:
        host: has the tools that a run is repaired with; loaded when it is wanted, if None.
    """

    @click.command("smoothness", short_help="Measure how even a film's steps are.")
    @click.argument("film", type=click.Path(path_type=Path), metavar="FILM|RUN")
    @click.option(
        "--metric",
        default="pixel",
        show_default=True,
        metavar="NAME",
        help="Distance of two frames: pixel or ssim; with --model also latent or clip.",
    )
    @click.option("--model", metavar="NAME", help="Built-in name or folder, to measure with.")
    @click.option(
        "--plot",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Draw the steps into this PNG, JPEG or WebP.",
    )
    @click.option(
        "--repair", is_flag=True, help="Put frames into the jumps of a run, and write the film."
    )
    @click.option(
        "-o",
        "--output",
        metavar="PATH",
        help="With --repair: file to write; NAME_repaired beside you if left out.",
    )
    @click.option(
        "--most",
        type=click.IntRange(1),
        metavar="N",
        help="With --repair: frames to add at most (100).",
    )
    @click.option("--overwrite", is_flag=True, help="Replace a plot or film that exists.")
    @json_flag
    def smoothness(
        film: Path,
        metric: str,
        model: str | None,
        plot: Path | None,
        repair: bool,
        output: str | None,
        most: int | None,
        overwrite: bool,
        as_json: bool,
    ) -> None:
        """Measure how even the steps from frame to frame are.

        FILM is an mp4, mov, mkv, gif, webp or apng, or a folder of PNGs. Jumps, duplicates, black
        or flat frames, flicker and the step from the last frame to the first are found.

        With --repair it is the name of a run. Every jump gets a frame half way between its two, and
        again what is left of it, and the longer film is written.
        """
        from ..metrics import check_metric, find_metric

        check_metric(metric)
        for flag, value in (("--output", output), ("--most", most)):
            if value is not None and not repair:
                raise UsageError(f"{flag} goes with --repair")
        if repair:
            for name, refused in (("--plot", plot), ("--model", model), ("--json", as_json)):
                if refused:
                    raise UsageError(
                        f"{name} does not go with --repair; measure the film it writes"
                    )
            tools = host or Host.load(enabled=plugins_enabled())
            repair_run(tools, film, output, metric=metric, most=most, overwrite=overwrite)
            return
        if plot is not None:
            check_picture(plot, overwrite)
        studio = None
        if model is None and metric in _WITH_MODEL:
            raise UsageError(f"metric {metric!r} measures with a model; name it: --model emoji")
        if model is not None:
            from ..studio import Studio

            studio = Studio.load(model)
        distance = find_metric(metric, studio)
        from ..media.frames import read_frames
        from ..smoothness import analyse, draw_steps

        found = analyse(read_frames(film), distance)
        if plot is not None:
            from ..media.image import write_picture

            write_picture(draw_steps(found, metric, film.name), plot, overwrite)
        click.echo(_as_json(found, metric) if as_json else _as_text(found, metric))

    return smoothness


def _as_json(found: Smoothness, metric: str) -> str:
    from dataclasses import asdict

    figures = {"metric": metric, "frames": found.frames, **asdict(found)}
    if not math.isfinite(found.ratio):
        figures["ratio"] = None  # JSON has no infinity
    return json.dumps(figures, indent=2)


def _as_text(found: Smoothness, metric: str) -> str:
    seam = f" ({found.seam / found.median:.2f} median steps)" if found.median else ""
    jumps = [f"{i} ({found.steps[i]:.4g})" for i in found.jumps]
    rows = [
        ("frames", str(found.frames)),
        ("steps", f"largest {found.largest:.4g}, median {found.median:.4g}, metric {metric}"),
        ("ratio", f"{found.ratio:.2f}"),
        ("jumps", _listed(jumps, "after frame")),
        ("duplicates", _listed([str(i + 1) for i in found.duplicates], "frame")),
        ("black", _listed([str(i) for i in found.black], "frame")),
        ("flat", _listed([str(i) for i in found.flat], "frame")),
        ("flicker", f"{found.flicker:.2f} (0 steady, 0.5 random, 1 alternating)"),
        ("loop seam", f"{found.seam:.4g}{seam}"),
    ]
    return "\n".join(f"{name:<12} {text}" for name, text in rows)


def _listed(items: list[str], what: str) -> str:
    if not items:
        return "none"
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return f"{len(items)}: {what} {', '.join(items[:_SHOWN])}{more}"
