"""Batches, trunks, in-betweens, start images: what a timeline becomes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image

from sdcreative import (
    Between,
    Blend,
    Frame,
    Noise,
    RenderError,
    Shot,
    Studio,
    Timeline,
    Trunk,
    UsageError,
)
from sdcreative.models.sampler_names import SAMPLERS
from sdcreative.rendering.denoising import Denoiser
from sdcreative.rendering.planning import plan

BEAR, APPLE = Blend("a picture of a bear"), Blend("a picture of a red apple")
STEPS = 6


def shot(t: float = 0.0, trunk: Trunk | None = None, seed: int = 5) -> Shot:
    prompt = Blend(BEAR.start, APPLE.start, t) if t else BEAR
    return Shot(prompt, Noise(seed), guidance_scale=3, trunk=trunk)


def film(frames: list[Frame], sampler: str = "DPM++ 2M", steps: int = STEPS) -> Timeline:
    return Timeline(lambda: frames, len(frames), steps=steps, sampler=sampler)


def latents(studio: Studio, shots: list[Shot], sampler: str) -> torch.Tensor:
    """Final latents, before the autoencoder."""
    timeline = film(list(shots), sampler)
    denoiser = Denoiser(studio.parts, timeline, studio.size, lambda count: None)
    return denoiser.latents([denoiser.prepare(one, i) for i, one in enumerate(shots)])


def pixels(pictures: list[Image.Image] | Iterator[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_trunk_of_the_frame_itself_changes_nothing(studio: Studio, sampler: str) -> None:
    plain = latents(studio, [shot()], sampler)
    lengths = (3, 0, 5, 1, STEPS, 3)
    trunks = [Trunk(BEAR, Noise(5), k, guidance_scale=3) for k in lengths]
    branched = latents(studio, [shot(trunk=trunk) for trunk in trunks], sampler)
    assert (branched - plain).abs().max() <= 1e-4


def test_branches_differ_by_their_own_conditioning(studio: Studio) -> None:
    trunk = Trunk(BEAR, Noise(5), 3, guidance_scale=3)
    rows = latents(studio, [shot(t, trunk) for t in (0.0, 0.5, 1.0)], "DPM++ 2M")
    assert (rows[0] - rows[1]).abs().max() > 1e-3
    assert (rows[1] - rows[2]).abs().max() > 1e-3


def test_frames_do_not_depend_on_the_batch(studio: Studio) -> None:
    frames: list[Frame] = [shot(t / 6) for t in range(7)]
    alone = pixels(studio.render(film(frames), batch_size=1))
    for batch in (2, 5, 8):
        assert np.abs(pixels(studio.render(film(frames), batch_size=batch)) - alone).max() <= 1
    again = pixels(studio.render(film(frames), batch_size=5))
    assert (again == pixels(studio.render(film(frames), batch_size=5))).all()


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ SDE", "LCM"])
def test_step_noise_does_not_depend_on_the_batch(studio: Studio, sampler: str) -> None:
    frames: list[Frame] = [shot(seed=seed) for seed in (1, 2, 3)]
    alone = pixels(studio.render(film(frames, sampler), batch_size=1))
    together = pixels(studio.render(film(frames, sampler), batch_size=3))
    assert np.abs(together - alone).max() <= 1


def test_shots_of_different_kinds_keep_their_order(studio: Studio) -> None:
    trunk = Trunk(BEAR, Noise(5), 3, guidance_scale=3)
    unguided = replace(shot(), guidance_scale=1.0)
    long = replace(shot(), prompt=Blend("a picture of a bear " * 20))
    frames: list[Frame] = [shot(), unguided, shot(0.5, trunk), long, shot(1.0), unguided]
    together = pixels(studio.render(film(frames), batch_size=4))
    for frame, picture in zip(frames, together, strict=True):
        [alone] = pixels(studio.render(film([frame])))
        assert np.abs(alone - picture).max() <= 1


def test_between_is_the_neighbour_at_its_ends(studio: Studio) -> None:
    frames: list[Frame] = [shot(0), Between(0.0), Between(0.5), Between(1.0), shot(1)]
    for batch in (1, 8):
        first, start, middle, end, last = pixels(studio.render(film(frames), batch_size=batch))
        assert np.abs(first - start).max() <= 1
        assert np.abs(last - end).max() <= 1
        assert np.abs(first - middle).max() > 1
        assert np.abs(last - middle).max() > 1


@pytest.mark.parametrize("frames", [[Between(0.5), shot()], [shot(), Between(0.5)]])
def test_between_needs_a_shot_on_both_sides(studio: Studio, frames: list[Frame]) -> None:
    with pytest.raises(RenderError, match="Between"):
        list(studio.render(film(frames)))


def test_strength_goes_from_the_picture_to_pure_noise(studio: Studio) -> None:
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    assert (pixels([studio.picture("a bear", image=image, strength=0.0)]) == pixels([image])).all()
    plain = studio.picture("a bear", seed=2, steps=STEPS)
    full = studio.picture("a bear", seed=2, steps=STEPS, image=image, strength=1.0)
    assert np.abs(pixels([plain]) - pixels([full])).max() <= 1
    distances = [
        np.abs(
            pixels([image])
            - pixels([studio.picture("a bear", steps=10, image=image, strength=strength)])
        ).mean()
        for strength in (0.1, 0.9)
    ]
    assert distances[0] < distances[1]


def test_inpainting_keeps_what_the_mask_keeps(studio: Studio) -> None:
    image = Image.effect_noise((64, 64), 60).convert("RGB")
    mask = Image.new("L", (64, 64))
    mask.paste(255, (0, 0, 32, 64))
    [picture] = pixels([studio.picture("a bear", steps=STEPS, image=image, mask=mask)])
    [before] = pixels([image])
    assert (picture[:, 32:] == before[:, 32:]).all()
    assert np.abs(picture[:, :32] - before[:, :32]).mean() > 5


def test_start_pictures_of_another_size_are_cropped(studio: Studio) -> None:
    wide = Image.new("RGB", (640, 64), "red")
    wide.paste("blue", (288, 0, 352, 64))
    [picture] = pixels([studio.picture("a bear", image=wide, strength=0.0, steps=2)])
    assert (picture == (0, 0, 255)).all()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (replace(shot(), strength=0.5), "need an image"),
        (replace(shot(), guidance_scale=float("nan")), "guidance_scale is nan"),
        (replace(shot(), mask=Image.new("L", (64, 64))), "need an image"),
        (replace(shot(), image=Image.new("RGB", (64, 64)), strength=1.5), "strength is 1.5"),
        (shot(trunk=Trunk(BEAR, Noise(1), STEPS + 1)), "trunk of 7 steps"),
        (
            replace(shot(trunk=Trunk(BEAR, Noise(1), 1)), image=Image.new("RGB", (64, 64))),
            "a trunk or an image",
        ),
    ],
)
def test_values_that_do_not_go_together(studio: Studio, bad: Shot, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        list(studio.render(film([bad])))


def test_sizes_are_multiples_of_the_models_step(studio: Studio) -> None:
    assert studio.picture("a bear", steps=1, size=(48, 80)).size == (48, 80)
    with pytest.raises(UsageError, match="multiples of 4; use 64x68"):
        studio.picture("a bear", size=(65, 67))


def test_nan_is_found_and_the_frame_named(studio: Studio) -> None:
    frames: list[Frame] = [shot(), replace(shot(), guidance_scale=1e38)]
    with pytest.raises(RenderError, match="frame 1"):
        list(studio.render(film(frames)))


def test_frames_are_asked_for_as_they_are_needed(studio: Studio) -> None:
    asked = 0

    def endless() -> Iterator[Frame]:
        nonlocal asked
        while True:
            asked += 1
            yield shot()

    pictures = studio.render(Timeline(endless, 10**9, steps=1), batch_size=2)
    for _ in range(3):
        next(pictures)
    assert asked <= 12
    pictures.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("frames")]


def test_neighbours_are_batched_and_calls_counted(studio: Studio) -> None:
    for sampler in ("Heun", "DPM++ 2M"):
        trunks = [Trunk(BEAR, Noise(5), k, guidance_scale=3) for k in (1, 3, 4, 3, 1)]
        frames: list[Frame] = [shot(), *(shot(0.5, trunk) for trunk in trunks), Between(0.5)]
        frames += [replace(shot(), guidance_scale=1.0), shot(1)]
        counts: list[int] = []
        timeline = film(frames, sampler)
        list(studio.render(timeline, batch_size=8, on_evaluations=counts.append))
        assert sum(counts) == plan(timeline).evaluations
        assert max(counts) == 2 * 6


def test_ping_pong_doubles_no_frame(studio: Studio) -> None:
    frames: list[Frame] = [shot(t / 3) for t in range(4)]
    timeline = replace(film(frames, steps=2), ping_pong=True)
    counts: list[int] = []
    pictures = pixels(studio.render(timeline, on_evaluations=counts.append))
    assert len(pictures) == len(timeline) == 6
    assert (pictures[4] == pictures[2]).all()
    assert (pictures[5] == pictures[1]).all()
    assert all((a != b).any() for a, b in pairwise(pictures))
    assert sum(counts) == 4 * 2 * 2


def test_step_noise_is_the_end_seeds_at_the_end(studio: Studio) -> None:
    walked = replace(shot(), noise=Noise(1, 2, 1.0))
    [picture] = pixels(studio.render(film([walked], "Euler a")))
    [plain] = pixels(studio.render(film([shot(seed=2)], "Euler a")))
    assert np.abs(picture - plain).max() <= 1


@pytest.mark.parametrize("length", [0, 1, 3])
def test_a_wrong_length_is_told(studio: Studio, length: int) -> None:
    with pytest.raises(RenderError, match=f"length is {length}, but it has 2 frames"):
        list(studio.render(Timeline(lambda: [shot(), shot()], length, steps=1)))


def test_transparent_start_pictures_are_laid_on_white(studio: Studio) -> None:
    glass = Image.new("RGBA", (64, 64), (255, 0, 0, 0))
    [picture] = pixels([studio.picture("a bear", image=glass, strength=0.0, steps=1)])
    assert (picture == 255).all()


def test_batches_have_at_least_one_picture(studio: Studio) -> None:
    with pytest.raises(UsageError, match="batch_size is 0"):
        studio.render(film([shot()]), batch_size=0)


def test_a_circle_leads_from_its_last_shot_back_to_its_first(studio: Studio) -> None:
    ends = [shot(0.0), shot(1.0)]
    circle = replace(film([*ends, Between(0.0), Between(0.5), Between(1.0)]), closed=True)
    pictures = pixels(studio.render(circle, batch_size=1))
    assert np.abs(pictures[2] - pictures[1]).max() <= 1
    assert np.abs(pictures[4] - pictures[0]).max() <= 1
    back = pixels(studio.render(film([ends[1], Between(0.5), ends[0]]), batch_size=1))
    assert np.abs(pictures[3] - back[1]).max() <= 1
