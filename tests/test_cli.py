from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sdcreative import __version__
from sdcreative.cli import main

HEAVY = ["torch", "diffusers", "transformers", "numpy", "PIL", "librosa", "imageio"]
WITNESS = """
import sys
from sdcreative.cli import main
try:
    main(sys.argv[1:])
finally:
    print("IMPORTED", [name for name in {heavy} if name in sys.modules], file=sys.stderr)
"""


def run(*words: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sdcreative", *words],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def one_error(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The only line on stderr."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["animate", "--help"],
        ["plugins"],
        ["presets"],
        ["presets", "check", "bear_to_apple"],
        ["presets", "show", "bear_to_apple"],
        ["presets", "schema", "animate"],
        ["presets", "check", "seed_walk"],
        ["batch", "--help"],
    ],
)
def test_light_commands_import_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITNESS.format(heavy=HEAVY), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "IMPORTED []"


def test_help_does_not_even_import_pydantic(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITNESS.format(heavy=["pydantic", "yaml", "rich"]), "--help"],
        cwd=tmp_path,
        env={**os.environ, "SDCREATIVE_NO_PLUGINS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "IMPORTED []"
    assert all(f"  {name} " in done.stdout for name in ("animate", "image", "train", "run"))


def test_version_and_bare_call(tmp_path: Path) -> None:
    assert __version__ in run("--version", cwd=tmp_path).stdout
    bare = run(cwd=tmp_path)
    assert bare.returncode == 2
    assert "Usage: sdcreative" in bare.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["anmiate", "x"], "there is no command 'anmiate'; did you mean 'animate'?"),
        (["qqqq"], "there is no command 'qqqq'; see 'sdcreative --help'"),
        (["animate", "--sede", "1", "x"], "--sede"),
        (["animate"], "Missing argument 'PRESET'"),
        (["animate", "x.yaml", "--steps", "many"], "'many' is not a valid integer"),
        (["train", "train_emoji", "--steps", "3"], "--steps: 'train' has no setting 'steps'"),
        (["animate", "bear_to_apple", "--steps", "0"], "--steps"),
        (["animate", "bear_to_apple", "--set", "fsp=8"], "did you mean 'fps'?"),
        (["animate", "no/such.yaml"], "no/such.yaml"),
        (["image", "no/such.yaml"], "no/such.yaml"),
        (["image", "a bear", "--steps", "0"], "--steps"),
        (["presets", "schema", "anmiate"], "there is no tool 'anmiate'"),
        (["plugins", "new", "My Tool"], "'My Tool' cannot name a plugin"),
    ],
)
def test_wrong_usage_is_one_line_and_2(tmp_path: Path, words: list[str], message: str) -> None:
    line = one_error(run(*words, cwd=tmp_path), 2)
    assert line.startswith("error: ")
    assert message in line


def test_traceback_only_with_debug(tmp_path: Path) -> None:
    assert "Traceback" not in run("animate", "nope.yaml", cwd=tmp_path).stderr
    assert "Traceback" in run("--debug", "animate", "nope.yaml", cwd=tmp_path).stderr


def test_a_failed_job_exits_1(tmp_path: Path) -> None:
    words = ["image", "a bear", "--model", "./no_such_model", "--offline", "-o", "a.png"]
    line = one_error(run(*words, cwd=tmp_path), 1)
    assert "no_such_model" in line


def test_closed_pipe_is_quiet(tmp_path: Path) -> None:
    command = f"'{sys.executable}' -m sdcreative presets schema animate | true"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""


def test_check_reports_all_faults_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text("extends: bear_to_apple\nseed: 3\n")
    (tmp_path / "bad.yaml").write_text("extends: bear_to_apple\nstepz: 3\nseed: x\n")
    (tmp_path / "lost.yaml").write_text("plugin: anmiate\n")
    done = run("presets", "check", "good.yaml", "bad.yaml", "lost.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == "good.yaml: ok\n"
    lines = done.stderr.splitlines()
    assert lines[0].startswith("error: bad.yaml:2:1: unknown key 'stepz'; did you mean 'steps'")
    assert lines[1].startswith("error: bad.yaml:3:7: seed: 'x' is not a whole number")
    assert lines[2] == ("error: lost.yaml: no plugin has a tool 'anmiate'; did you mean 'animate'?")
    assert len(lines) == 3


def test_show_resolves_extends_and_set(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: bear_to_apple\nseed: 3\n")
    done = run("presets", "show", "mine.yaml", "--set", "steps=7", cwd=tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0] == "plugin: animate"
    assert {"seed: 3", "steps: 7"} <= set(lines)
    assert not any(line.startswith("extends") for line in lines)
    (tmp_path / "shown.yaml").write_text(done.stdout)
    assert run("presets", "check", "shown.yaml", cwd=tmp_path).returncode == 0


def test_lists(tmp_path: Path) -> None:
    presets = run("presets", cwd=tmp_path)
    assert presets.stdout == run("presets", "list", cwd=tmp_path).stdout
    assert any(
        line.split()[:2] == ["bear_to_apple", "animate"] for line in presets.stdout.splitlines()
    )
    plugins = run("plugins", "--json", cwd=tmp_path, SDCREATIVE_NO_PLUGINS="1")
    assert [(p["name"], p["registers"], p["error"]) for p in json.loads(plugins.stdout)] == [
        ("animate", ["tool animate"], None),
        ("feedback", ["tool feedback"], None),
        ("image", ["tool image"], None),
        ("music", ["tool music", "command serve"], None),
        ("scout", ["tool scout"], None),
        ("seed_walk", ["tool seed_walk"], None),
        (
            "train",
            ["tool train", "tool finetune", "tool learn", "tool textual-inversion", "tool sample"],
            None,
        ),
    ]


def test_schema_is_json_schema_of_the_preset(tmp_path: Path) -> None:
    schema = json.loads(run("presets", "schema", "animate", cwd=tmp_path).stdout)
    assert schema["$schema"].startswith("https://json-schema.org/")
    assert {"plugin", "extends", "seed", "steps"} <= set(schema["properties"])


@pytest.fixture
def command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """The command in this process, which has imported all that takes long: (code, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words: str) -> tuple[int, str]:
        try:
            main(list(words))
        except SystemExit as left:
            return int(left.code or 0), capsys.readouterr().err
        return 0, capsys.readouterr().err

    return call


@pytest.mark.parametrize("words", [["a", "picture of a bear"], ["a picture of a bear"]])
def test_image_from_words_names_its_file(
    tmp_path: Path, words: list[str], command: Callable[..., tuple[int, str]]
) -> None:
    code, said = command("image", *words, "--steps", "1", "--size", "32")
    assert code == 0, said
    assert (tmp_path / "a_picture_of_a_bear.png").is_file()
    code, said = command("image", *words, "--steps", "1", "--size", "32")
    assert code == 1
    assert "a_picture_of_a_bear.png" in said


def test_run_dispatches_on_plugin(tmp_path: Path) -> None:
    (tmp_path / "bear.yaml").write_text("plugin: image\nprompt: a bear\nsteps: 9\n")
    words = ["run", "bear.yaml", "--steps", "1", "--size", "32", "-o", "out.png"]
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out.png").is_file()


def test_dry_run_writes_nothing(tmp_path: Path, command: Callable[..., tuple[int, str]]) -> None:
    code, said = command("animate", "bear_to_apple", "--dry-run")
    assert code == 0, said
    assert list(tmp_path.iterdir()) == []
