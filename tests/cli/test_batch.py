"""A queue of presets with the built-in model: failures, clashes, Ctrl-C and the summary."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from sdcreative.cli import batch
from sdcreative.cli.batch import batch_command
from sdcreative.errors import UsageError
from sdcreative.host import Host

HOST = Host.load(enabled=False)
SMALL = "plugin: image\nsteps: 1\nsize: 32\ndevice: cpu\n"


def run(*words: str) -> Result:
    result = CliRunner().invoke(batch_command(HOST), words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows(output: str) -> list[list[str]]:
    """The table's cells, without its head."""
    lines = output[output.index("PRESET ") :].splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SDCREATIVE_HOME", str(tmp_path / "home"))
    (tmp_path / "all").mkdir()
    for name in ("a", "Bär 熊", "c"):
        text = SMALL + f"prompt: {name}\ncount: {2 if name == 'c' else 1}\n"
        (tmp_path / "all" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def test_all_presets_of_a_folder_run(folder: Path) -> None:
    done = run("all", "-o", "out")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["Bär 熊.png", "a.png", "c.png"]
    table = rows(done.stdout)
    assert [[row[0], row[1], row[2], row[4]] for row in table] == [
        ["all/Bär 熊.yaml", "out/Bär 熊.png", "1", "ok"],
        ["all/a.yaml", "out/a.png", "1", "ok"],
        ["all/c.yaml", "out/c.png", "2", "ok"],
    ]
    assert sum(float(row[3]) for row in table) > 0


def test_a_failure_does_not_stop_the_rest(folder: Path) -> None:
    (folder / "all" / "b.yaml").write_text(SMALL + "prompt: b\nmodel: ./lost\n")
    (folder / "all" / "b2.yaml").write_text("plugin: image\nprompt: b\nstepz: 3\nsteps: 0\n")
    (folder / "a.png").write_text("mine")
    done = run("all", "lost.yaml")
    assert done.exit_code == 1
    assert (folder / "c.png").is_file()
    assert (folder / "a.png").read_text() == "mine"
    results = {row[0]: row[-1] for row in rows(done.stdout)}
    assert results["all/c.yaml"] == "ok"
    assert results["all/a.yaml"].startswith("error: a.png exists; pass --overwrite")
    assert results["all/b.yaml"].startswith("error: no model './lost'")
    assert results["all/b2.yaml"].startswith("error: all/b2.yaml:3:1: unknown key 'stepz'")
    assert results["lost.yaml"].startswith("error: no preset 'lost.yaml'")
    assert any("b2.yaml:4:8: steps: 0 is too small" in line for line in done.stderr.splitlines())


def test_json_alone_is_on_standard_output(folder: Path) -> None:
    done = run("all/c.yaml", "lost.yaml", "--json")
    assert done.exit_code == 1
    good, bad = json.loads(done.stdout)
    assert good.pop("seconds") > 0
    assert good == {
        "preset": "all/c.yaml", "output": "c.png", "frames": 2, "result": "ok", "error": "",
    }  # fmt: skip
    assert (bad["result"], bad["frames"]) == ("error", None)
    assert "[1/2] all/c.yaml" in done.stderr


def test_flags_pass_through(folder: Path) -> None:
    done = run("all/c.yaml", "--set", "steps=3", "--dry-run")
    assert done.exit_code == 0, done.output
    assert sorted(p.name for p in folder.iterdir() if p.name != "home") == ["all"]
    assert "U-Net calls  12 " in done.stdout
    (folder / "c.png").write_text("old")
    done = run("all/c.yaml", "--overwrite", "--set", "seed=8")
    assert done.exit_code == 0, done.output
    assert "seed 8" in done.stdout
    assert (folder / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("output", ["a.png", "./x/../a.png"])
def test_two_presets_for_one_output_are_found_before_anything_runs(
    folder: Path, output: str
) -> None:
    (folder / "all" / "d.yaml").write_text(SMALL + f"prompt: d\noutput: {output}\n")
    with pytest.raises(UsageError, match=r"all/a\.yaml and all/d\.yaml both write"):
        run("all")
    assert list(folder.glob("*.png")) == []
    with pytest.raises(UsageError, match="both write"):
        run("all/a.yaml", "all/a.yaml")
    (folder / "more").mkdir()
    (folder / "more" / "d.yaml").write_text(SMALL + "prompt: d\noutput: elsewhere/c.png\n")
    with pytest.raises(UsageError, match=r"both write out/c\.png"):
        run("all/c.yaml", "more/d.yaml", "-o", "out")


def test_a_folder_of_frames_stays_one(folder: Path) -> None:
    (folder / "d.yaml").write_text(SMALL + "prompt: d\ncount: 2\noutput: some/frames/\n")
    assert run("d.yaml", "-o", "out").exit_code == 0
    assert len(list((folder / "out" / "frames").glob("frames_*.png"))) == 2


def test_ctrl_c_stops_the_queue_and_keeps_what_is_finished(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = batch.execute
    calls: list[str] = []

    def interrupted(*arguments: object) -> None:
        calls.append("")
        if len(calls) == 2:
            raise KeyboardInterrupt
        execute(*arguments)

    monkeypatch.setattr(batch, "execute", interrupted)
    with CliRunner().isolation() as (stdout, _, _), pytest.raises(click.Abort):
        batch_command(HOST).main(["all"], standalone_mode=False)
    table = rows(stdout.getvalue().decode())
    assert [row[-1] for row in table] == ["ok", "stopped", "waiting"]
    assert (folder / "Bär 熊.png").is_file()
    assert len(calls) == 2


def test_a_fault_of_a_plugin_does_not_stop_the_rest(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    execute = batch.execute

    def faulty(*arguments: object) -> None:
        if arguments[2] == "a":
            raise ZeroDivisionError("division by zero\nsecond line")
        execute(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(batch, "execute", faulty)
    done = run("all/a.yaml", "all/c.yaml")
    assert done.exit_code == 1
    assert [row[-1][:43] for row in rows(done.stdout)] == [
        "error: unexpected ZeroDivisionError: divisi",
        "ok",
    ]


def test_an_empty_folder_is_wrong_usage(folder: Path) -> None:
    (folder / "none").mkdir()
    with pytest.raises(UsageError, match=r"none: no presets \(\.yaml\) in this folder"):
        run("none")
