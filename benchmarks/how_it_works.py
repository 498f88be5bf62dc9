"""The pictures of docs/how-it-works.md, made by the suite itself with the built-in model.

    python benchmarks/how_it_works.py docs/how-it-works

Takes about half a minute on one core, and writes the same pictures again on the same machine.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from how_it_works_plot import Axes, Curve, draw_axes
from sdcreative import Blend, Studio
from sdcreative.attention import attend, overlay
from sdcreative.core.conditioning import blend
from sdcreative.core.guidance import reading_of
from sdcreative.core.interpolation import lerp
from sdcreative.core.noise import blend_noise, draw_noise
from sdcreative.core.sampling import denoise, initial_latents
from sdcreative.models.denoiser import predictor
from sdcreative.models.samplers import build_sampler
from sdcreative.models.vae import decode_latents, encode_pictures, to_pictures, to_pixels
from sdcreative.rendering.embeddings import Embeddings, Row
from sdcreative.storyboard.text import BACKGROUND
from sdcreative.storyboard.tiles import (
    MARGIN,
    WIDTH,
    Tile,
    TileRow,
    draw_tiles,
    tile_sheet,
    tiles_height,
)

BEAR, APPLE = "a picture of a bear, on a teal background", "a red apple, on a yellow background"
SEED, SCALE = 6, 5.0
SIDE = 128
PLOT = 250
"""height of a plot in pixels"""


@dataclass(frozen=True)
class Sizes:
    """How much is made: steps of a picture, and points of a curve."""

    steps: int = 20
    points: int = 101


@dataclass(frozen=True, eq=False)
class Moment:
    """One step of sampling.

    Attributes:
        time: the timestep.
        noisy: what enters the U-Net, (1, C, h, w).
        clean: the picture that it expects from there, likewise.
    """

    time: int
    noisy: Tensor
    clean: Tensor


def trace(
    studio: Studio, prompt: str, noise: Tensor, steps: int, scale: float
) -> tuple[list[Moment], Tensor]:
    """Sampling as ``Studio.picture`` does it, watched: every step, and the final latents."""
    parts = studio.parts
    sampler = build_sampler("DPM++ 2M", parts.scheduler_config, steps)
    embeddings = Embeddings(parts, steps=steps)
    row = Row(*embeddings.pair(Blend(prompt), Blend(""), scale), scale)
    moments: list[Moment] = []
    step = sampler.step

    @functools.wraps(step)
    def watched(output: Tensor, time: Tensor, latents: Tensor, **rest: Any) -> Any:
        reading = reading_of(sampler, latents, time)
        moments.append(Moment(int(time), latents, reading.a * latents + reading.b * output))
        return step(output, time, latents, **rest)

    sampler.step = watched
    with torch.inference_mode():
        latents = denoise(
            predictor(parts),
            sampler,
            initial_latents(sampler, noise[None], None, 0),
            embeddings.guidance([row]),
            start=0,
            stop=steps,
            generators=[torch.Generator()],
        )
    return moments, latents


def noise_of(studio: Studio, seed: int) -> Tensor:
    width, height = studio.size
    factor = studio.parts.downsampling
    return draw_noise(seed, (studio.parts.latent_channels, height // factor, width // factor))


def decoded(studio: Studio, latents: Tensor) -> Image.Image:
    return to_pictures(decode_latents(studio.parts, latents))[0]


def forward(studio: Studio, sizes: Sizes) -> Image.Image:
    """One picture with more and more noise, and the curve that says how much."""
    parts = studio.parts
    sampler = build_sampler("DDIM", parts.scheduler_config)
    alphas = sampler.alphas_cumprod.double()
    picture = studio.picture(BEAR, seed=SEED, steps=sizes.steps, guidance_scale=SCALE)
    clean = encode_pictures(parts, to_pixels([picture]))
    noise = noise_of(studio, SEED + 1)[None]
    shown = [0, 200, 400, 600, 800, 999]
    tiles = []
    for time in shown:
        noisy = sampler.add_noise(clean, noise, torch.tensor([time]))
        share = float(alphas[time])
        note = f"{share**0.5:.2f} of it, {(1 - share) ** 0.5:.2f} noise"
        tiles.append(Tile(decoded(studio, noisy), f"t = {time}", note))
    every = max(1, 1000 // sizes.points)
    times = sorted({*range(0, 1000, every), *shown})
    axes = Axes(
        "What the noised latents are made of",
        "timestep t",
        (
            Curve("picture, sqrt(alpha_bar)", [(t, float(alphas[t]) ** 0.5) for t in times], shown),
            Curve(
                "noise, sqrt(1 - alpha_bar)",
                [(t, (1 - float(alphas[t])) ** 0.5) for t in times],
                shown,
            ),
        ),
    )
    return above_plots([TileRow(tiles)], [axes])


def backward(studio: Studio, sizes: Sizes) -> Image.Image:
    """What the sampler holds in some steps, and the picture that is expected from there."""
    moments, _ = trace(studio, BEAR, noise_of(studio, SEED), sizes.steps, SCALE)
    wanted = (0, 3, 7, 12, 19)
    shown = sorted({round(index / 19 * (sizes.steps - 1)) for index in wanted})
    held, alone, guided = [], [], []
    for index in shown:
        moment = moments[index]
        held.append(Tile(decoded(studio, moment.noisy)))
        alone.append(Tile(decoded(studio, without_guidance(studio, BEAR, moment))))
        words = f"step {index + 1} of {sizes.steps}", f"t = {moment.time}"
        guided.append(Tile(decoded(studio, moment.clean), *words))
    return tile_sheet(
        [
            TileRow(held, "what the sampler holds"),
            TileRow(alone, "what the U-Net expects"),
            TileRow(guided, f"the same, guidance {SCALE:g}"),
        ]
    )


@torch.no_grad()
def without_guidance(studio: Studio, prompt: str, moment: Moment) -> Tensor:
    """The picture that the U-Net expects by the prompt alone, (1, C, h, w)."""
    parts = studio.parts
    time = torch.tensor(moment.time)
    output = predictor(parts)(moment.noisy, time, Embeddings(parts).of(prompt))
    sampler = build_sampler("DPM++ 2M", parts.scheduler_config)
    reading = reading_of(sampler, moment.noisy, time)
    return reading.a * moment.noisy + reading.b * output


def latents_as_pictures(studio: Studio, sizes: Sizes) -> Image.Image:
    """The channels of latents; what each decodes to by itself; what one place of each moves."""
    _, latents = trace(studio, BEAR, noise_of(studio, SEED), sizes.steps, SCALE)
    whole = decoded(studio, latents)
    row, column = latents.shape[-2] // 2, latents.shape[-1] // 2
    place = column * studio.parts.downsampling, row * studio.parts.downsampling
    nothing = torch.zeros_like(latents)
    channels = [Tile(whole, "decoded")]
    alone = [Tile(decoded(studio, nothing), "all zero")]
    moved = [Tile(close_up(studio, whole, place), "as it is")]
    for number in range(latents.shape[1]):
        channel = latents[0, number]
        words = f"{float(channel.mean()):+.2f} ± {float(channel.std()):.2f}"
        channels.append(Tile(signed(channel), f"channel {number + 1}", words))
        one, other = nothing.clone(), latents.clone()
        one[:, number] = channel
        other[:, number, row, column] += 3
        alone.append(Tile(decoded(studio, one), f"only channel {number + 1}"))
        seen = close_up(studio, decoded(studio, other), place)
        moved.append(Tile(seen, f"channel {number + 1} + 3"))
    return tile_sheet(
        [
            TileRow(channels, "the latents"),
            TileRow(alone, "decoded, the others zero"),
            TileRow(moved, "one place changed, close up"),
        ]
    )


def close_up(studio: Studio, picture: Image.Image, place: tuple[int, int]) -> Image.Image:
    """The pixels around those of one place of the latents, which are framed."""
    pixels = studio.parts.downsampling
    wide = min(4 * pixels, *picture.size)
    left, top = (at + pixels // 2 - wide // 2 for at in place)
    scale = SIDE // wide
    cut = picture.crop((left, top, left + wide, top + wide))
    shown = cut.resize((wide * scale, wide * scale), Image.Resampling.NEAREST)
    x, y = (place[0] - left) * scale, (place[1] - top) * scale
    edge = x - 1, y - 1, x + pixels * scale, y + pixels * scale
    ImageDraw.Draw(shown).rectangle(edge, outline="white")
    return shown


def attention(studio: Studio, sizes: Sizes) -> Image.Image:
    """Where words of two prompts are looked at."""
    early = max(1, sizes.steps // 4)
    rows = []
    wanted: Sequence[tuple[str, Sequence[str], int, tuple[int, int], str]] = (
        (APPLE, ("red", "apple", "yellow", "background"), 1, (1, early), f"steps 1 to {early}"),
        (
            APPLE,
            ("red", "apple", "yellow", "background"),
            1,
            (early + 1, sizes.steps),
            f"steps {early + 1} to {sizes.steps}",
        ),
        (BEAR, ("picture", "bear", "on", "teal"), SEED, (1, sizes.steps), "all steps"),
    )
    for prompt, words, seed, (first, last), name in wanted:
        found = attend(
            studio,
            prompt,
            words,
            seed=seed,
            steps=sizes.steps,
            guidance_scale=SCALE,
            first=first,
            last=last,
        )
        tiles = [Tile(found.picture)]
        for one in found.words:
            note = f"{100 * one.mean:.0f} %, at most {100 * one.most:.0f} %"
            tiles.append(Tile(overlay(found.picture, one.shares), one.word, note))
        rows.append(TileRow(tiles, name))
    return tile_sheet(rows)


def guidance(studio: Studio, sizes: Sizes) -> Image.Image:
    """The same noise with more and more guidance."""
    rows = []
    for prompt, name, seed in ((BEAR, "a bear", SEED), ("a picture of an owl", "an owl", 1)):
        tiles = []
        for scale in (1.0, 2.0, 4.0, 7.5, 15.0):
            _, latents = trace(studio, prompt, noise_of(studio, seed), sizes.steps, scale)
            note = f"deviation {float(latents.std()):.2f}"
            tiles.append(Tile(decoded(studio, latents), f"scale {scale:g}", note))
        rows.append(TileRow(tiles, name))
    return tile_sheet(rows)


def paths(studio: Studio, sizes: Sizes) -> Image.Image:
    """Straight lines and arcs between two noises and two prompts: pictures, and lengths."""
    a, b = (noise_of(studio, seed) for seed in (SEED, 3))
    ways: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
        "slerp": blend_noise,
        "lerp": lerp,
    }
    rows = []
    for name, way in ways.items():
        tiles = []
        for t in (0.0, 0.25, 0.5, 0.75, 1.0):
            point = way(a, b, t)
            # Guidance would hide most of what is lost.
            _, latents = trace(studio, BEAR, point, sizes.steps, 1.0)
            picture = decoded(studio, latents)
            note = f"length {float(point.norm()):.1f}, detail {detail(picture):.1f}"
            tiles.append(Tile(picture, f"t = {t:g}", note))
        rows.append(TileRow(tiles, f"{name} of the noise"))
    embeddings = Embeddings(studio.parts)
    start, end = embeddings.of("a picture of a bear"), embeddings.of("a red apple")
    places = [index / (sizes.points - 1) for index in range(sizes.points)]

    def prompt_length(t: float, method: Any) -> float:
        """Mean over the tokens that differ, as a share of the way between the ends' own."""
        point = blend(start, end, t, method).embeddings[0]
        ends = torch.lerp(start.embeddings[0].norm(dim=-1), end.embeddings[0].norm(dim=-1), t)
        differ = (start.embeddings[0] != end.embeddings[0]).any(dim=-1)
        return float((point.norm(dim=-1) / ends)[differ].mean())

    def noise_length(t: float, method: Any) -> float:
        ends = float(a.norm()) + t * (float(b.norm()) - float(a.norm()))
        return float(ways[method](a, b, t).norm()) / ends

    def curves(length: Callable[[float, Any], float]) -> tuple[Curve, ...]:
        return tuple(Curve(name, [(t, length(t, name)) for t in places]) for name in ways)

    return above_plots(
        rows,
        [
            Axes("Length: two noises", "t", curves(noise_length), 0.6, 1.1),
            Axes("Length: two prompts", "t", curves(prompt_length), 0.6, 1.1),
        ],
    )


def detail(picture: Image.Image) -> float:
    """How far neighbouring pixels differ on average, of 255."""
    pixels = np.asarray(picture, np.float64)
    return float(np.mean([np.abs(np.diff(pixels, axis=axis)).mean() for axis in (0, 1)]))


def signed(channel: Tensor, most: float = 3.0) -> Image.Image:
    """Latents (h, w) as colours: blue below 0, white at 0, orange above."""
    share = (channel / most).clamp(-1, 1).double().numpy()
    ends = np.array([(0, 92, 168), (255, 255, 255), (206, 84, 0)], np.float64)
    rgb = np.stack([np.interp(share, (-1, 0, 1), ends[:, i]) for i in range(3)], -1)
    return Image.fromarray(np.rint(rgb).astype(np.uint8))


def above_plots(rows: Sequence[TileRow], plots: Sequence[Axes]) -> Image.Image:
    """Pictures, and below them plots beside each other."""
    top = MARGIN + tiles_height(rows, SIDE) + MARGIN
    sheet = Image.new("RGB", (WIDTH, top + PLOT + MARGIN), BACKGROUND)
    draw_tiles(sheet, rows, SIDE, MARGIN)
    wide = (WIDTH - 2 * MARGIN - (len(plots) - 1) * 40) // len(plots)
    for number, axes in enumerate(plots):
        left = MARGIN + number * (wide + 40)
        draw_axes(sheet, axes, (left, top, left + wide, top + PLOT))
    return sheet


PARTS: dict[str, Callable[[Studio, Sizes], Image.Image]] = {
    "noising": forward,
    "denoising": backward,
    "latents": latents_as_pictures,
    "attention": attention,
    "guidance": guidance,
    "paths": paths,
}
"""name of the file without .png -> what draws it"""


def write(sheet: Image.Image, path: Path) -> None:
    """A PNG with a palette of its own, which is a third of the size."""
    palette = sheet.quantize(256, kmeans=3, dither=Image.Dither.NONE)
    palette.save(path, optimize=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=list(PARTS))
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    studio = Studio.load("emoji", device="cpu")
    for name in arguments.only:
        path = arguments.folder / f"{name}.png"
        write(PARTS[name](studio, Sizes()), path)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
