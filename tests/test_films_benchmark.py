"""The benchmark of films: its reference makes our pictures, its table names tests that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import films
import peers
import travel_reference
from sdcreative import Blend, Noise, Shot, Studio, Timeline
from sdcreative.media.writers import count_frames

PROMPTS, SEEDS = ("a picture of a bear", "a red apple"), (7, 5)
STEPS, SCALE = 4, 4.0


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return travel_reference.load("emoji")


def pixels(pictures: Any) -> np.ndarray:
    return np.stack([np.asarray(picture, dtype=int) for picture in pictures])


@pytest.mark.parametrize("batch_size", [1, 2])
def test_the_references_pictures_are_ours(studio: Studio, pipeline: Any, batch_size: int) -> None:
    theirs = travel_reference.travel(
        pipeline, PROMPTS, SEEDS, 3, steps=STEPS, guidance_scale=SCALE, batch_size=batch_size
    )
    shots = [
        Shot(Blend(*PROMPTS, t, "lerp"), Noise(*SEEDS, t), guidance_scale=SCALE)
        for t in (0.0, 0.5, 1.0)
    ]
    ours = studio.render(Timeline(lambda: shots, len(shots), steps=STEPS))
    difference = np.abs(pixels(theirs) - pixels(ours))
    assert difference[[0, 2]].max() <= 1
    # In between embeddings are the same; ours keeps the noise's length where theirs adds vectors.
    assert difference[1].mean() < 0.5
    assert difference[1].max() <= 12


def test_clips_of_the_reference_meet_in_a_duplicate(pipeline: Any) -> None:
    film = travel_reference.travel(
        pipeline, (*PROMPTS, PROMPTS[0]), (*SEEDS, 9), 2, steps=2, guidance_scale=SCALE
    )
    [first, end, start, last] = pixels(film)
    assert (end == start).all()
    assert np.abs(first - end).max() > 1 < np.abs(start - last).max()


def test_noises_turn_at_constant_speed_and_meet_their_ends() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    assert torch.equal(travel_reference.slerp(a, b, 0.0), a)
    third = travel_reference.slerp(a, b, 1 / 3)
    assert torch.allclose(third, torch.tensor([3**0.5, 1.0]))
    assert torch.allclose(travel_reference.slerp(a, a, 0.3), a)


def test_every_frame_of_the_reference_is_encoded(pipeline: Any, tmp_path: Path) -> None:
    film = travel_reference.travel(
        pipeline, PROMPTS, SEEDS, 2, steps=1, guidance_scale=1.0, batch_size=2
    )
    target = tmp_path / "film.mp4"
    assert travel_reference.encode(film, tmp_path / "frames", target, 12) == 2
    assert count_frames(target) == 2
    assert len(list((tmp_path / "frames").glob("*.png"))) == 2


@pytest.mark.parametrize("feature", peers.FEATURES, ids=lambda feature: feature.name)
def test_a_feature_has_a_word_for_every_peer_and_a_test_that_exists(feature: Any) -> None:
    assert len(feature.peers.split()) == len(peers.PEERS)
    assert not feature.test or feature.test in peers.known_tests()


def test_what_no_test_shows_is_no(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = peers.table()
    assert len(lines) == len(peers.FEATURES) + 2
    assert {line.count("|") for line in lines} == {len(peers.PEERS) + 3}
    gone = peers.Feature("flight", "y n p ? n n n", "test_flight.py::test_it_flies")
    monkeypatch.setattr(peers, "FEATURES", (gone,))
    assert peers.table()[-1] == "| flight | yes | no | partly | ? | no | no | no | no |"


def test_the_written_table_is_that_of_now_and_can_be_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = (peers.TESTS.parent / "benchmarks" / "films.md").read_text("utf-8")
    hint = "out of date: run 'python benchmarks/films.py --features'"
    assert "\n".join(peers.table()) in written, hint
    assert all(f"\n## {title}\n" in written for title, _, _ in films.SECTIONS.values())
    old = tmp_path / "films.md"
    old.write_text(written.replace("circular noise", "square noise"), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["films.py", "--features", "--output", str(old)])
    films.main()
    assert old.read_text("utf-8") == written
