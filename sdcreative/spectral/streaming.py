"""Sound out of a mel spectrogram that comes bit by bit, however long it becomes.

It is decoded part by part (``decoding``): the phases of each part go on from those of the part
before. The sound comes up to the sample rate (``resampling``) and is compared with its bands
(``measures.Convergence``) part by part too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, UsageError
from .decoding import Method, Stage, decode, plan
from .measures import Convergence, Floats
from .params import FULL_SCALE, LONGEST_LOOP, SpectrogramParams
from .resampling import Resampler, resample

TOGETHER = 4096
"""columns inverted at a time; what is longer is inverted in parts"""


class StreamInverter:
    """Samples whose mel bands come near to a spectrogram, as soon as they are known.

    All samples together are those of ``inversion.invert``. Memory does not grow with the length,
    but for loops, which are held as a whole and come with ``finish``.

    Args:
        params: how the spectrogram was made.
        quality: 40 more rounds of Griffin-Lim.
        circular: a loop without a seam: the last column is followed by the first.
        seed: of random phases.
        device: what computes it; PGHI is integrated on the CPU everywhere.
    """

    def __init__(
        self,
        params: SpectrogramParams,
        *,
        quality: bool = False,
        circular: bool = False,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        self._params = params
        self._device = device
        stages = plan(params, quality=quality, device=device)
        self._line = Line(params, stages, "pghi", circular, [seed])
        self._measure = Convergence(params, circular)

    @property
    def convergence(self) -> float:
        """As ``measures.spectral_convergence``, in dB, of what was heard so far; nan if silent."""
        return self._measure.value

    def feed(self, mel: Floats) -> NDArray[numpy.float32]:
        """The samples that the next columns make ready, perhaps none.

        Args:
            mel: (channels, bands, columns), any number of columns; not negative.

        Returns:
            (channels, samples) at ``params.sample_rate``; after about 41 s at 10 ms a column.

        Raises:
            DataError: another shape, or magnitudes that are negative or no finite numbers.
            UsageError: a loop of over 16384 columns.
        """
        if mel.ndim != 3:
            raise DataError(f"a spectrogram of shape {mel.shape}; give (channels, bands, columns)")
        bands = as_bands(mel, self._params).to(self._device)
        samples = self._line.feed(bands)
        self._measure.expect(bands[0])
        self._measure.hear(samples[0])
        return _scaled(samples)

    def finish(self) -> NDArray[numpy.float32]:
        """The samples that are left: (channels, samples).

        Raises:
            DataError: fewer columns than half of a window.
        """
        samples = self._line.finish()
        self._measure.finish(samples[0])
        return _scaled(samples)


class Line:
    """Clips of the same length, whose bands come at the same time.

    Parts overlap by four windows: the phases of the first two are given by the part before, and the
    sound changes over within the second. The first and the last suffer from the ends.

    Args:
        params: how the spectrogram was made.
        stages: the way, as ``decoding.plan`` gives it.
        method: the one of the plan.
        circular: loops; they are decoded as a whole.
        seeds: of random phases, one for each clip.
    """

    def __init__(
        self,
        params: SpectrogramParams,
        stages: Sequence[Stage],
        method: Method,
        circular: bool,
        seeds: Sequence[int],
    ) -> None:
        self._params = params
        self._stages, self._method, self._circular = stages, method, circular
        self._seeds = seeds
        grid = stages[0][0].grid
        window = params.window_ms // params.step_ms + 1
        self._overlap = 4 * window
        self._part = max(TOGETHER, 2 * self._overlap)
        self._change = window * grid.hop
        self._grid = grid
        self._resampler = Resampler(grid.sample_rate, params.sample_rate)
        self._bands: list[Tensor] = []
        self._columns = 0
        self._tail: Tensor | None = None

    def feed(self, bands: Tensor) -> Tensor:
        """(clips, channels, columns, bands) -> (clips, channels, samples) on the scale of 16 bits.

        Raises:
            UsageError: a loop that is too long.
        """
        self._bands.append(bands)
        self._columns += bands.shape[-2]
        if self._circular and self._columns > LONGEST_LOOP:
            raise UsageError(
                f"a loop of {self._columns} columns; a loop is inverted as a whole, up to "
                f"{LONGEST_LOOP}"
            )
        # The last part takes what would be too short for one of its own.
        least = self._part + 2 * self._overlap
        ready = [bands.new_empty(*bands.shape[:2], 0)]
        if self._circular or self._columns < least:
            return ready[0]
        whole = torch.cat(self._bands, -2)
        while whole.shape[-2] >= least:
            sound = self._decode(whole[..., : self._part, :])
            ends = (self._part - self._overlap) * self._grid.hop
            self._tail = sound[..., ends:].clone()
            ready.append(self._resampler.feed(sound[..., :ends]))
            whole = whole[..., self._part - self._overlap :, :]
        self._bands, self._columns = [whole.clone()], whole.shape[-2]
        return torch.cat(ready, -1)

    def finish(self) -> Tensor:
        """The samples that are left.

        Raises:
            DataError: too few columns.
        """
        least = 1 if self._circular else self._params.window_ms // self._params.step_ms // 2 + 3
        if self._columns < least:
            raise DataError(
                f"a spectrogram of {self._columns} columns; give at least {least}, half of a window"
            )
        sound = self._decode(torch.cat(self._bands, -2))
        self._bands, self._columns = [], 0
        if self._circular:
            return resample(sound, self._grid.sample_rate, self._params.sample_rate, True)
        return self._resampler.finish(sound)

    def _decode(self, bands: Tensor) -> Tensor:
        """The sound of a part, changed over from that of the part before."""
        change, before = self._change, self._tail
        known = None if before is None else before[..., : 2 * change]
        sound = decode(bands, self._stages, self._method, self._circular, self._seeds, known)
        if before is not None:
            fade = torch.linspace(0, 1, change, device=sound.device)
            old = before[..., change : 2 * change]
            sound[..., change : 2 * change] = old + fade * (sound[..., change : 2 * change] - old)
            sound[..., :change] = before[..., :change]
        return sound


def as_bands(mel: Floats, params: SpectrogramParams) -> Tensor:
    """(clips, channels, columns, bands) in float32, of one clip or several.

    Raises:
        DataError: another shape, or magnitudes that are negative or no finite numbers.
    """
    if mel.ndim not in (3, 4) or mel.shape[-3:-1] != (params.channels, params.bands):
        raise DataError(
            f"a spectrogram of shape {mel.shape}; give ({params.channels}, {params.bands}, columns)"
        )
    if not (numpy.isfinite(mel) & (mel >= 0)).all():
        raise DataError("a spectrogram with magnitudes that are negative or no finite numbers")
    clips = mel if mel.ndim == 4 else mel[None]
    # A copy in any case: whoever feeds a stream may fill the same array again.
    return torch.from_numpy(numpy.array(clips.swapaxes(-1, -2), numpy.float32, order="C"))


def _scaled(samples: Tensor) -> NDArray[numpy.float32]:
    scaled: NDArray[numpy.float32] = (samples[0] / FULL_SCALE).cpu().numpy()
    return scaled
