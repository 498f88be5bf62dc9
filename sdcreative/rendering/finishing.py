"""From latents to finished pictures: decoded, looked at, composed, kept.

With a thread beside, nobody waits for the device here: a batch is only launched, and its pictures
are promised. The thread has them as soon as they arrive, and looks then whether they are sound.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from functools import partial
from threading import Lock

import torch
from PIL.Image import Image
from torch import Tensor

from ..errors import RenderError
from ..models.arriving import Arriving, Courier, bad_rows, extremes, to_bytes
from ..models.loading import Parts
from ..models.vae import as_pictures, spoilt, to_pictures
from ..runs.kept import Kept
from .denoising import Prepared

Promise = Callable[[], Image]
"""A picture, waited for where it is not there yet; raises what went wrong with it."""
Seen = tuple[Sequence[Prepared], Tensor]
"""Shots, and the extremes of their latents."""


class Finishing:
    """What comes after the denoising of a batch.

    Args:
        parts: the model.
        steps: of the timeline.
        kept: where pictures go.
        decode: gives the pixels (N, 3, H, W) of latents; the second argument says whether they
            are checked.
        beside: one thread, in which pictures arrive; None has each batch waited for.

    Attributes:
        at_work: held by who uses the model; a batch may have to be decoded again while the next
            one is being launched.
    """

    def __init__(
        self,
        parts: Parts,
        steps: int,
        kept: Kept,
        decode: Callable[[Sequence[Tensor], bool], Tensor],
        beside: Executor | None,
    ) -> None:
        self._parts, self._steps, self._kept = parts, steps, kept
        self._decode, self._beside = decode, beside
        self._courier = Courier(parts.device)
        self._unseen: list[Seen] = []
        self.at_work = Lock()

    def denoised(self, shots: Sequence[Prepared], latents: Tensor) -> None:
        """Look whether latents are sound; beside, when the next pictures arrive.

        Raises:
            RenderError: a frame became NaN or infinite.
        """
        self._unseen.append((shots, extremes(latents)))
        if self._beside is None:
            _look(self._taken())

    def _taken(self) -> list[Seen]:
        seen, self._unseen = self._unseen, []
        return seen

    def promises(
        self, part: Sequence[tuple[int, object]], rows: Sequence[Tensor]
    ) -> Iterator[Promise]:
        """Pictures of one batch; it is launched when the first of them is asked for.

        Args:
            part: index of every frame, and what it is made from.
            rows: their latents (C, h, w).
        """
        if self._beside is None:
            finished = self._finished(part, to_pictures(self._decode(rows, True)))
            yield from (partial(finished.__getitem__, i) for i in range(len(part)))
            return
        with self.at_work:
            dtype = self._parts.vae.dtype
            pixels = self._decode(rows, False)
            seen = self._taken()
            told = [found for _, found in seen]
            arriving = self._courier.send_for([to_bytes(pixels), extremes(pixels), *told])
            if self._parts.compiled is not None:
                # All later batches are as this one; to have its pictures taken may be too late.
                self._parts.compiled.settle()
        shots = [some for some, _ in seen]
        work = self._beside.submit(self._arrived, part, rows, arriving, shots, dtype)
        yield from (partial(_entry, work, i) for i in range(len(part)))

    def _arrived(
        self,
        part: Sequence[tuple[int, object]],
        rows: Sequence[Tensor],
        arriving: Arriving,
        shots: Sequence[Sequence[Prepared]],
        dtype: torch.dtype,
    ) -> list[Image]:
        """The pictures of a batch, in the thread beside."""
        pixels, found, *told = arriving.wait()
        _look(list(zip(shots, told, strict=True)))
        if not spoilt(found, dtype):
            return self._finished(part, as_pictures(pixels))
        with self.at_work:
            again = to_pictures(self._decode(rows, True))
        return self._finished(part, again)

    def _finished(
        self, part: Sequence[tuple[int, object]], pictures: Sequence[Image]
    ) -> list[Image]:
        """Decoded pictures composed and kept; of frames that are finished, those that are."""
        finished = []
        for (index, one), picture in zip(part, pictures, strict=True):
            if isinstance(one, Prepared):
                picture = one.composed(picture, self._steps)
            if self._kept.finished(index):
                picture = self._kept.picture(index)
            else:
                self._kept.keep(index, picture)
            finished.append(picture)
        return finished


def _look(seen: Sequence[Seen]) -> None:
    for shots, found in seen:
        for row in bad_rows(found):
            raise RenderError(
                f"frame {shots[row].index}: denoising gave NaN or infinite values; "
                "try dtype float32 or another sampler"
            )


def _entry(work: Future[list[Image]], row: int) -> Image:
    return work.result()[row]
