"""The timeline: a lazy sequence of frames, each saying what one picture is made from.

A picture plugin yields a timeline and never touches a model; the runtime turns it into pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from .feature_caching import Caching
from .guidance_style import PLAIN, GuidanceStyle
from .large import Hires, Tiling
from .prompt_words import Prompts
from .shots import Shot, Sizes
from .spacing import Spacing

if TYPE_CHECKING:
    from ..spectral.score import Score

MAX_FRAMES = 3_000_000
"""of a film: 27 hours at 30 a second"""

Seamless = Literal["", "x", "y", "xy"]
Linears = Literal["auto", "float8"]


@dataclass(frozen=True)
class Between:
    """A picture between the shots before and after it: their final latents, slerped, decoded.

    Attributes:
        t: position from the shot before (0) to the shot after (1).
    """

    t: float


Frame = Shot | Between


@dataclass(frozen=True)
class Retiming:
    """How a timeline is made anew so that its frames lie at equal visual steps.

    The path is split into segments that keep their ends. The runtime renders a coarse probe of
    it, measures how far neighbouring pictures are apart, and asks for the timeline once more.

    Attributes:
        segments: number of segments, at least 1.
        shot: (segment, t) -> what the path shows there, t in [0, 1], before any easing.
        timeline: (arcs) -> the timeline to render, given the arc length of every segment.
        metric: name of the distance between two pictures.
        probes: pictures of the probe in every segment, its ends included; at least 3.
        steps: sampling steps of the probe.
    """

    segments: int
    shot: Callable[[int, float], Shot]
    timeline: Callable[[Sequence[Arc]], Timeline]
    metric: str = "latent"
    probes: int = 33
    steps: int = 20


class Arc(Protocol):
    """Arc length along one segment."""

    @property
    def length(self) -> float:
        """Sum of the distances between neighbours; at least 0, in the metric's own unit."""

    def at(self, share: float) -> float:
        """The t in [0, 1] by which the share in [0, 1] of the length is covered.

        0 at 0, 1 at 1, never decreasing.
        """


@dataclass(frozen=True)
class Sound:
    """What is heard with a film, cut to its length.

    Attributes:
        path: a sound file.
        start: seconds into it at which the film begins.
        fade_in: seconds at the film's beginning.
        fade_out: seconds at its end.
    """

    path: str
    start: float = 0.0
    fade_in: float = 0.0
    fade_out: float = 0.0


@dataclass(frozen=True)
class Timeline:
    """Frames in order, and what they have in common.

    Attributes:
        frames: called once for every rendering; returns the frames one by one. A ``Between`` has
            a ``Shot`` somewhere before and after it; see ``closed``.
        length: number of frames, before any are played back.
        steps: sampling steps, at least 1.
        sampler: sampler name, such as "DPM++ 2M Karras".
        size: (width, height) in pixels, or None for the model's own.
        fps: frames per second of a film.
        columns: tile all pictures into one sheet of so many columns; None for a film.
        ping_pong: play the frames back again after the last, without doubling either end; they
            are not rendered twice.
        closed: played in a circle: a ``Between`` after the last shot leads to the first one.
        retiming: how to place the frames at equal visual steps; the frames are then those of the
            film without it, equal in number. None leaves them where they are.
        sound: what is heard with the film.
        seamless: directions in which every picture goes on at its other edge: x from right to
            left, y from bottom to top.
        voices: films that take turns, frame by frame, such as left and right; a shot follows, or
            goes on from, those of its own. Above 1 there are shots only.
        score: how the pictures are heard, where they are music.
        prompts: weighted reads AUTOMATIC1111's syntax in all prompts, as ``core.prompt_syntax``
            says; plain takes every character as text.
        clip_skip: layer of the text encoders, counted from the last as AUTOMATIC1111 does.
        guidance: how guidance acts over the steps.
        sizes: what models are told that ask for it, where a shot does not say.
        tiling: windows in which large pictures are denoised; None for all at once.
        hires: a second pass in a larger size; ``size`` is that of the first.
        caching: how deep features are reused from step to step; None evaluates all in full.
        spacing: how the sampler's timesteps lie; auto leaves it to the model.
        eta: share of new noise in every step of the sampler TCD, in [0, 1]; None for its own.
        linears: float8 multiplies matrices in 8 bits, on devices that can; auto in the dtype.
        preview: pictures come from a quick decoder.
    """

    frames: Callable[[], Iterable[Frame]]
    length: int
    steps: int = 20
    sampler: str = "DPM++ 2M"
    size: tuple[int, int] | None = None
    fps: float = 12.0
    columns: int | None = None
    ping_pong: bool = False
    closed: bool = False
    retiming: Retiming | None = None
    sound: Sound | None = None
    seamless: Seamless = ""
    voices: int = 1
    score: Score | None = None
    prompts: Prompts = "weighted"
    clip_skip: int = 1
    guidance: GuidanceStyle = PLAIN
    sizes: Sizes | None = None
    tiling: Tiling | None = None
    hires: Hires | None = None
    caching: Caching | None = None
    spacing: Spacing = "auto"
    eta: float | None = None
    linears: Linears = "auto"
    preview: bool = False

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames())

    def __len__(self) -> int:
        """Number of pictures that come out."""
        return max(self.length, 2 * self.length - 2) if self.ping_pong else self.length
