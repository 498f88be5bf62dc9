"""What a dry run says: frames, U-Net calls, time and disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .media.output import estimate_bytes, human
from .rendering.planning import Plan
from .tools import Film, Report

if TYPE_CHECKING:
    from .studio import Studio


def say_plan(
    studio: Studio,
    work: Plan,
    size: tuple[int, int],
    batch_size: int | None,
    output: str,
    film: Film,
    report: Report,
) -> None:
    """Report what rendering would take on this machine, from timed calls of the model."""
    batch = studio.suggested_batch_size(size) if batch_size is None else batch_size
    between, again = work.rendered - work.shots, work.frames - work.rendered
    seconds = studio.estimate_seconds(work, size, batch)
    disk = human(estimate_bytes(Path(output).suffix, film.size, film.length))
    report(f"output       {output}, {film.size[0]}x{film.size[1]} pixels")
    back = f", {again} played back" if again else ""
    report(f"frames       {work.frames}: {work.shots} denoised, {between} in between{back}")
    if film.length != work.frames:
        report(f"processed    {film.length} frames are written")
    if work.probes:
        report(f"probe        up to {work.probes} pictures more, to place the frames")
    calls = work.evaluations + work.probing
    shallow = f", {work.shallow} of them shallow" if work.shallow else ""
    at_once = f"up to {work.widest * batch} at a time"
    report(f"U-Net calls  {calls} on one picture each, {at_once}{shallow}")
    report(f"time         about {clock(seconds)} on {studio.parts.device}")
    report(f"disk         about {disk}")


def clock(seconds: float) -> str:
    """Hours, minutes and seconds, the two largest of them.

    >>> clock(5), clock(65), clock(3661)
    ('5 s', '1 min 5 s', '1 h 1 min')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{max(1, rest)} s"
