"""The stages of a film beside one another: denoised, fetched, kept, given on.

On a GPU one thread launches batches and waits for none. The pictures of a batch arrive in a second
thread, further ones write them to the disk, and who asked for the film takes them in order and
encodes them, all while the next batch is being denoised. On a CPU the pictures are made where they
are asked for: a second thread that computes would only take cores from the U-Net, as OpenMP's
barriers become slow as soon as there are more threads than cores (1.4 times, measured on two). Only
writing to the disk, which is mostly waiting for it, has a thread there too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

from PIL.Image import Image

from ..core.stream import ahead
from ..core.timeline import Timeline
from ..models.loading import Parts
from ..runs.kept import Kept, KeptFrames
from .finishing import Promise
from .keeping import KeptBeside, keepers
from .renderer import Renderer

BATCHES_AHEAD = 2
"""that are launched or have arrived before who asked for the film takes them"""


def overlapped(
    parts: Parts,
    timeline: Timeline,
    size: tuple[int, int],
    batch_size: int,
    on_call: Callable[[int], None],
    kept: Kept | None = None,
) -> Generator[Image, None, None]:
    """The pictures of a timeline, in order; on a GPU made some batches ahead.

    Closing the iterator stops the work; batches that were launched as a whole are kept.

    Args:
        parts: the model.
        timeline: what is rendered.
        size: (width, height) in pixels.
        batch_size: pictures that are denoised together.
        on_call: told of evaluations, perhaps from another thread.
        kept: frames that are finished already, and where new ones go.

    Raises:
        RenderError, UsageError: as ``Renderer`` says; after the pictures before it.
        OutputError: a picture cannot be kept; at most ``batch_size`` pictures after it.
    """
    on_cpu = parts.device.type == "cpu"
    with ExitStack() as leaving:
        beside = None
        if isinstance(kept, KeptFrames):
            threads = keepers(parts.device.type)
            beside = leaving.enter_context(KeptBeside(kept, threads, batch_size))
            kept = beside
        arrivals = None
        if not on_cpu:
            arrivals = leaving.enter_context(ThreadPoolExecutor(1, thread_name_prefix="arrivals"))

        def make(check: Callable[[], None]) -> Generator[Promise, None, None]:
            def counted(count: int) -> None:
                check()
                on_call(count)

            return Renderer(parts, timeline, size, batch_size, counted, kept, arrivals).promises()

        made = make(lambda: None) if on_cpu else ahead(make, BATCHES_AHEAD * batch_size)
        for promise in leaving.enter_context(closing(made)):
            yield promise()
        if beside is not None:
            beside.settle()
