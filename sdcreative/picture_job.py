"""A picture tool's settings, checked against their model: what is rendered, and under which names.

Two machines that make the same job of the same settings make the same frames.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from . import __version__
from .core.timeline import Timeline
from .errors import UsageError
from .models.digests import model_digest
from .models.facts import reading_notes
from .models.few_steps import few_step_notes
from .models.opening import Source, open_model
from .models.places import ModelPlace, locate
from .models.sizes import Pixels, film_sizes
from .provenance import library_versions
from .runs.home import models_file
from .runs.keys import frame_keys
from .runs.manifest import Manifest
from .runs.run import run_id
from .serving import check_serves
from .settings import PLACES, RenderSettings
from .tools import PictureTool, Report


@dataclass(frozen=True)
class PictureJob:
    """What a tool makes of its settings, with which model.

    Attributes:
        tool, settings: whose timeline it is.
        timeline: as planned; not yet at equal visual steps, where it asks for that.
        place, model: the weights, none of which is read yet.
        sizes: (width, height) in which is denoised first, and of the pictures that come out.
    """

    tool: PictureTool
    settings: RenderSettings
    timeline: Timeline
    place: ModelPlace
    model: Source
    sizes: tuple[Pixels, Pixels]

    @classmethod
    def of(
        cls, tool: PictureTool, settings: RenderSettings, report: Report = lambda line: None
    ) -> PictureJob:
        """Plan a timeline, and find out whether its model can make it.

        Raises:
            UsageError, ModelError: what is wrong with the settings or the model.
        """
        timeline = tool.plan(settings)
        if len(timeline) == 0:
            raise UsageError(f"{tool.name}: these settings give no frames")
        place = locate(settings)
        for note in reading_notes(place):
            report(note)
        model = open_model(place)
        sizes = film_sizes(timeline, model)
        check_serves(timeline, model, sizes[1])
        for note in few_step_notes(
            model,
            place,
            sampler=timeline.sampler,
            steps=timeline.steps,
            scale=settings.guidance_scale,
            spacing=timeline.spacing,
            negative=bool(getattr(settings, "negative_prompt", "")),
        ):
            report(note)
        return cls(tool, settings, timeline, place, model, sizes)

    @cached_property
    def digest(self) -> str:
        """Of the model."""
        return model_digest(self.place, models_file())

    def keys(self, timeline: Timeline, dtype: str) -> list[str]:
        """The key of every frame of this timeline, or of one made of it."""
        return list(frame_keys(timeline, model=self.digest, size=self.sizes[0], dtype=dtype))

    def manifest(
        self, name: str, *, output: str, metadata: bool, device: str, dtype: str
    ) -> Manifest:
        """What is known of a run before it begins.

        Args:
            name: of the output where the settings give none.
            output: the file or folder, absolute.
            metadata: whether it carries its settings.
            device, dtype: where and how precisely it is computed.
        """
        settings = self.settings
        resolved = settings.model_dump(mode="json", exclude=PLACES)
        return Manifest(
            id=run_id(self.tool.name, name, resolved, self.digest, self.sizes[1]),
            tool=self.tool.name,
            name=name,
            settings=given(settings),
            folder=os.getcwd(),
            metadata=metadata,
            model_name=settings.model,
            model=self.digest,
            size=self.sizes[1],
            dtype=dtype,
            device=device,
            seed=settings.seed,
            versions={"sdcreative": __version__, **library_versions()},
            frames=len(self.timeline),
            began=time.time(),
            output=output,
        )

    @property
    def sure_bytes(self) -> int:
        """Prompts of at most so many bytes are of one length for the model; 0 if none is sure.

        A token is at least one byte, and two mark the ends. A word that was learned by textual
        inversion may be many tokens.
        """
        configs = self.model.configs
        context = configs["text_encoder"].get("max_position_embeddings")
        if self.place.addons.embeddings or "text_encoder_3" in configs:
            return 0
        return max(0, context - 2) if isinstance(context, int) else 0


def given(settings: RenderSettings) -> dict[str, Any]:
    """Settings as JSON.

    What was not given stays so: a default that is written out may contradict the rest.
    """
    return settings.model_dump(mode="json", exclude_unset=True)


def digest_of(keys: Iterable[str]) -> str:
    """One digest for all frames of a film; 32 hexadecimal digits."""
    digest = hashlib.sha256()
    for key in keys:
        digest.update(key.encode())
    return digest.hexdigest()[:32]
