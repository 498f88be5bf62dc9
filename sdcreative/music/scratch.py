"""Sound on its way: on the disk, not in memory, and gone when it is closed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy
from numpy.typing import NDArray

from ..errors import RenderError
from ..media.sound_files import BLOCK

_SAMPLE = numpy.dtype("<f4")


class ScratchSound:
    """Samples in a nameless file, to be read again and again.

    Attributes:
        sample_rate: samples per second.
        channels: 1 or 2.
        samples: in each channel, so far.

    Args:
        folder: where the file lies, on a disk with room for 4 bytes a sample and channel.
        sample_rate: samples per second.
        channels: 1 or 2.

    Raises:
        OSError: from the disk; so do all methods.
    """

    def __init__(self, folder: Path, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.samples = 0
        # Without a buffer a full disk is said at once, and not again in close().
        self._file: IO[bytes] = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115

    @property
    def seconds(self) -> float:
        """Its length so far."""
        return self.samples / self.sample_rate

    def append(self, samples: NDArray[numpy.float32]) -> None:
        """Put samples at the end.

        Args:
            samples: (channels, samples); perhaps none.

        Raises:
            RenderError: a sample that is no finite number.
        """
        bad = ~numpy.isfinite(samples).all(0)
        if bad.any():
            at = (self.samples + int(bad.argmax())) / self.sample_rate
            raise RenderError(
                f"the sound at {at:.3f} seconds is no finite number; try another seed or precision"
            )
        self._write(self.samples, samples)
        self.samples += samples.shape[1]

    def put(self, start: int, samples: NDArray[numpy.float32]) -> None:
        """Replace the samples from one on; all that are replaced have been appended before.

        Args:
            start: the first sample.
            samples: (channels, samples).
        """
        self._write(start, samples)

    def scale(self, start: int, gains: NDArray[numpy.floating]) -> None:
        """Multiply the samples from one on, in all channels.

        Args:
            start: the first sample.
            gains: one for each; together they lie within the sound.
        """
        self._write(start, self.read(start, start + len(gains)) * gains.astype(numpy.float32))

    def read(
        self, start: int = 0, stop: int | None = None, *, circular: bool = False
    ) -> NDArray[numpy.float32]:
        """A stretch of the sound, or all of it; only that is held.

        Args:
            start: the first sample; what lies before 0 or after the end is silence.
            stop: the sample after the last one; None for the end.
            circular: what lies before 0 or after the end is the sound again, as in a loop.

        Returns:
            (channels, stop - start).
        """
        stop = self.samples if stop is None else stop
        if not circular:
            low, high = (min(max(edge, 0), self.samples) for edge in (start, stop))
            inside = self._read(low, high) if high > low else self._read(0, 0)
            padding = (max(min(low, stop) - start, 0), max(stop - max(high, start), 0))
            return numpy.pad(inside, ((0, 0), padding)) if any(padding) else inside
        parts = []
        while start < stop and self.samples:
            low = start % self.samples
            high = min(self.samples, low + stop - start)
            parts.append(self._read(low, high))
            start += high - low
        return numpy.concatenate(parts, 1) if parts else self._read(0, 0)

    def blocks(self) -> Iterator[NDArray[numpy.float32]]:
        """The whole sound, (samples, channels) at a time; several may read at once."""
        for start in range(0, self.samples, BLOCK):
            yield self.read(start, min(start + BLOCK, self.samples)).T

    def _read(self, start: int, stop: int) -> NDArray[numpy.float32]:
        self._file.seek(start * self.channels * _SAMPLE.itemsize)
        wanted = (stop - start) * self.channels * _SAMPLE.itemsize
        data = bytearray()
        while len(data) < wanted:
            part = self._file.read(wanted - len(data))
            if not part:
                raise OSError("a temporary file is shorter than it was")
            data += part
        samples: NDArray[numpy.float32] = numpy.frombuffer(data, _SAMPLE)
        shaped: NDArray[numpy.float32] = samples.reshape(-1, self.channels).T
        return shaped

    def _write(self, start: int, samples: NDArray[numpy.float32]) -> None:
        self._file.seek(start * self.channels * _SAMPLE.itemsize)
        data = memoryview(numpy.ascontiguousarray(samples.T, _SAMPLE).tobytes())
        while data:
            data = data[self._file.write(data) :]

    def close(self) -> None:
        """Remove the file; harmless when it is closed."""
        self._file.close()
