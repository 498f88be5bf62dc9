"""What runs beside the denoising: the same pictures, errors in order, nothing lost."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sdcreative import (
    Between,
    Blend,
    Frame,
    Noise,
    OutputError,
    RenderError,
    Shot,
    Studio,
    Timeline,
)
from sdcreative.core.stream import ahead
from sdcreative.models.arriving import Courier, bad_rows, black_rows, extremes, to_bytes
from sdcreative.models.loading import Parts
from sdcreative.rendering.denoising import Denoiser, Prepared
from sdcreative.rendering.keeping import KeptBeside
from sdcreative.rendering.overlapping import overlapped
from sdcreative.rendering.renderer import Renderer
from sdcreative.runs.kept import KeptFrames
from sdcreative.runs.store import FrameStore


def shot(t: float = 0.0, **changes: object) -> Shot:
    plain = Shot(Blend("a picture of a bear", "a picture of a cat", t), Noise(5), guidance_scale=3)
    return replace(plain, **changes)  # type: ignore[arg-type]


def timeline(frames: Sequence[Frame], steps: int = 2) -> Timeline:
    return Timeline(lambda: frames, len(frames), steps=steps)


def pixels(pictures: Iterator[Image.Image] | list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


def beside(
    parts: Parts, frames: Sequence[Frame], kept: KeptBeside | None = None
) -> Iterator[Image.Image]:
    """As on a GPU: launched in one thread, arriving in another."""
    with ThreadPoolExecutor(1, thread_name_prefix="arrivals") as pool:

        def make(check: object) -> Iterator[object]:
            size = parts.sample_size
            whole = timeline(frames)
            return Renderer(parts, whole, size, 2, lambda count: None, kept, pool).promises()

        for promise in ahead(make, 4):  # type: ignore[arg-type]
            yield promise()  # type: ignore[operator]


@pytest.fixture
def kept(tmp_path: Path) -> KeptFrames:
    return KeptFrames(FrameStore(tmp_path), [f"{number:032x}" for number in range(8)])


def threads() -> set[str]:
    names = ("keeper", "arrivals", "frames")
    return {one.name for one in threading.enumerate() if one.name.startswith(names)}


def test_bytes_are_the_rounded_pixels() -> None:
    batch = torch.randn(2, 3, 5, 7, generator=torch.Generator().manual_seed(1)) * 1.5
    plain = ((batch.double() / 2 + 0.5).clamp(0, 1) * 255).round().byte().permute(0, 2, 3, 1)
    for given in (batch, batch.to(memory_format=torch.channels_last)):
        before = given.clone()
        found = to_bytes(given)
        assert found.is_contiguous()
        assert (found.int() - plain.int()).abs().max() <= (0 if given is batch else 1)
        assert torch.equal(given, before)


def test_extremes_tell_nan_infinity_and_black() -> None:
    batch = torch.zeros(5, 3, 4, 4)
    batch[1, 2, 3, 3] = float("nan")
    batch[2, 0, 0, 0] = float("-inf")
    batch[3] = -1.0
    found = extremes(batch.half())
    assert bad_rows(found) == [1, 2]
    assert black_rows(found) == [3]
    copies = Courier(torch.device("cpu")).send_for([batch, found]).wait()
    assert torch.equal(copies[1].isnan(), found.isnan())


def test_pictures_are_the_same_bit_for_bit(studio: Studio) -> None:
    frames: list[Frame] = [shot(), Between(0.5), shot(0.5), shot(0.7, guidance_scale=1.0), shot(1)]
    plain = pixels(studio.render(timeline(frames), batch_size=2))
    assert (pixels(beside(studio.parts, frames)) == plain).all()
    assert not threads()


def test_nan_names_its_frame_after_the_pictures_before_it(studio: Studio) -> None:
    frames: list[Frame] = [shot(t / 7) for t in range(8)]
    frames[5] = shot(guidance_scale=1e38)
    taken = []
    with pytest.raises(RenderError, match=r"^frame 5: denoising gave NaN"):
        for picture in beside(studio.parts, frames):
            taken.append(picture)
    assert len(taken) == 4
    assert not threads()


def test_an_overflow_of_half_precision_is_decoded_again(studio: Studio) -> None:
    vae = copy.deepcopy(studio.parts.vae).to(torch.bfloat16)
    tried: list[torch.dtype] = []

    def overflow(module: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        tried.append(output.dtype)
        return output if output.dtype == torch.float32 else output * float("nan")

    vae.decoder.register_forward_hook(overflow)
    frames = [shot(t / 3) for t in range(4)]
    found = pixels(beside(replace(studio.parts, vae=vae), frames))
    assert vae.dtype == torch.float32
    assert torch.float32 in tried
    plain = pixels(studio.render(timeline(frames), batch_size=2))
    assert np.abs(found - plain).mean() < 3  # weights were rounded to bfloat16


def test_the_next_batch_is_denoised_while_one_arrives(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, begun, arrived = Denoiser.latents, [], threading.Event()

    def latents(self: Denoiser, shots: Sequence[Prepared]) -> torch.Tensor:
        begun.append(threading.current_thread().name)
        if len(begun) == 2:
            arrived.set()
        return honest(self, shots)

    def arrive(self: object) -> object:
        assert arrived.wait(60), "the second batch waits for the first"
        return self._tensors  # type: ignore[attr-defined]

    monkeypatch.setattr(Denoiser, "latents", latents)
    monkeypatch.setattr("sdcreative.models.arriving.Arriving.wait", arrive)
    assert len(list(beside(studio.parts, [shot(t / 3) for t in range(4)]))) == 4
    assert set(begun) == {"frames"}


def test_a_film_left_early_keeps_what_was_launched(studio: Studio, kept: KeptFrames) -> None:
    with KeptBeside(kept, 2, 2) as writing:
        pictures = beside(studio.parts, [shot(t / 7) for t in range(8)], writing)
        next(pictures)
        pictures.close()  # type: ignore[attr-defined]
    assert not threads()
    assert 2 <= kept.made < 8
    assert all(kept.store.read(key) is not None for key in kept.store)
    assert sum(1 for _ in kept.store) == kept.made


class Slow(KeptFrames):
    """Waits before it writes a frame, and cannot write some."""

    gate = threading.Event()
    broken: frozenset[int] = frozenset()

    def keep(self, index: int, picture: Image.Image) -> None:
        assert self.gate.wait(10)
        if index in self.broken:
            raise OutputError(f"frame {index}: disk full")
        super().keep(index, picture)


@pytest.fixture
def slow(kept: KeptFrames) -> Slow:
    found = Slow(kept.store, kept.keys)
    found.gate, found.broken = threading.Event(), frozenset()
    return found


def grey(level: int) -> Image.Image:
    return Image.new("RGB", (8, 8), (level, level, level))


def test_a_frame_that_is_being_written_counts_as_finished(slow: Slow) -> None:
    with KeptBeside(slow, 1, 4) as writing:
        given = grey(7)
        writing.keep(0, given)
        given.paste((0, 0, 0), (0, 0, 8, 8))  # by who got it next
        assert writing.finished(0)
        assert not slow.finished(0)
        threading.Timer(0.05, slow.gate.set).start()
        assert writing.picture(0).getpixel((0, 0)) == (7, 7, 7)


def test_only_so_many_wait_to_be_written(slow: Slow) -> None:
    given: list[int] = []
    with KeptBeside(slow, 1, 3) as writing:

        def give() -> None:
            for index in range(6):
                writing.keep(index, grey(index))
                given.append(index)

        giving = threading.Thread(target=give)
        giving.start()
        while len(given) < 3:
            time.sleep(0.001)
        giving.join(0.1)
        assert given == [0, 1, 2]
        assert len(writing._begun) <= 4
        slow.gate.set()
        giving.join(60)
        writing.settle()
    assert slow.made == 6


def test_a_frame_that_cannot_be_written_is_told_and_others_are(slow: Slow) -> None:
    slow.broken = frozenset({1, 4})
    slow.gate.set()
    with KeptBeside(slow, 1, 2) as writing:
        told = []
        for index in range(6):
            try:
                writing.keep(index, grey(index))
            except OutputError as error:
                told.append(str(error))
        try:
            writing.settle()
        except OutputError as error:
            told.append(str(error))
    assert told == ["frame 1: disk full", "frame 4: disk full"]
    assert [index for index in range(6) if slow.finished(index)] == [0, 2, 3, 5]


def test_leaving_waits_for_what_was_begun(slow: Slow) -> None:
    with pytest.raises(KeyboardInterrupt), KeptBeside(slow, 1, 4) as writing:
        for index in range(3):
            writing.keep(index, grey(index))
        threading.Timer(0.05, slow.gate.set).start()
        raise KeyboardInterrupt
    assert slow.made == 3
    assert not threads()


def test_a_full_disk_ends_a_film_and_loses_no_other_frame(studio: Studio, slow: Slow) -> None:
    slow.gate.set()
    slow.broken = frozenset({3})
    frames, taken = [shot(t / 7) for t in range(8)], []
    size = studio.size
    with pytest.raises(OutputError, match="frame 3"):
        for picture in overlapped(studio.parts, timeline(frames), size, 2, lambda n: None, slow):
            taken.append(picture)
    assert 3 <= len(taken) <= 6
    assert slow.made >= len(taken) - 1
    assert not threads()


def test_the_last_frame_that_cannot_be_written_is_told_too(studio: Studio, slow: Slow) -> None:
    slow.gate.set()
    slow.broken = frozenset({1})
    whole = timeline([shot(), shot(1)])
    with pytest.raises(OutputError, match="frame 1"):
        list(overlapped(studio.parts, whole, studio.size, 2, lambda n: None, slow))
    assert slow.made == 1
