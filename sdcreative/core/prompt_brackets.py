"""Which brackets of a prompt belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence

SIGN = re.compile(r"\\[\\()\[\]{}|:<>]|[()\[\]{}|]")
"""brackets, bars, and whatever stands behind a backslash"""

_OPENING = {")": "(", "]": "[", "}": "{"}


def pairs(signs: Sequence[str]) -> set[int]:
    """Indices of the brackets that belong together; one without a partner is text to the others.

    >>> sorted(pairs("([)]")), sorted(pairs("(["))
    ([0, 2], [])
    """
    paired: set[int] = set()
    opened: list[int] = []
    waiting = dict.fromkeys(_OPENING.values(), 0)
    for index, sign in enumerate(signs):
        if sign in waiting:
            opened.append(index)
            waiting[sign] += 1
        elif opening := _OPENING.get(sign):
            while waiting[opening]:
                other = opened.pop()
                waiting[signs[other]] -= 1
                if signs[other] == opening:
                    paired |= {other, index}
                    break
    return paired


def split_prompts(text: str) -> list[str]:
    """Several prompts with bars between them; a bar in brackets or behind a backslash is not one.

    >>> split_prompts("a bear | a {red|green} apple | [cat|dog]")
    ['a bear', 'a {red|green} apple', '[cat|dog]']
    """
    marks = list(SIGN.finditer(text))
    signs = [mark[0] for mark in marks]
    paired = pairs(signs)
    parts, begin, depth = [], 0, 0
    for index, mark in enumerate(marks):
        if index in paired:
            depth += -1 if signs[index] in _OPENING else 1
        elif signs[index] == "|" and depth == 0:
            parts.append(text[begin : mark.start()])
            begin = mark.end()
    return [part.strip() for part in [*parts, text[begin:]]]
