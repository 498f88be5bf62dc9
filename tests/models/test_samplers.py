"""Samplers against diffusers, against k-diffusion's formula, and against themselves when forked."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from sdcreative.errors import UsageError
from sdcreative.models.sampler_names import NAMES, PLUGIN_SAMPLERS, SAMPLERS, describe
from sdcreative.models.samplers import build_sampler
from sdcreative.models.scheduling import fork, join

STABLE_DIFFUSION = {
    "_class_name": "PNDMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
    "clip_sample": False,
}


def almost_zero_terminal() -> dict[str, Any]:
    """A v-prediction schedule that ends at a signal-to-noise ratio of 1e-4."""
    roots = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64)
    signal = (1 - roots**2).cumprod(0).sqrt()
    last = math.sqrt(1e-4 / (1 + 1e-4))
    signal = (signal - signal[-1]) * (signal[0] - last) / (signal[0] - signal[-1]) + last
    kept = signal**2
    betas = 1 - torch.cat([kept[:1], kept[1:] / kept[:-1]])
    return {
        "beta_schedule": "scaled_linear",
        "trained_betas": betas.tolist(),
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing",
        "steps_offset": 1,
        "clip_sample": False,
        "set_alpha_to_one": True,
    }


CONFIGS = {"epsilon": STABLE_DIFFUSION, "v_prediction": almost_zero_terminal()}


def model(sample: Tensor, timestep: Tensor) -> Tensor:
    """A stand-in for the U-Net: not linear, different for every row and timestep."""
    return torch.tanh(sample * 0.7 + 0.1 * torch.sin(timestep.float() / 100))


def generators(seeds: list[int]) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def noise(seeds: list[int]) -> Tensor:
    return torch.cat([torch.randn(1, 4, 4, 4, generator=g) for g in generators(seeds)])


def walk(scheduler: Any, sample: Tensor, timesteps: Tensor, extra: Mapping[str, Any]) -> Tensor:
    for timestep in timesteps:
        output = model(scheduler.scale_model_input(sample, timestep), timestep)
        sample = scheduler.step(output, timestep, sample, return_dict=False, **extra)[0]
    return sample


def run(name: str, config: Mapping[str, Any], steps: int, seeds: list[int]) -> Tensor:
    scheduler = build_sampler(name, config, steps)
    extra = {"generator": generators(seeds)} if describe(name).stochastic else {}
    return walk(scheduler, noise(seeds) * scheduler.init_noise_sigma, scheduler.timesteps, extra)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 20, 50, 61])
@pytest.mark.parametrize("name", NAMES)
def test_every_sampler_is_finite_with_the_promised_number_of_calls(
    name: str, steps: int, kind: str
) -> None:
    if steps > (SAMPLERS[name].most_steps or 1000):
        pytest.skip("more than the sampler can do")
    scheduler = build_sampler(name, CONFIGS[kind], steps)
    assert len(scheduler.timesteps) == SAMPLERS[name].unet_calls(steps)
    assert scheduler.timesteps.min() >= 0
    result = run(name, CONFIGS[kind], steps, [1, 2])
    assert torch.isfinite(result).all()
    assert result.abs().max() < 100


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", [name for name in NAMES if "DPM++ SDE" not in name])
def test_samplers_equal_those_of_diffusers(name: str, kind: str) -> None:
    import diffusers

    classes = {
        "Euler": ("EulerDiscreteScheduler", {}),
        "Euler a": ("EulerAncestralDiscreteScheduler", {}),
        "Heun": ("HeunDiscreteScheduler", {}),
        "LMS": ("LMSDiscreteScheduler", {}),
        "DDIM": ("DDIMScheduler", {}),
        "DPM++ 2M": ("DPMSolverMultistepScheduler", {}),
        "DPM++ 2M SDE": ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
        "UniPC": ("UniPCMultistepScheduler", {}),
        "LCM": ("LCMScheduler", {}),
        "TCD": ("TCDScheduler", {}),
    }
    cls, options = classes[name.removesuffix(" Karras")]
    if name.endswith(" Karras"):
        options = {**options, "use_karras_sigmas": True}
    theirs = getattr(diffusers, cls).from_config(CONFIGS[kind], **options)
    theirs.set_timesteps(12)
    extra = {"generator": generators([5, 6])} if describe(name).stochastic else {}
    start = noise([5, 6]) * theirs.init_noise_sigma
    expected = walk(theirs, start, theirs.timesteps, extra)
    assert torch.equal(run(name, CONFIGS[kind], 12, [5, 6]), expected)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", ["DPM++ SDE", "DPM++ SDE Karras"])
def test_dpm_sde_equals_the_formula_of_k_diffusion(name: str, kind: str) -> None:
    """sample_dpmpp_sde with eta = 1, r = 1/2, on one Brownian path over sigma."""
    config = CONFIGS[kind]
    scheduler = build_sampler(name, config, 8)
    sigmas = [*scheduler.sigmas[0:-1:2].double().tolist(), 0.0]
    source = torch.Generator().manual_seed(9)

    def denoise(x: Tensor, sigma: float, timestep: Tensor) -> Tensor:
        output = model(x / math.sqrt(sigma**2 + 1), timestep)
        if kind == "epsilon":
            return x - sigma * output
        return x / (sigma**2 + 1) - output * sigma / math.sqrt(sigma**2 + 1)

    def ancestral(start: float, end: float) -> tuple[float, float]:
        up = min(end, math.sqrt(end**2 * (start**2 - end**2) / start**2))
        return math.sqrt(end**2 - up**2), up

    x = noise([9]) * scheduler.init_noise_sigma
    path = {}
    times = iter(scheduler.timesteps)
    for sigma, end in itertools.pairwise(sigmas):
        clean = denoise(x, sigma, next(times))
        if end == 0:
            x = clean
            continue
        middle = math.exp((math.log(sigma) + math.log(end)) / 2)
        path = {}
        for stop, start in ((middle, sigma), (end, middle)):
            drawn = torch.randn(x.shape, generator=source)
            path[stop] = path.get(start, 0) + math.sqrt(start - stop) * drawn
        down, up = ancestral(sigma, middle)
        t, s = -math.log(sigma), -math.log(down)
        x2 = (down / sigma) * x - math.expm1(t - s) * clean
        x2 = x2 + path[middle] / math.sqrt(sigma - middle) * up
        clean2 = denoise(x2, middle, next(times))
        down, up = ancestral(sigma, end)
        s = -math.log(down)
        x = (down / sigma) * x - math.expm1(t - s) * clean2
        x = x + path[end] / math.sqrt(sigma - end) * up
    torch.testing.assert_close(run(name, config, 8, [9]), x, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("name", NAMES)
def test_a_picture_does_not_depend_on_its_batch(name: str, kind: str) -> None:
    together = run(name, CONFIGS[kind], 6, [1, 2, 3])
    alone = torch.cat([run(name, CONFIGS[kind], 6, [seed]) for seed in (1, 2, 3)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("calls", [0, 1, 2, 3, 5, 6])
@pytest.mark.parametrize("name", NAMES)
def test_branches_of_a_trunk_go_on_as_though_each_had_run_alone(
    name: str, calls: int, kind: str
) -> None:
    stochastic = describe(name).stochastic
    whole = build_sampler(name, CONFIGS[kind], 8)
    start = noise([3]) * whole.init_noise_sigma

    def extra(seeds: list[int]) -> dict[str, Any]:
        return {"generator": generators(seeds)} if stochastic else {}

    trunk = build_sampler(name, CONFIGS[kind], 8)
    stem = walk(trunk, start, trunk.timesteps[:calls], extra([7]))
    expected = walk(whole, start.repeat(3, 1, 1, 1), whole.timesteps[:calls], extra([7, 7, 7]))
    # The branches differ from here on, so that a mixed-up row shows.
    nudge = torch.tensor([0.0, 0.1, 0.2]).reshape(3, 1, 1, 1)
    expected = walk(whole, expected + nudge, whole.timesteps[calls:], extra([1, 2, 3]))

    branches = fork(trunk, [0, 0, 0])
    result = walk(branches, stem + nudge, trunk.timesteps[calls:], extra([1, 2, 3]))
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)
    # Forking again from the same trunk shows that the first branches left it alone.
    again = fork(trunk, [0])
    result = walk(again, stem + nudge[2:], trunk.timesteps[calls:], extra([3]))
    torch.testing.assert_close(result, expected[2:], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["Heun", "LMS", "DPM++ 2M", "UniPC", "DPM++ SDE"])
def test_rows_of_a_fork_are_chosen_by_number(name: str) -> None:
    scheduler = build_sampler(name, CONFIGS["epsilon"], 6)
    extra = {"generator": generators([1, 2, 3])} if describe(name).stochastic else {}
    stem = walk(scheduler, noise([1, 2, 3]), scheduler.timesteps[:3], extra)
    rest = scheduler.timesteps[3:]
    chosen = fork(scheduler, [2, 0])
    extra = {"generator": generators([6, 4])} if extra else {}
    result = walk(chosen, stem[[2, 0]], rest, extra)
    extra = {"generator": generators([4, 5, 6])} if extra else {}
    torch.testing.assert_close(result, walk(scheduler, stem, rest, extra)[[2, 0]])


@pytest.mark.parametrize("name", NAMES)
def test_pictures_that_began_alone_go_on_together(name: str) -> None:
    stochastic = describe(name).stochastic
    alone, stems = [], []
    for seed in (1, 2):
        scheduler = build_sampler(name, CONFIGS["v_prediction"], 6)
        extra = {"generator": generators([seed])} if stochastic else {}
        start = noise([seed]) * scheduler.init_noise_sigma
        stems.append(walk(scheduler, start, scheduler.timesteps[:3], extra))
        alone.append(scheduler)
    rest = alone[0].timesteps[3:]
    extra = {"generator": generators([8, 9])} if stochastic else {}
    together = walk(join(alone), torch.cat(stems), rest, extra)
    for row, seed in enumerate((8, 9)):
        extra = {"generator": generators([seed])} if stochastic else {}
        one = walk(alone[row], stems[row], rest, extra)
        torch.testing.assert_close(together[row : row + 1], one, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_image_to_image_begins_in_the_middle(name: str) -> None:
    scheduler = build_sampler(name, CONFIGS["v_prediction"], 8)
    calls = describe(name).calls
    begin = 5 * calls
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(begin)
    rest = scheduler.timesteps[begin:]
    start = scheduler.add_noise(noise([1]), noise([2]), rest[:1])
    extra = {"generator": generators([3])} if describe(name).stochastic else {}
    assert torch.isfinite(walk(scheduler, start, rest, extra)).all()


def test_schedules_that_diffusers_makes_one_step_too_long() -> None:
    for steps in range(51, 150):
        for name in ("DDIM", "LMS", "Heun", "DPM++ SDE", "DPM++ 2M"):
            scheduler = build_sampler(name, CONFIGS["v_prediction"], steps)
            assert len(scheduler.timesteps) == describe(name).unet_calls(steps)
            if name != "DDIM":
                assert len(scheduler.sigmas) == len(scheduler.timesteps) + 1


def test_unknown_samplers_and_steps_out_of_range() -> None:
    with pytest.raises(UsageError, match="did you mean 'Euler'"):
        build_sampler("Eule", STABLE_DIFFUSION)
    with pytest.raises(UsageError, match="LCM takes 1 to 50 steps"):
        build_sampler("LCM", STABLE_DIFFUSION, 51)


def test_a_plugin_builds_its_own_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLUGIN_SAMPLERS, "Mine", lambda config: ("mine", config))
    assert build_sampler("mine", STABLE_DIFFUSION) == ("mine", STABLE_DIFFUSION)


@pytest.mark.parametrize("name", ["Euler a", "LCM", "DPM++ 2M SDE", "TCD"])
def test_noise_that_does_not_wait_is_the_noise_of_diffusers(name: str) -> None:
    from sdcreative.models.solvers import CLASSES

    scheduler = build_sampler(name, STABLE_DIFFUSION, 6)
    original: Any = CLASSES[name][0].__mro__[2]
    reference = original.from_config(scheduler.config)
    reference.set_timesteps(6)
    found = sample = noise([1, 2])
    mine, theirs = generators([3, 4]), generators([3, 4])
    eta = {"eta": 0.3} if name == "TCD" else {}
    for timestep in scheduler.timesteps:
        output = model(scheduler.scale_model_input(found, timestep), timestep)
        reference.scale_model_input(sample, timestep)
        found = scheduler.step(output, timestep, found, generator=mine, return_dict=False)[0]
        sample = reference.step(
            output, timestep, sample, generator=theirs, return_dict=False, **eta
        )[0]
        assert torch.equal(found, sample)


def test_no_step_copies_noise_in_the_way_of_diffusers() -> None:
    from sdcreative.models import flow_solvers, solvers

    drawing = [solvers.CLASSES[name][0].step for name in ("Euler a", "LCM", "DPM++ 2M SDE")]
    for step in (*drawing, solvers._TCD_STEP, flow_solvers.FlowLCM.step):
        # Of another name in diffusers' own code our noise would never be asked for.
        assert "randn_tensor" in step.__code__.co_names
        assert step.__globals__["randn_tensor"] is solvers.drawn
