"""Bands of one stretch of sound to samples, on the grids that invert them.

1. Linear magnitudes (``lifting``), at a lower rate where the bands allow it.
2. Phases by integrating the gradient (``pghi``); one set for both channels, so that a sound between
   the loudspeakers stays there.
3. A few rounds of the fast Griffin-Lim algorithm (``griffin_lim``). After each of them the
   magnitudes reached are scaled until their bands are those of the spectrogram, since the bands are
   what is known, and the magnitudes of step 1 only a guess.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import UsageError
from .griffin_lim import griffin_lim
from .lifting import Lift, lift
from .params import SpectrogramParams
from .pghi import integrate_phase
from .stft import magnitude

Method = Literal["pghi", "griffin-lim"]

_ROUNDS = {"pghi": 8, "griffin-lim": 32}
_MORE_ROUNDS, _LAST_ROUNDS = 32, 8

# A way to the bands, the rounds there, and whether they keep to the bands.
Stage = tuple[Lift, int, bool]


def plan(
    params: SpectrogramParams,
    method: Method = "pghi",
    iterations: int | None = None,
    quality: bool = False,
    device: str = "cpu",
) -> list[Stage]:
    """PGHI wants the finer grid, most rounds can do with the coarser one, at half the work.

    Raises:
        UsageError: an unknown method, or a negative number of iterations.
    """
    if method not in _ROUNDS:
        raise UsageError(f"method {method!r}: use {' or '.join(_ROUNDS)}")
    rounds = _ROUNDS[method] if iterations is None else iterations
    if rounds < 0:
        raise UsageError(f"iterations is {rounds}; give 0 or more")
    coarse, fine = (lift(params, fine, device) for fine in (False, True))
    first = [(fine, 0, True), (coarse, rounds, True)]
    stages = first if method == "pghi" else [(coarse, rounds, False)]
    if quality:
        stages += [(coarse, _MORE_ROUNDS, True), (fine, _LAST_ROUNDS, True)]
    return stages


def decode(
    bands: Tensor,
    stages: Sequence[Stage],
    method: Method,
    circular: bool,
    seeds: Sequence[int],
    known: Tensor | None = None,
) -> Tensor:
    """Samples whose mel bands come near to those given.

    Args:
        bands: (clips, channels, columns, bands), not negative.
        stages: the way, as ``plan`` gives it.
        method: the one of the plan.
        circular: the last column is followed by the first.
        seeds: of random phases, one for each clip.
        known: (clips, channels, samples), samples whose phases the first frames take over.

    Returns:
        (clips, channels, samples) at the rate of the grids, on the scale of 16 bits.
    """
    way = stages[0][0]
    target = way.magnitudes(bands)
    phase = _start(target, way, method, circular, seeds, known)
    spectrum = torch.polar(target, phase.to(bands.device).expand_as(target))
    spectrum *= way.grid.turn(way.bins, str(bands.device)).conj()
    sound = bands.new_empty(0)
    for number, (way, rounds, keeps) in enumerate(stages):
        if number:
            if not rounds:
                continue
            spectrum = way.grid.analyse(sound, way.bins, circular)
            target = way.correct(magnitude(spectrum), bands)
            spectrum = spectrum.sgn_().mul_(target)

        def correct(reached: Tensor, way: Lift = way) -> Tensor:
            return way.correct(reached, bands)

        sound = griffin_lim(
            target,
            spectrum,
            way.grid,
            rounds,
            circular=circular,
            correct=correct if keeps else None,
        )
    return sound


def _start(
    target: Tensor,
    way: Lift,
    method: Method,
    circular: bool,
    seeds: Sequence[int],
    known: Tensor | None,
) -> Tensor:
    """(clips, 1, columns, bins): phases at the centres of the frames, the same in both channels."""
    shape = target.shape[-2:]
    if method == "griffin-lim":
        draws = [numpy.random.default_rng(seed).random(shape, numpy.float32) for seed in seeds]
        return torch.from_numpy(2 * numpy.pi * numpy.stack(draws))[:, None]
    loudness = target.square().mean(1).sqrt_().cpu().numpy()
    given: list[NDArray[numpy.float32] | None] = [None] * len(loudness)
    if known is not None:
        spectrum = way.grid.analyse(known, way.bins) * way.grid.turn(way.bins, str(known.device))
        # The louder a channel, the more its phase counts.
        given = list((spectrum * spectrum.abs()).sum(1).angle().cpu().numpy())

    def integrate(number: int) -> NDArray[numpy.float32]:
        return integrate_phase(
            loudness[number],
            way.grid,
            circular=circular,
            seed=seeds[number],
            known=given[number],
        )

    with ThreadPoolExecutor(max(1, torch.get_num_threads())) as pool:
        return torch.from_numpy(numpy.stack(list(pool.map(integrate, range(len(loudness))))))[
            :, None
        ]
