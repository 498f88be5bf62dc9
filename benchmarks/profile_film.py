"""Where the time of one film goes, by stages.

    OMP_NUM_THREADS=1 python benchmarks/profile_film.py [--frames 24] [--steps 20] [--size 64]
        [--no-keep] [--cpu] [--torch-profile 20]

Makes one film by ``produce`` in a fresh process and prints a table: seconds of every stage and
their share of the whole, for the main thread, whose shares add up to 100 %, and for the threads
beside it, which work while it goes on. The stages' functions are wrapped from outside; what a stage
calls in another stage counts there alone. A stage that is not found is named: it was renamed.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

STAGES: dict[str, tuple[str, ...]] = {
    "plan": (
        "sdcreative.picture_job:PictureJob.of",
        "sdcreative.picture_job:PictureJob.keys",
        "sdcreative.picture_job:model_digest",
        "sdcreative.production:plan",
        "sdcreative.production:tags",
    ),
    "load": ("sdcreative.picture_job:open_model", "sdcreative.studio:load_parts"),
    "text encoder": ("sdcreative.rendering.embeddings:encode",),
    "scheduler": ("sdcreative.rendering.passes:build_sampler",),
    "guidance arithmetic": ("sdcreative.core.sampling:predict_guided",),
    "denoising loop": ("sdcreative.rendering.denoising:Denoiser.latents",),
    "VAE": ("sdcreative.rendering.renderer:decode_latents",),
    "waiting for the device": ("sdcreative.models.arriving:Arriving.wait",),
    "picture conversion": (
        "sdcreative.rendering.finishing:to_bytes",
        "sdcreative.rendering.finishing:to_pictures",
        "sdcreative.rendering.finishing:as_pictures",
        "sdcreative.media.writers:flatten",
    ),
    "frame store": (
        "sdcreative.runs.store:FrameStore.read",
        "sdcreative.runs.store:FrameStore.put",
        "sdcreative.runs.kept:frame_file",
        "sdcreative.runs.store:FrameStore.whole",
        "sdcreative.runs.run:Run.__enter__",
        "sdcreative.runs.run:Run.compose",
        "sdcreative.runs.run:Run.end",
    ),
    "waiting for the frame store": (
        "sdcreative.rendering.keeping:KeptBeside.keep",
        "sdcreative.rendering.keeping:KeptBeside.settle",
    ),
    "encoding": (
        "sdcreative.media.sinks:FilmSink.__init__",
        "sdcreative.media.sinks:FilmSink.add",
        "sdcreative.media.sinks:FilmSink.close",
        "sdcreative.media.sinks:FilmSink.verify",
        "sdcreative.media.sinks:FilmSink.publish",
    ),
    "waiting for the encoder": (
        "sdcreative.media.writers:Writer.add",
        "sdcreative.media.writers:Writer.finish",
    ),
}
REST, IMPORTS, UNET = "the rest", "imports", "U-Net"


class Clock:
    """Seconds of every stage, thread by thread; of nested stages the innermost counts."""

    def __init__(self, now: Callable[[], float]) -> None:
        """
        Args:
            now: seconds of the wall or of the thread's processor.
        """
        self.now = now
        self.seconds: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        self.calls: dict[str, int] = defaultdict(int)
        """of the main thread"""
        self._here = threading.local()

    def enter(self, stage: str) -> None:
        """A stage begins; the one around it pauses."""
        self._count()
        self._stack.append(stage)
        if threading.current_thread() is threading.main_thread():
            self.calls[stage] += 1

    def leave(self) -> None:
        """The stage ends; the one around it goes on."""
        self._count()
        self._stack.pop()

    @property
    def _stack(self) -> list[str]:
        if not hasattr(self._here, "stack"):
            self._here.stack, self._here.since = [], self.now()
        stack: list[str] = self._here.stack
        return stack

    def _count(self) -> None:
        stack, now = self._stack, self.now()
        if stack:
            name = threading.current_thread().name.partition("_")[0]
            self.seconds[name][stack[-1]] += now - self._here.since
        self._here.since = now

    def wrap(self, stage: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, its time counted."""

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self.enter(stage)
            try:
                return call(*args, **kwargs)
            finally:
                self.leave()

        return timed


def watch_imports(clock: Clock) -> None:
    """Every module that is read for the first time counts as import, wherever that happens."""
    machinery = sys.modules["_frozen_importlib"]
    machinery._find_and_load = clock.wrap(IMPORTS, machinery._find_and_load)  # type: ignore[attr-defined]


def watch_stages(clock: Clock) -> list[str]:
    """Wrap all stages; returns the places that were not found."""
    missing = []
    for stage, places in STAGES.items():
        for place in places:
            module, _, path = place.partition(":")
            *owners, name = path.split(".")
            try:
                owner = functools.reduce(getattr, owners, importlib.import_module(module))
                setattr(owner, name, clock.wrap(stage, getattr(owner, name)))
            except ImportError as error:
                missing.append(f"{place} ({error})")
            except AttributeError:
                missing.append(place)
    return missing


def watch_models(clock: Clock) -> None:
    """Samplers and U-Nets, which are made only when the film is, and pictures made in a thread."""
    from sdcreative.rendering import overlapping, passes

    build, predictor = passes.build_sampler, passes.predictor
    seen: set[type] = set()

    def built(*args: Any, **kwargs: Any) -> Any:
        sampler = build(*args, **kwargs)
        kind = type(sampler)
        # On the class: samplers are copied, and a copy must not step for the first one.
        for name in ("step", "scale_model_input", "add_noise") if kind not in seen else ():
            if hasattr(kind, name):
                setattr(kind, name, clock.wrap("scheduler", getattr(kind, name)))
        seen.add(kind)
        return sampler

    ahead = overlapping.ahead

    def waited(*args: Any, **kwargs: Any) -> Iterator[Any]:
        made = ahead(*args, **kwargs)
        try:
            while True:
                clock.enter("waiting for pictures")
                try:
                    item = next(made)
                except StopIteration:
                    return
                finally:
                    clock.leave()
                yield item
        finally:
            made.close()

    overlapping.ahead = waited
    passes.build_sampler = functools.wraps(build)(built)
    passes.predictor = functools.wraps(predictor)(
        lambda *args, **kwargs: clock.wrap(UNET, predictor(*args, **kwargs))
    )


def make_film(options: argparse.Namespace, folder: Path) -> None:
    """The film, as the command line makes it."""
    from sdcreative.produce import produce
    from sdcreative_plugins.animate import sdcreative_tools

    [tool] = sdcreative_tools()
    given = {
        "model": options.model,
        "prompts": ["a picture of a bear", "a picture of a red apple"],
        "frames": options.frames,
        "steps": options.steps,
        "size": options.size or None,
        "batch_size": options.batch_size or None,
        "device": options.device,
        "output": str(folder / "film.mp4"),
    }
    produce(
        tool,
        tool.settings(**given),
        default_name="film",
        overwrite=True,
        dry_run=False,
        keep=options.keep,
        report=lambda line: None,
    )


def table(clock: Clock, whole: float) -> Iterator[str]:
    """Markdown: the main thread first, then those beside it."""
    main = clock.seconds.pop("MainThread")
    named = sum(seconds for stage, seconds in main.items() if stage != REST)
    yield "| stage | seconds | share | calls |"
    yield "|---|---|---|---|"
    for stage, seconds in sorted(main.items(), key=lambda pair: -pair[1]):
        calls = clock.calls[stage] if stage != REST else ""
        yield f"| {stage} | {seconds:.3f} | {seconds / whole:.1%} | {calls} |"
    yield f"| all | {sum(main.values()):.3f} | {sum(main.values()) / whole:.1%} | |"
    yield ""
    yield f"{whole:.2f} s in all; stages that are named have {named / whole:.1%} of them."
    for thread, stages in clock.seconds.items():
        shares = (f"{stage} {seconds:.3f} s" for stage, seconds in stages.items())
        yield f"Beside it, thread {thread}: {', '.join(shares)}."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("frames", 24), ("steps", 20), ("size", 0), ("batch-size", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--keep", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--torch-profile", type=int, default=0, metavar="ROWS", help="torch's own table as well"
    )
    parser.add_argument(
        "--cpu", action="store_true", help="count the threads' processor time: for busy machines"
    )
    options = parser.parse_args()
    clock = Clock(time.thread_time if options.cpu else time.perf_counter)
    began = clock.now()
    clock.enter(REST)
    watch_imports(clock)
    missing = watch_stages(clock)
    watch_models(clock)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["SDCREATIVE_HOME"] = folder
        if options.torch_profile:
            import torch.profiler as profiler

            with profiler.profile() as found:
                make_film(options, Path(folder))
        else:
            make_film(options, Path(folder))
        clock.leave()
        whole = clock.now() - began
    size = options.size or "its own"
    print(f"{options.model}, {options.frames} frames, {options.steps} steps, size {size}\n")
    for line in table(clock, whole):
        print(line)
    if missing:
        print(f"\nNot found, so part of what is around it: {', '.join(missing)}")
    if options.torch_profile:
        order = "self_cuda_time_total" if torch_has_cuda() else "self_cpu_time_total"
        print(f"\n{found.key_averages().table(sort_by=order, row_limit=options.torch_profile)}")


def torch_has_cuda() -> bool:
    """Whether the profiler saw a GPU."""
    import torch

    return bool(torch.cuda.is_available())


if __name__ == "__main__":
    main()
