"""Arithmetic of the frame number, as text: ``7 + 2*sin(t/10)``.

The expressions of Deforum's schedules, which are those of numexpr. They are read by a parser of
their own into functions of floats, so that text from a preset can do nothing but arithmetic, and
nothing that takes long: floats have no large powers.

    comparison: sum [(< | <= | > | >= | == | !=) sum], 1 where it holds and 0 elsewhere
    sum:        product {(+ | -) product}
    product:    sign {(* | / | %) sign}
    sign:       (+ | -) sign | power
    power:      atom [** sign]
    atom:       number | name | name(comparison {, comparison}) | (comparison)
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from ..errors import UsageError
from .expression_names import FUNCTIONS, NAMES, SOUND_NAMES, Hearing, Moment, Value

__all__ = [
    "FUNCTIONS",
    "NAMES",
    "SOUND_NAMES",
    "Expression",
    "Hearing",
    "Moment",
    "parse_expression",
]

MAX_LENGTH = 1_000
MAX_DEPTH = 40


@dataclass(frozen=True)
class Expression:
    """A number for every frame.

    Attributes:
        text: as it was written.
        hears: whether it has one of ``SOUND_NAMES`` in it.
    """

    text: str
    _value: Value
    hears: bool = False

    def at(self, moment: Moment) -> float:
        """The value at a frame.

        Raises:
            UsageError: it is no number there: a division by 0, the root of a negative number; or
                it hears, and there is no sound.
        """
        try:
            value = float(self._value(moment))
        except ZeroDivisionError as error:
            raise self._fault(moment, "it divides by 0") from error
        except OverflowError as error:
            raise self._fault(moment, "it is too large") from error
        except ValueError as error:
            raise self._fault(moment, "a root, logarithm or power does not exist") from error
        if not math.isfinite(value):
            raise self._fault(moment, "it is too large")
        return value

    def _fault(self, moment: Moment, reason: str) -> UsageError:
        return UsageError(f"{self.text!r} has no value at frame {moment.t:g}: {reason}")


def parse_expression(text: str, *, column: int = 1, whole: str | None = None) -> Expression:
    """Read an expression.

    Known are ``t``, the frame number from 0; ``max_f``, that of the last frame; ``s``, the seed;
    ``pi`` and ``e``; ``onset``, ``beat``, ``bass``, ``mid``, ``treble`` and ``loudness``, from 0 to
    1, of what is heard at the frame; sin, cos, tan, asin, acos, atan (also arcsin, ...), atan2,
    sinh, cosh, tanh, sqrt, abs, exp, log, log10, floor, ceil, round, pow, min, max,
    clip(x, low, high) and where(condition, then, otherwise). Angles are in radians. The remainder
    ``%`` has the sign of its divisor; a half is rounded to the even neighbour.

    Args:
        text: at most 1,000 characters, nested at most 40 deep.
        column: where the text begins in ``whole``, from 1.
        whole: the text that messages show, where the expression is a part of it.

    Raises:
        UsageError: no expression; with the column.
    """
    parser = _Parser(text, column, whole or text)
    return Expression(text.strip(), parser.parse(), parser.hears)


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
}
_SUMS = {"+": operator.add, "-": operator.sub}
_PRODUCTS = {"*": operator.mul, "/": operator.truediv, "%": operator.mod}
_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|(?P<name>[A-Za-z_]\w*)"
    r"|(?P<symbol>\*\*|[<>=!]=|[-+*/%(),<>]))",
    re.ASCII,
)


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    column: int


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str, column: int, whole: str) -> None:
        self.whole = whole
        if len(text) > MAX_LENGTH:
            raise UsageError(
                f"an expression of {len(text):,} characters, which begins {text[:20]!r}; "
                f"{MAX_LENGTH:,} is the most"
            )
        self.tokens = self._tokens(text.rstrip(), column)
        self.depth = self.index = 0
        self.hears = False

    def parse(self) -> Value:
        value = self._comparison()
        if self._token.kind != "end":
            raise self._fault(f"{self._token.text!r} cannot stand here")
        return value

    def _tokens(self, text: str, column: int) -> list[_Token]:
        tokens: list[_Token] = []
        at = 0
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                where = _Token("", text[at], column + at)
                raise self._fault(f"{where.text!r} cannot stand here", where)
            kind = match.lastgroup or ""
            tokens.append(_Token(kind, match[kind], column + match.start(kind)))
            at = match.end()
        tokens.append(_Token("end", "", column + len(text)))
        return tokens

    @property
    def _token(self) -> _Token:
        return self.tokens[self.index]

    def _next(self, *symbols: str) -> str | None:
        """Take the next token if it is one of these symbols."""
        if self._token.kind != "symbol" or self._token.text not in symbols:
            return None
        self.index += 1
        return self.tokens[self.index - 1].text

    def _expect(self, symbol: str) -> None:
        if not self._next(symbol):
            found = f"{self._token.text!r} cannot stand here" if self._token.text else "it ends"
            raise self._fault(f"{found}; {symbol!r} is missing")

    def _fault(self, reason: str, token: _Token | None = None) -> UsageError:
        token = token or self._token
        return UsageError(f"{self.whole!r}, column {token.column}: {reason}")

    def _comparison(self) -> Value:
        left = self._chain(lambda: self._chain(self._sign, _PRODUCTS), _SUMS)
        symbol = self._next(*_COMPARISONS)
        if symbol is None:
            return left
        holds = _COMPARISONS[symbol]
        right = self._chain(lambda: self._chain(self._sign, _PRODUCTS), _SUMS)
        return lambda moment: float(holds(left(moment), right(moment)))

    def _chain(
        self, part: Callable[[], Value], operators: dict[str, Callable[[float, float], float]]
    ) -> Value:
        """Parts joined by operators of equal rank, from left to right."""
        first = part()
        rest: list[tuple[Callable[[float, float], float], Value]] = []
        while symbol := self._next(*operators):
            rest.append((operators[symbol], part()))
        if not rest:
            return first

        def value(moment: Moment) -> float:
            result = first(moment)
            for operate, operand in rest:
                result = operate(result, operand(moment))
            return result

        return value

    def _sign(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._fault(f"nested over {MAX_DEPTH} deep")
        symbol = self._next("+", "-")
        value = self._power() if symbol is None else self._sign()
        self.depth -= 1
        return (lambda moment: -value(moment)) if symbol == "-" else value

    def _power(self) -> Value:
        base = self._atom()
        if not self._next("**"):
            return base
        exponent = self._sign()
        return lambda moment: math.pow(base(moment), exponent(moment))

    def _atom(self) -> Value:
        token = self._token
        if self._next("("):
            value = self._comparison()
            self._expect(")")
            return value
        if token.kind not in ("number", "name"):
            raise self._fault(
                f"{token.text!r} cannot stand here" if token.text else "something is missing"
            )
        self.index += 1
        if token.kind == "number":
            number = float(token.text)
            return lambda moment: number
        if self._next("("):
            return self._call(token)
        if token.text in NAMES:
            self.hears = self.hears or token.text in SOUND_NAMES
            return NAMES[token.text]
        if token.text in FUNCTIONS:
            raise self._fault(f"{token.text} is a function; write {token.text}(...)", token)
        raise self._unknown(token)

    def _call(self, name: _Token) -> Value:
        if name.text not in FUNCTIONS:
            raise self._unknown(name)
        arguments = [self._comparison()]
        while self._next(","):
            arguments.append(self._comparison())
        self._expect(")")
        function, fewest, most = FUNCTIONS[name.text]
        if not fewest <= len(arguments) <= most:
            wanted = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise self._fault(
                f"{name.text} takes {wanted} value{'' if most == 1 else 's'}, not {len(arguments)}",
                name,
            )
        if name.text == "where":
            # The branch that is not taken need not have a value: where(t > 0, 1/t, 1).
            condition, then, otherwise = arguments
            return lambda moment: (then if condition(moment) else otherwise)(moment)
        return lambda moment: float(function(*(argument(moment) for argument in arguments)))

    def _unknown(self, name: _Token) -> UsageError:
        close = difflib.get_close_matches(name.text, [*NAMES, *FUNCTIONS], n=1)
        hint = f"did you mean {close[0]!r}?" if close else "there are t, max_f, s, pi, e, sin, ..."
        return self._fault(f"{name.text!r} is unknown; {hint}", name)
