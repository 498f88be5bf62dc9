"""One part of a film, rendered as it is in the whole."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

from PIL import Image

from ..core.timeline import Timeline
from ..runs.kept import Kept

if TYPE_CHECKING:
    from ..studio import Studio


class PartFrames(Kept):
    """Frames of which some are made here; the others count as finished, and nobody sees them.

    Args:
        wanted: indexes of frames to make.
        composes: whether a frame is part of a batch in the whole film.
        begins: the frame from which on batches have to be composed to be the same.
        give: takes index and picture of every frame that is made.
        pictures: of frames that others here follow.
    """

    def __init__(
        self,
        wanted: Collection[int],
        composes: Callable[[int], bool],
        begins: int,
        give: Callable[[int, Image.Image], None],
        pictures: Mapping[int, Image.Image],
    ) -> None:
        self.wanted = set(wanted)
        self.last = max(wanted)
        self._composes, self._begins, self._give = composes, begins, give
        self._pictures, self._unseen = pictures, Image.new("RGB", (1, 1))

    def composes(self, index: int) -> bool:
        return index >= self._begins and self._composes(index)

    def finished(self, index: int) -> bool:
        return index not in self.wanted

    def picture(self, index: int) -> Image.Image:
        return self._pictures.get(index, self._unseen)

    def keep(self, index: int, picture: Image.Image) -> None:
        self._give(index, picture)
        self.made += 1


def render_part(
    studio: Studio,
    timeline: Timeline,
    part: PartFrames,
    batch_size: int,
    on_evaluations: Callable[[int], None],
) -> Iterator[None]:
    """Make the frames of a part; whenever it comes back, some more of them may have been given."""
    once = replace(timeline, ping_pong=False)
    rendered = studio.render(once, batch_size=batch_size, kept=part, on_evaluations=on_evaluations)
    with closing(rendered) as pictures:
        for index, _ in enumerate(pictures):
            yield
            if index >= part.last:
                break
