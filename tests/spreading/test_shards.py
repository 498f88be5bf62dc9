"""Shards that are rendered apart, and put together."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from forked_workers import frames, pictures, render
from sdcreative import DataError, UsageError
from sdcreative.cli import build_cli
from sdcreative.host import Host
from sdcreative.runs.run import find_run, run_keys
from sdcreative.spreading.merging import merge
from sdcreative.spreading.wanted import Shard, Spread


def shard(number: int, count: int) -> Spread:
    return Spread(shard=Shard(number, count))


def call(*words: str) -> Result:
    return CliRunner().invoke(build_cli(Host.load(enabled=False)), words)


@pytest.mark.parametrize(
    "changes", [{}, {"timing": "perceptual", "probes": 3}], ids=["even", "perceptual"]
)
def test_two_shards_from_two_homes_are_the_film_of_one_machine(
    changes: dict[str, Any], alone: Any, home: Any
) -> None:
    whole, shown = alone(**changes)
    first = home("first")
    said = render("film/", shard(1, 2), **changes)
    made = frames()
    assert said[-1].startswith("shard 1/2: ")
    home("second")
    render("film/", shard(2, 2), **changes)
    rest = frames()
    if not changes:
        assert (len(made), len(rest)) == (4, 5)
    assert not Path("film").exists()
    run = find_run("last")
    assert run.status == "in shards"

    names = [f"{key}.png" for key in run_keys(run)]
    assert [names[index] for index in merge(run.id, []).missing] == [
        name for name in names if name not in rest
    ]
    done = call("runs", "merge", run.id, str(first))
    assert done.exit_code == 0, done.output
    assert "frames taken from elsewhere" in done.output
    assert {name: frames()[name] for name in names} == {name: whole[name] for name in names}
    assert pictures() == shown
    assert find_run(run.id).status == "finished"


def test_shards_share_a_home_and_go_on_where_they_were_stopped(alone: Any, home: Any) -> None:
    made = alone()
    folder = home("shared")
    render("film/", shard(2, 3))
    gone = next(iter(frames()))
    next(folder.rglob(gone)).unlink()
    for number in (1, 2, 3):
        render("film/", shard(number, 3))
    done = call("runs", "merge", "last")
    assert done.exit_code == 0, done.output
    assert (frames(), pictures()) == made


def test_what_is_missing_is_said_and_the_run_is_found_elsewhere(home: Any) -> None:
    there = home("first")
    render("film/", shard(1, 2))
    run = find_run("last")
    home("driver")
    done = call("runs", "merge", run.id, str(there))
    assert "5 of 9 frames are missing: 4-8" in str(done.exception)
    assert len(frames()) == 4
    assert find_run(run.id).status == "in shards"
    assert "in shards" in call("runs").output


def test_more_shards_than_batches_leave_some_empty(home: Any) -> None:
    home("one")
    said = render("film/", shard(9, 9))
    assert said[-1].startswith("shard 9/9: 0 of 9 frames")


def test_damaged_frames_and_other_frames_are_not_taken(home: Any, tmp_path: Path) -> None:
    there = home("first")
    render("film/", shard(1, 2))
    run = find_run("last")
    broken = next(there.rglob("*.png"))
    broken.write_bytes(broken.read_bytes()[:-40])
    home("driver")
    assert len(merge(run.id, [there]).missing) == 6
    copy = tmp_path / "other"
    shutil.copytree(there, copy)
    keys = copy / "runs" / run.id / "frames.txt"
    keys.write_text("0" * 32 + keys.read_text()[32:])
    with pytest.raises(DataError, match="has other frames in"):
        merge(run.id, [copy])
    with pytest.raises(UsageError, match="holds no runs"):
        merge(run.id, [tmp_path / "nowhere"])


def test_a_shard_needs_its_frames_kept_and_its_seed_said() -> None:
    with pytest.raises(UsageError, match="leave out --no-keep"):
        render(spread=shard(1, 2), keep=False)
    with pytest.raises(UsageError, match="another seed for every shard"):
        render(spread=shard(1, 2), seed=-1)
