"""Names of frames: a digest of all that a frame is made from."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any

from PIL import Image

from ..core.prompt_syntax import has_syntax
from ..core.shots import Following
from ..core.timeline import Between, Timeline
from ..errors import RenderError

FORMAT = 1
"""Counted up whenever the same shot would give another picture."""

SYNTAX = 1
"""Counted up whenever prompts with a syntax would be read in another way."""

SAMPLING = (
    "clip_skip",
    "guidance",
    "sizes",
    "tiling",
    "hires",
    "caching",
    "spacing",
    "eta",
    "linears",
    "preview",
)
"""Fields of a timeline that are part of all its keys where they are not the default."""

REMEMBERED_PICTURES = 16
LENGTH = 32
"""hexadecimal digits of a key"""

_SIMPLE = (str, int, float, bool, type(None))


def frame_keys(
    timeline: Timeline, *, model: str, size: tuple[int, int], dtype: str
) -> Iterator[str]:
    """The key of every frame, in order; 32 hexadecimal digits.

    Two frames have one key if they are made from the same: conditioning, noise, guidance, start
    image, trunk, sampler, steps, model, size and floating-point type. How prompts are read is part
    of it where that is not as plain text. What a frame lies between is part of its key where it is
    a Between, and what it follows or continues where it does.

    Args:
        timeline: walked once.
        model: digest of the model's weights and configuration.
        size: (width, height) in pixels, of the first pass where there are two.
        dtype: such as "float32".

    Raises:
        RenderError: a Between that has no shot before or after it.
    """
    common = ["frame", FORMAT, model, list(size), dtype, timeline.sampler, timeline.steps]
    if timeline.seamless:
        common.append(timeline.seamless)
    pictures = _Pictures()
    for field in fields(timeline):
        if field.name in SAMPLING and (given := getattr(timeline, field.name)) != field.default:
            common.append([field.name, _plain(given, pictures)])
    digest = _Digests(common)
    speaks = cache(has_syntax)
    shots: deque[str] = deque(maxlen=timeline.voices)
    firsts: list[str] = []
    first: str | None = None
    before: str | None = None
    waiting: list[float] = []
    for index, frame in enumerate(timeline):
        if isinstance(frame, Between):
            if before is None:
                raise RenderError(f"frame {index}: a Between comes before the first shot")
            waiting.append(frame.t)
            continue
        made_from = [_plain(frame, pictures)]
        if timeline.prompts == "weighted" and any(map(speaks, _texts(made_from[-1]))):
            made_from.append(["prompts", SYNTAX])
        if isinstance(frame.image, Following):
            if len(shots) < timeline.voices:
                raise RenderError(f"frame {index}: follows the shot before it, but there is none")
            made_from += [shots[0], firsts[index % timeline.voices]]
        key = digest.of(made_from)
        for t in waiting:
            yield _digest(["between", before, key, t])
        waiting = []
        yield key
        first, before = first or key, key
        shots.append(key)
        if len(firsts) < timeline.voices:
            firsts.append(key)
    if waiting and timeline.closed:
        for t in waiting:
            yield _digest(["between", before, first, t])
    elif waiting:
        raise RenderError("the last frame of a timeline is a Between; end with a shot")


class _Digests:
    """Digests of lists in JSON that begin alike; the beginning is digested once."""

    def __init__(self, common: list[Any]) -> None:
        self._begun = hashlib.sha256(_json(common)[:-1] + b",")

    def of(self, rest: list[Any]) -> str:
        """The digest of the beginning with one or more values behind."""
        digest = self._begun.copy()
        digest.update(_json(rest)[1:])
        return digest.hexdigest()[:LENGTH]


def _digest(value: Any) -> str:
    return hashlib.sha256(_json(value)).hexdigest()[:LENGTH]


def _json(value: Any) -> bytes:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True, allow_nan=True)
    return text.encode("ascii")


def _plain(value: Any, pictures: _Pictures) -> Any:
    """JSON of a shot; what has its default is left out, so that new settings change no key."""
    kind: Any = type(value)
    if kind in _SIMPLE:
        return value
    if (known := _defaults(kind)) is not None:
        named = {}
        for name, default in known:
            given = getattr(value, name)
            if default is MISSING or (given is not default and given != default):
                named[name] = _plain(given, pictures)
        return [kind.__name__, named]
    if isinstance(value, Image.Image):
        return ["picture", pictures.digest(value)]
    if isinstance(value, list | tuple):
        return [_plain(entry, pictures) for entry in value]
    return value


@cache
def _defaults(kind: type) -> tuple[tuple[str, Any], ...] | None:
    """Names of a dataclass's fields, and their defaults; None of another type."""
    if not is_dataclass(kind):
        return None
    return tuple((field.name, field.default) for field in fields(kind))


def _texts(value: Any) -> Iterator[str]:
    """All texts in the JSON of a shot."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for entry in value.values() if isinstance(value, dict) else value:
            yield from _texts(entry)


class _Pictures:
    """Digests of start images; the last ones are remembered, as films use them again and again."""

    def __init__(self) -> None:
        self._known: OrderedDict[int, tuple[Image.Image, str]] = OrderedDict()

    def digest(self, picture: Image.Image) -> str:
        known = self._known.get(id(picture))
        if known is not None:
            return known[1]
        digest = picture_digest(picture)
        self._known[id(picture)] = picture, digest
        if len(self._known) > REMEMBERED_PICTURES:
            self._known.popitem(last=False)
        return digest


def picture_digest(picture: Image.Image) -> str:
    """SHA-256 of a picture's mode, size and pixels."""
    digest = hashlib.sha256(f"{picture.mode} {picture.size}".encode())
    if picture.mode == "P":
        digest.update(bytes(picture.getpalette() or []))
    digest.update(picture.tobytes())
    return digest.hexdigest()
