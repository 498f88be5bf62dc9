"""A scheduler's configuration, read and checked before anything is computed by it.

Samplers take from it how many levels of noise there are and how they lie; what cannot be is found
here, and not in the middle of a render. Imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..errors import ModelError
from .checks import read_json
from .strangers import shown

LEAST_TIMESTEPS, MOST_TIMESTEPS = 100, 100_000
"""that a noise schedule has; published models have 1,000"""
_FLAGS = (
    "rescale_betas_zero_snr", "set_alpha_to_one", "use_dynamic_shifting", "use_karras_sigmas",
    "use_exponential_sigmas", "use_beta_sigmas", "use_flow_sigmas",
)  # fmt: skip


def read_scheduler(path: Path, what: str = "scheduler") -> dict[str, Any]:
    """The content of a ``scheduler_config.json``.

    Args:
        path: of the file.
        what: it is, for messages.

    Raises:
        ModelError: missing, no JSON, or with values that no noise schedule has.
    """
    config = read_json(path, what)
    for key, (holds, expected) in _RULES.items():
        if key in config and not holds(config[key]):
            raise _wrong(what, path, key, config[key], expected)
    _check_betas(config, path, what)
    few, many = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    if few >= many:
        raise _wrong(what, path, "max_image_seq_len", many, f"over base_image_seq_len ({few})")
    return config


def _wrong(what: str, path: Path, key: str, value: object, expected: str) -> ModelError:
    return ModelError(
        f"{what}: {path} has {key} {shown(value)}, expected {expected}; the file is damaged, or "
        "not a scheduler's"
    )


def _check_betas(config: Mapping[str, Any], path: Path, what: str) -> None:
    betas = config.get("trained_betas")
    count = config.get("num_train_timesteps", 1000)
    if betas is None:
        return
    if not isinstance(betas, list) or len(betas) != count or not all(map(_is_beta, betas)):
        raise _wrong(what, path, "trained_betas", betas, f"{count} numbers between 0 and 1")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and type(value) is not bool and abs(value) < 1e6


def _is_beta(value: Any) -> bool:
    return _is_number(value) and 0 < value < 1


def _whole(least: int, most: int) -> tuple[Callable[[Any], bool], str]:
    return lambda value: type(value) is int and least <= value <= most, (
        f"a whole number from {least} to {most}"
    )


def _one_of(*names: str | None) -> tuple[Callable[[Any], bool], str]:
    known = ", ".join(str(name) for name in names if name)
    return lambda value: value in names, f"one of {known}"


_BETA = (_is_beta, "a number between 0 and 1")
_FLAG: tuple[Callable[[Any], bool], str] = (
    lambda value: value is None or isinstance(value, bool),
    "true or false",
)
_POSITIVE: tuple[Callable[[Any], bool], str] = (
    lambda value: _is_number(value) and value > 0,
    "a number over 0",
)
_EXPONENT: tuple[Callable[[Any], bool], str] = (
    lambda value: _is_number(value) and math.fabs(value) <= 20,
    "a number from -20 to 20",
)
_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "num_train_timesteps": _whole(LEAST_TIMESTEPS, MOST_TIMESTEPS),
    "beta_start": _BETA,
    "beta_end": _BETA,
    "beta_schedule": _one_of("linear", "scaled_linear", "squaredcos_cap_v2"),
    "timestep_spacing": _one_of("leading", "linspace", "trailing"),
    "steps_offset": _whole(0, MOST_TIMESTEPS),
    "shift": _POSITIVE,
    "flow_shift": _POSITIVE,
    "base_image_seq_len": _whole(1, MOST_TIMESTEPS),
    "max_image_seq_len": _whole(1, MOST_TIMESTEPS),
    "base_shift": _EXPONENT,
    "max_shift": _EXPONENT,
    "time_shift_type": _one_of("exponential", "linear"),
    "shift_terminal": (
        lambda value: value is None or _is_beta(value),
        "nothing, or a number between 0 and 1",
    ),
    **dict.fromkeys(_FLAGS, _FLAG),
}
"""key -> (whether a value can be, what can)"""
