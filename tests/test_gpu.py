"""What only a GPU shows; nothing here runs without one."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import torch

from sdcreative import Between, Blend, Noise, Shot, Studio, Timeline, Trunk
from sdcreative.models.sampler_names import SAMPLERS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def film(studio: Studio, sampler: str = "DPM++ 2M", batch: int | None = None) -> np.ndarray:
    bear, apple = "a picture of a bear", "a picture of a red apple"
    trunk = Trunk(Blend(bear, apple, 0.5), Noise(1), 3, guidance_scale=4)
    shots = [
        Shot(Blend(bear, apple, i / 4), Noise(1), guidance_scale=4, trunk=trunk if i % 4 else None)
        for i in range(5)
    ]
    frames = [*shots[:2], Between(0.5), *shots[2:]]
    timeline = Timeline(lambda: frames, len(frames), steps=8, sampler=sampler)
    pictures = studio.render(timeline, batch_size=batch)
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


@pytest.fixture(scope="module", params=["float32", "float16", "bfloat16"])
def on_gpu(request: pytest.FixtureRequest) -> Studio:
    return Studio.load("emoji", device="cuda", dtype=request.param)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_pictures_are_those_of_the_cpu(studio: Studio, on_gpu: Studio, sampler: str) -> None:
    """Within the rounding of the type: 2/255 in float32, a visible likeness in half precision."""
    error = np.abs(film(on_gpu, sampler) - film(studio, sampler))
    if on_gpu.parts.dtype == torch.float32:
        assert error.max() <= 2
    else:
        assert error.mean() <= 4


def test_batches_and_threads(on_gpu: Studio) -> None:
    spread = 1 if on_gpu.parts.dtype == torch.float32 else 8
    assert np.abs(film(on_gpu, batch=1) - film(on_gpu, batch=5)).mean() <= spread
    assert (film(on_gpu, batch=5) == film(on_gpu, batch=5)).all()
    assert not [thread for thread in threading.enumerate() if thread.name == "frames"]


def test_start_pictures_and_masks(on_gpu: Studio) -> None:
    from PIL import Image

    image = Image.effect_noise((64, 64), 60).convert("RGB")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    picture = np.asarray(on_gpu.picture("a bear", steps=6, image=image, mask=mask), dtype=int)
    assert (picture[:, 32:] == np.asarray(image)[:, 32:]).all()
