"""One pass of sampling over a batch, in one size; and the second one, in a larger size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..core.conditioning import Conditioning
from ..core.feature_caching import full_calls
from ..core.features import Remembering
from ..core.guidance_style import active, share_of
from ..core.large import Hires
from ..core.sampling import Inpainting, Predict, denoise, whole_steps
from ..core.shots import Mixture, Noise, Shot, Sizes, Trunk
from ..core.timeline import Timeline
from ..core.windows import whole_axes, windowed
from ..models.caching import caching_predictors
from ..models.denoiser import predictor
from ..models.parts import Parts
from ..models.samplers import build_sampler, scheduled
from ..models.scheduling import Flight
from ..models.seamless import wrapping
from ..models.transformer import check_wrapping, image_tokens
from .beginnings import Beginnings
from .embeddings import Embeddings, Row
from .hires import check_upscale, enlarged, second_flight
from .planning import area_ratio


class Sampling:
    """All that a pass takes: the denoiser, its conditioning, and what pictures begin from.

    Args:
        parts: the model.
        timeline: sampler, steps, guidance, windows.
        size: (width, height) in pixels.
        on_call: told how many pictures were evaluated after every call of the denoiser; may raise
            to stop.
    """

    def __init__(
        self,
        parts: Parts,
        timeline: Timeline,
        size: tuple[int, int],
        on_call: Callable[[int], None],
    ) -> None:
        check_wrapping(parts.denoiser, timeline.seamless)
        config = scheduled(parts.scheduler_config, timeline.spacing, timeline.eta)
        parts = replace(parts, scheduler_config=config)
        self.parts, self.timeline, self.size = parts, timeline, size
        self.embeddings = Embeddings(
            parts, timeline.prompts, timeline.steps, timeline.clip_skip, size
        )
        self.beginnings = Beginnings(
            parts, size, self.embeddings, timeline.sampler, timeline.steps, on_call
        )
        self._on_call, self._axes = on_call, str(timeline.seamless)
        if timeline.tiling is not None:
            side, _ = timeline.tiling.latents(parts.downsampling, parts.multiple)
            width, height = (length // parts.downsampling for length in size)
            self._axes = whole_axes(height, width, side, self._axes)
        self.predict = self._whole(predictor(parts))
        caching = timeline.caching
        self._both = None if caching is None else caching_predictors(parts, caching.depth)

    def _whole(self, predict: Predict) -> Predict:
        """Of a denoiser for windows, one for all of a picture; its calls are counted."""
        timeline, parts = self.timeline, self.parts
        if timeline.tiling is not None:
            side, overlap = timeline.tiling.latents(parts.downsampling, parts.multiple)
            predict = windowed(predict, side, overlap, str(timeline.seamless))
        return _counted(predict, self._on_call)

    def _remembering(self, flight: Flight) -> Remembering | None:
        """A denoiser that reuses what a flight has left of deep features."""
        caching = self.timeline.caching
        if caching is None or self._both is None:
            return None
        sampler, style = flight.sampler, self.timeline.guidance
        steps = whole_steps(sampler)
        guided = tuple(active(style, share_of(step, steps)) for step in range(steps))
        schedule = full_calls(caching, len(sampler.timesteps), int(sampler.order), guided)
        return Remembering(*self._both, schedule, flight.features, self._whole)

    def wrapping(self) -> AbstractContextManager[None]:
        """Have the denoiser wrap around along seamless axes, as far as windows do not."""
        return wrapping([self.parts.denoiser], self._axes)

    def sampler(self) -> Any:
        """A sampler at its first step."""
        width, height = (length // self.parts.downsampling for length in self.size)
        tokens = image_tokens(self.parts.denoiser, height, width)
        config = self.parts.scheduler_config
        return build_sampler(self.timeline.sampler, config, self.timeline.steps, tokens)

    def row(self, wanted: Shot | Trunk) -> Row:
        """What a shot, or a trunk, is denoised towards."""
        pair = self.embeddings.pair(wanted.prompt, wanted.negative, wanted.guidance_scale)
        beside = self.beginnings.beside(wanted if isinstance(wanted, Shot) else None)
        sizes = told_sizes(wanted.sizes or self.timeline.sizes, self.size)
        return Row(*pair, wanted.guidance_scale, sizes, beside)

    def advance(
        self,
        flight: Flight,
        rows: Sequence[Row],
        start: int,
        stop: int,
        inpainting: Inpainting | None = None,
    ) -> Flight:
        """Take the steps from start up to stop; what was given must not be used again."""
        remembering = self._remembering(flight)
        with torch.inference_mode():
            latents = denoise(
                self.predict,
                flight.sampler,
                flight.latents,
                self.embeddings.guidance(rows),
                start=start,
                stop=stop,
                generators=flight.generators,
                inpainting=inpainting,
                style=self.timeline.guidance,
                remembering=remembering,
            )
        features = remembering.features if remembering is not None else None
        return replace(flight, latents=latents, features=features)


class SecondPass:
    """Finished latents enlarged, noised in part, and denoised again; see ``core.large.Hires``."""

    def __init__(self, sampling: Sampling, hires: Hires) -> None:
        self.sampling, self.hires = sampling, hires

    @classmethod
    def of(
        cls,
        parts: Parts,
        timeline: Timeline,
        first: tuple[int, int],
        on_call: Callable[[int], None],
    ) -> SecondPass | None:
        """That of a timeline whose first pass has a size; None if it has but one."""
        if (hires := timeline.hires) is None:
            return None
        check_upscale(hires.upscale)
        size = hires.sized(first, parts.multiple)
        weight = area_ratio(first, size)
        second = replace(timeline, steps=hires.steps or timeline.steps)
        sampling = Sampling(parts, second, size, lambda count: on_call(count * weight))
        return cls(sampling, hires)

    def row(self, shot: Shot) -> Row:
        """What a shot is denoised towards in this pass."""
        scale = self.hires.guidance_scale
        return self.sampling.row(shot if scale is None else replace(shot, guidance_scale=scale))

    def latents(
        self, finished: Tensor, noises: Sequence[Noise | Mixture], rows: Sequence[Row]
    ) -> Tensor:
        """Latents (N, C, H, W) of those (N, C, h, w) of the first pass."""
        sampling, hires = self.sampling, self.hires
        steps, axes = sampling.timeline.steps, sampling.timeline.seamless
        start = hires.first_step(steps)
        large = (sampling.parts, finished, sampling.size, hires.upscale)
        with wrapping([sampling.parts.vae], axes):
            if start == steps:
                return enlarged(*large, axes)
            flight = second_flight(*large, noises, sampling.sampler(), start, axes)
        with sampling.wrapping():
            return sampling.advance(flight, rows, start, steps).latents


def told_sizes(sizes: Sizes | None, size: tuple[int, int]) -> tuple[float, ...] | None:
    """Original height and width, top and left, target height and width; None for the film's own."""
    if sizes is None:
        return None
    width, height = sizes.target or size
    return (*reversed(sizes.original), *reversed(sizes.crop), height, width)


def _counted(predict: Predict, on_call: Callable[[int], None]) -> Predict:
    def run(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        output = predict(latents, time, conditioning)
        on_call(len(latents))
        return output

    return run
