"""Embeddings in PNG pictures, as AUTOMATIC1111 writes them to be passed around.

Two ways, both JSON: base64 in the text chunk ``sd-ti-embedding``, and, which survives tools that
drop chunks, compressed in the lower halves of the bytes of two blocks at the picture's sides.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ...errors import ModelError
from ..strangers import said

CHUNK = "sd-ti-embedding"
MOST_PIXELS = 1 << 26
MOST_BYTES = 1 << 26
"""of the JSON, unpacked"""
_LOWER_HALF = np.uint8(0x0F)


def read_picture(path: Path) -> dict[str, Any]:
    """What was saved into a picture; tensors are float32.

    Raises:
        ModelError: no picture that can be read, none with an embedding, or a broken one.
    """
    text, pixels = _open(path)
    try:
        content = _hidden(pixels) if text is None else base64.b64decode(text, validate=True)
        saved = json.loads(content)
    except (ValueError, binascii.Error, zlib.error, RecursionError):
        raise ModelError(
            f"no embedding can be read from the picture {path}; it holds none, or was scaled, "
            "cropped or saved anew"
        ) from None
    if not isinstance(saved, dict):
        raise ModelError(f"what the picture {path} holds is no embedding")
    try:
        return {key: _tensors(value, path) for key, value in saved.items()}
    except RecursionError:
        raise ModelError(f"the picture {path} holds an embedding that is damaged") from None


def _open(path: Path) -> tuple[str | None, NDArray[np.uint8]]:
    """The text of the chunk, if there is one, and pixels (height, width, 3)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as picture:
                if picture.width * picture.height > MOST_PIXELS:
                    raise ModelError(f"picture {path} has more than {MOST_PIXELS} pixels")
                # The chunk may come after the pixels.
                picture.load()
                text = getattr(picture, "text", {}).get(CHUNK)
                return text, np.asarray(picture.convert("RGB"))
    except (
        *(OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, AttributeError),
        *(struct.error, zlib.error, MemoryError, OverflowError, Image.DecompressionBombError),
    ) as error:
        raise ModelError(f"picture {path} cannot be read ({said(error)})") from None


def _hidden(pixels: NDArray[np.uint8]) -> bytes:
    """The bytes in two blocks, parted from the picture between them by a black column each.

    The left one holds the lower halves of all bytes, the right one the upper halves, each in the
    lower half of a pixel's value and mixed with a fixed sequence.

    Raises:
        ValueError, zlib.error: there are none.
    """
    bright = pixels.min(axis=2) > 0
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    if not len(rows):
        raise ValueError("black all over")
    inner = pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] & _LOWER_HALF
    black = np.flatnonzero((inner == 0).all(axis=(0, 2)))
    if len(black) < 2:
        raise ValueError("no black columns")
    low, high = _mixed(inner[:, : black[0]]), _mixed(inner[:, black[-1] + 1 :])
    if low.shape != high.shape:
        raise ValueError("blocks of two sizes")
    unpacking = zlib.decompressobj()
    content = unpacking.decompress(((high << np.uint8(4)) | low).tobytes(), MOST_BYTES)
    if not unpacking.eof:
        raise ValueError("too long, or cut")
    return content


def _mixed(block: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A block and a sequence, exclusively or-ed; twice gives back the first."""
    mixed: NDArray[np.uint8] = block ^ (_sequence(block.size).reshape(block.shape) & _LOWER_HALF)
    return mixed


def _sequence(length: int) -> NDArray[np.uint8]:
    """Numerical Recipes' linear congruential generator from 0, each number modulo 255."""
    state = np.zeros(length + 1, dtype=np.uint64)
    # Blocks that double: n steps at once are again a step of such a generator.
    multiplier, increment, done = 1664525, 1013904223, 1
    while done <= length:
        more = state[: min(done, length + 1 - done)]
        state[done : done + len(more)] = (more * np.uint64(multiplier) + increment) & 0xFFFFFFFF
        multiplier, increment, done = (
            multiplier * multiplier % 2**32,
            (multiplier * increment + increment) % 2**32,
            done + len(more),
        )
    return (state[1:] % 255).astype(np.uint8)


def _tensors(value: Any, path: Path) -> Any:
    """JSON with its lists of numbers made tensors again."""
    if not isinstance(value, dict):
        return value
    if set(value) == {"TORCHTENSOR"}:
        try:
            return torch.tensor(value["TORCHTENSOR"], dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError, OverflowError):
            raise ModelError(f"the picture {path} holds an embedding that is damaged") from None
    return {key: _tensors(one, path) for key, one in value.items()}
