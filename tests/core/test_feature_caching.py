"""Which calls are full, and whose deep features the others see."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from sdcreative import UsageError
from sdcreative.core.conditioning import Conditioning
from sdcreative.core.feature_caching import Caching, full_calls
from sdcreative.core.features import Features, Remembering
from sdcreative.core.guidance import predict_guided
from sdcreative.core.prompt_programme import Layer
from sdcreative.core.sampling import Guidance
from sdcreative.core.windows import windowed

TIME = torch.tensor(1)


def places(caching: Caching, calls: int, *more: object) -> list[int]:
    found = full_calls(caching, calls, *more)  # type: ignore[arg-type]
    assert len(found) == calls
    return [call for call, full in enumerate(found) if full]


def test_uniform_is_every_nth_call_from_the_first_on() -> None:
    assert places(Caching(every=5), 12) == [0, 5, 10]
    assert places(Caching(every=3, first=4), 12) == [0, 1, 2, 3, 4, 7, 10]
    assert places(Caching(every=1), 4) == [0, 1, 2, 3]
    assert places(Caching(every=3, first=50), 4) == [0, 1, 2, 3]


def test_of_samplers_with_two_calls_a_step_calls_are_counted() -> None:
    assert places(Caching(every=3), 9, 2) == [0, 3, 6]
    assert places(Caching(every=4, first=2), 9, 2) == [0, 1, 2, 3, 4, 8]


def test_a_centred_schedule_follows_the_papers_equation() -> None:
    # T = 50, N = 5, c = 15, p = 2: l from -sqrt(15) to sqrt(35) in steps of a tenth of that,
    # i = sign(l) l^2 + 15.
    step = (15**0.5 + 35**0.5) / 10
    along = [-(15**0.5) + k * step for k in range(10)]
    equation = [int(abs(x) * x + 15 + 1e-9) for x in along]
    assert len(set(equation)) == 10
    found = places(Caching(every=5, schedule="centred", centre=0.3, power=2), 50)
    assert found == equation
    assert found[0] == 0


def test_a_centred_schedule_is_dense_at_its_centre() -> None:
    found = places(Caching(every=4, schedule="centred", centre=0.5, power=2), 100)
    gaps = [(after - before, before) for before, after in pairwise(found)]
    near = [gap for gap, before in gaps if 40 <= before < 60]
    far = [gap for gap, before in gaps if before < 25 or before >= 75]
    assert len(near) > 2 * 20 / 4
    assert max(near) < min(far)


@pytest.mark.parametrize("calls", [1, 2, 7, 20, 51])
@pytest.mark.parametrize("centre", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("power", [1.0, 1.4, 5.0])
def test_both_schedules_make_as_many_full_calls(calls: int, centre: float, power: float) -> None:
    for every in (1, 2, 3, 5, 100):
        uniform = places(Caching(every), calls)
        centred = places(Caching(every, "centred", centre=centre, power=power), calls)
        assert len(centred) == len(uniform)
        assert centred[0] == 0


def test_a_step_in_which_guidance_begins_is_full() -> None:
    guided = (False, False, True, True, False, False)
    assert places(Caching(every=4), 6, 1, guided) == [0, 2, 4]
    assert places(Caching(every=20), 11, 2, guided) == [0, 4]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"every": 0}, "cache every is 0"),
        ({"depth": 0}, "cache depth is 0"),
        ({"first": -1}, "cache first is -1"),
        ({"schedule": "often"}, "choose uniform or centred"),
        ({"centre": 1.5}, "cache centre is 1.5"),
        ({"power": 0.5}, "cache power is 0.5"),
        ({"power": float("nan")}, "cache power is nan"),
    ],
)
def test_values_out_of_range_are_refused(bad: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Caching(**bad)  # type: ignore[arg-type]


class Toy:
    """Outputs of M rows are theirs of the latents plus features; features tell row and call."""

    def __init__(self) -> None:
        self.full_rows: list[int] = []
        self.shallow_rows: list[int] = []

    @staticmethod
    def deep(latents: Tensor, conditioning: Conditioning) -> Tensor:
        return latents[:, :1] * 10 + conditioning.embeddings[:, :1, :1, None]

    def full(
        self, latents: Tensor, time: Tensor, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        self.full_rows.append(len(latents))
        features = self.deep(latents, conditioning)
        return latents + features, features

    def shallow(
        self, latents: Tensor, time: Tensor, conditioning: Conditioning, features: Tensor
    ) -> Tensor:
        self.shallow_rows.append(len(latents))
        return latents + features


def remembering(
    toy: Toy, schedule: Sequence[bool], features: Features | None = None, side: int = 0
) -> Remembering:
    if side:
        return Remembering(
            toy.full, toy.shallow, schedule, features, lambda p: windowed(p, side, 0, most=4)
        )
    return Remembering(toy.full, toy.shallow, schedule, features)


def words(*values: float) -> Conditioning:
    return Conditioning(torch.tensor(values).reshape(-1, 1, 1))


def guidance(*values: float, scale: float = 2.0, free: bool = True) -> Guidance:
    away = words(*[-value for value in values]) if free else None
    return Guidance(words(*values), away, torch.full((len(values),), scale))


def ask(denoiser: Remembering, call: int, now: Guidance, latents: Tensor) -> Tensor:
    return predict_guided(denoiser.at(call, now), latents, TIME, now)


def test_a_shallow_call_sees_the_features_of_its_own_row() -> None:
    toy = Toy()
    denoiser = remembering(toy, (True, False, False))
    now = guidance(1.0, 5.0)
    before, after = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    ask(denoiser, 0, now, before)
    found = ask(denoiser, 2, now, after)
    free = after + toy.deep(before, words(-1.0, -5.0))
    towards = after + toy.deep(before, words(1.0, 5.0))
    assert torch.allclose(found, free + 2 * (towards - free))
    assert (toy.full_rows, toy.shallow_rows) == ([4], [4])


def test_where_guidance_has_ended_the_conditional_features_go_on() -> None:
    toy = Toy()
    denoiser = remembering(toy, (True, False))
    before, after = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    ask(denoiser, 0, guidance(1.0, 5.0), before)
    found = ask(denoiser, 1, guidance(1.0, 5.0, free=False), after)
    assert torch.equal(found, after + toy.deep(before, words(1.0, 5.0)))
    assert (toy.full_rows, toy.shallow_rows) == ([4], [2])


def test_rows_that_lack_features_are_evaluated_in_full_and_others_not() -> None:
    toy = Toy()
    first = remembering(toy, (True, False))
    known, fresh = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 4)
    ask(first, 0, guidance(1.0), known)
    joined = Features.join([(None, 1), (first.features, 1)])
    denoiser = remembering(toy, (True, False, False), joined)
    now, both = guidance(7.0, 1.0, scale=1.0), torch.cat([fresh, torch.rand(1, 1, 4, 4)])
    found = ask(denoiser, 1, now, both)
    deep = torch.cat([toy.deep(fresh, words(7.0)), toy.deep(known, words(1.0))])
    assert torch.allclose(found, both + deep)
    assert (toy.full_rows, toy.shallow_rows) == ([2, 2], [2])
    again = torch.rand(2, 1, 4, 4)
    assert torch.allclose(ask(denoiser, 2, now, again), again + deep)
    assert toy.shallow_rows == [2, 4]


def test_branches_share_a_trunks_features_and_then_have_their_own() -> None:
    toy = Toy()
    trunk = remembering(toy, (True, False, False, True, False))
    start = torch.rand(1, 1, 4, 4)
    ask(trunk, 0, guidance(1.0), start)
    assert trunk.features is not None
    branches = trunk.features.take([0, 0, 0])
    assert branches.rows is trunk.features.rows
    denoiser = remembering(toy, (True, False, False, True, False), branches)
    now = guidance(2.0, 3.0, 4.0, free=False)
    latents = torch.rand(3, 1, 4, 4)
    assert torch.equal(ask(denoiser, 1, now, latents), latents + toy.deep(start, words(1.0)))
    ask(denoiser, 3, now, latents)
    again = torch.rand(3, 1, 4, 4)
    own = toy.deep(latents, words(2.0, 3.0, 4.0))
    assert torch.equal(ask(denoiser, 4, now, again), again + own)


def test_prompts_that_are_joined_each_have_features() -> None:
    toy = Toy()
    denoiser = remembering(toy, (True, False))
    layers = (
        Layer(torch.tensor([0, 1]), torch.tensor([0.5, 1.0])),
        Layer(torch.tensor([1]), torch.tensor([0.25])),
    )
    now = Guidance(words(1.0, 2.0, 3.0), words(-1.0, -2.0), torch.tensor([2.0, 2.0]), layers)
    before, after = torch.rand(2, 1, 4, 4), torch.rand(2, 1, 4, 4)
    ask(denoiser, 0, now, before)
    found = ask(denoiser, 1, now, after)
    deep = toy.deep(before[[0, 1, 0, 1, 1]], words(-1.0, -2.0, 1.0, 2.0, 3.0))
    free = after + deep[:2]
    first, second, third = after[0] + deep[2], after[1] + deep[3], after[1] + deep[4]
    assert torch.allclose(found[0], free[0] + 2 * 0.5 * (first - free[0]))
    expected = free[1] + 2 * (second - free[1]) + 2 * 0.25 * (third - free[1])
    assert torch.allclose(found[1], expected, atol=1e-5)


def test_every_window_has_its_own_features() -> None:
    toy = Toy()
    denoiser = remembering(toy, (True, False), side=4)
    now = guidance(1.0, 5.0)
    before, after = torch.rand(2, 1, 4, 12), torch.rand(2, 1, 4, 12)
    ask(denoiser, 0, now, before)
    found = ask(denoiser, 1, now, after)
    free = after + toy.deep(before, words(-1.0, -5.0))
    towards = after + toy.deep(before, words(1.0, 5.0))
    assert torch.allclose(found, free + 2 * (towards - free), atol=1e-5)
    assert (sum(toy.full_rows), sum(toy.shallow_rows)) == (12, 12)
    # Without guidance twice as many windows go into one call.
    alone = ask(denoiser, 1, guidance(1.0, 5.0, free=False), after)
    assert torch.allclose(alone, towards, atol=1e-5)
    assert (sum(toy.full_rows), sum(toy.shallow_rows)) == (12, 18)
