"""AUTOMATIC1111's text of how a picture was made: written, and read in its common form.

    a bear, oil painting
    Negative prompt: blurry
    Steps: 20, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 1, Size: 64x64, Model: emoji

Values that hold commas, colons or line ends stand in quotes, as in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

MOST_CHARACTERS = 1_000_000
"""of such a text; real ones have thousands"""
_NEGATIVE = "Negative prompt:"
_LAST_LINE = re.compile(r"^Steps:[ \t]*\d", re.MULTILINE)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
_END = re.compile("[,\n]")
_NAME = re.compile(r"\s*([^\s:,][^:,\n]*):[ \t]*")


@dataclass(frozen=True)
class Parameters:
    """What such a text says.

    Attributes:
        details: name -> value of the last line, in order: "Steps", "Sampler", "CFG scale", …
    """

    prompt: str
    negative_prompt: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


def format_parameters(parameters: Parameters) -> str:
    """The text.

    >>> print(format_parameters(Parameters("a bear", "", {"Steps": "20", "Model": "a, b"})))
    a bear
    Steps: 20, Model: "a, b"
    """
    lines = [parameters.prompt]
    if parameters.negative_prompt:
        lines.append(f"{_NEGATIVE} {parameters.negative_prompt}")
    pairs = (f"{name}: {_quote(value)}" for name, value in parameters.details.items())
    return "\n".join([*lines, ", ".join(pairs)])


def parse_parameters(text: str) -> Parameters | None:
    """What a text says; None where no line begins with a number of steps, or it is far too long.

    >>> parse_parameters("a bear\\nNegative prompt: blurry\\nSteps: 20, Size: 64x64")
    Parameters(prompt='a bear', negative_prompt='blurry', details={'Steps': '20', 'Size': '64x64'})
    """
    if len(text) > MOST_CHARACTERS:
        return None
    text = text.replace("\r\n", "\n")
    starts = [match.start() for match in _LAST_LINE.finditer(text)]
    if not starts:
        return None
    prompts, last = text[: starts[-1]], text[starts[-1] :]
    prompt, _, negative = f"\n{prompts}".partition(f"\n{_NEGATIVE}")
    return Parameters(prompt.strip(), negative.strip(), _details(last))


def _quote(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r'[,:\n"]', value) else value


def _details(line: str) -> dict[str, str]:
    found: dict[str, str] = {}
    place = 0
    while place < len(line):
        name = _NAME.match(line, place)
        if name is None:
            comma = line.find(",", place)
            place = comma + 1 if comma >= 0 else len(line)
            continue
        place = name.end()
        value = ""
        if quoted := _QUOTED.match(line, place):
            # Of the quoted part alone: an error in a long line costs its length.
            try:
                value, place = json.loads(quoted[0]), quoted.end()
            except ValueError:
                value = ""
        found_end = _END.search(line, place)
        end = found_end.start() if found_end else len(line)
        found[name[1].strip()] = value or line[place:end].strip()
        place = end + 1
    return found
