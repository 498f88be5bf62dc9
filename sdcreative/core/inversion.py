"""Sampling backwards: from a picture to the noise that a model makes it from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from .guidance import predict_guided
from .sampling import Guidance, Predict
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

    def before(self, step: int, after: Tensor, guess: Tensor, output: Tensor) -> Tensor:
        """Latents at a step from which DDIM comes to those after it.

        A step of DDIM (Song et al. 2021, eq. 12 with sigma = 0) is, with a = sqrt(alpha) and
        s = sqrt(1 - alpha), x' = a'/a x + (s' - a'/a s) e(x, t).

        Args:
            step: counted from 0.
            after: (N, C, h, w), x'.
            guess: (N, C, h, w), about x.
            output: what the model says of the guess.
        """
        here, following = self.alphas[step : step + 2].sqrt()
        noise, noise_after = (1 - self.alphas[step : step + 2]).sqrt()
        scale = here / following
        error = as_noise(output, guess, here, noise, self.prediction)
        found: Tensor = scale * after + (noise - scale * noise_after) * error
        return found


@dataclass(frozen=True)
class FlowPath:
    """The noise levels that Euler goes through with a model of flow matching.

    Attributes:
        timesteps: (S,) of the S steps, falling.
        sigmas: (S + 1,) noise levels at these, and at the end; 1 is noise alone.
    """

    timesteps: Tensor
    sigmas: Tensor

    def before(self, step: int, after: Tensor, guess: Tensor, output: Tensor) -> Tensor:
        """Latents at a step from which Euler comes to those after it.

        Of a velocity v = noise - clean, a step is x' = x + (sigma' - sigma) v(x, t); the arguments
        are those of ``Path.before``.
        """
        here, following = self.sigmas[step : step + 2]
        found: Tensor = after + (here - following) * output
        return found


def invert(
    predict: Predict,
    clean: Tensor,
    guidance: Guidance,
    path: Path | FlowPath,
    *,
    iterations: int = INVERSION_ITERATIONS,
    on_call: Callable[[int], None] = lambda rows: None,
) -> Tensor:
    """The latents at the start of the path from which sampling comes to the clean ones.

    A step solved for the latents before it has them on both sides; they are found by fixed-point
    iteration, as in Pan et al. 2023 ("Effective Real Image Editing with Accelerated Iterative
    Diffusion Inversion", eq. 6), from those after it on. One iteration is plain DDIM inversion, or
    Euler's steps backwards.

    Args:
        predict: the denoiser.
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
        time, guess = path.timesteps[step], latents
        for _ in range(iterations):
            output = predict_guided(predict, guess, time, guidance.at(step))
            guess = path.before(step, latents, guess, output)
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
