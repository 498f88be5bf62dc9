"""Sampling backwards: against closed forms, and with the built-in model."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sdcreative import Blend, Studio
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.inversion import FlowPath, Path, Prediction, as_noise, invert
from sdcreative.core.sampling import Guidance, denoise
from sdcreative.core.shots import INVERSION_ITERATIONS
from sdcreative.models.denoiser import predictor
from sdcreative.models.samplers import build_sampler
from sdcreative.models.vae import encode_pictures, to_pixels
from sdcreative.rendering.embeddings import Embeddings, Row

NOTHING = Guidance(Conditioning(torch.zeros(1, 1, 1)), None, torch.ones(1))
CONFIG = {"num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012}


def ddim(steps: int, config: dict[str, object]) -> tuple[object, Path]:
    sampler = build_sampler("DDIM", config, steps)
    last = torch.as_tensor(sampler.final_alpha_cumprod).reshape(1)
    alphas = torch.cat([sampler.alphas_cumprod[sampler.timesteps], last])
    kind: Prediction = config.get("prediction_type", "epsilon")  # type: ignore[assignment]
    return sampler, Path(sampler.timesteps, alphas, kind)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_inversion_and_ddim_undo_each_other(kind: str) -> None:
    """The best denoiser of pictures from N(0, 1/4) is linear, so that fixed points are found."""
    sampler, path = ddim(10, {**CONFIG, "prediction_type": kind, "clip_sample": False})

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        alpha = sampler.alphas_cumprod[int(time)]
        a, s = alpha.sqrt(), (1 - alpha).sqrt()
        clean = a * latents * 0.25 / (alpha * 0.25 + 1 - alpha)
        noise = (latents - a * clean) / s
        return {"epsilon": noise, "sample": clean}.get(kind, a * noise - s * clean)

    clean = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3)) / 2
    noise = invert(predict, clean, NOTHING, path, iterations=40)
    again = denoise(
        predict, sampler, noise, NOTHING, start=0, stop=10, generators=[torch.Generator()]
    )
    assert (again - clean).abs().max() < 1e-3

    rough = invert(predict, clean, NOTHING, path, iterations=1)
    assert (rough - noise).abs().max() > 0.05


def test_inversion_and_euler_undo_each_other_in_flow_matching() -> None:
    """The best velocity of pictures from N(0, 1/4) is linear, and the noise that they come from
    is known but for the size of the steps: twice the picture."""
    config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    sampler = build_sampler("Euler", config, 40)
    path = FlowPath(sampler.timesteps, sampler.sigmas)

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        sigma = time / 1000
        variance = (1 - sigma) ** 2 * 0.25 + sigma**2
        return latents * (sigma - (1 - sigma) * 0.25) / variance

    clean = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(3)) / 2
    noise = invert(predict, clean, NOTHING, path, iterations=40)
    assert ((noise - 2 * clean) / (2 * clean)).abs().max() < 0.1
    again = denoise(
        predict, sampler, noise, NOTHING, start=0, stop=40, generators=[torch.Generator()]
    )
    assert (again - clean).abs().max() < 1e-4

    rough = invert(predict, clean, NOTHING, path, iterations=1)
    assert (rough - noise).abs().max() > 0.01


def test_what_a_model_says_is_noise_whatever_it_predicts() -> None:
    clean, noise = torch.randn(2, 1, 4, 2, 2, generator=torch.Generator().manual_seed(0))
    a, s = torch.tensor(0.8), torch.tensor(0.6)
    latents = a * clean + s * noise
    assert torch.equal(as_noise(noise, latents, a, s, "epsilon"), noise)
    assert torch.allclose(as_noise(clean, latents, a, s, "sample"), noise, atol=1e-6)
    velocity = a * noise - s * clean
    assert torch.allclose(as_noise(velocity, latents, a, s, "v_prediction"), noise, atol=1e-6)


def test_a_picture_comes_back_through_the_built_in_model() -> None:
    studio = Studio.load("emoji")
    parts, embeddings = studio.parts, Embeddings(studio.parts)
    picture = studio.picture("a picture of a bear", seed=1, steps=8).transpose(0)
    clean = encode_pictures(parts, to_pixels([picture]))
    sampler, path = ddim(20, dict(parts.scheduler_config))
    pair = embeddings.pair(Blend("a picture of a bear"), Blend(""), 1.0)
    guidance = embeddings.guidance([Row(*pair, 1.0)])
    predict = predictor(parts)
    calls: list[int] = []
    with torch.inference_mode():
        noise = invert(predict, clean, guidance, path, on_call=calls.append)
        again = denoise(
            predict, sampler, noise, guidance, start=0, stop=20, generators=[torch.Generator()]
        )
    assert sum(calls) == 20 * INVERSION_ITERATIONS
    assert 0.85 < noise.std() < 1.15
    assert ((again - clean) ** 2).mean().sqrt() < 0.05 * clean.std()
