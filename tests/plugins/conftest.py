"""A model of spectrograms for every test of music."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sdcreative import SpectrogramParams
from sdcreative.models.sources import BUILTIN

MUSICAL = SpectrogramParams(
    sample_rate=16_000, step_ms=20, window_ms=80, padded_ms=160, bands=64, max_hz=8000
)


@pytest.fixture(scope="session")
def musical(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built-in model of pictures, as one of spectrograms: 64 bands, 16 kHz, 20 ms a column."""
    folder = tmp_path_factory.mktemp("musical") / "riff"
    folder.mkdir()
    for part in (BUILTIN / "emoji").iterdir():
        (folder / part.name).symlink_to(part)
    values = {"version": 1, **vars(MUSICAL), "max_value": 2e6}
    (folder / "spectrogram.json").write_text(json.dumps(values))
    return folder
