"""The timeline: a lazy sequence of frames, each saying what one picture is made from.

A picture plugin yields a timeline and never touches a model; the runtime turns it into pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

Method = Literal["slerp", "lerp"]


@dataclass(frozen=True)
class Blend:
    """A prompt, or a point on the path between the embeddings of two prompts.

    Attributes:
        start: the prompt at t = 0.
        end: the prompt at t = 1; None for a single prompt.
        t: position on the path, in [0, 1].
        method: slerp (per token) or lerp.
    """

    start: str
    end: str | None = None
    t: float = 0.0
    method: Method = "slerp"


@dataclass(frozen=True)
class Noise:
    """Initial noise of one seed, or a point on the great circle between the noises of two.

    Attributes:
        start: seed at t = 0, at least 0.
        end: seed at t = 1; None for a single seed.
        t: position on the path, in [0, 1].
    """

    start: int
    end: int | None = None
    t: float = 0.0


@dataclass(frozen=True)
class Trunk:
    """The first steps of denoising, done once for all shots whose trunks are equal.

    Attributes:
        steps: how many of the timeline's steps are shared, from 0 to all of them.
    """

    prompt: Blend
    noise: Noise
    steps: int
    negative: Blend = Blend("")
    guidance_scale: float = 7.5


@dataclass(frozen=True)
class Shot:
    """One denoised picture.

    Attributes:
        prompt: what it shows.
        noise: what it starts from.
        negative: what guidance moves away from.
        guidance_scale: classifier-free guidance (Ho and Salimans 2022); 1 switches it off.
        trunk: shared first steps; its noise then takes the place of the shot's.
        image: start image for image to image (SDEdit) or inpainting.
        mask: with ``image``; white is painted anew, black is kept.
        strength: with ``image``: 0 gives it back unchanged, 1 starts from pure noise.
    """

    prompt: Blend
    noise: Noise
    negative: Blend = Blend("")
    guidance_scale: float = 7.5
    trunk: Trunk | None = None
    image: Image | None = None
    mask: Image | None = None
    strength: float = 1.0


@dataclass(frozen=True)
class Between:
    """A picture between the shots before and after it: their final latents, slerped, decoded.

    Attributes:
        t: position from the shot before (0) to the shot after (1).
    """

    t: float


Frame = Shot | Between


@dataclass(frozen=True)
class Timeline:
    """Frames in order, and what they have in common.

    Attributes:
        frames: called once for every rendering; returns the frames one by one. A ``Between`` has
            a ``Shot`` somewhere before and after it.
        length: number of frames, before any are played back.
        steps: sampling steps, at least 1.
        sampler: sampler name, such as "DPM++ 2M Karras".
        size: (width, height) in pixels, or None for the model's own.
        fps: frames per second of a film.
        columns: tile all pictures into one sheet of so many columns; None for a film.
        ping_pong: play the frames back again after the last, without doubling either end; they
            are not rendered twice.
    """

    frames: Callable[[], Iterable[Frame]]
    length: int
    steps: int = 20
    sampler: str = "DPM++ 2M"
    size: tuple[int, int] | None = None
    fps: float = 12.0
    columns: int | None = None
    ping_pong: bool = False

    def __iter__(self) -> Iterator[Frame]:
        return iter(self.frames())

    def __len__(self) -> int:
        """Number of pictures that come out."""
        return max(self.length, 2 * self.length - 2) if self.ping_pong else self.length
