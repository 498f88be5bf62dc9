"""Films out, with the real encoders: counts, times, colours, and every way of failing."""

from __future__ import annotations

import _thread
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image

from sdcreative.errors import DataError, OutputError, UsageError
from sdcreative.media import output, sinks
from sdcreative.media.image import read_picture
from sdcreative.media.output import ensure_space, estimate_bytes
from sdcreative.media.video import ffmpeg
from sdcreative.media.writers import count_frames, open_writer, probe

FILMS = [".mp4", ".mov", ".mkv", ".gif", ".webp", ".apng"]
SIZES = [(32, 32), (33, 35)]


def pictures(count: int, size: tuple[int, int] = (32, 32)) -> Iterator[Image.Image]:
    random = numpy.random.default_rng(0)
    for _ in range(count):
        yield Image.fromarray(random.integers(0, 256, (size[1], size[0], 3), numpy.uint8))


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def frames_of(path: Path, size: tuple[int, int]) -> list[numpy.ndarray]:
    """All frames of a film as arrays of float, shape (height, width, 3)."""
    if path.suffix in (".gif", ".webp", ".apng"):
        with Image.open(path) as film:
            found = []
            for number in range(film.n_frames):  # type: ignore[attr-defined]
                film.seek(number)
                found.append(numpy.asarray(film.convert("RGB")).astype(float))
            return found
    info = probe(path)
    command = [ffmpeg(), "-v", "error", "-i", f"file:{path}", "-f", "rawvideo"]
    command += ["-vf", "scale=in_color_matrix=bt709:in_range=tv:out_range=pc,format=rgb24", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    values = numpy.frombuffer(raw, numpy.uint8).reshape(info.frames, info.height, info.width, 3)
    return list(values[:, : size[1], : size[0]].astype(float))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("suffix", FILMS)
def test_round_trip(tmp_path: Path, suffix: str, size: tuple[int, int]) -> None:
    path = tmp_path / "neu" / f"Bär 熊 'x%d{suffix}"
    colours = [(220, 40, 30), (30, 200, 60), (40, 60, 210), (250, 250, 250), (0, 0, 0)]
    with open_writer(path, 12, size, length=5) as writer:
        for colour in colours:
            writer.add(Image.new("RGB", size, colour))
        assert not path.exists()
    info = probe(path)
    odd = suffix in (".mp4", ".mov", ".mkv")
    assert info.frames == count_frames(path) == 5
    assert (info.width, info.height) == tuple(side + side % 2 if odd else side for side in size)
    assert info.fps == pytest.approx(12, rel=0.01)
    for frame, colour in zip(frames_of(path, size), colours, strict=True):
        assert abs(frame - colour).max() <= 6
    assert names(path.parent) == [path.name]


@pytest.mark.parametrize("suffix", FILMS)
def test_equal_frames_are_all_there(tmp_path: Path, suffix: str) -> None:
    writer = open_writer(tmp_path / f"a{suffix}", 10, (32, 32))
    for _ in range(7):
        writer.add(Image.new("RGB", (32, 32), "teal"))
    assert writer.finish() == 7
    info = probe(tmp_path / f"a{suffix}")
    assert info.frames == 7
    assert info.fps == pytest.approx(10)


@pytest.mark.parametrize("suffix", FILMS)
def test_one_frame_is_a_film_too(tmp_path: Path, suffix: str) -> None:
    with open_writer(tmp_path / f"a{suffix}", 10, (32, 32), length=1) as writer:
        writer.add(Image.new("RGB", (32, 32), "teal"))
    assert count_frames(tmp_path / f"a{suffix}") == 1


@pytest.mark.parametrize("fps", [0.5, 7, 12, 23.976, 24000 / 1001, 30, 60])
@pytest.mark.parametrize("suffix", FILMS)
def test_length_in_seconds_is_right(tmp_path: Path, suffix: str, fps: float) -> None:
    with open_writer(tmp_path / f"a{suffix}", fps, (8, 8)) as writer:
        for picture in pictures(25, (8, 8)):
            writer.add(picture)
    info = probe(tmp_path / f"a{suffix}")
    assert info.fps is not None
    true = min(fps, 50) if suffix == ".gif" else fps  # browsers slow GIFs of more
    tick = {".gif": 0.01, ".webp": 0.001, ".mkv": 0.0011}.get(suffix, 1e-4)
    assert info.frames / info.fps == pytest.approx(25 / true, abs=tick)


def test_gif_durations_differ_by_one_tick_at_most(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.gif", 12, (8, 8)) as writer:
        for picture in pictures(24, (8, 8)):
            writer.add(picture)
    with Image.open(tmp_path / "a.gif") as film:
        durations = []
        for number in range(24):
            film.seek(number)
            durations.append(film.info["duration"])
        assert film.info["loop"] == 0
    assert set(durations) == {80, 90}
    assert sum(durations) == 2000


@pytest.mark.parametrize("suffix", [".webp", ".apng"])
def test_animations_loop(tmp_path: Path, suffix: str) -> None:
    with open_writer(tmp_path / f"a{suffix}", 12, (8, 8)) as writer:
        for picture in pictures(3, (8, 8)):
            writer.add(picture)
    with Image.open(tmp_path / f"a{suffix}") as film:
        assert film.info["loop"] == 0


def test_apng_is_lossless_and_keeps_metadata(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.apng", 12, (33, 35), metadata={"parameters": "熊"}) as writer:
        for picture in pictures(4, (33, 35)):
            writer.add(picture)
    for frame, picture in zip(
        frames_of(tmp_path / "a.apng", (33, 35)), pictures(4, (33, 35)), strict=True
    ):
        assert (frame == numpy.asarray(picture)).all()
    with Image.open(tmp_path / "a.apng") as film:
        assert film.text["parameters"] == "熊"  # type: ignore[attr-defined]


def test_film_metadata_and_tags(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    with open_writer(path, 12, (32, 32), metadata={"sdcreative": '{"a": "熊 = ;"}'}) as writer:
        writer.add(Image.new("RGB", (32, 32)))
    command = [ffmpeg(), "-hide_banner", "-i", str(path)]
    said = subprocess.run(command, capture_output=True, check=False).stderr.decode()
    assert '{"a": "熊 = ;"}' in said
    assert "yuv420p(tv, bt709" in said
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize("suffix", FILMS)
def test_the_same_pictures_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    for name in "ab":
        with open_writer(tmp_path / f"{name}{suffix}", 12, (32, 32)) as writer:
            for picture in pictures(3):
                writer.add(picture)
    if suffix == ".mkv":
        pytest.skip("Matroska draws an identifier")
    assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_single_picture(tmp_path: Path, suffix: str) -> None:
    with open_writer(tmp_path / f"a{suffix}", 12, (32, 32), length=1) as writer:
        writer.add(Image.new("RGBA", (32, 32), (0, 0, 0, 0)))
    assert read_picture(tmp_path / f"a{suffix}").getpixel((0, 0)) == (255, 255, 255)


def test_sheet(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.png", 12, (8, 9), columns=3, length=5) as writer:
        for colour in ("red", "lime", "blue", "black", "red"):
            writer.add(Image.new("RGB", (8, 9), colour))
    sheet = read_picture(tmp_path / "a.png")
    assert sheet.size == (24, 18)
    assert sheet.getpixel((23, 0)) == (0, 0, 255)
    assert sheet.getpixel((8, 17)) == (255, 0, 0)
    assert sheet.getpixel((16, 17)) == (255, 255, 255)


def test_sheet_of_fewer_pictures_than_columns(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.jpg", 12, (8, 8), columns=9) as writer:
        for picture in pictures(2, (8, 8)):
            writer.add(picture)
    assert read_picture(tmp_path / "a.jpg").size == (16, 8)


def test_several_pictures_do_not_fit_a_png(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"a\.apng, or .*a/ for a folder"):
        open_writer(tmp_path / "a.png", 12, (8, 8), length=2)
    with (
        pytest.raises(OutputError, match="holds one picture"),
        open_writer(tmp_path / "a.png", 12, (8, 8)) as writer,
    ):
        for picture in pictures(3, (8, 8)):
            writer.add(picture)
    assert names(tmp_path) == []


def test_too_large_a_sheet_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a sheet of"):
        open_writer(tmp_path / "a.png", 12, (512, 512), columns=100, length=10_000)
    with pytest.raises(OutputError, match="65535"):
        open_writer(tmp_path / "a.jpg", 12, (512, 8), columns=200, length=200)


@pytest.mark.parametrize("ending", ["", "/"])
def test_folder(tmp_path: Path, ending: str) -> None:
    with open_writer(f"{tmp_path}/new/bär{ending}", 12, (8, 9)) as writer:
        for picture in pictures(3, (8, 9)):
            writer.add(picture)
    folder = tmp_path / "new" / "bär"
    assert names(folder) == [f"bär_00000{number}.png" for number in range(3)]
    info = probe(folder)
    assert (info.frames, info.width, info.height, info.fps) == (3, 8, 9, None)


def test_folder_overwritten_keeps_what_is_not_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "x"
    for count in (4, 2):
        with open_writer(folder, 12, (8, 8), overwrite=count == 2) as writer:
            for picture in pictures(count, (8, 8)):
                writer.add(picture)
        (folder / "notes.txt").write_text("mine")
    assert names(folder) == ["notes.txt", "x_000000.png", "x_000001.png"]
    with pytest.raises(OutputError, match="not empty; pass --overwrite"):
        open_writer(folder, 12, (8, 8))
    assert names(folder) == ["notes.txt", "x_000000.png", "x_000001.png"]


@pytest.mark.parametrize("suffix", [*FILMS, ".png", ""])
def test_an_exception_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        open_writer(tmp_path / "new" / f"a{suffix}", 12, (32, 32)) as writer,
    ):
        writer.add(next(pictures(1)))
        raise ZeroDivisionError
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", [*FILMS, ".png", ""])
def test_no_frames_is_an_error_and_leaves_nothing(tmp_path: Path, suffix: str) -> None:
    with (
        pytest.raises(OutputError, match="no frames"),
        open_writer(tmp_path / f"a{suffix}", 12, (8, 8)),
    ):
        pass
    with pytest.raises(OutputError, match="no frames"):
        open_writer(tmp_path / f"a{suffix}", 12, (8, 8), length=0)
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", [*FILMS, ""])
def test_an_interrupt_keeps_what_is_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with pytest.raises(KeyboardInterrupt), open_writer(path, 12, (32, 32), length=100) as writer:
        for picture in pictures(3):
            writer.add(picture)
        raise KeyboardInterrupt
    assert count_frames(path) == 3
    assert names(tmp_path) == [path.name]


def test_an_interrupt_before_the_first_frame_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_writer(tmp_path / "a.mp4", 12, (32, 32)):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_real_interrupt_cuts_no_picture_in_two(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), open_writer(path, 12, (256, 256)) as writer:
        picture = next(pictures(1, (256, 256)))
        writer.add(picture)
        timer.start()
        while True:
            writer.add(picture)
    assert count_frames(path) >= 1
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("suffix", [*FILMS, ".png", ".jpg"])
def test_nothing_is_overwritten_unasked(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"film{suffix}"
    path.write_text("mine")
    message = f"film{suffix} exists; pass --overwrite or choose another -o"
    with pytest.raises(OutputError, match=message):
        open_writer(path, 12, (32, 32))
    assert path.read_text() == "mine"
    with pytest.raises(ZeroDivisionError), open_writer(path, 12, (32, 32), overwrite=True):
        raise ZeroDivisionError
    assert path.read_text() == "mine"
    with open_writer(path, 12, (32, 32), overwrite=True) as writer:
        writer.add(next(pictures(1)))
    assert count_frames(path) == 1
    assert names(tmp_path) == [path.name]


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    with pytest.raises(OutputError, match="exists"), open_writer(path, 12, (32, 32)) as writer:
        writer.add(next(pictures(1)))
        path.write_text("mine")
    assert path.read_text() == "mine"
    assert names(tmp_path) == ["a.gif"]


def test_faults_are_found_on_opening(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"'\.avi' is unknown; use \.mp4, .*folder"):
        open_writer(tmp_path / "a.avi", 12, (8, 8))
    with pytest.raises(OutputError, match="cannot be made"):
        open_writer(tmp_path / "file" / "a.mp4", 12, (8, 8))
    with pytest.raises(OutputError, match="no folder"):
        open_writer(tmp_path / "file", 12, (8, 8))
    with pytest.raises(OutputError, match="no name"):
        open_writer("", 12, (8, 8))
    with pytest.raises(OutputError, match="is no file"):
        open_writer_at_device()
    for fps in (0, -1, float("nan"), float("inf"), 1e9):
        with pytest.raises(UsageError, match="fps"):
            open_writer(tmp_path / "a.mp4", fps, (8, 8))
    with pytest.raises(OutputError, match="NUL"):
        open_writer(tmp_path / "a.mp4", 12, (8, 8), metadata={"a": "\0"})
    with pytest.raises(OutputError, match="16383"):
        open_writer(tmp_path / "a.webp", 12, (20_000, 8))
    assert names(tmp_path) == ["file"]


def open_writer_at_device() -> None:
    output.StagedFile(Path(os.devnull), overwrite=True)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="permissions")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"):
        open_writer(tmp_path / "a.mp4", 12, (8, 8))
    tmp_path.chmod(0o700)


def test_a_long_name_fits(tmp_path: Path) -> None:
    path = tmp_path / ("熊" * 83 + ".gif")
    with open_writer(path, 12, (8, 8)) as writer:
        writer.add(next(pictures(1, (8, 8))))
    assert names(tmp_path) == [path.name]


def test_a_picture_of_another_size(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputError, match="8x8 pixels, where 32x32"),
        open_writer(tmp_path / "a.mp4", 12, (32, 32)) as writer,
    ):
        writer.add(Image.new("RGB", (8, 8)))
    assert names(tmp_path) == []


def test_after_the_end(tmp_path: Path) -> None:
    with open_writer(tmp_path / "a.gif", 12, (8, 8)) as writer:
        writer.add(Image.new("RGB", (8, 8)))
    writer.abort()
    with pytest.raises(OutputError, match="after the end"):
        writer.add(Image.new("RGB", (8, 8)))
    with pytest.raises(OutputError, match="closed"):
        writer.finish()
    assert names(tmp_path) == ["a.gif"]


@pytest.mark.skipif(os.name != "posix", reason="a shell script")
@pytest.mark.parametrize("read", ["", "cat >/dev/null;"])
def test_a_failing_encoder_shows_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: str
) -> None:
    script = tmp_path / "ffmpeg"
    script.write_text(
        f"#!/bin/sh\n{read} echo first >&2; echo 'Unknown encoder libx264' >&2; exit 3\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: str(script))
    with (
        pytest.raises(OutputError, match=r"a\.mp4: .* exit code 3: first \| Unknown encoder"),
        open_writer(tmp_path / "a.mp4", 12, (256, 256)) as writer,
    ):
        for picture in pictures(5, (256, 256)):
            writer.add(picture)
    assert names(tmp_path) == ["ffmpeg"]


def test_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found")

    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", none)
    with pytest.raises(OutputError, match="no ffmpeg"):
        open_writer(tmp_path / "new" / "a.mp4", 12, (8, 8))
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", lambda: str(tmp_path / "nowhere"))
    with pytest.raises(OutputError, match="does not start"):
        open_writer(tmp_path / "new" / "a.mp4", 12, (8, 8))
    assert names(tmp_path) == []


def test_a_wrong_count_is_no_success(tmp_path: Path) -> None:
    writer = open_writer(tmp_path / "a.gif", 12, (8, 8))
    for picture in pictures(3, (8, 8)):
        writer.add(picture)
    writer._pool.submit(setattr, writer._sink, "frames", 4).result()
    with pytest.raises(OutputError, match="4 frames were written, but the file holds 3"):
        writer.finish()
    assert names(tmp_path) == []


FULL = """
import resource, sys
from PIL import Image
import numpy
from sdcreative.errors import OutputError
from sdcreative.media.writers import open_writer
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
random = numpy.random.default_rng(0)
try:
    with open_writer(sys.argv[1], 12, (128, 128)) as writer:
        for _ in range(20):
            writer.add(Image.fromarray(random.integers(0, 256, (128, 128, 3), numpy.uint8)))
except OutputError as error:
    print(error)
"""


@pytest.mark.skipif(os.name != "posix", reason="resource limits")
@pytest.mark.parametrize("suffix", [*FILMS, ".png", ""])
def test_a_full_disk(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    command = [sys.executable, "-c", FULL, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if suffix == ".png":
        assert "holds one picture" in done.stdout
    else:
        assert done.stdout.startswith(f"{path}: disk full; about "), done
        assert "free;" in done.stdout
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", FILMS)
def test_truncated_films_are_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    with open_writer(path, 12, (64, 64)) as writer:
        for picture in pictures(6, (64, 64)):
            writer.add(picture)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    try:
        assert count_frames(path) < 6
    except DataError as error:
        assert str(path) in str(error)


def test_probing_what_is_no_film(tmp_path: Path) -> None:
    for name, word in (("a.mp4", "no film"), ("a.gif", "no picture"), ("a.txt", "unknown")):
        (tmp_path / name).write_text("hello")
        with pytest.raises(DataError, match=word):
            probe(tmp_path / name)
    with pytest.raises(DataError, match="no such file"):
        probe(tmp_path / "b.mp4")
    with pytest.raises(DataError, match="no frames"):
        probe(tmp_path)


def test_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert estimate_bytes(".mp4", (512, 512), 0) < 10_000
    assert estimate_bytes(".mp4", (512, 512), 100) < estimate_bytes(".apng", (512, 512), 100)
    assert estimate_bytes("", (8, 8), 5) == estimate_bytes(".png", (8, 8), 5)
    ensure_space(tmp_path / "not" / "there" / "a.mp4", 1000)
    with pytest.raises(OutputError, match=r"wanted, .* free"):
        ensure_space(tmp_path / "a.mp4", 10**18)
    monkeypatch.setattr(output, "free_bytes", lambda path: 10)
    with pytest.raises(OutputError, match="10 bytes free"):
        open_writer(tmp_path / "a.mp4", 12, (512, 512), length=100)
    assert names(tmp_path) == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".webp", ".apng"])
def test_noise_stays_under_the_estimate(tmp_path: Path, suffix: str) -> None:
    with open_writer(tmp_path / f"a{suffix}", 12, (64, 64)) as writer:
        for number in range(8):
            ramp = numpy.linspace(0, 255, 64)[:, None, None] + numpy.zeros((64, 64, 3))
            writer.add(Image.fromarray(numpy.roll(ramp, number, 0).astype(numpy.uint8)))
    assert (tmp_path / f"a{suffix}").stat().st_size < estimate_bytes(suffix, (64, 64), 8)


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_an_interrupt_while_finishing_keeps_the_film(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = sinks._FileSink.verify

    def interrupted(self: sinks._FileSink) -> int:
        _thread.interrupt_main()
        return whole(self)

    monkeypatch.setattr(sinks._FileSink, "verify", interrupted)
    path = tmp_path / f"film{suffix}"
    with pytest.raises(KeyboardInterrupt), open_writer(path, 12, (32, 32)) as writer:
        for _ in range(3):
            writer.add(Image.new("RGB", (32, 32)))
    assert writer.published
    assert count_frames(path) == 3
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("name", "side"), [("wide.gif", 65_536), ("wide.webp", 16_384)])
def test_a_stream_too_wide_is_refused_by_its_own_name(tmp_path: Path, name: str, side: int) -> None:
    with pytest.raises(OutputError, match=f"^{tmp_path / name}: {side}x8 pixels"):
        open_writer(tmp_path / name, 12, (side, 8), length=2)
    assert not list(tmp_path.iterdir())
