"""Quality of a text-to-image model of the emoji drawings.

    python benchmarks/emoji_quality.py [--model emoji] [--json FILE] [--sheet FILE.png]

Measured, with drawings held out as the training preset holds them out:

- the autoencoder's PSNR on held-out drawings, as training measures it;
- things: a classifier trained here on the real drawings, never on the model's text or image
  tower, names pictures of "a picture of a X". Only X itself counts, though some things look
  alike. To compare with: held-out real drawings, whose style of their thing the classifier has
  not seen, and training drawings sent through the model's autoencoder, the best that a model
  with this autoencoder can reach;
- backgrounds: things on a colour they were never shown on in training, and, with the same
  noise, on one they were shown on;
- the distance to the nearest training drawing: RMS of pixels in [0, 1], both cropped to the
  drawing. "Copies" are training drawings placed anew and sent through the autoencoder; a picture
  closer than the median of theirs counts as memorised, as half of the copies do by definition.
  With a poor autoencoder held-out drawings do too: read the three lines together;
- bear and apple, with the seeds 0, 1, 2, ...
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import platform
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from platformdirs import user_cache_path
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional

from sdcreative import Blend, Noise, SdcreativeError, Shot, Studio, Timeline, UsageError
from sdcreative.models.vae import decode_latents, encode_pictures
from sdcreative.presets import load_preset, validate
from sdcreative_plugins.train.emoji import read_emoji
from sdcreative_plugins.train.pictures import BACKGROUNDS, Drawing, compose, split_held_out
from sdcreative_plugins.train.settings import EmojiData, TrainSettings
from sdcreative_plugins.train.sheets import tile

FAVOURITES = {"bear": ("bear",), "apple": ("red apple", "green apple")}
ALWAYS = ("bear", "red apple")
MIN_STYLES = 3
PSNR_PICTURES = 64
HELD_OUT_PLACEMENTS = 8
COPIES = 400
CROP_SIDE = 32
BATCH = 64
CLASSIFIER_VERSION = 1
"""raised when the network or its augmentation changes, so that cached weights are not reused"""

Item = TypeVar("Item")
Report = Callable[[str], None]


@dataclass(frozen=True)
class Quality:
    """Reconstruction: mean PSNR in dB over so many pictures."""

    pictures: int
    psnr: float

    def __str__(self) -> str:
        return f"PSNR {self.psnr:.2f} dB"


@dataclass(frozen=True)
class Recognition:
    """Shares of pictures, in [0, 1], whose thing is the classifier's first or in its first five."""

    pictures: int
    top1: float
    top5: float

    def __str__(self) -> str:
        return f"top-1 {self.top1:7.1%}   top-5 {self.top5:7.1%}   of {self.pictures}"


@dataclass(frozen=True)
class Composition:
    """Shares of pictures with the asked background, with the thing in the first five, with both."""

    pictures: int
    background: float
    top5: float
    both: float

    def __str__(self) -> str:
        return (
            f"background {self.background:.1%}   thing in top-5 {self.top5:.1%}   "
            f"both {self.both:.1%}   of {self.pictures}"
        )


@dataclass(frozen=True)
class Distance:
    """Distance to the nearest training drawing: its median, and the share below a threshold."""

    pictures: int
    median: float
    threshold: float
    memorised: float

    def __str__(self) -> str:
        return f"median {self.median:.4f}   below {self.threshold:.4f}: {self.memorised:6.1%}"


Figure = Quality | Recognition | Composition | Distance
Guesses = list[tuple[str, ...]]


class Block(nn.Module):
    """Two convolutions beside a shortcut (He et al. 2015, fig. 2)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, 1, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.layers(x) + self.shortcut(x))


def build_network(classes: int) -> nn.Sequential:
    """A residual network of 0.9 M parameters: (N, 3, S, S) in [-1, 1] to (N, classes) logits."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, 2, 2, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Block(32, 32, 1),
        Block(32, 64, 2),
        Block(64, 128, 2),
        Block(128, 192, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(192, classes),
    )


@dataclass(frozen=True)
class Classifier:
    """Names what a picture shows.

    Attributes:
        network: of ``build_network``, in evaluation mode.
        things: names of the classes.
        side: of the pictures it was trained on, in pixels.
    """

    network: nn.Module
    things: tuple[str, ...]
    side: int

    @torch.no_grad()
    def guess(self, pixels: Tensor) -> Guesses:
        """The five likeliest things, best first, of each picture (N, 3, H, W) in [-1, 1]."""
        device = next(self.network.parameters()).device
        best: list[list[int]] = []
        for rows in fit(pixels, self.side).split(BATCH):
            logits = self.network(rows.to(device))
            best += logits.topk(min(5, len(self.things))).indices.tolist()
        return [tuple(self.things[i] for i in row) for row in best]


def read_classifier(
    drawings: Sequence[Drawing], steps: int, cache: Path, device: torch.device, report: Report
) -> Classifier:
    """The classifier of these drawings: from the cache folder, or trained and stored there."""
    things = tuple(sorted({d.name for d in drawings}))
    side = drawings[0].rgba.shape[0]
    digest = hashlib.sha256(f"{CLASSIFIER_VERSION} {steps} {BATCH} {side}".encode())
    for drawing in drawings:
        digest.update(drawing.name.encode() + b"\0" + drawing.rgba.tobytes())
    path = cache / f"emoji_classifier_{digest.hexdigest()[:16]}.safetensors"
    if path.is_file():
        network = build_network(len(things))
        network.load_state_dict(load_file(path))
    else:
        network = train_classifier(drawings, things, steps, device, report)
        temporary = path.with_suffix(".part")
        save_file({k: v.contiguous().cpu() for k, v in network.state_dict().items()}, temporary)
        temporary.replace(path)
    network.to(device).to(memory_format=torch.channels_last)
    return Classifier(network.eval(), things, side)


def train_classifier(
    drawings: Sequence[Drawing],
    things: Sequence[str],
    steps: int,
    device: torch.device,
    report: Report,
) -> nn.Sequential:
    """Train on batches of drawings drawn and augmented at random, seed fixed."""
    number = {thing: i for i, thing in enumerate(things)}
    labels = torch.tensor([number[d.name] for d in drawings])
    stored = torch.from_numpy(np.stack([d.rgba for d in drawings])).permute(0, 3, 1, 2)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(len(things))
    network.to(device).to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=max(2, steps), pct_start=0.15
    )
    began = time.perf_counter()
    for step in range(1, steps + 1):
        chosen = torch.randint(len(drawings), (BATCH,), generator=generator)
        pixels = augment(stored[chosen], generator)
        logits = network(pixels.to(device, memory_format=torch.channels_last))
        loss = functional.cross_entropy(logits, labels[chosen].to(device), label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0 or step == steps:
            left = (time.perf_counter() - began) / step * (steps - step)
            report(f"classifier: step {step} of {steps}, loss {loss.item():.3f}, {left:.0f} s left")
    return network


def augment(rgba: Tensor, generator: torch.Generator) -> Tensor:
    """Drawings on backgrounds: turned, mirrored, scaled, shifted, softened, brighter or darker.

    Args:
        rgba: (N, 4, S, S) uint8.
        generator: the only source of randomness.

    Returns:
        (N, 3, S, S), about [-1, 1].
    """
    count = len(rgba)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand((count, *shape), generator=generator) * (high - low) + low

    straight = rgba.float() / 255
    alpha = straight[:, 3:]
    drawn = torch.cat([straight[:, :3] * alpha, alpha], dim=1)
    angle, scale = uniform(-0.2, 0.2), uniform(0.75, 1.03)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    # The grid leads from where a pixel lands to where it comes from: the inverse of the placing.
    turn = torch.stack(
        [angle.cos() * flip, -angle.sin() * flip, angle.sin(), angle.cos()], dim=1
    ).view(count, 2, 2) / scale.view(count, 1, 1)
    room = ((1 - scale).clamp_min(0) + 0.04).unsqueeze(1)
    shift = uniform(-1, 1, 2) * room
    theta = torch.cat([turn, -turn @ shift.unsqueeze(2)], dim=2)
    grid = functional.affine_grid(theta, list(drawn.shape), align_corners=False)
    placed = functional.grid_sample(drawn, grid, align_corners=False)
    palette = torch.tensor(list(BACKGROUNDS.values())) / 255
    colour = palette[torch.randint(len(palette), (count,), generator=generator)]
    colour = (colour + uniform(-0.04, 0.04, 1)).clamp(0, 1)
    colour = torch.where(uniform(0, 1, 1) < 0.5, torch.ones(3), colour)
    filled = placed[:, :3] + (1 - placed[:, 3:]) * colour.view(count, 3, 1, 1)
    pixels = (filled * 2 - 1) * uniform(0.9, 1.1, 1, 1, 1) + uniform(-0.05, 0.05, 1, 1, 1)
    return soften(pixels, generator)


def soften(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Blur one half of a batch as a small autoencoder does; add a little noise to all of it."""
    side, half = pixels.shape[-1], len(pixels) // 2
    if half:
        small = int(torch.randint(side * 3 // 8, side, (), generator=generator))
        blurred = functional.interpolate(fit(pixels[:half], small), size=side, mode="bicubic")
        pixels = torch.cat([blurred, pixels[half:]])
    strength = torch.rand((len(pixels), 1, 1, 1), generator=generator) * 0.08
    return pixels + strength * torch.randn(pixels.shape, generator=generator)


def fit(pixels: Tensor, side: int) -> Tensor:
    """Pictures (N, 3, H, W) resized to (N, 3, side, side)."""
    if pixels.shape[-2:] == (side, side):
        return pixels
    return functional.interpolate(pixels, size=(side, side), mode="bilinear", antialias=True)


def fit_drawing(drawing: Drawing, side: int) -> Drawing:
    """The drawing at another size, for the classifier."""
    if drawing.rgba.shape[0] == side:
        return drawing
    resized = Image.fromarray(drawing.rgba).resize((side, side), Image.Resampling.LANCZOS)
    return replace(drawing, rgba=np.array(resized))


def composed(drawings: Sequence[Drawing], count: int, *, white: float = 1.0) -> Tensor:
    """Drawings in turn, placed on backgrounds at random, seed fixed: (count, 3, S, S)."""
    rng = np.random.default_rng(1)
    chosen = [drawings[i % len(drawings)] for i in range(count)]
    return torch.from_numpy(np.stack([compose(d, rng, white=white).pixels for d in chosen]))


def reconstruct(studio: Studio, pixels: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) sent through the model's autoencoder."""
    decoded = [
        decode_latents(studio.parts, encode_pictures(studio.parts, rows)).clamp(-1, 1).cpu()
        for rows in pixels.split(BATCH)
    ]
    return torch.cat(decoded)


def measure_autoencoder(studio: Studio, held_out: Sequence[Drawing]) -> Quality:
    """Mean PSNR over held-out drawings, on the very pictures that training measures it on."""
    count = max(PSNR_PICTURES, len(held_out))
    pixels = composed(held_out, count, white=0.5)
    error = ((reconstruct(studio, pixels) - pixels) / 2).square().mean(dim=(1, 2, 3))
    return Quality(count, float((-10 * error.clamp_min(1e-10).log10()).mean()))


@dataclass(frozen=True)
class Painter:
    """A model and how to sample from it."""

    studio: Studio
    guidance_scale: float
    steps: int
    sampler: str
    batch_size: int | None

    def paint(self, prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        """One picture for each prompt and seed: (N, 3, S, S) in [-1, 1]."""
        shots = [
            Shot(Blend(prompt), Noise(seed), guidance_scale=self.guidance_scale)
            for prompt, seed in zip(prompts, seeds, strict=True)
        ]
        timeline = Timeline(
            lambda: shots, length=len(shots), steps=self.steps, sampler=self.sampler
        )
        pictures = self.studio.render(timeline, batch_size=self.batch_size)
        arrays = [np.asarray(p.convert("RGB"), dtype=np.float32) for p in pictures]
        return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2) / 127.5 - 1


def prompt_for(thing: str, background: str = "") -> str:
    """The captions' phrasing: "a picture of an owl, on a blue background"."""
    plain = f"a picture of {'an' if thing[0] in 'aeiou' else 'a'} {thing}"
    return f"{plain}, on a {background} background" if background else plain


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """So many items, evenly spread over the sequence; all of them if it has no more."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def well_drawn_things(drawings: Sequence[Drawing]) -> list[str]:
    """Names, sorted, of the things drawn in at least three styles."""
    styles: dict[str, set[str]] = defaultdict(set)
    for drawing in drawings:
        styles[drawing.name].add(drawing.style)
    return sorted(name for name, known in styles.items() if len(known) >= MIN_STYLES)


def choose_things(names: Sequence[str], count: int) -> list[str]:
    """So many of the names, evenly spread, bear and red apple always among them."""
    always = [name for name in ALWAYS if name in names]
    others = [name for name in names if name not in always]
    return sorted(always + spread(others, max(0, count - len(always))))


def recognise(guesses: Guesses, accepted: Sequence[Sequence[str]]) -> Recognition:
    """How often one of the accepted names comes first, or among the first five."""
    rows = list(zip(guesses, accepted, strict=True))
    first = sum(guess[0] in names for guess, names in rows)
    among = sum(any(name in guess for name in names) for guess, names in rows)
    return Recognition(len(rows), first / len(rows), among / len(rows))


def choose_pairs(
    drawings: Sequence[Drawing], names: Sequence[str], count: int
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Pairs of a thing and a background colour: never shown in training, and, for each, shown."""
    avoid = {d.name: d.avoid for d in drawings}
    held = spread([(name, colour) for name in names for colour in sorted(avoid[name])], count)
    rng = np.random.default_rng(0)
    seen = [
        (name, str(rng.choice([c for c in BACKGROUNDS if c not in {"white", *avoid[name]}])))
        for name, _ in held
    ]
    return held, seen


def border(pixels: Tensor) -> Tensor:
    """The pixels along the edges of pictures (N, 3, S, S), as (N, 3, count)."""
    side = pixels.shape[-1]
    width = max(1, side // 32)
    inside = torch.zeros(side, side, dtype=torch.bool)
    inside[width:-width, width:-width] = True
    return pixels[:, :, ~inside]


def background_names(pixels: Tensor) -> list[str]:
    """The palette's colour that most pixels along the edges are nearest to, for each picture."""
    names = list(BACKGROUNDS)
    palette = torch.tensor(list(BACKGROUNDS.values())) / 127.5 - 1
    nearest = torch.cdist(border(pixels).transpose(1, 2), palette).argmin(dim=2)
    return [names[int(row.mode().values)] for row in nearest]


def judge_pairs(
    pixels: Tensor, classifier: Classifier, pairs: Sequence[tuple[str, str]]
) -> tuple[Composition, list[int]]:
    """Score pictures of the pairs; also how much of each is right: 2 both, 1 one, 0 neither."""
    found = zip(background_names(pixels), classifier.guess(pixels), pairs, strict=True)
    rows = [(colour == asked, name in guess) for colour, guess, (name, asked) in found]
    count = len(rows)
    score = Composition(
        count,
        sum(background for background, _ in rows) / count,
        sum(thing for _, thing in rows) / count,
        sum(background and thing for background, thing in rows) / count,
    )
    return score, [background + thing for background, thing in rows]


def cropped(pixels: Tensor) -> Tensor:
    """Pictures (N, 3, S, S) cut to a square around what differs from their background, on white.

    Makes distances blind to where, how large and on which colour a drawing was placed.
    """
    ground = border(pixels).median(dim=2).values[:, :, None, None]
    stands_out = (pixels - ground).abs().amax(dim=1) > 0.2
    on_white = torch.where(stands_out.unsqueeze(1), pixels, 1.0)
    crops = []
    for picture, mask in zip(on_white, stands_out, strict=True):
        rows, columns = (torch.nonzero(mask.any(dim=d)).flatten() for d in (1, 0))
        if len(rows):
            picture = picture[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        height, width = picture.shape[-2:]
        spare_x, spare_y = max(0, height - width), max(0, width - height)
        margins = (spare_x // 2, spare_x - spare_x // 2, spare_y // 2, spare_y - spare_y // 2)
        crops.append(fit(functional.pad(picture, margins, value=1.0).unsqueeze(0), CROP_SIDE))
    return torch.cat(crops)


def nearest_distances(pixels: Tensor, drawings: Sequence[Drawing]) -> Tensor:
    """RMS distance (N,), in [0, 1], of each picture to the nearest drawing or its mirror image."""
    rgba = torch.from_numpy(np.stack([d.rgba for d in drawings])).permute(0, 3, 1, 2) / 255
    alpha = rgba[:, 3:]
    drawn = cropped((rgba[:, :3] * alpha + 1 - alpha) * 2 - 1)
    library = torch.cat([drawn, drawn.flip(3)]).flatten(1)
    queries = cropped(pixels).flatten(1)
    return torch.cdist(queries, library).amin(dim=1) / 2 / math.sqrt(queries.shape[1])


def summarise(distances: Tensor, threshold: float) -> Distance:
    below = float((distances < threshold).float().mean())
    return Distance(len(distances), float(distances.median()), threshold, below)


class Evaluation:
    """The measurements, one method each; they fill ``figures`` and ``sheet`` in order."""

    def __init__(
        self,
        painter: Painter,
        classifier: Classifier,
        training: Sequence[Drawing],
        held_out: Sequence[Drawing],
    ) -> None:
        self.painter, self.classifier = painter, classifier
        self.training, self.held_out = training, held_out
        self.names = well_drawn_things([*training, *held_out])
        self.figures: dict[str, Figure] = {}
        self.guesses: dict[str, Guesses] = {}
        self.sheet: list[tuple[Tensor, list[int]]] = []

    def run(self, prompts: int, seeds: int, pairs: int, favourite_seeds: int) -> None:
        quality = measure_autoencoder(self.painter.studio, self.held_out)
        self.figures["autoencoder, held-out drawings"] = quality
        for name, accepted in FAVOURITES.items():
            self.favourite(name, accepted, favourite_seeds)
        pixels = self.things(choose_things(self.names, prompts), seeds)
        self.references(pixels)
        self.backgrounds(pairs)

    def favourite(self, name: str, accepted: Sequence[str], seeds: int) -> None:
        if not set(accepted) & set(self.names):
            return
        pixels = self.painter.paint([prompt_for(name)] * seeds, range(seeds))
        self._judge(f"{name}, seeds 0 to {seeds - 1}", pixels, [accepted] * seeds)

    def things(self, names: Sequence[str], seeds: int) -> Tensor:
        """Pictures of each name; every picture has a seed of its own."""
        asked = [name for name in names for _ in range(seeds)]
        pixels = self.painter.paint([prompt_for(name) for name in asked], range(len(asked)))
        self._judge("things, generated", pixels, [(name,) for name in asked])
        found = zip(asked, self.guesses.pop("things, generated"), strict=True)
        for name, guess in found:
            self.guesses.setdefault(name, []).append(guess)
        return pixels

    def references(self, generated: Tensor) -> None:
        """Recognition and distance of generated pictures beside those of real drawings."""
        real = composed(self.held_out, len(self.held_out) * HELD_OUT_PLACEMENTS)
        chosen = spread(self.training, COPIES)
        copies = reconstruct(self.painter.studio, composed(chosen, len(chosen)))
        sets = {"held-out drawings": (real, self.held_out), "copies": (copies, chosen)}
        for label, (pixels, drawings) in sets.items():
            names = [(drawings[i % len(drawings)].name,) for i in range(len(pixels))]
            guesses = self.classifier.guess(pixels)
            self.figures[f"things, {label}"] = recognise(guesses, names)
        compared = {"generated": generated, "held-out drawings": real, "copies": copies}
        distances = {k: nearest_distances(v, self.training) for k, v in compared.items()}
        threshold = float(distances["copies"].median())
        for label, values in distances.items():
            self.figures[f"nearest drawing, {label}"] = summarise(values, threshold)

    def backgrounds(self, count: int) -> None:
        held, seen = choose_pairs(self.training, self.names, count)
        for label, pairs in (("held-out", held), ("seen", seen)):
            if pairs:
                prompts = [prompt_for(name, colour) for name, colour in pairs]
                pixels = self.painter.paint(prompts, range(len(pairs)))
                score, marks = judge_pairs(pixels, self.classifier, pairs)
                self.figures[f"backgrounds, {label} pairs"] = score
                self.sheet.append((pixels, marks))

    def _judge(self, label: str, pixels: Tensor, accepted: Sequence[Sequence[str]]) -> None:
        guesses = self.classifier.guess(pixels)
        self.figures[label] = recognise(guesses, accepted)
        self.guesses[label] = guesses
        marks = [
            (guess[0] in names) + any(name in guess for name in names)
            for guess, names in zip(guesses, accepted, strict=True)
        ]
        self.sheet.append((pixels, marks))


def draw_sheet(rows: Sequence[tuple[Tensor, list[int]]], columns: int) -> Image.Image:
    """All pictures, framed in red, orange (in the top 5, or half right) or green."""
    frames = torch.tensor([(214, 58, 52), (250, 180, 60), (84, 172, 84)]) / 127.5 - 1
    sheets = []
    for pixels, marks in rows:
        framed = functional.pad(pixels, (3, 3, 3, 3), value=1.0)
        framed[:, :, 1:-1, 1:-1] = frames[torch.tensor(marks)][:, :, None, None]
        framed[:, :, 3:-3, 3:-3] = pixels
        sheets.append(tile(framed, columns))
    sheet = Image.new("RGB", (sheets[0].width, sum(s.height for s in sheets)), "white")
    top = 0
    for part in sheets:
        sheet.paste(part, (0, top))
        top += part.height
    return sheet


def describe_misses(guesses: Mapping[str, Guesses]) -> list[str]:
    """Things never in the top 5, each with what it was most often taken for."""
    return [
        f"{name} ({Counter(guess[0] for guess in rows).most_common(1)[0][0]})"
        for name, rows in guesses.items()
        if not any(name in guess for guess in rows)
    ]


def describe_machine(device: torch.device) -> dict[str, str | int]:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else "none",
        "torch": torch.__version__,
    }


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", default="emoji", help="built-in name, folder or hub id")
    add("--preset", default="train_emoji", help="how it was trained: groups, what is held out")
    add("--groups", nargs="+", help="groups it was trained on, if not the preset's")
    add("--size", type=_at_least(32), default=64, help="pixels the classifier works at (64)")
    add("--prompts", type=_at_least(1), default=100, help="things asked for (100)")
    add("--seeds", type=_at_least(1), default=4, help="pictures of each thing (4)")
    add("--pairs", type=_at_least(0), default=50, help="things on backgrounds (50)")
    add("--favourite-seeds", type=_at_least(1), default=8, help="bears, and apples (8)")
    add("--guidance", type=float, default=4.0, help="guidance scale (4)")
    add("--steps", type=_at_least(1), default=20, help="sampling steps (20)")
    add("--sampler", default="DPM++ 2M", help="sampler (DPM++ 2M)")
    add("--batch-size", type=_at_least(1), help="pictures denoised together")
    add("--device", default="auto", help="auto, cpu, mps or cuda")
    add("--cache", type=Path, help="folder of drawings and classifier; the user's if left out")
    add("--classifier-steps", type=_at_least(1), default=2000, help=f"batches of {BATCH} (2000)")
    add("--json", type=_output_file, help="write all figures and guesses here")
    add("--sheet", type=_output_file, help="write the generated pictures here, as one picture")
    return parser.parse_args(arguments)


def _at_least(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = least - 1
        if value < least:
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number of at least {least}")
        return value

    return parse


def _output_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r}: give a file in a folder that exists")
    return path


def read_split(
    preset: str, groups: Sequence[str] | None, size: int, cache: Path
) -> tuple[list[Drawing], list[Drawing]]:
    """The drawings that a training by the preset learns from, and those it holds out.

    Raises:
        UsageError: a preset for other pictures, or one that holds nothing out.
        DataError: the drawings cannot be fetched or rendered, or a group is unknown.
    """
    settings = validate(load_preset(preset, plugin="train"), TrainSettings)
    if not isinstance(settings.data, EmojiData):
        raise UsageError(f"{preset}: trains on other pictures; give a preset with 'source: emoji'")
    drawings = read_emoji(cache, size, groups or settings.data.groups, settings.data.hold_out_pairs)
    training, held_out = split_held_out(drawings, settings.hold_out_every)
    if not held_out:
        raise UsageError(f"{preset}: holds no drawings out; set hold_out_every, as in 50")
    return training, held_out


def run(options: argparse.Namespace, report: Report) -> None:
    """Measure, print the table, write the files."""
    cache = (options.cache or user_cache_path("sdcreative")).expanduser()
    began = time.perf_counter()
    studio = Studio.load(options.model, device=options.device)
    device = torch.device(studio.parts.device)
    training, held_out = read_split(options.preset, options.groups, studio.size[0], cache)
    fitted = [fit_drawing(d, options.size) for d in training]
    classifier = read_classifier(fitted, options.classifier_steps, cache, device, report)
    trained = time.perf_counter()
    report(f"classifier: ready after {trained - began:.0f} s")
    painter = Painter(studio, options.guidance, options.steps, options.sampler, options.batch_size)
    evaluation = Evaluation(painter, classifier, training, held_out)
    evaluation.run(options.prompts, options.seeds, options.pairs, options.favourite_seeds)
    machine = describe_machine(device)
    seconds = {
        "classifier": round(trained - began, 1),
        "evaluation": round(time.perf_counter() - trained, 1),
    }
    print_table(evaluation, options, machine | seconds)
    if options.json:
        document = {
            "settings": {k: str(v) if isinstance(v, Path) else v for k, v in vars(options).items()},
            "machine": machine,
            "seconds": seconds,
            "drawings": {"training": len(training), "held_out": len(held_out)},
            "figures": {label: asdict(figure) for label, figure in evaluation.figures.items()},
            "guesses": evaluation.guesses,
        }
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.sheet:
        columns = options.seeds * max(1, 16 // options.seeds)
        draw_sheet(evaluation.sheet, columns).save(options.sheet)


def print_table(
    evaluation: Evaluation, options: argparse.Namespace, facts: Mapping[str, str | int | float]
) -> None:
    side = evaluation.painter.studio.size[0]
    print(
        f"{options.model}, {side} px, {options.sampler}, {options.steps} steps, "
        f"guidance {options.guidance:g}; {len(evaluation.training)} drawings of "
        f"{len(evaluation.classifier.things)} things, {len(evaluation.held_out)} held out"
    )
    print("; ".join(f"{key} {value}" for key, value in facts.items()))
    width = max(map(len, evaluation.figures))
    for label, figure in evaluation.figures.items():
        print(f"{label:{width}}  {figure}")
    polar = sum(
        guess[0] == "polar bear"
        for label, guesses in evaluation.guesses.items()
        if label.startswith("bear, seeds")
        for guess in guesses
    )
    print(f"bears taken for polar bears, not counted: {polar}")
    things = {k: v for k, v in evaluation.guesses.items() if k in evaluation.names}
    misses = describe_misses(things)
    print(f"never in the top 5 (taken for): {', '.join(misses) or 'none'}")


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse_arguments(arguments)
    try:
        run(options, lambda text: print(text, file=sys.stderr, flush=True))
    except SdcreativeError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
