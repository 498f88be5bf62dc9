"""One shard of a film: what every machine of a job array finds for itself to be its part."""

from __future__ import annotations

from collections.abc import Callable

from ..core.timeline import Timeline
from ..picture_job import PictureJob
from ..runs.kept import KeptFrames
from ..studio import Studio
from .part import PartFrames, render_part
from .ranges import Sizes, cut, followed, looks_back
from .wanted import Shard

LARGEST_UNIT = 64
UNITS_EACH = 4


def share(
    timeline: Timeline, kept: KeptFrames, shard: Shard, sizes: Sizes, batch_size: int | None
) -> frozenset[int]:
    """Indexes of the frames of a shard, those that are there already among them.

    The same on every machine, whatever its devices and its store: frames are cut at multiples of
    the batch size where the settings give one, else of a power of two, which batches mostly are.
    """
    each = timeline.length // shard.count // UNITS_EACH
    unit = batch_size or min(LARGEST_UNIT, 1 << max(0, each.bit_length() - 1))
    ranges = cut(
        timeline,
        kept.composed,
        kept.composes,
        batch_size=unit,
        workers=shard.count,
        pieces=shard.count,
        sizes=sizes,
    )
    if shard.number > len(ranges):
        return frozenset()
    one = ranges[shard.number - 1]
    return frozenset(index for index in kept.composed if one.first <= index <= one.last)


def render_share(
    studio: Studio,
    timeline: Timeline,
    kept: KeptFrames,
    job: PictureJob,
    on_evaluations: Callable[[int], None],
) -> None:
    """Make what is missing of a shard, in the batches of the whole film."""
    batch = job.settings.batch_size
    if batch is None:
        batch = studio.suggested_batch_size(studio.check_size(timeline.size))
    [one] = cut(
        timeline,
        kept.missing,
        kept.composes,
        batch_size=batch,
        workers=1,
        pieces=1,
        sizes=job.sizes,
        sure_bytes=job.sure_bytes,
    )
    seen = followed(looks_back(timeline), kept.missing, one.begins, kept.composes)
    pictures = {index: kept.picture(index) for index in seen}
    part = PartFrames(kept.missing, kept.composes, one.begins, kept.keep, pictures)
    for _ in render_part(studio, timeline, part, batch, on_evaluations):
        kept.batch_size = part.batch_size
