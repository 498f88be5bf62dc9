"""Tags into every format and back, against other programs' readers, and out of hostile files."""

from __future__ import annotations

import os
import struct
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import soundfile
from PIL import Image, PngImagePlugin

from sdcreative.errors import DataError, OutputError
from sdcreative.media.image import write_picture
from sdcreative.media.metadata import read_tags, tag_sound
from sdcreative.media.ogg_tags import Page
from sdcreative.media.tags import MOST_BYTES
from sdcreative.media.video import ffmpeg
from sdcreative.media.writers import open_writer, probe

PICTURES = [".png", ".jpg", ".webp"]
STREAMS = [".gif", ".webp", ".apng"]
FILMS = [".mp4", ".mov", ".mkv"]
SOUNDS = [".wav", ".flac", ".ogg", ".mp3"]
ENCODED = {".ogg": 0.1, ".mp3": 0.1}
KINDS = [*(f"still{s}" for s in PICTURES), *(f"film{s}" for s in (*STREAMS, *FILMS)), *SOUNDS]
TAGS = {
    "sdcreative": '{"prompt": "ein Bär, 熊, 🐻; a = b # <b>&amp;</b> \\\\ \\""}',
    "parameters": "a bear\nNegative prompt: x\r\nSteps: 20, Size: 64x64 ",
}


def make(folder: Path, kind: str, tags: dict[str, str]) -> Path:
    """A small file of a kind such as "still.png", "film.webp" or ".wav"."""
    suffix = "." + kind.rpartition(".")[2]
    path = folder / f"Bär 熊{suffix}"
    if suffix in SOUNDS:
        sound = numpy.sin(numpy.arange(801) / 9)
        soundfile.write(str(path), sound, 8000)
        plain = soundfile.read(path)[0]
        assert numpy.abs(plain - sound).max() < ENCODED.get(suffix, 1e-4)
        tag_sound(path, tags)
        assert soundfile.info(path).frames == 801
        assert numpy.array_equal(soundfile.read(path)[0], plain)
        return path
    frames = 1 if kind.startswith("still") else 3
    with open_writer(path, 12, (16, 16), length=frames, metadata=tags) as writer:
        for shade in range(frames):
            writer.add(Image.new("RGB", (16, 16), (60 * shade, 90, 30)))
    assert probe(path).frames == frames
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_tags_come_back(tmp_path: Path, kind: str) -> None:
    assert read_tags(make(tmp_path, kind, TAGS)) == TAGS


@pytest.mark.parametrize("kind", KINDS)
def test_long_tags_come_back(tmp_path: Path, kind: str) -> None:
    long = {"sdcreative": "Bär 熊 🐻\n" * 20_000, "parameters": "=;#\\" * 50_000}
    assert read_tags(make(tmp_path, kind, long)) == long


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_without_tags_has_none(tmp_path: Path, kind: str) -> None:
    tags = read_tags(make(tmp_path, kind, {}))
    assert {name for name in tags if name not in ("encoder", "duration")} == set()


@pytest.mark.parametrize("kind", [k for k in KINDS if not k.endswith(".mkv")])
def test_the_same_tags_give_the_same_bytes(tmp_path: Path, kind: str) -> None:
    first = make(tmp_path, kind, TAGS).read_bytes()
    (tmp_path / "b").mkdir()
    assert make(tmp_path / "b", kind, TAGS).read_bytes() == first


def test_frames_of_a_folder_have_the_tags(tmp_path: Path) -> None:
    with open_writer(f"{tmp_path}/film/", 12, (8, 8), metadata=TAGS) as writer:
        for _ in range(2):
            writer.add(Image.new("RGB", (8, 8)))
    assert read_tags(tmp_path / "film") == read_tags(tmp_path / "film" / "film_000001.png") == TAGS


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_other_programs_find_the_parameters_in_exif(tmp_path: Path, suffix: str) -> None:
    with Image.open(make(tmp_path, f"still{suffix}", TAGS)) as picture:
        comment = picture.getexif().get_ifd(0x8769)[0x9286]
    assert comment == b"UNICODE\0" + TAGS["parameters"].encode("utf-16-be")


@pytest.mark.parametrize("order", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_parameters_that_pillow_wrote_into_exif_are_read(
    tmp_path: Path, suffix: str, order: str
) -> None:
    exif = Image.Exif()
    exif[0x010E] = "a description that stands before"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + "a bear, Steps: 20".encode(order)
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", exif=exif)
    assert read_tags(tmp_path / f"a{suffix}") == {"parameters": "a bear, Steps: 20"}


def test_a_png_of_another_program_is_read(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Title", "caf\xe9")
    info.add_text("packed", "x" * 9999, zip=True)
    info.add_itxt("both", "熊" * 999, "zh", "t", zip=True)
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    tags = {"Title": "caf\xe9", "packed": "x" * 9999, "both": "熊" * 999}
    assert read_tags(tmp_path / "a.png") == tags


@pytest.mark.parametrize("suffix", [".gif", ".jpg"])
def test_a_comment_of_another_program_is_read(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / f"a{suffix}", comment="a bear, [1]")
    assert read_tags(tmp_path / f"a{suffix}") == {"comment": "a bear, [1]"}


@pytest.mark.parametrize("suffix", FILMS)
def test_ffmpeg_finds_the_tags(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path, f"film{suffix}", {"sdcreative": "a = b; 熊"})
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-"]
    said = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert "sdcreative=a \\= b\\; 熊" in said.replace("SDCREATIVE", "sdcreative")


@pytest.mark.parametrize("suffix", [".mp4", ".m4a", ".mkv", ".webm"])
def test_tags_that_ffmpeg_wrote_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    command = [ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "sine=d=0.2", "-metadata"]
    subprocess.run([*command, "comment=Bär 熊", str(path)], check=True)
    assert read_tags(path)["comment"] == "Bär 熊"


@pytest.mark.parametrize("suffix", SOUNDS)
def test_libsndfile_reads_a_tagged_sound(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path, suffix, {"title": "a song", "comment": "a bear"})
    with soundfile.SoundFile(path) as sound:
        found = sound.copy_metadata()
    assert found["title"] == "a song"
    assert found["comment"] == ("a bear" if suffix != ".wav" else '{"comment": "a bear"}')


def said_by_ffmpeg(path: Path) -> str:
    """All tags: Ogg has them with its stream, others with the file."""
    command = [ffmpeg(), "-v", "error", "-i", str(path), "-f", "ffmetadata", "-bitexact"]
    source = "0:s:0" if path.suffix == ".ogg" else "0"
    return subprocess.run(
        [*command, "-map_metadata", source, "-"], capture_output=True, check=True
    ).stdout.decode()


@pytest.mark.parametrize("suffix", SOUNDS)
def test_ffmpeg_shows_title_and_record_of_a_sound(tmp_path: Path, suffix: str) -> None:
    record = "x" * 30_000
    tags = {"title": "Bär 熊", "encoder": "sdcreative", "sdcreative": record}
    path = make(tmp_path, suffix, tags)
    lines = said_by_ffmpeg(path).splitlines()
    assert "title=Bär 熊" in lines
    assert any(record in line for line in lines)
    assert read_tags(path) == tags


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".opus", ".mp3"])
@pytest.mark.parametrize("version", ["3", "4"])
def test_tags_of_a_sound_that_ffmpeg_wrote_are_read(
    tmp_path: Path, suffix: str, version: str
) -> None:
    path = tmp_path / f"a{suffix}"
    command = [ffmpeg(), "-v", "error", "-f", "lavfi", "-i", "sine=d=0.2"]
    command += ["-metadata", "title=Bär 熊", "-metadata", "comment=one, 熊"]
    command += ["-id3v2_version", version] if suffix == ".mp3" else []
    subprocess.run([*command, str(path)], check=True)
    tags = read_tags(path)
    comment = "comment" if suffix in (".wav", ".mp3") else "description"  # that is its name there
    assert (tags["title"], tags[comment]) == ("Bär 熊", "one, 熊")
    assert tags["encoder"].startswith(("Lav", "L"))


@pytest.mark.parametrize("suffix", [".flac", ".ogg", ".mp3"])
def test_tags_of_a_sound_replace_the_old_ones(tmp_path: Path, suffix: str) -> None:
    path = make(tmp_path, suffix, {"comment": "old" * 90_000, "title": "a bear"})
    sound = soundfile.read(path)[0]
    tag_sound(path, {"comment": "new"})
    assert read_tags(path) == {"comment": "new"}
    assert numpy.array_equal(soundfile.read(path)[0], sound)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.stat().st_size < 90_000


def test_a_long_ogg_keeps_every_page(tmp_path: Path) -> None:
    path = tmp_path / "a.ogg"
    noise = numpy.random.default_rng(0).uniform(-0.5, 0.5, 1_000_000)
    with soundfile.SoundFile(path, "w", 44_100, 1, "VORBIS", format="OGG") as file:
        for start in range(0, len(noise), 50_000):
            file.write(noise[start : start + 50_000])
    sound = soundfile.read(path)[0]
    tag_sound(path, TAGS)
    assert numpy.array_equal(soundfile.read(path)[0], sound)
    with soundfile.SoundFile(path) as file:  # found by bisection, from page to page
        file.seek(345_678)
        assert numpy.allclose(file.read(100), sound[345_678:345_778], atol=1e-6)


@pytest.mark.parametrize("whole", [255, 510, 255 * 255, 255 * 510])
def test_comments_that_just_fill_segments_and_pages_come_back(tmp_path: Path, whole: int) -> None:
    data = make(tmp_path, ".ogg", {"x": ""}).read_bytes()
    at = data.index(b"\x03vorbis") + 7
    vendor = int.from_bytes(data[at : at + 4], "little")
    bare = 7 + 4 + vendor + 4 + 4 + len("x=") + 1
    for length in (whole - 1, whole, whole + 1):
        text = "y" * (length - bare)
        assert read_tags(make(tmp_path, ".ogg", {"x": text})) == {"x": text}


def test_two_oggs_are_two_streams_and_the_same_one_is_the_same(tmp_path: Path) -> None:
    serials = [make(tmp_path, ".ogg", {"a": text}).read_bytes()[14:18] for text in "xyx"]
    assert serials[0] == serials[2] != serials[1]


def test_the_ending_does_not_decide(tmp_path: Path) -> None:
    path = make(tmp_path, "film.gif", TAGS)
    assert read_tags(path.rename(tmp_path / "a.mp4")) == TAGS


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_anywhere_is_one_clear_error_or_less_tags(tmp_path: Path, kind: str) -> None:
    data = make(tmp_path, kind, TAGS).read_bytes()
    path = tmp_path / "cut"
    errors = 0
    for length in [*range(0, min(len(data), 400), 7), *range(400, len(data), 97)]:
        path.write_bytes(data[:length])
        try:
            tags = read_tags(path)
        except DataError as error:
            assert str(error).startswith(f"{path}: ")
            assert "\n" not in str(error)
            errors += 1
        else:
            assert tags in ({}, TAGS) or set(tags) <= {"encoder", *TAGS}
    assert errors > 20


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bytes_are_never_anything_but_a_data_error(tmp_path: Path, kind: str) -> None:
    data = make(tmp_path, kind, TAGS).read_bytes()
    random = numpy.random.default_rng(0)
    path = tmp_path / "broken"
    for _ in range(300):
        broken = bytearray(data)
        for place in random.integers(0, min(len(data), 2000), 4):
            broken[place] = random.integers(256)
        path.write_bytes(broken)
        try:
            tags = read_tags(path)
        except DataError:
            continue
        assert all(isinstance(word, str) for pair in tags.items() for word in pair)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def riff(kind: bytes, *chunks: tuple[bytes, int, bytes]) -> bytes:
    body = b"".join(name + struct.pack("<I", length) + data for name, length, data in chunks)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + kind + body


def ogg(packet: bytes) -> bytes:
    """One page with one short packet, or none."""
    return Page(0, 0, 7, 0, bytes([len(packet)] * bool(packet)), packet).encoded()


OGG = ogg(b"\x01vorbis")
BOMB = zlib.compress(b"x" * (MOST_BYTES + 9))
DEEP = b"[" * 100_000
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "web page": (b"<!doctype html>", "no picture, film or sound that is known"),
    "short": (b"GIF", "no picture, film or sound that is known"),
    "RIFF of something else": (riff(b"AVI "), "no picture, film or sound that is known"),
    "bomb": (png((b"zTXt", b"a\0\0" + BOMB)), "over 16,000,000 bytes"),
    "unpackable": (png((b"zTXt", b"a\0\0xxxx")), "does not unpack"),
    "checksum": (png((b"tEXt", b"a\0b"))[:-1] + b"\0", "checksum"),
    "endless small chunks": (png((b"aaaa", b"")) + bytes(12) * 2_100_000, "over 16,000,000 bytes"),
    "chunk beyond the end": (png() + b"\x7f\xff\xff\xfftEXtab", "are missing at the end"),
    "JPEG without a marker": (b"\xff\xd8\xff\xfe\0\4ab\0\0", "does not begin where"),
    "JPEG segment of length 0": (b"\xff\xd8\xff\xfe\0\0ab", "less than no bytes"),
    "GIF block": (b"GIF89a" + bytes(7) + b"\x99", "unknown kind"),
    "box smaller than its header": (b"\0\0\0\4ftyp", "box b'ftyp' of 4 bytes"),
    "box beyond the end": (b"\0\0\0\1ftyp\x7f" + b"\xff" * 7, "box b'ftyp'"),
    "element beyond the end": (b"\x1a\x45\xdf\xa3\x10\xff\xff\xff", "element 1A45DFA3"),
    "number of no length": (b"\x1a\x45\xdf\xa3\x00\x00", "begins no number"),
    "comment longer than its block": (
        b"fLaC" + b"\x84\0\0\x0c" + bytes(4) + b"\1\0\0\0" + b"\xff\xff\xff\x7f",
        "longer than its block",
    ),
    "more comments than bytes": (
        b"fLaC" + b"\x84\0\0\x08" + bytes(4) + b"\xff\xff\xff\xff",
        "fewer comments than announced",
    ),
    "Ogg without pages": (b"OggS" + bytes(40), "checksum"),
    "Ogg page of something else": (OGG[:-1] + b"OggX" + bytes(40), "checksum"),
    "Ogg that ends after its first page": (OGG, "are missing at the end"),
    "Ogg whose comments are none": (OGG + ogg(b"\x05vorbis"), "second packet holds no comments"),
    "Ogg with a long comment": (
        OGG + ogg(b"\x03vorbis" + bytes(4) + b"\1\0\0\0" + b"\xff\xff\xff\x7f"),
        "longer than its block",
    ),
    "endless Ogg pages": (OGG + ogg(b"") * 100_000, "over 16,000,000 bytes"),
    "ID3 beyond the end": (b"ID3\4\0\0\x7f\x7f\x7f\x7f", "are missing at the end"),
    "ID3 frame beyond its tag": (
        b"ID3\4\0\0\0\0\0\x0bTIT2\0\0\0\x7f\0\0\3",
        "longer than its tag",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_one_clear_error(tmp_path: Path, name: str) -> None:
    data, message = HOSTILE[name]
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        read_tags(tmp_path / "a.png")
    assert str(caught.value).startswith(str(tmp_path / "a.png"))


def test_deep_json_in_a_comment_is_a_comment(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "a.gif", comment=DEEP)
    assert read_tags(tmp_path / "a.gif") == {"comment": DEEP.decode()}


def test_missing_files_empty_folders_and_forbidden_files_are_clear(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"lost\.png: no such file"):
        read_tags(tmp_path / "lost.png")
    with pytest.raises(DataError, match="folder without frames"):
        read_tags(tmp_path)
    (tmp_path / "secret.png").write_bytes(b"")
    (tmp_path / "secret.png").chmod(0)
    if not os.access(tmp_path / "secret.png", os.R_OK):
        with pytest.raises(DataError, match="cannot be read"):
            read_tags(tmp_path / "secret.png")


def still(path: Path, tags: dict[str, str]) -> None:
    write_picture(Image.new("RGB", (8, 8)), path, metadata=tags)


def film(path: Path, tags: dict[str, str]) -> None:
    open_writer(path, 12, (8, 8), metadata=tags)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"熊": "x"}, "metadata key '熊'"),
        ({"": "x"}, "metadata key ''"),
        ({"a\n": "x"}, "metadata key"),
        ({"a" * 80: "x"}, "1 to 79 Latin-1 characters"),
        ({"a": "b\0"}, "NUL"),
        ({"a": "bear \ud83d"}, "character 6 is half of a pair"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".mp4", ""])
def test_tags_that_cannot_be_kept_are_refused_before_anything_is_made(
    tmp_path: Path, tags: dict[str, str], message: str, suffix: str
) -> None:
    ways: list[Callable[[Path, dict[str, str]], None]] = [film]
    if suffix in PICTURES:
        ways.append(still)
    for way in ways:
        with pytest.raises(OutputError, match=message):
            way(tmp_path / f"a{suffix}", tags)
    assert list(tmp_path.iterdir()) == []


def test_sounds_of_other_kinds_take_no_tags(tmp_path: Path) -> None:
    (tmp_path / "a.aiff").write_bytes(b"FORM and more of it")
    with pytest.raises(OutputError, match="no WAV, FLAC, OGG or MP3"):
        tag_sound(tmp_path / "a.aiff", TAGS)
    for suffix in (".flac", ".ogg"):
        with pytest.raises(OutputError, match="ASCII without '='"):
            make(tmp_path, suffix, {"a=b": "c"})


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_a_broken_sound_stays_as_it_is_when_it_cannot_be_tagged(
    tmp_path: Path, suffix: str
) -> None:
    path = make(tmp_path, suffix, {})
    data = path.read_bytes()[: -10 if suffix == ".ogg" else 20]
    path.write_bytes(data)
    with pytest.raises(OutputError, match="are missing at the end"):
        tag_sound(path, TAGS)
    assert path.read_bytes() == data
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_id3_of_other_programs_has_beside_texts_is_passed_over(tmp_path: Path) -> None:
    def frame(kind: bytes, flags: int, data: bytes) -> bytes:
        return kind + struct.pack(">IH", len(data), flags) + data

    frames = bytes.fromhex("00000006000000000000")  # an extended header
    frames += frame(b"APIC", 0, b"\0image/png\0\3\0" + bytes(99))
    frames += frame(b"TIT2", 0x80, b"\0compressed")
    frames += frame(b"COMM", 0, b"\0engiTunNORM\0 00000B2C")
    frames += frame(b"TXXX", 0, b"\0sdcreative\0r\xff\0ecord") + frame(b"TSSE", 0, b"\x09no")
    whole = frames.replace(b"\xff", b"\xff\0") + bytes(50)
    size = bytes([0, 0, len(whole) >> 7, len(whole) & 0x7F])
    (tmp_path / "a.mp3").write_bytes(b"ID3\3\0\xc0" + size + whole)
    assert read_tags(tmp_path / "a.mp3") == {"sdcreative": "r\xff"}


def test_a_folder_of_other_pictures_says_nothing(tmp_path: Path) -> None:
    write_picture(Image.new("RGB", (8, 8)), tmp_path / "photo.png", metadata={"sdcreative": "x"})
    with pytest.raises(DataError, match="is a folder without frames"):
        read_tags(tmp_path)
    write_picture(Image.new("RGB", (8, 8)), tmp_path / "a_000000.png", metadata={"sdcreative": "y"})
    assert read_tags(tmp_path) == {"sdcreative": "y"}
