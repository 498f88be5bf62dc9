"""A disk that fills up in the middle of a film: a small tmpfs, where one can be mounted."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from forked_commands import Commands
from sdcreative.media.writers import count_frames
from sdcreative.runs.store import FrameStore

PRESET = """
plugin: animate
keyframes: [a picture of a bear, a picture of a red apple]
frames: 60
steps: 2
device: cpu
output: film.gif
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mounted = ["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", str(place)]
    try:
        subprocess.run(mounted, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no tmpfs can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_is_one_line_and_costs_no_frame(
    commands: Commands, tmp_path: Path, small_disk: Path
) -> None:
    (tmp_path / "film.yaml").write_text(PRESET, encoding="utf-8")
    words = ("animate", "film.yaml")
    done = commands.run(*words, cwd=tmp_path, SDCREATIVE_HOME=str(small_disk))
    assert done.returncode == 1, (done.stdout, done.stderr)
    [line] = done.stderr.splitlines()
    assert re.search(r"disk full; about \d+\.\d kB \(\d+ bytes\) wanted", line)
    assert not (tmp_path / "film.gif").exists()
    store = FrameStore(small_disk / "frames")
    there = [key for key in store if store.read(key) is not None]
    assert len(there) == len(list(store)) > 5
    assert list(small_disk.rglob("*.part")) == []
    assert f"the {len(there)} frames made so far are kept" in done.stdout

    subprocess.run(["mount", "-o", "remount,size=4m", str(small_disk)], check=True)
    done = commands.run(*words, cwd=tmp_path, SDCREATIVE_HOME=str(small_disk))
    assert done.returncode == 0, (done.stdout, done.stderr)
    assert f"{len(there)} of 60 frames are there already" in done.stdout
    assert count_frames(tmp_path / "film.gif") == 60
