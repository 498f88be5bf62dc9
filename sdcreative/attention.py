"""Which part of a picture looks at which word of its prompt: made, and drawn over the picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from .core.prompt_syntax import read_prompt
from .errors import UsageError
from .models.attention_maps import recording, token_places, word_map
from .models.sampler_names import describe
from .storyboard.tiles import Tile, TileRow, tile_sheet

if TYPE_CHECKING:
    from torch import Tensor

    from .core.prompt_words import Wording
    from .studio import Studio

SMALL, SMALL_COLUMNS = 128, 6
LARGE, LARGE_COLUMNS = 288, 3
"""side of a picture on a sheet in pixels, and pictures in a row: of small pictures, and others"""
_STOPS = ((255, 246, 200), (254, 200, 90), (244, 120, 50), (200, 40, 60), (110, 10, 90))
_FAINT = 0.55
"""how far the picture fades to white below the colours"""


@dataclass(frozen=True, eq=False)
class WordMap:
    """What a word gets of the attention.

    Attributes:
        word: as it was asked for.
        places: of its tokens, among all of the prompt.
        shares: (h, w) at each place of the latents, in [0, 1]; all tokens together have 1.
    """

    word: str
    places: tuple[int, ...]
    shares: Tensor

    @property
    def mean(self) -> float:
        """Share of the whole picture's attention."""
        return float(self.shares.mean())

    @property
    def most(self) -> float:
        """The largest share of a place."""
        return float(self.shares.max())


@dataclass(frozen=True, eq=False)
class Attended:
    """A picture, and where in it the words of its prompt are looked at."""

    picture: Image.Image
    words: tuple[WordMap, ...]


def attend(
    studio: Studio,
    prompt: str,
    words: Sequence[str],
    *,
    seed: int = 0,
    steps: int = 20,
    sampler: str = "DPM++ 2M",
    guidance_scale: float = 7.5,
    first: int = 1,
    last: int | None = None,
) -> Attended:
    """Make a picture, and record its cross-attention on the way.

    Args:
        studio: a model with a U-Net.
        prompt: with weights, if you like; one that stays the same in all steps.
        words: of the prompt, at least one; each may be several words that follow each other.
        seed, steps, sampler, guidance_scale: as for ``Studio.picture``.
        first, last: steps over which attention is averaged, counted from 1; None for the last.

    Raises:
        UsageError: no such word or steps, a prompt that changes or is several, or a model
            without a U-Net.
    """
    wording = _only_wording(prompt, steps)
    last = steps if last is None else last
    if not words:
        raise UsageError("no words to look for; give some of the prompt")
    if not 1 <= first <= last <= steps:
        raise UsageError(f"steps {first} to {last} of {steps}; give two of them, the smaller first")
    places = [token_places(studio.parts, wording, word) for word in words]
    with recording(studio.parts.unet) as maps:
        picture = studio.picture(
            prompt, seed=seed, steps=steps, sampler=sampler, guidance_scale=guidance_scale
        )
    calls = describe(sampler).calls
    found = maps.mean(first=(first - 1) * calls, stop=last * calls)
    return Attended(
        picture,
        tuple(
            WordMap(word, place, word_map(found, place))
            for word, place in zip(words, places, strict=True)
        ),
    )


def overlay(picture: Image.Image, shares: Tensor, most: float | None = None) -> Image.Image:
    """A picture in faint grey, coloured where a word is looked at: RGB, of its size.

    Args:
        picture: RGB.
        shares: (h, w); the least is not coloured at all.
        most: share of the darkest colour; None for the largest that there is.
    """
    least = float(shares.min())
    span = (float(shares.max()) if most is None else most) - least
    heat = ((shares - least) / span if span > 0 else torch.zeros_like(shares)).clamp(0, 1)
    sized = Image.fromarray(heat.float().numpy()).resize(picture.size, Image.Resampling.BICUBIC)
    depth = np.clip(np.asarray(sized), 0, 1)
    grey = np.asarray(ImageOps.grayscale(picture), np.float32)[..., None]
    faint = 255 * _FAINT + grey * (1 - _FAINT)
    places = np.linspace(0, 1, len(_STOPS))
    stops = np.array(_STOPS, np.float32)
    colours = np.stack([np.interp(depth, places, stops[:, i]) for i in range(3)], -1)
    # Outlines stay visible below the deepest colour.
    strength = 0.85 * depth[..., None] ** 0.8
    mixed = faint * (1 - strength) + colours * strength
    drawn = mixed * (0.75 + 0.25 * _edges(picture)[..., None])
    return Image.fromarray(np.rint(drawn).astype(np.uint8))


def draw_attention(attended: Attended) -> Image.Image:
    """The picture, and beside it one for every word, with the word's mean and largest share."""
    tiles = [Tile(attended.picture, "picture")]
    for one in attended.words:
        note = f"{100 * one.mean:.1f} %, at most {100 * one.most:.1f} %"
        tiles.append(Tile(overlay(attended.picture, one.shares), one.word, note))
    small = max(attended.picture.size) <= SMALL
    side, columns = (SMALL, SMALL_COLUMNS) if small else (LARGE, LARGE_COLUMNS)
    places = [*tiles, *[None] * (-len(tiles) % columns)]
    rows = [TileRow(places[i : i + columns]) for i in range(0, len(places), columns)]
    return tile_sheet(rows, side)


def _only_wording(prompt: str, steps: int) -> Wording:
    """A prompt as it is in all steps."""
    read = read_prompt(prompt, "weighted")
    if len(read.terms) > 1 or read.changes(steps) or read.loras:
        raise UsageError(
            f"attention is shown for one prompt that stays as it is, not for {prompt!r}; leave "
            "out AND, [a:b:0.5], [a|b] and <lora:...>"
        )
    return read.terms[0].at(0, steps)


def _edges(picture: Image.Image) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """0 on the outlines of what is shown, 1 elsewhere."""
    found = np.asarray(ImageOps.grayscale(picture).filter(ImageFilter.FIND_EDGES), np.float32)
    found = found.copy()
    found[[0, -1]] = 0
    found[:, [0, -1]] = 0
    edges: np.ndarray[tuple[int, int], np.dtype[np.float32]] = 1 - np.clip(found / 128, 0, 1)
    return edges
