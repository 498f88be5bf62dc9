"""Texts that a learned word is tried in: by itself, and in scenes that it was not taught in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from sdcreative import UsageError

Kind = Literal["object", "style"]
PLACE = "{}"
"""stands for the word in a template"""
_ARTICLE = re.compile(r"\b([Aa])n? \{\}")

PROMPTS: dict[Kind, tuple[str, ...]] = {
    "object": ("a picture of a {}",),
    "style": ("a picture of an owl, {} style", "a picture of a banana, {} style"),
}
"""templates of the word by itself, for either kind of thing that is learned"""
SCENES: dict[Kind, tuple[str, ...]] = {
    "object": (
        "a picture of a {}, on a blue background",
        "a picture of a {}, on a red background",
        "a picture of a {}, on a green background",
        "a picture of a {}, on a black background",
    ),
    "style": (
        "a picture of a bear, {} style",
        "a picture of a red apple, {} style",
        "a picture of a fish, {} style",
        "a picture of a pizza, {} style",
    ),
}
"""templates of scenes, of words that the built-in model knows"""


@dataclass(frozen=True)
class Scene:
    """Something asked for beside the word.

    Attributes:
        template: a prompt with ``{}`` for the word.
        text: what is left of it without the word: what its pictures have to show as well.
    """

    template: str
    text: str


def read_scene(template: str) -> Scene:
    """A scene of its template; commas part what names the word from what does not.

    >>> read_scene("a picture of a {}, on a blue background").text
    'on a blue background'

    Raises:
        UsageError: no place for the word, or nothing but the word.
    """
    clauses = [clause.strip() for clause in check_prompt(template).split(",")]
    rest = [clause for clause in clauses if clause and PLACE not in clause]
    if not rest:
        raise UsageError(
            f"the scene {template!r} says nothing beside {PLACE}; add it after a comma, "
            f"as in 'a picture of a {PLACE}, on a blue background'"
        )
    return Scene(template, ", ".join(rest))


def check_prompt(template: str) -> str:
    """The template itself, if the word has a place in it.

    Raises:
        UsageError: it has none.
    """
    if PLACE not in template:
        raise UsageError(
            f"{template!r} has no place for the word; write {PLACE} there, "
            f"as in 'a picture of a {PLACE}'"
        )
    return template


def fill(template: str, word: str) -> str:
    """A prompt; "a {}" becomes "an owl".

    >>> fill("a picture of a {}", "owl"), fill("a picture of an {}", "<toy>")
    ('a picture of an owl', 'a picture of a <toy>')
    """
    vowel = word[:1].lower() in tuple("aeiou")
    with_article = _ARTICLE.sub(lambda found: f"{found[1]}{'n' * vowel} {PLACE}", template)
    return with_article.replace(PLACE, word)


@dataclass(frozen=True)
class Wanted:
    """A picture to be made: its template and its place among the seeds."""

    template: str
    number: int


def plan(prompts: Sequence[str], scenes: Sequence[Scene], seeds: int) -> list[list[Wanted]]:
    """Pictures in groups: the word by itself, then each scene; every group has the same seeds.

    Args:
        prompts: templates of the word by itself, taken in turn.
        scenes: what it is tried in.
        seeds: how many pictures of each group.
    """
    alone = [Wanted(prompts[number % len(prompts)], number) for number in range(seeds)]
    within = [[Wanted(scene.template, number) for number in range(seeds)] for scene in scenes]
    return [alone, *within]
