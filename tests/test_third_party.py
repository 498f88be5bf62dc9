"""Packages of strangers, built and installed by pip, beside ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest

PYPROJECT = """
    [build-system]
    requires = ["setuptools>=77"]
    build-backend = "setuptools.build_meta"

    [project]
    name = "{name}"
    version = "2.0"
    dependencies = ["sdcreative"]

    [project.entry-points.sdcreative]
    {name} = "{name}"

    [tool.setuptools]
    py-modules = ["{name}"]
"""
STRIPES = """
    from collections.abc import Callable, Mapping
    from typing import Any

    from pydantic import Field

    from sdcreative import Blend, Noise, PictureTool, RenderSettings, Shot, Timeline, hookimpl


    class Settings(RenderSettings):
        things: list[str] = Field(min_length=1)


    def timeline(settings: Settings) -> Timeline:
        shots = [Shot(Blend(f"a {thing}"), Noise(settings.seed)) for thing in settings.things]
        return Timeline(
            lambda: shots,
            length=len(shots),
            steps=settings.steps,
            sampler=settings.sampler,
            size=settings.size,
        )


    def back_and_forth(t: float) -> float:
        return t * t * (3 - 2 * t)


    def plain_euler(config: Mapping[str, Any]) -> Any:
        from diffusers import EulerDiscreteScheduler

        print("stripes built its sampler")
        return EulerDiscreteScheduler.from_config(dict(config))


    @hookimpl
    def sdcreative_tools() -> list[PictureTool]:
        return [PictureTool("stripes", "One thing after another.", Settings, timeline, ".gif")]


    @hookimpl
    def sdcreative_easings() -> dict[str, Callable[[float], float]]:
        return {"smooth-step": back_and_forth}


    @hookimpl
    def sdcreative_samplers() -> dict[str, Callable[[Mapping[str, Any]], Any]]:
        return {"Stripes Euler": plain_euler}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder into which pip has installed a sound plugin and one that crashes on import."""
    root = tmp_path_factory.mktemp("third_party")
    sources = {"stripes": STRIPES, "crasher": "raise RuntimeError('no such luck')"}
    for name, source in sources.items():
        package = root / name
        package.mkdir()
        text = textwrap.dedent(PYPROJECT).format(name=name)
        (package / "pyproject.toml").write_text(text, encoding="utf-8")
        (package / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
        command += ["--no-build-isolation", "--target", str(root / "site"), str(package)]
        subprocess.run(command, check=True, capture_output=True)
    return root / "site"


def run(*words: str, cwd: Path, site: Path, env: Mapping[str, str] | None = None) -> str:
    """Standard output of a call that must succeed."""
    done = attempt(*words, cwd=cwd, site=site, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def attempt(
    *words: str, cwd: Path, site: Path, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [sys.executable, "-m", "sdcreative", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def test_plugins_lists_both(tmp_path: Path, site: Path) -> None:
    reports = json.loads(run("plugins", "--json", cwd=tmp_path, site=site))
    by_name = {report["name"]: report for report in reports}
    assert by_name["stripes"] == {
        "name": "stripes",
        "version": "2.0",
        "package": "stripes",
        "registers": ["tool stripes", "sampler Stripes Euler", "easing smooth-step"],
        "error": None,
    }
    assert by_name["crasher"]["error"] == "RuntimeError: no such luck"
    assert "FAILED: RuntimeError: no such luck" in run("plugins", cwd=tmp_path, site=site)


def test_its_preset_runs_with_its_sampler_beside_the_crasher(tmp_path: Path, site: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        "plugin: stripes\nthings: [bear, apple]\nsteps: 2\nsize: 32\nsampler: stripes euler\n"
    )
    assert run("presets", "check", "mine.yaml", cwd=tmp_path, site=site) == "mine.yaml: ok\n"
    output = run("run", "mine.yaml", cwd=tmp_path, site=site)
    assert "stripes built its sampler" in output
    assert (tmp_path / "mine.gif").stat().st_size > 0


def test_its_easing_is_a_setting_of_our_tool(tmp_path: Path, site: Path) -> None:
    (tmp_path / "eased.yaml").write_text("extends: bear_to_apple\nease: smooth-step\n")
    assert "ok" in run("presets", "check", "eased.yaml", cwd=tmp_path, site=site)
    alone = attempt(
        *["presets", "check", "eased.yaml"],
        cwd=tmp_path,
        site=site,
        env={"SDCREATIVE_NO_PLUGINS": "1"},
    )
    assert alone.returncode == 2
    assert "smooth-step" in alone.stderr


def test_a_crasher_breaks_nothing_else(tmp_path: Path, site: Path) -> None:
    assert "stripes" in run("--help", cwd=tmp_path, site=site)
    assert "bear_to_apple: ok" in run("presets", "check", "bear_to_apple", cwd=tmp_path, site=site)
    words = ["image", "a bear", "--steps", "1", "--size", "32", "-o", "a.png"]
    run(*words, cwd=tmp_path, site=site)
    assert (tmp_path / "a.png").is_file()
    (tmp_path / "bad.yaml").write_text("plugin: crasher\n")
    for words in (["crasher", "x"], ["run", "bad.yaml"]):
        done = attempt(*words, cwd=tmp_path, site=site)
        assert done.returncode == 2
        assert "plugin 'crasher' of crasher 2.0 failed to load: RuntimeError" in done.stderr


@pytest.mark.parametrize("switch", ["environment", "flag"])
def test_a_switch_leaves_strangers_out(tmp_path: Path, site: Path, switch: str) -> None:
    flag = ["--no-plugins"] if switch == "flag" else []
    env = {"SDCREATIVE_NO_PLUGINS": "1"} if switch == "environment" else None
    listed = json.loads(run(*flag, "plugins", "--json", cwd=tmp_path, site=site, env=env))
    assert {report["package"] for report in listed} == {"sdcreative"}
