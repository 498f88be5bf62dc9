"""Prompts in AUTOMATIC1111's syntax to what they say.

    (word:1.2)  ((word))  [word]    weights: 1.2, 1.1 twice, 1 / 1.1
    [a:b:0.5]  [a:b:12]             a, from half the steps or after 12 of them b
    [a:0.5]  [a::0.5]               a from there on; a until there
    [a|b]                           a and b by turns, step by step
    BREAK                           what follows begins a new chunk
    one AND another :0.5            two prompts, their predictions added by weight
    <lora:name:0.8>                 taken out, and given back as data
    \\( \\[ \\: \\| \\< \\\\             the sign itself

Anything else is text, unbalanced brackets too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from .prompt_brackets import pairs
from .prompt_words import (
    BREAK,
    HEAVIEST,
    Alternating,
    Edited,
    LoraTag,
    Node,
    Prompt,
    Prompts,
    Term,
    Weighted,
    Wording,
)

STRESS = 1.1
"""what a pair of round brackets multiplies by, and a square pair divides by"""

_SYNTAX = re.compile(r"[\\(\[<]|\bBREAK\b|\bAND\b")
_MARK = re.compile(r"\\[\\()\[\]{}|:<>]|[()\[\]|:]|\bBREAK\b|\bAND\b")
_NUMBER = re.compile(r"\s*([+-]?(?:[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20}))\s*")
_LORA = re.compile(r"(?<!\\)<lora:([^<>:]+)((?::[^<>:]*){0,2})>")


def read_prompt(text: str, prompts: Prompts = "weighted", *, joined: bool = True) -> Prompt:
    """What a prompt says.

    Args:
        text: any text; none is refused.
        prompts: plain takes every character as text.
        joined: whether AND joins prompts; for negative prompts it is a word.
    """
    if prompts == "plain" or not _SYNTAX.search(text):
        return Prompt.plain(text)
    return _parse(text, joined)


def has_syntax(text: str) -> bool:
    """Whether any of a text is more than its words.

    >>> has_syntax("a (red:1.2) bear"), has_syntax("a bear :)")
    (True, False)
    """
    prompt = read_prompt(text)
    # Brackets that mean something are not among the words.
    return len(prompt.terms) > 1 or prompt.terms[0].at(0, 1) != Wording.of(text)


class _Sign(str):
    """A colon or bar that may mean something to the brackets around it."""

    __slots__ = ()


@dataclass(eq=False)
class _Frame:
    """Brackets, or a term, whose end is not reached."""

    opening: str
    items: list[Node] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def close(self) -> list[Node]:
        """What is in it, neighbouring text joined, signs apart."""
        if self.text:
            self.items.append("".join(self.text))
            self.text = []
        return self.items

    def add(self, node: Node) -> None:
        self.close().append(node)


@lru_cache(maxsize=256)
def _parse(text: str, joined: bool) -> Prompt:
    loras: list[LoraTag] = []

    def take(match: re.Match[str]) -> str:
        lora = _lora(match[1], match[2])
        if lora is None:
            return match[0]
        loras.append(lora)
        return ""

    text = _LORA.sub(take, text)
    marks = list(_MARK.finditer(text))
    paired = pairs([mark[0] for mark in marks])
    terms: list[list[Node]] = []
    frames = [_Frame("")]
    at = 0
    for index, mark in enumerate(marks):
        sign = mark[0]
        frame = frames[-1]
        frame.text.append(text[at : mark.start()])
        at = mark.end()
        if sign.startswith("\\"):
            frame.text.append(sign[1])
        elif sign == "BREAK":
            frame.add(BREAK)
        elif sign == "AND" and joined and len(frames) == 1:
            terms.append(frame.close())
            frames = [_Frame("")]
        elif sign in (":", "|"):
            frame.add(_Sign(sign))
        elif index not in paired:
            frame.text.append(sign)
        elif sign in "([":
            frames.append(_Frame(sign))
        else:
            frames.pop()
            for node in _group(frame.opening, frame.close()):
                frames[-1].add(node)
    frames[0].text.append(text[at:])
    terms.append(frames[0].close())
    if len(terms) == 1:
        return Prompt((Term(_worded(terms[0])),), tuple(loras))
    return Prompt(tuple(_term(nodes) for nodes in terms), tuple(loras))


def _lora(name: str, numbers: str) -> LoraTag | None:
    weights = [_NUMBER.fullmatch(number) for number in numbers.split(":")[1:]]
    values = [float(each[1]) for each in weights if each is not None]
    if len(values) < len(weights) or not name.strip():
        return None
    text_encoder = values[0] if values else 1.0
    return LoraTag(name.strip(), text_encoder, values[1] if len(values) > 1 else text_encoder)


def _group(opening: str, items: list[Node]) -> Iterator[Node]:
    """What a pair of brackets stands for."""
    if opening == "(":
        inside, weight = _weighed(items)
        yield Weighted(_worded(inside), STRESS if weight is None else weight)
        return
    if any(_is(item, "|") for item in items):
        yield Alternating([_worded(part) for part in _split(items, "|")])
        return
    *parts, last = _split(items, ":")
    number = _number(last)
    if number and 1 <= len(parts) <= 2 and number[0] not in "+-":
        before, after = parts if len(parts) == 2 else ([], parts[0])
        yield Edited(_worded(before), _worded(after), float(number), "." in number)
        return
    yield Weighted(_worded(items), 1 / STRESS)


def _term(items: list[Node]) -> Term:
    inside, weight = _weighed(items)
    nodes = list(_worded(inside))
    if nodes and isinstance(nodes[0], str):
        nodes[0] = nodes[0].lstrip()
    if nodes and isinstance(nodes[-1], str):
        nodes[-1] = nodes[-1].rstrip()
    nodes = [node for node in nodes if node != ""]
    return Term(nodes, 1.0 if weight is None else max(-HEAVIEST, min(HEAVIEST, weight)))


def _weighed(items: list[Node]) -> tuple[list[Node], float | None]:
    """Words and the number behind the last colon; None where there is none."""
    if len(items) > 1 and _is(items[-2], ":") and (number := _number(items[-1:])):
        return items[:-2], float(number)
    return items, None


def _number(items: Sequence[Node]) -> str | None:
    if len(items) != 1 or not isinstance(items[0], str):
        return None
    match = _NUMBER.fullmatch(items[0])
    return match and match[1]


def _is(item: Node, sign: str) -> bool:
    return isinstance(item, _Sign) and item == sign


def _split(items: Sequence[Node], sign: str) -> list[list[Node]]:
    parts: list[list[Node]] = [[]]
    for item in items:
        if _is(item, sign):
            parts.append([])
        else:
            parts[-1].append(item)
    return parts


def _worded(items: Sequence[Node]) -> list[Node]:
    """Signs that mean nothing are text; white space around BREAK is none."""
    nodes: list[Node] = []
    for item in items:
        after_break = bool(nodes) and nodes[-1] is BREAK
        if isinstance(item, str):
            text = str(item).lstrip() if after_break else str(item)
            if text:
                nodes.append(text)
        else:
            if item is BREAK and nodes and isinstance(nodes[-1], str):
                nodes[-1] = nodes[-1].rstrip()
            nodes.append(item)
    return nodes
