"""Ten thousand good files with a few bytes or values changed: they are read, or refused by us."""

from __future__ import annotations

import base64
import copy
import json
import random
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from sdcreative.errors import SdcreativeError

SEED = 20
HEADERS, PICKLES, PICTURES, JSON, BUILT = 3_500, 2_500, 1_000, 2_400, 600
assert HEADERS + PICKLES + PICTURES + JSON + BUILT == 10_000
SLOWEST = 20
"""seconds of one file, on a machine that does other things too"""
ODD: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 1.5, -0.0, 1e308, 1e-320, 2**31, 2**63, 10**30, "", "a",
    "os.system", "../x", "\x1b[31m", "a\nb", "\u202e", "x" * 5000, [], {}, [0], [[]], [None],
    {"a": 1}, ["os", "system"], [2**63, -1],
)  # fmt: skip


def bent(content: bytes, dice: random.Random) -> bytes:
    """A few bytes changed, taken out, put in, repeated, or the end cut off."""
    whole = bytearray(content)
    for _ in range(dice.choice((1, 1, 2, 5))):
        place, length = dice.randrange(len(whole) or 1), dice.choice((1, 2, 8, 60))
        way = dice.randrange(6)
        if way == 0:
            whole[place : place + 1] = dice.randbytes(1)
        elif way == 1:
            del whole[place : place + length]
        elif way == 2:
            whole[place:place] = dice.randbytes(length)
        elif way == 3:
            whole[place:place] = whole[place : place + length] * dice.choice((1, 50))
        elif way == 4:
            digits = [at for at, byte in enumerate(whole) if 48 <= byte < 58]
            if digits:
                whole[dice.choice(digits)] = dice.choice(b"0123456789-.e")
        elif dice.random() < 0.2:
            del whole[place:]
    return bytes(whole)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all values below the top."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else ()
    inner = enumerate(value) if isinstance(value, list) else inner
    for key, one in list(inner)[:40]:
        yield from places(one, (*path, key))


def changed(value: Any, dice: random.Random) -> Any:
    """JSON with a few values replaced, taken out or moved."""
    value = copy.deepcopy(value)
    for _ in range(dice.choice((1, 1, 2, 4))):
        all_paths = list(places(value))
        if not all_paths:
            break
        *outer, last = dice.choice(all_paths)
        node = value
        for key in outer:
            node = node[key]
        way = dice.randrange(4)
        if way == 0 and isinstance(node, dict):
            del node[last]
        elif way == 1 and isinstance(node, dict):
            node[dice.choice(("x", "auto_map", "num_labels", last))] = dice.choice(ODD)
        elif way == 2 and isinstance(node[last], int | float):
            node[last] *= dice.choice((-1, 0, 2, 10**6, 10**15))
        else:
            node[last] = copy.deepcopy(dice.choice(ODD))
    return value


def survive(number: int, what: str, act: Callable[[], object]) -> bool:
    """Whether a file is refused; anything but our errors, and all that is slow, fails."""
    began = time.process_time()
    told = f"seed {SEED}, file {number}, {what}"
    refused = False
    try:
        act()
    except SdcreativeError as error:
        refused = True
        message = str(error)
        assert message.isprintable(), f"{told}: {message!r}"
        assert len(message) < 1500, f"{told}: {message!r}"
    except BaseException as error:
        raise AssertionError(f"{told}: {error!r}") from error
    assert time.process_time() - began < SLOWEST, told
    return refused


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Good files of each kind: reader and format -> content."""
    folder = tmp_path_factory.mktemp("good")
    unet = "model.diffusion_model."
    layers = {
        "lora_unet_conv_in.lora_down.weight": torch.ones(2, 4, 3, 3),
        "lora_unet_conv_in.lora_up.weight": torch.ones(32, 2, 1, 1),
        "lora_unet_conv_in.alpha": torch.tensor(1.0),
    }
    tables: dict[str, dict[str, Any]] = {
        "checkpoint": {
            f"{unet}input_blocks.0.0.weight": torch.ones(8, 4, 3, 3),
            f"{unet}out.2.weight": torch.ones(4, 8, 3, 3),
            "first_stage_model.encoder.conv_in.weight": torch.ones(8, 3, 3, 3),
            "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (
                torch.ones(9, 8)
            ),
        },
        "vae": {
            "encoder.conv_in.weight": torch.ones(8, 3, 3, 3),
            "encoder.down.0.block.0.conv1.weight": torch.ones(8, 8, 3, 3),
            "decoder.conv_in.weight": torch.ones(8, 4, 3, 3),
            "decoder.conv_out.weight": torch.ones(3, 8, 3, 3),
        },
        "text_encoder": {
            "text_model.embeddings.token_embedding.weight": torch.ones(9, 8),
            "text_model.embeddings.position_embedding.weight": torch.ones(5, 8),
            "text_model.encoder.layers.0.mlp.fc1.weight": torch.ones(16, 8),
        },
        "lora": layers,
        "embedding": {"<cat>": torch.ones(2, 8)},
        "any": layers,
    }
    found: dict[str, bytes] = {}
    path = folder / "file"
    for reader, table in tables.items():
        save_file(table, path, {"ss_network_dim": "2", "modelspec.resolution": "512x512"})
        found[f"{reader} safetensors"] = path.read_bytes()
        saved = {"string_to_param": {"*": torch.ones(2, 8)}, "name": "a", "step": 3}
        for form in (True, False):
            torch.save(
                saved if reader == "embedding" else {"state_dict": table, "global_step": 3},
                path,
                _use_new_zipfile_serialization=form,
            )
            found[f"{reader} {'zip' if form else 'legacy'}"] = path.read_bytes()
    info = PngInfo()
    text = b'{"string_to_param": {"*": {"TORCHTENSOR": [[1, 2]]}}}'
    info.add_text("sd-ti-embedding", base64.b64encode(text).decode())
    Image.new("RGB", (9, 9), "white").save(path, format="PNG", pnginfo=info)
    found["embedding png"] = path.read_bytes()
    return found


def read_some(
    good: dict[str, bytes], forms: tuple[str, ...], count: int, readers: Any, path: Path
) -> float:
    """Read so many mutations of files in these formats; the share that was refused."""
    dice = random.Random(SEED)
    kinds = [kind for kind in good if kind.split()[1] in forms]
    refused = 0
    for number in range(count):
        kind = kinds[number % len(kinds)]
        content = bent(good[kind], dice)
        if "safetensors" in kind and number % 2:
            length = struct.unpack("<Q", good[kind][:8])[0]
            header = changed(json.loads(good[kind][8 : 8 + length]), dice)
            text = json.dumps(header).encode()
            content = struct.pack("<Q", len(text)) + text + good[kind][8 + length :]
        path.write_bytes(content)
        refused += survive(number, kind, lambda kind=kind: readers[kind.split()[0]](path))
        path.unlink()
    return refused / count


def test_mutations_of_headers(good: dict[str, bytes], readers: Any, tmp_path: Path) -> None:
    path = tmp_path / "bent.safetensors"
    assert read_some(good, ("safetensors",), HEADERS, readers, path) > 0.7


def test_mutations_of_pickles(good: dict[str, bytes], readers: Any, tmp_path: Path) -> None:
    path = tmp_path / "bent.ckpt"
    assert read_some(good, ("zip", "legacy"), PICKLES, readers, path) > 0.3


def test_mutations_of_pictures(good: dict[str, bytes], readers: Any, tmp_path: Path) -> None:
    assert read_some(good, ("png",), PICTURES, readers, tmp_path / "bent.png") > 0.3


FILES = (
    "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json",
    "scheduler/scheduler_config.json",
)  # fmt: skip
TOKENS = ("vocab.json", "merges.txt", "tokenizer_config.json", "tokenizer.json")


def test_mutations_of_json(tiny_checkpoint: Path, load: Any, tmp_path: Path) -> None:
    """Cheap first: what is found out without building anything."""
    from sdcreative.models.catalogue.describing import describe
    from sdcreative.models.opening import open_model
    from sdcreative.models.sizes import native_size

    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    dice = random.Random(SEED)
    acts: tuple[Callable[[Path], object], ...] = (open_model, native_size, describe)
    refused = 0
    for number in range(JSON):
        file = folder / FILES[number % len(FILES)]
        whole = file.read_bytes()
        if number % 3:
            file.write_text(json.dumps(changed(json.loads(whole), dice)))
        else:
            file.write_bytes(bent(whole, dice))
        act = acts[0 if number % 10 else dice.randrange(3)]
        refused += survive(number, file.name, lambda act=act: act(folder))
        file.write_bytes(whole)
    assert refused > JSON / 8


def test_mutations_of_what_is_built(
    tiny_checkpoint: Path, load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sdcreative.models.folders import read_tokenizer

    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "model"))
    tokens = folder / "tokenizer"
    read_tokenizer(tokens, "CLIPTokenizer").save_pretrained(tmp_path / "whole")
    shutil.copy(tmp_path / "whole" / "tokenizer.json", tokens)
    dice = random.Random(SEED)
    refused = 0
    for number in range(BUILT):
        of_tokens = number % 2 == 0
        names = [f"tokenizer/{name}" for name in TOKENS] if of_tokens else FILES[1:]
        file = folder / names[number // 2 % len(names)]
        alone = file.name in ("vocab.json", "merges.txt")
        if alone:
            (tokens / "tokenizer.json").unlink()
        whole = file.read_bytes()
        if number % 3 and file.suffix == ".json":
            file.write_text(json.dumps(changed(json.loads(whole), dice)))
        else:
            file.write_bytes(bent(whole, dice))
        refused += survive(
            number,
            file.name,
            (lambda: read_tokenizer(tokens, "CLIPTokenizer"))
            if of_tokens
            else lambda: load(folder),
        )
        file.write_bytes(whole)
        if alone:
            shutil.copy(tmp_path / "whole" / "tokenizer.json", tokens)
    assert refused > BUILT / 5
