"""`deflicker`: fast changes of brightness, contrast and colour cast taken out."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field, field_validator

from ..settings import Strict
from ..tools import Film, Processor

if TYPE_CHECKING:
    import numpy
    from PIL.Image import Image

CUT = 0.5
"""a picture whose pattern correlates less with that of the one before begins another shot"""
SIDE = 16
"""pixels of the side of the pattern"""
LEAST = 1.0
"""standard deviation, in levels of 255, under which a picture has no contrast and no pattern"""
STRONGEST = 4.0
"""contrast is changed by no more than this factor"""


class DeflickerSettings(Strict):
    """What a preset says to ``deflicker``."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    window: Annotated[int, Field(ge=3, le=99)] = 9
    """pictures over which brightness is evened out; odd"""
    strength: Annotated[float, Field(ge=0, le=1)] = 1.0
    """0 leaves all as it is"""

    @field_validator("window")
    @classmethod
    def _odd(cls, window: int) -> int:
        if window % 2 == 0:
            raise ValueError(f"{window} is even; a window has a middle, so try {window + 1}")
        return window


def smooth(values: numpy.ndarray, first: int, last: int, at: int) -> numpy.ndarray:
    """A straight line through neighbours, near ones counting more, read off at one of them.

    Locally weighted regression of degree 1 with tricube weights: W. S. Cleveland, "Robust locally
    weighted regression and smoothing scatterplots", Journal of the American Statistical
    Association 74 (1979), section 2. It leaves a straight line, a steady fade, as it is, at the
    ends too.

    Args:
        values: (pictures, figures).
        first: where the neighbours begin.
        last: and end, this one not among them.
        at: one of them.

    Returns:
        (figures,).
    """
    import numpy

    offsets = numpy.arange(first, last, dtype=numpy.float64) - at
    weights = (1 - (abs(offsets) / (abs(offsets).max() + 1)) ** 3) ** 3
    total, moment, spread = (float((weights * offsets**power).sum()) for power in range(3))
    if last - first > 1:
        weights = weights * (spread - moment * offsets) / (total * spread - moment**2)
    line: numpy.ndarray = weights @ values[first:last]
    return line


def _plan(settings: DeflickerSettings, film: Film) -> Film:
    return film


def _process(settings: DeflickerSettings, film: Film, pictures: Iterable[Image]) -> Iterator[Image]:
    """Mean and deviation of every channel follow their smoothed course, shot by shot."""
    opening = shot = _Shot(settings)
    first: _Look | None = None
    before: _Look | None = None
    for picture in pictures:
        look = _look(picture)
        first = first or look
        if before is not None and look.cuts(before):
            yield from shot.end()
            shot = _Shot(settings)
        shot.add(picture, look.moments)
        yield from shot.ready()
        before = look
    if film.closed and first is not None and before is not None and not first.cuts(before):
        half = settings.window // 2
        # A film that fits into the window is still here as a whole; of a longer one the beginning
        # has gone out, and the end is led to it as it went.
        whole = shot is opening and not shot.given
        yield from shot.end(
            [*shot.moments][-half:] if whole else [],
            [*shot.moments][:half] if whole else opening.beginning,
        )
    else:
        yield from shot.end()


@dataclass(frozen=True, eq=False)
class _Look:
    """What a picture looks like as a whole.

    Attributes:
        moments: (6,), means of the channels and their standard deviations, in levels of 255.
        pattern: (256,), grey levels of a thumbnail, without their mean, of length 1; None where
            there is hardly any contrast.
    """

    moments: numpy.ndarray
    pattern: numpy.ndarray | None

    def cuts(self, before: _Look) -> bool:
        if self.pattern is None or before.pattern is None:
            return False
        return float(self.pattern @ before.pattern) < CUT


def _look(picture: Image) -> _Look:
    import numpy
    from PIL import Image

    counts = numpy.asarray(picture.histogram(), dtype=numpy.float64).reshape(3, 256)
    levels = numpy.arange(256.0)
    share = counts / counts.sum(axis=1, keepdims=True)
    means = share @ levels
    deviations = numpy.sqrt((share * (levels - means[:, None]) ** 2).sum(axis=1))
    small = picture.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    pattern = numpy.asarray(small, dtype=numpy.float64).ravel()
    pattern = pattern - pattern.mean()
    length = float(numpy.linalg.norm(pattern))
    flat = length < LEAST * SIDE
    return _Look(numpy.concatenate([means, deviations]), None if flat else pattern / length)


class _Shot:
    """Pictures of one shot, held until enough of those after them are known.

    Attributes:
        moments: of the pictures that are held, and of a few before them.
        given: number of pictures that have gone out.
        beginning: what the first pictures' moments were changed to, half a window of them.
    """

    def __init__(self, settings: DeflickerSettings) -> None:
        self.settings = settings
        self.moments: deque[numpy.ndarray] = deque()
        self.given = 0
        self.beginning: list[numpy.ndarray] = []
        self._held: deque[Image] = deque()

    def add(self, picture: Image, moments: numpy.ndarray) -> None:
        self._held.append(picture)
        self.moments.append(moments)

    def ready(self) -> Iterator[Image]:
        """Those whose neighbours are all there: half a window on, at first a whole one."""
        window = self.settings.window
        while self._held and self.given + len(self._held) > max(self.given + window // 2, window):
            yield self._next([], [])

    def end(
        self, before: Sequence[numpy.ndarray] = (), after: Sequence[numpy.ndarray] = ()
    ) -> Iterator[Image]:
        """The rest, in a loop between moments that come before and after."""
        while self._held:
            yield self._next(before, after)

    def _next(self, before: Sequence[numpy.ndarray], after: Sequence[numpy.ndarray]) -> Image:
        import numpy

        window = self.settings.window
        known = numpy.stack([*before, *self.moments, *after])
        at = len(known) - len(after) - len(self._held)
        first = max(0, min(at - window // 2, len(known) - window))
        target = smooth(known, first, min(first + window, len(known)), at)
        moments = known[at]
        target = moments + self.settings.strength * (target - moments)
        if len(self.beginning) < window // 2:
            self.beginning.append(target)
        self.given += 1
        while len(self.moments) - len(self._held) >= window - 1:
            self.moments.popleft()
        return _changed(self._held.popleft(), moments, target)


def _changed(picture: Image, moments: numpy.ndarray, target: numpy.ndarray) -> Image:
    """A picture with other means and deviations of its channels."""
    import numpy

    mean, deviation = moments[:3, None], moments[3:, None]
    contrast = numpy.maximum(target[3:, None], 0) / numpy.maximum(deviation, LEAST)
    contrast = numpy.where(deviation < LEAST, 1, contrast.clip(1 / STRONGEST, STRONGEST))
    levels = numpy.arange(256.0)
    table = numpy.rint((levels - mean) * contrast + target[:3, None]).clip(0, 255)
    return picture.point(table.astype(int).ravel().tolist())


DEFLICKER = Processor(
    name="deflicker",
    summary="Take out fast changes of brightness, contrast and colour.",
    settings=DeflickerSettings,
    plan=_plan,
    process=_process,
)
