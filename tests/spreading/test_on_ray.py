"""The same on a local Ray cluster; only where Ray is installed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from forked_workers import frames, pictures, render

ray = pytest.importorskip("ray")

from sdcreative.runs.kept import KeptFrames  # noqa: E402
from sdcreative.spreading.on_ray import RayCluster  # noqa: E402
from sdcreative.spreading.wanted import Spread  # noqa: E402


def test_two_ray_workers_one_of_them_killed_make_the_film_of_one_process(
    alone: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    made = alone()
    clusters: list[RayCluster] = []
    honest_start, honest_keep = RayCluster.start, KeptFrames.keep_file

    def start(self: RayCluster, *args: Any) -> None:
        clusters.append(self)
        honest_start(self, *args)

    arrived: list[int] = []

    def keep_file(self: KeptFrames, index: int, data: bytes) -> None:
        honest_keep(self, index, data)
        arrived.append(index)
        if len(arrived) == 1:
            ray.kill(clusters[0]._actors[0])

    monkeypatch.setattr(RayCluster, "start", start)
    monkeypatch.setattr(KeptFrames, "keep_file", keep_file)
    said = render("film/", Spread(count=2, ray="local", plugins=False))
    # The other one may have done it all before a new one is there.
    assert len(clusters) in (2, 3)
    assert any("Ray worker" in line and "was lost" in line for line in said)
    assert (frames(), pictures()) == made
    assert not ray.is_initialized()
    assert os.getcwd() == str(tmp_path)
