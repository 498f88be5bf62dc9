import math

import numpy as np
import pytest
import torch

from sdcreative.core.interpolation import lerp, slerp
from sdcreative.errors import UsageError

SEEDS = range(8)
TS = [0.001, 0.1, 0.25, 1 / 3, 0.5, 0.75, 0.999]
TOLERANCE = {torch.float16: 1e-3, torch.bfloat16: 8e-3, torch.float32: 2e-7, torch.float64: 1e-13}


def pair(seed, shape=(5, 16), dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    a, b = torch.randn(2, *shape, generator=generator, dtype=torch.float64)
    return a.to(dtype), (3 * b).to(dtype)


def shoemake(a, b, t):
    """The formula as printed, on float64 rows, with the lengths gone through linearly."""
    p, q = (x.double().numpy() for x in (a, b))
    m, n = (np.linalg.norm(x, axis=-1, keepdims=True) for x in (p, q))
    omega = np.arccos(np.sum(p / m * (q / n), axis=-1, keepdims=True))
    direction = (np.sin((1 - t) * omega) * p / m + np.sin(t * omega) * q / n) / np.sin(omega)
    return torch.from_numpy(direction * ((1 - t) * m + t * n))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("t", TS)
@pytest.mark.parametrize("seed", SEEDS)
def test_slerp_agrees_with_the_printed_formula(seed, t, dtype):
    a, b = pair(seed, dtype=dtype)
    result = slerp(a, b, t)
    assert result.dtype == dtype
    expected = shoemake(a, b, t)
    assert (result.double() - expected).abs().max() <= TOLERANCE[dtype] * expected.abs().max()


@pytest.mark.parametrize("degrees", [0.5, 30, 90, 120, 179.5])
@pytest.mark.parametrize("t", TS)
def test_slerp_in_the_plane_turns_at_constant_speed(degrees, t):
    omega = math.radians(degrees)
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(omega), math.sin(omega)], dtype=torch.float64)
    expected = torch.tensor([math.cos(t * omega), math.sin(t * omega)], dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, t), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(slerp(2 * a, 6 * b, t), (2 + 4 * t) * expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("method", [lerp, slerp])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("seed", SEEDS)
def test_ends_are_exact_copies(seed, dtype, method):
    a, b = pair(seed, dtype=dtype)
    for t, end in [(0, a), (0.0, a), (1, b), (1.0, b)]:
        result = method(a, b, t)
        assert torch.equal(result, end)
        assert result.data_ptr() != end.data_ptr()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("t", [0.0, *TS, 1.0])
def test_ends_of_a_turn_around_a_centre_are_exact(seed, t):
    a, b = pair(seed)
    centre = torch.full((16,), 1 / 3)
    result = slerp(a, b, t, centre=centre)
    torch.testing.assert_close(
        result, slerp(a.double() - 1 / 3, b.double() - 1 / 3, t).float() + 1 / 3
    )
    if t in (0, 1):
        assert torch.equal(result, b if t else a)
    assert torch.equal(slerp(a, a, t, centre=centre), a)


@pytest.mark.parametrize("method", [lerp, slerp])
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("t", TS)
@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_equal_stays_bit_for_bit(seed, t, dtype, method):
    a, b = pair(seed, shape=(6, 64), dtype=dtype)
    b[:3] = a[:3]
    result = method(a, b, t)
    assert torch.equal(result[:3], a[:3])
    assert not torch.equal(result[3:], a[3:])


@pytest.mark.parametrize("t", TS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_what_is_equal_stays_bit_for_bit_around_a_centre(t, dtype):
    a, b = pair(0, shape=(6, 64), dtype=dtype)
    b[:3] = a[:3]
    # In float64 a - centre + centre is not a.
    centre = torch.full((64,), 1 / 3, dtype=dtype)
    assert torch.equal(slerp(a, b, t, centre=centre)[:3], a[:3])


@pytest.mark.parametrize("t", TS)
@pytest.mark.parametrize("seed", SEEDS)
def test_length_goes_linearly_and_never_beyond_the_longer(seed, t):
    a, b = pair(seed, shape=(50, 7), dtype=torch.float64)
    m, n, length = (x.norm(dim=-1) for x in (a, b, slerp(a, b, t)))
    torch.testing.assert_close(length, (1 - t) * m + t * n)
    assert (length <= torch.maximum(m, n) * (1 + 1e-12)).all()


@pytest.mark.parametrize("t", TS)
def test_each_vector_is_its_own(t):
    a, b = pair(0, shape=(2, 3, 8))
    rows = torch.stack([slerp(a[i, j], b[i, j], t) for i in range(2) for j in range(3)])
    torch.testing.assert_close(slerp(a, b, t).reshape(6, 8), rows, rtol=0, atol=0)


@pytest.mark.parametrize("t", TS)
def test_other_dimension(t):
    a, b = pair(1, shape=(4, 8))
    assert torch.equal(slerp(a, b, t, dim=0), slerp(a.T, b.T, t).T)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("t", TS)
def test_symmetric(seed, t):
    a, b = pair(seed, dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, t), slerp(b, a, 1 - t))


@pytest.mark.parametrize("t", TS)
@pytest.mark.parametrize("angle", [1e-3, 1e-5, 1e-7, 1e-9, 1e-12])
def test_nearly_parallel_is_smooth(angle, t):
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    result = slerp(a, b, t)
    assert result[1].item() == pytest.approx(math.sin(t * angle), rel=1e-6)
    assert result.norm().item() == pytest.approx(1.0, abs=1e-14)


@pytest.mark.parametrize("t", TS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_degenerate_vectors_take_the_straight_line(dtype, t):
    one = torch.tensor([[3.0, 4.0]], dtype=dtype)
    zero = torch.zeros_like(one)
    for a, b in [(one, 2 * one), (one, zero), (zero, one), (one, -one), (one, -2 * one)]:
        result = slerp(a, b, t)
        assert torch.isfinite(result).all()
        assert torch.equal(result, lerp(a, b, t))
    assert torch.equal(slerp(zero, zero, t), zero)


@pytest.mark.parametrize("t", TS)
def test_nearly_opposite_keeps_its_length_as_long_as_there_is_an_arc(t):
    angle = math.pi - 1e-6
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    expected = torch.tensor([math.cos(t * angle), math.sin(t * angle)], dtype=torch.float64)
    torch.testing.assert_close(slerp(a, b, t), expected, rtol=0, atol=1e-8)


def test_half_precision_does_not_overflow():
    # The vectors are far longer than 65504, the largest number of float16.
    a = torch.full((1, 64), 40000.0, dtype=torch.float16)
    b = a * torch.tensor([1.0, -1.0]).repeat(32).half()
    for method in (lerp, slerp):
        assert torch.isfinite(method(a, b, 0.5)).all()


def test_a_turn_around_a_centre_by_hand():
    a, b, centre = torch.tensor([[2.0, 1.0], [1.0, 2.0], [1.0, 1.0]])
    half = math.sqrt(0.5)
    result = slerp(a, b, 0.5, centre=centre)
    torch.testing.assert_close(result, torch.tensor([1 + half, 1 + half]))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("t", TS)
def test_lerp_closed_form(seed, t):
    a, b = pair(seed, dtype=torch.float64)
    torch.testing.assert_close(lerp(a, b, t), (1 - t) * a + t * b)


@pytest.mark.parametrize("method", [lerp, slerp])
def test_inputs_are_left_alone(method):
    a, b = pair(0)
    before = a.clone(), b.clone()
    method(a, b, 0.3)
    assert torch.equal(a, before[0])
    assert torch.equal(b, before[1])


@pytest.mark.parametrize("method", [lerp, slerp])
def test_refused(method):
    a, b = pair(0)
    for t in (-0.01, 1.01, math.nan):
        with pytest.raises(UsageError, match="t is"):
            method(a, b, t)
    with pytest.raises(UsageError, match=r"shape \(5, 16\) and .* \(4, 16\)"):
        method(a, b[:4], 0.5)
    with pytest.raises(UsageError, match="make them alike"):
        method(a, b.half(), 0.0)
    with pytest.raises(UsageError, match="convert it to floating point"):
        method(a.int(), b.int(), 0.5)


def test_a_centre_cannot_change_the_shape():
    a, b = pair(0)
    with pytest.raises(RuntimeError):
        slerp(a, b, 0.5, centre=torch.zeros(2, 5, 16))
