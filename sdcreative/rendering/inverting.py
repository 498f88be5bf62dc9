"""Pictures that are there already as initial noise, and what sampling from it misses of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..core.inversion import FlowPath, Path, invert
from ..core.sampling import denoise, initial_latents
from ..core.shots import Inversion
from ..errors import UsageError
from ..models.denoiser import predictor
from ..models.flow import is_flow
from ..models.loading import Parts
from ..models.samplers import build_sampler
from ..models.transformer import image_tokens
from .embeddings import Embeddings, Row, remember

REMEMBERED = 16


@dataclass(frozen=True, eq=False)
class Inverted:
    """A picture's noise, and its latents less those that sampling from that noise gives.

    Attributes:
        noise: (C, h, w), on the CPU.
        missed: (C, h, w), on the model's device.
    """

    noise: Tensor
    missed: Tensor


class Inverter:
    """Inverts pictures with one model; remembers the last ones.

    The noise is found without guidance, which would drive it away from a normal distribution: at
    a scale of 4 and more nothing is recognised of what lies between two pictures. What guidance
    adds when the film is sampled is part of what is missed, and is taken off again as far as a
    shot begins from this picture.
    """

    def __init__(
        self,
        parts: Parts,
        embeddings: Embeddings,
        encode: Callable[[Any], Tensor],
        beside: Callable[[], Tensor | None],
        sampler: str,
        steps: int,
        on_call: Callable[[int], None],
    ) -> None:
        self.parts, self.embeddings = parts, embeddings
        self.encode, self.beside = encode, beside
        self.sampler, self.steps, self.on_call = sampler, steps, on_call
        self.predict = predictor(parts)
        self._known: OrderedDict[int, tuple[Inversion, Inverted]] = OrderedDict()

    def of(self, wanted: Inversion) -> Inverted:
        """The inversion; it is kept beside its description so that its id stays its own.

        Raises:
            UsageError: a model that does not sample from noise of fixed variance.
        """
        return remember(self._known, id(wanted), REMEMBERED, lambda: (wanted, self._make(wanted)))[
            1
        ]

    def _make(self, wanted: Inversion) -> Inverted:
        clean = self.encode(wanted.image)
        config, steps = self.parts.scheduler_config, self.steps
        tokens = image_tokens(self.parts.denoiser, *clean.shape[-2:])
        with torch.inference_mode():
            noise = invert(
                self.predict,
                clean,
                self._guidance(wanted, 1.0),
                self._path(tokens),
                on_call=self.on_call,
            )
            sampler = build_sampler(self.sampler, config, steps, tokens)
            passes = 1 if wanted.guidance_scale == 1 or self.parts.told_guidance else 2
            again = denoise(
                self.predict,
                sampler,
                initial_latents(sampler, noise, None, 0),
                self._guidance(wanted, wanted.guidance_scale),
                start=0,
                stop=steps,
                generators=[torch.Generator().manual_seed(0)],
                on_call=lambda count: self.on_call(count * passes),
            )
        return Inverted(noise[0].cpu(), (clean - again)[0])

    def _guidance(self, wanted: Inversion, scale: float) -> Any:
        pair = self.embeddings.pair(wanted.prompt, wanted.negative, scale)
        return self.embeddings.guidance([Row(*pair, scale, None, self.beside())])

    def _path(self, tokens: int | None) -> Path | FlowPath:
        config = self.parts.scheduler_config
        if is_flow(config):
            euler = build_sampler("Euler", config, self.steps, tokens)
            return FlowPath(euler.timesteps, euler.sigmas.to(self.parts.device))
        kind = config.get("prediction_type", "epsilon")
        ddim = build_sampler("DDIM", config, self.steps)
        if kind not in ("epsilon", "v_prediction", "sample") or not hasattr(ddim, "alphas_cumprod"):
            raise UsageError(
                f"this model predicts {kind!r}; only models with epsilon, v_prediction, sample "
                "or flow can begin from a picture's noise; start from the picture itself"
            )
        alphas = ddim.alphas_cumprod[ddim.timesteps.cpu()]
        last = torch.as_tensor(ddim.final_alpha_cumprod).reshape(1)
        return Path(ddim.timesteps, torch.cat([alphas, last]).to(self.parts.device), kind)


def missed_by(
    inverter: Inverter, ends: Sequence[tuple[int | Inversion | None, float]]
) -> Tensor | None:
    """(C, h, w): what a shot misses of the pictures it begins from, by their weights."""
    found = [
        weight * inverter.of(end).missed
        for end, weight in ends
        if isinstance(end, Inversion) and weight
    ]
    return sum(found[1:], found[0]) if found else None
