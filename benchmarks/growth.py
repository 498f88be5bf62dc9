"""How time and memory grow with frames, size, batch and keyframes, through the real tool.

    python benchmarks/growth.py [--quick] [--axis frames] [--plot growth.png]

Every point is a film that ``animate`` makes in a process of its own, on one thread, with run
folder, kept frames and mp4, after the model is loaded and one film was made; ``again`` is the same
film once more from its kept frames, and ``plan`` is all that comes before the model. Time is that
of the processor, of ours and of ffmpeg together, so that busy neighbours matter little. Prints
Markdown tables, the exponent of each curve and what that is called; draws a sheet of plots. About
ten minutes on two quiet cores; --quick takes one.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from growth_fit import Figures, Point, memory_line, table, time_line


@dataclass(frozen=True)
class Axis:
    """What is changed, from film to film.

    Attributes:
        unit: what x counts.
        values, quick: what is tried.
        settings: (value) -> of ``animate``.
        x: (value) -> place on the axis.
        parts: which measurements: film, again, plan.
    """

    unit: str
    values: Sequence[int]
    quick: Sequence[int]
    settings: Callable[[int], dict[str, Any]]
    x: Callable[[int], float] = float
    parts: Sequence[str] = ("film",)


TINY = {"size": 32, "steps": 1, "sampler": "DDIM", "coherence": 0, "batch_size": 8}
TWO = ["a picture of a bear", "a picture of a red apple"]


def _scenes(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"a picture of a bear, number {i}", "seed": i} for i in range(count)]


AXES = {
    "frames": Axis(
        "frames",
        (10, 100, 1000, 10_000),
        (8, 32, 128),
        lambda n: {"prompts": TWO, "frames": n, "inbetween": 3, **TINY},
        parts=("film", "again"),
    ),
    "size": Axis(
        "pixels",
        (32, 64, 128, 256, 512),
        (32, 64, 128),
        lambda n: {"prompts": TWO, "frames": 4, **TINY, "steps": 4, "size": n, "batch_size": 2},
        x=lambda n: float(n * n),
    ),
    "batch": Axis(
        "pictures denoised together",
        (1, 2, 4, 8, 16, 32, 64),
        (1, 4, 16),
        lambda n: {"prompts": TWO, "frames": 64, **TINY, "size": 64, "batch_size": n},
    ),
    "keyframes": Axis(
        "keyframes",
        (2, 8, 32, 128, 512),
        (2, 8, 32),
        lambda n: {"keyframes": _scenes(n), "frames": 520, **TINY},
    ),
    "planned frames": Axis(
        "frames",
        (100, 1000, 10_000, 100_000, 1_000_000),
        (100, 1000, 10_000),
        lambda n: {"prompts": TWO, "frames": n},
        parts=("plan",),
    ),
    "planned keyframes": Axis(
        "keyframes",
        (2, 16, 128, 1024, 8192),
        (2, 16, 128, 1024),
        lambda n: {
            "prompts": [one["prompt"] for one in _scenes(n)],
            "frames": 8192,
            "noise": "circle",
        },
        parts=("plan",),
    ),
}


def peak() -> float:
    """Of this process so far, in MiB; on Linux that of its parent does not count."""
    status = Path("/proc/self/status")
    if not status.is_file():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def spent() -> tuple[float, float]:
    """Seconds of the processor: ours, and those of programs that have ended."""
    ours, theirs = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return ours.ru_utime + ours.ru_stime, theirs.ru_utime + theirs.ru_stime


class Films:
    """Films by ``produce``, each in a process of its own, split off once the model is loaded.

    The processes share what is loaded by then, so that a film costs no second of starting up; with
    one thread, as OpenMP's others do not survive the splitting.
    """

    def __init__(self, folder: Path) -> None:
        import torch

        from sdcreative.models.sources import fetch, resolve
        from sdcreative.studio import Studios
        from sdcreative_plugins.animate import sdcreative_tools

        torch.set_num_threads(1)
        [self._tool] = sdcreative_tools()
        self._studios = Studios()
        self._studios.load(fetch(resolve("emoji")), "cpu", "auto")
        self._make({"prompts": TWO, "frames": 2, **TINY}, folder / "first.mp4", keep=False)

    def _make(self, settings: dict[str, Any], output: Path, keep: bool) -> None:
        from sdcreative.produce import produce

        produce(
            self._tool,
            self._tool.settings(**{"device": "cpu", **settings, "output": str(output)}),
            default_name="film",
            overwrite=True,
            dry_run=False,
            keep=keep,
            report=lambda line: None,
            studios=self._studios,
        )

    def measure(self, settings: dict[str, Any], folder: Path, part: str) -> Figures:
        """Figures of one film, whose frames are kept in the folder."""
        processes = multiprocessing.get_context("fork")
        found, theirs = processes.Pipe(duplex=False)
        child = processes.Process(target=self._measured, args=(settings, folder, part, theirs))
        child.start()
        theirs.close()
        try:
            figures: Figures = found.recv()
        except EOFError:
            raise SystemExit(f"{part} of {settings} failed") from None
        child.join()
        return figures

    def _measured(self, settings: dict[str, Any], folder: Path, part: str, answer: Any) -> None:
        os.environ["SDCREATIVE_HOME"] = str(folder / "home")
        before, (ours, theirs), began = peak(), spent(), time.perf_counter()
        self._make(settings, folder / f"{part}.mp4", keep=True)
        wall, (ours_then, theirs_then) = time.perf_counter() - began, spent()
        files = [file for file in (folder / "home").rglob("*") if file.is_file()]
        answer.send(
            {
                "cpu": ours_then - ours + theirs_then - theirs,
                "encoder": theirs_then - theirs,
                "wall": wall,
                "before": before,
                "peak": peak(),
                "disk": sum(file.stat().st_size for file in files) / 2**20,
            }
        )


def measure_plan(settings: dict[str, Any], folder: Path) -> Figures:
    """All that is done before a model is needed; no frame is there."""
    from sdcreative.rendering.planning import plan
    from sdcreative.runs.kept import KeptFrames, spans
    from sdcreative.runs.keys import frame_keys
    from sdcreative.runs.store import FrameStore
    from sdcreative_plugins.animate import sdcreative_tools

    [tool] = sdcreative_tools()
    tool.plan(tool.settings(prompts=TWO, frames=2))  # what is imported only now is no growth
    before, found, marks = peak(), {}, [time.process_time()]

    def mark(name: str) -> None:
        marks.append(time.process_time())
        found[name] = marks[-1] - marks[-2]

    timeline = tool.plan(tool.settings(**settings))
    mark("timeline")
    plan(timeline)
    mark("count")
    keys = list(frame_keys(timeline, model="0" * 64, size=(64, 64), dtype="float32"))
    mark("keys")
    kept = KeptFrames(FrameStore(folder / "frames"), keys)
    kept.around(timeline)
    spans(kept.composed)
    mark("missing")
    return {**found, "cpu": marks[-1] - marks[0], "before": before, "peak": peak()}


def planned(settings: dict[str, Any], folder: Path) -> Figures:
    """Figures of planning, in a process of its own that never loads torch."""
    done = subprocess.run(
        [sys.executable, __file__, "--part", str(folder)],
        input=json.dumps(settings),
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )
    if done.returncode:
        raise SystemExit(f"planning failed:\n{done.stderr[-2000:]}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(options: argparse.Namespace) -> Iterator[str]:
    """The lines that are printed; the plots are drawn at the end."""
    curves: dict[str, list[Point]] = {}
    films: Films | None = None
    for name in options.axis or AXES:
        axis = AXES[name]
        points: dict[str, list[Point]] = {part: [] for part in axis.parts}
        for value in axis.quick if options.quick else axis.values:
            if options.most and value > options.most:
                continue
            with tempfile.TemporaryDirectory(prefix="growth-") as folder:
                for part in axis.parts:
                    if part == "plan":
                        figures = planned(axis.settings(value), Path(folder))
                    else:
                        films = films or Films(Path(folder))
                        figures = films.measure(axis.settings(value), Path(folder), part)
                    points[part].append((axis.x(value), figures))
                    print(name, part, value, json.dumps(figures), file=sys.stderr, flush=True)
        for part, found in points.items():
            title = name if part in ("film", "plan") else f"{name}, {part}"
            yield f"\n## {title}\n"
            yield from table(found, axis.unit)
            yield ""
            yield f"- {time_line(found, axis.unit)}"
            yield f"- {memory_line(found, axis.unit)}"
            curves[title] = found
    if options.plot:
        from growth_plot import draw_sheet

        units = {title: AXES[title.partition(",")[0]].unit for title in curves}
        draw_sheet(curves, units).save(options.plot, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes")
    parser.add_argument("--axis", choices=AXES, action="append", help="only these; may be repeated")
    parser.add_argument("--most", type=int, default=0, help="leave out larger values; 0: none")
    parser.add_argument("--plot", type=Path, help="a PNG of all curves")
    parser.add_argument("--part", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        print(json.dumps(measure_plan(json.load(sys.stdin), options.part)))
        return
    for line in report(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
