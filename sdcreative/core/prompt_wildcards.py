"""Wildcards: `{a|b|c}` in a prompt is one of these, by the seed and the place."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from .prompt_brackets import SIGN, pairs

_COUNT = re.compile(r"\s*([0-9]{1,9})\$\$")
_JOINT = ", "


def expand_wildcards(prompt: str, seed: int, place: int = 0) -> str:
    """A prompt with one of the options in place of every wildcard.

    ``{2$$a|b|c}`` takes two different ones, in a random order, with commas between them. Options
    may hold wildcards. Braces without a bar or a count are text, as are those behind a backslash.
    The same seed, place and prompt give the same words, on every machine and in every version.

    Args:
        prompt: any text; none is refused.
        seed: of the film or the picture.
        place: tells prompts of one seed apart, such as the keyframes of a film.

    >>> expand_wildcards("a {red|green} {bear|apple}", seed=1)
    'a red bear'
    >>> expand_wildcards("{2$$oak|elm|ash} trees {x}", seed=1)
    'elm, oak trees {x}'
    """
    if "{" not in prompt:
        return prompt
    marks = list(SIGN.finditer(prompt))
    paired = pairs([mark[0] for mark in marks])
    open_ = [_Choice(0)]
    at = 0
    for index, mark in enumerate(marks):
        sign, here = mark[0], open_[-1]
        here.add(prompt[at : mark.start()])
        at = mark.end()
        if sign == "{" and index in paired:
            open_.append(_Choice(mark.start()))
        elif sign == "}" and index in paired:
            done = open_.pop()
            open_[-1].add(done)
        elif sign == "|" and len(open_) > 1 and not here.brackets:
            here.options.append([])
        else:
            here.add(sign)
            if index in paired:
                here.brackets += 1 if sign in "([" else -1
    open_[0].add(prompt[at:])
    return _written(open_[0].options[0], f"{seed}/{place}")


class _Choice:
    """A pair of braces.

    Attributes:
        place: where in the text it is.
        options: text and further braces.
        brackets: how many are open; a bar in them is theirs, as [a|b] takes turns.
    """

    def __init__(self, place: int) -> None:
        self.place, self.brackets = place, 0
        self.options: list[list[str | _Choice]] = [[]]

    def add(self, node: str | _Choice) -> None:
        self.options[-1].append(node)


def _written(nodes: Sequence[str | _Choice], key: str) -> str:
    said: list[str] = []
    # A stack of our own: braces may be deeper than Python's.
    waiting: list[str | _Choice] = list(reversed(nodes))
    while waiting:
        node = waiting.pop()
        if isinstance(node, str):
            said.append(node)
            continue
        options = [list(option) for option in node.options]
        lead = options[0][0] if options[0] else ""
        counted = _COUNT.match(lead) if isinstance(lead, str) else None
        if counted is None and len(options) == 1:
            waiting += ["}", *reversed(options[0]), "{"]
            continue
        if counted is not None:
            options[0][0] = str(lead)[counted.end() :]
        wanted = int(counted[1]) if counted else 1
        chosen: list[str | _Choice] = []
        for turn, index in enumerate(_draw(len(options), wanted, f"{key}/{node.place}")):
            chosen += [_JOINT] if turn else []
            chosen += options[index]
        waiting += reversed(chosen)
    return "".join(said)


def _draw(count: int, wanted: int, key: str) -> list[int]:
    """So many different numbers below ``count``, in a random order."""
    left = list(range(count))
    drawn: list[int] = []
    for turn in range(min(wanted, count)):
        digest = hashlib.sha256(f"{key}/{turn}".encode()).digest()
        at = int.from_bytes(digest[:8], "big") % len(left)
        left[at], left[-1] = left[-1], left[at]
        drawn.append(left.pop())
    return drawn
