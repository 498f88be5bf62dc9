"""The training noise schedule and the scheduler configuration that goes with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sdcreative import UsageError
from sdcreative.models.building import build_scheduler

from .settings import UnetStage

STEPS, BETA_START, BETA_END = 1000, 0.00085, 0.012


def alphas_cumprod(terminal_snr: float | None) -> Tensor:
    """Cumulative products (1000,), float32, of Stable Diffusion's scaled-linear schedule.

    Args:
        terminal_snr: signal-to-noise ratio at the last timestep, reached by shifting and scaling
            the square roots (Lin et al. 2024, alg. 1, there for 0); None leaves it at 0.0047. A
            ratio above 0 keeps every sigma finite, so that all samplers can be used.
    """
    roots = torch.linspace(BETA_START**0.5, BETA_END**0.5, STEPS, dtype=torch.float64)
    signal = (1 - roots.square()).cumprod(0).sqrt()
    if terminal_snr is not None:
        last = (terminal_snr / (1 + terminal_snr)) ** 0.5
        first = signal[0].clone()
        signal = (signal - signal[-1]) * (first - last) / (first - signal[-1]) + last
    return signal.square().float()


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """What a U-Net is trained on.

    Attributes:
        alphas: cumulative products (T,), float32, from little noise to much.
        prediction: what the U-Net says: "epsilon" or "v_prediction".
        config: the scheduler configuration that goes with it.
    """

    alphas: Tensor
    prediction: str
    config: dict[str, Any]


def noise_schedule(stage: UnetStage, base: Mapping[str, Any] | None = None) -> NoiseSchedule:
    """The schedule of a stage; what it leaves open is taken from the model it goes on from.

    Args:
        stage: its ``prediction`` and ``terminal_snr`` count where they were given, or without
            a base.
        base: scheduler configuration of the model started from.

    Raises:
        UsageError: the base predicts samples, or noise is to be predicted from pure noise.
    """
    given = stage.model_fields_set if base is not None else {"prediction", "terminal_snr"}
    prediction = stage.prediction
    if base is not None and "prediction" not in given:
        prediction = base.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise UsageError(
            f"a U-Net that predicts {prediction!r} cannot be trained on; set prediction"
        )
    if base is None or "terminal_snr" in given:
        alphas = alphas_cumprod(stage.terminal_snr)
        config = scheduler_config(stage) | {"prediction_type": prediction}
    else:
        scheduler = build_scheduler({**base, "prediction_type": prediction})
        alphas, config = scheduler.alphas_cumprod.float(), json.loads(scheduler.to_json_string())
    if prediction == "epsilon" and alphas[-1] == 0:
        raise UsageError(
            "unet: with zero terminal SNR, epsilon says nothing at the last timestep; "
            "set prediction: v_prediction, or terminal_snr above 0"
        )
    return NoiseSchedule(alphas, prediction, config)


def scheduler_config(stage: UnetStage) -> dict[str, Any]:
    """Configuration of a diffusers scheduler for a U-Net of this stage."""
    config: dict[str, Any] = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": STEPS,
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": "scaled_linear",
        "prediction_type": stage.prediction,
        "timestep_spacing": "trailing",
        "clip_sample": False,
        "set_alpha_to_one": True,
        "steps_offset": 1,
    }
    if stage.terminal_snr == 0:
        config["rescale_betas_zero_snr"] = True
    elif stage.terminal_snr is not None:
        alphas = alphas_cumprod(stage.terminal_snr).double()
        previous = torch.cat([torch.ones(1, dtype=torch.float64), alphas[:-1]])
        config["trained_betas"] = [round(float(b), 9) for b in 1 - alphas / previous]
    return config
