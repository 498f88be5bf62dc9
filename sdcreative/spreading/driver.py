"""The driver: ranges to workers, pictures in order back, and what is lost once more."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import replace
from math import ceil

from PIL.Image import Image

from ..core.timeline import Between, Timeline
from ..errors import RenderError
from ..runs.kept import Kept, KeptFrames, spans, unspan
from ..runs.reading import Reader
from .executors import Executor
from .messages import Done, Event, Failed, Lost, Made, Order, Ready, Task, arrived
from .ranges import Range, Sizes, cut, followed, looks_back
from .worker import raised

IN_FLIGHT = 2
"""tasks that a worker has at a time, so that it need not wait for the next"""
ATTEMPTS = 3
"""workers that may be lost over the same frames, or in one place before any was ready"""
RANGES_EACH = 4
"""ranges to a worker: the last one to finish keeps the others waiting for at most a quarter"""
RANGES_EACH_BETWEEN = 2
"""the same of films with frames in between, where every range makes a batch twice"""
RANGE_FRAMES, RANGES_ANYWAY = 600, 512
"""frames of a range at most, as the encoder waits for the first of several that end together; but
for that no more ranges than this, as a worker walks to the begin of each"""
HELD_BATCHES, HELD_EACH = 4, 3
"""without a store, batches to a range, and ranges to a worker that are held until their turn"""


class Driver:
    """One film on its way.

    Args:
        executor: runs the workers.
        order: what they are told; which frames compose batches is added.
        timeline: what is rendered.
        kept: frames that are there, and where others go. Without a store of frames, those that
            come before their turn are held in memory.
        sizes: as in ``planning.plan``.
        sure_bytes: as in ``ranges.cut``.
        report: prints a line.
        on_evaluations: told of finished U-Net evaluations.
    """

    def __init__(
        self,
        executor: Executor,
        order: Order,
        timeline: Timeline,
        kept: Kept,
        *,
        sizes: Sizes,
        sure_bytes: int,
        report: Callable[[str], None],
        on_evaluations: Callable[[int], None],
    ) -> None:
        self.executor, self.timeline, self.kept = executor, timeline, kept
        self.sizes, self.sure_bytes = sizes, sure_bytes
        self.report, self.on_evaluations = report, on_evaluations
        self.stored = isinstance(kept, KeptFrames)
        self.missing = set(range(timeline.length))
        self.order = order
        if isinstance(kept, KeptFrames):
            self.missing = set(kept.missing)
            self.order = replace(order, composed=spans(kept.composed))
        self.follows = looks_back(timeline)
        self._tasks: deque[Task] = deque()
        self._is_cut = False
        self._places: set[int] = set()
        self._in_flight: dict[int, list[Task]] = {}
        self._losses: dict[object, int] = {}
        self._held: dict[int, bytes] = {}

    def pictures(self) -> Generator[Image, None, None]:
        """All pictures, in order, none played back.

        Raises:
            RenderError: workers are lost again and again.
            SdcreativeError: what a worker says, as it would be raised on one machine.
        """
        length = self.timeline.length
        try:
            self._start()
            with Reader(self.kept, length) as reader:
                for index in range(length):
                    # What has arrived is dealt with first, so that no worker waits for the encoder.
                    while self._hear(wait=index in self.missing):
                        pass
                    held = self._held.pop(index, None)
                    yield reader.picture(index) if held is None else arrived(index, held)
        finally:
            self._end()

    def make(self) -> None:
        """Only have them kept; raises as ``pictures`` does."""
        try:
            self._start()
            while self.missing:
                self._hear(wait=True)
        finally:
            self._end()

    def _start(self) -> None:
        places = min(self.executor.places, len(self.missing))
        if self.follows and places > 1:
            places = 1
            self.report("every frame follows the one before: one worker renders this film")
        self._places = set(range(places))
        for place in range(places):
            self.executor.start(place, self.order)

    def _end(self) -> None:
        """Stop the workers; what has arrived is kept."""
        try:
            self._keep_arrived()
        finally:
            self.executor.close()
        self._keep_arrived()

    def _keep_arrived(self) -> None:
        while (heard := self.executor.next(wait=False)) is not None:
            if isinstance(heard[1], Made):
                self._keep(heard[1])

    def _hear(self, wait: bool) -> bool:
        """Deal with what was heard next; False if there was nothing, and no need to wait."""
        heard = self.executor.next(wait)
        if heard is not None:
            self._deal(*heard)
        return heard is not None

    def _deal(self, place: int, event: Event) -> None:
        if isinstance(event, Made):
            self._keep(event)
        elif isinstance(event, Ready):
            self._losses.pop(place, None)
            self._in_flight[place] = []
            if not self._is_cut:
                self._is_cut, self._tasks = True, deque(self._cut(event.batch_size))
                self.kept.batch_size = event.batch_size
            self._feed()
        elif isinstance(event, Done):
            self._in_flight[place] = self._in_flight[place][1:]
            self.kept.batch_size = min(self.kept.batch_size, event.batch_size)
            self._feed()
        elif isinstance(event, Failed):
            raise raised(event)
        else:
            self._replace(place, event)

    def _keep(self, made: Made) -> None:
        self.on_evaluations(made.evaluations)
        if made.index not in self.missing:
            return
        self.missing.remove(made.index)
        self.kept.keep_file(made.index, made.data)
        if not self.stored:
            self._held[made.index] = made.data

    def _cut(self, batch_size: int) -> list[Task]:
        ranges = self._ranges(frozenset(self.missing), batch_size)
        return [self._task(number, one, batch_size) for number, one in enumerate(ranges)]

    def _ranges(self, wanted: frozenset[int], batch_size: int) -> list[Range]:
        workers = self.executor.places
        betweens = any(isinstance(frame, Between) for frame in self.timeline)
        pieces = workers * (RANGES_EACH_BETWEEN if betweens else RANGES_EACH)
        if self.stored:
            pieces = max(pieces, min(ceil(len(wanted) / RANGE_FRAMES), RANGES_ANYWAY))
        else:
            pieces = max(pieces, len(wanted) // (HELD_BATCHES * batch_size))
        return cut(
            self.timeline,
            wanted,
            self.kept.composes,
            batch_size=batch_size,
            workers=workers,
            pieces=pieces,
            sizes=self.sizes,
            sure_bytes=self.sure_bytes,
        )

    def _task(self, number: int, one: Range, batch_size: int) -> Task:
        wanted = [index for index in range(one.first, one.last + 1) if index in self.missing]
        return Task(number, spans(wanted), one.begins, batch_size, [])

    def _feed(self) -> None:
        """Hand in tasks: one to every worker, then a second one, so that none has to wait.

        Nobody gets a second one that a worker could begin which has none, or is still loading.
        """
        for already in range(IN_FLIGHT):
            for place, tasks in self._in_flight.items():
                idle = len(self._places) - sum(1 for others in self._in_flight.values() if others)
                if len(tasks) != already or len(self._tasks) <= (idle if already else 0):
                    continue
                if self._may_begin(self._tasks[0]):
                    task = self._tasks.popleft()
                    tasks.append(task)
                    self.executor.submit(place, self._with_pictures(task))

    def _may_begin(self, task: Task) -> bool:
        """Without a store, not so far ahead of the slowest that its frames fill the memory."""
        if self.stored:
            return True
        begun = [one.number for tasks in self._in_flight.values() for one in tasks]
        return not begun or task.number - min(begun) < HELD_EACH * self.executor.places

    def _with_pictures(self, task: Task) -> Task:
        """The task, and the pictures of finished frames that its frames follow."""
        wanted = unspan(task.wanted)
        needed = followed(self.follows, wanted, task.begins, self.kept.composes)
        return replace(task, pictures=[(index, self.kept.file(index)) for index in needed])

    def _replace(self, place: int, lost: Lost) -> None:
        """Start a worker in place of one that is gone, and have its frames made first.

        Where none can be started, the others go on without.

        Raises:
            RenderError: too many are gone already.
        """
        tasks = self._in_flight.pop(place, [])
        name = self.executor.name(place)
        over: object = ("task", tasks[0].number) if tasks else place
        self._losses[over] = self._losses.get(over, 0) + 1
        again = [one for task in tasks if (one := self._remaining(task)) is not None]
        if self._losses[over] >= ATTEMPTS and not tasks and len(self._places) > 1:
            self._places.remove(place)
            self.report(f"{name} cannot be started ({lost.reason}); the others go on without it")
            self._feed()
            return
        if self._losses[over] >= ATTEMPTS:
            what = f"over frames {_words(tasks[0])}" if tasks else "before any frame"
            raise RenderError(
                f"{name} was lost ({lost.reason}), the third {what}; see that there is "
                "memory enough, or use fewer workers"
            )
        self._tasks.extendleft(reversed(again))
        what = f"; frames {', '.join(map(_words, again))} are made again" if again else ""
        self.report(f"{name} was lost ({lost.reason}){what}")
        self.executor.start(place, self.order)

    def _remaining(self, task: Task) -> Task | None:
        """What is left of a task.

        Frames that follow each other begin anew where there is no store to follow from.
        """
        left = frozenset(unspan(task.wanted) & self.missing)
        if not left or (self.follows and not self.stored):
            return task if left else None
        if self.follows:
            [one] = self._ranges(left, task.batch_size)
            return self._task(task.number, one, task.batch_size)
        return replace(task, wanted=spans(left))


def _words(task: Task) -> str:
    """Frames as people count them in errors.

    >>> _words(Task(0, [[3, 7], [9, 9]], 0, 1, []))
    '3-7, 9'
    """
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in task.wanted)
