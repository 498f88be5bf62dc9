"""Frames at equal visual steps: a probe of the path is rendered, measured, and the film re-timed.

A model does not change evenly along a path: it dwells, and then swaps one thing for another within
a hundredth of the way. Probes at even t straddle such a swap without seeing where in the gap it
lies. So half of the probes are spread evenly, and each of the others halves the gap across which
most happens: the swap is closed in on by a factor of two at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from typing import TYPE_CHECKING

from .core.retiming import ArcLength, Steps, measure_steps
from .core.shots import Shot
from .core.timeline import Retiming, Timeline
from .errors import PluginError, UsageError
from .metrics import Metric, find_metric

if TYPE_CHECKING:
    from PIL.Image import Image

    from .studio import Studio

Render = Callable[[Timeline], Iterable["Image"]]

FINEST = 2.0**-14
"""gaps of t that are not halved: closer embeddings hardly differ in single precision"""
GOAL = 0.5
"""a gap is fine enough at this share of the mean step between two frames of the film"""


@dataclass(frozen=True)
class RetimingReport:
    """What a probe found.

    Attributes:
        metric: name of the distance.
        pictures: probe pictures that were rendered.
        arcs: of the segments.
        even: steps of the probe while it was at even t, over all segments: how uneven the film
            would have been.
        gap: largest step left in the probe, in mean steps between two frames of the film. Frames
            that fall into a gap above 1 are placed by interpolation alone.
    """

    metric: str
    pictures: int
    arcs: tuple[ArcLength, ...]
    even: Steps
    gap: float

    def __str__(self) -> str:
        text = (
            f"timing: {self.pictures} probe pictures, metric {self.metric}; evenly timed, "
            f"the largest step would be {self.even.ratio:.1f} times the median"
        )
        if self.gap > 1:
            text += f"; its widest gap takes {self.gap:.1f} mean steps, more probes place better"
        return text


def retime(
    studio: Studio,
    timeline: Timeline,
    *,
    render: Render | None = None,
    report: Callable[[str], None] | None = None,
) -> tuple[Timeline, RetimingReport]:
    """The timeline with its frames at equal visual steps, as its ``retiming`` says.

    The probe has fewer steps than the film; trunks are shortened in proportion. Pictures of one
    segment are held at a time. Ends that two segments share are rendered once. The same timeline
    gives the same result, whatever the batch size does to the last bit of a picture apart.

    Args:
        studio: the model.
        timeline: one with a ``retiming``.
        render: makes the probe's pictures; ``studio.render`` if None.
        report: told the result in one line.

    Returns:
        A timeline of the same length without a ``retiming``, and what was found.

    Raises:
        UsageError: a timeline without a retiming, a retiming out of range, an unknown metric, or
            one that lacks what it needs.
        PluginError: the timeline made anew has another length, or a retiming of its own.
        RenderError: as from ``studio.render``.
    """
    retiming = _checked(timeline)
    metric = find_metric(retiming.metric, studio)
    probe = _Probe(metric, render or studio.render, timeline, retiming)
    arcs = [probe.segment(index) for index in range(retiming.segments)]
    fresh = retiming.timeline(arcs)
    if fresh.length != timeline.length:
        raise PluginError(
            f"a timeline of {timeline.length} frames has {fresh.length} once it is re-timed; "
            "the plugin that made it has to keep their number"
        )
    if fresh.retiming is not None:
        raise PluginError("a timeline asks for retiming again once it is re-timed; leave it out")
    mean = sum(arc.length for arc in arcs) / max(1, timeline.length - 1)
    largest = max(chain.from_iterable(arc.distances for arc in arcs))
    found = RetimingReport(
        retiming.metric,
        probe.rendered,
        tuple(arcs),
        measure_steps(probe.even),
        largest / mean if mean else 0.0,
    )
    if report is not None:
        report(str(found))
    return fresh, found


def _checked(timeline: Timeline) -> Retiming:
    retiming = timeline.retiming
    if retiming is None:
        raise UsageError("this timeline has no retiming; render it as it is")
    for name, value, least in (
        ("segments", retiming.segments, 1),
        ("probes", retiming.probes, 3),
        ("steps", retiming.steps, 1),
    ):
        if value < least:
            raise UsageError(f"retiming: {name} is {value}; it has to be at least {least}")
    return retiming


class _Probe:
    """Pictures along the segments, and how far they are apart."""

    def __init__(
        self, metric: Metric, render: Render, timeline: Timeline, retiming: Retiming
    ) -> None:
        self.metric, self.render = metric, render
        self.timeline, self.retiming = timeline, retiming
        self.frames = (timeline.length - 1) / retiming.segments
        self.rendered = 0
        self.even: list[float] = []
        self._ends: list[tuple[Shot, Image]] = []

    def segment(self, index: int) -> ArcLength:
        """Spread half of the probes evenly, then halve the largest gaps."""
        count = self.retiming.probes
        evenly = (count + 1) // 2 if count > 4 else count
        times = [i / (evenly - 1) for i in range(evenly)]
        pictures = self._pictures(index, times)
        distances = self.metric(pictures)
        self.even += distances
        while len(times) < count:
            gaps = self._worst(times, distances)[: count - len(times)]
            if not gaps:
                break
            middles = [(times[gap] + times[gap + 1]) / 2 for gap in gaps]
            fresh = self._pictures(index, middles)
            # From the back, so that what is inserted does not move the gaps still to come.
            for gap, t, picture in sorted(zip(gaps, middles, fresh, strict=True), reverse=True):
                trio = [pictures[gap], picture, pictures[gap + 1]]
                distances[gap : gap + 1] = self.metric(trio)
                times.insert(gap + 1, t)
                pictures.insert(gap + 1, picture)
        return ArcLength(tuple(times), tuple(distances))

    def _worst(self, times: Sequence[float], distances: Sequence[float]) -> list[int]:
        """Gaps to halve next, the largest first: all of at least half of the largest."""
        goal = GOAL * sum(distances) / max(1.0, self.frames)
        widths = [after - before for before, after in pairwise(times)]
        open_gaps = [
            gap
            for gap, (width, distance) in enumerate(zip(widths, distances, strict=True))
            if width > FINEST and distance > goal
        ]
        open_gaps.sort(key=lambda gap: -distances[gap])
        return [gap for gap in open_gaps if distances[gap] >= distances[open_gaps[0]] / 2]

    def _pictures(self, index: int, times: Sequence[float]) -> list[Image]:
        """Pictures at those t of a segment; the ends of segments are remembered."""
        shots = [self._short(self.retiming.shot(index, t)) for t in times]
        known = {
            i: picture for i, shot in enumerate(shots) for end, picture in self._ends if end == shot
        }
        missing = [shot for i, shot in enumerate(shots) if i not in known]
        # Measured as the film is sampled, but for what comes after: sound, loop, second pass.
        timeline = replace(
            self.timeline,
            frames=lambda: missing,
            length=len(missing),
            steps=self.retiming.steps,
            ping_pong=False,
            closed=False,
            retiming=None,
            columns=None,
            sound=None,
            hires=None,
        )
        made = iter(list(self.render(timeline)) if missing else [])
        self.rendered += len(missing)
        pictures = [known[i] if i in known else next(made) for i in range(len(shots))]
        if times[-1] == 1:
            # The first of all closes a loop; the last one begins the next segment.
            start = self._ends[:1] or [(shots[0], pictures[0])]
            self._ends = [*start, (shots[-1], pictures[-1])]
        return pictures

    def _short(self, shot: Shot) -> Shot:
        """The shot in the steps of the probe."""
        if shot.trunk is None:
            return shot
        share = self.retiming.steps / self.timeline.steps
        steps = min(self.retiming.steps, round(shot.trunk.steps * share))
        return replace(shot, trunk=replace(shot.trunk, steps=steps))
