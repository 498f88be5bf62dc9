"""How many pictures fit into memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sdcreative import Studio
from sdcreative.models import room
from sdcreative.models.room import pictures_at_once


def test_batches_grow_with_memory_in_powers_of_two(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found(free: int | None) -> int | None:
        monkeypatch.setattr(room, "free_memory", lambda device: free)
        return pictures_at_once(studio.parts, 4096)

    sizes = [found(n * 10**9) for n in range(1, 9)]
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]
    assert all(one and one & (one - 1) == 0 for one in sizes)
    assert found(1) == 1
    assert found(None) is None


def test_half_precision_fits_twice_as_many(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(room, "free_memory", lambda device: 10**9)
    half = replace(studio.parts, dtype=torch.float16)
    assert pictures_at_once(half, 4096) == 2 * (pictures_at_once(studio.parts, 4096) or 0)
