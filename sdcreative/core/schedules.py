"""Schedules: one number for every frame of a film, from keyframes and expressions.

Written as Deforum's are, and with the same values: a number at a keyframe is gone to and from in
a straight line; an expression is evaluated at every frame from its keyframe up to the next.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ..errors import UsageError
from .easing import Easing, find_easing, linear
from .expressions import Expression, Hearing, Moment, parse_expression

MAX_KEYS = 10_000
LARGEST = 1e15


@dataclass(frozen=True)
class Key:
    """A value of a schedule.

    Attributes:
        frame: from when on; at least 0.
        value: a number, or an expression that runs up to the next key.
        ease: of the way from this number to the next key's value.
    """

    frame: int
    value: float | Expression
    ease: Easing = linear


@dataclass(frozen=True)
class Schedule:
    """One number for every frame.

    Attributes:
        keys: at least one; each later than the one before.
    """

    keys: tuple[Key, ...]

    @property
    def constant(self) -> float | None:
        """The number that all frames have, or None where they differ."""
        values = {None if isinstance(key.value, Expression) else key.value for key in self.keys}
        return values.pop() if len(values) == 1 else None

    @property
    def hears(self) -> bool:
        """Whether any of its expressions is about the film's sound."""
        return any(isinstance(key.value, Expression) and key.value.hears for key in self.keys)

    def at(self, frame: int, last: int, seed: int = 0, sound: Hearing | None = None) -> float:
        """The value at a frame.

        Before the first key it is that key's value; from a key with an expression on, that of the
        expression at this frame; from a key with a number on it goes in a straight line, or as
        the key's easing has it, to the value at the next key, and stays after the last.

        Args:
            frame: number of the frame, from 0.
            last: number of the last frame, ``max_f`` in expressions.
            seed: ``s`` in expressions.
            sound: ``onset``, ``beat`` and so on in expressions.

        Raises:
            UsageError: an expression has no value here, or hears, and there is no sound.
        """
        index = max(0, bisect_right(self.keys, frame, key=lambda key: key.frame) - 1)
        key = self.keys[index]
        if isinstance(key.value, Expression) and frame >= key.frame:
            return _value(key, frame, last, seed, sound)
        here = _value(key, key.frame, last, seed, sound)
        if frame <= key.frame or index + 1 == len(self.keys):
            return here
        following = self.keys[index + 1]
        there = _value(following, following.frame, last, seed, sound)
        share = key.ease((frame - key.frame) / (following.frame - key.frame))
        return here + share * (there - here)


def parse_schedule(value: Any) -> Schedule:
    """Read a schedule.

    Args:
        value: a number; an expression, ``"7 + sin(t/10)"``; a map of frames to either,
            ``{0: 1.0, 30: 7.5}``, where ``{0: {value: 1.0, ease: in-out}, ...}`` eases the way to
            the next; or Deforum's text, ``"0:(1.0), 30:(sin(t))"``.

    Raises:
        UsageError: anything else; text with the column of the fault.
    """
    if isinstance(value, Mapping):
        keys = [_key(_frame(frame), entry) for frame, entry in value.items()]
    elif isinstance(value, str) and re.match(r"\s*\d+\s*:", value, re.ASCII):
        keys = list(_keys_of_text(value))
    else:
        keys = [_key(0, value)]
    if not 1 <= len(keys) <= MAX_KEYS:
        raise UsageError(f"a schedule of {len(keys):,} keys; give 1 to {MAX_KEYS:,}")
    keys.sort(key=lambda key: key.frame)
    for before, after in pairwise(keys):
        if before.frame == after.frame:
            raise UsageError(f"frame {after.frame} comes twice in a schedule; keep one of them")
    return Schedule(tuple(keys))


def _value(key: Key, frame: int, last: int, seed: int, sound: Hearing | None) -> float:
    if isinstance(key.value, Expression):
        heard = sound.at(frame) if sound is not None and key.value.hears else None
        return key.value.at(Moment(frame, last, seed, heard))
    return key.value


def _key(frame: int, entry: Any) -> Key:
    if isinstance(entry, Mapping):
        if "value" not in entry or set(entry) - {"value", "ease"}:
            raise UsageError(
                f"frame {frame} of a schedule has {', '.join(map(str, entry)) or 'nothing'}; "
                "give value, and ease if you like"
            )
        ease = entry.get("ease", "linear")
        if not isinstance(ease, str):
            raise UsageError(f"frame {frame} of a schedule has the ease {ease!r}; give a name")
        return Key(frame, _key(frame, entry["value"]).value, find_easing(ease))
    if isinstance(entry, str):
        return Key(frame, _simplest(parse_expression(entry)))
    is_number = isinstance(entry, int | float) and not isinstance(entry, bool)
    if not is_number or not abs(entry) <= LARGEST:
        raise UsageError(
            f"a schedule holds {entry!r} at frame {frame}; give a number, or an expression such "
            "as sin(t/10)"
        )
    return Key(frame, float(entry))


def _simplest(expression: Expression) -> float | Expression:
    """A number where the text is one, signs and brackets included, as Deforum has it."""
    if re.fullmatch(r"[-+(\s]*[\d.]+([eE][-+]?\d+)?[)\s]*", expression.text, re.ASCII):
        return expression.at(Moment(0, 0))
    return expression


def _frame(frame: Any) -> int:
    """JSON, in which Deforum's settings are written, has text as keys only."""
    if isinstance(frame, str) and frame.isascii() and frame.isdecimal():
        frame = int(frame)
    if isinstance(frame, bool) or not isinstance(frame, int) or frame < 0:
        raise UsageError(f"{frame!r} is no frame of a schedule; give a whole number from 0")
    return frame


def _keys_of_text(text: str) -> Iterator[Key]:
    """Keys of ``0:(1.0), 30:(sin(t))``; commas within brackets belong to the expressions."""
    start = depth = 0
    for at in range(len(text) + 1):
        if at == len(text) or (text[at] == "," and depth <= 0):
            part = text[start:at]
            if part.strip() or at < len(text):
                yield _key_of_text(part, start, text)
            start = at + 1
        elif text[at] in "()":
            depth += 1 if text[at] == "(" else -1


def _key_of_text(part: str, start: int, text: str) -> Key:
    match = re.match(r"\s*(\d{1,12})\s*:", part, re.ASCII)
    if match is None:
        column = start + 1 + len(part) - len(part.lstrip())
        raise UsageError(f"{text!r}, column {column}: no frame here; write it like 0:(1), 30:(2)")
    column = start + match.end() + 1
    expression = parse_expression(part[match.end() :], column=column, whole=text)
    return Key(int(match[1]), _simplest(expression))
