"""Decoding, transfer and keeping beside the next batch's denoising; only CUDA has the streams."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from sdcreative import Between, Blend, Frame, Noise, RenderError, Shot, Studio, Timeline
from sdcreative.models.arriving import Courier, extremes, to_bytes
from sdcreative.models.vae import decode_latents
from sdcreative.rendering.finishing import Finishing
from sdcreative.rendering.renderer import Renderer
from sdcreative.runs.kept import Kept, KeptFrames
from sdcreative.runs.store import FrameStore

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module", params=["float32", "float16"])
def on_gpu(request: pytest.FixtureRequest) -> Studio:
    return Studio.load("emoji", device="cuda", dtype=request.param)


def film(count: int = 9) -> Timeline:
    prompt = ("a picture of a bear", "a picture of a red apple")
    frames: list[Frame] = [
        Shot(Blend(*prompt, i / count), Noise(1), guidance_scale=4) for i in range(count - 1)
    ]
    frames.insert(3, Between(0.5))
    return Timeline(lambda: frames, len(frames), steps=4)


def test_bytes_are_those_of_the_cpu() -> None:
    batch = torch.randn(2, 3, 64, 64) * 1.5
    assert torch.equal(to_bytes(batch.cuda()).cpu(), to_bytes(batch))
    assert torch.equal(extremes(batch.cuda()).cpu(), extremes(batch))


def test_copies_arrive_beside_what_is_queued_later() -> None:
    device = torch.device("cuda")
    courier, square = Courier(device), torch.randn(4096, 4096, device=device)
    wanted = torch.arange(1 << 20, device=device)
    courier.send_for([wanted]).wait()  # pinned memory is made the first time
    arriving = courier.send_for([wanted + 1])
    for _ in range(200):
        square = square @ square / 64
    queued = torch.cuda.Event()
    queued.record()
    [copy] = arriving.wait()
    assert not queued.query()
    assert copy.is_pinned()
    assert torch.equal(copy, torch.arange(1, (1 << 20) + 1))
    torch.cuda.synchronize()


def test_nothing_waits_for_the_device_while_a_batch_is_launched(on_gpu: Studio) -> None:
    parts = on_gpu.parts
    width, height = parts.sample_size
    shape = (parts.latent_channels, height // parts.downsampling, width // parts.downsampling)
    rows = list(torch.randn(4, *shape, device="cuda"))
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:

        def decode(some: list[torch.Tensor], checked: bool) -> torch.Tensor:
            return decode_latents(parts, torch.stack(list(some)), checked=checked)

        finishing = Finishing(parts, 4, Kept(), decode, pool)  # type: ignore[arg-type]
        made = [(index, None) for index in range(4)]
        list(finishing.promises(made, rows))
        torch.cuda.synchronize()
        torch.cuda.set_sync_debug_mode("error")
        try:
            promises = list(finishing.promises(made, rows))
        finally:
            torch.cuda.set_sync_debug_mode("default")
        assert len([promise() for promise in promises]) == 4


def test_films_are_those_made_in_order(on_gpu: Studio, tmp_path: Path) -> None:
    whole = film()
    renderer = Renderer(on_gpu.parts, whole, on_gpu.size, 2, lambda count: None)
    plain = np.stack([np.asarray(picture) for picture in renderer.pictures()])
    kept = KeptFrames(FrameStore(tmp_path), [f"{number:032x}" for number in range(len(whole))])
    found = np.stack([np.asarray(one) for one in on_gpu.render(whole, batch_size=2, kept=kept)])
    assert (found == plain).all()
    assert kept.made == len(whole)
    stored = [np.asarray(kept.picture(index)) for index in range(len(whole))]
    assert (np.stack(stored) == plain).all()


def test_nan_names_its_frame(on_gpu: Studio) -> None:
    shots = [Shot(Blend("a bear"), Noise(seed), guidance_scale=3) for seed in range(6)]
    shots[4] = Shot(Blend("a bear"), Noise(4), guidance_scale=1e38)
    taken = []
    with pytest.raises(RenderError, match=r"^frame 4: denoising gave NaN"):
        for picture in on_gpu.render(Timeline(lambda: shots, 6, steps=4), batch_size=2):
            taken.append(picture)
    assert len(taken) == 4


def test_a_film_left_early_leaves_no_thread(on_gpu: Studio) -> None:
    pictures = on_gpu.render(film(), batch_size=2)
    next(pictures)
    pictures.close()
    names = ("frames", "arrivals", "keeper")
    assert not [one for one in threading.enumerate() if one.name.startswith(names)]
