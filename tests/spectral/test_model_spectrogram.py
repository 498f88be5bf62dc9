"""What a model's folder says of its pictures; broken, foreign and hostile files too."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sdcreative.errors import DataError
from sdcreative.spectral.model_spectrogram import read_model_spectrogram
from sdcreative.spectral.params import SpectrogramParams

PARAMS = SpectrogramParams(sample_rate=22_050, step_ms=20, bands=96, max_hz=8000.5)
GOOD: dict[str, Any] = {"version": 1, **asdict(PARAMS), "max_value": 12_345.5}


def written(folder: Path, content: str | bytes) -> Path:
    data = content.encode() if isinstance(content, str) else content
    (folder / "spectrogram.json").write_bytes(data)
    return folder


def test_a_model_says_how_its_pictures_are_heard(tmp_path: Path) -> None:
    assert read_model_spectrogram(tmp_path) is None
    assert read_model_spectrogram(tmp_path / "missing") is None
    written(tmp_path, json.dumps(GOOD))
    assert read_model_spectrogram(tmp_path) == (PARAMS, 12_345.5)
    # A model in a single file has no folder to say it.
    assert read_model_spectrogram(tmp_path / "spectrogram.json") is None


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("", "no JSON"),
        ("{", "no JSON"),
        (b"\xff\xfe{}", "no JSON"),
        ("[" * 60_000, "no JSON"),
        ("[]", "no JSON object"),
        ("null", "no JSON object"),
        ('{"version": 1, "version": 1}', "a key stands in it twice"),
        (json.dumps(GOOD) + " " * 64_000, "over 64 kB"),
        (json.dumps({"a\nb" * 99: 1, **GOOD}), r"'a\\nba.*\.\.\. is unknown"),
    ],
    ids=["empty", "cut", "utf-16", "deep", "list", "null", "twice", "large", "key"],
)
def test_what_is_no_spectrogram_file(tmp_path: Path, content: str | bytes, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint) as caught:
        read_model_spectrogram(written(tmp_path, content))
    assert str(caught.value).startswith(f"{tmp_path / 'spectrogram.json'}: ")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < len(str(tmp_path)) + 250


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"version": 2}, "version is 2; this sdcreative reads 1"),
        ({"version": True}, "version is True"),
        ({"version": None}, "version is None"),
        ({"bands": 96.0}, "bands is 96.0; give a whole number"),
        ({"bands": True}, "bands is True; give a number"),
        ({"bands": 0}, "bands is 0; give a whole number from 1"),
        ({"bands": 10**400}, r"bands is 1000.*\.\.\.; give a number"),
        ({"max_hz": 10**400}, r"max_hz is 1000.*\.\.\.; give a number"),
        ({"max_hz": 20_000}, "up to half the sample rate, 11025"),
        ({"min_hz": "0"}, "min_hz is '0'; give a number"),
        ({"min_hz": float("nan")}, "min_hz is nan; give a number"),
        ({"power": 0}, "power is 0; give a number above 0"),
        ({"stereo": 0}, "stereo is 0; give true or false"),
        ({"max_value": float("inf")}, "max_value is inf; give a number"),
        ({"max_value": 0}, "max_value is 0; give a number above 0"),
        ({"max_value": None}, "max_value is None; give a number"),
        ({"max_value": [1]}, r"max_value is \[1\]; give a number"),
        ({"bandz": 3}, "'bandz' is unknown"),
    ],
)
def test_values_out_of_range(tmp_path: Path, changes: dict[str, Any], complaint: str) -> None:
    written(tmp_path, json.dumps({**GOOD, **changes}))
    with pytest.raises(DataError, match=complaint) as caught:
        read_model_spectrogram(tmp_path)
    assert len(str(caught.value)) < len(str(tmp_path)) + 250


@pytest.mark.parametrize("key", [key for key in GOOD if key != "version"])
def test_every_key_is_needed(tmp_path: Path, key: str) -> None:
    written(tmp_path, json.dumps({name: GOOD[name] for name in GOOD if name != key}))
    with pytest.raises(DataError, match=f"{key} is missing; copy it again"):
        read_model_spectrogram(tmp_path)


def test_a_folder_of_that_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "spectrogram.json").mkdir()
    with pytest.raises(DataError, match=r"spectrogram\.json: "):
        read_model_spectrogram(tmp_path)


def test_neither_numpy_nor_torch_is_needed() -> None:
    program = (
        "import sys, sdcreative.spectral.model_spectrogram\n"
        "sys.exit(' '.join({'numpy', 'torch'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
