"""Pictures in: every awkward kind of file; pictures out: whole or not at all."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy
import pytest
from PIL import Image

from sdcreative.errors import DataError, OutputError
from sdcreative.media.image import read_picture, write_picture


def _leftovers(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def test_rotation_tag_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (40, 20), "blue")
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").size == (20, 40)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_becomes_white_and_in_masks_black(tmp_path: Path, mode: str) -> None:
    picture = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    picture.putpixel((0, 0), (255, 255, 255, 255))
    picture.convert(mode).save(tmp_path / "a.png")
    assert read_picture(tmp_path / "a.png").getpixel((3, 3)) == (255, 255, 255)
    mask = read_picture(tmp_path / "a.png", mode="L")
    assert mask.mode == "L"
    assert (mask.getpixel((0, 0)), mask.getpixel((3, 3))) == (255, 0)


def test_cmyk_keeps_its_colour(tmp_path: Path) -> None:
    Image.new("RGB", (16, 16), (0, 0, 255)).convert("CMYK").save(tmp_path / "a.jpg")
    red, green, blue = numpy.asarray(read_picture(tmp_path / "a.jpg"))[8, 8]
    assert blue > 240
    assert max(red, green) < 16


@pytest.mark.parametrize("dtype", [numpy.uint16, numpy.int32])
def test_sixteen_bits_are_scaled(tmp_path: Path, dtype: type) -> None:
    values = numpy.array([[0, 257 * 100, 65_535]], dtype)
    Image.fromarray(values).save(tmp_path / "a.tif")
    assert numpy.asarray(read_picture(tmp_path / "a.tif", mode="L")).tolist() == [[0, 100, 255]]


@pytest.mark.parametrize(("dtype", "word"), [(numpy.int32, "32 bits"), (numpy.float32, "floating")])
def test_deeper_pictures_are_refused(tmp_path: Path, dtype: type, word: str) -> None:
    Image.fromarray(numpy.array([[100_000]], dtype)).save(tmp_path / "a.tif")
    with pytest.raises(DataError, match=word):
        read_picture(tmp_path / "a.tif")


def test_palette_and_bilevel_are_read(tmp_path: Path) -> None:
    Image.new("RGB", (4, 4), "red").quantize().save(tmp_path / "a.gif")
    Image.new("1", (4, 4), 1).save(tmp_path / "b.png")
    assert read_picture(tmp_path / "a.gif").getpixel((0, 0)) == (255, 0, 0)
    assert read_picture(tmp_path / "b.png").getpixel((0, 0)) == (255, 255, 255)


def test_resizing_covers_and_crops_evenly(tmp_path: Path) -> None:
    picture = Image.new("RGB", (60, 20), "red")
    picture.paste("blue", (20, 0, 40, 20))
    picture.save(tmp_path / "a.png")
    small = read_picture(tmp_path / "a.png", (10, 10))
    assert small.size == (10, 10)
    assert small.getpixel((5, 5)) == (0, 0, 255)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_truncated_files_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    noise = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), numpy.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match="broken or truncated") as caught:
        read_picture(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1", "LFS"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "no picture"),
        (b"hello", "no picture"),
    ],
)
def test_other_files_are_named_for_what_they_are(tmp_path: Path, content: bytes, word: str) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=word):
        read_picture(tmp_path / "a.png")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_picture(tmp_path / "a.png")
    with pytest.raises(DataError, match="is a folder"):
        read_picture(tmp_path)


def test_bombs_are_refused(tmp_path: Path) -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0"))
    (tmp_path / "a.png").write_bytes(bomb + chunk(b"IEND", b""))
    with pytest.raises(DataError, match="178 million"):
        read_picture(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".jpeg", ".webp", ".PNG"])
def test_written_pictures_read_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "neu" / f"Bär 熊{suffix}"
    write_picture(Image.new("RGB", (33, 35), (200, 60, 20)), path)
    back = numpy.asarray(read_picture(path)).astype(int)
    assert back.shape == (35, 33, 3)
    assert abs(back - [200, 60, 20]).max() <= (0 if suffix.lower() == ".png" else 4)
    assert _leftovers(path.parent) == [path.name]


def test_png_keeps_transparency_and_metadata(tmp_path: Path) -> None:
    picture = Image.new("RGBA", (8, 8), (255, 0, 0, 128))
    write_picture(picture, tmp_path / "a.png", metadata={"parameters": "ein Bär 熊"})
    with Image.open(tmp_path / "a.png") as back:
        assert back.getpixel((0, 0)) == (255, 0, 0, 128)
        assert back.text["parameters"] == "ein Bär 熊"  # type: ignore[attr-defined]


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    write_picture(Image.new("RGB", (8, 8), "red"), path)
    with pytest.raises(OutputError, match=r"a\.png exists; pass --overwrite"):
        write_picture(Image.new("RGB", (8, 8), "blue"), path)
    assert read_picture(path).getpixel((0, 0)) == (255, 0, 0)
    write_picture(Image.new("RGB", (8, 8), "blue"), path, overwrite=True)
    assert read_picture(path).getpixel((0, 0)) == (0, 0, 255)
    assert _leftovers(tmp_path) == ["a.png"]


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"\.bmp"):
        write_picture(Image.new("RGB", (8, 8)), tmp_path / "a.bmp")
    with pytest.raises(OutputError, match="16383"):
        write_picture(Image.new("RGB", (20_000, 1)), tmp_path / "new" / "a.webp")
    with pytest.raises(OutputError, match="metadata key"):
        write_picture(Image.new("RGB", (8, 8)), tmp_path / "a.png", metadata={"熊": "x"})
    assert _leftovers(tmp_path) == []


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    real, link = tmp_path / "real.png", tmp_path / "link.png"
    write_picture(Image.new("RGB", (8, 8), "red"), real)
    link.symlink_to(real)
    write_picture(Image.new("RGB", (8, 8), "blue"), link, overwrite=True)
    assert link.is_symlink()
    assert read_picture(real).getpixel((0, 0)) == (0, 0, 255)
