"""Shots: what a picture is made from, in words that a plugin writes and the runtime reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

Method = Literal["slerp", "lerp"]
Centre = Literal["zero", "empty", "negative"]
Border = Literal["reflect", "wrap", "replicate"]
ColourSpace = Literal["none", "lab", "rgb"]


INVERSION_ITERATIONS = 5
"""evaluations per step of an inversion; with these, 20 steps and no guidance give a picture back
within 3 %"""


@dataclass(frozen=True)
class Curve:
    """What a path does beyond the two prompts it lies between, to pass them without a corner.

    Attributes:
        before: the prompt before ``start``; None where the path begins at ``start``.
        after: the prompt after ``end``; None where the path ends at ``end``.
        spans: how long the ways before -> start, start -> end and end -> after last, in any unit.
    """

    before: str | None = None
    after: str | None = None
    spans: tuple[float, float, float] = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Blend:
    """A prompt, or a point on the path between the embeddings of two prompts.

    Attributes:
        start: the prompt at t = 0.
        end: the prompt at t = 1; None for a single prompt.
        t: position on the path, in [0, 1].
        method: slerp (per token) or lerp.
        centre: the point that slerp turns around: the origin, the embeddings of the empty prompt,
            or those of the shot's negative prompt.
        curve: what makes the path smooth at its ends; None for the shortest way.
    """

    start: str
    end: str | None = None
    t: float = 0.0
    method: Method = "slerp"
    centre: Centre = "zero"
    curve: Curve | None = None


@dataclass(frozen=True, eq=False)
class Inversion:
    """The initial noise from which the model makes a picture that is there already.

    Found by sampling backwards (DDIM inversion; Song et al. 2021, section 4.3). What sampling
    forwards again misses of the picture is added to the result, so that a shot of this noise,
    prompt and guidance is the picture, as the autoencoder gives it back. Equal only to itself:
    make one for a picture, and use it in all shots.

    Attributes:
        image: the picture.
        prompt: what it shows.
        negative: what guidance moves away from.
        guidance_scale: as in the shots that begin here.
    """

    image: Image
    prompt: Blend
    negative: Blend = Blend("")
    guidance_scale: float = 7.5


@dataclass(frozen=True)
class Noise:
    """Initial noise of one seed, or a point on the great circle between the noises of two.

    Attributes:
        start: seed at t = 0, at least 0; or the inversion of a picture.
        end: the same at t = 1; None for a single one.
        t: position on the path, in [0, 1].
    """

    start: int | Inversion
    end: int | Inversion | None = None
    t: float = 0.0


@dataclass(frozen=True)
class Mixture:
    """Initial noise that is a sum of the noises of several seeds.

    Noises of different seeds are independent, so a sum whose weights have squares that add up to
    1 is standard normal noise again: circles, walks and splines of noise are paths on the unit
    sphere of such weights.

    Attributes:
        terms: (seed, weight) pairs, each seed once; the squares of the weights add up to 1.
    """

    terms: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class Sizes:
    """What Stable Diffusion XL is told of a picture's sizes (Podell et al. 2023, section 2.2).

    Attributes:
        original: (width, height) of the picture before it was scaled; small ones look coarse.
        crop: (left, top) of what was cut off; (0, 0) shows things whole.
        target: (width, height) that it is shown in.
    """

    original: tuple[float, float]
    crop: tuple[float, float] = (0.0, 0.0)
    target: tuple[float, float] | None = None

    def towards(self, end: Sizes, t: float) -> Sizes:
        """The point at t in [0, 1] on the straight way to other sizes.

        A target on one side only holds all the way.
        """

        def between(a: tuple[float, float], b: tuple[float, float]) -> tuple[float, float]:
            return a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])

        if self == end or t == 0:
            return self
        start, stop = self.target or end.target, end.target or self.target
        target = between(start, stop) if start and stop else None
        return Sizes(between(self.original, end.original), between(self.crop, end.crop), target)


@dataclass(frozen=True)
class Trunk:
    """The first steps of denoising, done once for all shots whose trunks are equal.

    Attributes:
        steps: how many of the timeline's steps are shared, from 0 to all of them.
        sizes: as in ``Shot``.
    """

    prompt: Blend
    noise: Noise | Mixture
    steps: int
    negative: Blend = Blend("")
    guidance_scale: float = 7.5
    sizes: Sizes | None = None


@dataclass(frozen=True)
class Motion:
    """How a picture moves from one frame to the next, as in Deforum's 2D mode.

    Attributes:
        zoom: scale about the centre; over 1 moves in.
        angle: degrees, counter-clockwise.
        shift: pixels to the right and down.
        centre: fixed point of zoom and rotation, as shares of width and height.
        border: what fills the parts that come into view.
    """

    zoom: float = 1.0
    angle: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)
    centre: tuple[float, float] = (0.5, 0.5)
    border: Border = "reflect"


@dataclass(frozen=True)
class Follow:
    """As a start picture: the picture of the shot before, moved.

    Attributes:
        motion: how it is moved.
        colours: where its means and deviations are brought to those of the film's first picture.
        sharpen: amount of an unsharp mask that makes up for what moving blurs; 0 for none.
        noise: standard deviation of the grain that is added, of values in [0, 1].
        seed: of the grain.
    """

    motion: Motion = Motion()
    colours: ColourSpace = "none"
    sharpen: float = 0.0
    noise: float = 0.0
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Continuation:
    """As a start picture: goes on to the right where the picture of the shot before ends.

    What the two share is kept, the rest is painted (outpainting).

    Attributes:
        overlap: columns at the left that are the last ones of the picture before.
        closing: columns at the right that are the first ones of the film's first picture, where a
            circle closes.
        image: what the rest begins from; None repeats what is shared.
    """

    overlap: int
    closing: int = 0
    image: Image | None = None


@dataclass(frozen=True, eq=False)
class Crossfade:
    """As a start picture: a point between two, their latents slerped.

    Attributes:
        t: position, in [0, 1].
    """

    start: Image
    end: Image
    t: float


Following = Follow | Continuation
"""Start pictures that are made of what was rendered before."""


@dataclass(frozen=True)
class Shot:
    """One denoised picture.

    Attributes:
        prompt: what it shows.
        noise: what it starts from.
        negative: what guidance moves away from.
        guidance_scale: classifier-free guidance (Ho and Salimans 2022); 1 switches it off.
        trunk: shared first steps; its noise then takes the place of the shot's.
        image: start image for image to image (SDEdit) or inpainting; a ``Follow`` or a
            ``Continuation`` is not for the first shot of a timeline.
        mask: with ``image``; white is painted anew, black is kept.
        strength: with ``image``: 0 gives it back unchanged, 1 starts from pure noise.
        sizes: what models are told that ask for it; None for those of the film.
    """

    prompt: Blend
    noise: Noise | Mixture
    negative: Blend = Blend("")
    guidance_scale: float = 7.5
    trunk: Trunk | None = None
    image: Image | Crossfade | Following | None = None
    mask: Image | None = None
    strength: float = 1.0
    sizes: Sizes | None = None
