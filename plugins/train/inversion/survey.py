"""What there is to learn from, looked at before anything long."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcreative import Studio, UsageError, model_facts
from sdcreative.models.opening import open_model
from sdcreative.models.places import ModelPlace

from ..tuning.buckets import Placement
from ..tuning.made import make_pictures
from ..tuning.settings import MadeData
from ..tuning.survey import default_step, plan_buckets, tell
from .data import Picture, may_mirror, read_pictures
from .scenes import PLACE
from .settings import LearnSettings, PictureFolder
from .sound_settings import SoundFolder
from .sounds import read_sounds


def cache_folder(settings: LearnSettings) -> Path:
    """Where latents are kept; shared with the tool finetune."""
    from platformdirs import user_cache_path

    given = settings.cache
    return (Path(given) if given else user_cache_path("sdcreative") / "finetune").expanduser()


@dataclass(frozen=True)
class Survey:
    """The data, looked at before anything long.

    Attributes:
        settings: which.
        place: the model.
        digest: of it.
        report: prints one line.
    """

    settings: LearnSettings
    place: ModelPlace
    digest: str
    report: Callable[[str], None]

    def look(self, *, dry_run: bool) -> tuple[list[Picture], list[Placement]]:
        """Pictures, and where they go in their buckets; what there is to say of them is said.

        Args:
            dry_run: make nothing; then there may be no pictures yet.

        Raises:
            DataError: pictures or captions that cannot be used.
            UsageError: sizes that the model cannot make.
        """
        settings = self.settings
        facts = model_facts(
            settings.model, offline=settings.offline, prediction_type=settings.prediction_type
        )
        shape = settings.shape(facts.size)
        step = settings.bucket_step or default_step(facts.size, facts.multiple)
        if step % facts.multiple:
            raise UsageError(
                f"bucket_step {step}: this model makes multiples of {facts.multiple}; use one"
            )
        data = settings.data
        if isinstance(data, MadeData) and dry_run:
            self.report(f"data: {len(data.prompts) * data.seeds} pictures made by the model")
            return [], []
        if isinstance(data, SoundFolder):
            pictures = read_sounds(settings, data, facts, self.report)
        else:
            pictures = read_pictures(settings, self._folder(shape), self.report)
        examples = [one.as_example(settings.vectors or 1) for one in pictures]
        placements = plan_buckets(examples, shape, step, many=settings.buckets)
        tell(examples, placements, self._tokenizers(), self.report)
        tell_pictures(pictures, settings, self.report)
        return pictures, placements

    def _folder(self, shape: tuple[int, int]) -> Path | None:
        data, settings = self.settings.data, self.settings
        if isinstance(data, PictureFolder):
            return Path(data.folder).expanduser()
        if not isinstance(data, MadeData):
            return None

        def load() -> Studio:
            return Studio.load(self.place, device=settings.device)

        return make_pictures(data, load, self.digest, shape, cache_folder(settings), self.report)

    def _tokenizers(self) -> list[tuple[Any, int]]:
        model, found = open_model(self.place), []
        for encoder in ("text_encoder", "text_encoder_2"):
            if encoder in model.configs:
                tokenizer, _ = model.tokenizer(encoder.replace("text_encoder", "tokenizer"))
                room = int(model.configs[encoder].get("max_position_embeddings", 77))
                found.append((tokenizer, min(room, tokenizer.model_max_length)))
        return found


def tell_pictures(
    pictures: Sequence[Picture], settings: LearnSettings, report: Callable[[str], None]
) -> None:
    """What is particular about the pictures, beside sizes."""
    count = len(pictures)
    if count < 3:
        report(f"data: {count} picture(s); three to five tell better what they have in common")
    turned = [one.name for one in pictures if one.turned]
    if turned:
        report(f"data: turned upright by their EXIF tag: {', '.join(turned)}")
    clear = sum(one.is_transparent for one in pictures)
    if clear:
        report(
            f"data: {clear} of {count} are transparent, put on {', '.join(settings.backgrounds)}"
        )
    captioned = [one for one in pictures if one.captioned]
    bare = [one.name for one in captioned if any(_was_bare(text) for text in one.captions)]
    if bare:
        report(f"data: captions without {settings.token}, which is put to them: {', '.join(bare)}")
    if len(captioned) < count:
        report(f"data: {count - len(captioned)} without a caption are learned with plain phrases")
    sided = [one.name for one in pictures if settings.mirror and not may_mirror(one.captions)]
    if sided:
        report(f"data: not mirrored, as captions speak of sides: {', '.join(sided)}")
    if settings.loss.outside < 1 and not any(one.mask or one.is_transparent for one in pictures):
        report("data: loss.outside does nothing, as no picture has a mask or is transparent")


def _was_bare(caption: str) -> bool:
    return caption.startswith(f"{PLACE}, ") or caption.endswith(f", {PLACE} style")
