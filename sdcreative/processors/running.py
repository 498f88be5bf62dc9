"""Processors applied to a film, one after the other, a few pictures at a time."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

from ..errors import PluginError, UsageError
from ..tools import Film
from .steps import Step

if TYPE_CHECKING:
    from PIL.Image import Image

LONGEST = 16384
"""pixels of a side that a processor may plan; a square of it takes 805 MB"""


def plan_steps(steps: Sequence[Step], film: Film) -> Film:
    """The film that comes out. Nothing heavy is loaded, and files and packages are looked for.

    Raises:
        UsageError, DataError, ModelError: a step that does not go with the film, or lacks
            something.
        PluginError: a plan that is no film.
    """
    return _plans(steps, film)[-1]


def apply_steps(
    steps: Sequence[Step], film: Film, pictures: Iterable[Image]
) -> Generator[Image, None, None]:
    """Pictures as the last step gives them; without steps, those that come in.

    Closing the iterator closes those of all steps.

    Args:
        steps: as from ``read_processors``.
        film: what comes in.
        pictures: RGB, in order, as ``film`` says.

    Raises:
        UsageError, DataError, ModelError: as ``plan_steps``, and for files that cannot be used.
        PluginError: a processor that gives other pictures than its plan said.
    """
    films = _plans(steps, film)
    with ExitStack() as leaving:
        for step, before, after in zip(steps, films[:-1], films[1:], strict=True):
            made = step.processor.process(step.settings, before, pictures)
            pictures = leaving.enter_context(closing(_checked(step.processor.name, made, after)))
        yield from pictures


def _plans(steps: Sequence[Step], film: Film) -> list[Film]:
    """The film before the first step, and after every one."""
    films = [film]
    for step in steps:
        planned = step.processor.plan(step.settings, films[-1])
        if not isinstance(planned, Film) or not _possible(planned):
            raise PluginError(
                f"processor {step.processor.name!r} plans {planned!r}, which is no film"
            )
        if max(planned.size) > LONGEST:
            width, height = planned.size
            raise UsageError(
                f"{step.processor.name}: {width}x{height} pixels come out; enlarge less: "
                f"{LONGEST} a side are the most"
            )
        films.append(planned)
    return films


def _possible(film: Film) -> bool:
    return film.length >= 1 and min(film.size) >= 1 and 0 < film.fps < math.inf


def _checked(name: str, made: Iterable[Image], film: Film) -> Generator[Image, None, None]:
    from PIL import Image

    count = 0
    try:
        for count, picture in enumerate(made, 1):
            if count > film.length:
                raise PluginError(
                    f"processor {name!r} gave more than the {film.length} pictures that it planned"
                )
            if not isinstance(picture, Image.Image) or picture.mode != "RGB":
                raise PluginError(f"processor {name!r} gave {picture!r}, not an RGB picture")
            if picture.size != film.size:
                (a, b), (c, d) = picture.size, film.size
                raise PluginError(f"processor {name!r} gave {a}x{b} pixels; {c}x{d} were planned")
            yield picture
        if count < film.length:
            raise PluginError(
                f"processor {name!r} gave {count} pictures; {film.length} were planned"
            )
    finally:
        close = getattr(made, "close", None)
        if close is not None:
            close()
