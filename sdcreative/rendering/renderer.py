"""A timeline to pictures: frames are batched, finished ones taken from the store, all in order.

The renderer gives a promise for every frame. Where it is given a thread for what comes after the
denoising, it does not wait for the device: it goes on with the next batch while the pictures of the
last one arrive, are looked at and kept.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import torch
from PIL import Image
from torch import Tensor

from ..core.continuation import begun
from ..core.noise import blend_noise
from ..core.shots import Following, Shot
from ..core.timeline import Between, Timeline
from ..errors import RenderError
from ..memory import halving, is_out_of_memory
from ..models.loading import Parts
from ..models.seamless import wrapping
from ..models.vae import decode_latents
from ..runs.kept import Kept
from .denoising import Denoiser, Prepared
from .finishing import Finishing, Promise

Item = tuple[int, "Prepared | Between | None"]
"""Index of a frame, and what it is made from; None if its picture is in the store."""


@dataclass
class _Latents:
    """Latents of a shot at the end of a batch; None until they are wanted, if that is finished."""

    shots: list[Prepared] = field(default_factory=list)
    row: int = 0
    latents: Tensor | None = None


class Renderer:
    """Renders one timeline with one model; not to be shared between threads.

    Args:
        on_call: told of evaluations as they are launched; may raise to stop.
        kept: frames that are finished already, and where new ones go.
        beside: one thread, in which pictures arrive; None has each batch waited for.
    """

    def __init__(
        self,
        parts: Parts,
        timeline: Timeline,
        size: tuple[int, int],
        batch_size: int,
        on_call: Callable[[int], None],
        kept: Kept | None = None,
        beside: Executor | None = None,
    ) -> None:
        self.parts, self.timeline, self.size = parts, timeline, size
        self.batch_size, self.kept = batch_size, kept or Kept()
        self.kept.batch_size = batch_size
        self.denoiser = Denoiser(parts, timeline, size, on_call)
        self._before = _Latents()
        self._first = _Latents()
        self._shown: dict[int, Promise] = {}
        self._last = -1
        self._tiles: bool | None = None
        self._finishing = Finishing(parts, timeline.steps, self.kept, self._decoded, beside)

    def pictures(self) -> Generator[Image.Image, None, None]:
        """One picture per frame, in order; the next batch is not begun before it is asked for.

        Raises:
            RenderError: a frame became NaN or infinite, or a Between has no shot on both sides.
            UsageError: a shot whose values do not go together.
        """
        with closing(self.promises()) as promises:
            yield from (promise() for promise in promises)

    def promises(self) -> Generator[Promise, None, None]:
        """The same, each picture to be waited for by who takes it, in order."""
        pending: list[Item] = []
        shots: list[Prepared] = []
        started = False
        index, frame = -1, None
        for index, frame in enumerate(self.timeline):
            if not self.kept.composes(index):
                pending.append((index, None))
                if not shots:
                    yield from self._stored(pending)
                    pending = []
            elif isinstance(frame, Shot):
                if isinstance(frame.image, Following):
                    before, first = self._looks_back(index)
                    if any(one.index in (before, first) for one in shots):
                        rest = self._after(pending, shots)
                        yield from self._flush(pending[: len(pending) - len(rest)], shots)
                        pending, shots = rest, []
                    frame = begun(frame, self._picture(before), self._picture(first))
                with self._finishing.at_work:
                    prepared = self.denoiser.prepare(frame, index)
                if shots and (len(shots) >= self.batch_size or prepared.kind != shots[0].kind):
                    rest = self._after(pending, shots)
                    yield from self._flush(pending[: len(pending) - len(rest)], shots)
                    pending, shots = rest, []
                shots.append(prepared)
                pending.append((index, prepared))
            elif started:
                pending.append((index, frame))
            else:
                raise RenderError(f"frame {index}: a Between comes before the first shot")
            if isinstance(frame, Shot):
                started, self._last = True, index
        if isinstance(frame, Between) and not self.timeline.closed:
            raise RenderError("the last frame of a timeline is a Between; end with a shot")
        if index + 1 != self.timeline.length:
            raise RenderError(
                f"the timeline's length is {self.timeline.length}, but it has {index + 1} frames"
            )
        if shots:
            rest = self._after(pending, shots)
            yield from self._flush(pending[: len(pending) - len(rest)], shots)
            yield from self._close(rest)

    def _looks_back(self, index: int) -> tuple[int, int]:
        """The shot before a frame, and the first one, of its own voice."""
        voices = self.timeline.voices
        before = index - voices if voices > 1 else self._last
        if before < 0:
            raise RenderError(f"frame {index}: follows the shot before it, but there is none")
        return before, index % voices

    def _picture(self, index: int) -> Image.Image:
        """The picture of a shot that is not long ago, or one of the first."""
        if index in self._shown:
            return self._shown[index]()
        return self.kept.picture(index)

    @staticmethod
    def _after(pending: Sequence[Item], shots: Sequence[Prepared]) -> list[Item]:
        """What comes after the last of the shots, stored frames right behind it left out."""
        end = next(i for i, (_, one) in enumerate(pending) if one is shots[-1]) + 1
        while end < len(pending) and pending[end][1] is None:
            end += 1
        return list(pending[end:])

    def _stored(self, items: Sequence[Item]) -> Iterator[Promise]:
        return (partial(self.kept.picture, index) for index, _ in items)

    def _flush(self, items: Sequence[Item], shots: list[Prepared]) -> Iterator[Promise]:
        """Denoise the shots, decode them and the frames between them; give all in order."""
        made = [(index, one) for index, one in items if one is not None]
        if all(self.kept.finished(index) for index, _ in made):
            self._remember(shots, None)
            yield from self._stored(items)
            return
        with self._finishing.at_work:
            rows = self._latents(made, shots)
        yield from self._merged(items, self._promised(made, rows))

    def _close(self, items: Sequence[Item]) -> Iterator[Promise]:
        """What comes after the last shot: frames between it and the first one."""
        made = [(index, one) for index, one in items if one is not None]
        if all(self.kept.finished(index) for index, _ in made):
            yield from self._stored(items)
            return
        with self._finishing.at_work:
            last, first = self._latents_of(self._before), self._latents_of(self._first)
            rows = [blend_noise(last, first, one.t) for _, one in made if isinstance(one, Between)]
        yield from self._merged(items, self._promised(made, rows))

    def _merged(self, items: Sequence[Item], promises: Iterator[Promise]) -> Iterator[Promise]:
        for index, one in items:
            promise = partial(self.kept.picture, index) if one is None else next(promises)
            if isinstance(one, Prepared):
                self._show(index, promise)
            yield promise

    def _show(self, index: int, promise: Promise) -> None:
        """Remember the first and the last picture of every voice."""
        voices = self.timeline.voices
        self._shown[index] = promise
        for other in [other for other in self._shown if voices <= other <= index - voices]:
            del self._shown[other]

    def _remember(self, shots: list[Prepared], finished: Tensor | None) -> None:
        """The ends of a batch, which frames between batches may want."""
        if not self._first.shots:
            self._first = _Latents(shots, 0, None if finished is None else finished[0])
        self._before = _Latents(shots, -1, None if finished is None else finished[-1])

    def _latents_of(self, end: _Latents) -> Tensor:
        """Latents (C, h, w) of a shot; of a batch that was left out as finished, made after all."""
        if end.latents is None:
            end.latents = self._denoised(end.shots)[end.row]
        return end.latents

    def _latents(self, made: Sequence[Item], shots: list[Prepared]) -> list[Tensor]:
        """Final latents (C, h, w) of shots, and of the frames between them."""
        before = None
        if isinstance(made[0][1], Between):
            before = self._latents_of(self._before)
        finished = self._denoised(shots)
        self._remember(shots, finished)
        upcoming = iter(finished)
        rows: list[Tensor] = []
        after = next(upcoming)
        for _, one in made:
            if isinstance(one, Between):
                rows.append(after if before is None else blend_noise(before, after, one.t))
            else:
                rows.append(after)
                before, after = after, next(upcoming, after)
        return rows

    def _denoised(self, shots: list[Prepared]) -> Tensor:
        """Final latents (N, C, h, w); in smaller batches from here on, should memory end."""
        try:
            with wrapping([self.parts.vae], self.timeline.seamless):
                finished = _joined(halving(self.denoiser.latents, shots, self._shrink))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            raise self._out_of_memory() from error
        self._finishing.denoised(shots, finished)
        return finished

    def _promised(self, made: Sequence[Item], rows: Sequence[Tensor]) -> Iterator[Promise]:
        for start in range(0, len(rows), self.batch_size):
            end = start + self.batch_size
            yield from self._finishing.promises(made[start:end], rows[start:end])

    def _decoded(self, rows: Sequence[Tensor], checked: bool = True) -> Tensor:
        """Pixels (N, 3, H, W); fewer at once, then in tiles, should memory end."""
        options = {} if checked else {"checked": False}
        axes = self.timeline.seamless
        # Tiles would wrap around each for itself.
        tiles = False if axes else self._tiles

        def decode(part: Sequence[Tensor]) -> Tensor:
            return decode_latents(self.parts, torch.stack(list(part)), tile=tiles, **options)

        try:
            with wrapping([self.parts.vae], axes):
                return _joined(halving(decode, rows))
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if self._tiles or axes:
                raise self._out_of_memory() from error
        self._tiles = True
        return self._decoded(rows, checked)

    def _shrink(self, size: int) -> None:
        self.batch_size = self.kept.batch_size = size

    def _out_of_memory(self) -> RenderError:
        return RenderError(
            f"out of memory with one picture of {self.size[0]}x{self.size[1]}; use a smaller "
            "--size, dtype float16, or --device cpu"
        )


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Rows as one tensor, which one alone is already."""
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))
