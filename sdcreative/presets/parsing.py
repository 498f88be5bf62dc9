"""YAML read as plain data with positions, without the traps of YAML 1.1.

Refused, each with its place and the remedy: aliases and anchors, merge keys, tags, duplicate keys,
several documents, nesting over 20 levels, over 1 MB, control characters, anything but UTF-8.
Plain scalars follow the core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema):
``no`` and ``1:30`` are text, ``1e3`` is a number, ``012`` is 12, ``0o14`` is octal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import yaml  # type: ignore[import-untyped, unused-ignore]

from ..errors import PresetError

KeyPath = tuple[str | int, ...]

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
MAX_DIGITS = 40

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")
_REASONS = (
    (r"found character '\\t' that cannot", "a tab; indent with spaces"),
    (r"found character (\S+) that cannot", "text that starts with {0} needs quotes around it"),
    (
        r"mapping values are not",
        "a ': ' too many; quote text that holds ': ', or see the line above",
    ),
    (r"sequence entries are not", "a '- ' that cannot stand here; start the list on its own line"),
    (r"mapping keys are not", "a '? ' that cannot stand here; put the text in quotes"),
    (r"expected <block end>", "this does not line up with the lines above, or a quote is too many"),
    (r"expected ',' or '(.)'", "an opening bracket whose ',' or '{0}' is missing"),
    (r"found unknown escape character (.*)", "unknown escape {0}; use '\\\\' or single quotes"),
    (r"expected escape sequence", "an incomplete escape; use '\\\\' or single quotes"),
    (r"could not find expected ':'", "no ': ' after this key; write a colon and a space"),
    (r"found unexpected end of stream", "a quote that is never closed; add the closing quote"),
    (
        r"found unexpected document",
        "a quote that is not closed before '---'; add the closing quote",
    ),
    (r"expected alphabetic or numeric", "text that starts with '*' or '&' needs quotes around it"),
    (r"expected '<document start>'", "text after the end; put the text in quotes, or indent it"),
    (
        r"expected the node content",
        "a value is missing, or text with , ] }} needs quotes around it",
    ),
)
# Where the fault began says more than where the scanner gave up.
_FROM_START = re.compile(
    r"could not find expected ':'|expected ',' or|expected alphabetic"
    r"|unexpected end of stream|unexpected document"
)


@dataclass(frozen=True)
class Document:
    """Plain data (None, bool, int, float, str, list, dict) and where each part stands.

    Attributes:
        data: the value of the whole text; None for an empty one.
        positions: key path -> (line, column), from 1, of the key, or of the item in a list.
        values: key path -> (line, column) of the value.
    """

    data: object
    positions: dict[KeyPath, tuple[int, int]]
    values: dict[KeyPath, tuple[int, int]]


class _FaultError(Exception):
    def __init__(self, line: int, column: int, reason: str) -> None:
        super().__init__(reason)
        self.line, self.column, self.reason = line, column, reason


def printable(text: str, limit: int = 0) -> str:
    """The text on one line that any terminal can print, cut to ``limit`` characters (0: whole)."""
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return line[: limit - 1] + "…" if 0 < limit < len(line) else line


def resolve_plain(text: str) -> object:
    """A scalar without quotes as YAML 1.2 reads it; ValueError for a number of too many digits."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    whole = _INT.fullmatch(text)
    if not whole and not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of over {MAX_DIGITS} digits; put it in quotes if it is text")
    if whole:
        base = {"0o": 8, "0x": 16}.get(text[:2])
        return int(text[2:], base) if base else int(text)
    return float(text.replace(".", "") if text[-1] in "fFnN" else text)


def read(path: Path, name: str) -> Document:
    """The YAML file at ``path``; ``name`` is what messages call it. PresetError for any fault."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise PresetError(f"{name}: cannot be read: {error.strerror or error}") from error
    if len(content) > MAX_BYTES:
        raise PresetError(f"{name}:1:1: over {MAX_BYTES:,} bytes; is this a preset?")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise PresetError(f"{name}:1:1: UTF-16 text; save the file as UTF-8")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line, column = _place(before)
        byte = f"{content[error.start]:#04x}"
        raise PresetError(
            f"{name}:{line}:{column}: byte {byte} is not UTF-8 text; save the file as UTF-8"
        ) from error
    return parse(text, name)


def parse(text: str, name: str) -> Document:
    """The YAML document in ``text``; ``name`` is what messages call it.

    Raises:
        PresetError: ``name:line:column: reason; remedy`` for the first fault.
    """
    try:
        return _parse(text)
    except _FaultError as fault:
        raise PresetError(f"{name}:{fault.line}:{fault.column}: {fault.reason}") from fault


def parse_value(text: str, label: str) -> object:
    """The value of a flag: a plain scalar, or quoted text, a [list] or a {mapping} as in a preset.

    Unlike in a file, ``*``, ``&``, ``!``, ``#`` and ``: `` are ordinary text.

    Raises:
        PresetError: ``label: reason; remedy``.
    """
    stripped = text.strip()
    hint = ""
    try:
        _refuse_unprintable(text)
        if not stripped.startswith(("[", "{", '"', "'")):
            return resolve_plain(stripped)
        hint = f"; text that starts with {stripped[0]} needs quotes around it"
        return _parse(stripped).data
    except _FaultError as fault:
        raise PresetError(f"{label}: {fault.reason}{hint}") from fault
    except ValueError as error:
        raise PresetError(f"{label}: {error}") from error


def _place(before: str) -> tuple[int, int]:
    return before.count("\n") + 1, len(before) - before.rfind("\n")


def _refuse_unprintable(text: str) -> None:
    if found := _UNPRINTABLE.search(text):
        code = f"U+{ord(found[0]):04X}"
        raise _FaultError(*_place(text[: found.start()]), f"control character {code}; delete it")


def _parse(text: str) -> Document:
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        raise _FaultError(1, 1, f"over {MAX_BYTES:,} characters; is this a preset?")
    _refuse_unprintable(text)
    loader = yaml.SafeLoader(text)
    try:
        return _Builder(loader).document()
    except yaml.MarkedYAMLError as error:
        raise _explain(error) from error
    except (ValueError, OverflowError) as error:
        # PyYAML hands "\UFFFFFFFF" to chr() as it is.
        mark = loader.get_mark()
        reason = "an escape that is no character; use '\\\\' or single quotes"
        raise _FaultError(mark.line + 1, mark.column + 1, reason) from error
    finally:
        loader.dispose()


def _explain(error: yaml.MarkedYAMLError) -> _FaultError:
    problem = str(error.problem)
    from_start = _FROM_START.search(problem) and error.context_mark
    mark = error.context_mark if from_start else error.problem_mark or error.context_mark
    reason = f"not valid YAML: {problem}"
    for pattern, text in _REASONS:
        if found := re.match(pattern, problem):
            reason = text.format(*found.groups())
            break
    return _FaultError(mark.line + 1, mark.column + 1, printable(reason))


class _Builder:
    """Data and positions from PyYAML's events; nothing is composed, so nothing can expand."""

    def __init__(self, loader: yaml.SafeLoader) -> None:
        self.loader = loader
        self.positions: dict[KeyPath, tuple[int, int]] = {}
        self.values: dict[KeyPath, tuple[int, int]] = {}

    def document(self) -> Document:
        self.loader.get_event()
        data: object = None
        if not self.loader.check_event(yaml.StreamEndEvent):
            self.loader.get_event()
            data = self._node((), 0)
            self.loader.get_event()
            if not self.loader.check_event(yaml.StreamEndEvent):
                raise self._fault(
                    self.loader.get_event(), "a second document; keep one preset in each file"
                )
        return Document(data, self.positions, self.values)

    def _fault(self, event: yaml.Event, reason: str) -> _FaultError:
        return _FaultError(*self._mark(event), reason)

    @staticmethod
    def _mark(event: yaml.Event) -> tuple[int, int]:
        return event.start_mark.line + 1, event.start_mark.column + 1

    def _next(self) -> yaml.Event:
        event = self.loader.get_event()
        if isinstance(event, yaml.AliasEvent):
            name = printable(event.anchor, 40)
            raise self._fault(
                event, f"alias '*{name}'; write the value out, or put text with '*' in quotes"
            )
        if getattr(event, "anchor", None):
            name = printable(event.anchor, 40)
            raise self._fault(event, f"anchor '&{name}'; leave it out, or put text in quotes")
        if getattr(event, "tag", None):
            name = printable(event.tag.replace("tag:yaml.org,2002:", "!!"), 40)
            raise self._fault(event, f"tag '{name}'; leave it out, or put text in quotes")
        return event

    def _node(self, path: KeyPath, depth: int) -> object:
        event = self._next()
        self.values[path] = self._mark(event)
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event)
        if depth == MAX_DEPTH:
            raise self._fault(event, f"nested over {MAX_DEPTH} levels; make it flatter")
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(path, depth)
        return self._sequence(path, depth)

    def _sequence(self, path: KeyPath, depth: int) -> list[object]:
        items: list[object] = []
        while not self.loader.check_event(yaml.SequenceEndEvent):
            here = (*path, len(items))
            items.append(self._node(here, depth + 1))
            self.positions[here] = self.values[here]
        self.loader.get_event()
        return items

    def _mapping(self, path: KeyPath, depth: int) -> dict[str | int, object]:
        mapping: dict[str | int, object] = {}
        while not self.loader.check_event(yaml.MappingEndEvent):
            event = self._next()
            key = self._key(event)
            here = (*path, key)
            if key in mapping:
                first = self.positions[here][0]
                shown = printable(str(key), 40)
                raise self._fault(
                    event, f"key '{shown}' again, after line {first}; keep one of them"
                )
            self.positions[here] = self._mark(event)
            mapping[key] = self._node(here, depth + 1)
        self.loader.get_event()
        return mapping

    def _key(self, event: yaml.Event) -> str | int:
        if not isinstance(event, yaml.ScalarEvent):
            raise self._fault(event, "a list or mapping as a key; use text or a whole number")
        key = self._scalar(event)
        if key == "<<" and event.implicit[0]:
            raise self._fault(event, "merge key '<<'; write the keys out, or use 'extends:'")
        if isinstance(key, bool) or not isinstance(key, str | int):
            shown = printable(event.value, 40)
            raise self._fault(
                event, f"key '{shown}' is neither text nor a whole number; put it in quotes"
            )
        return key

    def _scalar(self, event: yaml.ScalarEvent) -> object:
        if found := _CONTROL.search(event.value):
            code = f"U+{ord(found[0]):04X}"
            raise self._fault(event, f"text with the control character {code}; leave it out")
        if not event.implicit[0]:
            return str(event.value)
        try:
            return resolve_plain(event.value)
        except ValueError as error:
            raise self._fault(event, str(error)) from error
