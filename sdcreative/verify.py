"""Rendering some frames of a run again, to see whether they come out the same."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .core.continuation import begun
from .core.shots import Following, Shot
from .core.timeline import Between, Frame, Timeline
from .runs.store import FrameStore

if TYPE_CHECKING:
    from .studio import Studio


@dataclass(frozen=True)
class Verdict:
    """What became of the frames of a run that were rendered again.

    Attributes:
        identical: indexes of frames that are the same bit for bit.
        close: those within 1/255 in every value.
        different: index and largest difference, in 1/255.
        lacking: those that are not in the store, or damaged there.
    """

    identical: tuple[int, ...]
    close: tuple[int, ...]
    different: tuple[tuple[int, int], ...]
    lacking: tuple[int, ...]


def verify(
    studio: Studio,
    timeline: Timeline,
    store: FrameStore,
    keys: Sequence[str],
    *,
    count: int,
    seed: int = 0,
    batch_size: int | None = None,
) -> Verdict:
    """Render frames again, drawn at random, and compare them with those in the store.

    They are batched otherwise than in the film, which may move a value by 1/255.

    Args:
        studio: the model of the run.
        timeline: the run's.
        store: where its frames are.
        keys: of all frames, in order.
        count: frames to draw; all of them if there are no more.
        seed: of the drawing.
        batch_size: as in ``Studio.render``.
    """
    frames = list(timeline)
    drawn = sorted(random.Random(seed).sample(range(len(frames)), min(count, len(frames))))
    wanted = sorted({near for index in drawn for near in _with_neighbours(frames, index)})
    alone = {index: _alone(frames, index, timeline.voices, store, keys) for index in wanted}
    identical, close, different = [], [], []
    lacking = [index for index in drawn if alone[index] is None]
    wanted = [index for index in wanted if alone[index] is not None]
    made = [frame for frame in alone.values() if frame is not None]
    again = replace(timeline, frames=lambda: made, length=len(made), ping_pong=False, voices=1)
    for index, picture in zip(wanted, studio.render(again, batch_size=batch_size), strict=True):
        if index not in drawn:
            continue
        stored = store.read(keys[index])
        if stored is None:
            lacking.append(index)
            continue
        difference = np.asarray(picture, dtype=int) - np.asarray(stored, dtype=int)
        worst = int(np.abs(difference).max())
        if worst == 0:
            identical.append(index)
        elif worst == 1:
            close.append(index)
        else:
            different.append((index, worst))
    return Verdict(tuple(identical), tuple(close), tuple(different), tuple(lacking))


def _alone(
    frames: Sequence[Frame], index: int, voices: int, store: FrameStore, keys: Sequence[str]
) -> Frame | None:
    """A frame; if it looks back to others, it starts from their stored pictures, if there are."""
    frame = frames[index]
    if not isinstance(frame, Shot) or not isinstance(frame.image, Following):
        return frame
    near = index - voices
    while voices == 1 and not isinstance(frames[near], Shot):
        near -= 1
    before, first = store.read(keys[near]), store.read(keys[index % voices])
    if before is None or first is None:
        return None
    return begun(frame, before, first)


def _with_neighbours(frames: Sequence[Frame], index: int) -> list[int]:
    """The frame, and the shots that it lies between."""
    if not isinstance(frames[index], Between):
        return [index]
    before, after = index, index
    while isinstance(frames[before], Between):
        before -= 1
    while isinstance(frames[after], Between):
        after = (after + 1) % len(frames)  # from the last shot of a circle to the first
    return [before, index, after]
