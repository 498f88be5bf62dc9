"""Pickles: nothing in them is run, imported or unpacked, wherever they stand."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

U = "model.diffusion_model."
READERS = ("checkpoint", "part", "vae", "text_encoder", "lora", "embedding", "any")
CALLS = {
    "os.system": ("os", "system", "touch {}"),
    "posix.system": ("posix", "system", "touch {}"),
    "eval": ("builtins", "eval", "open({!r}, 'w')"),
    "exec": ("builtins", "exec", "open({!r}, 'w')"),
    "getattr": ("builtins", "getattr", "{}"),
    "__import__": ("builtins", "__import__", "sdcreative_canary"),
    "Popen": ("subprocess", "Popen", "touch {}"),
    "a module of its own": ("sdcreative_canary", "run", "{}"),
    "torch.load": ("torch", "load", "{}"),
    "torch.hub": ("torch.hub", "load", "{}"),
    "dynamic library": ("ctypes", "CDLL", "{}"),
    "pickle in a pickle": ("_pickle", "loads", "{}"),
    "sdcreative": ("sdcreative.models.single_files.pickles", "read_pickle", "{}"),
}


def call(module: str, name: str, argument: str) -> bytes:
    """A pickle that calls a function with a text."""
    text = argument.encode()
    return (
        b"\x80\x02c" + f"{module}\n{name}\n".encode()
        + b"X" + struct.pack("<I", len(text)) + text + b"\x85R."
    )  # fmt: skip


def zipped(table: bytes, **more: bytes) -> bytes:
    """As torch.save lays it out."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        files = {"data.pkl": table, "version": b"3\n", "byteorder": b"little", **more}
        for name, content in files.items():
            archive.writestr(f"archive/{name}", content)
    return out.getvalue()


def legacy(table: bytes) -> bytes:
    """As torch.save did before version 1.6."""
    magic, system = 0x1950A86A20F9469CFC6C, {"protocol_version": 1001, "little_endian": True}
    head, keys = (magic, 1001, system), pickle.dumps([], protocol=2)
    return b"".join(pickle.dumps(one, protocol=2) for one in head) + table + keys


def tarred(table: bytes) -> bytes:
    """As torch.save did before version 0.1.10; torch unpacked such archives to the disk."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("storages", "tensors", "pickle", "../../../../tmp/sdcreative_canary"):
            entry = tarfile.TarInfo(name)
            entry.size = len(table)
            archive.addfile(entry, io.BytesIO(table))
    return out.getvalue()


FORMS: dict[str, Callable[[bytes], bytes]] = {
    "plain": bytes, "zip": zipped, "legacy": legacy, "tar": tarred
}  # fmt: skip


def test_the_attacks_are_real(tmp_path: Path, canary: Path) -> None:
    found = tmp_path / "found"
    pickle.loads(call("builtins", "eval", f"open({str(found)!r}, 'w').close()"))  # noqa: S301
    assert found.exists()
    table = call("builtins", "eval", f"open({str(found)!r}, 'w').close()")
    for form in ("zip", "legacy"):
        found.unlink()
        (tmp_path / "model.pt").write_bytes(FORMS[form](table))
        torch.load(tmp_path / "model.pt", weights_only=False)
        assert found.exists()


@pytest.mark.parametrize("reader", READERS)
def test_no_call_in_a_pickle_is_made(
    reader: str, readers: Any, refused: Callable[..., str], canary: Path, tmp_path: Path
) -> None:
    for number, (module, name, argument) in enumerate(CALLS.values()):
        table = call(module, name, argument.format(str(canary)))
        for form, made in FORMS.items():
            ending = (".ckpt", ".safetensors", ".pt", ".bin")[number % 4]
            path = tmp_path / f"hostile{ending}"
            path.write_bytes(made(table))
            message = refused(lambda path=path: readers[reader](path))
            if form in ("zip", "legacy"):
                assert f"{module}.{name}".removeprefix("builtins.") in message, message
            again = ("download it again", "get it as safetensors", "get the model as safetensors")
            assert any(advice in message for advice in again), message


def test_what_a_pickle_is_called_says_nothing_to_the_terminal(
    readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "hostile.ckpt"
    for name in ("\x9b31mred", "a\u202egnp", "x" * 5000, "\x1b]0;title\x07"):
        path.write_bytes(zipped(call("evil" + name, "run", "x")))
        for reader in ("checkpoint", "lora"):
            refused(lambda reader=reader: readers[reader](path), path)


def bomb(path: Path, kind: str) -> None:
    """An archive of some kilobytes that says to hold far more."""
    table = pickle.dumps({"string_to_param": {}}, protocol=2)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", table)
        archive.writestr("archive/version", "3\n")
        if kind == "a table that unpacks":
            archive.writestr("archive/data/0", bytes(1 << 24), zipfile.ZIP_DEFLATED)
        elif kind == "ten terabytes":
            archive.writestr("archive/data/0", bytes(100))
            archive.filelist[-1].file_size = archive.filelist[-1].compress_size = 10 << 40
        elif kind == "bytes that are many files":
            archive.writestr("archive/data/0", bytes(1 << 16))
            archive.filelist += archive.filelist[-1:] * 1000
        elif kind == "a table of tables":
            archive.writestr("archive/sub/data.pkl", bytes(1 << 23), zipfile.ZIP_BZIP2)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "kind",
    ["a table that unpacks", "ten terabytes", "bytes that are many files", "a table of tables"],
)
def test_no_archive_unpacks_to_more_than_it_is(
    kind: str, reader: str, readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "bomb.ckpt"
    bomb(path, kind)
    assert path.stat().st_size < 200_000
    message = refused(lambda: readers[reader](path), "download it again")
    assert "more than it" in message or "is no whole archive" in message


def test_archives_that_torch_writes_are_sound(tmp_path: Path) -> None:
    from sdcreative.models.single_files.archives import archive_fault

    path = tmp_path / "model.pt"
    torch.save({f"{n}": torch.randn(n + 1) for n in range(300)}, path)
    assert archive_fault(path) is None
    path.write_bytes(path.read_bytes()[:-30])
    assert archive_fault(path) == "is no whole archive"


@pytest.mark.parametrize("zip_format", [True, False])
def test_a_few_bytes_are_no_huge_tensor(
    zip_format: bool, readers: Any, refused: Callable[..., str], tmp_path: Path
) -> None:
    many = 100_000
    wide = torch.zeros(1).expand(many, many)
    four = torch.zeros(1).expand(many, many, 3, 3)
    tables: dict[str, dict[str, Any]] = {
        "checkpoint": {f"{U}input_blocks.0.0.weight": four, "cond_stage_model.x": wide},
        "vae": {"encoder.conv_in.weight": four, "decoder.conv_in.weight": four},
        "text_encoder": {"text_model.embeddings.token_embedding.weight": wide},
        "part": {"conv_in.weight": four},
        "lora": {"lora_unet_conv_in.lora_up.weight": four},
        "embedding": {"string_to_param": {"*": wide}},
    }
    for reader, table in tables.items():
        path = tmp_path / f"{reader}.pt"
        torch.save(table, path, _use_new_zipfile_serialization=zip_format)
        assert path.stat().st_size < 10_000
        assert "not trusted" in refused(lambda p=path, r=reader: readers[r](p))


def test_pickles_without_an_end(readers: Any, refused: Callable[..., str], tmp_path: Path) -> None:
    deep = b"\x80\x02" + b"(" * 20_000 + b"l" * 20_000 + b"."
    loop = b"\x80\x02]q\x00" + b"h\x00a" * 20_000 + b"."
    path = tmp_path / "odd.pt"
    for table in (deep, loop, b"\x80\x02\x8b\xff\xff\xff\x7f.", b"\x80\x04\x8e" + b"\xff" * 8):
        for form in ("zip", "legacy", "plain"):
            path.write_bytes(FORMS[form](table))
            for reader in ("checkpoint", "embedding"):
                refused(lambda reader=reader: readers[reader](path), path)
