import math

import pytest
import torch

from sdcreative.core.interpolation import lerp
from sdcreative.core.noise import blend_noise, draw_noise
from sdcreative.errors import UsageError

SHAPE = (4, 64, 64)
SEEDS = range(6)


@pytest.mark.parametrize("seed", [*SEEDS, 2**31, 2**63 - 1])
def test_a_function_of_the_seed_alone(seed):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    noise = draw_noise(seed, SHAPE)
    assert noise.shape == SHAPE
    assert noise.dtype == torch.float32
    assert noise.device.type == "cpu"
    assert torch.equal(torch.get_rng_state(), before)
    torch.randn(100)
    assert torch.equal(draw_noise(seed, SHAPE), noise)


def test_the_default_dtype_does_not_matter():
    expected = draw_noise(3, SHAPE)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(draw_noise(3, SHAPE), expected)
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_same_in_years_to_come():
    expected = torch.tensor([-1.1258, -1.1524, -0.2506, -0.4339])
    torch.testing.assert_close(draw_noise(0, SHAPE)[0, 0, :4], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("seed", SEEDS)
def test_standard_normal_and_independent(seed):
    a, b = draw_noise(seed, SHAPE), draw_noise(seed + 1, SHAPE)
    bound = 5 / math.sqrt(a.numel())
    assert abs(a.mean()) < bound
    assert abs(a.var() - 1) < bound * math.sqrt(2)
    assert abs((a * b).mean()) < bound


@pytest.mark.parametrize("t", [0.1, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("seed", SEEDS)
def test_variance_stays_where_a_straight_line_loses_it(seed, t):
    a, b = draw_noise(seed, SHAPE), draw_noise(seed + 100, SHAPE)
    bound = 8 / math.sqrt(a.numel())
    assert blend_noise(a, b, t).std() == pytest.approx(1.0, abs=bound)
    assert lerp(a, b, t).std() == pytest.approx(math.hypot(1 - t, t), abs=bound)


@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_one_arc_for_the_whole_tensor(t):
    a, b = draw_noise(1, SHAPE), draw_noise(2, SHAPE)
    omega = torch.acos((a.double() * b.double()).sum() / (a.double().norm() * b.double().norm()))
    blended = blend_noise(a, b, t)
    for end, share in [(a, t), (b, 1 - t)]:
        cosine = (blended.double() * end.double()).sum() / (
            blended.double().norm() * end.double().norm()
        )
        assert torch.acos(cosine).item() == pytest.approx(share * omega.item(), abs=1e-6)
    assert blended.shape == SHAPE


@pytest.mark.parametrize("seed", SEEDS)
def test_ends_and_equal_noises_are_exact(seed):
    a, b = draw_noise(seed, SHAPE), draw_noise(seed + 1, SHAPE)
    assert torch.equal(blend_noise(a, b, 0.0), a)
    assert torch.equal(blend_noise(a, b, 1.0), b)
    assert torch.equal(blend_noise(a, a, 0.37), a)


def test_refused():
    for seed in (-1, 2**63):
        with pytest.raises(UsageError, match=f"seed is {seed}"):
            draw_noise(seed, SHAPE)
    with pytest.raises(UsageError, match="same size"):
        blend_noise(draw_noise(0, (4, 8, 8)), draw_noise(0, (4, 16, 4)), 0.5)
