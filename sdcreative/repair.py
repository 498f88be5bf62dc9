"""Jumps of a rendered film are halved: frames are put half way between the two beside a jump.

Half way is meant along the path that the shots lie on: half of the way from one blend of prompts
to the other, and of noise likewise. Where two shots have nothing in common to lie on, their final
latents are slerped, as in-betweens are. Frames that are there stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .core.shots import Following, Shot
from .core.timeline import Between, Frame, Timeline
from .errors import DataError, UsageError
from .metrics import Metric
from .rendering.midway import midway
from .runs.kept import KeptFrames
from .runs.store import FrameStore
from .smoothness import Smoothness, analyse

if TYPE_CHECKING:
    from PIL.Image import Image

    from .studio import Studio

DEEPEST = 4
"""a gap is halved so many times, into 16 steps at most"""
MOST = 100
"""frames that are added at most"""

KeysOf = Callable[[Timeline], Sequence[str]]


@dataclass(frozen=True)
class Mended:
    """What became of a jump.

    Attributes:
        frame: it led from this frame of the film to the next one.
        before: the step, in the metric's unit.
        after: the largest of the steps that it is now.
        added: frames put in.
    """

    frame: int
    before: float
    after: float
    added: int


@dataclass(frozen=True)
class Repair:
    """A film whose jumps were halved.

    Attributes:
        timeline: the longer film.
        keys: of its frames, all of which are in the store.
        fresh: keys of the frames that were added.
        before: figures of the film as it was.
        after: and as it is now.
        mended: the jumps, in order.
    """

    timeline: Timeline
    keys: tuple[str, ...]
    fresh: tuple[str, ...]
    before: Smoothness
    after: Smoothness
    mended: tuple[Mended, ...]


def repair(
    studio: Callable[[], Studio],
    timeline: Timeline,
    store: FrameStore,
    keys_of: KeysOf,
    metric: Metric,
    *,
    deepest: int = DEEPEST,
    most: int = MOST,
    batch_size: int | None = None,
    on_evaluations: Callable[[int], None] = lambda count: None,
) -> Repair:
    """Halve the jumps of a film, and what is left of them, until none is one any more.

    A step counts as a jump as long as it is above the limit of the film as it was; the largest
    are halved first.

    Args:
        studio: gives the model; not called where there is no jump.
        timeline: of the film, placed in time already where it has a ``retiming``.
        store: where all of its frames are, and where those that are added go.
        keys_of: keys of a timeline's frames, in order.
        metric: the distance of two pictures.
        deepest: a jump is halved so often at most, at least 1.
        most: frames to add at most, at least 1.
        batch_size: as in ``Studio.render``.
        on_evaluations: told of finished U-Net evaluations.

    Raises:
        UsageError: a film whose frames follow from one another, or a sheet of pictures.
        DataError: frames are missing in the store, or there are fewer than two.
        RenderError: as from ``Studio.render``.
    """
    film = _Film(timeline, store, keys_of)
    before = analyse(film.pictures(), metric)
    film.steps = list(before.steps)
    jumps = set(before.jumps)

    def open_gaps(room: int) -> list[int]:
        found = [
            gap
            for gap, step in enumerate(film.steps)
            if film.places[gap].origin in jumps
            and step > before.limit
            and film.depth(gap) < deepest
            and film.between(gap) is not None
        ]
        return sorted(found, key=lambda gap: -film.steps[gap])[:room]

    while gaps := open_gaps(most - len(film.fresh)):
        fresh = film.halve(gaps)
        for _ in studio().render(
            film.part(fresh),
            batch_size=batch_size,
            kept=film.kept(fresh),
            on_evaluations=on_evaluations,
        ):
            pass
        film.measure(fresh, metric)
    mended = []
    for jump in before.jumps:
        gaps = [i for i in range(len(film.steps)) if film.places[i].origin == jump]
        largest = max(film.steps[gap] for gap in gaps)
        mended.append(Mended(jump, before.steps[jump], largest, len(gaps) - 1))
    return Repair(
        film.timeline,
        tuple(film.keys),
        tuple(film.keys[index] for index in film.fresh),
        before,
        analyse(film.pictures(), metric) if mended else before,
        tuple(mended),
    )


@dataclass(frozen=True, eq=False)
class _Place:
    """A frame of the film that is being repaired.

    Attributes:
        origin: index, in the film as it was, of this frame, or of the one before the jump that it
            was put into.
        depth: how often that jump was halved to come here; 0 for a frame that was there.
    """

    frame: Frame
    origin: int
    depth: int = 0


class _Film:
    """The film as it stands; gap i lies between its frames i and i + 1, as step i does."""

    def __init__(self, timeline: Timeline, store: FrameStore, keys_of: KeysOf) -> None:
        if timeline.columns is not None:
            raise UsageError("this is a sheet of pictures, and no film; there is nothing to repair")
        self.timeline, self.store, self._keys_of = timeline, store, keys_of
        self.places = [_Place(frame, index) for index, frame in enumerate(timeline)]
        if any(isinstance(one.frame, Shot) and _follows(one.frame) for one in self.places):
            raise UsageError(
                "every frame of this film follows from the one before it, so none can be put "
                "between two; make it anew with smaller movements or a lower strength"
            )
        self.keys = list(keys_of(timeline))
        self.steps: list[float] = []
        lacking = sum(not store.has(key) for key in self.keys)
        if lacking:
            raise DataError(
                f"{lacking} of {len(self.keys)} frames are not there; finish the film first, "
                "with 'sdcreative runs resume'"
            )

    @property
    def fresh(self) -> list[int]:
        """Indexes of all frames that were added."""
        return [index for index, place in enumerate(self.places) if place.depth]

    def depth(self, gap: int) -> int:
        return max(self.places[gap].depth, self.places[gap + 1].depth)

    def between(self, gap: int) -> Frame | None:
        """The frame half way across a gap; None where there is none.

        Inside of a way that in-betweens lead across, it is one of them: a shot there would be
        another neighbour to all of them, and change their pictures.
        """
        before, after = self.places[gap].frame, self.places[gap + 1].frame
        if isinstance(before, Shot) and isinstance(after, Shot):
            if before == after:
                return None
            return midway(before, after) or Between(0.5)
        start = before.t if isinstance(before, Between) else 0.0
        end = after.t if isinstance(after, Between) else 1.0
        return Between((start + end) / 2) if start != end else None

    def halve(self, gaps: Sequence[int]) -> list[int]:
        """Put a frame into each of these gaps; returns the indexes that they get."""
        # From the back, so that what is inserted does not move the gaps still to come.
        for gap in sorted(gaps, reverse=True):
            frame = self.between(gap)
            if frame is not None:
                place = _Place(frame, self.places[gap].origin, self.depth(gap) + 1)
                self.places.insert(gap + 1, place)
                self.steps.insert(gap, self.steps[gap])
        frames = [place.frame for place in self.places]
        self.timeline = replace(
            self.timeline, frames=lambda: frames, length=len(frames), retiming=None
        )
        self.keys = list(self._keys_of(self.timeline))
        return [gap + 1 + i for i, gap in enumerate(sorted(gaps))]

    def part(self, wanted: Sequence[int]) -> Timeline:
        """A timeline of these frames alone, and of the shots that they lie between."""
        frames = [self.places[index].frame for index in self._with_neighbours(wanted)]
        return replace(
            self.timeline, frames=lambda: frames, length=len(frames), ping_pong=False, sound=None
        )

    def kept(self, wanted: Sequence[int]) -> KeptFrames:
        """What is finished of ``part``."""
        keys = [self.keys[index] for index in self._with_neighbours(wanted)]
        kept = KeptFrames(self.store, keys)
        kept.around(self.part(wanted))
        return kept

    def measure(self, fresh: Sequence[int], metric: Metric) -> None:
        """Take the steps to these frames, and from them."""
        for index in fresh:
            trio = [self._picture(near) for near in (index - 1, index, index + 1)]
            self.steps[index - 1 : index + 1] = metric(trio)

    def pictures(self) -> Iterator[Image]:
        """All of them, in order."""
        return map(self._picture, range(len(self.keys)))

    def _picture(self, index: int) -> Image:
        picture = self.store.read(self.keys[index])
        if picture is None:
            raise DataError(
                f"frame {index}: {self.store.path(self.keys[index])} is damaged; render it anew "
                "with 'sdcreative runs resume'"
            )
        return picture

    def _with_neighbours(self, wanted: Sequence[int]) -> list[int]:
        count = len(self.places)
        found: set[int] = set()
        for index in wanted:
            before = after = index
            while isinstance(self.places[before].frame, Between):
                before -= 1
            while isinstance(self.places[after].frame, Between):
                after = (after + 1) % count  # from the last shot of a circle to the first
            found |= {before, index, after}
        return sorted(found)


def _follows(shot: Shot) -> bool:
    return isinstance(shot.image, Following)
