"""Mel spectrograms a few per cent slower or faster: the same bands, more or fewer columns.

Columns are interpolated by cubics through four neighbours (R. Keys, "Cubic convolution
interpolation for digital image processing", IEEE TASSP 29(6), 1981, equation 4, a = -1/2), of
magnitudes as loud as they look: raised to a power. Pitch stays, since bands do.
"""

from __future__ import annotations

import numpy
from numpy.typing import NDArray

from ..errors import DataError, UsageError
from .params import LONGEST_LOOP

_SLOWEST, _FASTEST = 2.0, 0.5
_TOGETHER = 1024
"""columns interpolated at a time; four neighbours of each are held"""

Floats = NDArray[numpy.float32]


def stretch_columns(
    mel: Floats,
    columns: int,
    *,
    factor: float | None = None,
    circular: bool = False,
    power: float = 0.25,
) -> Floats:
    """A spectrogram with another number of columns over the same music.

    Args:
        mel: (..., columns), not negative.
        columns: of the result; as many as there are gives an exact copy.
        factor: columns heard per column made, 0.5 to 2, where it has to be exact: in a line,
            column k is taken at k / factor. The ratio of both numbers of columns if None, and in a
            circle.
        circular: the last column is followed by the first.
        power: of the magnitudes between which is interpolated.

    Returns:
        (..., columns) in float32, not negative.

    Raises:
        DataError: a spectrogram without columns, or magnitudes that are negative or no finite
            numbers.
        UsageError: less than half or more than twice as many columns.
    """
    count = mel.shape[-1]
    if not count:
        raise DataError("a spectrogram without columns cannot be stretched")
    _check_factor(columns / count if factor is None else factor)
    _check_magnitudes(mel)
    place = numpy.arange(columns) * count / max(columns, 1)
    if factor is not None and not circular:
        place = numpy.arange(columns) / factor
    return _between(mel, place, 0, count, circular, power)


class ColumnStretcher:
    """``stretch_columns`` of a spectrogram that comes bit by bit.

    All columns together are ``round(total * factor)``, and those of ``stretch_columns`` with this
    number and factor. Only a few columns are held; but a loop is held as a whole, and comes with
    ``finish``.

    Args:
        factor: columns heard per column made, 0.5 to 2.
        circular: the last column is followed by the first.
        power: of the magnitudes between which is interpolated.

    Raises:
        UsageError: a factor out of its range.
    """

    def __init__(self, factor: float, circular: bool = False, *, power: float = 0.25) -> None:
        _check_factor(factor)
        self._factor, self._circular, self._power = factor, circular, power
        self._held: list[Floats] = []
        self._first = self._total = self._made = 0

    def feed(self, mel: Floats) -> Floats:
        """The columns that the next ones make ready, perhaps none.

        Args:
            mel: (..., columns), any number of columns; not negative.

        Raises:
            DataError: magnitudes that are negative or no finite numbers.
            UsageError: a loop of over 16384 columns.
        """
        _check_magnitudes(mel)
        self._held.append(numpy.array(mel, numpy.float32))
        self._total += mel.shape[-1]
        if self._circular:
            if self._total > LONGEST_LOOP:
                raise UsageError(
                    f"a loop of {self._total} columns; a loop is stretched as a whole, up to "
                    f"{LONGEST_LOOP}"
                )
            return self._held[-1][..., :0]
        # The column at k / factor needs the two after it.
        ready = max(int((self._total - 2) * self._factor), self._made)
        return self._take(ready)

    def finish(self) -> Floats:
        """The columns that are left.

        Raises:
            DataError: nothing was fed.
        """
        if not self._total:
            raise DataError("a spectrogram without columns cannot be stretched")
        columns = round(self._total * self._factor)
        if self._circular:
            whole = numpy.concatenate(self._held, -1)
            return stretch_columns(
                whole, columns, factor=self._factor, circular=True, power=self._power
            )
        return self._take(columns)

    def _take(self, until: int) -> Floats:
        """Columns from the last one made, up to ``until``."""
        held = numpy.concatenate(self._held, -1)
        place = numpy.arange(self._made, until) / self._factor
        taken = _between(held, place, self._first, self._total, False, self._power)
        self._made = until
        # The next one needs the column before it too.
        first = max(int(until / self._factor) - 1, self._first)
        self._held = [held[..., first - self._first :].copy()]
        self._first = first
        return taken


def _between(
    mel: Floats,
    place: NDArray[numpy.floating],
    first: int,
    count: int,
    circular: bool,
    power: float,
) -> Floats:
    """Columns at places of a spectrogram of ``count`` columns, of which ``mel`` is from ``first``.

    Where a place is a whole number, the column is the very same.
    """
    result = numpy.empty((*mel.shape[:-1], len(place)), numpy.float32)
    roots = numpy.power(mel, power, dtype=numpy.float32)
    for start in range(0, len(place), _TOGETHER):
        now = slice(start, start + _TOGETHER)
        index = numpy.floor(place[now]).astype(numpy.int64)
        share = (place[now] - index).astype(numpy.float32)
        near = index + numpy.arange(-1, 3)[:, None]
        near = near % count if circular else numpy.clip(near, 0, count - 1)
        total = numpy.zeros((*mel.shape[:-1], len(index)), numpy.float32)
        for weight, column in zip(_cubic(share), near - first, strict=True):
            total += weight * roots[..., column]
        part = numpy.maximum(total, 0) ** numpy.float32(1 / power)
        result[..., now] = numpy.where(share == 0, mel[..., near[1] - first], part)
    return result


def _cubic(share: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
    """(4, columns): the weights of the columns before, at, after and two after a place."""
    s, s2, s3 = share, share**2, share**3
    weights = [-s + 2 * s2 - s3, 2 - 5 * s2 + 3 * s3, s + 4 * s2 - 3 * s3, s3 - s2]
    return (numpy.stack(weights) / 2).astype(numpy.float32)


def _check_magnitudes(mel: Floats) -> None:
    if not (numpy.isfinite(mel) & (mel >= 0)).all():
        raise DataError("a spectrogram with magnitudes that are negative or no finite numbers")


def _check_factor(factor: float) -> None:
    if not _FASTEST <= factor <= _SLOWEST:
        raise UsageError(
            f"columns stretched to {factor:g} times as many; give {_FASTEST:g} to {_SLOWEST:g}"
        )
