"""Films against their peers: features by test, resuming, memory, even steps, and side by side.

    python benchmarks/films.py [--quick] [--features] [--model emoji] [--output benchmarks/films.md]

Writes short Markdown tables. Every figure comes from a process of its own. About ten minutes on two
quiet cores; --quick takes one or two, and its figures say little; --features writes only the table
of features anew.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import peers
from film_parts import CONTENDERS, PROMPTS

FEATURES = "## Features\n\n"
PARTS = str(Path(__file__).with_name("film_parts.py"))
MEASURED = """
import resource, sys
from sdcreative.cli import main
try:
    main(sys.argv[1:])
finally:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@dataclass(frozen=True)
class Sizes:
    """How much is measured: frames, steps, pairs of prompts, frames per clip, rounds."""

    film: int = 240
    steps: int = 20
    short: int = 100
    long: int = 2000
    pairs: int = 4
    probes: int = 33
    clip: int = 24
    rounds: int = 3


QUICK = Sizes(film=12, steps=4, short=10, long=60, pairs=1, probes=9, clip=6, rounds=1)


def run(command: list[str], folder: Path, home: str = "home") -> str:
    """Standard output of a Python process, which keeps its frames in a folder below this one."""
    environment = {**os.environ, "SDCREATIVE_HOME": str(folder / home)}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command[:4])} ... failed:\n{done.stderr}")
    return done.stdout


def preset(folder: Path, **settings: Any) -> str:
    """A preset of `animate` through the first two prompts; its path."""
    chosen = {"plugin": "animate", "prompts": list(PROMPTS[:2]), "device": "cpu", **settings}
    path = folder / "film.yaml"
    path.write_text(json.dumps(chosen), encoding="utf-8")
    return str(path)


def resuming(sizes: Sizes, model: str, folder: Path) -> Iterator[str]:
    path = preset(folder, model=model, frames=sizes.film, steps=sizes.steps)
    seconds = []
    for name in ("first.mp4", "again.mp4", "third.mp4"):
        began = time.perf_counter()
        run(["-m", "sdcreative", "animate", path, "-o", name], folder)
        seconds.append(time.perf_counter() - began)
    share = min(seconds[1:]) / seconds[0]
    yield f"| a film of {sizes.film} frames, {sizes.steps} steps | seconds |"
    yield "|---|---|"
    yield f"| rendered, the whole command | {seconds[0]:.1f} |"
    yield f"| the same command again, to another file | {min(seconds[1:]):.1f} |"
    yield f"| share | {share:.1%} |"


def memory(sizes: Sizes, model: str, folder: Path) -> Iterator[str]:
    peak = []
    for count in (sizes.short, sizes.long):
        path = preset(folder, model=model, frames=count, steps=1, size=32, sampler="DDIM")
        said = run(["-c", MEASURED, "animate", path, "-o", f"{count}.mp4"], folder, f"home{count}")
        peak.append(int(said.splitlines()[-1]) / 1024)
    yield "| frames | peak memory, MiB |"
    yield "|---|---|"
    yield f"| {sizes.short} | {peak[0]:.0f} |"
    yield f"| {sizes.long} | {peak[1]:.0f} |"
    yield f"| ratio | {peak[1] / peak[0]:.3f} |"


def smoothness(sizes: Sizes, model: str, folder: Path) -> Iterator[str]:
    words = ["--model", model, "--pairs", str(sizes.pairs), "--probes", str(sizes.probes)]
    said = run([PARTS, "pairs", str(folder), *words], folder)
    yield "| morph of 12 frames | even | perceptual |"
    yield "|---|---|---|"
    for line in said.splitlines():
        name, even, perceptual = json.loads(line)
        yield f"| {name} | {even:.2f} | {perceptual:.2f} |"


def side_by_side(sizes: Sizes, model: str, folder: Path) -> Iterator[str]:
    words = ["--model", model, "--clip", str(sizes.clip), "--steps", str(sizes.steps)]
    best: dict[str, dict[str, float]] = {}
    for number in range(sizes.rounds):
        for name in CONTENDERS:
            target = folder / f"{name}{number}"
            command = [PARTS, name, str(target), *words]
            said = run(command, folder, f"home_{name}{number}")
            figures = json.loads(said.splitlines()[-1])
            known = best.setdefault(name, figures)
            best[name] = {key: min(known[key], figures[key]) for key in figures}
    judged = run([PARTS, "judge", str(folder), *words], folder)
    verdicts = json.loads(judged.splitlines()[-1])
    frames = sizes.clip * (len(PROMPTS) - 1)
    yield f"{frames} frames through {len(PROMPTS)} prompts and seeds, {sizes.steps} steps."
    yield ""
    yield "| | frames per second | ratio | largest / median step | duplicates | peak, MiB |"
    yield "|---|---|---|---|---|---|"
    for name, title in CONTENDERS.items():
        figures, verdict = best[name], verdicts[name]
        cells = [
            f"{frames / figures['film']:.2f}",
            f"{best['single']['film'] / figures['film']:.2f}",
            f"{verdict['ratio']:.2f}",
            f"{verdict['duplicates']}",
            f"{figures['peak']:.0f}",
        ]
        yield f"| {title} | {' | '.join(cells)} |"


def machine() -> str:
    """The processor and how many threads torch takes, asked in a process of its own."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    asked = ["-c", "import torch; print(torch.get_num_threads(), torch.__version__)"]
    threads, version = run(asked, Path.cwd()).split()
    return f"{name}, {os.cpu_count()} cores, {threads} threads, torch {version}"


SECTIONS: dict[str, tuple[str, str, Callable[[Sizes, str, Path], Iterator[str]]]] = {
    "again": ("Rendering a finished film again", "Whole commands, loading included.", resuming),
    "memory": ("Memory of long films", "Whole commands; pictures of 32 pixels, one step.", memory),
    "even": ("Even steps", "Largest step / median step, by the metric `latent`.", smoothness),
    "side": (
        "Side by side with stable-diffusion-videos' way",
        "Written anew from its description in `travel_reference.py`. Same model, prompts, seeds, "
        "sampler, steps and number of frames, to a finished mp4; loading is not counted.",
        side_by_side,
    ),
}


def report(sizes: Sizes, options: argparse.Namespace) -> Iterator[str]:
    """The lines of the file."""
    yield "# Films\n"
    flag = " --quick" if options.quick else ""
    yield f"Written by `python benchmarks/films.py{flag}` on {machine()}.\n"
    if options.quick:
        yield "A quick run: it shows that all of it works, and its figures say little.\n"
    yield FEATURES + "\n".join(peers.table())
    for title, note, section in SECTIONS.values():
        print(title, file=sys.stderr, flush=True)
        yield f"\n## {title}\n\n{note}\n"
        with tempfile.TemporaryDirectory() as folder:
            yield from section(sizes, options.model, Path(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--features", action="store_true")
    parser.add_argument("--model", default="emoji")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    options = parser.parse_args()
    if options.features:
        text = options.output.read_text("utf-8")
        head, rest = text.split(FEATURES, 1)
        rest = rest[rest.index("\n\n## ") :]
        options.output.write_text(head + FEATURES + "\n".join(peers.table()) + rest, "utf-8")
        return
    lines = list(report(QUICK if options.quick else Sizes(), options))
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(options.output.read_text("utf-8"), end="")


if __name__ == "__main__":
    main()
