"""Files of weights that lie: headers, lengths, names, and what is no file at all."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from sdcreative.errors import ModelError

READERS = ("checkpoint", "part", "vae", "text_encoder", "lora", "embedding", "any")
GOOD = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def safetensors(header: object, data: int = 16, length: int | None = None) -> bytes:
    """A file with this header, in bytes or as JSON, and so many bytes of numbers."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + bytes(data)


def entry(**change: object) -> Mapping[str, object]:
    return {"a": GOOD | change}


HEADERS: dict[str, bytes] = {
    "overlapping": safetensors({"a": GOOD, "b": GOOD}),
    "a hole": safetensors({"a": GOOD, "b": GOOD | {"data_offsets": [32, 48]}}, 48),
    "behind the end": safetensors(entry(data_offsets=[1 << 40, (1 << 40) + 16])),
    "end before start": safetensors(entry(data_offsets=[16, 0])),
    "negative": safetensors(entry(data_offsets=[-16, 0])),
    "offsets past 64 bits": safetensors(entry(data_offsets=[0, 1 << 70])),
    "offsets of half a byte": safetensors(entry(data_offsets=[0.5, 16.5])),
    "one offset": safetensors(entry(data_offsets=[0])),
    "product that overflows": safetensors(entry(shape=[1 << 32, 1 << 32, 1 << 32])),
    "product that overflows to the size": safetensors(entry(shape=[1 << 62, 4, 4])),
    "negative sides": safetensors(entry(shape=[-2, -2])),
    "sides that are no numbers": safetensors(entry(shape=["2", 2])),
    "true for one": safetensors(entry(shape=[True, 4])),
    "thousands of axes": safetensors(entry(shape=[1] * 5000)),
    "another type": safetensors(entry(dtype="F64")),
    "a type that is not known": safetensors(entry(dtype="os.system")),
    "a type that is a list": safetensors(entry(dtype=["F32"])),
    "more said of a tensor": safetensors(entry(code="import os")),
    "less said of a tensor": safetensors({"a": {"dtype": "F32"}}),
    "no table": safetensors([GOOD]),
    "a name twice": safetensors(b'{"a":%s,"a":%s}' % ((json.dumps(GOOD).encode(),) * 2)),
    "deeply nested": safetensors(b'{"a":' * 100_000),
    "deeply nested notes": safetensors(b'{"__metadata__":' + b"[" * 100_000),
    "notes that are no texts": safetensors(entry() | {"__metadata__": {"a": {"b": 1}}}),
    "no UTF-8": safetensors(b'{"\xff\xfe": 1}'),
    "a number of a million digits": safetensors(b'{"a":' + b"9" * 1_000_000 + b"}"),
    "longer than the file": safetensors(entry(), length=1 << 20),
    "ten terabytes of header": safetensors(entry(), length=10 << 40),
    "the longest length": safetensors(entry(), length=(1 << 64) - 1),
    "no length": b"\x00" * 7,
    "length alone": struct.pack("<Q", 1 << 20),
    "more than is said": safetensors(entry(), 1000),
    "less than is said": safetensors(entry(), 3),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_header_that_lies_is_refused(
    reader: str, readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    for name, content in HEADERS.items():
        path = tmp_path / "hostile.safetensors"
        path.write_bytes(content)
        message = refused(lambda path=path: readers[reader](path))
        assert "are not a table" not in message, name


NAMES = ("../../etc/passwd", "/etc/passwd", "a\nb", "\x1b[2J", "\u202e", "", "x" * 100_000, "\0")


@pytest.mark.parametrize("reader", READERS)
def test_names_of_tensors_are_only_names(
    reader: str, readers: Any, harmless: Callable[..., Any], tmp_path: Path
) -> None:
    before = sorted(tmp_path.iterdir())
    path = tmp_path / "named.safetensors"
    for name in NAMES:
        for more in ("", ".lora_up.weight", ".alpha"):
            path.write_bytes(safetensors({name + more: GOOD}))
            harmless(lambda: readers[reader](path))
            path.unlink()
    assert [one for one in sorted(tmp_path.iterdir()) if one.name != "unet"] == before


def make(kind: str, path: Path) -> None:
    """Something at a path that is no file."""
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "loop of links":
        path.symlink_to(path.name)
    elif kind == "link to nothing":
        path.symlink_to("nothing")
    else:
        path.symlink_to({"zeros": "/dev/zero", "terminal": "/dev/tty"}[kind])


KINDS = ("pipe", "folder", "loop of links", "link to nothing", "zeros", "terminal")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_waited_for(
    kind: str, readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    make(kind, path)
    for reader in ("vae", "text_encoder", "lora", "embedding", "any"):
        if kind == "folder" and reader in ("vae", "text_encoder"):
            continue  # a part may be a folder
        refused(lambda reader=reader: readers[reader](path), path)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_no_model(
    kind: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    from sdcreative.models.catalogue.entries import list_entries
    from sdcreative.models.shelves import look_up
    from sdcreative.models.sources import resolve

    for name in ("loras", "vae", "embeddings", "checkpoints"):
        (tmp_path / "home" / name).mkdir(parents=True)
        make(kind, tmp_path / "home" / name / "odd.safetensors")
    path = tmp_path / "home" / "checkpoints" / "odd.safetensors"
    if kind != "folder":
        refused(lambda: resolve(str(path)), path.name)
        listed = [one.path for one in list_entries([tmp_path / "home"]) if one.name == "odd"]
        assert listed == []
        assert look_up("lora", "odd", [tmp_path / "home"]) is None


def test_links_that_go_in_circles_are_walked_once(tmp_path: Path) -> None:
    from sdcreative.models.shelves import shelved

    shelf = tmp_path / "loras"
    (shelf / "deep").mkdir(parents=True)
    (shelf / "deep" / "up").symlink_to(shelf)
    (shelf / "deep" / "self").symlink_to("self")
    (shelf / "deep" / "one.safetensors").write_bytes(safetensors(entry()))
    found = [one.name for one in shelved([tmp_path], "lora")]
    assert found == ["deep/one.safetensors"]


def test_a_name_that_no_file_can_have_is_that_of_none(refused: Callable[..., str]) -> None:
    from sdcreative.models.places import locate_part
    from sdcreative.models.shelves import find_in_shelves
    from sdcreative.models.sources import resolve

    for name in ("x" * 5000, "~nobody-of-this-name/x", "a/" * 3000):
        refused(lambda name=name: resolve(name, offline=True))
        refused(lambda name=name: find_in_shelves("lora", name, ["/nowhere"]))
        refused(lambda name=name: locate_part("vae", name, [], offline=True))


def test_a_file_that_becomes_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdcreative.models import strangers

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"")
    state = path.stat()
    path.unlink()
    os.mkfifo(path)
    # What is looked at first is still the file.
    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", lambda self, **_: state)
        with pytest.raises(OSError, match="is a pipe or a device, not a file"):
            strangers.open_file(path)


def test_read_outlines_are_not_mixed_up(tmp_path: Path) -> None:
    from sdcreative.models.single_files.reading import read_outline

    path = tmp_path / "model.safetensors"
    path.write_bytes(safetensors(entry()))
    assert read_outline(path).shapes == {"a": (2, 2)}
    path.write_bytes(HEADERS["overlapping"])
    with pytest.raises(ModelError, match="not where it should be"):
        read_outline(path)
