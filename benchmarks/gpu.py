"""One GPU: films, equal pictures, inversion and start-up against the peers, without any download.

    python benchmarks/gpu.py [--only film] [--models sd15 sdxl] [--json gpu.json] [--resume]
    python benchmarks/gpu.py --smoke
    python benchmarks/gpu.py --show gpu.json

Random weights of the real builds are written once to a folder, and every contender loads them by
its own code in a process of its own. Contenders take turns for some rounds; the fastest counts.
Loading and compiling are not part of a film's seconds. What fails is a line of the table. No
contender is begun, and none goes on, when --limit seconds are over; --resume goes on with what the
JSON file lacks. Prints Markdown tables. --smoke does all of it in small on the CPU, where figures
say nothing.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gpu_report as report
from gpu_models import BUILDS
from gpu_process import FAULT, Figures, measured

SECTIONS = ("film", "equal", "inversion", "start")
STAGES: dict[str, tuple[str, Figures]] = {
    # First of all, since it says how many pictures an equal batch has.
    "exact": ("gpu_ours:film", {"way": "exact", "keep": True}),
    "walk": ("gpu_peers:film", {"way": "walk"}),
    "plain": ("gpu_peers:film", {"way": "plain"}),
    "compiled": ("gpu_peers:film", {"way": "compiled"}),
    "batched": ("gpu_peers:film", {"way": "compiled"}),
    "auto": ("gpu_ours:film", {"way": "auto", "keep": True}),
    "unkept": ("gpu_ours:film", {"way": "exact", "keep": False}),
    "fast": ("gpu_ours:film", {"way": "fast", "keep": True}),
    "preview": ("gpu_ours:film", {"way": "preview", "keep": True, "steps": 4}),
}
BATCHED = 8
"""pictures together for diffusers, where nothing says how many ours takes"""
SMOKE = {
    "models": ["tiny"],
    "frames": 3,
    "steps": 2,
    "alone": 2,
    "equal_frames": 2,
    "clips": 2,
    "clip_seconds": 1.0,
    "side": 256,
    "device": "cpu",
    "dtype": "float32",
    "halves": ["bfloat16"],
    "mode": "none",
    "compile": "off",
    "batch": 2,
    "limit": 3600,
}


class Bench:
    """Measures section by section, and keeps what it finds in ``results``."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options, self.folder = options, folder
        self.results: report.Results = {}
        if options.resume and options.json and options.json.exists():
            self.results = json.loads(options.json.read_text("utf-8"))
        self._ends = time.monotonic() + options.limit

    def measure(self, stage: str, label: str, caches: str = "caches", **task: Any) -> Figures:
        """The figures of a stage in a process of its own; a line says how it went."""
        options = self.options
        given = {
            "device": options.device,
            "dtype": options.dtype,
            "mode": options.mode,
            "compile": options.compile,
            # Finished frames of an earlier film of the same seed would only be read again.
            "seed": time.time_ns() % 2**31,
            **task,
        }
        limit = min(options.each, self._ends - time.monotonic())
        place = self.folder / "work" / label.replace(" ", "-")
        began = time.monotonic()
        found = measured(stage, given, place, self.folder / caches, limit, options.smoke)
        self.say(f"{label}: {found.get(FAULT, 'done')}, {time.monotonic() - began:.0f} s")
        return found

    def say(self, line: str) -> None:
        """Progress, beside the tables."""
        print(line, file=sys.stderr, flush=True)

    def save(self) -> None:
        """What is known so far to the JSON file."""
        if self.options.json:
            text = json.dumps(self.results, indent=1, ensure_ascii=False)
            self.options.json.write_text(text + "\n", encoding="utf-8")

    def prepare(self) -> None:
        """The machine, the models, and what a picture takes."""
        options = self.options
        names = list(options.models)
        if "machine" not in self.results or FAULT in self.results["machine"]:
            dtypes = list(
                dict.fromkeys([options.dtype, *([] if options.smoke else options.halves)])
            )
            self.results["machine"] = self.measure(
                "gpu_machine:describe", "machine", dtypes=dtypes, side=options.side
            )
        if set(options.only) - {"inversion"}:
            self.models = self.measure(
                "gpu_models:prepare", "models", models=names, target=str(self.folder / "models")
            )
        if "film" in options.only and not set(names) <= set(self.results.get("work", {})):
            self.results["work"] = self.measure("gpu_machine:count", "work", models=names).get(
                "work", {}
            )
        self.save()

    def told(self, name: str, **changes: Any) -> Figures:
        """A film's task.

        Raises:
            SystemExit: the model could not be written.
        """
        if "decoder" not in self.models:
            raise SystemExit(f"no models: {self.models.get(FAULT)}")
        options, folder = self.options, self.folder / "models"
        return {
            "model": str(folder / BUILDS[name].folder),
            "size": BUILDS[name].size,
            "frames": options.frames,
            "steps": options.steps,
            "batch": options.batch,
            "decoder": self.models["decoder"],
            **changes,
        }

    def film(self) -> Iterator[str]:
        """The film by every contender, in turn."""
        options = self.options
        films = self.results.setdefault("film", {})
        how = {key: getattr(options, key) for key in ("frames", "steps", "dtype", "compile")}
        for name in options.models:
            known = films.setdefault(name, how.copy())
            if any(known[key] != how[key] for key in how):
                raise SystemExit(f"{options.json} has other films of {name}; give another file")
        for number in range(options.rounds):
            for name in options.models:
                for contender in options.contenders:
                    self._contend(films[name], name, contender, number)
        for name in options.models:
            yield from report.film_table(self.results, name)
            yield ""

    def _contend(self, films: Figures, name: str, contender: str, number: int) -> None:
        known = films.get(contender, {})
        if known.get("rounds", 0) > number:
            return
        stage, changes = STAGES[contender]
        task = self.told(name, alone=self.options.alone, **changes)
        if contender == "batched":
            task["batch"] = self.options.batch or films.get("exact", {}).get("batch", BATCHED)
        elif stage.startswith("gpu_peers"):
            task["batch"] = 1
        found = self.measure(stage, f"{name} {contender}", **task)
        best = known if known.get("film", math.inf) <= found.get("film", math.inf) else found
        if "film" not in best:
            best = found
        # A contender that was stopped is tried again by --resume.
        films[contender] = {**best, "rounds": number + 1 if "film" in best else 0}
        self.save()

    def equal(self) -> Iterator[str]:
        """Ours against diffusers' pipeline frame by frame, in float32 and in half precision."""
        import gpu_equal

        for name in self.options.models:
            found = self.results.setdefault("equal", {}).setdefault(name, {})
            found["frames"] = self.options.equal_frames
            found["rows"] = {}
            for title, figures in gpu_equal.rows(self, name):
                found["rows"][title] = figures
                self.save()
            yield from report.equal_table(self.results, name)
            yield ""

    def inversion(self) -> Iterator[str]:
        """Many clips back to sound."""
        options = self.options
        self.results["inversion"] = self.measure(
            "gpu_inversion:inversion",
            "inversion",
            clips=options.clips,
            seconds=options.clip_seconds,
            rounds=max(2, options.rounds),
        )
        self.save()
        yield from report.inversion_table(self.results)
        yield ""

    def start(self) -> Iterator[str]:
        """The first process, which compiles, and the second, which finds what it left."""
        import shutil

        for name in self.options.models:
            found = self.results.setdefault("start", {}).setdefault(name, {})
            for who in report.STARTS:
                caches = f"caches-{name}-{who}"
                shutil.rmtree(self.folder / caches, ignore_errors=True)
                stage = "gpu_ours:begin" if who == "exact" else "gpu_peers:begin"
                found[who] = {}
                for which in ("cold", "warm"):
                    task = self.told(name, warm=False)
                    task["batch"] = self.options.batch if who == "exact" else 1
                    label = f"{name} start {who} {which}"
                    found[who][which] = self.measure(stage, label, caches, **task)
                    self.save()
                shutil.rmtree(self.folder / caches, ignore_errors=True)
            yield from report.start_table(self.results, name)
            yield ""


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """The command line; --smoke sets what is not given otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="all of it in small, on the CPU")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument("--models", nargs="+", choices=list(BUILDS), default=["sd15"])
    parser.add_argument("--contenders", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--batch", type=int, default=0, help="0 leaves it to sdcreative")
    parser.add_argument("--alone", type=int, default=24, help="frames denoised without the rest")
    parser.add_argument("--equal-frames", type=int, default=4)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--clip-seconds", type=float, default=5.0)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--halves", nargs="+", default=["float16", "bfloat16"])
    parser.add_argument("--side", type=int, default=8192, help="of the matrices for the peak")
    parser.add_argument(
        "--mode", default="max-autotune", help="of torch.compile for the peers; none"
    )
    parser.add_argument("--compile", choices=["auto", "on", "off"], default="on", help="for ours")
    parser.add_argument("--limit", type=float, default=570, help="seconds for all")
    parser.add_argument("--each", type=float, default=300, help="seconds for one contender")
    parser.add_argument("--folder", type=Path, help="where models and compilations are kept")
    parser.add_argument("--json", type=Path, help="figures to a file, after every contender")
    parser.add_argument("--resume", action="store_true", help="go on with the JSON file")
    parser.add_argument("--show", type=Path, help="print the tables of a JSON file")
    smoke, _ = parser.parse_known_args(given)
    if smoke.smoke:
        parser.set_defaults(**SMOKE)
    return parser.parse_args(given)


def main(given: list[str] | None = None) -> None:
    options = parse(given)
    if options.show:
        print("\n".join(report.everything(json.loads(options.show.read_text("utf-8")))))
        return
    folder = options.folder or Path(tempfile.gettempdir()) / "sdcreative-gpu-benchmark"
    bench = Bench(options, folder.resolve())
    if options.smoke:
        bench.say("a smoke run: it shows that all of it works, and its figures say nothing")
        import gpu_models

        gpu_models.import_all()
    bench.prepare()
    print("\n".join(report.heading(bench.results)) + "\n", flush=True)
    for section in options.only:
        for line in getattr(bench, section)():
            print(line, flush=True)
    print("\n".join(report.aims_table(bench.results)), flush=True)


if __name__ == "__main__":
    main()
