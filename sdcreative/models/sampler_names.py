"""The names of samplers and what is known of each, without importing torch.

Names are those of AUTOMATIC1111; case, spaces, underscores and hyphens do not matter, and the
names of k-diffusion's functions ("dpmpp_2m", "euler_ancestral") are understood too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.spacing import Spacing
from ..errors import UsageError


@dataclass(frozen=True)
class Sampler:
    """What is known of a sampler before it is built.

    Attributes:
        name: canonical name.
        stochastic: draws noise at every step, so ``step`` wants one generator per picture.
        calls: U-Net calls per step; the last step of those with two takes one.
        most_steps: upper limit of steps, or None.
        karras: follows the noise levels of Karras et al. 2022, equation 5.
        flow: also samples from models of flow matching, such as Stable Diffusion 3.
        own_spacing: takes the timesteps that few-step models were distilled on, and no others.
    """

    name: str
    stochastic: bool = False
    calls: int = 1
    most_steps: int | None = None
    karras: bool = False
    flow: bool = False
    own_spacing: bool = False

    def unet_calls(self, steps: int) -> int:
        """U-Net calls for so many steps."""
        return self.calls * (steps - 1) + 1


_BASES = (
    (Sampler("Euler", flow=True), True),
    (Sampler("Euler a", stochastic=True, flow=True), False),
    (Sampler("Heun", calls=2, flow=True), True),
    (Sampler("LMS"), True),
    (Sampler("DDIM"), False),
    (Sampler("DPM++ 2M", flow=True), True),
    (Sampler("DPM++ 2M SDE", stochastic=True, flow=True), True),
    (Sampler("DPM++ SDE", stochastic=True, calls=2), True),
    (Sampler("UniPC", flow=True), True),
    (Sampler("LCM", stochastic=True, most_steps=50, flow=True, own_spacing=True), False),
    (Sampler("TCD", stochastic=True, most_steps=50, own_spacing=True), False),
)

SAMPLERS: dict[str, Sampler] = {}
for _base, _karras in _BASES:
    SAMPLERS[_base.name] = _base
    if _karras:
        _name = f"{_base.name} Karras"
        SAMPLERS[_name] = Sampler(
            _name, _base.stochastic, _base.calls, _base.most_steps, karras=True
        )

NAMES = tuple(SAMPLERS)

PLUGIN_SAMPLERS: dict[str, Callable[[Mapping[str, Any]], Any]] = {}
"""Samplers of plugins: name -> builder of a scheduler from a scheduler's configuration."""

_ALIASES = {"eulerancestral": "Euler a"}


def canonical(name: str) -> str:
    """The canonical form of a sampler's name.

    Raises:
        UsageError: no sampler has that name.

    >>> canonical("dpmpp_2m_karras"), canonical("k_euler"), canonical("Euler ancestral")
    ('DPM++ 2M Karras', 'Euler', 'Euler a')
    """
    known = {_squeeze(one): one for one in (*SAMPLERS, *PLUGIN_SAMPLERS)} | _ALIASES
    squeezed = _squeeze(name)
    for form in (squeezed, squeezed.removeprefix("sample"), squeezed.removeprefix("k")):
        if form in known:
            return known[form]
    close = difflib.get_close_matches(squeezed, known, n=1, cutoff=0.5)
    hint = f"did you mean {known[close[0]]!r}?" if close else f"choose from {', '.join(SAMPLERS)}"
    raise UsageError(f"no sampler is named {name!r}; {hint}")


def describe(name: str) -> Sampler:
    """What is known of a sampler, under any spelling; a plugin's counts as stochastic.

    Raises:
        UsageError: no sampler has that name.
    """
    name = canonical(name)
    return SAMPLERS.get(name, Sampler(name, stochastic=True))


def check_steps(name: str, steps: int) -> None:
    """Refuse a number of steps that a sampler cannot do.

    Raises:
        UsageError: out of range, or no sampler has that name.
    """
    most = describe(name).most_steps or 1000
    if not 1 <= steps <= most:
        raise UsageError(f"{canonical(name)} takes 1 to {most} steps, not {steps}")


def check_flow(name: str) -> None:
    """Refuse a sampler that knows no flow matching; what a plugin's knows is left to it.

    Noise is added there on straight lines from picture to noise, so that the noise levels of
    Karras et al., and solvers written for other ways of adding it, do not apply.

    Raises:
        UsageError: it does not, or no sampler has that name.
    """
    name = canonical(name)
    if name in SAMPLERS and not SAMPLERS[name].flow:
        able = ", ".join(one.name for one in SAMPLERS.values() if one.flow)
        raise UsageError(
            f"sampler {name} does not work with models of flow matching, such as "
            f"Stable Diffusion 3; choose from {able}"
        )


def check_spacing(name: str, spacing: Spacing, flow: bool = False) -> None:
    """Refuse a spacing of timesteps where it would do nothing.

    Args:
        name: of a sampler.
        spacing: auto leaves it to the model.
        flow: whether the model is one of flow matching.

    Raises:
        UsageError: the sampler, or the model, has its own.
    """
    if spacing == "auto":
        return
    name = canonical(name)
    if flow:
        raise UsageError(
            f"spacing {spacing}: models of flow matching, such as Stable Diffusion 3, have their "
            "own; leave it out"
        )
    if name in SAMPLERS and SAMPLERS[name].own_spacing:
        raise UsageError(
            f"spacing {spacing}: sampler {name} takes the timesteps that few-step models were "
            "distilled on; leave it out, or choose another sampler"
        )


def check_eta(name: str, eta: float | None) -> None:
    """Refuse a share of new noise for a sampler that takes none.

    Raises:
        UsageError: a sampler other than TCD.
    """
    if eta is not None and canonical(name) != "TCD":
        raise UsageError(f"eta is for sampler TCD, not {canonical(name)}; leave it out")


def _squeeze(name: str) -> str:
    return re.sub(r"[\s_\-]", "", name.lower()).replace("+", "p")
