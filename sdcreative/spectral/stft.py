"""The short-time Fourier transform of long batches, in a line or in a circle.

Frames are centred on multiples of the step; their phases count from the first sample of the window,
and ``Grid.turn`` leads to those at its centre. Layout: (..., frames, bins).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn.functional import pad


@dataclass(frozen=True)
class Grid:
    """Where a transform looks.

    Attributes:
        sample_rate: samples per second.
        hop: samples from frame to frame.
        window: samples in the periodic Hann window.
        n_fft: samples in the transform; the window stands in its middle, zeros around it.
    """

    sample_rate: int
    hop: int
    window: int
    n_fft: int

    @property
    def before(self) -> int:
        """Samples of the window before its centre."""
        return self.n_fft // 2 - (self.n_fft - self.window) // 2

    def turn(self, bins: int, device: torch.device | str = "cpu") -> Tensor:
        """Factor of every bin from phases at the first sample of the window to its centre's."""
        turns = torch.arange(bins, dtype=torch.float64) * self.before % self.n_fft / self.n_fft
        angle = 2 * torch.pi * turns
        return torch.polar(torch.ones_like(angle), angle).to(device, torch.complex64)

    def padded(self, samples: Tensor, circular: bool = False) -> Tensor:
        """Samples with what the frames at both ends reach beyond them.

        In a line the ends are mirrored, and have to be longer than half a window; in a circle the
        length is a multiple of the step.
        """
        after = self.window - self.before
        if not circular:
            rows = samples.reshape(-1, 1, samples.shape[-1])
            return pad(rows, (self.before, after), mode="reflect").reshape(*samples.shape[:-1], -1)
        length = samples.shape[-1]
        place = torch.arange(-self.before, length + after - self.hop, device=samples.device)
        return samples.index_select(-1, place % length)

    def frames(self, samples: Tensor, circular: bool = False) -> Tensor:
        """(..., samples) -> (..., frames, window), a view without the window applied."""
        return self.padded(samples, circular).unfold(-1, self.window, self.hop)

    def analyse(self, samples: Tensor, bins: int, circular: bool = False) -> Tensor:
        """(..., samples) -> complex (..., frames, bins), the lowest bins."""
        frames = self.frames(samples, circular) * hann(self.window, samples.device)
        spectrum: Tensor = torch.fft.rfft(frames, self.n_fft)
        return spectrum[..., :bins]

    def synthesise(self, spectrum: Tensor, circular: bool = False) -> Tensor:
        """The samples whose transform is nearest, in least squares, to a spectrum.

        D. Griffin, J. Lim, "Signal estimation from modified short-time Fourier transform",
        IEEE TASSP 32(2), 1984, equation 6.

        Args:
            spectrum: (..., frames, bins); bins that are missing above are silent.

        Returns:
            (..., (frames - 1) * hop), or (..., frames * hop) in a circle.
        """
        frames = torch.fft.irfft(spectrum, self.n_fft)[..., : self.window]
        sound = self._add(frames * hann(self.window, spectrum.device), circular)
        return sound / self._weight(spectrum.shape[-2], circular, spectrum.device)

    def _weight(self, frames: int, circular: bool, device: torch.device) -> Tensor:
        window = hann(self.window, device)
        return self._add((window**2).expand(frames, -1), circular).clamp(min=1e-8)

    def _add(self, frames: Tensor, circular: bool) -> Tensor:
        """Frames added where they stand: each is cut into steps, and shifted rows of them added."""
        count = frames.shape[-2]
        steps = -(-self.window // self.hop)
        cut = pad(frames, (0, steps * self.hop - self.window))
        cut = cut.reshape(*cut.shape[:-1], steps, self.hop)
        total = cut.new_zeros(*frames.shape[:-2], count + steps - 1, self.hop)
        for step in range(steps):
            total[..., step : step + count, :] += cut[..., step, :]
        line = total.flatten(-2)
        if not circular:
            return line.narrow(-1, self.before, (count - 1) * self.hop)
        length = count * self.hop
        turns = -(-line.shape[-1] // length)
        line = pad(line, (0, turns * length - line.shape[-1]))
        return line.reshape(*line.shape[:-1], turns, length).sum(-2).roll(-self.before, -1)


def magnitude(spectrum: Tensor) -> Tensor:
    """|X|; several times faster than abs() where only the lowest bins are looked at."""
    return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag).sqrt_()


@lru_cache(maxsize=16)
def hann(length: int, device: torch.device) -> Tensor:
    """The periodic Hann window, in float32."""
    return torch.hann_window(length, device=device)
