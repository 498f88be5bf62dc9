"""Samplers for models of flow matching. Imports diffusers: only import it inside functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FlowMatchHeunDiscreteScheduler,
    FlowMatchLCMScheduler,
)
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from torch import Tensor

from .flow import shift, shift_exponent
from .solvers import CLASSES, ExactSteps, drawn, not_waiting

_NOISE_SCHEDULE = (
    "num_train_timesteps",
    "use_dynamic_shifting",
    "time_shift_type",
    "shift_terminal",
    "use_karras_sigmas",
    "use_exponential_sigmas",
    "use_beta_sigmas",
)


class StraightLines(ExactSteps):
    """Gives schedulers of flow matching what those of diffusion have."""

    init_noise_sigma = 1.0

    def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor:
        return sample

    def add_noise(self: Any, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """As noisy as pictures are at the next call."""
        index = self.begin_index if self.step_index is None else self.step_index
        sigma = self.sigmas[index]
        noisy: Tensor = sigma * noise + (1.0 - sigma) * original_samples
        return noisy


class Shifted(StraightLines):
    """Passes on what the schedule is shifted by for the size of the pictures."""

    exponent: float | None = None

    def set_timesteps(self, num_inference_steps: int, device: Any = None, *rest: Any) -> None:
        super().set_timesteps(num_inference_steps, device, None, self.exponent)


class FlowEuler(Shifted, FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    pass


class FlowLCM(Shifted, FlowMatchLCMScheduler):  # type: ignore[misc]
    step = not_waiting(FlowMatchLCMScheduler.step)


class FlowHeun(StraightLines, FlowMatchHeunDiscreteScheduler):  # type: ignore[misc]
    def set_timesteps(self, num_inference_steps: int, device: Any = None, *rest: Any) -> None:
        super().set_timesteps(num_inference_steps, device)
        self.sample: Tensor | None = None


class FlowEulerAncestral(FlowEuler):
    """Euler steps to below the next noise level, and up to it by new noise.

    As far down as Euler's ancestral sampler goes for diffusion, to end ** 2 / sigma. The way up
    keeps the picture's share at 1 - end: x (1 - end) / (1 - down), and noise to a variance of
    end ** 2.
    """

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: Any = None,
        return_dict: bool = True,
    ) -> Any:
        if self.step_index is None:
            self._init_step_index(timestep)
        sigma, end = self.sigmas[self.step_index], self.sigmas[self.step_index + 1]
        clean = sample - sigma * model_output
        down = end**2 / sigma
        ratio = down / sigma
        previous = ratio * sample + (1 - ratio) * clean
        if end > 0:
            kept = (1 - end) / (1 - down)
            noise = drawn(sample.shape, generator, sample.device, sample.dtype)
            previous = kept * previous + (end**2 - (kept * down) ** 2).sqrt() * noise
        self._step_index += 1
        if not return_dict:
            return (previous,)
        return SchedulerOutput(prev_sample=previous)


_SHIFTED: dict[str, Any] = {"Euler": FlowEuler, "Euler a": FlowEulerAncestral, "LCM": FlowLCM}


def build_flow_sampler(name: str, scheduler_config: Mapping[str, Any], tokens: int | None) -> Any:
    """A scheduler of diffusers with a model's noise schedule.

    Args:
        name: canonical, of a sampler that knows flow matching.
        scheduler_config: of a model of flow matching.
        tokens: patches of latents in a picture, for schedules that depend on it.
    """
    factor = shift(scheduler_config, tokens)
    config = {key: scheduler_config[key] for key in _NOISE_SCHEDULE if key in scheduler_config}
    if name in _SHIFTED:
        scheduler = _SHIFTED[name].from_config({**config, "shift": factor})
        scheduler.exponent = shift_exponent(scheduler_config, tokens)
        return scheduler
    config = {key: config[key] for key in ("num_train_timesteps",) if key in config}
    if name == "Heun":
        return FlowHeun.from_config({**config, "shift": factor})
    cls, options = CLASSES[name]
    options = {**options, "use_flow_sigmas": True, "prediction_type": "flow_prediction"}
    return cls.from_config({**config, **options, "flow_shift": factor})
