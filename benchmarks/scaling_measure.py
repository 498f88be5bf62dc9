"""The figures of ``scaling.json`` that this machine can measure: PNG, encoder, planning.

    OMP_NUM_THREADS=1 python benchmarks/scaling_measure.py [--frames 12] [--size 3840x2160]

Prints seconds of the processor, so that busy neighbours matter little. The pictures are noise with
the spectrum of photographs, 1 / f, that moves; those of a model may be smaller as PNG.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy
from PIL import Image


def pictures(width: int, height: int, count: int) -> Iterator[Image.Image]:
    """Noise whose amplitudes fall with the frequency, between two of them."""
    chance = numpy.random.default_rng(0)
    across, down = numpy.fft.rfftfreq(width), numpy.fft.fftfreq(height)[:, None]
    fall = 1 / numpy.maximum(numpy.hypot(across, down), 1 / width)
    ends = []
    for _ in range(2):
        noise = chance.standard_normal((3, height, width), dtype=numpy.float32)
        field = numpy.fft.irfft2(numpy.fft.rfft2(noise) * fall, s=(height, width))
        ends.append((field / field.std()).astype(numpy.float32))
    for i in range(count):
        turn = numpy.pi / 2 * i / max(1, count)
        field = numpy.cos(turn) * ends[0] + numpy.sin(turn) * ends[1]
        pixels = numpy.clip(128 + 50 * field, 0, 255).astype(numpy.uint8)
        yield Image.fromarray(numpy.ascontiguousarray(pixels.transpose(1, 2, 0)))


def of_children() -> float:
    """Seconds of the processor of programs that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(width: int, height: int, count: int, folder: Path) -> dict[str, float]:
    """Figures of a frame, by their names in the JSON; those of cores for one core."""
    from sdcreative.media.sinks import FilmSink
    from sdcreative.runs.store import FrameStore

    store = FrameStore(folder / "frames")
    writing = reading = 0.0
    size = 0
    film = folder / "film.mp4"
    began = of_children()
    sink = FilmSink(film, True, (width, height), Fraction(30), {})
    for number, picture in enumerate(pictures(width, height, count)):
        at = time.process_time()
        store.write(f"{number:032x}", picture)
        writing += time.process_time() - at
        at = time.process_time()
        store.read(f"{number:032x}")
        reading += time.process_time() - at
        size += store.path(f"{number:032x}").stat().st_size
        sink.add(picture)
    sink.close()
    encoded = of_children()
    sink.verify()
    checked = of_children()
    sink.publish()
    return {
        "png_make": writing / count,
        "png_read": reading / count,
        "png_bytes": size / count,
        "encode_core": (encoded - began) / count,
        "decode_core": (checked - encoded) / count,
        "film_bytes": film.stat().st_size / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12)
    parser.add_argument("--size", default="3840x2160")
    options = parser.parse_args()
    width, height = (int(side) for side in options.size.split("x"))
    with tempfile.TemporaryDirectory() as folder:
        found = measure(width, height, options.frames, Path(folder))
    print(json.dumps({name: float(f"{value:.4g}") for name, value in found.items()}, indent=1))


if __name__ == "__main__":
    main()
