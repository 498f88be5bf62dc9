"""Films in: the frames that were written come back, in order, one at a time."""

from __future__ import annotations

import os
import shutil
import subprocess
from itertools import islice
from pathlib import Path

import numpy
import pytest
from PIL import Image

from sdcreative.errors import DataError
from sdcreative.media.frames import read_frames
from sdcreative.media.video import ffmpeg
from sdcreative.media.writers import open_writer

COLOURS = [(220, 40, 30), (30, 200, 60), (40, 60, 210), (250, 250, 250), (0, 0, 0), (0, 0, 0)]
LOSSLESS = [".apng", ""]


def write(path: Path, size: tuple[int, int] = (32, 32), fps: float = 12) -> Path:
    with open_writer(path, fps, size) as writer:
        for colour in COLOURS:
            writer.add(Image.new("RGB", size, colour))
    return path


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".gif", ".webp", ".apng", ""])
def test_frames_come_back_in_order(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"Bär 熊 'x%d{suffix}")
    frames = list(read_frames(path))
    assert [(frame.mode, frame.size) for frame in frames] == [("RGB", (32, 32))] * len(COLOURS)
    for frame, colour in zip(frames, COLOURS, strict=True):
        apart = numpy.abs(numpy.asarray(frame).astype(int) - colour).max()
        assert apart <= (0 if suffix in LOSSLESS else 6)


def test_a_film_of_odd_size_comes_as_it_is_stored(tmp_path: Path) -> None:
    assert {f.size for f in read_frames(write(tmp_path / "odd.mp4", (33, 35)))} == {(34, 36)}
    assert {f.size for f in read_frames(write(tmp_path / "odd.gif", (33, 35)))} == {(33, 35)}


def test_every_stored_frame_comes_once_whatever_its_time(tmp_path: Path) -> None:
    steady = write(tmp_path / "steady.mp4")
    uneven = tmp_path / "uneven.mkv"
    command = [ffmpeg(), "-v", "error", "-i", str(steady), "-vf", "setpts='N*N/TB/10'"]
    subprocess.run([*command, "-fps_mode", "passthrough", str(uneven)], check=True)
    assert len(list(read_frames(uneven))) == len(COLOURS)


def test_a_picture_is_a_film_of_one_frame(tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    [frame] = read_frames(tmp_path / "clear.png")
    assert frame.getpixel((0, 0)) == (255, 255, 255)


def test_the_still_picture_of_an_apng_is_not_part_of_the_film(tmp_path: Path) -> None:
    red, green, blue = (Image.new("RGB", (8, 8), colour) for colour in COLOURS[:3])
    path = tmp_path / "still.png"
    red.save(path, save_all=True, append_images=[green, blue], default_image=True)
    assert [frame.getpixel((0, 0)) for frame in read_frames(path)] == COLOURS[1:3]


def test_a_folder_of_pngs_of_any_name(tmp_path: Path) -> None:
    for name, colour in zip("cab", COLOURS, strict=False):
        Image.new("RGB", (8, 8), colour).save(tmp_path / f"{name}.png")
    found = [frame.getpixel((0, 0)) for frame in read_frames(tmp_path)]
    assert found == [COLOURS[1], COLOURS[2], COLOURS[0]]


def test_pictures_of_a_folder_have_one_size(tmp_path: Path) -> None:
    folder = write(tmp_path / "frames")
    Image.new("RGB", (8, 9)).save(folder / "frames_000003.png")
    with pytest.raises(DataError, match=r"frames_000003\.png: has 8x9 pixels, .* 32x32"):
        list(read_frames(folder))


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".apng", ".mkv"])
def test_a_truncated_film_is_said_after_what_decodes(tmp_path: Path, suffix: str) -> None:
    random = numpy.random.default_rng(0)
    path = tmp_path / f"cut{suffix}"
    with open_writer(path, 12, (64, 64)) as writer:
        for _ in range(20):
            writer.add(Image.fromarray(random.integers(0, 256, (64, 64, 3), numpy.uint8)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    came = 0
    with pytest.raises(DataError, match="cut"):
        for _ in read_frames(path):
            came += 1
    assert came < 20


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".png"])
def test_what_is_no_film_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"page{suffix}"
    path.write_text("<html></html>")
    with pytest.raises(DataError, match="page"):
        list(read_frames(path))


def test_missing_unknown_and_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_frames(tmp_path / "none.mp4")
    (tmp_path / "film.avi").touch()
    with pytest.raises(DataError, match=r"ending '.avi' is unknown"):
        read_frames(tmp_path / "film.avi")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no frames such as empty_000000\.png"):
        list(read_frames(tmp_path / "empty"))


@pytest.mark.skipif(shutil.which("ps") is None, reason="looks at the process list")
def test_closing_stops_the_decoder(tmp_path: Path) -> None:
    path = tmp_path / "long.mp4"
    noise = Image.effect_noise((256, 256), 80).convert("RGB")
    with open_writer(path, 12, noise.size) as writer:
        for turn in range(60):
            writer.add(noise.rotate(turn))
    frames = read_frames(path)
    assert len(list(islice(frames, 2))) == 2
    assert decoders(path)
    frames.close()
    assert not decoders(path)


def decoders(path: Path) -> list[str]:
    """Running children of this process that have the path among their words."""
    listed = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-ww", "-o", "args="], capture_output=True, text=True
    )
    return [line for line in listed.stdout.splitlines() if str(path) in line]
