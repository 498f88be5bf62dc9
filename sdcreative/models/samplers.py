"""Sampler names to schedulers of diffusers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..core.spacing import Spacing
from ..errors import UsageError
from .flow import is_flow
from .sampler_names import PLUGIN_SAMPLERS, canonical, check_flow, check_steps, describe

_LEVELS = 1000
"""of noise, where a model does not say"""
ETA = "eta"
"""key of a noise schedule for what ``scheduled`` is told; no model has it"""
_NOISE_SCHEDULE = (
    "num_train_timesteps",
    "beta_start",
    "beta_end",
    "beta_schedule",
    "trained_betas",
    "prediction_type",
    "timestep_spacing",
    "steps_offset",
    "rescale_betas_zero_snr",
)


def scheduled(
    scheduler_config: Mapping[str, Any], spacing: Spacing = "auto", eta: float | None = None
) -> dict[str, Any]:
    """A model's noise schedule as a timeline wants it sampled, for ``build_sampler``.

    Args:
        scheduler_config: the model's own.
        spacing: of timesteps; auto leaves it to the model.
        eta: share of new noise in every step of TCD, in [0, 1]; None for TCD's own.
    """
    changed: dict[str, Any] = {} if spacing == "auto" else {"timestep_spacing": spacing}
    if eta is not None:
        changed[ETA] = eta
    return {**scheduler_config, **changed}


def build_sampler(
    name: str,
    scheduler_config: Mapping[str, Any],
    steps: int | None = None,
    tokens: int | None = None,
) -> Any:
    """A scheduler of diffusers with a model's noise schedule, fresh and without state.

    Only the noise schedule is taken from the model; what its makers set for their own sampler
    (its order, its clipping of pixels) is not.

    Args:
        name: sampler name in any spelling.
        scheduler_config: the model's ``scheduler/scheduler_config.json``.
        steps: calls ``set_timesteps`` (on the CPU), so that ``timesteps`` and
            ``init_noise_sigma`` can be read; None leaves that to the caller.
        tokens: patches of latents in a picture, for models of flow matching whose noise schedule
            depends on it; None for as many as in the largest picture that the schedule is for.

    Raises:
        UsageError: unknown name, steps out of the sampler's range, or a sampler of diffusion for
            a model of flow matching.
    """
    name = canonical(name)
    if steps is not None:
        check_steps(name, steps)
        levels = scheduler_config.get("num_train_timesteps", _LEVELS)
        if steps > levels:
            raise UsageError(f"{name} takes 1 to {levels} steps with this model, not {steps}")
    if name in PLUGIN_SAMPLERS:
        scheduler = PLUGIN_SAMPLERS[name](scheduler_config)
    elif is_flow(scheduler_config):
        check_flow(name)
        from .loading import quiet

        quiet()
        from .flow_solvers import build_flow_sampler

        scheduler = build_flow_sampler(name, scheduler_config, tokens)
    else:
        from .loading import quiet

        quiet()
        from .solvers import CLASSES

        karras = describe(name).karras
        cls, options = CLASSES[name.removesuffix(" Karras")]
        config = {key: scheduler_config[key] for key in _NOISE_SCHEDULE if key in scheduler_config}
        if name in ("DDIM", "LCM", "TCD"):
            config["clip_sample"] = False
            if "set_alpha_to_one" in scheduler_config:
                config["set_alpha_to_one"] = scheduler_config["set_alpha_to_one"]
        if karras:
            config["use_karras_sigmas"] = True
        scheduler = cls.from_config(config | options)
        if name == "TCD":
            scheduler.eta = scheduler_config.get(ETA, cls.eta)
    if steps is not None:
        scheduler.set_timesteps(steps)
    return scheduler
