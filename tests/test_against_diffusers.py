"""Our pictures against those of diffusers' own pipeline, with the same weights and noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sdcreative import Studio
from sdcreative.core.noise import draw_noise
from sdcreative.models.sampler_names import SAMPLERS
from sdcreative.models.samplers import build_sampler
from sdcreative.models.sources import resolve

PROMPT, NEGATIVE, SEED, STEPS, SCALE = "a picture of a bear", "an apple", 7, 6, 4.0
DETERMINISTIC = [name for name, sampler in SAMPLERS.items() if not sampler.stochastic]


@pytest.fixture(scope="module")
def pipeline() -> Any:
    from diffusers import StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(
        resolve("emoji").folder, torch_dtype=torch.float32, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def theirs(pipeline: Any, sampler: str, config: dict[str, Any]) -> np.ndarray:
    """A picture of diffusers' own scheduler class, built from the model's configuration."""
    ours = build_sampler(sampler, config)
    [own] = [c for c in type(ours).__mro__ if c.__module__.startswith("diffusers.schedulers.sch")][
        :1
    ]
    pipeline.scheduler = own.from_config(ours.config)
    output = pipeline(
        PROMPT,
        negative_prompt=NEGATIVE,
        num_inference_steps=STEPS,
        guidance_scale=SCALE,
        latents=draw_noise(SEED, (4, 16, 16))[None],
        output_type="np",
    )
    return output.images[0]


@pytest.mark.parametrize("sampler", DETERMINISTIC)
def test_picture_is_that_of_the_pipeline(studio: Studio, pipeline: Any, sampler: str) -> None:
    picture = studio.picture(
        PROMPT,
        negative_prompt=NEGATIVE,
        seed=SEED,
        steps=STEPS,
        guidance_scale=SCALE,
        sampler=sampler,
    )
    expected = theirs(pipeline, sampler, studio.parts.scheduler_config)
    difference = np.abs(np.asarray(picture) / 255 - expected)
    assert difference.max() <= 1 / 255
