"""Samplers of flow matching: against diffusers, against a closed form, and when forked."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor

from sdcreative.core.conditioning import Conditioning
from sdcreative.core.sampling import Guidance, Inpainting, denoise, initial_latents
from sdcreative.errors import UsageError
from sdcreative.models.flow import is_flow, shift, shift_exponent
from sdcreative.models.sampler_names import (
    NAMES,
    PLUGIN_SAMPLERS,
    SAMPLERS,
    check_flow,
    describe,
)
from sdcreative.models.samplers import build_sampler
from sdcreative.models.scheduling import Flight, fork

SD3 = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}
GROWING = {**SD3, "shift": 1.0, "use_dynamic_shifting": True}
FLOW = [name for name in NAMES if SAMPLERS[name].flow]
NOTHING = Guidance(Conditioning(torch.zeros(1, 1, 1)), None, torch.ones(1))

Velocity = Callable[[Tensor, Tensor], Tensor]


def model(sample: Tensor, timestep: Tensor) -> Tensor:
    """A stand-in for the transformer: not linear, different for every row and timestep."""
    return torch.tanh(sample * 0.7 + 0.1 * torch.sin(timestep.float() / 100))


def generators(seeds: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noise(seeds: list[int]) -> Tensor:
    return torch.cat([torch.randn(1, 16, 4, 4, generator=g) for g in generators(seeds)])


def walk(
    scheduler: Any, sample: Tensor, timesteps: Tensor, seeds: list[int], said: Velocity = model
) -> Tensor:
    """By diffusers' own interface, as StableDiffusion3Pipeline goes through its timesteps."""
    for timestep in timesteps:
        extra = {"generator": seeds} if seeds else {}
        output = said(sample, timestep)
        sample = scheduler.step(output, timestep, sample, return_dict=False, **extra)[0]
    return sample


def stochastic(name: str, seeds: list[int]) -> list[Any]:
    return generators(seeds) if describe(name).stochastic else []


def run(name: str, config: dict[str, Any], steps: int, seeds: list[int]) -> Tensor:
    scheduler = build_sampler(name, config, steps)
    return walk(scheduler, noise(seeds), scheduler.timesteps, stochastic(name, [*seeds]))


def theirs(name: str) -> Any:
    base = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    multistep = diffusers.DPMSolverMultistepScheduler
    found: dict[str, Callable[[], Any]] = {
        "Euler": lambda: base,
        "Heun": lambda: diffusers.FlowMatchHeunDiscreteScheduler(shift=3.0),
        "DPM++ 2M": lambda: multistep.from_config(base.config, **flow),
        "DPM++ 2M SDE": lambda: multistep.from_config(
            base.config, algorithm_type="sde-dpmsolver++", **flow
        ),
        "UniPC": lambda: diffusers.UniPCMultistepScheduler.from_config(base.config, **flow),
        "LCM": lambda: diffusers.FlowMatchLCMScheduler(shift=3.0),
        "Euler a": lambda: diffusers.LTXEulerAncestralRFScheduler(eta=1.0),
    }
    return found[name]()


@pytest.mark.parametrize("steps", [1, 4, 12, 28])
@pytest.mark.parametrize("name", FLOW)
def test_samplers_equal_those_of_diffusers(name: str, steps: int) -> None:
    scheduler = theirs(name)
    if name == "Euler a":
        # It shifts no schedule, but takes one.
        scheduler.set_timesteps(sigmas=build_sampler("Euler", SD3, steps).sigmas)
    else:
        scheduler.set_timesteps(steps)
    times = scheduler.timesteps[: describe(name).unet_calls(steps)]
    expected = walk(scheduler, noise([5, 6]), times, stochastic(name, [5, 6]))
    result = run(name, SD3, steps, [5, 6])
    if name == "Euler":
        assert torch.equal(result, expected)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def gaussian(deviation: float) -> Velocity:
    """The best model of pictures from N(0, deviation ** 2): E[noise - clean | x], linear in x."""

    def velocity(sample: Tensor, timestep: Tensor) -> Tensor:
        sigma = float(timestep) / 1000
        variance = (1 - sigma) ** 2 * deviation**2 + sigma**2
        return sample * ((sigma - (1 - sigma) * deviation**2) / variance)

    return velocity


@pytest.mark.parametrize(
    ("name", "few", "many"),
    [("Euler", 0.15, 0.04), ("Heun", 4e-3, 5e-4), ("DPM++ 2M", 0.03, 0.01), ("UniPC", 0.03, 4e-3)],
)
def test_the_flow_of_a_normal_distribution_is_known(name: str, few: float, many: float) -> None:
    """dx/dsigma = v(x, sigma) scales x by its deviation at every sigma: from 1 to that of the
    pictures. What is missed shrinks with the steps, down to what whole timesteps leave."""
    start, misses = noise([3]), []
    for steps in (20, 80):
        scheduler = build_sampler(name, SD3, steps)
        end = walk(scheduler, start, scheduler.timesteps, [], gaussian(0.5))
        misses.append(float((end / start - 0.5).abs().max()) / 0.5)
    assert misses[0] < few
    assert misses[1] < many


@pytest.mark.parametrize(("name", "off"), [("Euler a", 0.06), ("DPM++ 2M SDE", 0.02)])
def test_new_noise_keeps_the_deviation_of_the_pictures(name: str, off: float) -> None:
    scheduler = build_sampler(name, SD3, 200)
    start = torch.randn(1, 16, 32, 32, generator=torch.Generator().manual_seed(1))
    end = walk(scheduler, start, scheduler.timesteps, generators([1]), gaussian(0.5))
    assert float(end.std()) == pytest.approx(0.5, rel=off)
    # What was noise at first has no part in it any more.
    correlation = float((end * start).mean() / (end.std() * start.std()))
    assert abs(correlation) < 0.05


@pytest.mark.parametrize("steps", [1, 2, 4, 20, 61])
@pytest.mark.parametrize("name", FLOW)
def test_every_sampler_is_finite_with_the_promised_number_of_calls(name: str, steps: int) -> None:
    if steps > (SAMPLERS[name].most_steps or 1000):
        pytest.skip("more than the sampler can do")
    for config in (SD3, GROWING):
        scheduler = build_sampler(name, config, steps)
        assert len(scheduler.timesteps) == SAMPLERS[name].unet_calls(steps)
        assert 0 <= scheduler.timesteps.min() <= scheduler.timesteps.max() <= 1000
        assert scheduler.init_noise_sigma == 1
        result = run(name, config, steps, [1, 2])
        assert torch.isfinite(result).all()


def test_shifts_that_grow_with_the_picture_are_those_of_the_pipeline() -> None:
    from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import calculate_shift

    euler = diffusers.FlowMatchEulerDiscreteScheduler.from_config(GROWING)
    euler.set_timesteps(9, mu=calculate_shift(1024))
    ours = build_sampler("Euler", GROWING, 9, tokens=1024)
    assert torch.equal(ours.sigmas, euler.sigmas)
    assert shift_exponent(GROWING, 256) == pytest.approx(0.5)
    assert shift(GROWING, 4096) == pytest.approx(math.exp(1.15))
    assert shift({**GROWING, "time_shift_type": "linear"}, None) == pytest.approx(1.15)
    large = build_sampler("Euler", GROWING, 9)
    assert torch.equal(large.sigmas, build_sampler("Euler", GROWING, 9, 4096).sigmas)
    assert (large.sigmas[1:-1] > ours.sigmas[1:-1]).all()
    for name in ("Heun", "DPM++ 2M", "UniPC"):
        levels = [build_sampler(name, GROWING, 9, tokens).sigmas[1] for tokens in (1024, 4096)]
        assert levels[0] < levels[1]
    assert shift(SD3, 1024) == 3
    assert shift({"use_flow_sigmas": True, "flow_shift": 5.0}, None) == 5


@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("name", FLOW)
def test_branches_of_a_trunk_go_on_as_though_each_had_run_alone(name: str, calls: int) -> None:
    whole, trunk = build_sampler(name, SD3, 8), build_sampler(name, SD3, 8)
    start = noise([3])
    stem = walk(trunk, start, trunk.timesteps[:calls], stochastic(name, [7]))
    many = start.repeat(3, 1, 1, 1)
    many = walk(whole, many, whole.timesteps[:calls], stochastic(name, [7, 7, 7]))
    nudge = torch.tensor([0.0, 0.1, 0.2]).reshape(3, 1, 1, 1)
    rest = whole.timesteps[calls:]
    expected = walk(whole, many + nudge, rest, stochastic(name, [1, 2, 3]))

    branches = fork(trunk, [0, 0, 0])
    result = walk(branches, stem + nudge, rest, stochastic(name, [1, 2, 3]))
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)
    # Forking again from the same trunk shows that the first branches left it alone.
    again = walk(fork(trunk, [0]), stem + nudge[2:], rest, stochastic(name, [3]))
    torch.testing.assert_close(again, expected[2:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FLOW)
def test_pictures_that_began_alone_go_on_together(name: str) -> None:
    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        return model(latents, time)

    def go(flight: Flight, start: int, stop: int) -> Tensor:
        return denoise(
            predict,
            flight.sampler,
            flight.latents,
            NOTHING,
            start=start,
            stop=stop,
            generators=flight.generators,
        )

    flights = []
    for seed in (1, 2):
        flight = Flight(noise([seed]), build_sampler(name, SD3, 6), tuple(generators([seed])))
        latents = go(flight, 0, 3)
        flights.append(Flight(latents, flight.sampler, flight.generators))
    alone = [go(flight.take([0]), 3, 6) for flight in flights]
    together = go(Flight.join([flight.take([0]) for flight in flights]), 3, 6)
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", FLOW)
def test_a_start_picture_is_mixed_with_noise_on_a_straight_line(name: str) -> None:
    scheduler = build_sampler(name, SD3, 8)
    clean, grain = noise([1]), noise([2])
    begin = 5 * describe(name).calls
    mixed = initial_latents(scheduler, grain, clean, 5)
    sigma = scheduler.sigmas[begin]
    torch.testing.assert_close(mixed, (1 - sigma) * clean + sigma * grain)
    # Timesteps of diffusers' multistep samplers are whole numbers.
    assert abs(float(scheduler.timesteps[begin]) / 1000 - float(sigma)) < 1e-3
    assert torch.equal(initial_latents(build_sampler(name, SD3, 8), grain, clean, 0), grain)
    end = walk(scheduler, mixed, scheduler.timesteps[begin:], stochastic(name, [3]))
    assert torch.isfinite(end).all()


@pytest.mark.parametrize("name", FLOW)
def test_what_is_kept_when_inpainting_is_as_noisy_as_the_rest(name: str) -> None:
    """A velocity of noise - clean, known for the kept picture, leads there exactly."""
    clean, grain = noise([1]), noise([2])
    scheduler = build_sampler(name, SD3, 6)
    levels = []

    def predict(latents: Tensor, time: Tensor, conditioning: Conditioning) -> Tensor:
        sigma = float(((latents - clean) * (grain - clean)).sum() / ((grain - clean) ** 2).sum())
        levels.append((sigma, float(time) / 1000))
        return grain - clean

    kept = Inpainting(clean, grain, torch.zeros(1, 1, 4, 4))
    end = denoise(
        predict, scheduler, grain, NOTHING, start=0, stop=6, generators=generators([1]),
        inpainting=kept,
    )  # fmt: skip
    assert torch.equal(end, clean)
    assert len(levels) == describe(name).unet_calls(6)
    for sigma, time in levels:
        assert sigma == pytest.approx(time, abs=1.1e-3)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in FLOW])
def test_samplers_of_diffusion_alone_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="does not work with models of flow matching") as caught:
        build_sampler(name, SD3, 8)
    line = str(caught.value)
    assert line.startswith(f"sampler {name} ")
    assert line.endswith(f"choose from {', '.join(FLOW)}")
    assert "\n" not in line


def test_names_that_work_with_flow_matching() -> None:
    assert FLOW == ["Euler", "Euler a", "Heun", "DPM++ 2M", "DPM++ 2M SDE", "UniPC", "LCM"]
    check_flow("dpmpp_2m")
    with pytest.raises(UsageError, match="no sampler is named"):
        check_flow("Eule")
    with pytest.raises(UsageError, match="LCM takes 1 to 50 steps"):
        build_sampler("LCM", SD3, 51)


def test_samplers_of_plugins_are_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLUGIN_SAMPLERS, "Mine", lambda config: ("mine", config))
    assert build_sampler("mine", SD3) == ("mine", SD3)


@pytest.mark.parametrize(
    ("config", "flow"),
    [
        (SD3, True),
        ({"_class_name": "FlowMatchHeunDiscreteScheduler"}, True),
        ({"shift": 3.0}, True),
        ({"prediction_type": "flow_prediction"}, True),
        ({"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": True}, True),
        (dict(diffusers.UniPCMultistepScheduler().config), False),
        (dict(diffusers.DPMSolverMultistepScheduler().config), False),
        ({"_class_name": "PNDMScheduler", "prediction_type": "v_prediction"}, False),
        ({}, False),
    ],
)
def test_flow_matching_is_told_from_diffusion(config: dict[str, Any], flow: bool) -> None:
    assert is_flow(config) is flow
