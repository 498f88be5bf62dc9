"""Sampling backwards: from a picture to the noise that a model makes it from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .sampling import Guidance, Predict, predict_guided
from .shots import INVERSION_ITERATIONS

Prediction = Literal["epsilon", "v_prediction", "sample"]


@dataclass(frozen=True)
class Path:
    """The noise levels that DDIM goes through, from the first step's to the clean picture's.

    Attributes:
        timesteps: (S,) of the S steps, falling.
        alphas: (S + 1,) cumulative products of alphas at these, and at the end.
        prediction: what the model's output stands for.
    """

    timesteps: Tensor
    alphas: Tensor
    prediction: Prediction = "epsilon"


def invert(
    predict: Predict,
    clean: Tensor,
    guidance: Guidance,
    path: Path,
    *,
    iterations: int = INVERSION_ITERATIONS,
    on_call: Callable[[int], None] = lambda rows: None,
) -> Tensor:
    """The latents at the start of the path from which DDIM comes to the clean ones.

    A step of DDIM (Song et al. 2021, eq. 12 with sigma = 0) is, with a = sqrt(alpha) and
    s = sqrt(1 - alpha), x' = a'/a x + (s' - a'/a s) e(x, t). Solved for x it has x on both sides;
    it is found by fixed-point iteration, as in Pan et al. 2023 ("Effective Real Image Editing
    with Accelerated Iterative Diffusion Inversion", eq. 6), from x = x' on. One iteration is plain
    DDIM inversion.

    Args:
        predict: the U-Net.
        clean: (N, C, h, w) latents of pictures.
        guidance: conditioning and scales of the N rows.
        path: its noise levels.
        iterations: evaluations of the model per step, at least 1.
        on_call: told the number of rows after every evaluation.

    Returns:
        (N, C, h, w), about standard normal.
    """
    latents = clean
    for step in reversed(range(len(path.timesteps))):
        time, (here, after) = path.timesteps[step], path.alphas[step : step + 2].sqrt()
        noise, noise_after = (1 - path.alphas[step : step + 2]).sqrt()
        scale = here / after
        known, guess = scale * latents, latents
        for _ in range(iterations):
            output = predict_guided(predict, guess, time, guidance.at(step))
            error = as_noise(output, guess, here, noise, path.prediction)
            guess = known + (noise - scale * noise_after) * error
            on_call(len(clean))
        latents = guess
    return latents


def as_noise(
    output: Tensor, latents: Tensor, alpha: Tensor, sigma: Tensor, prediction: Prediction
) -> Tensor:
    """The noise in latents = alpha * clean + sigma * noise, from what a model says of them.

    v = alpha * noise - sigma * clean (Salimans and Ho 2022, appendix D).
    """
    if prediction == "v_prediction":
        return alpha * output + sigma * latents
    if prediction == "sample":
        return (latents - alpha * output) / sigma
    return output
