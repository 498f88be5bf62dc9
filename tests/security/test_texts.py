"""Texts: presets, extra_model_paths.yaml, and what finished files say of themselves."""

from __future__ import annotations

import json
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sdcreative.errors import DataError
from sdcreative.models.shelves import shelved
from sdcreative.presets import load_preset
from sdcreative.provenance import read_provenance
from sdcreative.provenance.foreign import provenance_of
from sdcreative.provenance.parameters import MOST_CHARACTERS, parse_parameters

CODE = "sdcreative_canary"


def laughs(levels: int, *, merged: bool) -> str:
    """YAML of some hundred bytes that stands for ten to the power of its levels."""
    lines = ["a0: &a0 {base_path: ., loras: x}"]
    for level in range(1, levels):
        many = ", ".join([f"*a{level - 1}"] * 10)
        inner = f"{{<<: [{many}]}}" if merged else f"[{many}]"
        lines.append(f"a{level}: &a{level} {inner}")
    return "\n".join(lines)


YAML: dict[str, str] = {
    "aliases": laughs(9, merged=False),
    "merges": laughs(9, merged=True),
    "an alias in itself": "a: &a [*a]",
    "an object": f"a: !!python/object/apply:{CODE}.run [x]",
    "a name": f"a: !!python/name:{CODE}.run",
    "a module": f"a: !!python/module:{CODE}",
    "system": "a: !!python/object/apply:os.system ['touch canary']",
    "a deep list": "[" * 20_000,
    "deep blocks": "".join(f"{' ' * n}a:\n" for n in range(250)),
    "control characters": "a: \x1b[31mred",
    "half of a file": "a: 'b",
    "bytes": "a: !!binary aGVsbG8",
    "a date that is none": "a: 2020-13-45",
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_of_strangers_is_data(
    name: str, refused: Callable[..., str], harmless: Callable[..., object], tmp_path: Path
) -> None:
    for file, act in (
        ("preset.yaml", lambda path: load_preset(path, plugin="image")),
        ("extra_model_paths.yaml", lambda path: list(shelved([path], "lora"))),
    ):
        path = tmp_path / file
        path.write_text(f"{YAML[name]}\n", encoding="utf-8")
        silent = file.startswith("extra") and name == "bytes"
        is_date = name == "a date that is none" and file == "preset.yaml"
        if silent or is_date:
            harmless(lambda path=path, act=act: act(path))
        else:
            refused(lambda path=path, act=act: act(path), file)


def test_paths_beside_a_yaml_are_only_looked_at(
    harmless: Callable[..., object], refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "extra_model_paths.yaml"
    for place in ("~nobody-of-this-name/x", "x" * 5000, '"a\\0b"', "/dev/zero", "5", "[a, b]"):
        path.write_text(f"home:\n  base_path: {place}\n  loras: {place}\n")
        harmless(lambda: list(shelved([path])))
    path.write_bytes(b"a: " + b"x" * (1 << 17))
    refused(lambda: list(shelved([path])), "more than")
    path.unlink()
    os.mkfifo(path)
    harmless(lambda: list(shelved([tmp_path])))


def test_a_preset_extends_files_alone(refused: Callable[..., str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for base in ("pipe.yaml", "/dev/zero", "/dev/stdin", ".", "x" * 5000, "preset.yaml"):
        (tmp_path / "preset.yaml").write_text(f"plugin: image\nextends: {base}\n")
        refused(lambda: load_preset(tmp_path / "preset.yaml"), "extends")


def write(path: Path, **texts: str) -> Path:
    """A picture with text chunks."""
    info = PngInfo()
    for name, text in texts.items():
        info.add_itxt(name, text)
    Image.new("RGB", (8, 8)).save(path, pnginfo=info)
    return path


RECORD = {"sdcreative": 1, "plugin": "image", "settings": {"prompt": "a bear"}, "seed": 1}
RECORDS: dict[str, str] = {
    "deeply nested": '{"a":' * 100_000,
    "deep in its settings": json.dumps(RECORD | {"settings": json.loads("[" * 90 + "]" * 90)}),
    "no settings": json.dumps(RECORD | {"settings": CODE}),
    "a plugin that is a list": json.dumps(RECORD | {"plugin": [CODE]}),
    "a newer form": json.dumps(RECORD | {"sdcreative": 10**30}),
    "no number": json.dumps(RECORD | {"sdcreative": True}),
    "infinity": json.dumps(RECORD | {"settings": {"steps": float("inf")}}),
    "a number of a million digits": json.dumps(RECORD)[:-1] + ', "x": ' + "9" * 1_000_000 + "}",
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_of_strangers_is_checked(
    name: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = write(tmp_path / "made.png", sdcreative=RECORDS[name])
    refused(lambda: read_provenance(path), path)


def test_settings_of_strangers_name_no_code_and_no_place(tmp_path: Path) -> None:
    from sdcreative.host import Host
    from sdcreative.provenance import preset_text

    settings = {
        "prompt": "a bear\n# x\nplugin: train",
        "output": "/etc/passwd",
        "device": "cuda",
        "model": f"{CODE}: !!python/name:os.system",
    }
    record = json.dumps(RECORD | {"settings": settings, "version": "1\nplugin: train\x1b"})
    found = read_provenance(write(tmp_path / "made\nplugin: train.png", sdcreative=record))
    tool = Host.load(enabled=True).tools["image"]
    text = preset_text(found, "image", tool.settings, tmp_path / "made\nplugin: train.png")
    (tmp_path / "again.yaml").write_text(text)
    again = load_preset(tmp_path / "again.yaml")
    assert again.plugin == "image"
    assert again.settings["prompt"] == settings["prompt"]
    assert not {"output", "device"} & set(again.settings)
    assert "\x1b" not in text


UNITS = (
    'a:"\\q",', 'a:"x,', 'a:"\n",', ",", ",  \n\n", "x ", "a:", '"', 'a:"",', 'a:"\\', "ab c,", "(",
    "Steps: 1\n", "Negative prompt:\n", "<a:", "(a:1", "(a: 1 ", "9",
)  # fmt: skip


def test_parameters_take_time_by_their_length_alone() -> None:
    began = time.process_time()
    for unit in UNITS:
        long = unit * (MOST_CHARACTERS // 4 // len(unit))
        for text in (f"Steps: 1, {long}", f"{long}\nSteps: 1, x:y", f"({long}\nSteps: 1"):
            found = parse_parameters(text)
            assert found is not None
            provenance_of(found)
    assert time.process_time() - began < 60
    assert parse_parameters("a" * MOST_CHARACTERS + "\nSteps: 1") is None


def chunk(name: bytes, content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return struct.pack(">I", size) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(*chunks: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IEND", b"")


FILES: dict[str, bytes] = {
    "a text that unpacks": png(
        chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(1 << 26), 9))
    ),
    "texts that unpack": png(
        *[chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(1 << 22), 9))] * 8
    ),
    "a chunk past the end": png(chunk(b"tEXt", b"a\0b", 1 << 31)),
    "a film without an end": struct.pack(">I4sQ", 1, b"ftyp", 1 << 62),
    "boxes of nothing": (struct.pack(">I", 0) + b"moov") + bytes(1000),
    "matroska of any length": b"\x1a\x45\xdf\xa3" + b"\x01" + b"\xff" * 100,
    "riff past the end": b"RIFF\xff\xff\xff\x7fWAVELIST\xff\xff\xff\x7fINFO",
    "ogg": b"OggS" + bytes(23) + b"\xff" * 400,
    "flac": b"fLaC\x04\xff\xff\xff" + b"\xff" * 40,
    "id3": b"ID3\x04\x00\x00\x7f\x7f\x7f\x7f" + bytes(50),
    "nothing": b"",
}


@pytest.mark.parametrize("name", FILES)
def test_metadata_that_lies_is_refused(
    name: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "made.png"
    path.write_bytes(FILES[name])
    refused(lambda: read_provenance(path), path)


def test_no_metadata_is_waited_for(refused: Callable[..., str], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "made.png")
    refused(lambda: read_provenance(tmp_path / "made.png"), "is a pipe")
    refused(lambda: read_provenance("/dev/zero"), "is a pipe or a device")
    (tmp_path / "frames").mkdir()
    os.mkfifo(tmp_path / "frames" / "made_000000.png")
    refused(lambda: read_provenance(tmp_path / "frames"), "is a pipe")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(DataError):
        read_provenance(tmp_path / "loop.png")
