"""What the driver and its workers say to each other, and how that is written to a pipe.

A message is a header in JSON, and the bytes of the pictures in it behind.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from io import BytesIO
from typing import IO, Any

from PIL.Image import Image

from ..errors import RenderError
from ..runs.store import read_frame

LENGTHS = struct.Struct(">II")


@dataclass(frozen=True)
class Order:
    """The film that a worker works at.

    Attributes:
        tool: name of the tool.
        settings: its settings as JSON.
        folder: the current folder, against which paths in the settings are meant.
        plugins: whether third-party plugins are loaded.
        model: digest of the model.
        frames: digest of all frames' keys.
        device, dtype: where and how precisely it computes.
        arcs: times and distances of every segment, of films at equal visual steps.
        composed: spans of frames that are part of a batch; None for all.
    """

    tool: str
    settings: Mapping[str, Any]
    folder: str
    plugins: bool
    model: str
    frames: str
    device: str
    dtype: str
    arcs: list[dict[str, list[float]]] | None = None
    composed: list[list[int]] | None = None


@dataclass(frozen=True)
class Task:
    """Frames to make.

    Attributes:
        number: of the task, in order.
        wanted: spans of indexes.
        begins: the frame from which on batches are composed.
        batch_size: shots denoised together.
        pictures: (index, file) of frames that others here follow.
    """

    number: int
    wanted: list[list[int]]
    begins: int
    batch_size: int
    pictures: list[tuple[int, bytes]]


@dataclass(frozen=True)
class Ready:
    """A worker has its model loaded; it would denoise so many shots together."""

    batch_size: int


@dataclass(frozen=True)
class Made:
    """A frame, as a file of the store, and the U-Net evaluations since the one before."""

    index: int
    data: bytes
    evaluations: int


@dataclass(frozen=True)
class Done:
    """A task is done; shots denoised together may have become fewer, where memory ended."""

    number: int
    batch_size: int


@dataclass(frozen=True)
class Failed:
    """What a worker cannot do, and no other could: the name of an error, and what it says."""

    error: str
    message: str


@dataclass(frozen=True)
class Lost:
    """A worker is gone."""

    reason: str


Event = Ready | Made | Done | Failed | Lost
_KINDS: dict[str, Any] = {kind.__name__: kind for kind in (Order, Task, Ready, Made, Done, Failed)}


def arrived(index: int, data: bytes) -> Image:
    """The picture of a frame that came as a file of the store.

    Raises:
        RenderError: it is damaged.
    """
    picture = read_frame(BytesIO(data))
    if picture is None:
        raise RenderError(f"frame {index}: was damaged on its way; run the same command again")
    return picture


def send(stream: IO[bytes], message: Order | Task | Event) -> None:
    """Write one message.

    Raises:
        OSError: nobody reads any more.
    """
    blobs: list[bytes] = []

    def behind(value: bytes) -> dict[str, int]:
        blobs.append(value)
        return {"bytes": len(value)}

    said = {field.name: getattr(message, field.name) for field in fields(message)}
    header = json.dumps([type(message).__name__, said], default=behind).encode()
    stream.write(LENGTHS.pack(len(header), sum(map(len, blobs))))
    stream.write(header)
    stream.writelines(blobs)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """The next message; None where there is none, or it breaks off."""
    start = stream.read(LENGTHS.size)
    if len(start) < LENGTHS.size:
        return None
    head, rest = LENGTHS.unpack(start)
    header, blobs = stream.read(head), stream.read(rest)
    if len(header) < head or len(blobs) < rest:
        return None
    at = 0

    def restored(value: dict[str, Any]) -> Any:
        nonlocal at
        if set(value) != {"bytes"}:
            return value
        at += value["bytes"]
        return blobs[at - value["bytes"] : at]

    kind, said = json.loads(header, object_hook=restored)
    return _KINDS[kind](**said)
