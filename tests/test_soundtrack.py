"""Films and the music they move to, from one preset; a stranger's tool makes the music."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import imageio_ffmpeg
import numpy as np
import pytest
import soundfile
from click.testing import CliRunner, Result

from sdcreative import Audio, Shot, Studio, hear, read_provenance
from sdcreative.cli import build_cli
from sdcreative.errors import DataError, PresetError, UsageError
from sdcreative.host import Host, find_entry_points
from sdcreative.presets import load_preset, schema, validate
from sdcreative.runs.home import home
from sdcreative.runs.run import list_runs
from sdcreative.settings import RenderSettings
from sdcreative.soundtrack import Scored, with_music

CLICKS = '''
    """A tool that writes a click on every beat."""

    from dataclasses import dataclass
    from typing import Annotated

    import numpy
    import soundfile
    from pydantic import Field

    from sdcreative import (
        Blend, JobTool, Noise, PictureTool, RenderSettings, Shot, Strict, Timeline, hookimpl
    )

    RATE = 22_050


    class Settings(Strict):
        tempo: Annotated[float, Field(ge=30, le=300)] | None = None
        pace: float = 120.0
        beats: int = 4
        beats_per_bar: int = 4
        seed: int = 0
        device: str = "auto"
        dtype: str = "auto"
        output: str = "clicks.wav"


    def run(settings, job):
        step = 60 / (settings.tempo or settings.pace)
        seconds = settings.beats * step
        if job.dry_run:
            job.report(f"would make {settings.beats} clicks")
            return
        samples = numpy.zeros(round(seconds * RATE))
        click = numpy.sin(numpy.arange(400) * 0.3) * numpy.exp(-numpy.arange(400) / 80)
        for beat in range(settings.beats):
            at = round(beat * step * RATE)
            samples[at : at + 400] += 0.9 * click
        soundfile.write(settings.output, samples, RATE)
        job.report(f"made {settings.beats} clicks on {settings.device} in {settings.dtype}")


    class Hum(RenderSettings):
        pitch: str = "low"


    def hum(settings):
        from sdcreative.spectral.params import SpectrogramParams
        from sdcreative.spectral.score import Score

        shots = [Shot(Blend(settings.pitch), Noise(seed)) for seed in range(3)]
        params = SpectrogramParams(sample_rate=8000, bands=64, max_hz=3000)
        score = Score(params, max_value=1e6, columns=176, overlap=8, tempo=137.0)
        return Timeline(lambda: shots, 3, steps=settings.steps, score=score)


    @dataclass(frozen=True)
    class SoundTool(JobTool):
        suffix: str = ".wav"


    @hookimpl
    def sdcreative_tools():
        return [
            SoundTool("clicks", "Clicks.", Settings, run),
            JobTool("silence", "A job that makes no sound.", Settings, run),
            PictureTool("hum", "Pictures that are heard.", Hum, hum, ".wav"),
        ]
'''
PRESET = """
plugin: animate
keyframes:
  - a picture of a bear
  - {prompt: a red apple, at: bar 2}
audio:
  music: {plugin: clicks, tempo: 150, beats: 5}
  drive: beat
fps: 10
steps: 1
size: 32
device: cpu
output: film.mp4
"""
MUSIC = {"plugin": "clicks", "tempo": 150, "beats": 5}


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """Ours and the clicks, in a folder with a film's preset."""
    before = set(sys.modules)
    site = tmp_path / "site"
    info = site / "clicks-1.5.dist-info"
    info.mkdir(parents=True)
    (site / "clicks.py").write_text(textwrap.dedent(CLICKS), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: clicks\nVersion: 1.5\n")
    (info / "entry_points.txt").write_text("[sdcreative]\nclicks = clicks\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.chdir(tmp_path)
    Path("film.yaml").write_text(PRESET, encoding="utf-8")
    host = Host.load()
    assert "clicks" in host.tools
    yield host
    monkeypatch.undo()
    for name in set(sys.modules) & {"clicks"} - before:
        del sys.modules[name]
    _ = Host([]).tools


@pytest.fixture
def one_model(monkeypatch: pytest.MonkeyPatch, studio: Studio) -> None:
    monkeypatch.setattr(Studio, "load", lambda *args, **kwargs: studio)


def call(host: Host, *words: str) -> Result:
    done = CliRunner().invoke(build_cli(host), words, standalone_mode=False)
    if done.exception is not None and not isinstance(done.exception, click.Abort):
        raise done.exception
    return done


def rewrite(old: str, new: str, name: str = "film.yaml") -> None:
    assert old in PRESET
    Path(name).write_text(PRESET.replace(old, new), encoding="utf-8")


def settings_of(host: Host, name: str = "film.yaml") -> RenderSettings:
    settings = validate(load_preset(name), host.tools["animate"].settings)
    assert isinstance(settings, RenderSettings)
    return settings


def scored(host: Host, lines: list[str] | None = None, **audio: Any) -> Scored:
    """The film of the preset, with changes in its audio."""
    tool = host.tools["animate"]
    said = settings_of(host).model_dump(exclude_unset=True)
    said["audio"] |= audio
    report = [].append if lines is None else lines.append
    with with_music(tool, tool.settings.model_validate(said), report=report) as film:
        return film


def audio_of(film: Scored) -> Audio:
    audio = getattr(film.heard, "audio")  # noqa: B009 - of a film's settings only
    assert isinstance(audio, Audio)
    return audio


def music_files() -> list[Path]:
    return sorted((home() / "music").glob("*.flac"))


@pytest.mark.usefixtures("one_model")
def test_music_and_film_are_rendered_from_one_preset_and_each_once(host: Host) -> None:
    first = call(host, "run", "film.yaml")
    assert "music: made 5 clicks on cpu in auto" in first.output
    [file] = music_files()
    assert soundfile.info(str(file)).duration == pytest.approx(5 * 0.4, abs=1e-3)
    # Bar 2 begins after four beats of 0.4 s: at frame 16.
    assert "film.mp4: 17 frames" in first.output

    heard = hear(Audio(file=sound_of("film.mp4")), 10, 17)
    assert np.flatnonzero(np.array(heard.onset) > 0.5).tolist() == [4, 8, 12, 16]

    again = call(host, "run", "film.yaml", "--overwrite")
    assert f"music: {file} is there already" in again.output
    assert "made 5" not in again.output
    assert "17 of 17 frames are there already" in again.output


def sound_of(film: str) -> str:
    """What is heard with a film, as a file."""
    target = str(Path(film).with_suffix(".wav"))
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", film, target]
    subprocess.run(command, check=True)
    return target


@pytest.mark.usefixtures("one_model")
def test_the_record_names_the_music_and_no_place(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call(host, "run", "film.yaml")
    record = read_provenance(Path("film.mp4"))
    assert record.settings["audio"] == {"music": MUSIC, "drive": "beat"}
    [run] = list_runs()
    assert run.settings["audio"] == {"music": MUSIC, "drive": "beat"}
    assert "soundtrack-" not in run.model_dump_json() + record.to_json()

    call(host, "from", "film.mp4", "-o", "again.yaml")
    again = call(host, "run", "again.yaml", "-o", "again.mp4")
    assert "17 of 17 frames are there already" in again.output
    assert read_provenance(Path("again.mp4")).to_json() == record.to_json()

    monkeypatch.setenv("SDCREATIVE_HOME", str(tmp_path / "elsewhere"))
    fresh = call(host, "run", "again.yaml", "-o", "fresh.mp4")
    assert "music: made 5 clicks" in fresh.output
    assert Path("fresh.mp4").read_bytes() == Path("again.mp4").read_bytes()
    call(host, "run", "film.yaml", "--overwrite")
    assert run.id in [one.id for one in list_runs()]


@pytest.mark.usefixtures("one_model")
def test_a_run_is_resumed_and_verified_with_its_music_rendered_anew(host: Host) -> None:
    call(host, "run", "film.yaml")
    before = Path("film.mp4").read_bytes()
    [file] = music_files()
    file.unlink()
    done = call(host, "runs", "resume", "last", "--overwrite")
    assert "music: made 5 clicks" in done.output
    assert Path("film.mp4").read_bytes() == before
    file.unlink()
    verified = call(host, "runs", "verify", "last", "--frames", "2")
    assert "2 identical, 0 within 1/255, 0 different" in verified.output
    assert file.is_file()


def test_music_that_was_not_rendered_to_its_end_is_rendered_again(host: Host) -> None:
    lines: list[str] = []
    scored(host, lines)
    assert lines == ["music: made 5 clicks on cpu in auto"]
    [file] = music_files()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    scored(host, lines)
    assert lines[1:] == ["music: made 5 clicks on cpu in auto"]
    assert file.read_bytes() == whole
    file.with_suffix(".json").write_text("{", encoding="utf-8")
    scored(host, lines)
    assert len(lines) == 3
    scored(host, lines)
    assert lines[3:] == [f"music: {file} is there already"]


def test_a_tool_that_writes_no_sound_is_told_of(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["clicks"], "soundfile", Silent)
    with pytest.raises(DataError, match=r"soundtrack-\w+\.flac: is empty; give a sound file"):
        scored(host)


class Silent:
    @staticmethod
    def write(path: str, *_: object) -> None:
        Path(path).touch()


def test_the_timeline_sees_a_file_and_the_exact_tempo(host: Host) -> None:
    film = scored(host, music=MUSIC | {"tempo": 131.5, "beats": 40})
    heard = audio_of(film)
    assert (heard.file, heard.music) == (str(music_files()[0]), None)
    assert (heard.bpm, heard.first_beat) == (131.5, 0.0)
    timeline = film.tool.plan(film.settings)
    assert timeline.sound is not None
    assert timeline.sound.path == heard.file
    assert len(timeline) == 1 + round(10 * 4 * 60 / 131.5)
    found = [frame.prompt.t for frame in timeline if isinstance(frame, Shot)]
    # Driven by the beat: every beat is in the frame that is nearest to it.
    steps = np.flatnonzero(np.abs(np.diff(found)) > 0.1) + 1
    assert steps.tolist() == [round(10 * beat * 60 / 131.5) for beat in (1, 2, 3, 4)]
    assert film.settings.model_dump()["audio"]["file"] is None


def test_bars_are_those_of_the_music_unless_the_film_counts_others(host: Host) -> None:
    waltz = MUSIC | {"beats_per_bar": 3}
    assert audio_of(scored(host)).beats_per_bar == 4
    assert audio_of(scored(host, music=waltz)).beats_per_bar == 3
    assert audio_of(scored(host, music=waltz, beats_per_bar=4)).beats_per_bar == 4
    film = scored(host, music=waltz)
    # Bar 2 of a waltz begins after three beats of 0.4 s.
    assert len(film.tool.plan(film.settings)) == 1 + 12


@pytest.mark.usefixtures("one_model")
def test_music_of_pictures_is_a_run_of_its_own_whose_frames_are_kept(host: Host) -> None:
    rewrite("{plugin: clicks, tempo: 150, beats: 5}", "{plugin: hum, steps: 1}")
    done = call(host, "run", "film.yaml")
    [file] = music_files()
    # Bar 2 begins after four beats of 60 / 137 s, at frame 17.52.
    assert "film.mp4: 19 frames" in done.output
    [music] = [run for run in list_runs() if run.tool == "hum"]
    assert (file.stem, music.output, music.status) == (music.id, str(file), "finished")
    assert soundfile.info(str(file)).duration == pytest.approx(1.75, abs=0.011)

    before = file.read_bytes()
    file.unlink()
    done = call(host, "run", "film.yaml", "--overwrite")
    assert "music: 3 of 3 frames are there already" in done.output
    assert file.read_bytes() == before
    assert "19 of 19 frames are there already" in done.output


@pytest.mark.usefixtures("one_model")
def test_a_dry_run_says_what_music_of_pictures_takes(host: Host) -> None:
    rewrite("{plugin: clicks, tempo: 150, beats: 5}", "{plugin: hum, steps: 1}")
    done = call(host, "run", "film.yaml", "--dry-run")
    assert "music: frames       3: 3 denoised" in done.output
    assert done.output.endswith("the film is planned once its music is there\n")
    assert list_runs() == []


@pytest.mark.parametrize(
    ("audio", "bpm", "first"),
    [
        ({"start": 0.5}, 150, 0.3),
        ({"start": 0.8}, 150, 0.0),
        ({"start": 0.8001}, 150, 0.0),
        ({"bpm": 75, "start": 0.5}, 75, 0.3),
        ({"first_beat": 0.4}, 150, 0.4),
        ({"music": MUSIC | {"tempo": None, "pace": 150.0}}, None, None),
        ({"music": MUSIC | {"tempo": None, "pace": 150.0}, "bpm": 150.0}, 150, None),
    ],
)
def test_beat_1_is_the_first_in_the_film_unless_it_is_given(
    host: Host, audio: dict[str, Any], bpm: float | None, first: float | None
) -> None:
    heard = audio_of(scored(host, **audio))
    assert heard.bpm == bpm
    assert heard.first_beat == (None if first is None else pytest.approx(first, abs=1e-9))


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (
            "beats: 5",
            "beets: 5",
            r"7:46: audio\.music\.beets: unknown key 'beets'; did you mean 'beats'\?",
        ),
        ("tempo: 150", "tempo: 5", r"7:34: audio\.music\.tempo: 5 is too small; at least 30"),
        ("tempo: 150", "tempo: fast", r"7:34: audio\.music\.tempo: 'fast' is not a number"),
        ("clicks", "click", r"7:19: audio\.music\.plugin: no plugin has a tool 'click'; did you "),
        ("clicks", "5", r"7:19: audio\.music\.plugin: 5 is not the name of a tool; there are: "),
        ("clicks", "silence", r"7:19: .*the tool 'silence' makes no sound; there are: .*clicks"),
        ("clicks", "animate", r"7:19: .*the tool 'animate' makes no sound"),
        ("beats: 5", "output: a.wav", r"7:47: audio\.music\.output: the film has the music; "),
        ("drive: beat", "file: a.wav", r"7:10: audio\.music: give 'file' or 'music', not both"),
        (
            "  music: {plugin: clicks, tempo: 150, beats: 5}\n",
            "",
            r"7:3: audio: missing key 'file'",
        ),
        ("{plugin: clicks, tempo: 150, beats: 5}", "5", r"7:10: audio\.music: 5 is not a mapping"),
        ("{plugin: clicks, tempo: 150, beats: 5}", "los.yaml", r"7:10: .*no preset 'los\.yaml'"),
    ],
)
def test_faults_in_the_music_are_found_with_their_lines_when_a_preset_is_checked(
    host: Host, old: str, new: str, fault: str
) -> None:
    rewrite(old, new)
    with pytest.raises(PresetError, match=rf"^film\.yaml:{fault}"):
        call(host, "presets", "check", "film.yaml")
    assert music_files() == []


def test_a_missing_plugin_is_one_clear_line(host: Host) -> None:
    rewrite("plugin: clicks, ", "")
    alone = Host([entry for entry in find_entry_points() if entry.name == "animate"])
    with pytest.raises(PresetError, match=r"^film\.yaml:7:10: audio\.music: no plugin has a tool "
                       r"'music'; see 'sdcreative plugins'$"):  # fmt: skip
        call(alone, "presets", "check", "film.yaml")


def test_checking_music_needs_no_torch(host: Host) -> None:
    code = (
        "import sys; from sdcreative.host import Host; from sdcreative.presets import *\n"
        "validate(load_preset('film.yaml'), Host.load().tools['animate'].settings)\n"
        "print({'torch', 'numpy', 'librosa', 'diffusers'} & set(sys.modules))"
    )
    # The plugin of this test imports numpy itself; here it is one that does not.
    Path("site/clicks.py").write_text(
        textwrap.dedent(CLICKS).replace("import numpy\nimport soundfile\n", ""), encoding="utf-8"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path("site").resolve()), *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


def test_the_schema_takes_settings_and_names(host: Host) -> None:
    described = schema(host.tools["animate"].settings)
    music = described["$defs"]["Audio"]["properties"]["music"]
    assert json.dumps(music).count('"object"') == 1
    assert json.dumps(music).count('"string"') == 1


def test_a_preset_may_be_the_music_and_its_settings_are_what_is_kept(host: Host) -> None:
    Path("loop.yaml").write_text(
        "plugin: clicks\ntempo: 150\nbeats: 5\noutput: mine.wav\n", encoding="utf-8"
    )
    rewrite("{plugin: clicks, tempo: 150, beats: 5}", "loop.yaml")
    film = scored(host)
    assert film.settings.model_dump()["audio"]["music"] == MUSIC
    assert not Path("mine.wav").exists()
    rewrite("{plugin: clicks, tempo: 150, beats: 5}", "{plugin: clicks, tempo: 150, beats: 5}")
    lines: list[str] = []
    scored(host, lines)
    assert lines == [f"music: {music_files()[0]} is there already"]

    Path("loop.yaml").write_text("plugin: clicks\nbeets: 5\ntempo: 5\n", encoding="utf-8")
    rewrite("{plugin: clicks, tempo: 150, beats: 5}", "loop.yaml")
    with pytest.raises(
        PresetError,
        match=r"^film\.yaml:7:10: audio\.music: loop\.yaml:2:1: unknown key 'beets'; did you mean "
        r"'beats'\?; loop\.yaml:3:8: tempo: 5 is too small",
    ):
        settings_of(host)


def test_a_seed_is_drawn_once_and_kept(host: Host) -> None:
    lines: list[str] = []
    film = scored(host, lines, music=MUSIC | {"seed": -1})
    [seed] = re.findall(r"^music: seed (\d+)$", lines[0])
    assert film.settings.model_dump()["audio"]["music"] == MUSIC | {"seed": int(seed)}
    again: list[str] = []
    tool = host.tools["animate"]
    with with_music(tool, film.settings, report=again.append) as film:
        assert again == [f"music: {music_files()[0]} is there already"]


def test_where_the_film_is_rendered_the_music_is_unless_it_says(host: Host) -> None:
    rewrite("device: cpu", "device: cuda\ndtype: float16")
    lines: list[str] = []
    scored(host, lines)
    scored(host, lines, music=MUSIC | {"device": "mps", "dtype": "float32"})
    assert lines == [
        "music: made 5 clicks on cuda in float16",
        "music: made 5 clicks on mps in float32",
    ]


@pytest.mark.usefixtures("one_model")
def test_a_dry_run_renders_nothing_and_plans_the_film_once_its_music_is_there(host: Host) -> None:
    first = call(host, "run", "film.yaml", "--dry-run")
    assert first.output == (
        "music: would make 5 clicks\nthe film is planned once its music is there\n"
    )
    assert music_files() == []
    scored(host)
    then = call(host, "run", "film.yaml", "--dry-run")
    assert "frames       17: 17 denoised" in then.output
    assert not Path("film.mp4").exists()


@pytest.mark.usefixtures("one_model")
def test_a_storyboard_hears_the_music_first(host: Host) -> None:
    done = call(host, "storyboard", "film.yaml")
    assert "music: made 5 clicks" in done.output
    assert "of 17 frames" in done.output
    rewrite(
        "music: {plugin: clicks, tempo: 150, beats: 5}",
        f"file: {music_files()[0]}\n  bpm: 150\n  first_beat: 0",
    )
    call(host, "storyboard", "film.yaml", "-o", "same.png")
    assert Path("film_storyboard.png").read_bytes() == Path("same.png").read_bytes()


@pytest.mark.usefixtures("one_model")
def test_nothing_of_the_music_is_left_where_nothing_is_kept(host: Host) -> None:
    done = call(host, "run", "film.yaml", "--no-keep")
    assert "music: made 5 clicks" in done.output
    assert Path("film.mp4").stat().st_size > 0
    assert list(home().rglob("*.flac")) == []


@pytest.mark.usefixtures("one_model")
def test_a_queue_renders_music_when_its_film_comes(host: Host) -> None:
    rewrite("film.mp4", "other.mp4", "other.yaml")
    done = call(host, "batch", "film.yaml", "other.yaml")
    lines = done.output.splitlines()
    assert lines.index("[1/2] film.yaml") < lines.index("music: made 5 clicks on cpu in auto")
    assert done.output.count("made 5 clicks") == 1
    assert Path("other.mp4").is_file()


def test_a_film_without_music_is_left_as_it_is(host: Host) -> None:
    rewrite("  music: {plugin: clicks, tempo: 150, beats: 5}\n", "  file: song.wav\n")
    tool, settings = host.tools["animate"], settings_of(host)
    with with_music(tool, settings, report=[].append) as film:
        assert film.tool is tool
        assert film.settings is film.heard is settings


def test_music_that_is_not_rendered_is_no_sound_yet(host: Host) -> None:
    with pytest.raises(UsageError, match="'audio' names music that is not rendered yet"):
        host.tools["animate"].timeline(settings_of(host))
