"""Pictures of spectrograms in, music out: stitched, decoded as one, levelled, and written."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy
from numpy.typing import NDArray
from PIL import Image

from ..media.output import ensure_space, write_fault
from ..media.sinks import Sink
from ..media.spectrogram import magnitudes_of
from ..media.writers import Writer
from ..spectral.measures import loop_seam, loop_seam_db
from ..spectral.score import Score
from ..spectral.stitching import Stitcher, crossfade
from ..spectral.streaming import StreamInverter
from ..spectral.stretching import ColumnStretcher
from .loudness import Levelled, describe_levels, level
from .original import restore
from .scratch import ScratchSound
from .targets import Music, Target, open_targets

BLOCK = 1024
"""columns that are decoded at a time"""
EDGE_SECONDS = 0.005
"""in which music that is no loop rises from silence, and ends in it"""
FADED = 1 << 18
"""samples that are faded at a time"""

Levels = NDArray[numpy.uint8]
Report = Callable[[str], None]


class MusicSink(Sink):
    """Keeps the columns of all pictures on the disk, as bytes; all else is done in ``close``.

    Args:
        paths: files to write; their endings choose the formats.
        overwrite: whether they may be replaced.
        size: (width, height) of every picture.
        length: number of pictures to come.
        voices: that take turns, 1 or 2.
        score: how they are heard.
        metadata: tags.
        report: prints a line.
        device: what decodes the phases.

    Attributes:
        wanted: about how many bytes are taken where the first file lies.

    Raises:
        OutputError: a file exists, cannot be made, does not fit on the disk, or has an ending that
            is not known.
        OSError: from the disk.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        overwrite: bool,
        size: tuple[int, int],
        length: int,
        voices: int,
        score: Score,
        metadata: Mapping[str, str],
        report: Report,
        device: str = "cpu",
    ) -> None:
        self._size, self._length, self._voices = size, length, voices
        self._score, self._report, self._device = score, report, device
        self._params = replace(score.params, stereo=voices == 2)
        self._waiting: list[Levels] = []
        self._stitcher = Stitcher(score.overlap)
        self._columns = 0
        self._leaving = ExitStack()
        self._targets: list[Target] = []
        try:
            for target in open_targets(paths, overwrite, self._params, score, metadata):
                self._leaving.callback(target.discard)
                self._targets.append(target)
            folder = self._targets[0].folder
            self.wanted = self._targets[0].wanted + self._scratch_bytes()
            ensure_space(paths[0], self.wanted)
            # Without a buffer a full disk is said at once, and not again in close().
            self._file: IO[bytes] = self._leaving.enter_context(
                tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
            )
            self._sound = ScratchSound(folder, score.params.sample_rate, voices)
            self._leaving.callback(self._sound.close)
        except BaseException:
            self._leaving.close()
            raise

    def add(self, picture: Image.Image) -> None:
        """Take the picture of the next voice."""
        self._waiting.append(numpy.asarray(picture.convert("L"))[::-1])
        if len(self._waiting) == self._voices:
            self._write(self._stitcher.add(numpy.stack(self._waiting)))
            self._waiting = []
            self.frames += self._voices

    def _scratch_bytes(self) -> int:
        params = self._params
        samples = self._score.columns * params.hop_length * params.channels
        return 4 * samples + self._score.columns * params.channels * params.bands

    def _write(self, levels: Levels) -> None:
        self._put(levels)
        self._columns += levels.shape[-1]

    def _put(self, levels: Levels) -> None:
        # Column by column, so that any stretch of time can be read by itself.
        data = memoryview(numpy.ascontiguousarray(levels.transpose(2, 0, 1)).tobytes())
        while data:
            data = data[self._file.write(data) :]

    def _levels(self) -> Levels:
        """(channels, bands, columns) on the disk."""
        shape = (self._columns, self._voices, self._size[1])
        stored = numpy.memmap(self._file, numpy.uint8, "r", shape=shape)
        levels: Levels = stored.transpose(1, 2, 0)
        return levels

    def close(self, wanted: int = 0) -> None:
        loop = self._score.loop and self.frames == self._length
        tail = self._stitcher.finish()
        if tail is not None and tail.shape[-1]:
            if loop:
                self._close_circle(tail)
            else:
                self._write(tail)
        columns, convergence = self._decode(loop)
        score = self._score
        levelled = level(self._sound, score.loudness, score.true_peak, loop=loop)
        music = Music(levelled, self._sound.samples, columns, self._blocks, loop)
        for target in self._targets:
            target.write(music)
        self._say(levelled, convergence, loop)

    def _close_circle(self, tail: Levels) -> None:
        """The end of the last picture lies over the beginning of the first."""
        head = numpy.array(self._levels()[..., : tail.shape[-1]])
        self._file.seek(0)
        self._put(crossfade(tail, head))
        self._file.seek(0, 2)

    def _blocks(self, loop: bool) -> Iterator[NDArray[numpy.float32]]:
        """Magnitudes (channels, bands, columns) as they are heard, a few columns at a time."""
        score, levels = self._score, self._levels()
        stretcher = ColumnStretcher(score.stretch, loop, power=score.params.power)
        left = score.columns
        for start in range(0, self._columns + BLOCK, BLOCK):
            part = levels[..., start : start + BLOCK]
            if part.shape[-1]:
                mel = magnitudes_of(part, score.params.power, score.max_value)
                ready = stretcher.feed(mel)
            else:
                ready = stretcher.finish()
            ready = ready[..., :left]
            left -= ready.shape[-1]
            if ready.shape[-1]:
                yield ready

    def _decode(self, loop: bool) -> tuple[int, float]:
        """The sound of all columns; returns their number, and how near its bands came, in dB."""
        inverter = StreamInverter(
            self._params, quality=self._score.quality, circular=loop, device=self._device
        )
        columns = 0
        for mel in self._blocks(loop):
            columns += mel.shape[-1]
            self._sound.append(inverter.feed(mel))
        self._sound.append(inverter.finish())
        if self._score.original is not None:
            restore(self._sound, self._score.original, self._params)
        if not loop:
            self._fade()
        return columns, inverter.convergence

    def _fade(self) -> None:
        """No click where music begins and ends."""
        samples, rate = self._sound.samples, self._sound.sample_rate
        for seconds, ends in ((self._score.fade_in, False), (self._score.fade_out, True)):
            count = min(round(max(EDGE_SECONDS, seconds) * rate), samples)
            for start in range(0, count, FADED):
                place = numpy.arange(start, min(start + FADED, count))
                gains = 0.5 - 0.5 * numpy.cos(numpy.pi * place / count)
                if ends:
                    self._sound.scale(samples - start - len(place), gains[::-1])
                else:
                    self._sound.scale(start, gains)

    def _say(self, levelled: Levelled, convergence: float, loop: bool) -> None:
        words = [describe_levels(levelled)]
        if numpy.isfinite(convergence):
            words.append(f"phases within {convergence:.1f} dB")
        if loop:
            samples = self._sound.read()
            seam = f"seam {loop_seam(samples):.2f} of an average step"
            if samples.shape[-1] >= 4 * self._params.win_length:
                seam += f", {loop_seam_db(samples, self._params):+.1f} dB in the spectrum"
            words.append(seam)
        self._report("; ".join(words))

    def verify(self) -> int:
        for target in self._targets:
            target.verify()
        return self.frames

    def publish(self) -> None:
        for target in self._targets:
            target.publish()

    def discard(self) -> None:
        self._leaving.close()


def open_music(
    paths: Sequence[Path],
    size: tuple[int, int],
    length: int,
    score: Score,
    *,
    voices: int = 1,
    overwrite: bool = False,
    metadata: Mapping[str, str] | None = None,
    report: Report = lambda line: None,
    device: str = "cpu",
) -> Writer:
    """A writer of pictures that are heard; the arguments are those of ``MusicSink``.

    .wav, .flac, .ogg, .mp3: the sound. .png, .webp: its spectrogram, which can be decoded again.
    .mp4, .mov, .mkv: the spectrogram as it scrolls by, with the sound.

    Raises:
        OutputError: a file exists, cannot be made, does not fit on the disk, or has an ending
            that is not known.
    """
    try:
        sink = MusicSink(
            paths, overwrite, size, length, voices, score, metadata or {}, report, device
        )
    except OSError as error:
        raise write_fault(paths[0], error, 0) from error
    return Writer(paths[0], size, sink, sink.wanted)
