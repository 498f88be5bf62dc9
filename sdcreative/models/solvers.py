"""The schedulers behind the sampler names. Imports diffusers: only import it inside functions."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    LCMScheduler,
    LMSDiscreteScheduler,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_utils import SchedulerOutput
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from .placement import moved


class ExactSteps:
    """Makes ``set_timesteps(steps, device)`` of a diffusers scheduler do just that.

    With "trailing" spacing diffusers counts down by a rounded fraction and gets one timestep too
    many, -1, for some numbers of steps (61 is the first of 1000), at which LMS divides by zero.
    And where Karras noise levels round to the same timestep, its search for the first step finds
    the second; so the first is set by its index.
    """

    # Some constructors of diffusers pass a third argument, the number of training steps.
    def set_timesteps(self, num_inference_steps: int, device: Any = None, *rest: Any) -> None:
        scheduler: Any = super()
        scheduler.set_timesteps(num_inference_steps, device, *rest)
        self._trim(num_inference_steps)
        if hasattr(self, "set_begin_index"):
            self.set_begin_index(0)

    def _trim(self: Any, steps: int) -> None:
        surplus = len(self.timesteps) - (self.order * (steps - 1) + 1)
        if surplus <= 0:
            return
        self.timesteps = self.timesteps[:-surplus]
        self.num_inference_steps = steps
        if hasattr(self, "sigmas"):
            self.sigmas = torch.cat([self.sigmas[: -1 - surplus], self.sigmas[-1:]])


def drawn(shape: Any, generator: Any = None, device: Any = None, dtype: Any = None) -> Tensor:
    """Noise as ``randn_tensor`` of diffusers draws it, on a GPU without waiting for that GPU."""
    device = torch.device(device or "cpu")
    if device.type != "cuda" or generator is None:
        noise: Tensor = randn_tensor(shape, generator=generator, device=device, dtype=dtype)
        return noise
    return moved(randn_tensor(shape, generator=generator, dtype=dtype), device)


def not_waiting(step: Callable[..., Any]) -> Any:
    """A step of a diffusers scheduler that takes its noise from ``drawn``, and else is the same.

    diffusers copies noise to a GPU in a way that first waits until all earlier work is done there.
    """
    known = {**step.__globals__, "randn_tensor": drawn}
    ours = FunctionType(step.__code__, known, step.__name__, step.__defaults__, step.__closure__)
    ours.__kwdefaults__, ours.__annotations__ = step.__kwdefaults__, step.__annotations__
    return ours


class Euler(ExactSteps, EulerDiscreteScheduler):  # type: ignore[misc]
    pass


class EulerAncestral(ExactSteps, EulerAncestralDiscreteScheduler):  # type: ignore[misc]
    step = not_waiting(EulerAncestralDiscreteScheduler.step)


class Heun(ExactSteps, HeunDiscreteScheduler):  # type: ignore[misc]
    pass


class LMS(ExactSteps, LMSDiscreteScheduler):  # type: ignore[misc]
    pass


class DDIM(ExactSteps, DDIMScheduler):  # type: ignore[misc]
    pass


class DPMMultistep(ExactSteps, DPMSolverMultistepScheduler):  # type: ignore[misc]
    step = not_waiting(DPMSolverMultistepScheduler.step)


class UniPC(ExactSteps, UniPCMultistepScheduler):  # type: ignore[misc]
    pass


class LCM(ExactSteps, LCMScheduler):  # type: ignore[misc]
    step = not_waiting(LCMScheduler.step)


_TCD_STEP = not_waiting(TCDScheduler.step)


class TCD(ExactSteps, TCDScheduler):  # type: ignore[misc]
    """Strategic stochastic sampling of trajectory consistency models, Hyper-SD among them.

    Source: Zheng et al. 2024, https://arxiv.org/abs/2402.19159, algorithm 3; eta is its gamma.
    """

    eta = 0.3

    def step(
        self,
        model_output: Tensor,
        timestep: Any,
        sample: Tensor,
        generator: Any = None,
        return_dict: bool = True,
    ) -> Any:
        return _TCD_STEP(
            self, model_output, timestep, sample, self.eta, generator, return_dict=return_dict
        )


class DPMSDE(Heun):
    """DPM-Solver++ (stochastic, single step, second order): k-diffusion's ``sample_dpmpp_sde``.

    Two U-Net calls per step, the second at the geometric mean of the step's two noise levels; the
    last step takes one. Both draw on one Brownian path over sigma. diffusers has this sampler too,
    but needs torchsde for that path; two increments per step are all that is ever asked of it, so
    they are drawn here, from one generator per picture.

    Source: Lu et al. 2022, https://arxiv.org/abs/2211.01095; crowsonkb/k-diffusion, sampling.py.
    """

    def set_timesteps(self, num_inference_steps: int, device: Any = None, *rest: Any) -> None:
        super().set_timesteps(num_inference_steps, device, *rest)
        self.sample: Tensor | None = None
        self.increment: Tensor | None = None
        levels = ((1 - self.alphas_cumprod) / self.alphas_cumprod).sqrt().log().numpy()
        self.middles = (self.sigmas[:-2:2] * self.sigmas[1:-1:2]).sqrt()
        between = [float(self._sigma_to_t(middle.numpy(), levels)) for middle in self.middles]
        self.timesteps[1::2] = torch.tensor(between).to(self.timesteps)

    def scale_model_input(self, sample: Tensor, timestep: Any) -> Tensor:
        if self.step_index is None:
            self._init_step_index(timestep)
        return sample / (self._sigma() ** 2 + 1).sqrt()

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """As noisy as the picture is at this call, which may be the second one of a step."""
        if self.step_index is None:
            noisy: Tensor = super().add_noise(original_samples, noise, timesteps)
            return noisy
        return original_samples + noise * self._sigma()

    def _sigma(self) -> Tensor:
        """Noise level of the picture that the next U-Net call sees."""
        index: int = self.step_index
        level: Tensor = self.middles[index // 2] if index % 2 else self.sigmas[index]
        return level

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
        clean = self._clean(model_output, sample)
        second = self.step_index % 2 == 1
        start = self.step_index - second
        sigma, end = self.sigmas[start], self.sigmas[start + 1]
        if end == 0:
            previous = clean
        else:
            middle = self.middles[start // 2]
            noise = drawn(sample.shape, generator, sample.device, sample.dtype)
            if second and self.increment is not None:
                path = self.increment + (middle - end).sqrt() * noise
                noise = path / (sigma - end).sqrt()
                previous = self._towards(end, sigma, self.sample, clean, noise)
                self.sample = self.increment = None
            else:
                self.sample, self.increment = sample, (sigma - middle).sqrt() * noise
                previous = self._towards(middle, sigma, sample, clean, noise)
        self._step_index += 1
        if not return_dict:
            return previous, clean
        return SchedulerOutput(prev_sample=previous)

    def _clean(self, model_output: Tensor, sample: Tensor) -> Tensor:
        """The predicted picture without noise."""
        sigma = self._sigma()
        if self.config.prediction_type == "epsilon":
            return sample - sigma * model_output
        if self.config.prediction_type == "v_prediction":
            scale = sigma**2 + 1
            return sample / scale - model_output * (sigma / scale.sqrt())
        return model_output

    @staticmethod
    def _towards(end: Tensor, sigma: Tensor, start: Any, clean: Tensor, noise: Tensor) -> Tensor:
        """An ancestral step from sigma to end: down to end ** 2 / sigma, and up again by noise."""
        down = end**2 / sigma
        up = end * (1 - (end / sigma) ** 2).sqrt()
        ratio = down / sigma
        moved: Tensor = ratio * start + (1 - ratio) * clean + up * noise
        return moved


CLASSES: dict[str, tuple[type[Any], dict[str, Any]]] = {
    "Euler": (Euler, {}),
    "Euler a": (EulerAncestral, {}),
    "Heun": (Heun, {}),
    "LMS": (LMS, {}),
    "DDIM": (DDIM, {}),
    "DPM++ 2M": (DPMMultistep, {"algorithm_type": "dpmsolver++"}),
    "DPM++ 2M SDE": (DPMMultistep, {"algorithm_type": "sde-dpmsolver++"}),
    "DPM++ SDE": (DPMSDE, {}),
    "UniPC": (UniPC, {}),
    "LCM": (LCM, {}),
    "TCD": (TCD, {}),
}
