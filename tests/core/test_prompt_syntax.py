"""What prompts say: weights, schedules, joined prompts, wildcards; and any text at all."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest

from sdcreative.core.prompt_brackets import pairs, split_prompts
from sdcreative.core.prompt_syntax import has_syntax, read_prompt
from sdcreative.core.prompt_wildcards import expand_wildcards
from sdcreative.core.prompt_words import HEAVIEST, LoraTag, Prompt, Wording, term_weights

STEPS = 10
PLAIN = ["", "a bear", "a bear, oil painting", "a: b", "a|b", "{a}", "café 熊 \n\t x", "1:2", "a>b"]
UNBALANCED = [
    "(",
    "a [unbalanced",
    "a (b",
    ":)",
    "a ]) b",
    "((a][:b:c",
    "<lora:",
    "a \\o/ b",
    "a<b",
]


def said(text: str, step: int = 0) -> tuple[Any, ...]:
    """The sections of a prompt without AND."""
    [term] = read_prompt(text).terms
    return term.at(step, STEPS).sections


def pieces(text: str, step: int = 0) -> list[tuple[str, float]]:
    [section] = said(text, step)
    return [(words, pytest.approx(weight, rel=1e-12)) for words, weight in section]


def film(text: str) -> list[str]:
    """The words of every step, weights left out."""
    return ["".join(words for words, _ in said(text, step)[0]) for step in range(STEPS)]


@pytest.mark.parametrize("text", [*PLAIN, *UNBALANCED])
def test_text_without_syntax_is_untouched(text: str) -> None:
    assert Wording(said(text)) == Wording.of(text)
    assert not has_syntax(text)


def test_everything_is_text_where_syntax_is_switched_off() -> None:
    text = "(a:1.2) [b|c] BREAK d AND <lora:e:1> \\( "
    prompt = read_prompt(text, "plain")
    assert [term.at(3, STEPS) for term in prompt.terms] == [Wording.of(text)]
    assert prompt.loras == ()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a (red:1.2) bear", [("a ", 1), ("red", 1.2), (" bear", 1)]),
        ("(word)", [("word", 1.1)]),
        ("((word))", [("word", 1.1**2)]),
        ("[word]", [("word", 1 / 1.1)]),
        ("[[word]]", [("word", 1.1**-2)]),
        ("((a:2) b:3) c", [("a", 6), (" b", 3), (" c", 1)]),
        ("(a [b] c:2)", [("a ", 2), ("b", 2 / 1.1), (" c", 2)]),
        ("(a: 1.5 )", [("a", 1.5)]),
        ("(a:-.5)(b:+2.)", [("a", -0.5), ("b", 2)]),
        ("(a:0)", [("a", 0)]),
        ("(a:1)b", [("ab", 1)]),
        ("(a:b)", [("a:b", 1.1)]),
        ("(a:b:1.5)", [("a:b", 1.5)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a|b)", [("a|b", 1.1)]),
        ("[a:b]", [("a:b", 1 / 1.1)]),
        ("[a:b:c:0.5]", [("a:b:c:0.5", 1 / 1.1)]),
        ("[a:-1]", [("a:-1", 1 / 1.1)]),
        ("(a [b) c]", [("a [b", 1.1), (" c]", 1)]),
        ("()[]a", [("a", 1)]),
        (r"\(a\) \[b\] \\ \: \| \{ \<", [(r"(a) [b] \ : | { <", 1)]),
        (r"(a\):1.5)", [("a)", 1.5)]),
        (r"(a\:1.5)", [("a:1.5", 1.1)]),
        ("(" * 400 + "a" + ")" * 400, [("a", HEAVIEST)]),
    ],
)
def test_weights(text: str, expected: list[tuple[str, float]]) -> None:
    assert [(words, weight) for words, weight in said(text)[0]] == [
        (words, pytest.approx(weight, rel=1e-12)) for words, weight in expected
    ]


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("a [b:3]", {0: "a ", 3: "a b"}),
        ("a [b: 3 ]", {0: "a ", 3: "a b"}),
        ("a [b:.5] c", {0: "a  c", 5: "a b c"}),
        ("a [b::0.5] c", {0: "a b c", 5: "a  c"}),
        ("[b:c:0.29]", {0: "b", 2: "c"}),
        ("[b:c:0.7]", {0: "b", 7: "c"}),
        ("[b:c:0]", {0: "c"}),
        ("[b:c:1]", {0: "b", 1: "c"}),
        ("[b:c:1.0]", {0: "b"}),
        ("[b:c:99]", {0: "b"}),
        ("[b:c:" + "9" * 20 + "]", {0: "b"}),
        ("a[b:[c:d:2]:1]e", {0: "abe", 1: "ace", 2: "ade"}),
        ("[(a:2):3]", {0: "", 3: "a"}),
        ("a [[[b]]:2]", {0: "a ", 2: "a b"}),
        ("((a][:b:c [d:3]", {0: "((a][:b:c ", 3: "((a][:b:c d"}),
        ("[a|b]", {step: "ab"[step % 2] for step in range(STEPS)}),
        ("[fe|||]male", {step: "male" if step % 4 else "female" for step in range(STEPS)}),
        (
            "[[a|b]:[c|d|e]:4]",
            {step: "ab"[step % 2] if step < 4 else "cde"[step % 3] for step in range(STEPS)},
        ),
        ("[a:0.5|b]", {step: "b" if step % 2 else "a:0.5" for step in range(STEPS)}),
    ],
)
def test_schedules(text: str, changes: dict[int, str]) -> None:
    expected = [changes[max(at for at in changes if at <= step)] for step in range(STEPS)]
    assert film(text) == expected
    found = read_prompt(text).changes(STEPS)
    assert {step for step in range(1, STEPS) if expected[step] != expected[step - 1]} <= found
    assert found <= set(range(1, STEPS))


def test_rounding_moves_no_schedule() -> None:
    """0.29 * 100 is 28.999… in floating point."""
    [term] = read_prompt("[a:b:0.29]").terms
    assert term.changes(100) == {29}


def test_weights_reach_into_schedules() -> None:
    assert pieces("([a:(b:2):5]:1.5)") == [("a", 1.5)]
    assert pieces("([a:(b:2):5]:1.5)", 5) == [("b", 3)]


def test_break_begins_a_section() -> None:
    assert said("a BREAK b") == ((("a", 1.0),), (("b", 1.0),))
    assert said("a\nBREAK\n\n(b:2)") == ((("a", 1.0),), (("b", 2.0),))
    assert said("(a BREAK b:1.5)") == ((("a", 1.5),), (("b", 1.5),))
    assert said("BREAK") == ((), ())
    assert said("a BREAKER") == ((("a BREAKER", 1.0),),)


def test_and_joins_prompts() -> None:
    prompt = read_prompt("a (cat:2) AND a dog :0.5 AND 12:30 : -1 AND (x AND y)")
    assert [term.weight for term in prompt.terms] == [1, 0.5, -1, 1]
    assert [term.at(0, 1).sections[0] for term in prompt.terms] == [
        (("a ", 1.0), ("cat", 2.0)),
        (("a dog", 1.0),),
        (("12:30", 1.0),),
        (("x AND y", 1.1),),
    ]
    assert len(read_prompt("SAND ANDY and").terms) == 1
    # A weight belongs to AND; without it the colon is text.
    assert said("at 12:30") == ((("at 12:30", 1.0),),)
    assert len(read_prompt("a AND b", joined=False).terms) == 1


def test_loras_are_taken_out() -> None:
    prompt = read_prompt("a <lora:my Style (v2):0.8>bear<lora:b> <lora:c:1:.5>")
    assert prompt.loras == (
        LoraTag("my Style (v2)", 0.8, 0.8),
        LoraTag("b", 1.0, 1.0),
        LoraTag("c", 1.0, 0.5),
    )
    assert prompt.terms[0].at(0, 1) == Wording.of("a bear ")
    for text in ("<lora:a:b>", "<lora::1>", "<lora:a", "<lyrics:a:1>"):
        assert read_prompt(text).loras == ()
        assert said(text) == ((((text, 1.0)),),)
    assert said(r"\<lora:a:1>") == ((("<lora:a:1>", 1.0),),)


def test_terms_of_two_prompts_are_paired() -> None:
    one, two = read_prompt("a"), read_prompt("b :1 AND c :0.5")
    assert term_weights(one, None, 0.3) == (1.0,)
    assert term_weights(one, two, 0.25) == (1.0, 0.125)
    assert term_weights(two, one, 0.25) == (1.0, 0.375)


def test_weights_are_those_of_another_parser() -> None:
    embedder = pytest.importorskip("diffusion_prompt_embedder")
    drawn = random.Random(7)

    def words(depth: int) -> str:
        kind = drawn.randrange(6 if depth < 4 else 1)
        inner = "" if kind == 0 else words(depth + 1) + words(depth + 1)
        weight = drawn.choice(["0.5", "1.3", " 2", "-1", ".25", "1"])
        plain = drawn.choice(["a ", "red bear, ", "b\\(c\\)", " x: y", "\n", "熊"])
        return [plain, f"({inner})", f"[{inner}]", f"({inner}:{weight})", inner, f"{inner}(q)"][
            kind
        ]

    for _ in range(300):
        text = words(0)
        theirs = [(part, weight) for part, weight in embedder.parse_prompt_attention(text) if part]
        ours = [(part, weight) for part, weight in said(text)[0] if part]
        # Where a group is empty, they keep neighbours of one weight apart.
        letters = [
            [(letter, weight) for part, weight in each for letter in part]
            for each in (ours, theirs)
        ]
        assert len(letters[0]) == len(letters[1]), text
        for (letter, weight), (other, expected) in zip(*letters, strict=True):
            assert letter == other and math.isclose(weight, expected, rel_tol=1e-9), text


def test_any_text_is_read() -> None:
    signs = [*"()[]{}|:\\<>$,. \n", "BREAK", "AND", "0.5", "12", "a", "lora:", "<lora:x:1>", "2$$"]
    drawn = random.Random(1)
    for _ in range(3000):
        text = "".join(drawn.choices(signs, k=drawn.randrange(40)))
        expand_wildcards(text, 1)
        split_prompts(text)
        has_syntax(text)
        for joined in (True, False):
            prompt = read_prompt(text, joined=joined)
            for step in (0, *prompt.changes(5)):
                for term in prompt.terms:
                    assert abs(term.weight) <= HEAVIEST
                    for section in term.at(step, 5).sections:
                        assert all(abs(weight) <= HEAVIEST for _, weight in section)
    for _ in range(300):
        text = "".join(chr(drawn.randrange(1, 0x3000)) for _ in range(60))
        read_prompt(text)
        expand_wildcards(text, 1)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        ")" * 100_000,
        "[(" * 50_000,
        "[" * 33_000 + ":2]" * 33_000,
        "[|" * 25_000 + "]" * 50_000,
        "\\" * 100_000,
        "<lora:" * 16_000,
        "a AND " * 16_000,
        "BREAK " * 16_000,
        "{" * 50_000 + "|}" * 25_000,
        "{2$$" * 20_000 + "}" * 20_000,
    ],
    ids=lambda text: f"{text[:6]}…",
)
def test_a_hundred_thousand_brackets_are_read_in_time(text: str) -> None:
    began = time.process_time()
    for term in read_prompt(text).terms:
        term.at(0, 20)
        term.changes(20)
    expand_wildcards(text, 1)
    split_prompts(text)
    # Quadratic time would be minutes.
    assert time.process_time() - began < 20


def test_brackets_are_paired_around_what_has_no_partner() -> None:
    assert pairs("(a [b) c".replace(" ", "")) == {0, 4}
    assert pairs("{([}])") == {0, 3}


def test_wildcards_are_chosen_by_seed_and_place() -> None:
    text = "a {red|green|blue} {bear|apple}"
    found = {seed: expand_wildcards(text, seed) for seed in range(60)}
    assert set(found.values()) == {
        f"a {colour} {thing}" for colour in ("red", "green", "blue") for thing in ("bear", "apple")
    }
    assert found == {seed: expand_wildcards(text, seed) for seed in range(60)}
    assert len({expand_wildcards(text, 0, place) for place in range(30)}) == 6
    # These stay in every version: films are rendered again from their seeds.
    assert [found[seed] for seed in range(3)] == ["a green apple", "a red bear", "a green bear"]


def test_several_of_a_wildcards_options_are_different() -> None:
    for seed in range(30):
        taken = expand_wildcards("{2$$a|b|c}", seed).split(", ")
        assert len(set(taken)) == 2 and set(taken) <= {"a", "b", "c"}
    assert sorted(expand_wildcards("{9$$a|b}", 1).split(", ")) == ["a", "b"]
    assert expand_wildcards("x{0$$a|b}", 1) == "x"
    assert expand_wildcards("{1$$a}", 1) == "a"


def test_wildcards_hold_wildcards_and_syntax() -> None:
    found = {expand_wildcards("{a|{b|c}|[d|e]|(f:{1|2})}", seed) for seed in range(200)}
    assert found == {"a", "b", "c", "[d|e]", "(f:1)", "(f:2)"}


@pytest.mark.parametrize("text", ["{a}", "{}", "{ {a} }", "{a", "a|b}", r"\{a|b\}", "[{a}|b]"])
def test_other_braces_are_text(text: str) -> None:
    assert expand_wildcards(text, 1) == text


def test_prompts_are_split_outside_brackets() -> None:
    assert split_prompts("a bear | an apple") == ["a bear", "an apple"]
    assert split_prompts(r"[a|b] | {c|(d|e)} | f\|g | h (|i") == [
        "[a|b]",
        "{c|(d|e)}",
        r"f\|g",
        "h (",
        "i",
    ]
    assert split_prompts("") == [""]


def test_a_prompt_is_read_once() -> None:
    assert read_prompt("a (b)") is read_prompt("a (b)")
    assert isinstance(Prompt.plain("a").terms[0].at(0, 1), Wording)
