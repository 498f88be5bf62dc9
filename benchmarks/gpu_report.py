"""Figures of the benchmark as Markdown tables, its aims beside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpu_models import BUILDS
from gpu_process import FAULT

Results = dict[str, Any]
GIB = 2**30

CONTENDERS = {
    "walk": "stable-diffusion-videos' walk: batch 1, eager, PNGs, then mp4",
    "plain": "diffusers, frame by frame, eager",
    "compiled": "diffusers compiled, channels_last, batch 1",
    "batched": "diffusers compiled, channels_last, equal batch",
    "exact": "sdcreative",
    "auto": "sdcreative, `compile: auto`",
    "unkept": "sdcreative, `--no-keep`",
    "fast": "sdcreative, `speed: fast`",
    "preview": "sdcreative, 4 steps, tiny decoder",
}
WHOLE_WORK = ("walk", "plain", "compiled", "batched", "exact", "auto", "unkept")
"""Contenders that evaluate all of the U-Net, twice a step."""
STARTS = {"exact": "sdcreative", "compiled": "diffusers compiled, channels_last, batch 1"}


@dataclass(frozen=True)
class Aim:
    """A figure that is to be reached.

    Attributes:
        what: in words.
        wanted: the figure.
        found: what was measured; None if it was not.
        least: whether the figure is the least allowed, or the most.
        unit: behind both.
    """

    what: str
    wanted: float
    found: float | None
    least: bool = True
    unit: str = ""

    @property
    def line(self) -> str:
        """A row of the table."""
        sign = "≥" if self.least else "≤"
        found, met = "not measured", ""
        if self.found is not None:
            found = f"{self.found:.3g}{self.unit}"
            met = "yes" if self.reached else "no"
        return f"| {self.what} | {sign} {self.wanted:g}{self.unit} | {found} | {met} |"

    @property
    def reached(self) -> bool:
        """Whether it was found, and meets what is wanted."""
        if self.found is None:
            return False
        return self.found >= self.wanted if self.least else self.found <= self.wanted


def heading(results: Results) -> Iterator[str]:
    """The machine and its versions."""
    machine = results.get("machine", {})
    versions = ", ".join(f"{name} {text}" for name, text in machine.get("versions", {}).items())
    yield f"{machine.get('name', 'unknown machine')}: {versions}."
    peaks = [f"{peak / 1e12:.3g} TFLOP/s in {dtype}" for dtype, peak in _peaks(results).items()]
    if peaks:
        yield f"Fastest matrix product: {', '.join(peaks)}."
    if fault := machine.get(FAULT):
        yield f"The machine could not be measured: {fault}"


def film_table(results: Results, name: str) -> Iterator[str]:
    """Contenders of one model."""
    found = results["film"][name]
    yield f"### {BUILDS[name].title}: {found['frames']} frames, {found['steps']} steps, to mp4"
    yield ""
    yield (
        "sdcreative compiles by itself only what pays back within a film (`compile: auto`). Here, "
        "where compiling is not counted, its rows without a word on that are those of "
        f"`compile: {found['compile']}`."
    )
    yield ""
    yield (
        "| | frames/s | times the walk | denoising alone, frames/s | whole / alone "
        "| share of peak | memory, GiB | batch | first frame, s |"
    )
    yield "|---" * 9 + "|"
    for contender, title in CONTENDERS.items():
        if contender in found:
            yield _film_row(results, name, contender, title)


def _film_row(results: Results, name: str, contender: str, title: str) -> str:
    figures = results["film"][name][contender]
    title = " — ".join([title, *(figures[key] for key in ("remark", FAULT) if key in figures)])
    share = share_of_peak(results, name, contender)
    cells = [
        _number(frames_per_second(results, name, contender)),
        _number(times(results, name, contender, "walk")),
        _number(_inverse(figures.get("denoising"))),
        _number(whole_to_alone(results, name, contender)),
        "" if share is None else f"{share:.1%}",
        _number(figures["memory"] / GIB if "memory" in figures else None),
        str(figures.get("batch", "")),
        _number(figures.get("first")),
    ]
    return f"| {title} | {' | '.join(cells)} |"


def frames_per_second(results: Results, name: str, contender: str) -> float | None:
    """Of the whole job, without loading and compiling."""
    found = results.get("film", {}).get(name, {})
    seconds = found.get(contender, {}).get("film")
    return found["frames"] / seconds if seconds else None


def times(results: Results, name: str, contender: str, other: str) -> float | None:
    """How much faster a contender is than another."""
    mine, theirs = (frames_per_second(results, name, one) for one in (contender, other))
    return mine / theirs if mine and theirs else None


def whole_to_alone(results: Results, name: str, contender: str) -> float | None:
    """Seconds of the whole job to those of denoising."""
    rate = frames_per_second(results, name, contender)
    alone = results.get("film", {}).get(name, {}).get(contender, {}).get("denoising")
    return 1 / (rate * alone) if rate and alone else None


def share_of_peak(results: Results, name: str, contender: str) -> float | None:
    """Of the fastest matrix product in the film's type, while denoising."""
    found = results.get("film", {}).get(name, {})
    alone = found.get(contender, {}).get("denoising")
    work = results.get("work", {}).get(name)
    peak = _peaks(results).get(found.get("dtype", ""))
    if not (alone and work and peak) or contender not in WHOLE_WORK:
        return None
    return float(2 * found["steps"] * work / alone / peak)


def equal_table(results: Results, name: str) -> Iterator[str]:
    """Latents of ours against those of diffusers."""
    found = results["equal"][name]
    yield f"### {BUILDS[name].title}: final latents of {found['frames']} frames"
    yield ""
    yield "| | largest difference | PSNR, dB | error / largest value | error / diffusers' own |"
    yield "|---" * 5 + "|"
    for title, figures in found["rows"].items():
        if FAULT in figures:
            yield f"| {title} — {figures[FAULT]} | | | | |"
            continue
        cells = [
            f"{figures['largest']:.2g}",
            f"{figures['psnr']:.1f}",
            f"{figures['error']:.2g}",
            _number(figures.get("ratio")),
        ]
        yield f"| {title} | {' | '.join(cells)} |"


def inversion_table(results: Results) -> Iterator[str]:
    """Spectrograms to sound."""
    found = results["inversion"]
    yield f"### Spectrogram inversion, {found.get('clips', '?')} clips at once"
    yield ""
    yield "| | times real time | spectral convergence, dB | memory, GiB |"
    yield "|---|---|---|---|"
    for name, way in found.get("ways", {}).items():
        yield f"| {name} | {way['speed']:.3g} | {way['error']:.1f} | {way['memory'] / GIB:.2f} |"
    if FAULT in found:
        yield f"| {found[FAULT]} | | | |"


def start_table(results: Results, name: str) -> Iterator[str]:
    """Seconds from the start of a process to its first picture."""
    found = results["start"][name]
    yield f"### {BUILDS[name].title}: seconds from the start of a process to its first frame"
    yield ""
    yield "| | first process | second process | second / first |"
    yield "|---|---|---|---|"
    for who, title in STARTS.items():
        if who not in found:
            continue
        cold, warm = (found[who].get(which, {}) for which in ("cold", "warm"))
        faults = [figures[FAULT] for figures in (cold, warm) if FAULT in figures]
        cells = [_number(one.get("first_of_process")) for one in (cold, warm)]
        cells.append(_number(second_to_first(found, who)))
        yield f"| {' — '.join([title, *faults])} | {' | '.join(cells)} |"


def second_to_first(found: Mapping[str, Any], who: str) -> float | None:
    """Seconds of the second process to those of the first."""
    runs = found.get(who, {})
    cold, warm = (runs.get(which, {}).get("first_of_process") for which in ("cold", "warm"))
    return warm / cold if cold and warm else None


def aims(results: Results) -> Iterator[Aim]:
    """What is wanted of the build of Stable Diffusion 1.5, or of the one that was measured."""
    names = list(results.get("film", {}))
    if names:
        name = "sd15" if "sd15" in names else names[0]
        for other, wanted in (("walk", 5), ("compiled", 1.5), ("batched", 1.1)):
            what = f"sdcreative to {CONTENDERS[other]}"
            yield Aim(what, wanted, times(results, name, "exact", other), unit=" times")
        share = share_of_peak(results, name, "exact")
        yield Aim("share of peak, denoising", 60, share and 100 * share, unit=" %")
        whole = whole_to_alone(results, name, "exact")
        yield Aim("whole job to denoising alone", 1.05, whole, least=False, unit=" times")
        fast = times(results, name, "fast", "walk")
        yield Aim("`speed: fast` to the walk", 12, fast, unit=" times")
        preview = frames_per_second(results, name, "preview")
        yield Aim("preview", 60, preview, unit=" frames/s")
    for name, found in results.get("equal", {}).items():
        for title, figures in found["rows"].items():
            what = f"{BUILDS[name].title}: {title}"
            if title.startswith("sdcreative, float32"):
                yield Aim(f"{what}, PSNR", 40, figures.get("psnr"), unit=" dB")
            elif title.startswith("sdcreative"):
                yield Aim(f"{what}, error", 1.1, figures.get("ratio"), False, " times theirs")
    if found := results.get("inversion"):
        speed = next(iter(found.get("ways", {}).values()), {}).get("speed")
        yield Aim("inversion of many clips", 300, speed, unit=" times real time")
    for name, found in results.get("start", {}).items():
        what = f"{BUILDS[name].title}: second process to the first"
        yield Aim(what, 0.33, second_to_first(found, "exact"), least=False)


def aims_table(results: Results) -> Iterator[str]:
    """All aims of what was measured."""
    yield "### Aims"
    yield ""
    yield "| aim | wanted | found | met |"
    yield "|---|---|---|---|"
    yield from (aim.line for aim in aims(results))


def everything(results: Results) -> Iterator[str]:
    """All tables of what was measured."""
    yield from heading(results)
    tables = {"film": film_table, "equal": equal_table, "start": start_table}
    for section, table in tables.items():
        for name in results.get(section, {}):
            yield ""
            yield from table(results, name)
    if "inversion" in results:
        yield ""
        yield from inversion_table(results)
    yield ""
    yield from aims_table(results)


def _peaks(results: Results) -> dict[str, float]:
    peak: dict[str, float] = results.get("machine", {}).get("peak", {})
    return peak


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _inverse(value: float | None) -> float | None:
    return 1 / value if value else None
