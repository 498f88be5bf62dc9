"""Phases made consistent: the fast Griffin-Lim algorithm, and one that keeps to the mel bands.

D. Griffin, J. Lim, IEEE TASSP 32(2), 1984; N. Perraudin, P. Balazs, P. Søndergaard, "A fast
Griffin-Lim algorithm", WASPAA 2013, algorithm 2. Layout: (..., frames, bins).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .stft import Grid, magnitude

MOMENTUM = 0.99


def griffin_lim(
    target: Tensor,
    spectrum: Tensor,
    grid: Grid,
    iterations: int,
    *,
    momentum: float = MOMENTUM,
    circular: bool = False,
    correct: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Samples whose magnitudes come near to a target.

    Args:
        target: magnitudes, not negative.
        spectrum: complex, with these magnitudes and the phases to start from; overwritten.
        grid: where both were taken.
        iterations: rounds of synthesis and analysis; 0 only synthesises.
        momentum: alpha; 0 is the algorithm of 1984.
        circular: the last frame is followed by the first.
        correct: the magnitudes reached -> the target of the next round.

    Returns:
        (..., samples) as ``Grid.synthesise``.
    """
    bins = spectrum.shape[-1]
    before: Tensor | None = None
    for _ in range(iterations):
        reached = grid.analyse(grid.synthesise(spectrum, circular), bins, circular)
        if correct is not None:
            target = correct(magnitude(reached))
        if before is None:
            spectrum = reached.clone()
        else:
            spectrum = reached.add(reached - before, alpha=momentum)
        before = reached
        spectrum.sgn_().mul_(target)
    return grid.synthesise(spectrum, circular)
