from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdcreative.errors import OutputError, UsageError
from sdcreative.scaffold import write_plugin


def call(*words: str, cwd: Path, path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(path), *inherited()])},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def inherited() -> list[str]:
    return [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]


@pytest.mark.parametrize("name", ["colour-walk"])
def test_installs_passes_its_test_and_renders(tmp_path: Path, name: str) -> None:
    folder = write_plugin(name, tmp_path)
    site = tmp_path / "site"
    done = call(
        *["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"],
        *["--target", str(site), str(folder)],
        cwd=tmp_path,
        path=site,
    )
    assert done.returncode == 0, done.stderr
    tests = call("pytest", "-q", "-p", "no:cacheprovider", cwd=folder, path=site)
    assert tests.returncode == 0, tests.stdout
    preset = folder / "presets" / f"{name}.yaml"
    words = ["sdcreative", name, str(preset), "--steps", "2", "-o", "film.gif"]
    render = call(*words, cwd=tmp_path, path=site)
    assert render.returncode == 0, render.stderr
    assert (tmp_path / "film.gif").stat().st_size > 0


@pytest.mark.parametrize(
    "name",
    ["My_tool", "2tool", "my tool", "../tool", "tool_", "", "class", "json", "sdcreative_x", "run"],
)
def test_refuses_names_that_cannot_work(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError):
        write_plugin(name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_refuses_what_exists(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="taken"):
        write_plugin("animate", tmp_path, taken=["animate"])
    (tmp_path / "my_tool").mkdir()
    with pytest.raises(OutputError, match="exists"):
        write_plugin("my_tool", tmp_path)
    assert list((tmp_path / "my_tool").iterdir()) == []
