"""Phases out of magnitudes alone, by integrating their gradient.

Z. Průša, P. Balazs, P. Søndergaard, "A noniterative method for reconstruction of phase from STFT
magnitude", IEEE/ACM TASLP 25(5), 2017. With a Gaussian window exp(-pi t^2 / gamma), hop a and M
bins to a turn, the phase at the centre of a frame changes by

    2 pi a m / M + a M / gamma  d log|X| / dm    from frame to frame,
    - gamma / (a M)             d log|X| / dn    from bin m to bin m + 1.

The gradient is integrated from loud bins to quiet ones (algorithm 1). The paper's heap is here a
row of stacks, one for each 1/100 of a neper: the order within so little does not matter, and a push
or a pop takes the same time however many bins wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy
from numpy.typing import NDArray

from .stft import Grid

HANN_GAMMA = 0.25645
"""gamma of the Gaussian nearest to a Hann window, in squares of its length (table 1)"""
_TOLERANCE = 1e-4
"""of the largest magnitude; phases of what is quieter stay random (section V)"""
_PER_NEPER = 100.0

Floats = NDArray[numpy.float32]


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled once per machine; once per process where no folder can keep the result."""
    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:
        compiled = numba.njit(nogil=True)(function)
    return compiled


def integrate_phase(
    magnitudes: Floats,
    grid: Grid,
    *,
    circular: bool = False,
    seed: int = 0,
    known: Floats | None = None,
) -> Floats:
    """Phases, at the centres of the frames, that fit magnitudes.

    Args:
        magnitudes: (frames, bins), not negative; of a Hann window.
        grid: where they were taken.
        circular: the frame after the last is the first.
        seed: of the phases of silence, and of the first bin of every sound that touches no other.
        known: (fewer frames, bins): phases of the first frames, to go on from.

    Returns:
        (frames, bins) in radians, from -pi to pi.
    """
    rng = numpy.random.default_rng(seed)
    phase = rng.random(magnitudes.shape, dtype=numpy.float32)
    phase = ((2 * phase - 1) * numpy.pi).astype(numpy.float32)
    loudest = float(magnitudes.max(initial=0.0))
    if loudest <= 0:
        return phase
    least = loudest * _TOLERANCE
    logs = numpy.log(numpy.maximum(magnitudes, least * 1e-2))
    level = (numpy.maximum(logs - numpy.log(least), 0) * _PER_NEPER).astype(numpy.int32)
    start = 0
    if known is not None:
        start = len(known)
        phase[:start] = known
    gamma = HANN_GAMMA * grid.window**2
    ratio = grid.hop * grid.n_fft / gamma
    _integrate(logs, level, phase, ratio, grid.hop, grid.n_fft, start, circular)
    return phase


@_compiled
def _integrate(
    logs: Any,
    level: Any,
    phase: Any,
    ratio: float,
    hop: int,
    n_fft: int,
    start: int,
    circular: bool,
) -> None:
    """Algorithm 1; fills ``phase`` wherever ``level`` is above 0."""
    frames, bins = logs.shape
    turn = 2 * numpy.pi
    levels = level.max() + 1
    # All bins from quiet to loud, by counting.
    place = numpy.zeros(levels + 1, numpy.int64)
    for n in range(frames):
        for m in range(bins):
            place[level[n, m] + 1] += 1
    for i in range(levels):
        place[i + 1] += place[i]
    order = numpy.empty(frames * bins, numpy.int32)
    for n in range(frames):
        for m in range(bins):
            order[place[level[n, m]]] = n * bins + m
            place[level[n, m]] += 1

    done = numpy.zeros((frames, bins), numpy.bool_)
    top_of = numpy.full(levels, -1, numpy.int32)
    below = numpy.empty(frames * bins, numpy.int32)
    top = 0
    for n in range(start):
        for m in range(bins):
            done[n, m] = True
            here = level[n, m]
            if here > 0:
                below[n * bins + m] = top_of[here]
                top_of[here] = n * bins + m
                top = max(top, here)

    waiting = frames * bins - 1
    while True:
        while top > 0 and top_of[top] < 0:
            top -= 1
        if top == 0:
            while waiting >= 0 and done[order[waiting] // bins, order[waiting] % bins]:
                waiting -= 1
            if waiting < 0:
                return
            n, m = order[waiting] // bins, order[waiting] % bins
            if level[n, m] == 0:
                return
            done[n, m] = True
        else:
            index = top_of[top]
            top_of[top] = below[index]
            n, m = index // bins, index % bins
        for way in range(4):
            n2, m2 = n, m
            if way == 0:
                n2 = n + 1
            elif way == 1:
                n2 = n - 1
            elif way == 2:
                m2 = m + 1
            else:
                m2 = m - 1
            if circular:
                n2 %= frames
            if n2 < 0 or n2 >= frames or m2 < 0 or m2 >= bins:
                continue
            if done[n2, m2] or level[n2, m2] == 0:
                continue
            if way < 2:
                # The mean of the gradients at both ends: the trapezoidal rule, equation 22.
                slope = 0.5 * (_across_bins(logs, n, m) + _across_bins(logs, n2, m))
                step = turn * ((hop * m) % n_fft) / n_fft + ratio * slope
                angle = phase[n, m] + (step if way == 0 else -step)
            else:
                slope = 0.5 * (
                    _across_frames(logs, n, m, circular) + _across_frames(logs, n, m2, circular)
                )
                step = -slope / ratio
                angle = phase[n, m] + (step if way == 2 else -step)
            phase[n2, m2] = angle - turn * numpy.round(angle / turn)
            done[n2, m2] = True
            here = level[n2, m2]
            below[n2 * bins + m2] = top_of[here]
            top_of[here] = n2 * bins + m2
            top = max(top, here)


@_compiled
def _across_bins(logs: Any, n: int, m: int) -> Any:
    """d log|X| / dm, by central differences, or one-sided ones at the edges."""
    low, high = max(m - 1, 0), min(m + 1, logs.shape[1] - 1)
    return (logs[n, high] - logs[n, low]) / max(high - low, 1)


@_compiled
def _across_frames(logs: Any, n: int, m: int, circular: bool) -> Any:
    """d log|X| / dn."""
    frames = logs.shape[0]
    if circular:
        return 0.5 * (logs[(n + 1) % frames, m] - logs[(n - 1) % frames, m])
    low, high = max(n - 1, 0), min(n + 1, frames - 1)
    return (logs[high, m] - logs[low, m]) / max(high - low, 1)
