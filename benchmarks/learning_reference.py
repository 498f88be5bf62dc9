"""Textual inversion as diffusers' example trains it, written anew from its description.

The whole token table is optimised, with AdamW and weight decay, and after every step all rows but
the new ones are put back; pictures are encoded anew in every step; the learning rate is multiplied
by the pictures of a step, as its documentation has it (`--scale_lr`). Nothing of this project's own
training is used.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sdcreative.models.building import build_scheduler


@dataclass(frozen=True)
class Recipe:
    """The example's options, with its defaults; the learning rate is its documentation's."""

    steps: int
    batch: int
    learning_rate: float = 5e-4
    scale_lr: bool = True
    weight_decay: float = 1e-2
    flip: float = 0.5
    seed: int = 0

    @property
    def rate(self) -> float:
        return self.learning_rate * (self.batch if self.scale_lr else 1)


@dataclass(frozen=True, eq=False)
class Item:
    """A picture (3, H, W) in [-1, 1], and captions with ``{}`` for the word."""

    pixels: Tensor
    captions: tuple[str, ...]


PORTION = 25
"""steps that are timed together"""


def learn_reference(
    parts: Any,
    token: str,
    began: Tensor,
    items: Sequence[Item],
    recipe: Recipe,
) -> Generator[float, None, Tensor]:
    """Train, a portion of steps at a time; the model given learns the word for good.

    Args:
        parts: a model with one text encoder that predicts epsilon or v.
        token: the word.
        began: its first rows (n, width).
        items: what to learn from.
        recipe: how.

    Yields:
        Seconds of a step, after every ``PORTION`` of them.

    Returns:
        The rows (n, width) at the end.
    """
    words = add_words(parts, token, began)
    table = parts.text_encoder.get_input_embeddings().weight
    table.requires_grad_(True)
    optimizer = torch.optim.AdamW([table], lr=recipe.rate, weight_decay=recipe.weight_decay)
    original = table.detach().clone()
    kept = torch.ones(len(table), dtype=torch.bool)
    kept[-len(began) :] = False
    generator = torch.Generator().manual_seed(recipe.seed)
    drawn = draw(len(items), generator)
    done = 0
    while done < recipe.steps:
        portion = min(PORTION, recipe.steps - done)
        began_at = time.perf_counter()
        for _ in range(portion):
            chosen = [items[next(drawn)] for _ in range(recipe.batch)]
            loss = loss_of(parts, chosen, words, recipe.flip, generator)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            with torch.no_grad():
                table[kept] = original[kept]
        done += portion
        yield (time.perf_counter() - began_at) / portion
    return table[~kept].detach().clone()


def add_words(parts: Any, token: str, began: Tensor) -> str:
    """Put the word into tokenizer and table; returns what stands for it in a caption."""
    words = [token, *(f"{token}_{number}" for number in range(1, len(began)))]
    parts.tokenizer.add_tokens(words)
    parts.text_encoder.resize_token_embeddings(len(parts.tokenizer), mean_resizing=False)
    with torch.no_grad():
        parts.text_encoder.get_input_embeddings().weight[-len(began) :] = began
    return " ".join(words)


def draw(count: int, generator: torch.Generator) -> Iterator[int]:
    """Places of pictures: all of them, shuffled, again and again."""
    while True:
        yield from torch.randperm(count, generator=generator).tolist()


def loss_of(
    parts: Any, items: Sequence[Item], words: str, flip: float, generator: torch.Generator
) -> Tensor:
    """Mean squared error of what the U-Net predicts."""

    def number(below: int) -> int:
        return int(torch.randint(below, (), generator=generator))

    pixels = torch.stack(
        [
            one.pixels.flip(2) if float(torch.rand((), generator=generator)) < flip else one.pixels
            for one in items
        ]
    )
    captions = [one.captions[number(len(one.captions))].replace("{}", words) for one in items]
    ids = parts.tokenizer(
        captions,
        padding="max_length",
        truncation=True,
        max_length=parts.context,
        return_tensors="pt",
    ).input_ids
    with torch.no_grad():
        found: Any = parts.vae.encode(pixels).latent_dist
        latents = found.sample(generator) * parts.vae.config.scaling_factor
    scheduler = build_scheduler(
        {**parts.scheduler_config, "prediction_type": parts.prediction_type}
    )
    noise = torch.randn(latents.shape, generator=generator)
    total = int(scheduler.config.num_train_timesteps)
    times = torch.randint(total, (len(items),), generator=generator)
    noisy = scheduler.add_noise(latents, noise, times)
    states = parts.text_encoder(ids)[0]
    said = parts.unet(noisy, times, encoder_hidden_states=states).sample
    target = noise
    if parts.prediction_type == "v_prediction":
        target = scheduler.get_velocity(latents, noise, times)
    return functional.mse_loss(said.float(), target.float())
