"""Hours and cost of a long film on 1 to 256 GPUs, simulated from figures in a JSON file.

    python benchmarks/scaling.py [--every 6] [--writers 8] [--range 300] [--set price=2]
        [--figures benchmarks/scaling.json] [--compare] [--plot docs/scaling.png]

Workers take ranges of frames in order, as ``sdcreative`` spreads them; a worker that is lost loses
the batch in its hands, and the rest of its range is made first by the next one that is free. The
head stores what arrives, reads it back and feeds the encoder in the film's order, then checks the
film by decoding all of it. Prints Markdown: hours, GPU-hours, cost, and what holds it back. --every
6 denoises every sixth frame; --writers 8 encodes eight segments at a time; --compare prints four
ways to make the film. What each figure is, and whether it was measured, counted, published or
guessed, stands beside it in the JSON; ``--list`` prints it. docs/scaling.md says what follows.
"""

from __future__ import annotations

import argparse
import heapq
import json
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

WORKERS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
HELD = 0.1
"""share of the hours from which on something holds the film back"""


@dataclass(frozen=True)
class Job:
    """A film, and how fast everything is that makes it; in frames and seconds.

    Attributes:
        frames: of the film.
        frame: of a worker, for a frame on average.
        again: of a worker, for every range: what it makes twice, and the way to the range's start.
        start: until a worker takes its first range.
        before: of the head, before any worker starts.
        head: of the head, for a frame: the slowest of what goes on there at the same time.
        check: of the head, for a frame of the finished film.
        length: frames of a range; 0 for ``each`` and ``ranges``.
        each: ranges to a worker.
        ranges: how many there are at least.
        at_risk: frames that are lost with a worker at most: a batch.
        lost: workers lost, for a second of one.
        replaced: until another machine is there for a lost one.
        writers: segments of the film encoded, and checked, at a time, on a head each.
    """

    frames: int
    frame: float
    again: float = 0.0
    start: float = 0.0
    before: float = 0.0
    head: float = 0.0
    check: float = 0.0
    length: int = 0
    each: int = 4
    ranges: int = 1
    at_risk: int = 1
    lost: float = 0.0
    replaced: float = 0.0
    writers: int = 1


@dataclass(frozen=True)
class Outcome:
    """What came of it.

    Attributes:
        workers: how many there were.
        rendered: seconds until the last frame was made; so long all workers are paid.
        end: seconds until the film is written and checked.
        lost: workers that were lost.
        repeated: frames that were made again.
        used: share of the workers' seconds in which they made frames of the film.
        bound: what holds it back most.
    """

    workers: int
    rendered: float
    end: float
    lost: int
    repeated: float
    used: float
    bound: str


def simulate(job: Job, workers: int, seed: int = 0) -> Outcome:
    """Play the film through, event by event; the seed decides which workers are lost when."""
    chance = random.Random(seed)
    length = job.length or math.ceil(job.frames / max(workers * job.each, job.ranges))
    firsts = range(0, job.frames, length)
    queue = [(first, min(length, job.frames - first)) for first in firsts]
    events = [(job.before + job.start, worker, None) for worker in range(workers)]
    idle: list[int] = []
    pieces: list[tuple[int, int, float]] = []
    lost, repeated, rendered = 0, 0.0, 0.0
    heapq.heapify(events)
    while events:
        now, worker, rest = heapq.heappop(events)
        if rest is not None:
            heapq.heappush(queue, rest)
            heapq.heappush(events, (now + job.replaced + job.start, worker, None))
            if idle:
                heapq.heappush(events, (now, idle.pop(), None))
            continue
        if not queue:
            idle.append(worker)
            continue
        first, count = heapq.heappop(queue)
        begin = now + job.again
        held = chance.expovariate(job.lost) if job.lost else math.inf
        done, end = count, begin + count * job.frame
        if held < end - now:
            made = max(0.0, held - job.again) / job.frame
            done = min(count, math.floor(made / job.at_risk) * job.at_risk)
            lost, repeated, end = lost + 1, repeated + made - done, now + held
            heapq.heappush(events, (end, worker, (first + done, count - done)))
        else:
            heapq.heappush(events, (end, worker, None))
        if done:
            pieces.append((first, done, begin))
            rendered = max(rendered, begin + done * job.frame)
    head, written = job.head / job.writers, 0.0
    for _, count, begin in sorted(pieces):
        # The first of them to come, or the last, or those before them are what is waited for.
        early = max(written, begin + job.frame) + count * head
        written = max(early, begin + count * job.frame + head)
    end = max(written, rendered) + job.frames * job.check / job.writers
    bound = _bound(job, workers, rendered, max(written, rendered), end)
    used = job.frames * job.frame / (workers * rendered)
    return Outcome(workers, rendered, end, lost, repeated, used, bound)


def _bound(job: Job, workers: int, rendered: float, written: float, end: float) -> str:
    """The largest loss of time against workers that do nothing but render."""
    at_best, starting = job.frames * job.frame / workers, job.before + job.start
    encoding = job.frames * job.head / job.writers
    losses = {
        "the check of the film": end - written,
        "the head" if encoding > at_best else "ranges that wait for their turn": written - rendered,
        "start-up and planning": starting,
        "ranges, their first batch and the last of them": rendered - at_best - starting,
    }
    name = max(losses, key=lambda one: losses[one])
    return name if losses[name] > HELD * end else "the GPUs"


def job_of(figures: Mapping[str, float], *, every: int, writers: int, length: int) -> Job:
    """A film of figures as the JSON names them.

    Args:
        figures: name -> value.
        every: how many frames apart those are that are denoised; 1 for all.
        writers: as in ``Job``.
        length: frames of a range; 0 for as many ranges to a worker as sdcreative makes.
    """
    f = figures
    speed = f["gpu_tflops"] * f["gpu_share"]
    denoise = f["windows"] * f["steps"] * 2 * f["unet_tflop"] / speed
    decode = f["windows"] * f["decode_tflop"] / speed
    betweens = every > 1
    # A worker begins a range by walking there, and makes the batch before it again.
    again = f["walk_frame"] * f["frames"] / 2 + (f["batch"] * denoise if betweens else 0.0)
    stored = f["png_keep"] + f["png_read"] / f["readers"]
    frame = denoise / every + decode
    computed = (f["encode_core"] + f["png_read"]) / f["head_cores"]
    return Job(
        frames=int(f["frames"]),
        frame=max(frame, f["png_make"] / f["packers"]),
        again=again,
        start=f["import"] + f["compile"] + f["load"] + f["plan_frame"] * f["frames"],
        before=f["import"] + f["plan_frame"] * f["frames"],
        head=max(stored, computed, f["png_bytes"] / f["link"]),
        check=f["decode_core"] / f["head_cores"],
        length=length,
        each=int(f["ranges_each_between" if betweens else "ranges_each"]),
        ranges=math.ceil(min(f["frames"] / f["range_frames"], f["ranges_anyway"])),
        at_risk=int(f["batch"]) * every,
        lost=f["lost_hour"] / 3600,
        replaced=f["replace"],
        writers=writers,
    )


def cost(outcome: Outcome, job: Job, figures: Mapping[str, float]) -> float:
    """Price of the GPUs until the last frame is made, and of as many heads as are of use."""
    gpus = outcome.workers * outcome.rendered * figures["price"]
    heads = min(job.writers, max(1, math.ceil(outcome.workers * job.head / job.frame)))
    return (gpus + heads * outcome.end * figures["price_head"]) / 3600


def stops(outcomes: Sequence[Outcome]) -> int:
    """The most workers up to which twice as many were at least 1.5 times as fast."""
    for before, after in pairwise(outcomes):
        if before.end / after.end < 1.5:
            return before.workers
    return outcomes[-1].workers


def table(job: Job, figures: Mapping[str, float]) -> Iterator[str]:
    """Markdown: a line for every number of workers, and what follows."""
    outcomes = [simulate(job, workers) for workers in WORKERS]
    kept = job.frames * figures["png_bytes"] / 1e12
    yield (
        f"{job.frame:.2f} s of a GPU for a frame; {job.head:.3f} s of the head, {job.writers} at a "
        f"time; {job.check:.3f} s to check it; {kept:.1f} TB of frames are kept.\n"
    )
    yield "| GPUs | hours | GPU-hours | cost, USD | times as fast | used | lost | held back by |"
    yield "|---|---|---|---|---|---|---|---|"
    for one in outcomes:
        cells = [
            f"{one.workers}",
            f"{one.end / 3600:,.1f}",
            f"{one.workers * one.rendered / 3600:,.0f}",
            f"{cost(one, job, figures):,.0f}",
            f"{outcomes[0].end / one.end:.1f}",
            f"{one.used:.0%}",
            f"{one.lost}",
            one.bound,
        ]
        yield f"| {' | '.join(cells)} |"
    meets = job.writers * job.frame / job.head if job.head else math.inf
    yield (
        f"\nTwice the GPUs make it at least 1.5 times as fast up to {stops(outcomes)} of them; the "
        f"head keeps up with {meets:.0f}."
    )


def read_figures(path: Path, changes: Sequence[str] = ()) -> tuple[dict[str, float], Any]:
    """Values by name, some of them changed, and all that the file says of them."""
    told = json.loads(path.read_text("utf-8"))
    figures = {name: float(one["value"]) for name, one in told.items()}
    for change in changes:
        name, _, value = change.partition("=")
        if name not in figures:
            raise SystemExit(f"there is no figure {name!r}; see --list")
        figures[name] = float(value)
    return figures, told


@dataclass(frozen=True)
class Way:
    """How a film is made; ``changes`` are figures that differ from those of the file."""

    every: int = 1
    writers: int = 1
    length: int = 0
    changes: Mapping[str, float] = field(default_factory=dict)

    def job(self, figures: Mapping[str, float]) -> Job:
        """The film made so."""
        changed = {**figures, **self.changes}
        return job_of(changed, every=self.every, writers=self.writers, length=self.length)


WAYS = {
    "every frame denoised": Way(),
    "every sixth": Way(6),
    "every sixth, one reader, no short ranges": Way(6, changes={"readers": 1, "ranges_anyway": 1}),
    "every sixth, in 16 segments": Way(6, 16),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--figures", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--every", type=int, default=1, help="frames apart that are denoised")
    parser.add_argument("--writers", type=int, default=1, help="segments encoded at a time")
    parser.add_argument("--range", type=int, default=0, help="frames of a range; 0: as it does")
    parser.add_argument("--compare", action="store_true", help="four ways to make the film")
    parser.add_argument("--list", action="store_true", help="print what is assumed")
    parser.add_argument("--plot", type=Path, help="a PNG of the four ways")
    options = parser.parse_args()
    figures, told = read_figures(options.figures, options.set)
    if options.list:
        print("| figure | value | unit | | |\n|---|---|---|---|---|")
        for name, one in told.items():
            cells = [name, f"{figures[name]:g}", one["unit"], one["kind"], one["source"]]
            print(f"| {' | '.join(cells)} |")
        return
    curves = {}
    alone = {"this film": Way(options.every, options.writers, options.range)}
    for title, way in (WAYS if options.compare or options.plot else alone).items():
        job = way.job(figures)
        print(f"\n## {title}\n", *table(job, figures), sep="\n")
        curves[title] = [(n, job.frames / simulate(job, n).end) for n in WORKERS]
    if options.plot:
        from growth_plot import draw_panel

        title = "Frames of the film a second, whole job"
        draw_panel(title, "GPUs", curves, (1100, 460), 0).save(options.plot, optimize=True)


if __name__ == "__main__":
    main()
