"""What a scheduler's configuration says of flow matching. Imports no torch.

In flow matching (Lipman et al. 2023, https://arxiv.org/abs/2210.02747), as Stable Diffusion 3 does
it (Esser et al. 2024, https://arxiv.org/abs/2403.03206), latents lie on straight lines between
picture and noise, x = (1 - sigma) clean + sigma noise, and the model says noise - clean.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

_TOKENS = (256, 4096)
_SHIFTS = (0.5, 1.15)


def is_flow(scheduler_config: Mapping[str, Any]) -> bool:
    """Whether a model was trained by flow matching, whichever scheduler its makers chose."""
    return (
        str(scheduler_config.get("_class_name")).startswith("FlowMatch")
        or "shift" in scheduler_config
        or bool(scheduler_config.get("use_flow_sigmas"))
        or scheduler_config.get("prediction_type") in ("flow", "flow_prediction")
    )


def shift_exponent(scheduler_config: Mapping[str, Any], tokens: int | None) -> float | None:
    """What a schedule is shifted by for pictures of so many tokens (diffusers' ``mu``).

    Args:
        scheduler_config: fields of diffusers' ``FlowMatchEulerDiscreteScheduler``.
        tokens: patches of latents in a picture; None for as many as the largest picture that the
            configuration names.

    Returns:
        None for a model whose schedule is the same for all sizes.
    """
    if not scheduler_config.get("use_dynamic_shifting"):
        return None
    few = scheduler_config.get("base_image_seq_len", _TOKENS[0])
    many = scheduler_config.get("max_image_seq_len", _TOKENS[1])
    low = scheduler_config.get("base_shift", _SHIFTS[0])
    high = scheduler_config.get("max_shift", _SHIFTS[1])
    share = ((many if tokens is None else tokens) - few) / (many - few)
    return float(low + (high - low) * share)


def shift(scheduler_config: Mapping[str, Any], tokens: int | None) -> float:
    """The factor s of sigma' = s sigma / (1 + (s - 1) sigma) (Esser et al. 2024, eq. 23).

    Over 1, more of the steps are at high noise levels, which larger pictures need.
    """
    exponent = shift_exponent(scheduler_config, tokens)
    if exponent is None:
        return float(scheduler_config.get("shift", scheduler_config.get("flow_shift", 1.0)))
    linear = scheduler_config.get("time_shift_type") == "linear"
    return exponent if linear else math.exp(exponent)
