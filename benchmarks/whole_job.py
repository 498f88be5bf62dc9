"""How much longer a film's whole job takes than its denoising.

    python benchmarks/whole_job.py [--frames 24] [--steps 20] [--rounds 3] [--no-overlap]
    python benchmarks/whole_job.py --model random-sd15 --device cuda --frames 120

The same film is made up to five points: denoised only; decoded; as pictures in main memory; kept
as PNGs; encoded as mp4. They take turns for some rounds: seconds are those of the fastest, ratios
the median of those within a round, as a machine may be slower in one round than in another. Loading
and a warm-up film are not counted. random-sd15 has random weights in the build of Stable
Diffusion 1.5, written to a temporary folder. With --no-overlap everything is done in one thread,
one after another. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

    from sdcreative import Studio, Timeline
    from sdcreative.media.encoders import EncoderName
    from sdcreative.runs.kept import KeptFrames

PROMPTS = ("a picture of a bear", "a picture of a red apple")
RANDOM = "random-sd15"
POINTS = {
    "denoised": "denoising only",
    "decoded": "+ decoded",
    "pictures": "+ pictures in main memory",
    "kept": "+ frames kept as PNG",
    "film": "+ encoded as mp4",
}


def morph(frames: int, steps: int, size: tuple[int, int] | None = None) -> Timeline:
    """A film of one prompt that becomes another, without a shared trunk."""
    from sdcreative import Blend, Noise, Shot, Timeline

    shots = [
        Shot(Blend(*PROMPTS, i / max(1, frames - 1)), Noise(3), guidance_scale=4.0)
        for i in range(frames)
    ]
    return Timeline(lambda: shots, frames, steps=steps, size=size)


def whole_job(
    studio: Studio,
    timeline: Timeline,
    batch: int,
    *,
    overlap: bool = True,
    rounds: int = 3,
    encoder: EncoderName = "software",
) -> list[dict[str, float]]:
    """Seconds up to every one of ``POINTS``, of every round.

    Args:
        studio: a loaded model.
        timeline: of shots only, all of one kind.
        batch: pictures that are denoised together.
        overlap: whether the stages run beside one another.
        rounds: at least one; one more is made before, to warm up.
        encoder: of the mp4.
    """
    size = studio.check_size(timeline.size)
    job = _Job(studio, timeline, size, batch, overlap, encoder)
    ways: dict[str, Callable[[], None]] = {
        "denoised": lambda: job.denoise(decode=False),
        "decoded": lambda: job.denoise(decode=True),
        "pictures": job.pictures,
        "kept": job.kept,
        "film": job.film,
    }
    found = []
    for _ in range(rounds + 1):
        took = {}
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            took[name] = time.perf_counter() - began
        found.append(took)
    return found[1:]


class _Job:
    def __init__(
        self,
        studio: Studio,
        timeline: Timeline,
        size: tuple[int, int],
        batch: int,
        overlap: bool,
        encoder: EncoderName,
    ) -> None:
        self.studio, self.timeline, self.size, self.batch = studio, timeline, size, batch
        self.overlap, self.encoder = overlap, encoder

    def denoise(self, decode: bool) -> None:
        """All latents, and their pixels, on the device; waits for the device once, at the end."""
        import torch

        from sdcreative.models.vae import decode_latents
        from sdcreative.rendering.denoising import Denoiser

        parts = self.studio.parts
        denoiser = Denoiser(parts, self.timeline, self.size, lambda count: None)
        shots = [denoiser.prepare(shot, index) for index, shot in enumerate(self.timeline)]
        last = None
        for start in range(0, len(shots), self.batch):
            last = denoiser.latents(shots[start : start + self.batch])
            if decode:
                last = decode_latents(parts, last, checked=False)
        if last is not None and last.device.type == "cuda":
            torch.cuda.synchronize(last.device)

    def _rendered(self, kept: KeptFrames | None = None) -> Iterator[Image]:
        from sdcreative.rendering.renderer import Renderer

        if self.overlap:
            return self.studio.render(self.timeline, batch_size=self.batch, kept=kept)
        parts = self.studio.parts
        renderer = Renderer(parts, self.timeline, self.size, self.batch, lambda count: None, kept)
        return renderer.pictures()

    def pictures(self) -> None:
        for _ in self._rendered():
            pass

    def _keeping(self, folder: str) -> Iterator[Image]:
        from sdcreative.runs.kept import KeptFrames
        from sdcreative.runs.store import FrameStore

        keys = [f"{index:032x}" for index in range(len(self.timeline))]
        return self._rendered(KeptFrames(FrameStore(Path(folder) / "frames"), keys))

    def kept(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for _ in self._keeping(folder):
                pass

    def film(self) -> None:
        from sdcreative import open_writer

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            rendered = self._keeping(folder)
            with (
                open_writer(path, 12, self.size, encoder=self.encoder) as writer,
                closing(rendered) as pictures,  # type: ignore[type-var]
            ):
                for picture in pictures:
                    writer.add(picture)


def table(rounds: list[dict[str, float]], frames: int) -> str:
    """The same as Markdown."""
    lines = ["| up to | seconds | frames/s | ratio to denoising |", "|---|---|---|---|"]
    for name, title in POINTS.items():
        took = min(seconds[name] for seconds in rounds)
        ratio = median(seconds[name] / seconds["denoised"] for seconds in rounds)
        lines.append(f"| {title} | {took:.2f} | {frames / took:.2f} | {ratio:.3f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--model", default="emoji", help="random-sd15, or a built-in name, folder, file or hub id"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--encoder", default="software")
    parser.add_argument("--no-overlap", action="store_true", help="one stage after another")
    for name, value in (("frames", 24), ("steps", 20), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--batch", type=int, help="suited to device and size if left out")
    parser.add_argument("--side", type=int, help="of the pictures; the model's own if left out")
    options = parser.parse_args()

    from sdcreative import Studio

    with tempfile.TemporaryDirectory() as folder:
        model = options.model
        if model == RANDOM:
            from gpu_models import model_folder

            model = str(model_folder("sd15", Path(folder), print))
        # Compiled layers would serve the overlapped film only.
        studio = Studio.load(model, device=options.device, dtype=options.dtype, compiling="off")
    size = (options.side, options.side) if options.side else None
    timeline = morph(options.frames, options.steps, size)
    batch = options.batch or studio.suggested_batch_size(studio.check_size(size))
    found = whole_job(
        studio,
        timeline,
        batch,
        overlap=not options.no_overlap,
        rounds=options.rounds,
        encoder=options.encoder,
    )
    way = "one after another" if options.no_overlap else "overlapped"
    print(f"{studio.parts.device}, {studio.parts.dtype}, {platform.machine()}, ", end="")
    print(f"{options.frames} frames, {options.steps} steps, batches of {batch}, {way}\n")
    print(table(found, options.frames))


if __name__ == "__main__":
    main()
