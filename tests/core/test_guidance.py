"""Guidance rescaled, limited, scheduled and projected, against references and closed forms."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from sdcreative.core.conditioning import Conditioning, guide
from sdcreative.core.guidance import (
    Reading,
    guided,
    predict_guided,
    projected,
    reading_of,
    rescaled,
    scale_at,
)
from sdcreative.core.guidance_style import (
    PLAIN,
    GuidanceStyle,
    active,
    growth,
    guided_steps,
    share_of,
)
from sdcreative.core.prompt_programme import Layer, compose
from sdcreative.core.sampling import Guidance, first_call, initial_latents
from sdcreative.errors import UsageError
from sdcreative.models.samplers import build_sampler

STEPS = 10
SCALES = torch.tensor([1.0, 3.0, 7.5])
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
}


def predictions(seed: int, count: int = 3) -> Tensor:
    return torch.randn(count, 4, 6, 5, generator=torch.Generator().manual_seed(seed))


def layers(*weights: float) -> list[Layer]:
    """Three pictures, each with two prompts of these weights."""
    rows = torch.arange(3)
    return [Layer(rows, torch.full((3,), weight)) for weight in weights]


def words(rows: int, value: float) -> Conditioning:
    return Conditioning(torch.full((rows, 2, 3), value))


class Model:
    """Says a number for each prompt, and remembers how many rows it was asked for."""

    def __init__(self) -> None:
        self.rows: list[int] = []

    def __call__(self, latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        self.rows.append(len(latents))
        return latents * conditioning.embeddings.mean(dim=(1, 2)).reshape(-1, 1, 1, 1)


def test_the_plain_style_changes_no_bit() -> None:
    free, conditioned = predictions(0), predictions(1)
    assert torch.equal(guided(PLAIN, free, conditioned, SCALES), guide(free, conditioned, SCALES))
    two = torch.cat([conditioned, predictions(2)])
    joined = layers(1.0, 0.5)
    assert torch.equal(guided(PLAIN, free, two, SCALES, joined), compose(free, two, SCALES, joined))
    for step in range(STEPS):
        assert scale_at(PLAIN, SCALES, share_of(step, STEPS)) is SCALES


@pytest.mark.parametrize("share", [0.25, 0.7, 1.0])
def test_rescaling_is_that_of_diffusers(share: float) -> None:
    from diffusers.guiders.guider_utils import rescale_noise_cfg

    free, conditioned = predictions(0), predictions(1)
    found = guided(GuidanceStyle(rescale=share), free, conditioned, SCALES)
    expected = rescale_noise_cfg(guide(free, conditioned, SCALES), conditioned, share)
    torch.testing.assert_close(found, expected)


def test_fully_rescaled_predictions_deviate_as_conditional_ones() -> None:
    free, conditioned = predictions(0), predictions(1)
    found = guided(GuidanceStyle(rescale=1.0), free, conditioned, SCALES)
    torch.testing.assert_close(found.std(dim=(1, 2, 3)), conditioned.std(dim=(1, 2, 3)))
    two = torch.cat([conditioned, predictions(2)])
    joined = layers(0.3, 0.7)
    found = guided(GuidanceStyle(rescale=1.0), free, two, SCALES, joined)
    together = 0.3 * two[:3] + 0.7 * two[3:]
    torch.testing.assert_close(found.std(dim=(1, 2, 3)), together.std(dim=(1, 2, 3)))


def test_rescaling_what_is_the_same_everywhere_gives_no_nan() -> None:
    flat = torch.ones(1, 4, 6, 5)
    assert torch.equal(rescaled(2 * flat, flat, 1.0), 2 * flat)


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize("steps", [1, 7, 20])
def test_schedules_have_the_scale_as_their_mean(schedule: Any, steps: int) -> None:
    style = GuidanceStyle(schedule=schedule)
    over = torch.stack([scale_at(style, SCALES, share_of(step, steps)) for step in range(steps)])
    torch.testing.assert_close(over.mean(dim=0), SCALES)
    assert (over[:, 0] == 1).all()
    assert (over.diff(dim=0) >= 0).all()


def test_schedules_are_those_of_the_paper() -> None:
    # X. Wang et al. 2024: 2 s w and (1 + cos(pi t / T)) w with s = 1 - t / T.
    for share in (0.0, 0.25, 0.5, 1.0):
        assert growth(GuidanceStyle(schedule="linear"), share) == pytest.approx(2 * share)
        expected = 1 + math.cos(math.pi * (1 - share))
        assert growth(GuidanceStyle(schedule="cosine"), share) == pytest.approx(expected)


def test_a_clamp_holds_the_first_steps_up() -> None:
    style = GuidanceStyle(schedule="linear", clamp=4.0)
    scales = torch.tensor([1.0, 3.0, 7.5])
    assert scale_at(style, scales, 0.05).tolist() == [1.0, 3.0, 4.0]
    assert scale_at(style, scales, 0.5).tolist() == [1.0, 3.0, 7.5]
    assert scale_at(style, scales, 1.0).tolist() == [1.0, 5.0, 14.0]


def test_an_interval_takes_in_its_steps() -> None:
    style = GuidanceStyle(interval=(0.2, 0.8))
    inside = [step for step in range(STEPS) if active(style, share_of(step, STEPS))]
    assert inside == [2, 3, 4, 5, 6, 7]
    assert guided_steps(style, 0, STEPS, STEPS) == 6
    assert guided_steps(style, 5, STEPS, STEPS) == 3
    assert scale_at(style, SCALES, 0.1).tolist() == [1, 1, 1]


def test_outside_of_the_interval_the_unconditional_half_is_not_evaluated() -> None:
    style = GuidanceStyle(interval=(0.2, 0.8))
    guidance = Guidance(words(3, 2.0), words(3, 5.0), SCALES)
    model, latents, time = Model(), predictions(0), torch.tensor(1)
    outside = predict_guided(model, latents, time, guidance, style, 0.1)
    inside = predict_guided(model, latents, time, guidance, style, 0.5)
    assert model.rows == [3, 6]
    assert torch.equal(outside, 2 * latents)
    assert torch.equal(inside, guide(5 * latents, 2 * latents, SCALES))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_what_a_model_sees_beside_the_latents_goes_along(share: float) -> None:
    seen = []

    def predict(given: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        assert conditioning.sizes is not None
        seen.append((given[:, 4:], conditioning.sizes))
        return given[:, :4]

    beside, sizes = predictions(5), torch.arange(18.0).reshape(3, 6)
    guidance = Guidance(words(3, 2.0), words(3, 5.0), SCALES, sizes=sizes, beside=beside)
    style = GuidanceStyle(interval=(0.2, 0.8))
    predict_guided(predict, predictions(0), torch.tensor(1), guidance, style, share)
    times = 1 if share == 0.1 else 2
    assert torch.equal(seen[0][0], torch.cat([beside] * times))
    assert torch.equal(seen[0][1], torch.cat([sizes] * times))


@pytest.mark.parametrize(("weights", "rows"), [((0.25, 0.75), 6), ((1.0, 1.0), 9)])
def test_joined_prompts_outside_of_the_interval_are_as_at_a_scale_of_one(
    weights: tuple[float, float], rows: int
) -> None:
    joined = layers(*weights)
    both = Conditioning(torch.cat([words(3, 2.0).embeddings, words(3, 4.0).embeddings]))
    model, latents = Model(), predictions(0)
    guidance = Guidance(both, words(3, 5.0), SCALES, joined)
    found = predict_guided(
        model, latents, torch.tensor(1), guidance, GuidanceStyle(interval=(0.5, 1.0)), 0.1
    )
    assert model.rows == [rows]
    first, second = weights
    expected = 5 + first * (2 - 5) + second * (4 - 5)
    torch.testing.assert_close(found, expected * latents)


@pytest.mark.parametrize(("parallel", "norm"), [(1.0, None), (0.0, None), (0.3, 2.5), (1.0, 4.0)])
def test_projection_is_that_of_diffusers_on_predicted_pictures(
    parallel: float, norm: float | None
) -> None:
    from diffusers.guiders.adaptive_projected_guidance import normalized_guidance

    free, conditioned, noisy = predictions(0, 1), predictions(1, 1), predictions(2, 1)
    reading = Reading(noisy, 1.25, -0.75)
    style = GuidanceStyle(parallel=parallel, norm=norm)
    found = projected(style, free, conditioned, torch.tensor([6.0]), reading)
    pictures = [reading.a * noisy + reading.b * one for one in (conditioned, free)]
    expected = normalized_guidance(
        *pictures,
        guidance_scale=5.0,
        eta=parallel,
        norm_threshold=norm or 0.0,
        use_original_formulation=True,
    )
    torch.testing.assert_close(reading.a * noisy + reading.b * found, expected)
    if style == PLAIN:
        torch.testing.assert_close(found, guide(free, conditioned, torch.tensor([6.0])))


def test_projected_guidance_of_one_is_the_conditional_prediction() -> None:
    free, conditioned = predictions(0), predictions(1)
    style = GuidanceStyle(parallel=0.0)
    reading = Reading(predictions(2), 1.1, -0.5)
    assert torch.equal(
        guided(style, free, conditioned, torch.ones(3), reading=reading), conditioned
    )
    with pytest.raises(UsageError, match="noise level"):
        guided(style, free, conditioned, torch.ones(3))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", ["DDIM", "Euler", "DPM++ 2M Karras", "Heun", "UniPC"])
def test_a_perfect_prediction_is_read_as_the_picture(name: str, prediction: str) -> None:
    sampler = build_sampler(name, SCHEDULE | {"prediction_type": prediction}, STEPS)
    clean, noise = predictions(0, 1), predictions(1, 1)
    noisy = initial_latents(sampler, noise, clean, 4)
    time = sampler.timesteps[first_call(sampler, 4)]
    noisy = sampler.scale_model_input(noisy, time)
    reading = reading_of(sampler, noisy, time)
    # Between two training steps the sampler's own level is read off what it made.
    both = torch.stack([clean.flatten(), noise.flatten()], dim=1)
    signal, deviation = torch.linalg.lstsq(both, noisy.flatten()[:, None]).solution[:, 0]
    said = {
        "epsilon": noise,
        "v_prediction": signal * noise - deviation * clean,
        "sample": clean,
    }[prediction]
    found = reading.a * noisy + reading.b * said
    torch.testing.assert_close(found, clean, rtol=0, atol=0.005)


def test_a_flow_is_read_by_its_sigma() -> None:
    from diffusers import FlowMatchEulerDiscreteScheduler

    sampler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    sampler.set_timesteps(STEPS)
    clean, noise = predictions(0, 1), predictions(1, 1)
    sigma = float(sampler.sigmas[3])
    noisy = (1 - sigma) * clean + sigma * noise
    reading = reading_of(sampler, noisy, sampler.timesteps[3])
    torch.testing.assert_close(reading.a * noisy + reading.b * (noise - clean), clean)


def test_a_sampler_that_tells_no_noise_schedule_is_named() -> None:
    with pytest.raises(UsageError, match="object does not tell its noise schedule"):
        reading_of(object(), predictions(0), torch.tensor(1))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rescale": 1.5}, r"rescale is 1\.5; give 0 to 1"),
        ({"parallel": -0.1}, r"parallel is -0\.1"),
        ({"interval": (0.8, 0.2)}, r"interval is 0\.8 to 0\.2"),
        ({"interval": (0.0, 1.1)}, "interval"),
        ({"schedule": "sine"}, "'sine'; choose constant, linear or cosine"),
        ({"clamp": 0.5}, r"clamp is 0\.5"),
        ({"norm": 0.0}, r"norm is 0\.0"),
        ({"rescale": math.nan}, "rescale is nan"),
    ],
)
def test_values_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        GuidanceStyle(**given)


def test_styles_can_be_keys() -> None:
    assert len({PLAIN, GuidanceStyle(), GuidanceStyle(rescale=0.5)}) == 2
