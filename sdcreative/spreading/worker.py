"""A worker: it loads a film's model once, and makes ranges of its frames one after another."""

from __future__ import annotations

import json
import os
import platform
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from .. import errors
from ..core.retiming import ArcLength
from ..core.timeline import Timeline
from ..errors import ModelError, PluginError, RenderError, SdcreativeError, UsageError
from ..host import Host
from ..picture_job import PictureJob, digest_of
from ..rendering.keeping import keepers
from ..runs.kept import unspan
from ..runs.store import frame_file
from ..studio import Studio
from ..tools import PictureTool
from .messages import Done, Failed, Made, Order, Ready, Task, arrived
from .part import PartFrames, render_part


@dataclass(frozen=True)
class Worker:
    """The film, ready to be rendered in parts.

    Attributes:
        composed: indexes of frames that are part of a batch; None for all.
        batch_size: shots denoised together where nobody says.
    """

    timeline: Timeline
    studio: Studio
    composed: frozenset[int] | None
    batch_size: int

    @classmethod
    def load(cls, order: Order) -> Worker:
        """Find tool and model here, see that they make the same frames, and load the weights.

        Raises:
            SdcreativeError: they are not here, or are others.
        """
        if os.path.isdir(order.folder):
            os.chdir(order.folder)
        tool = _tool(order)
        job = PictureJob.of(tool, _settings(tool, order))
        if job.digest != order.model:
            raise ModelError(
                f"model {job.settings.model!r} is another one on {platform.node()} "
                f"({job.digest}, not {order.model}); bring the same weights there"
            )
        timeline = job.timeline
        if order.arcs is not None and timeline.retiming is not None:
            arcs = [ArcLength(tuple(arc["times"]), tuple(arc["distances"])) for arc in order.arcs]
            timeline = timeline.retiming.timeline(arcs)
        if digest_of(job.keys(timeline, order.dtype)) != order.frames:
            raise RenderError(
                f"{platform.node()} would render other frames: a plugin, a file that the settings "
                "name, or sdcreative itself is another one there"
            )
        settings = job.settings
        studio = Studio.load(
            job.place,
            device=settings.device,
            dtype=settings.dtype,
            low_memory=settings.low_memory,
            compiling=settings.compile,
        )
        suited = studio.suggested_batch_size(studio.check_size(timeline.size))
        composed = None if order.composed is None else frozenset(unspan(order.composed))
        return cls(timeline, studio, composed, settings.batch_size or suited)

    @property
    def ready(self) -> Ready:
        return Ready(self.batch_size)

    def render(self, task: Task) -> Iterator[Made | Done]:
        """Make the frames of a task; each is given as soon as its batch is done.

        Raises:
            SdcreativeError: as from ``Studio.render``.
        """
        composed, made = self.composed, deque[tuple[int, Future[bytes]]]()
        packers = keepers(self.studio.parts.device.type)
        # A GPU goes on meanwhile; a CPU has no core to spare.
        waiting = 2 * packers if packers > 1 else 0
        evaluations = 0

        def count(more: int) -> None:
            nonlocal evaluations
            evaluations += more

        def given(most: int) -> Iterator[Made]:
            """Those that are files by now, in order; waits until no more than ``most`` are not."""
            nonlocal evaluations
            while made and (len(made) > most or made[0][1].done()):
                index, packed = made.popleft()
                spent, evaluations = evaluations, 0
                yield Made(index, packed.result(), spent)

        with ThreadPoolExecutor(packers, thread_name_prefix="packer") as pool:
            part = PartFrames(
                unspan(task.wanted),
                lambda index: composed is None or index in composed,
                task.begins,
                lambda index, picture: made.append((index, pool.submit(frame_file, picture))),
                {index: arrived(index, data) for index, data in task.pictures},
            )
            for _ in render_part(self.studio, self.timeline, part, task.batch_size, count):
                yield from given(waiting)  # a frame is given before its turn comes
            yield from given(0)
        yield Done(task.number, part.batch_size)


def failure(error: Exception) -> Failed:
    """What the driver is told of an error."""
    if isinstance(error, SdcreativeError):
        return Failed(type(error).__name__, str(error))
    reason = (str(error).splitlines() or [""])[0]
    return Failed(
        RenderError.__name__,
        f"unexpected {type(error).__name__}: {reason}; 'sdcreative --debug ...' on one machine "
        "shows where",
    )


def raised(failed: Failed) -> SdcreativeError:
    """The error that a worker told of, as it would have been raised here."""
    kind: Callable[[str], SdcreativeError] = getattr(errors, failed.error, RenderError)
    return kind(failed.message)


def _tool(order: Order) -> PictureTool:
    host = Host.load(enabled=order.plugins)
    tool = host.tools.get(order.tool)
    if isinstance(tool, PictureTool):
        return tool
    broken = "; ".join(
        f"{one.owner} failed to load: {one.error}" for one in host.report if one.error
    )
    raise PluginError(
        f"there is no tool {order.tool!r} on {platform.node()}; "
        + (broken or "install its plugin there, see 'sdcreative plugins'")
    )


def _settings(tool: PictureTool, order: Order) -> Any:
    given = {**order.settings, "device": order.device, "dtype": order.dtype}
    try:
        return tool.settings.model_validate_json(json.dumps(given))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(
            f"{where}: {first['msg']}; tool {tool.name} is of another version on {platform.node()}"
        ) from None
