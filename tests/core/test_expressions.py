"""Arithmetic from text: the right numbers, and nothing else, whatever the text."""

import math
import random

import pytest

from sdcreative.core.expressions import FUNCTIONS, NAMES, SOUND_NAMES, Moment, parse_expression
from sdcreative.errors import UsageError


def value(text, t=20, max_f=100, s=7):
    return parse_expression(text).at(Moment(t, max_f, s))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("7", 7),
        (".5", 0.5),
        ("1.5e1", 15),
        (" t ", 20),
        ("max_f - t", 80),
        ("s", 7),
        ("2*pi", 2 * math.pi),
        ("e", math.e),
        ("2 + 3 * 4", 14),
        ("(2 + 3) * 4", 20),
        ("10 - 3 - 2", 5),
        ("24 / 4 / 2", 3),
        ("7 % 3", 1),
        ("-7 % 3", 2),
        ("2 ** 3 ** 2", 512),
        ("-2 ** 2", -4),
        ("2 ** -1", 0.5),
        ("- - 3", 3),
        ("+3", 3),
        ("7 + 2*sin(t/10)", 7 + 2 * math.sin(2)),
        ("cos(0) + tan(0)", 1),
        ("asin(1) - arcsin(1) + atan(1)", math.pi / 4),
        ("acos(0)", math.pi / 2),
        ("atan2(1, 0)", math.pi / 2),
        ("sqrt(abs(-16))", 4),
        ("log(exp(3))", 3),
        ("log10(1000)", 3),
        ("floor(2.7) + ceil(2.2)", 5),
        ("round(2.5)", 2),
        ("pow(2, 10)", 1024),
        ("min(3, 1, 2) + max(1, t)", 21),
        ("clip(t, 0, 5) + clip(-t, 0, 5)", 5),
        ("t > 10", 1),
        ("(t <= 10) * 5", 0),
        ("(t == 20) + (t != 20) + (t >= 20) + (t < 20)", 2),
        ("where(t % 2 == 0, 1, 5)", 1),
        ("where(t > 50, 1, 5)", 5),
    ],
)
def test_values(text, expected):
    assert value(text) == pytest.approx(expected, abs=1e-12)
    assert type(value(text)) is float


def grown(source, depth):
    """A random expression that Python reads in the same way."""
    kind = source.randrange(6) if depth else source.randrange(2)
    if kind == 0:
        return repr(round(source.uniform(0.1, 9), 2))
    if kind == 1:
        return source.choice(["t", "max_f", "pi", "s"])
    if kind == 2:
        return f"({grown(source, depth - 1)})"
    if kind == 3:
        return f"-{grown(source, depth - 1)}"
    if kind == 4:
        name = source.choice(["sin", "cos", "atan", "abs", "floor", "tanh"])
        return f"{name}({grown(source, depth - 1)})"
    sign = source.choice(["+", "-", "*", "/", "%", " < "])
    left, right = grown(source, depth - 1), grown(source, depth - 1)
    return f"({left}{sign}{right})" if sign == " < " else f"{left}{sign}{right}"


@pytest.mark.parametrize("seed", range(300))
def test_agrees_with_python(seed):
    text = grown(random.Random(seed), 5)
    names = {name: getattr(math, name) for name in ("sin", "cos", "atan", "floor", "tanh", "pi")}
    try:
        expected = eval(text, {"t": 20, "max_f": 100, "s": 7, "abs": abs, **names})  # noqa: S307
    except ZeroDivisionError:
        with pytest.raises(UsageError, match="has no value at frame 20"):
            value(text)
        return
    assert value(text) == pytest.approx(float(expected), rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "'', column 1: something is missing"),
        ("1 +", "'1 +', column 4: something is missing"),
        ("(1", "column 3: it ends; ')' is missing"),
        ("1)", "column 2: ')' cannot stand here"),
        ("2 3", "column 3: '3' cannot stand here"),
        ("1,2", "column 2: ',' cannot stand here"),
        ("2^3", "column 2: '^' cannot stand here"),
        ("1<2<3", "column 4: '<' cannot stand here"),
        ("t.real", "column 2: '.' cannot stand here"),
        ("t[0]", "column 2: '[' cannot stand here"),
        ("'a'", 'column 1: "\'" cannot stand here'),
        ("__import__(t)", "column 1: '__import__' is unknown; there are t, max_f, s, pi, e, sin"),
        ("1 + sinn(t)", "column 5: 'sinn' is unknown; did you mean 'sin'?"),
        ("maxf", "column 1: 'maxf' is unknown; did you mean 'max_f'?"),
        ("lambda", "'lambda' is unknown"),
        ("sin", "column 1: sin is a function; write sin(...)"),
        ("sin()", "column 5: ')' cannot stand here"),
        ("sin(1, 2)", "column 1: sin takes 1 value, not 2"),
        ("min(1)", "column 1: min takes 2 to 20 values, not 1"),
        ("clip(1, 2)", "column 1: clip takes 3 values, not 2"),
        ("٣", "column 1: '٣' cannot stand here"),
    ],
)
def test_faults_are_named_with_their_column(text, message):
    with pytest.raises(UsageError) as error:
        parse_expression(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1/t", "it divides by 0"),
        ("1 % t", "it divides by 0"),
        ("sqrt(t - 1)", "a root, logarithm or power does not exist"),
        ("log(t)", "does not exist"),
        ("(t-1)**0.5", "does not exist"),
        ("asin(t + 2)", "does not exist"),
        ("t**-1", "does not exist"),
        ("exp(9999 + t)", "it is too large"),
        ("9**9**9**9", "it is too large"),
        ("1e999", "it is too large"),
        ("floor(1e999)", "it is too large"),
    ],
)
def test_no_value_at_a_frame(text, reason):
    with pytest.raises(UsageError, match=f"has no value at frame 0: .*{reason}"):
        value(text, t=0)


@pytest.mark.parametrize(
    "text", ["(" * 500, "-" * 900 + "1", "sin(" * 200, "2**" * 300 + "1", "min(1," * 150]
)
def test_what_is_nested_too_deeply_is_refused(text):
    with pytest.raises(UsageError, match="nested over 40 deep"):
        parse_expression(text)


def test_what_is_long_but_flat_is_read():
    assert value("+".join(["1"] * 500)) == 500
    assert value("(" * 39 + "1" + ")" * 39) == 1
    with pytest.raises(UsageError, match="1,001 characters"):
        parse_expression("1" * 1001)


def test_any_text_gives_an_expression_or_a_clear_error():
    source = random.Random(0)
    pieces = [*FUNCTIONS, *NAMES, *"()+-*/%,<>=!. \n\0é^[]{}'\"0123456789", "**", "1e9", "lambda"]
    for _ in range(3000):
        text = "".join(source.choices(pieces, k=source.randrange(12)))
        try:
            assert math.isfinite(value(text))
        except UsageError as error:
            assert str(error)


def test_names_of_sound_are_what_is_heard():
    heard = {name: index / 8 for index, name in enumerate(SOUND_NAMES)}
    for name in SOUND_NAMES:
        expression = parse_expression(f"4 + 8*{name}")
        assert expression.hears
        assert expression.at(Moment(3, 9, 0, heard)) == 4 + 8 * heard[name]
    assert not parse_expression("4 + t").hears


def test_the_branch_that_is_not_taken_need_not_have_a_value():
    assert value("where(t == 20, 5, 1/(t - 20))") == 5
    assert value("where(t != 20, sqrt(-t), 6)") == 6
    assert type(value("where(1, t, 0)")) is float
    with pytest.raises(UsageError, match="divides by 0"):
        value("where(t == 20, 1/(t - 20), 5)")


def test_hearing_needs_a_sound():
    for text in ("onset", "where(t < 0, 1, max(1, onset))"):
        with pytest.raises(UsageError, match="'onset' needs 'audio'"):
            value(text)
    with pytest.raises(UsageError, match="'onse' is unknown; did you mean 'onset'"):
        parse_expression("onse")
