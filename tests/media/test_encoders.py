"""Which encoder a film gets, found out by encoding; others in software stand for hardware."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from sdcreative.errors import OutputError
from sdcreative.media import encoders
from sdcreative.media.encoders import HARDWARE, SOFTWARE, Codec, choose, conversion, fault
from sdcreative.media.video import ffmpeg
from sdcreative.media.writers import count_frames, open_writer

OTHER = Codec(("-c:v", "mpeg4", "-q:v", "4"), needs="nothing")
ABSENT = Codec(("-c:v", "h264_nowhere"), needs="a card that nobody makes")
SIZE = (64, 64)


def hardware(monkeypatch: pytest.MonkeyPatch, **known: Codec) -> None:
    monkeypatch.setattr(encoders, "HARDWARE", known)


def test_what_was_compiled_in_and_does_not_work_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    hardware(monkeypatch, nvenc=ABSENT)
    with pytest.raises(OutputError, match=r"nvenc does not work here for 64x64 pixels: .*nowhere"):
        choose("nvenc", ffmpeg(), SIZE)
    with pytest.raises(OutputError, match=r"needs a card that nobody makes; use encoder: software"):
        choose("nvenc", ffmpeg(), SIZE)


@pytest.mark.parametrize("name", HARDWARE)
def test_an_encoder_that_works_takes_two_frames(name: str) -> None:
    said = fault(HARDWARE[name], ffmpeg(), (256, 256), Fraction(12))
    assert "0x" not in said
    assert "Unrecognized option" not in said
    assert "Option not found" not in said


def test_auto_takes_the_first_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    hardware(monkeypatch, nvenc=ABSENT, qsv=OTHER)
    assert choose("auto", ffmpeg(), SIZE) is OTHER
    hardware(monkeypatch, nvenc=ABSENT)
    assert choose("auto", ffmpeg(), SIZE) is SOFTWARE


def test_a_size_that_an_encoder_refuses_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    picky = Codec(("-c:v", "dvvideo"), needs="720x576")
    hardware(monkeypatch, vaapi=picky)
    with pytest.raises(OutputError, match="64x64"):
        choose("vaapi", ffmpeg(), SIZE)


def film(path: Path, encoder: encoders.EncoderName) -> bytes:
    with open_writer(path, 12, SIZE, encoder=encoder) as writer:
        for colour in ("red", "green", "blue"):
            writer.add(Image.new("RGB", SIZE, colour))
    assert count_frames(path) == 3
    return path.read_bytes()


def test_a_film_by_another_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hardware(monkeypatch, qsv=OTHER)
    assert b"avc1" in film(tmp_path / "a.mp4", "software")
    for name in ("qsv", "auto"):
        made = film(tmp_path / f"{name}.mp4", name)  # type: ignore[arg-type]
        assert b"mp4v" in made
        assert b"avc1" not in made


def test_an_encoder_that_does_not_work_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hardware(monkeypatch, nvenc=ABSENT)
    with pytest.raises(OutputError, match="does not work here"):
        film(tmp_path / "new" / "a.mp4", "nvenc")
    assert not list(tmp_path.iterdir())


def test_colours_are_converted_once() -> None:
    """ffmpeg puts a filter of its own between two that do not fit together, and says so."""
    command = [ffmpeg(), "-nostdin", "-v", "debug", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-video_size", "16x16", "-framerate", "12", "-i", "pipe:0"]
    command += ["-vf", conversion(SOFTWARE), *SOFTWARE.options, "-f", "null", "-"]
    done = subprocess.run(command, input=bytes(16 * 16 * 3), capture_output=True, check=True)
    log = done.stderr.decode("utf-8", "replace")
    assert "Parsed_scale_0" in log
    assert "auto_scale" not in log
