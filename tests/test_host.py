"""The host against real installed distributions: metadata and modules in a folder on the path."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sdcreative.core.easing import EASINGS, find_easing
from sdcreative.errors import UsageError
from sdcreative.host import Host, PluginReport
from sdcreative.models.sampler_names import canonical

Install = Callable[..., None]

TOOL = """
    from sdcreative import PictureTool, RenderSettings, Timeline, hookimpl

    @hookimpl
    def sdcreative_tools():
        return [PictureTool("{tool}", "A tool.", RenderSettings, lambda s: Timeline(list, 1))]
"""
HOOK = "from sdcreative import hookimpl\n@hookimpl\n"
EASING = """
    from sdcreative import hookimpl

    @hookimpl
    def sdcreative_easings():
        return {{"{easing}": lambda t: t}}
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Installs a module as the plugin of a distribution; all of it is gone after the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str, *, entry: str | None = None, folder: Path = tmp_path) -> None:
        (folder / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        info = folder / f"{name}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[sdcreative]\n{entry or name} = {name}\n")

    yield write
    monkeypatch.undo()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]
    _ = Host([]).tools


def report_of(host: Host, name: str) -> PluginReport:
    return next(report for report in host.report if report.name == name)


def error_of(host: Host, name: str) -> str:
    report = report_of(host, name)
    assert report.registers == []
    return report.error or ""


def test_bundled_plugins_load() -> None:
    host = Host.load(enabled=False)
    assert [(r.name, r.package, r.error) for r in host.report] == [
        ("animate", "sdcreative", None),
        ("feedback", "sdcreative", None),
        ("image", "sdcreative", None),
        ("music", "sdcreative", None),
        ("scout", "sdcreative", None),
        ("seed_walk", "sdcreative", None),
        ("train", "sdcreative", None),
    ]
    films = {"animate", "feedback", "image", "music", "scout", "seed_walk"}
    tools = films | {"train", "finetune", "learn", "textual-inversion", "sample"}
    assert set(host.tools) == tools
    assert set(host.summaries) == {*tools, *host.commands} == {*tools, "serve"}


def test_a_tool_of_a_stranger(install: Install) -> None:
    install("strange_tool", TOOL.format(tool="strange"))
    host = Host.load()
    report = report_of(host, "strange_tool")
    assert (report.version, report.package) == ("1.5", "strange-tool")
    assert report.registers == ["tool strange"]
    assert host.tools["strange"].summary == host.summaries["strange"] == "A tool."
    assert "strange" not in Host.load(enabled=False).tools


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import no_such_module_at_all", "No module named 'no_such_module_at_all'"),
        ("raise SystemExit('bye')", "SystemExit: bye"),
        ("1 / 0", "ZeroDivisionError"),
        ("def broken(:", "SyntaxError"),
        ("x = 1", "implements no hook"),
        (
            HOOK + "def sdcreative_tolls(): return []",
            "no hook 'sdcreative_tolls'; did you mean 'sdcreative_tools'?",
        ),
        (
            HOOK + "def sdcreative_tools(surplus): return []",
            "surplus",
        ),
        (
            HOOK + "def sdcreative_tools(): return ['animate']",
            "returned 'animate', not a PictureTool or JobTool",
        ),
        (
            HOOK + "def sdcreative_tools(): return None",
            "returned None, not a list",
        ),
        (
            HOOK + "def sdcreative_easings(): return {'e': 1}",
            "maps 'e' to 1, not a name to a function",
        ),
        (
            HOOK + "def sdcreative_commands(): raise OSError('x')",
            "OSError: x",
        ),
    ],
)
def test_a_broken_plugin_is_reported_and_breaks_nothing(
    install: Install, source: str, reason: str
) -> None:
    install("broken_plugin", source)
    install("sound_plugin", TOOL.format(tool="sound"))
    host = Host.load()
    assert reason in error_of(host, "broken_plugin")
    assert "\n" not in error_of(host, "broken_plugin")
    assert {"animate", "image", "sound", "train"} <= set(host.tools)
    assert "sound" in Host.load().summaries


def test_a_tool_with_foreign_settings_is_refused(install: Install) -> None:
    install(
        "plain_settings",
        """
        from pydantic import BaseModel
        from sdcreative import PictureTool, hookimpl

        class Settings(BaseModel):
            pass

        @hookimpl
        def sdcreative_tools():
            return [PictureTool("plain", "x", Settings, print)]
        """,
    )
    assert "not a class derived from RenderSettings" in error_of(Host.load(), "plain_settings")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (TOOL.format(tool="animate"), "plugin 'animate' of sdcreative"),
        (TOOL.format(tool="presets"), "registers tool 'presets', which sdcreative itself"),
        (EASING.format(easing="linear"), "registers easing 'linear', which sdcreative itself"),
        (
            EASING.format(easing="dpmpp_2m").replace("easings", "samplers"),
            "registers sampler 'dpmpp_2m', which sdcreative itself",
        ),
    ],
)
def test_a_name_of_ours_is_refused(install: Install, source: str, reason: str) -> None:
    install("thief", source)
    host = Host.load()
    assert reason in error_of(host, "thief")
    assert "animate" in host.tools


def test_a_name_of_another_plugin_names_both_and_keeps_the_first(install: Install) -> None:
    install("first", TOOL.format(tool="shared") + EASING.format(easing="bounce"))
    install("second", TOOL.format(tool="shared") + EASING.format(easing="other"))
    host = Host.load()
    assert report_of(host, "first").error is None
    assert error_of(host, "second") == (
        "registers tool 'shared', which plugin 'first' of first 1.5 already registers"
    )
    assert set(host.easings) == {"bounce"}


def test_two_packages_with_one_entry_point_name(install: Install) -> None:
    install("one_package", TOOL.format(tool="one"), entry="same")
    install("other_package", TOOL.format(tool="other"), entry="same")
    errors = [r.error for r in Host.load().report if r.name == "same"]
    assert errors == [None, "plugin 'same' of one-package 1.5 has the same name"]


def test_a_package_on_the_path_twice_loads_once(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again"
    again.mkdir()
    install("twice", TOOL.format(tool="twice"))
    install("twice", TOOL.format(tool="twice"), folder=again)
    monkeypatch.syspath_prepend(again)
    assert [(r.name, r.error) for r in Host.load().report if r.name == "twice"] == [("twice", None)]


def test_easings_and_samplers_reach_the_settings(install: Install) -> None:
    install("bouncy", EASING.format(easing="bounce"))
    install("steppy", EASING.format(easing="My Steps").replace("easings", "samplers"))
    for _ in range(2):
        host = Host.load()
        bounce = host.easings["bounce"]
        assert find_easing("bounce") is bounce
        assert canonical("my steps") == "My Steps"
    _ = Host([]).tools
    assert "bounce" not in EASINGS
    with pytest.raises(UsageError):
        canonical("my steps")


def test_summaries_must_agree_with_tools(install: Install) -> None:
    summaries = """
    @hookimpl
    def sdcreative_summaries():
        return {"other": "Not it."}
"""
    install("liar", TOOL.format(tool="honest") + summaries)
    assert "sdcreative_summaries names ['other']" in error_of(Host.load(), "liar")


def test_help_asks_no_plugin_that_summarises_for_its_tools(install: Install) -> None:
    install(
        "quick",
        """
        from sdcreative import hookimpl

        @hookimpl
        def sdcreative_summaries():
            return {"quick": "Listed without being built."}

        @hookimpl
        def sdcreative_tools():
            raise RuntimeError("asked for tools")
        """,
    )
    host = Host.load()
    assert host.summaries["quick"] == "Listed without being built."
    assert error_of(host, "quick") == "RuntimeError: asked for tools"
