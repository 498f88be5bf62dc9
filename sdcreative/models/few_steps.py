"""Models that were distilled to take few steps: recognised, and what each needs. No torch.

Some say so in their configuration, some only by the name of a file. Nothing is changed by it: a
line tells what the model wants where the settings are far from it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .fitting import prediction_of
from .places import ModelPlace

if TYPE_CHECKING:
    from .opening import Source


@dataclass(frozen=True)
class FewSteps:
    """What a kind of few-step model needs to come out right.

    Attributes:
        title: as people call it.
        samplers: that it works with, the best first.
        steps: fewest and most.
        scales: least and highest guidance scale.
        spacing: of the timesteps; None where the sampler has its own.
    """

    title: str
    samplers: tuple[str, ...]
    steps: tuple[int, int]
    scales: tuple[float, float]
    spacing: str | None = None

    def needs(self) -> str:
        """The same as settings."""
        steps = f"{self.steps[0]} to {self.steps[1]}"
        scales = _span(*self.scales)
        spacing = "" if self.spacing is None else f", spacing {self.spacing}"
        return f"sampler {self.samplers[0]}, steps {steps}, guidance_scale {scales}{spacing}"

    def suits(self, sampler: str, steps: int, scale: float, spacing: str) -> bool:
        """Whether settings are what it needs; a spacing of None is left to the sampler."""
        return (
            sampler in self.samplers
            and self.steps[0] <= steps <= self.steps[1]
            and self.scales[0] <= scale <= self.scales[1]
            and self.spacing in (None, spacing)
        )


LCM = FewSteps("LCM", ("LCM",), (2, 8), (3, 13))
LCM_LORA = FewSteps("LCM", ("LCM",), (4, 8), (1, 2))
TCD = FewSteps("TCD", ("TCD",), (2, 8), (1, 1))
HYPER = FewSteps("Hyper-SD", ("TCD", "DDIM"), (1, 8), (1, 1))
TURBO = FewSteps("Turbo", ("Euler a", "Euler"), (1, 4), (1, 1), "trailing")
LIGHTNING = FewSteps("Lightning", ("Euler",), (1, 8), (1, 1), "trailing")

_NAMES = {"lcm": LCM_LORA, "hyper": HYPER, "tcd": TCD, "turbo": TURBO, "lightning": LIGHTNING}
"""a word in the name of a file or folder -> what it is likely to be"""


def told_guidance(model: Source) -> bool:
    """Whether the denoiser is told the guidance scale, and needs one evaluation for it.

    A U-Net of latent consistency models has an input for it (``time_cond_proj_dim``).
    """
    return model.configs[model.family.denoiser].get("time_cond_proj_dim") is not None


def recognise(model: Source, place: ModelPlace) -> FewSteps | None:
    """The kind of few-step model that a model, or a LoRA that is added to it, is likely to be.

    Args:
        model: its configurations.
        place: what the settings name.
    """
    if told_guidance(model):
        return LCM
    named = [place.path.stem if place.path.is_file() else place.path.name]
    named += [one.path.stem for one in place.addons.loras]
    return _by_scheduler(model.scheduler) or _by_name(named)


def _by_scheduler(config: Mapping[str, Any]) -> FewSteps | None:
    kind = str(config.get("_class_name"))
    if kind == "LCMScheduler":
        return LCM_LORA
    if kind == "TCDScheduler":
        return TCD
    if config.get("timestep_spacing") != "trailing" or prediction_of(config) != "epsilon":
        return None
    # Schedules that end in pure noise are sampled so too; such models predict velocities.
    return {"EulerAncestralDiscreteScheduler": TURBO, "EulerDiscreteScheduler": LIGHTNING}.get(kind)


def _by_name(names: Iterable[str]) -> FewSteps | None:
    words = [word for name in names for word in re.split(r"[^a-z]+", name.lower())]
    for part, kind in _NAMES.items():
        if any(word.startswith(part) or word.endswith(part) for word in words):
            return kind
    return None


def few_step_notes(
    model: Source,
    place: ModelPlace,
    *,
    sampler: str,
    steps: int,
    scale: float,
    spacing: str,
    negative: bool = False,
) -> tuple[str, ...]:
    """What people should know who use a few-step model otherwise than it wants; one line each.

    Args:
        model: its configurations.
        place: what the settings name.
        sampler: canonical.
        steps: of the sampler.
        scale: of guidance.
        spacing: as in the settings.
        negative: whether there is a negative prompt.
    """
    notes = []
    found = recognise(model, place)
    if spacing == "auto":
        spacing = str(model.scheduler.get("timestep_spacing"))
    if found is not None and not found.suits(sampler, steps, scale, spacing):
        notes.append(f"this is likely a few-step model ({found.title}): {found.needs()}")
    if negative and told_guidance(model):
        notes.append("this model is told the guidance scale; negative prompts do nothing")
    return tuple(notes)


def _span(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
