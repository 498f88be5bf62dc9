"""Sound out of a mel spectrogram.

1. Linear magnitudes (``lifting``), at a lower rate where the bands allow it.
2. Phases by integrating the gradient (``pghi``); one set for both channels, so that a sound between
   the loudspeakers stays there.
3. A few rounds of the fast Griffin-Lim algorithm (``griffin_lim``). After each of them the
   magnitudes reached are scaled until their bands are those of the spectrogram, since the bands are
   what is known, and the magnitudes of step 1 only a guess.
4. Up to the sample rate again (``resampling``).
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, UsageError
from .griffin_lim import griffin_lim
from .lifting import Lift, lift
from .params import FULL_SCALE, SpectrogramParams
from .pghi import integrate_phase
from .resampling import resample
from .stft import magnitude

Method = Literal["pghi", "griffin-lim"]
Floats = NDArray[numpy.floating[Any]]

_TOGETHER = 4096
"""columns inverted at a time; what is longer is inverted in parts"""
_LONGEST_LOOP = 16_384
_ROUNDS = {"pghi": 8, "griffin-lim": 32}
_MORE_ROUNDS, _LAST_ROUNDS = 32, 8


def invert(
    mel: Floats,
    params: SpectrogramParams,
    *,
    method: Method = "pghi",
    iterations: int | None = None,
    quality: bool = False,
    circular: bool = False,
    seed: int = 0,
    device: str = "cpu",
) -> NDArray[numpy.float32]:
    """Samples whose mel bands come near to a spectrogram.

    Args:
        mel: (channels, bands, columns), or (clips, channels, bands, columns); not negative.
        params: how it was made.
        method: "pghi" integrates the phases, and keeps to the bands; "griffin-lim" begins with
            random phases and keeps to the linear magnitudes, as Riffusion does.
        iterations: rounds of Griffin-Lim; 8 with "pghi" and 32 with "griffin-lim" if None.
        quality: 40 more rounds that keep to the bands, the last 8 on a finer grid.
        circular: a loop without a seam: the last column is followed by the first.
        seed: of random phases.
        device: what computes it; PGHI is integrated on the CPU everywhere.

    Returns:
        (..., channels, samples) at ``params.sample_rate``, within -1 and 1 where the magnitudes
        are those of such a sound; (columns - 1) * hop_length samples, or columns * hop_length.

    Raises:
        DataError: another shape, magnitudes that are negative or no finite numbers, or too few
            columns.
        UsageError: an unknown method, a negative number of iterations, or a loop of over 16384
            columns.
    """
    if method not in _ROUNDS:
        raise UsageError(f"method {method!r}: use {' or '.join(_ROUNDS)}")
    rounds = _ROUNDS[method] if iterations is None else iterations
    if rounds < 0:
        raise UsageError(f"iterations is {rounds}; give 0 or more")
    _check(mel, params, circular)
    clips = mel.reshape(-1, *mel.shape[-3:])
    stages = _stages(params, method, rounds, quality, device)
    columns = mel.shape[-1]
    group = max(1, _TOGETHER // (columns * params.channels))
    found = []
    for start in range(0, len(clips), group):
        bands = torch.from_numpy(
            numpy.ascontiguousarray(clips[start : start + group].swapaxes(-1, -2), numpy.float32)
        ).to(device)
        seeds = range(seed + start, seed + start + len(bands))
        if circular or columns <= _TOGETHER:
            sound = _invert(bands, stages, method, circular, seeds)
        else:
            sound = _in_parts(bands, stages, method, params.window_ms // params.step_ms + 1, seeds)
        rate = stages[0][0].grid.sample_rate
        found.append(resample(sound, rate, params.sample_rate, circular).cpu())
    samples = torch.cat(found).div_(FULL_SCALE).numpy()
    return samples.reshape(*mel.shape[:-2], -1)


def _check(mel: Floats, params: SpectrogramParams, circular: bool) -> None:
    if mel.ndim not in (3, 4) or mel.shape[-3:-1] != (params.channels, params.bands):
        raise DataError(
            f"a spectrogram of shape {mel.shape}; give ({params.channels}, {params.bands}, columns)"
        )
    least = 1 if circular else params.window_ms // params.step_ms // 2 + 3
    if mel.shape[-1] < least:
        raise DataError(
            f"a spectrogram of {mel.shape[-1]} columns; give at least {least}, half of a window"
        )
    if circular and mel.shape[-1] > _LONGEST_LOOP:
        raise UsageError(
            f"a loop of {mel.shape[-1]} columns; a loop is inverted as a whole, up to "
            f"{_LONGEST_LOOP}"
        )
    if not numpy.isfinite(mel).all() or mel.min() < 0:
        raise DataError("a spectrogram with magnitudes that are negative or no finite numbers")


# A way to the bands, the rounds there, and whether they keep to the bands.
Stage = tuple[Lift, int, bool]


def _stages(
    params: SpectrogramParams, method: Method, rounds: int, quality: bool, device: str
) -> list[Stage]:
    """PGHI wants the finer grid, most rounds can do with the coarser one, at half the work."""
    coarse, fine = (lift(params, fine, device) for fine in (False, True))
    first = [(fine, 0, True), (coarse, rounds, True)]
    stages = first if method == "pghi" else [(coarse, rounds, False)]
    if quality:
        stages += [(coarse, _MORE_ROUNDS, True), (fine, _LAST_ROUNDS, True)]
    return stages


def _invert(
    bands: Tensor,
    stages: Sequence[Stage],
    method: Method,
    circular: bool,
    seeds: Sequence[int],
    known: Tensor | None = None,
) -> Tensor:
    """(clips, channels, columns, bands) -> (clips, channels, samples) at the rate of the grid.

    ``known`` holds samples whose phases the first frames take over.
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


def _in_parts(
    bands: Tensor, stages: Sequence[Stage], method: Method, window: int, seeds: Sequence[int]
) -> Tensor:
    """A long line, part by part: the phases of each go on from those of the part before.

    Parts overlap by four windows, of ``window`` columns each: the phases of the first two are
    given, and the sound changes over within the second. The first and the last suffer from the
    ends.
    """
    hop = stages[0][0].grid.hop
    columns = bands.shape[-2]
    sound = bands.new_zeros(*bands.shape[:2], (columns - 1) * hop)
    overlap = 4 * window
    start, known = 0, None
    while True:
        end = min(start + _TOGETHER, columns)
        if columns - end < 2 * overlap:
            end = columns
        part = _invert(bands[..., start:end, :], stages, method, False, seeds, known)
        place = start * hop
        if start == 0:
            sound[..., : part.shape[-1]] = part
        else:
            begin, length = window * hop, window * hop
            fade = torch.linspace(0, 1, length, device=part.device)
            old = sound[..., place + begin : place + begin + length]
            new = part[..., begin : begin + length]
            sound[..., place + begin : place + begin + length] = old + fade * (new - old)
            sound[..., place + begin + length : place + part.shape[-1]] = part[
                ..., begin + length :
            ]
        if end == columns:
            return sound
        start = end - overlap
        known = sound[..., start * hop : (start + 2 * window) * hop]
