"""The denoiser of a model in full and in its shallow part, as the denoise loop calls both."""

from __future__ import annotations

from dataclasses import fields
from time import perf_counter
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.features import Full, Remembering, Shallow, rows_of
from ..core.guidance import predict_guided
from ..errors import UsageError
from .denoiser import added_conditions, beside
from .prompt_keys import PromptKeys
from .shallow import FullUnet, ShallowUnet, full_and_shallow
from .shallow_transformer import transformer_full_and_shallow

if TYPE_CHECKING:
    from ..core.sampling import Guidance
    from .compiling import Compiled
    from .parts import Parts


def caching_predictors(parts: Parts, depth: int) -> tuple[Full, Shallow]:
    """The denoiser in both ways, as the denoise loop calls them; in the denoiser's own dtype.

    Args:
        parts: the model.
        depth: see ``full_and_shallow`` and ``transformer_full_and_shallow``.

    Raises:
        UsageError: a depth that the model does not have, layers of another kind, a model that is
            told the guidance scale, or one whose layers come to the device one at a time.
    """
    _check_layers_stay(parts.denoiser)
    if parts.told_guidance:
        raise UsageError(
            "cache: this model is told the guidance scale and takes so few steps that none can be "
            "left out; leave cache and speed fast out"
        )
    if parts.compiled is None:
        return _predictors(parts, depth, remembering=not parts.low_memory)
    fast = _predictors(parts.compiled.parts, depth, remembering=False)
    return _compiled(parts.compiled, _predictors(parts, depth, remembering=True), fast)


def timed_share(parts: Parts, depth: int, latents: Tensor, guidance: Guidance) -> float:
    """Seconds of a shallow call over those of a full one, on this machine, at most 1.

    Args:
        parts: the model.
        depth: of the shallow call.
        latents: (N, C, h, w) to time it with.
        guidance: of these.
    """
    both = caching_predictors(parts, depth)
    caching = Remembering(*both, (True, False))
    times: tuple[list[float], list[float]] = ([], [])
    with torch.inference_mode():
        for call in (0, 1, 0, 1):
            began = perf_counter()
            predict = caching.at(call, guidance)
            float(predict_guided(predict, latents, torch.tensor(500), guidance).sum())
            times[call].append(perf_counter() - began)
    return min(1.0, min(times[1]) / min(times[0]))


def _check_layers_stay(denoiser: Any) -> None:
    from diffusers.hooks.group_offloading import _is_group_offload_enabled

    if _is_group_offload_enabled(denoiser):
        raise UsageError(
            "features cannot be cached where a model's layers come to the device one at a time, in "
            "the order of a whole call; leave cache and speed fast out, or free memory there"
        )


def _predictors(parts: Parts, depth: int, remembering: bool) -> tuple[Full, Shallow]:
    if parts.transformer is not None:
        return transformer_full_and_shallow(parts.transformer, depth)
    unet = parts.unet
    dtype: torch.dtype = unet.dtype
    own = both = full_and_shallow(unet, depth)
    keys = PromptKeys(unet) if remembering else None
    if keys is not None:
        both = full_and_shallow(keys.unet(), depth)

    def ways() -> tuple[FullUnet, ShallowUnet]:
        return own if keys is None or keys.unet() is unet else both

    def words(conditioning: Conditioning) -> Tensor:
        told = conditioning.embeddings
        return told.to(dtype) if keys is None else keys.cast(told, dtype)

    def full(latents: Tensor, time: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        told, added = words(conditioning), added_conditions(unet, conditioning)
        return ways()[0](latents.to(dtype), beside(time, latents), told, added)

    def shallow(
        latents: Tensor, time: Tensor, conditioning: Conditioning, features: Tensor
    ) -> Tensor:
        told, added = words(conditioning), added_conditions(unet, conditioning)
        return ways()[1](latents.to(dtype), beside(time, latents), told, added, features)

    return full, shallow


def _compiled(
    compiled: Compiled, plain: tuple[Full, Shallow], fast: tuple[Full, Shallow]
) -> tuple[Full, Shallow]:
    """Both, called compiled wherever that can be; a batch with fewer rows is filled up."""

    def full(latents: Tensor, time: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        def filled(rows: int) -> tuple[Tensor, Tensor]:
            which = _filling(latents, rows)
            found = fast[0](latents[which], time, rows_of(conditioning, which))
            return found[0][: len(latents)], found[1][: len(latents)]

        made: tuple[Tensor, Tensor] = compiled.call(
            _form("full", latents, conditioning),
            len(latents),
            filled,
            lambda: plain[0](latents, time, conditioning),
        )
        return made

    def shallow(
        latents: Tensor, time: Tensor, conditioning: Conditioning, features: Tensor
    ) -> Tensor:
        def filled(rows: int) -> Tensor:
            which = _filling(latents, rows)
            told = rows_of(conditioning, which)
            return fast[1](latents[which], time, told, features[which])[: len(latents)]

        made: Tensor = compiled.call(
            _form("shallow", latents, conditioning),
            len(latents),
            filled,
            lambda: plain[1](latents, time, conditioning, features),
        )
        return made

    return full, shallow


def _filling(latents: Tensor, rows: int) -> Tensor:
    """Numbers of so many rows: those there are, then the last one again."""
    return torch.arange(rows, device=latents.device).clamp(max=len(latents) - 1)


def _form(kind: str, latents: Tensor, conditioning: Conditioning) -> tuple[object, ...]:
    told = (getattr(conditioning, field.name) for field in fields(conditioning))
    shapes = (None if each is None else tuple(each.shape[1:]) for each in told)
    return ("denoiser", kind, *latents.shape[1:], *shapes)
