"""`sdcreative spectrogram`: files and folders, there and back."""

from __future__ import annotations

from pathlib import Path

import numpy
import pytest
import soundfile
from click.testing import CliRunner, Result
from PIL import Image

from inversion_music import music
from sdcreative.cli.spectrogram import spectrogram_group
from sdcreative.errors import DataError, OutputError, UsageError

SMALL = ("--bands", "96", "--step", "20")


def run(*words: object) -> Result:
    return CliRunner().invoke(
        spectrogram_group(), [str(word) for word in words], catch_exceptions=False
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "Bär 熊.wav"
    path.parent.mkdir()
    soundfile.write(path, music(1, 1.2).T, 44_100)
    return path


def test_there_and_back(clip: Path, tmp_path: Path) -> None:
    said = run("encode", clip, "--stereo", *SMALL, "-o", tmp_path / "clip.png").output
    assert "wrote" in said and "61x96 pixels" in said
    said = run("decode", tmp_path / "clip.png", "--circular", "--iterations", 2).output
    assert "1.22 s, spectral convergence -" in said
    samples, rate = soundfile.read(tmp_path / "clip.wav")
    assert (rate, samples.shape) == (44_100, (61 * 882, 2))
    was = music(1, 1.2)
    assert 20 * numpy.log10(samples.std() / was.std()) == pytest.approx(0, abs=1.5)
    run("decode", tmp_path / "clip.png", "--quality", "-o", tmp_path / "clip.flac")
    assert soundfile.info(tmp_path / "clip.flac").frames == 60 * 882


def test_a_picture_without_its_loudness_is_made_loud(tmp_path: Path) -> None:
    levels = numpy.full((512, 30, 3), 255, numpy.uint8)
    levels[400:410] = 100
    Image.fromarray(levels).save(tmp_path / "made.png")
    assert "loudness not in the picture" in run("decode", tmp_path / "made.png").output
    assert numpy.abs(soundfile.read(tmp_path / "made.wav")[0]).max() == pytest.approx(0.9, 0.01)


def test_nothing_is_overwritten_unasked(clip: Path, tmp_path: Path) -> None:
    target = tmp_path / "clip.png"
    target.write_bytes(b"kept")
    with pytest.raises(OutputError, match="--overwrite"):
        run("encode", clip, *SMALL, "-o", target)
    assert target.read_bytes() == b"kept"
    run("encode", clip, *SMALL, "-o", target, "--overwrite")
    assert Image.open(target).size == (61, 96)
    for name in ("a.txt", "a.gif"):
        with pytest.raises(OutputError, match="ending"):
            run("encode", clip, *SMALL, "-o", tmp_path / name)
    with pytest.raises(UsageError, match="the source itself"):
        run("decode", target, "-o", target, "--overwrite")


def test_a_folder_goes_on_after_a_broken_file(clip: Path, tmp_path: Path) -> None:
    soundfile.write(clip.with_suffix(".flac"), music(2, 1.2).T, 44_100)
    (clip.parent / "a.wav").write_text("no sound")
    result = run("encode", clip.parent, *SMALL, "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "a.wav: is no sound" in result.stderr and "1 of 3 files failed" in result.stderr
    # Two of the same name do not write over each other.
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["Bär 熊.flac.png", "Bär 熊.wav.png"]
    result = run("decode", tmp_path / "out", "--iterations", 0)
    assert result.exit_code == 0
    assert len(list((tmp_path / "out").glob("*.wav"))) == 2
    with pytest.raises(DataError, match="in this folder"):
        run("decode", clip.parent)


def test_parts_and_lengths(clip: Path, tmp_path: Path) -> None:
    run("encode", clip, *SMALL, "--start", 0.5, "--seconds", 0.4, "-o", tmp_path / "part.png")
    assert Image.open(tmp_path / "part.png").size == (21, 96)
    with soundfile.SoundFile(tmp_path / "hours.flac", "w", 8000, 1) as file:
        for _ in range(11):
            file.write(numpy.zeros(8000 * 60))
    with pytest.raises(DataError, match=r"660 s of sound; up to 655 s fit .* --start") as caught:
        run("encode", tmp_path / "hours.flac")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="up to 164 s"):
        run("encode", tmp_path / "hours.flac", "-o", tmp_path / "hours.webp")
    with pytest.raises(UsageError, match="start is -1"):
        run("encode", clip, "--start", -1)
    with pytest.raises(DataError, match="cannot start at 9"):
        run("encode", clip, "--start", 9)


def test_plots_of_sounds_and_pictures(clip: Path, tmp_path: Path) -> None:
    run("encode", clip, "--stereo", *SMALL)
    picture = clip.with_suffix(".png")
    run("show", picture)
    with Image.open(clip.with_name("Bär 熊.plot.png")) as plot:
        assert plot.width > 400 and plot.height > 500
        colours = plot.convert("RGB").getcolors(1 << 24)
    assert colours is not None and len(colours) > 100
    said = run("show", clip, *SMALL, "-o", tmp_path / "plot.png").output
    assert "plot.png" in said


def test_a_device_that_is_not_there(clip: Path) -> None:
    with pytest.raises(UsageError, match="--device abacus"):
        run("decode", clip, "--device", "abacus")


def test_what_is_wrong_names_its_file(tmp_path: Path) -> None:
    levels = numpy.full((512, 1, 3), 255, numpy.uint8)
    Image.fromarray(levels).save(tmp_path / "narrow.png")
    with pytest.raises(DataError, match=r"narrow\.png: a spectrogram of 1 columns; give at least"):
        run("decode", tmp_path / "narrow.png")
    soundfile.write(tmp_path / "short.wav", numpy.zeros(100), 44_100)
    with pytest.raises(DataError, match=r"short\.wav: 0\.002 s of sound"):
        run("show", tmp_path / "short.wav")
    assert not (tmp_path / "narrow.wav").exists() and not (tmp_path / "short.plot.png").exists()
