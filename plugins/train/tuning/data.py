"""From the settings' data to pictures in buckets, split into those trained and measured on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdcreative import DataError, Studio, UsageError
from sdcreative.models.opening import open_model
from sdcreative.models.places import ModelPlace

from ..pictures import list_pictures, split_held_out
from .buckets import Placement
from .examples import Example, read_drawings, read_examples
from .made import make_pictures
from .settings import EmojiDrawings, FinetuneSettings, FolderData, MadeData
from .survey import default_step, plan_buckets, tell

Placed = tuple[list[Example], list[Placement]]


@dataclass(frozen=True)
class Data:
    """Pictures, each with its place in a bucket.

    Attributes:
        training: those trained on.
        held_out: those only measured on; may be none.
        prior: those of the class, or None.
        shape: (width, height) whose area the buckets have.
    """

    training: Placed
    held_out: Placed
    prior: Placed | None
    shape: tuple[int, int]


def cache_folder(settings: FinetuneSettings) -> Path:
    """Where latents, texts and facts of pictures are kept."""
    from platformdirs import user_cache_path

    given = settings.cache
    return (Path(given) if given else user_cache_path("sdcreative") / "finetune").expanduser()


def gather(
    settings: FinetuneSettings,
    place: ModelPlace,
    facts: Any,
    digest: str,
    report: Callable[[str], None],
    *,
    dry_run: bool = False,
) -> Data | None:
    """Read and survey the data.

    Args:
        settings: which.
        place: the model.
        facts: its size.
        digest: of it.
        report: prints one line.
        dry_run: make and fetch nothing.

    Returns:
        None in a dry run whose pictures are still to be made or fetched.

    Raises:
        DataError: pictures or captions that cannot be used.
        UsageError: sizes that the model cannot make.
    """
    shape = settings.shape(facts.size)
    step = settings.bucket_step or default_step(facts.size, facts.multiple)
    if step % facts.multiple:
        raise UsageError(
            f"bucket_step {step}: this model makes multiples of {facts.multiple}; use one"
        )
    examples = _examples(settings, place, digest, shape, report, dry_run=dry_run)
    if examples is None:
        return None
    placements = plan_buckets(examples, shape, step, many=settings.buckets)
    tell(examples, placements, _tokenizers(place), report)
    prior = None
    if settings.prior is not None:
        others = _read(settings, settings.prior.folder, settings.prior.captions, report)
        prior = (others, plan_buckets(others, shape, step, many=settings.buckets))
        report(f"data: {len(others)} pictures of the class as it is")
    places: Any = range(len(examples))
    trained, measured = split_held_out(places, settings.hold_out_every)
    report(f"data: {len(trained)} pictures to train on, {len(measured)} held out")
    return Data(
        _some(examples, placements, trained), _some(examples, placements, measured), prior, shape
    )


def _some(
    examples: Sequence[Example], placements: Sequence[Placement], places: Sequence[Any]
) -> Placed:
    chosen = [places[number] for number in range(len(places))]
    return [examples[place] for place in chosen], [placements[place] for place in chosen]


def _examples(
    settings: FinetuneSettings,
    place: ModelPlace,
    digest: str,
    shape: tuple[int, int],
    report: Callable[[str], None],
    *,
    dry_run: bool,
) -> list[Example] | None:
    data, cache = settings.data, cache_folder(settings)
    if isinstance(data, FolderData):
        return _read(settings, data.folder, data.captions, report)
    if isinstance(data, MadeData):
        if dry_run:
            report(f"data: {len(data.prompts) * data.seeds} pictures made by the model")
            return None

        def load() -> Studio:
            return Studio.load(place, device=settings.device)

        folder = make_pictures(data, load, digest, shape, cache, report)
        return _read(settings, str(folder), None, report)
    if dry_run:
        report(f"data: emoji drawings of {', '.join(data.groups)}")
        return None
    return _drawings(data, cache, min(shape), settings)


def _drawings(
    data: EmojiDrawings, cache: Path, size: int, settings: FinetuneSettings
) -> list[Example]:
    from platformdirs import user_cache_path

    fetched = (Path(data.cache) if data.cache else user_cache_path("sdcreative")).expanduser()
    return read_drawings(data, fetched, size, settings.background, cache / "pictures.json")


def _read(
    settings: FinetuneSettings, folder: str, captions: str | None, report: Callable[[str], None]
) -> list[Example]:
    where = Path(folder).expanduser()
    if where.is_dir() and not list_pictures(where) and captions is None:
        raise DataError(f"{where}: there are no pictures in this folder")
    return read_examples(
        where,
        captions,
        settings.background,
        cache_folder(settings) / "pictures.json",
        skip_broken=settings.skip_broken,
        report=report,
    )


def _tokenizers(place: ModelPlace) -> list[tuple[Any, int]]:
    """CLIP's tokenizers of a model, with the tokens that each has room for."""
    model = open_model(place)
    found = []
    for encoder in ("text_encoder", "text_encoder_2"):
        if encoder in model.configs:
            tokenizer, _ = model.tokenizer(encoder.replace("text_encoder", "tokenizer"))
            room = int(model.configs[encoder].get("max_position_embeddings", 77))
            found.append((tokenizer, min(room, tokenizer.model_max_length)))
    return found
