"""Whatever a file may hold, one line says what is wrong with it, and nothing in it is run."""

from __future__ import annotations

import io
import json
import pickle
import random
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from sdcreative.errors import ModelError
from sdcreative.models.loading import load_parts
from sdcreative.models.single_files.reading import open_tensors
from sdcreative.models.sizes import native_size

CPU = torch.device("cpu")
U = "model.diffusion_model."
Tensors = dict[str, torch.Tensor]


class Attack:
    """Writes a file when it is unpickled by an ordinary pickle."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


def rewrite(path: Path, tensors: Tensors) -> None:
    save_file({name: one.clone() for name, one in tensors.items()}, path)


def without(tensors: Tensors, *starts: str) -> Tensors:
    return {name: one for name, one in tensors.items() if not name.startswith(starts)}


def with_channels(tensors: Tensors, count: int) -> Tensors:
    return tensors | {f"{U}input_blocks.0.0.weight": torch.zeros(32, count, 3, 3)}


def poisoned(tensors: Tensors, value: float) -> Tensors:
    bias = tensors[f"{U}out.2.bias"].clone()
    bias[1] = value
    return tensors | {f"{U}out.2.bias": bias}


def four_latents_to_eight(tensors: Tensors) -> Tensors:
    name = "first_stage_model.post_quant_conv.weight"
    return tensors | {name: torch.zeros(8, 8, 1, 1)}


FAULTS: dict[str, tuple[Callable[[Path, Tensors], Any], str]] = {
    "empty": (lambda p, t: p.write_bytes(b""), r"weights of the model are empty \(0 bytes\)"),
    "web page": (
        lambda p, t: p.write_text("<!DOCTYPE html><html>Not Found</html>"),
        "weights of the model are a web page, not a model",
    ),
    "git-lfs pointer": (
        lambda p, t: p.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        "are a git-lfs pointer.*git lfs pull",
    ),
    "truncated": (
        lambda p, t: p.write_bytes(p.read_bytes()[:-1000]),
        r"are truncated: \d+ bytes of \d+: .*download it again",
    ),
    "header truncated": (
        lambda p, t: p.write_bytes(p.read_bytes()[:500]),
        "are truncated: 500 bytes of at least",
    ),
    "too long": (
        lambda p, t: p.write_bytes(p.read_bytes() + b"abc"),
        "are damaged: 3 bytes too many",
    ),
    "noise": (lambda p, t: p.write_bytes(b"\x11" * 5000), "are not a safetensors file"),
    "one tensor of the U-Net is missing": (
        lambda p, t: rewrite(p, without(t, f"{U}out.2.bias")),
        r"weights of unet do not fit Stable Diffusion 1: 1 missing \(conv_out.bias\)",
    ),
    "one tensor of the autoencoder is missing": (
        lambda p, t: rewrite(p, without(t, "first_stage_model.decoder.conv_in.bias")),
        r"weights of vae do not fit Stable Diffusion 1: 1 missing \(decoder.conv_in.bias\)",
    ),
    "a tensor that says the shape is missing": (
        lambda p, t: rewrite(p, without(t, "first_stage_model.post_quant_conv.weight")),
        "is Stable Diffusion 1, but broken: 1 tensor or more is missing, such as first_stage",
    ),
    "no text encoder": (
        lambda p, t: rewrite(p, without(t, "cond_stage_model.")),
        "holds no text encoder",
    ),
    "no autoencoder": (
        lambda p, t: rewrite(p, without(t, "first_stage_model.")),
        "holds no autoencoder",
    ),
    "wrong channels": (
        lambda p, t: rewrite(p, with_channels(t, 6)),
        "is a U-Net of 6 input channels, where 4 are expected",
    ),
    "wrong channels of the autoencoder": (
        lambda p, t: rewrite(p, four_latents_to_eight(t)),
        "the unet takes 4 and gives 4 channels, the vae has 8",
    ),
    "a tensor of another shape": (
        lambda p, t: rewrite(p, t | {f"{U}out.2.bias": torch.zeros(5)}),
        r"do not fit Stable Diffusion 1: conv_out.bias is \[5\], expected \[4\]",
    ),
    "a width that cannot be": (
        lambda p, t: rewrite(
            p, t | {f"{U}input_blocks.1.0.out_layers.3.weight": torch.zeros(33, 33, 3, 3)}
        ),
        "unlike each other",
    ),
    "another vocabulary": (
        lambda p, t: rewrite(
            p,
            t
            | {
                "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (
                    torch.zeros(30_000, 64)
                )
            },
        ),
        "do not fit: 49408 tokens .*, 30000 in the text encoder",
    ),
    "NaN": (
        lambda p, t: rewrite(p, poisoned(t, float("nan"))),
        r"weights of unet hold NaN or infinity as float32 \(conv_out.bias in",
    ),
    "infinity": (
        lambda p, t: rewrite(p, poisoned(t, float("-inf"))),
        "weights of unet hold NaN or infinity",
    ),
    "another family": (
        lambda p, t: rewrite(p, {f"{U}double_blocks.0.img_attn.proj.bias": torch.zeros(1)}),
        r"is Flux.1, which is not supported; of single files this version runs .* 1, 2, XL, 3 and",
    ),
    "a LoRA": (
        lambda p, t: rewrite(p, {"lora_unet_mid.lora_up.weight": torch.zeros(1)}),
        "is a LoRA, not a model",
    ),
    "no tensor at all": (
        lambda p, t: rewrite(p, {}),
        r"is no model that is known \(0 tensors",
    ),
    "pickled list": (
        lambda p, t: torch.save(list(t.values()), p),
        "weights of the model are a list, not a table of tensors",
    ),
    "pickled module": (
        lambda p, t: torch.save(torch.nn.Linear(2, 2), p),
        "a pickle that would run code: .* asks for torch.nn.modules.linear.Linear",
    ),
    "pickled numbers": (lambda p, t: torch.save({"a": 1}, p), "holds none"),
    "pickled state that is no table": (
        lambda p, t: torch.save({"state_dict": [1]}, p),
        "are not a table of tensors: state_dict",
    ),
    "damaged zip": (
        lambda p, t: p.write_bytes(b"PK\x03\x04 and no more"),
        "weights of the model are damaged",
    ),
    "damaged pickle": (lambda p, t: p.write_bytes(b"\x80\x02}q\x00(X"), "are damaged"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_has_its_own_line(
    fault: str, v1: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    damage, message = FAULTS[fault]
    path = v1.write(tmp_path / "model.safetensors")
    damage(path, v1.tensors)
    with pytest.raises(ModelError, match=message) as caught:
        load_parts(path, device=CPU, dtype=torch.float32)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert capfd.readouterr() == ("", "")


def test_what_is_too_large_for_half_precision_is_refused(v1: Any, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    rewrite(path, poisoned(v1.tensors, 1e6))
    load_parts(path, device=CPU, dtype=torch.float32)
    with pytest.raises(ModelError, match=r"as float16 .*or needs float32"):
        load_parts(path, device=CPU, dtype=torch.float16)


@pytest.mark.parametrize("form", ["zip", "old zip", "plain", "in the table", "as a key"])
def test_nothing_in_a_pickle_is_run(form: str, v1: Any, tmp_path: Path) -> None:
    mark, path = tmp_path / "ran", tmp_path / "model.ckpt"
    attack = Attack(mark)
    content: Any = {"zip": attack, "old zip": attack, "plain": attack}.get(form)
    content = content or {"state_dict": v1.tensors, "hyper": [attack]}
    if form == "as a key":
        content = {"state_dict": v1.tensors | {"x": attack}}
    if form == "plain":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form != "old zip")
    with pytest.raises(ModelError, match=r"would run code: .* asks for exec and is refused"):
        load_parts(path, device=CPU, dtype=torch.float32)
    assert not mark.exists()
    # The same bytes would have run in an ordinary pickle.
    torch.load(path, weights_only=False) if form != "plain" else pickle.loads(path.read_bytes())  # noqa: S301
    assert mark.exists()


def test_an_old_torch_reads_no_pickle(
    v1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(v1.tensors, tmp_path / "model.ckpt")
    for version in ("2.9.1", "2.5.0+cu121", "1.13.1"):
        monkeypatch.setattr(torch, "__version__", version)
        with pytest.raises(ModelError, match=f"needs torch 2.10 or newer, this is {version[:3]}"):
            load_parts(tmp_path / "model.ckpt", device=CPU, dtype=torch.float32)


def test_memory_that_ends_is_said(v1: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any, **named: Any) -> Any:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")

    path = v1.write(tmp_path / "model.safetensors")
    monkeypatch.setattr(torch.Tensor, "to", refuse)
    with pytest.raises(ModelError, match="unet do not fit into the memory of cpu"):
        load_parts(path, device=CPU, dtype=torch.float32)


def headers(tensors: Tensors, draw: random.Random) -> bytes:
    """A safetensors file whose header, or length, is changed in a few places; few weights."""
    entries: dict[str, Any] = {}
    place = 0
    for name, one in list(tensors.items())[:: draw.choice([1, 7])]:
        size = one.numel() * 4
        entries[name] = {
            "dtype": "F32", "shape": list(one.shape), "data_offsets": [place, place + size]
        }  # fmt: skip
        place += size
    odd = [None, -1, 0, 1.5, 2**63, 2**70, "F32", "F4", [], {}, [0], [-1, 2], [[0]], True, ""]
    for _ in range(draw.randint(0, 2)):
        name = draw.choice(list(entries))
        entry = entries[name]
        where = draw.choice(["dtype", "shape", "data_offsets", "entry", "name", "metadata", "axis"])
        if where == "entry":
            entries[name] = draw.choice(odd)
        elif where == "name":
            entries[draw.choice(["", "__metadata__", "x" * 5000, "\ud800", "../a"])] = entry
        elif where == "metadata":
            entries["__metadata__"] = draw.choice([*odd, {"format": "pt"}, {"a": 1}])
        elif isinstance(entry, dict) and where == "axis" and entry.get("shape"):
            entry["shape"] = [*entry["shape"][:-1], draw.choice([0, 1, 10**9])]
        elif isinstance(entry, dict):
            entry[where] = draw.choice(odd)
    text = bytearray(json.dumps(entries).encode("ascii"))
    for _ in range(draw.choice([0, 0, 1, 1, 3, 20])):
        place_in = draw.randrange(len(text))
        way = draw.randrange(3)
        if way == 0:
            text[place_in] = draw.randrange(256)
        elif way == 1:
            del text[place_in : place_in + draw.randint(1, 30)]
        else:
            text[place_in:place_in] = draw.choice([b"[" * 9000, b'"', b"{}", b"\x00", b"1e999"])
    length = len(text) + draw.choice([0, 0, 0, 0, 1, -1, 8, 2**40])
    return struct.pack("<Q", length) + bytes(text) + bytes(draw.choice([0, 100, 50_000]))


_CODES = [
    b"R", b"b", b"0", b".", b"(", b"u", b"Q", b"\x81", b"\x93", b"cos\nsystem\n",
    b"cnumpy\ndtype\n", b"J\xff\xff\xff\x7f", b"h\xff", b"X\xff\xff\xff\x7f",
]  # fmt: skip


def pickles(good: list[bytes], draw: random.Random) -> bytes:
    """A pickled file with a few bytes changed, in the pickle itself or in what is around it."""
    content = bytearray(draw.choice(good))
    inside = content.startswith(b"PK") and draw.random() < 0.7
    body = bytearray()
    if inside:
        with zipfile.ZipFile(io.BytesIO(bytes(content))) as archive:
            names = archive.namelist()
            files = {name: archive.read(name) for name in names}
        main = next(name for name in names if name.endswith("data.pkl"))
        body = bytearray(files[main])
    target = body if inside else content
    for _ in range(draw.choice([1, 1, 2, 5, 30])):
        where = draw.randrange(len(target) or 1)
        way = draw.randrange(4)
        if way == 0:
            target[where : where + 1] = bytes([draw.randrange(256)])
        elif way == 1:
            del target[where : where + draw.randint(1, 12)]
        elif way == 2:
            target[where:where] = draw.choice(_CODES)
        else:
            del target[where:]
            target += b"."
    if not inside:
        return bytes(content)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, bytes(body) if name == main else data)
    return out.getvalue()


def test_two_thousand_mutations_raise_our_errors_alone_and_quickly(v1: Any, tmp_path: Path) -> None:
    draw = random.Random(5)
    good = []
    for number, zipped in enumerate((True, False)):
        path = tmp_path / f"good{number}"
        few = {name: one.clone() for name, one in list(v1.tensors.items())[:6]}
        torch.save({"state_dict": few, "global_step": 3}, path,
                   _use_new_zipfile_serialization=zipped)  # fmt: skip
        good.append(path.read_bytes())
    slowest, refused = 0.0, 0
    for number in range(2000):
        content = headers(v1.tensors, draw) if number % 2 else pickles(good, draw)
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        began = time.process_time()
        try:
            open_tensors(path)
            native_size(path)
        except ModelError as error:
            refused += 1
            assert "\n" not in str(error)
            assert len(str(error)) < 2000
        slowest = max(slowest, time.process_time() - began)
        path.unlink(missing_ok=True)
    assert refused > 1500
    assert slowest < 5
