r"""Selectors: `http_requests_total{service="trips",status=~"5.."}`, read and matched as Prometheus does.

Regular expressions are RE2's, always matched against the whole value. Python's engine matches them here, so what RE2
lacks (back-references, look-around) is refused, and so is what could make a backtracking engine run for minutes.
This module must never accept a range, an offset or a function: the rule's window says what is asked.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from enum import StrEnum

import msgspec

#: Longest regular expression, in characters.
MAX_PATTERN = 1000
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_MATCHER = re.compile(
    r"""\s*([a-zA-Z_][a-zA-Z0-9_]*)\s*(=~|!~|!=|=)\s*("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)\s*"""
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_PLAIN_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}


class Operator(StrEnum):
    """How a label is compared."""

    EQUAL = "="
    NOT_EQUAL = "!="
    MATCHES = "=~"
    MATCHES_NOT = "!~"


class Matcher(msgspec.Struct, frozen=True):
    """One condition on a label. A label that a series does not have is the empty text."""

    label: str
    operator: Operator
    value: str

    def accepts(self, value: str) -> bool:
        """Whether a label with this value passes. Raises `ValueError` for a pattern that cannot be matched here."""
        match self.operator:
            case Operator.EQUAL:
                return value == self.value
            case Operator.NOT_EQUAL:
                return value != self.value
            case Operator.MATCHES:
                return compile_pattern(self.value).fullmatch(value) is not None
            case Operator.MATCHES_NOT:
                return compile_pattern(self.value).fullmatch(value) is None


class Selector(msgspec.Struct, frozen=True):
    """A metric's name and the conditions on its labels."""

    name: str
    matchers: tuple[Matcher, ...] = ()

    def accepts(self, labels: Mapping[str, str]) -> bool:
        """Whether a series of this name with these labels is selected."""
        return all(matcher.accepts(labels.get(matcher.label, "")) for matcher in self.matchers)


@functools.lru_cache(maxsize=4096)
def parse_selector(text: str) -> Selector:
    """The selector written in `text`. Raises `ValueError` with a sentence that says what is wrong and where.

    The metric is named in front of the braces, or by one `__name__="..."` inside. Regular expressions are only read
    here; `compile_pattern` judges them.
    """
    stripped = text.strip()
    found = _NAME.match(stripped)
    name = found.group() if found else ""
    rest = stripped[len(name) :].lstrip()
    matchers: list[Matcher] = []
    if rest.startswith("{"):
        matchers, rest = _matchers(text, rest[1:])
    if rest:
        raise ValueError(
            f'{text!r}: {rest[:20]!r} does not belong to a selector; write NAME{{LABEL="VALUE"}} only'
        )
    named = [matcher for matcher in matchers if matcher.label == "__name__"]
    if not name and len(named) == 1 and named[0].operator is Operator.EQUAL:
        name, matchers = named[0].value, [matcher for matcher in matchers if matcher is not named[0]]
    elif named:
        raise ValueError(f"{text!r}: the metric is named once, and without a regular expression")
    if not name:
        raise ValueError(f"{text!r}: a selector begins with the name of a metric")
    return Selector(name, tuple(matchers))


def _matchers(text: str, inside: str) -> tuple[list[Matcher], str]:
    """The matchers after an opening brace, and what follows the closing one."""
    matchers: list[Matcher] = []
    rest = inside.lstrip()
    while not rest.startswith("}"):
        found = _MATCHER.match(rest)
        if found is None:
            raise ValueError(f'{text!r}: expected LABEL="VALUE" at {rest[:20]!r}')
        label, operator, quoted = found.groups()
        matchers.append(Matcher(label, Operator(operator), _unquote(text, quoted)))
        rest = rest[found.end() :]
        if rest.startswith(","):
            rest = rest[1:].lstrip()
        elif not rest.startswith("}"):
            raise ValueError(f"{text!r}: expected a comma or a closing brace at {rest[:20]!r}")
    return matchers, rest[1:].lstrip()


def _unquote(text: str, quoted: str) -> str:
    inner = quoted[1:-1]
    if quoted[0] == "`":
        return inner

    def plain(match: re.Match[str]) -> str:
        code = match.group(1)
        if len(code) == 1:
            if code not in _PLAIN_ESCAPES:
                raise ValueError(
                    f"{text!r}: unknown escape \\{code}; write \\\\{code} for a backslash in a value"
                )
            return _PLAIN_ESCAPES[code]
        number = int(code[1:], 16) if code[0] in "xuU" else int(code, 8)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise ValueError(f"{text!r}: \\{code} is no character")
        return chr(number)

    return _ESCAPE.sub(plain, inner)


#: `(?:`, `(?P<name>`, `(?i)`, `(?s:`: the group openings that RE2 and Python share.
_GROUP = re.compile(r"\((?:\?(?:P<\w+>|[ims]*:|[ims]+\)))?", re.ASCII)
_QUANTIFIER = re.compile(r"(?:[*+?]|\{(\d+)(?:(,)(\d*))?\})\??", re.ASCII)
_CLASS = re.compile(r"\[\^?\]?(?:[^\]\\]|\\.)*\]", re.DOTALL)
#: What a backslash may stand before: the same in RE2 and Python.
_SHARED_ESCAPES = frozenset("dDwWsSbBntrfvax")
#: What one part of a pattern may cost in doublings of the work: a free repeat over a value of 1,024 characters is 10.
_REPEAT_COST, _CHOICE_COST, _BUDGET = 10, 1, 32


@functools.lru_cache(maxsize=4096)
def compile_pattern(pattern: str) -> re.Pattern[str]:
    r"""A pattern to `fullmatch` with. Raises `ValueError` when RE2 would refuse it or Python could take too long.

    Refused: more than 1,000 characters, back-references, look-around, possessive repeats, classes such as `[:alpha:]`
    and `\pL`, more than three free repeats, and a repeated group that has repeats or alternatives inside.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(
            f"a regular expression of {len(pattern)} characters is too long (at most {MAX_PATTERN})"
        )
    try:
        return re.compile(_Translation(pattern).text, re.ASCII | re.DOTALL)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from None


class _Translation:
    """One pass over a pattern: refuses what differs or explodes, and writes down what Python shall compile."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._cost = 0
        self._varies: list[bool] = [False]  # by open group, outermost first
        self._last_varies = False  # whether what stands before the next quantifier has choices inside
        self._out: list[str] = []
        while self._at < len(pattern):
            self._step(pattern[self._at])
        self.text = "".join(self._out)

    def _refuse(self, why: str) -> ValueError:
        return ValueError(f"the regular expression {self._pattern!r} {why}")

    def _step(self, character: str) -> None:
        if character == "\\":
            self._escape()
        elif character == "[":
            self._class()
        elif character == "(":
            self._open()
        elif character == ")":
            self._close()
        elif character in "*+?{":
            self._quantifier()
        elif character == "|":
            self._alternative()
        else:
            self._take(character)

    def _alternative(self) -> None:
        if len(self._varies) > 1:
            self._choice(_CHOICE_COST)
        else:
            self._cost = 0  # alternatives of the whole pattern are tried one after the other, not combined
        self._take("|")

    def _take(self, text: str) -> None:
        self._out.append(text)
        self._at += len(text)
        self._last_varies = False

    def _choice(self, cost: int) -> None:
        self._varies[-1] = True
        self._cost += cost
        if self._cost > _BUDGET:
            raise self._refuse("has too many repeats or alternatives to be matched safely; make it simpler")

    def _escape(self) -> None:
        escaped = self._pattern[self._at + 1 : self._at + 2]
        if not escaped or (escaped.isalnum() and escaped not in _SHARED_ESCAPES):
            raise self._refuse(f"has \\{escaped}, which the scrape source does not know")
        self._take("\\" + escaped)

    def _class(self) -> None:
        found = _CLASS.match(self._pattern, self._at)
        if found is None:
            raise self._refuse("has a [ without its ]")
        text = found.group()
        if "[:" in text or re.search(r"\\[pP]", text):
            raise self._refuse("names a class of characters; write them out, such as [a-z]")
        # Python reserves [, &, | and ~ inside classes for later; RE2 takes them as they are.
        inside = re.sub(
            r"(\\.)|([\[&|~])", lambda m: m.group(1) or "\\" + m.group(2), text[1:-1], flags=re.DOTALL
        )
        self._out.append(f"[{inside}]")
        self._at = found.end()
        self._last_varies = False

    def _open(self) -> None:
        found = _GROUP.match(self._pattern, self._at)
        if found is None or self._pattern.startswith("?", found.end()):
            raise self._refuse("has a kind of group that RE2 does not know")
        if not found.group().endswith(")"):  # `(?i)` only sets flags
            self._varies.append(False)
        self._take(found.group())

    def _close(self) -> None:
        if len(self._varies) == 1:
            raise self._refuse("has a ) without its (")
        varied = self._varies.pop()
        self._varies[-1] |= varied
        self._take(")")
        self._last_varies = varied

    def _quantifier(self) -> None:
        found = _QUANTIFIER.match(self._pattern, self._at)
        if found is None:
            self._brace()
            return
        times, comma, most = found.groups()
        once = found.group().startswith("?")
        if not once and self._last_varies:
            raise self._refuse("repeats a group that has repeats or alternatives inside; make it simpler")
        if once:
            self._choice(_CHOICE_COST)
        elif times is None or (comma and most != times):
            self._choice(_REPEAT_COST)
        self._take(found.group())
        if _QUANTIFIER.match(self._pattern, self._at):
            raise self._refuse("repeats a repeat")

    def _brace(self) -> None:
        if self._pattern.startswith("{,", self._at):
            raise self._refuse("has {,; write {0,")
        self._out.append(r"\{")
        self._at += 1
        self._last_varies = False
