"""`sdcreative smoothness RUN --repair` on real runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sdcreative import Studio
from sdcreative.cli import build_cli
from sdcreative.cli.smoothness import smoothness_command
from sdcreative.errors import DataError, OutputError, UsageError
from sdcreative.host import Host
from sdcreative.media.writers import count_frames
from sdcreative.runs.home import frames_folder
from sdcreative.runs.store import FrameStore

# Hardly anything moves but from frame 4 to 5, where the bear is cut to the apple.
PRESET = """
plugin: animate
keyframes:
  0: {prompt: a picture of a bear, guidance_scale: 4}
  4: {prompt: a picture of a bear, guidance_scale: 4.4}
  5: {prompt: a picture of a red apple, guidance_scale: 4.4}
  7: {prompt: a picture of a red apple, guidance_scale: 4}
steps: 2
seed: 9
coherence: 0
device: cpu
output: leap.mp4
"""


@pytest.fixture(autouse=True)
def _rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    Path("leap.yaml").write_text(PRESET, encoding="utf-8")
    done = run("animate", "leap.yaml")
    assert done.exit_code == 0, (done.output, done.exception)


def run(*words: str) -> Result:
    return CliRunner().invoke(build_cli(Host.load(enabled=False)), words)


def repair(*words: str) -> Result:
    command = smoothness_command(Host.load(enabled=False))
    return CliRunner().invoke(command, [*words, "--repair"])


def test_a_leap_is_mended_and_the_film_written() -> None:
    store = FrameStore(frames_folder())
    there = {key: store.path(key).stat().st_mtime_ns for key in store}
    done = repair("leap")
    assert done.exit_code == 0, (done.output, done.exception)
    added = int(re.search(r"(\d+) frames? added", done.output)[1])  # type: ignore[index]
    before, after = map(float, re.findall(r"([\d.]+) (?:before|after)", done.output))
    assert added >= 1
    assert after < before
    assert "frame 4 to 5: " in done.output
    assert "--most" not in done.output
    assert count_frames(Path("leap_repaired.mp4")) == 8 + added
    assert all(store.path(key).stat().st_mtime_ns == when for key, when in there.items())
    assert len(list(store)) == 8 + added

    # The frames belong to the run: clearing up leaves them, and repairing again takes them.
    assert "and 0 frames" in run("runs", "clean").output
    again = repair("last", "-o", "again/")
    assert again.exit_code == 0, (again.output, again.exception)
    assert len(list(Path("again").glob("*.png"))) == 8 + added
    assert len(list(store)) == 8 + added
    assert "8 of 8 frames are there already" in run("runs", "resume", "last", "-o", "b.gif").output


def test_nothing_is_overwritten_unasked_or_rendered_in_vain() -> None:
    Path("leap_repaired.mp4").touch()
    count = len(list(FrameStore(frames_folder())))
    assert isinstance(repair("leap").exception, OutputError)
    assert len(list(FrameStore(frames_folder()))) == count
    done = repair("leap", "--overwrite", "--most", "1")
    assert "1 frame added" in done.output
    assert "a larger --most goes on" in done.output
    assert count_frames(Path("leap_repaired.mp4")) == 9


def test_a_film_without_jumps_is_left_alone() -> None:
    even = run(
        "animate", "leap.yaml", "--set", "keyframes=[a, b]", "--set", "frames=2", "-o", "two.gif"
    )
    assert even.exit_code == 0, even.exception
    done = repair("last")
    assert "no jumps among 1 steps" in done.output
    assert not Path("two_repaired.gif").exists()


def test_a_file_needs_its_run() -> None:
    refused = repair("leap.mp4").exception
    assert isinstance(refused, UsageError)
    assert re.search(r"needs the run, not its file; give leap-[0-9a-f]{8}", str(refused))
    Path("other.mp4").touch()
    assert "see 'sdcreative runs list'" in str(repair("other.mp4").exception)
    assert "there is no run 'nothing'" in str(repair("nothing").exception)


def test_a_run_that_lacks_frames_is_to_be_finished_first() -> None:
    store = FrameStore(frames_folder())
    store.remove(next(iter(store)))
    refused = repair("leap").exception
    assert isinstance(refused, DataError)
    assert "1 of 8 frames are not there" in str(refused)


@pytest.mark.parametrize("words", [["--most", "3"], ["-o", "a.mp4"]])
def test_flags_of_repairing_go_with_it(words: list[str]) -> None:
    done = CliRunner().invoke(smoothness_command(), ["leap.mp4", *words])
    assert "goes with --repair" in str(done.exception)


@pytest.mark.parametrize("words", [["--json"], ["--plot", "a.png"], ["--model", "emoji"]])
def test_flags_of_measuring_do_not(words: list[str]) -> None:
    assert "does not go with --repair" in str(repair("leap", *words).exception)
