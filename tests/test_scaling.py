"""The simulation of benchmarks/scaling.py against closed forms."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from statistics import mean

import pytest

import scaling
from scaling import WORKERS, Job, job_of, read_figures, simulate, stops

FIGURES = Path(scaling.__file__).with_suffix(".json")
KINDS = {"measured", "counted", "published", "guessed"}


def test_one_worker_takes_the_sum_of_all_it_does() -> None:
    job = Job(1000, 2.0, again=5.0, start=30.0, before=7.0, head=0.1, check=0.01, each=4)
    found = simulate(job, 1)
    assert found.rendered == pytest.approx(7 + 30 + 4 * 5 + 1000 * 2)
    # The encoder keeps up, and has the last frame left; then the film is checked.
    assert found.end == pytest.approx(found.rendered + 0.1 + 1000 * 0.01)
    assert found.used == pytest.approx(2000 / found.rendered)
    assert found.lost == 0
    assert found.repeated == 0


@pytest.mark.parametrize("workers", [1, 2, 8, 64, 256])
def test_without_start_up_or_losses_n_workers_are_n_times_as_fast(workers: int) -> None:
    found = simulate(Job(256 * 40, 3.0), workers)
    assert found.end == pytest.approx(256 * 40 * 3.0 / workers)
    assert found.used == pytest.approx(1)
    assert found.bound == "the GPUs"


def test_the_head_is_the_limit_once_it_takes_longer_than_the_workers() -> None:
    job = Job(10_000, 2.0, head=0.1, length=10)
    fast, faster = simulate(job, 20), simulate(job, 200)
    assert fast.end == pytest.approx(1000, rel=0.05)
    # The first range comes at its worker's pace; all others wait by then.
    assert faster.end == pytest.approx(10 * 2.0 + 0.1 + 9_990 * 0.1)
    assert faster.bound == "the head"
    assert faster.rendered == pytest.approx(100)


def test_segments_move_the_limit_in_proportion() -> None:
    ends = [simulate(Job(10_000, 2.0, head=0.1, length=10, writers=n), 200).end for n in (1, 4)]
    assert ends == [pytest.approx(20 + 9_991 * 0.1 / n) for n in (1, 4)]


def test_long_ranges_wait_for_their_turn() -> None:
    """All workers end at once, and of the last ranges but the first is written by then."""
    job = Job(4000, 1.0, head=0.1, each=1)
    found = simulate(job, 4)
    assert found.rendered == pytest.approx(1000)
    assert found.end == pytest.approx(1000 + 0.1 + 3000 * 0.1)
    assert found.bound == "ranges that wait for their turn"
    assert simulate(Job(4000, 1.0, head=0.1, length=10), 4).end == pytest.approx(1000, rel=0.02)


def test_lost_workers_make_as_much_again_as_is_expected() -> None:
    """A unit of u seconds under losses at rate a takes (exp(a u) - 1) (1 / a + d) on average.

    d is what a loss costs beside: another machine, and its start.
    """
    rate, unit, down = 0.02, 20.0, 12.0
    job = Job(400, 1.0, length=20, at_risk=20, lost=rate, replaced=10.0, start=2.0)
    ends = [simulate(job, 1, seed).rendered - 2.0 for seed in range(300)]
    expected = 20 * (math.exp(rate * unit) - 1) * (1 / rate + down)
    assert mean(ends) == pytest.approx(expected, rel=0.03)


def test_what_was_delivered_is_not_made_again() -> None:
    job = Job(4000, 1.0, length=100, at_risk=4, lost=1 / 500)
    found = [simulate(job, 5, seed) for seed in range(40)]
    lost = sum(one.lost for one in found)
    assert lost > 200
    # A loss comes at any time of a batch of four frames.
    assert sum(one.repeated for one in found) / lost == pytest.approx(2, rel=0.15)


def test_the_rest_of_a_lost_range_goes_to_a_worker_that_waits() -> None:
    """Two workers and three ranges: the one that has none left takes what the other leaves."""
    job = Job(300, 1.0, length=100, lost=1 / 300, replaced=1e6)
    found = [one for one in (simulate(job, 2, seed) for seed in range(60)) if one.lost == 1]
    assert len(found) > 10
    assert all(one.rendered <= 301 for one in found)


def test_start_up_and_long_checks_are_named() -> None:
    assert simulate(Job(100, 1.0, start=500.0), 10).bound == "start-up and planning"
    assert simulate(Job(100, 1.0, check=3.0), 1).bound == "the check of the film"


def test_a_film_of_in_betweens_costs_its_shots_and_all_decoding() -> None:
    figures, _ = read_figures(FIGURES)
    alone, sixth = (job_of(figures, every=n, writers=1, length=0) for n in (1, 6))
    speed = figures["gpu_tflops"] * figures["gpu_share"]
    shot = figures["windows"] * figures["steps"] * 2 * figures["unet_tflop"] / speed
    assert alone.frame - sixth.frame == pytest.approx(shot * 5 / 6)


def test_every_figure_says_where_it_is_from() -> None:
    told = json.loads(FIGURES.read_text("utf-8"))
    for name, one in told.items():
        assert set(one) == {"value", "unit", "kind", "source"}, name
        assert one["kind"] in KINDS, name
        assert one["value"] >= 0, name


def test_more_gpus_never_take_longer_until_the_head_does_it_all() -> None:
    figures, _ = read_figures(FIGURES, ["lost_hour=0"])
    outcomes = [simulate(job_of(figures, every=1, writers=1, length=600), n) for n in WORKERS]
    ends = [one.end for one in outcomes]
    assert all(after <= before * 1.02 for before, after in pairwise(ends))
    assert stops(outcomes) in WORKERS


def test_an_unknown_figure_is_refused() -> None:
    with pytest.raises(SystemExit, match="no figure 'prise'"):
        read_figures(FIGURES, ["prise=2"])
