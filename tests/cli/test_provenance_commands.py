"""`from` and `diff` as a person calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from PIL import Image

from sdcreative import Studio
from sdcreative.cli.provenance import diff_command, from_command
from sdcreative.cli.tools import run_command
from sdcreative.errors import DataError, OutputError, PresetError, UsageError
from sdcreative.host import Host
from sdcreative.media.writers import open_writer
from sdcreative.presets import load_preset, validate
from sdcreative.provenance import tags

HOST = Host.load(enabled=False)


def sdcreative(*words: str) -> Result:
    """Runs `from ...` or `diff ...`; errors of ours come out as they are."""
    command = {"from": from_command, "diff": diff_command}[words[0]](HOST)
    result = CliRunner().invoke(command, words[1:])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def finished(folder: Path, name: str, preset: str) -> Path:
    """A file with the tags that a run of this preset gives it."""
    source = folder / "source.yaml"
    source.write_text(preset, encoding="utf-8")
    loaded = load_preset(source)
    tool = HOST.tools[loaded.plugin]
    settings = validate(loaded, tool.settings)
    metadata = tags(tool.name, settings, tool.timeline(settings), (8, 8), "0123456789abcdef")
    with open_writer(folder / name, 12, (8, 8), metadata=metadata) as writer:
        writer.add(Image.new("RGB", (8, 8)))
    return folder / name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


BEAR = "plugin: image\nprompt: ein Bär, 熊\nseed: 3\nguidance_scale: 4\n"


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("a.png", ""),
        ("A.PNG", ""),
        ("a.gif", "output: a_again.gif\n"),
        ("a.mp4", "output: a_again.mp4\n"),
        ("~a b'&.1.mkv", "output: _a b__.1_again.mkv\n"),
        ("frames/", "output: frames_again/\n"),
    ],
)
def test_from_prints_a_preset(folder: Path, name: str, output: str) -> None:
    finished(folder, name, BEAR)
    name = name.rstrip("/")
    assert sdcreative("from", name).stdout == (
        f"# The settings in {name}, made by sdcreative 0.1.0.\n"
        "# The model had the weights 0123456789.\n"
        f"plugin: image\nseed: 3\nguidance_scale: 4.0\nprompt: ein Bär, 熊\n{output}"
    )


def test_a_gif_is_a_gif_again_and_the_first_one_stays(
    folder: Path, studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)
    film = "plugin: animate\nprompts: a bear | an apple\nframes: 3\nsteps: 2\ndevice: cpu\n"
    (folder / "film.yaml").write_text(film + "output: film.gif\n", encoding="utf-8")
    run = run_command(HOST)
    assert CliRunner().invoke(run, ["film.yaml"]).exit_code == 0
    first = (folder / "film.gif").read_bytes()
    sdcreative("from", "film.gif", "-o", "again.yaml")
    assert CliRunner().invoke(run, ["again.yaml"]).exit_code == 0
    assert (folder / "film_again.gif").read_bytes() == first
    with pytest.raises(OutputError, match=r"film_again\.gif exists; pass --overwrite"):
        CliRunner().invoke(run, ["again.yaml"], catch_exceptions=False)
    (folder / "film.yaml").write_text(film, encoding="utf-8")
    assert CliRunner().invoke(run, ["film.yaml"]).exit_code == 0
    assert "output" not in sdcreative("from", "film.mp4").stdout


def test_from_writes_a_preset_that_is_the_same_and_never_replaces_one(folder: Path) -> None:
    finished(folder, "a.png", BEAR)
    done = sdcreative("from", "a.png", "-o", "new/again.yaml")
    assert done.stdout == ("wrote new/again.yaml; run it with:  sdcreative run new/again.yaml\n")
    assert sdcreative("diff", "a.png", "new/again.yaml").exit_code == 0
    with pytest.raises(OutputError, match="exists; pass --overwrite"):
        sdcreative("from", "a.png", "-o", "new/again.yaml")
    (folder / "new/again.yaml").write_text("old")
    sdcreative("from", "a.png", "-o", "new/again.yaml", "--overwrite")
    assert (folder / "new/again.yaml").read_text(encoding="utf-8").startswith("# The settings")
    with pytest.raises(UsageError, match=r"a preset ends in \.yaml"):
        sdcreative("from", "a.png", "-o", "a.png", "--overwrite")


def test_from_says_what_is_not_taken_over(folder: Path) -> None:
    text = "a bear\nSteps: 9, Sampler: Restart, Seed: 4, Eta: 2\nmalicious: \x1b[2J"
    with open_writer("a.gif", 12, (8, 8), metadata={"parameters": text}) as writer:
        writer.add(Image.new("RGB", (8, 8)))
    done = sdcreative("from", "a.gif")
    assert done.stdout == (
        "# The settings in a.gif, made by AUTOMATIC1111.\n"
        "# Not taken over: Eta: 2\n"
        "# Not taken over: malicious: \\x1b[2J\n"
        "# Not taken over: Sampler: Restart\n"
        "plugin: image\nsteps: 9\nseed: 4\nprompt: a bear\noutput: a_again.gif\n"
    )
    assert done.stderr.splitlines()[0] == "not taken over: Eta: 2"
    assert "\x1b" not in done.stderr


def test_from_refuses_what_holds_no_settings(folder: Path) -> None:
    (folder / "a.txt").write_text("hello")
    with pytest.raises(DataError, match=r"a\.txt: is no picture, film or sound"):
        sdcreative("from", "a.txt")
    with pytest.raises(DataError, match=r"lost\.png: no such file"):
        sdcreative("from", "lost.png")
    record = {"sdcreative": 1, "plugin": "anmiate", "settings": {}}
    for plugin, message in (("anmiate", "did you mean 'animate'"), ("image", "missing key")):
        metadata = {"sdcreative": json.dumps({**record, "plugin": plugin})}
        with open_writer("b.png", 12, (8, 8), metadata=metadata, overwrite=True) as writer:
            writer.add(Image.new("RGB", (8, 8)))
        with pytest.raises(PresetError, match=r"b\.png: .*" + message):
            sdcreative("from", "b.png")


def test_diff_lists_what_differs_between_files_and_presets(folder: Path) -> None:
    finished(folder, "a.png", BEAR)
    (folder / "b.yaml").write_text("plugin: image\nprompt: a bear\nseed: 3\noutput: x.png\n")
    done = sdcreative("diff", "a.png", "b.yaml")
    assert done.exit_code == 1
    assert done.stdout == ('guidance_scale: 4 -> 7.5\nprompt: "ein Bär, 熊" -> "a bear"\n')
    found = json.loads(sdcreative("diff", "a.png", "b.yaml", "--json").stdout)
    assert found["equal"] is False
    assert found["changes"][0] == {"setting": "guidance_scale", "a": 4.0, "b": 7.5}


def test_diff_of_equal_settings_is_empty(folder: Path) -> None:
    finished(folder, "a.png", BEAR)
    done = sdcreative("diff", "a.png", "source.yaml")
    assert (done.exit_code, done.stdout) == (0, "")
    assert json.loads(sdcreative("diff", "a.png", "a.png", "--json").stdout) == {
        "equal": True,
        "changes": [],
    }


def test_diff_takes_bundled_presets_and_other_tools(folder: Path) -> None:
    assert sdcreative("diff", "bear_to_apple", "bear_to_apple").exit_code == 0
    (folder / "mine.yaml").write_text("extends: bear_to_apple\nfps: 7\n")
    assert "-> 7\n" in sdcreative("diff", "bear_to_apple", "mine.yaml").stdout
    (folder / "b.yaml").write_text(BEAR, encoding="utf-8")
    lines = sdcreative("diff", "bear_to_apple", "b.yaml").stdout.splitlines()
    assert lines[0] == 'plugin: "animate" -> "image"'


def test_diff_tells_other_weights_of_a_model(folder: Path) -> None:
    finished(folder, "a.png", BEAR)
    data = (folder / "a.png").read_bytes()
    loaded = load_preset("source.yaml")
    settings = validate(loaded, HOST.tools["image"].settings)
    timeline = HOST.tools["image"].timeline(settings)
    metadata = tags("image", settings, timeline, (8, 8), "ffff")
    with open_writer("b.png", 12, (8, 8), metadata=metadata) as writer:
        writer.add(Image.new("RGB", (8, 8)))
    assert (folder / "b.png").read_bytes() != data
    done = sdcreative("diff", "a.png", "b.png")
    assert done.stdout == 'weights of the model: "0123456789abcdef" -> "ffff"\n'


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lost.png", "no such file"),
        ("bear_to_aple", "did you mean 'bear_to_apple'"),
        ("bad.yaml", "bad.yaml:2:1: unknown key"),
        ("bad.png", "no picture, film or sound"),
    ],
)
def test_what_cannot_be_compared_exits_with_2(folder: Path, name: str, message: str) -> None:
    (folder / "bad.yaml").write_text("extends: bear_to_apple\nstepz: 3\n")
    (folder / "bad.png").write_text("hello")
    with pytest.raises(UsageError, match=message) as caught:
        sdcreative("diff", "bear_to_apple", name)
    assert caught.value.exit_code == 2
