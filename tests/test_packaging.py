from __future__ import annotations

import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_listed_packages_are_the_folders_on_disk(project: dict[str, Any]) -> None:
    homes: dict[str, str] = project["tool"]["setuptools"]["package-dir"]
    found = {
        ".".join([package, *init.parent.relative_to(ROOT / folder).parts])
        for package, folder in homes.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == found


def test_every_bundled_plugin_is_an_entry_point(project: dict[str, Any]) -> None:
    folders = {init.parent.name for init in (ROOT / "plugins").glob("*/__init__.py")}
    declared: dict[str, str] = project["project"]["entry-points"]["sdcreative"]
    assert declared == {name: f"sdcreative_plugins.{name}" for name in folders}
    ours = [e for e in entry_points(group="sdcreative") if e.dist and e.dist.name == "sdcreative"]
    assert {e.name: e.value for e in ours} == declared


def test_every_data_file_matches_package_data(project: dict[str, Any]) -> None:
    homes: dict[str, str] = project["tool"]["setuptools"]["package-dir"]
    patterns: dict[str, list[str]] = project["tool"]["setuptools"]["package-data"]
    for package, folder in homes.items():
        packed = {p for pattern in patterns.get(package, []) for p in (ROOT / folder).glob(pattern)}
        data = {
            path
            for path in (ROOT / folder).rglob("*")
            if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
        }
        assert data == packed


def test_built_in_weights_stay_under_60_megabytes() -> None:
    files = [p for p in (ROOT / "sdcreative" / "builtin").rglob("*") if p.is_file()]
    assert sum(p.stat().st_size for p in files) < 60e6
