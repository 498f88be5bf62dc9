"""Products in 8 bits on a GPU; nothing here runs without one of compute capability 8.9."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.models.float8 import LEAST_CAPABILITY, Float8Linear, multiply, to_float8

pytestmark = pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.get_device_capability() < LEAST_CAPABILITY,
    reason="needs a CUDA device of compute capability 8.9",
)


@pytest.mark.parametrize("rows", [1, 16, 77, 1000])
def test_the_kernel_gives_the_reference(rows: int) -> None:
    torch.manual_seed(0)
    x, w = torch.randn(rows, 320), torch.randn(640, 320)
    quantised, scale = to_float8(x)
    weight, own = to_float8(w)
    expected = multiply(quantised, scale, weight, own, torch.float32)
    here = [one.cuda() for one in (quantised, scale, weight, own)]
    found = multiply(here[0], here[1], here[2], here[3], torch.float32).cpu()
    # bfloat16 out of the kernel, and sums with fewer bits than float32 has.
    assert float((found - expected).norm() / expected.norm()) < 0.01


def test_a_layer_keeps_its_shape_and_type() -> None:
    linear = torch.nn.Linear(64, 32).cuda().half().requires_grad_(False)
    given = torch.randn(2, 5, 64, device="cuda", dtype=torch.float16)
    found, expected = Float8Linear(linear)(given), linear(given)
    assert (found.shape, found.dtype) == (expected.shape, torch.float16)
    assert float((found - expected).norm() / expected.norm()) < 0.06


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_pictures_stay_alike(dtype: str) -> None:
    studio = Studio.load("emoji", device="cuda", dtype=dtype)
    shots = [Shot(Blend("a picture of a bear"), Noise(seed), guidance_scale=4) for seed in (1, 2)]
    films = []
    for linears in ("auto", "float8", "auto"):
        timeline = Timeline(lambda: shots, 2, steps=8, linears=linears)
        films.append(np.stack([np.asarray(one, dtype=float) for one in studio.render(timeline)]))
    assert (films[0] == films[2]).all()
    error = np.abs(films[0] - films[1]).mean()
    assert 0 < error < 12
