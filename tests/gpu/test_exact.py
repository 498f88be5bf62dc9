"""Faster ways to the same pictures, on a GPU; nothing here runs without one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.sampling import Guidance, denoise
from sdcreative.models.compiling import Compiled
from sdcreative.models.denoiser import predictor
from sdcreative.models.room import pictures_at_once
from sdcreative.models.sampler_names import NAMES
from sdcreative.models.samplers import build_sampler
from sdcreative.models.vae import decode_latents

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(scope="module")
def studio() -> Studio:
    return Studio.load("emoji", device="cuda", dtype="float32")


@pytest.fixture
def waiting_is_an_error() -> Iterator[Any]:
    """Switches on that what waits for the GPU raises."""
    yield lambda: torch.cuda.set_sync_debug_mode("error")
    torch.cuda.set_sync_debug_mode("default")


def guidance(studio: Studio, rows: int) -> Guidance:
    width = studio.parts.unet.config.cross_attention_dim
    embeddings = torch.randn(2, rows, 77, width, device="cuda")
    one, other = (Conditioning(each) for each in embeddings)
    return Guidance(one, other, torch.full((rows,), 4.0, device="cuda"))


# UniPC solves a small system of equations on the GPU, and waits for its result.
@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("UniPC")])
def test_no_step_waits_for_the_gpu(studio: Studio, name: str, waiting_is_an_error: Any) -> None:
    parts, sampler = studio.parts, build_sampler(name, studio.parts.scheduler_config, 4)
    latents = torch.randn(2, parts.latent_channels, 16, 16, device="cuda")
    towards, predict = guidance(studio, 2), predictor(parts)
    generators = [torch.Generator().manual_seed(row) for row in range(2)]
    with torch.inference_mode():
        # Once before: the first call of a kernel may wait.
        for again in (False, True):
            if again:
                sampler = build_sampler(name, parts.scheduler_config, 4)
                waiting_is_an_error()
            found = denoise(
                predict,
                sampler,
                latents * float(sampler.init_noise_sigma),
                towards,
                start=0,
                stop=4,
                generators=generators,
            )
    torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.isfinite(found).all())


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_compiled_layers_give_the_same(dtype: str) -> None:
    parts = Studio.load("emoji", device="cuda", dtype=dtype).parts
    exact = Studio.load("emoji", device="cuda", dtype="float32").parts
    compiled = Compiled(parts, pytest.fail).begin(4)
    both = replace(parts, compiled=compiled)
    latents = torch.randn(8, 4, 16, 16, device="cuda")
    words = torch.randn(8, 77, parts.unet.config.cross_attention_dim, device="cuda")

    def error(one: Any) -> float:
        given = (latents, torch.tensor(500), Conditioning(words))
        difference = predictor(one)(*given).float() - predictor(exact)(*given)
        return float(difference.square().mean().sqrt())

    with torch.inference_mode():
        if dtype == "float32":
            assert error(both) < 1e-4
        else:
            assert error(both) < 1.1 * error(parts)
    tolerance = 1e-3 if dtype == "float32" else 0.1
    found = decode_latents(both, latents[:4])
    assert (found - decode_latents(parts, latents[:4])).abs().max() < tolerance


def test_a_compiled_film_compiles_nothing_after_its_first_pictures() -> None:
    from torch._dynamo.utils import counters

    shots = [Shot(Blend("a bear", "an apple", i / 10), Noise(1)) for i in range(11)]
    timeline = Timeline(lambda: shots, len(shots), steps=4)
    plain = Studio.load("emoji", device="cuda", dtype="float32", compiling="off")
    expected = [np.asarray(one, dtype=int) for one in plain.render(timeline, batch_size=4)]
    studio = Studio.load(
        "emoji", device="cuda", dtype="float32", compiling="on", report=pytest.fail
    )
    pictures = studio.render(timeline, batch_size=4)
    found = [np.asarray(next(pictures), dtype=int) for _ in range(4)]
    graphs = counters["stats"]["unique_graphs"]
    assert graphs > 0
    found += [np.asarray(one, dtype=int) for one in pictures]
    assert counters["stats"]["unique_graphs"] == graphs
    assert np.abs(np.stack(found) - np.stack(expected)).max() <= 1


def test_attention_and_memory_format_are_those_of_tensor_cores(studio: Studio) -> None:
    attention = [one for one in studio.parts.unet.modules() if type(one).__name__ == "Attention"]
    assert attention
    assert {type(one.processor).__name__ for one in attention} == {"AttnProcessor2_0"}
    weight = studio.parts.unet.down_blocks[0].resnets[0].conv1.weight
    assert weight.is_contiguous(memory_format=torch.channels_last)
    assert not torch.backends.cudnn.allow_tf32


def test_batches_fit_into_free_memory(studio: Studio) -> None:
    small = pictures_at_once(studio.parts, 16 * 16)
    large = pictures_at_once(studio.parts, 128 * 128)
    assert small is not None and large is not None and small > large >= 1
    assert 1 <= studio.suggested_batch_size((64, 64)) <= 64
