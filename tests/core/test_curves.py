"""Smooth paths: no corner at any keyframe, exact keyframes, nothing that moves without a reason."""

import math
from itertools import pairwise

import pytest
import torch

from sdcreative.core.curves import smooth_lerp, smooth_slerp
from sdcreative.core.interpolation import lerp, slerp
from sdcreative.errors import UsageError

METHODS = [smooth_lerp, smooth_slerp]
PLAIN = {smooth_lerp: lerp, smooth_slerp: slerp}
SPANS = [(1.0, 1.0, 1.0), (1.0, 2.5, 0.7), (0.2, 3.0, 0.5), (4.0, 0.1, 4.0)]
TS = [0.001, 0.2, 1 / 3, 0.5, 0.75, 0.999]


def points(seed, count=4, shape=(5, 16), dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    directions = torch.randn(count, *shape, generator=generator, dtype=torch.float64)
    scales = torch.arange(1, count + 1, dtype=torch.float64).reshape(-1, *[1] * len(shape))
    return list((directions * scales).to(dtype))


def walk(method, keyframes, spans, closed, **options):
    """(segment, t) -> point of the path through all keyframes."""
    count = len(keyframes)

    def at(segment, t):
        def near(index, inside):
            return keyframes[index % count] if closed or inside else None

        return method(
            near(segment - 1, segment > 0),
            keyframes[segment],
            keyframes[(segment + 1) % count],
            near(segment + 2, segment + 2 < count),
            t,
            (spans[segment - 1], spans[segment], spans[(segment + 1) % len(spans)]),
            **options,
        )

    return at


def velocity(at, segment, t, span, step=1e-6):
    """One-sided difference of second order, from inside the segment, per unit of time."""
    h = step if t == 0 else -step
    first, second, third = (at(segment, t + i * h) for i in range(3))
    return (-1.5 * first + 2 * second - 0.5 * third) / (h * span)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spans", [(1, 1, 1, 1), (1, 3, 0.5, 2), (0.1, 5, 0.3, 1)])
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_neither_place_nor_velocity_jumps_at_a_keyframe(method, spans, closed, seed):
    keyframes = points(seed, count=4 if closed else 5)
    at = walk(method, keyframes, spans, closed)
    joints = [(i, i + 1) for i in range(3)] + ([(3, 0)] if closed else [])
    for before, after in joints:
        torch.testing.assert_close(at(before, 1 - 1e-9), at(after, 1e-9), rtol=0, atol=1e-6)
        arriving = velocity(at, before, 1, spans[before])
        leaving = velocity(at, after, 0, spans[after])
        torch.testing.assert_close(arriving, leaving, rtol=1e-4, atol=1e-4)
        assert leaving.norm() > 0.1


@pytest.mark.parametrize("plain", [lerp, slerp])
def test_a_straight_path_does_jump_so_the_test_above_can_fail(plain):
    keyframes = points(0, count=3)
    arriving = velocity(lambda s, t: plain(*keyframes[:2], t), 0, 1, 1)
    leaving = velocity(lambda s, t: plain(*keyframes[1:], t), 0, 0, 1)
    assert (arriving - leaving).abs().max() > 0.1


@pytest.mark.parametrize("spans", SPANS)
@pytest.mark.parametrize("t", TS)
def test_slerp_around_a_centre_is_the_same_curve_moved_there(spans, t):
    before, a, b, after = points(1)
    centre = points(9, count=1)[0]
    moved = smooth_slerp(*(p + centre for p in (before, a, b, after)), t, spans, centre=centre)
    torch.testing.assert_close(moved - centre, smooth_slerp(before, a, b, after, t, spans))


def barry_goldman(p, spans, t):
    """Nonuniform Catmull-Rom by the pyramid of P. Barry and R. Goldman, SIGGRAPH 1988."""
    knots = [-spans[0], 0.0, spans[1], spans[1] + spans[2]]
    x = t * spans[1]

    def mix(a, b, i, j):
        return ((knots[j] - x) * a + (x - knots[i]) * b) / (knots[j] - knots[i])

    a = [mix(p[i], p[i + 1], i, i + 1) for i in range(3)]
    b = [mix(a[i], a[i + 1], i, i + 2) for i in range(2)]
    return mix(b[0], b[1], 1, 2)


@pytest.mark.parametrize("spans", [(1.0, 1.0, 1.0), (1.0, 2.0, 1.5), (0.7, 1.0, 1.3)])
@pytest.mark.parametrize("t", TS)
def test_lerp_is_the_curve_of_catmull_and_rom(spans, t):
    # Steps of like speed, so that no velocity has to be limited.
    keyframes = [p / (i + 1) for i, p in enumerate(points(4))]
    expected = barry_goldman(keyframes, spans, t)
    torch.testing.assert_close(smooth_lerp(*keyframes, t, spans), expected)


@pytest.mark.parametrize("t", TS)
def test_slerp_through_equal_turns_in_a_plane_is_the_circle(t):
    """Radius and speed are those of the circle: on it all control points lie a third apart."""
    angles = [-0.7, 0.0, 0.7, 1.4]
    keyframes = [torch.tensor([2 * math.cos(x), 2 * math.sin(x)]).double() for x in angles]
    expected = torch.tensor([2 * math.cos(0.7 * t), 2 * math.sin(0.7 * t)]).double()
    torch.testing.assert_close(smooth_slerp(*keyframes, t), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("spans", SPANS)
def test_slerp_stays_on_the_sphere_and_between_the_lengths(spans):
    keyframes = [p / p.norm(dim=-1, keepdim=True) for p in points(2)]
    for step in range(21):
        point = smooth_slerp(*keyframes, step / 20, spans)
        torch.testing.assert_close(point.norm(dim=-1), torch.ones(5).double())
    longer = [scale * p for scale, p in zip((3, 1, 2, 2), keyframes, strict=True)]
    lengths = [smooth_slerp(*longer, step / 20, spans).norm(dim=-1) for step in range(21)]
    assert all((after >= before - 1e-12).all() for before, after in pairwise(lengths))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", [0.0, *TS, 1.0])
@pytest.mark.parametrize("spans", SPANS)
def test_two_keyframes_make_the_plain_path(method, t, spans):
    a, b = points(3, count=2, dtype=torch.float32)
    assert torch.equal(method(None, a, b, None, t, spans), PLAIN[method](a, b, t))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spans", SPANS)
def test_an_end_without_a_neighbour_leaves_as_the_plain_path_does(method, spans):
    before, a, b, after = points(5)
    plain = velocity(lambda s, t: PLAIN[method](a, b, t), 0, 0, spans[1])
    begun = velocity(lambda s, t: method(None, a, b, after, t, spans), 0, 0, spans[1])
    torch.testing.assert_close(begun, plain, rtol=1e-4, atol=1e-4)
    plain = velocity(lambda s, t: PLAIN[method](a, b, t), 0, 1, spans[1])
    ended = velocity(lambda s, t: method(before, a, b, None, t, spans), 0, 1, spans[1])
    torch.testing.assert_close(ended, plain, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keyframes_are_exact_copies(method, dtype):
    before, a, b, after = points(6, dtype=dtype)
    for t, end in [(0, a), (1, b), (0.0, a), (1.0, b)]:
        result = method(before, a, b, after, t)
        assert torch.equal(result, end)
        assert result.data_ptr() != end.data_ptr()
    assert method(before, a, b, after, 0.5).dtype == dtype


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", TS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_what_is_equal_in_both_stays_bit_for_bit(method, t, dtype):
    before, a, b, after = points(7, dtype=dtype)
    b[:2] = a[:2]
    before[0] = after[0] = a[0]
    options = {"centre": torch.full((16,), 1 / 3, dtype=dtype)} if method is smooth_slerp else {}
    result = method(before, a, b, after, t, (1, 2, 3), **options)
    assert torch.equal(result[:2], a[:2])
    assert not torch.equal(result[2:], a[2:])


@pytest.mark.parametrize("method", METHODS)
def test_a_repeated_keyframe_is_come_to_rest_at(method):
    a, b, c = points(8, count=3)
    at = walk(method, [a, b, b, c], [1, 1, 1], closed=False)
    for segment, t in [(0, 1), (1, 0), (1, 1), (2, 0)]:
        assert velocity(at, segment, t, 1).abs().max() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_a_short_span_beside_a_long_one_makes_no_loop(method):
    """Without a limit the velocity of the short way would carry the long one away by 30 steps."""
    flat = [torch.tensor([math.cos(x), math.sin(x)]).double() for x in (0.0, 0.3, 0.6, 0.9)]
    for step in range(21):
        point = method(*flat, step / 20, (0.01, 1.0, 0.01))
        assert 0.3 - 0.1 < math.atan2(point[1], point[0]) < 0.6 + 0.1


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spans", SPANS)
@pytest.mark.parametrize("t", TS)
def test_opposite_parallel_and_zero_vectors_give_numbers(method, spans, t):
    one = torch.tensor([3.0, 4.0, 0.0])
    kinds = [one, -one, 2 * one, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), -1.5 * one]
    grid = torch.cartesian_prod(*[torch.arange(len(kinds))] * 4)
    before, a, b, after = (torch.stack([kinds[i] for i in column]) for column in grid.T)
    for result in (
        method(before, a, b, after, t, spans),
        method(None, a, b, after, t, spans),
        method(before, a, b, None, t, spans),
    ):
        assert torch.isfinite(result).all()
        # The ways are at most 10 long, and no velocity is over three times the slower of two.
        assert result.norm(dim=-1).max() < 25


@pytest.mark.parametrize("spans", [(1, 1, 1), (1, 3, 0.5)])
@pytest.mark.parametrize("where", ["zero", "opposite"])
def test_the_velocity_does_not_jump_where_there_is_no_arc_either(spans, where):
    a, b, c, d = points(10, count=4, shape=(16,))
    b = torch.zeros_like(b) if where == "zero" else -2 * a
    at = walk(smooth_slerp, [a, b, c, d], spans, closed=False)
    for before, after in [(0, 1), (1, 2)]:
        arriving = velocity(at, before, 1, spans[before])
        leaving = velocity(at, after, 0, spans[after])
        torch.testing.assert_close(arriving, leaving, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("t", TS)
def test_each_vector_is_its_own_along_any_dimension(method, t):
    keyframes = points(11)
    rows = torch.stack([method(*(p[i] for p in keyframes), t) for i in range(5)])
    torch.testing.assert_close(method(*keyframes, t), rows, rtol=0, atol=1e-14)
    turned = method(*(p.T for p in keyframes), t, dim=0)
    torch.testing.assert_close(turned, rows.T, rtol=0, atol=1e-14)


@pytest.mark.parametrize("method", METHODS)
def test_refused(method):
    before, a, b, after = points(12)
    with pytest.raises(UsageError, match=r"t is 1\.5"):
        method(before, a, b, after, 1.5)
    for spans in [(0, 1, 1), (1, -1, 1), (1, 1, math.inf), (1, 1, math.nan)]:
        with pytest.raises(UsageError, match="give three numbers above 0"):
            method(before, a, b, after, 0.5, spans)
    with pytest.raises(UsageError, match="make them alike"):
        method(before[:4], a, b, after, 0.5)
    with pytest.raises(UsageError, match="make them alike"):
        method(before, a, b, after.half(), 0.5)
