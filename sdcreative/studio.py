"""The facade: load a model, make a picture, render a timeline."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from .core.shots import Blend, Noise, Shot
from .core.timeline import Timeline
from .errors import UsageError
from .media.replay import there_and_back
from .models.loading import Parts, load_parts
from .models.placement import pick_device, pick_dtype
from .models.places import ModelPlace, as_place
from .models.sizes import fit_size
from .models.sources import fetch, resolve
from .rendering.planning import Plan

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor

    from .rendering.warming import Warming
    from .runs.kept import Kept


@dataclass(frozen=True, eq=False)
class Studio:
    """A loaded model, ready to make pictures.

    >>> studio = Studio.load("emoji")
    >>> studio.picture("a picture of a bear", seed=1, steps=4).size
    (64, 64)

    Attributes:
        parts: the model.
        compiling: whether films are rendered with its layers compiled; auto does so on CUDA, where
            a film is long enough for that to pay back.
        report: told in a line if they should be and cannot.
    """

    parts: Parts
    compiling: Literal["auto", "on", "off"] = "auto"
    report: Callable[[str], None] = lambda line: None

    @classmethod
    def load(
        cls,
        model: str | ModelPlace = "emoji",
        *,
        device: str = "auto",
        dtype: str = "auto",
        offline: bool = False,
        prediction_type: str | None = None,
        ema: bool = False,
        low_memory: bool = False,
        compiling: Literal["auto", "on", "off"] = "auto",
        report: Callable[[str], None] = lambda line: None,
    ) -> Studio:
        """Load a model.

        Args:
            model: built-in name, folder of a diffusers model, single checkpoint file, or id on the
                Hugging Face hub; or a place, which says how it is read.
            device: auto, cpu, mps, cuda or cuda:1.
            dtype: auto (float16 on CUDA, else float32), float32, float16 or bfloat16.
            offline: never ask the hub; HF_HUB_OFFLINE=1 does the same.
            prediction_type: epsilon or v_prediction, whatever the model says.
            ema: the averaged weights of a single file that also has the last ones.
            low_memory: keep only what is at work on the device, and decode in tiles.
            compiling, report: see the attributes.

        Raises:
            ModelError: not found, or not to be trusted.
            UsageError: device or dtype that this machine lacks.
        """
        # A device that this machine lacks is said before anything is downloaded.
        where = pick_device(device)
        precision = pick_dtype(dtype, where)
        if not isinstance(model, ModelPlace):
            path = fetch(resolve(model, offline=offline), offline)
            model = ModelPlace(path, prediction_type, ema)
        parts = load_parts(model, device=where, dtype=precision, low_memory=low_memory)
        return cls(parts, compiling, report)

    @property
    def size(self) -> tuple[int, int]:
        """The model's own (width, height) in pixels."""
        return self.parts.sample_size

    def picture(
        self,
        prompt: str,
        *,
        seed: int = 0,
        negative_prompt: str = "",
        guidance_scale: float = 7.5,
        steps: int = 20,
        sampler: str = "DPM++ 2M",
        size: tuple[int, int] | None = None,
        image: Image | None = None,
        mask: Image | None = None,
        strength: float = 1.0,
    ) -> Image:
        """One picture; the arguments are those of ``Shot`` and ``Timeline``."""
        shot = Shot(
            Blend(prompt),
            Noise(seed),
            Blend(negative_prompt),
            guidance_scale,
            image=image,
            mask=mask,
            strength=strength,
        )
        timeline = Timeline(lambda: [shot], length=1, steps=steps, sampler=sampler, size=size)
        [picture] = self.render(timeline)
        return picture

    def render(
        self,
        timeline: Timeline,
        *,
        batch_size: int | None = None,
        kept: Kept | None = None,
        on_evaluations: Callable[[int], None] = lambda count: None,
    ) -> Generator[Image, None, None]:
        """The pictures of a timeline, in order; on a GPU made in threads, some batches ahead.

        Memory does not grow with the number of frames. Closing the iterator stops the work.

        Args:
            timeline: what to render.
            batch_size: pictures denoised together; None suits it to the device and the size.
                Where memory ends, it is halved.
            kept: frames that are finished already, and where new ones go.
            on_evaluations: told of finished U-Net evaluations, perhaps from another thread.

        Raises:
            UsageError: a size that the model cannot make, or values that do not go together.
            RenderError: a picture came out as NaN.
        """
        from .rendering.overlapping import overlapped

        if (studio := self._suited(timeline)) is not self:
            return studio.render(
                timeline, batch_size=batch_size, kept=kept, on_evaluations=on_evaluations
            )
        size = self.check_size(timeline.size)
        if batch_size is not None and batch_size < 1:
            raise UsageError(f"batch_size is {batch_size}; give at least 1")
        batch = self.suggested_batch_size(size) if batch_size is None else batch_size
        compiled = self._warming.of(timeline, size, batch, kept)
        parts = self.parts if compiled is None else replace(self.parts, compiled=compiled)
        pictures = overlapped(parts, timeline, size, batch, on_evaluations, kept)
        if compiled is not None:
            pictures = compiled.serving(pictures)
        return there_and_back(pictures) if timeline.ping_pong else pictures

    def measuring(self, timeline: Timeline) -> Studio:
        """A studio whose pictures take as long as those of a timeline, for ``estimate_seconds``.

        Raises:
            UsageError: a device that cannot do what the timeline asks for.
        """
        from .rendering.previewing import parts_for

        return replace(self, parts=parts_for(self.parts, timeline, fitted=False))

    def preview_said(self, timeline: Timeline) -> str:
        """One line on how a preview is made, and how good it is."""
        from .rendering.previewing import said_of

        return said_of(self._suited(timeline).parts)

    def _suited(self, timeline: Timeline) -> Studio:
        """The studio of a timeline that wants another decoder, or other layers; else this one."""
        from .rendering.previewing import parts_for

        parts = parts_for(self.parts, timeline)
        if parts is self.parts:
            return self
        return self._others.setdefault(id(parts), replace(self, parts=parts))

    @cached_property
    def _others(self) -> dict[int, Studio]:
        return {}

    @cached_property
    def _warming(self) -> Warming:
        from .rendering.warming import Warming

        return Warming(self.parts, self.compiling, self.report)

    def check_size(self, size: tuple[int, int] | None) -> tuple[int, int]:
        """The size itself, or the model's own for None.

        Raises:
            UsageError: a side that is no multiple of the model's step; the nearest is named.
        """
        return fit_size(size, self.parts.sample_size, self.parts.multiple)

    def suggested_batch_size(self, size: tuple[int, int]) -> int:
        """Pictures to denoise together where nobody says.

        As many as keep the device busy, and as a GPU's free memory takes beside the model.
        """
        if self.parts.low_memory:
            return 1
        from .models.room import suited_batch

        return suited_batch(self.parts, size[0] * size[1] // self.parts.downsampling**2)

    def estimate_seconds(self, plan: Plan, size: tuple[int, int], batch_size: int) -> float:
        """Seconds that a plan will take here, from timed U-Net calls and decodings."""
        import torch

        from .core.guidance import predict_guided
        from .models.caching import timed_share
        from .models.denoiser import predictor
        from .models.vae import decode_latents
        from .rendering.embeddings import Embeddings, Row

        factor = self.parts.downsampling
        shape = (self.parts.latent_channels, size[1] // factor, size[0] // factor)
        count = min(batch_size, plan.shots)
        embeddings = Embeddings(self.parts, size=size)
        scale = 7.5 if plan.widest > 1 else 1.0
        pair = embeddings.pair(Blend(""), Blend(""), scale)
        rows = [Row(*pair, scale, beside=self._beside(shape))]
        guidance = embeddings.guidance(rows * count)
        latents = torch.zeros(count, *shape, device=self.parts.device)
        predict = predictor(self.parts)
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            with torch.inference_mode():
                latents = predict_guided(predict, latents, torch.tensor(500), guidance)
                float(latents.sum())
            seconds.append(time.perf_counter() - began)
        pictures = torch.zeros(min(batch_size, plan.rendered), *shape, device=self.parts.device)
        decoding = []
        for _ in range(2):
            began = time.perf_counter()
            decode_latents(self.parts, pictures)
            decoding.append(time.perf_counter() - began)
        calls: float = plan.evaluations + plan.probing
        if plan.shallow:
            share = timed_share(self.parts, plan.depth, latents, guidance)
            calls -= plan.shallow * (1 - share)
        asked = 1 if guidance.unconditional is None else 2
        denoising = calls * min(seconds) / (asked * count)
        return denoising + (plan.rendered + plan.probes) * min(decoding) / len(pictures)

    def _beside(self, shape: tuple[int, ...]) -> Tensor | None:
        """Zeros in the shape of what an inpainting checkpoint sees beside latents of that shape."""
        import torch

        channels, height, width = shape
        device = self.parts.device
        return (
            torch.zeros(channels + 1, height, width, device=device) if self.parts.inpaints else None
        )


class Studios:
    """The model that was loaded last, for jobs that come one after another."""

    def __init__(self) -> None:
        self._last: tuple[tuple[object, ...], Studio] | None = None

    def load(
        self,
        place: Path | ModelPlace,
        device: str,
        dtype: str,
        low_memory: bool = False,
        compiling: Literal["auto", "on", "off"] = "auto",
        report: Callable[[str], None] = lambda line: None,
    ) -> Studio:
        """A model from a folder or file; the one before it is let go first."""
        place = as_place(place)
        wanted = (place, device, dtype, low_memory, compiling)
        if self._last is None or self._last[0] != wanted:
            self._last = None
            studio = Studio.load(
                place,
                device=device,
                dtype=dtype,
                low_memory=low_memory,
                compiling=compiling,
                report=report,
            )
            self._last = wanted, studio
        return self._last[1]
