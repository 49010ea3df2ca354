"""PromQL as far as a configuration can judge it: selectors, balance, and variables where their values stay values.

A variable's value is quoted for a double-quoted string and for nothing else, so it may stand nowhere else.
This module must never evaluate anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from watchdog.config.problems import quote
from watchdog.core.selector import Operator, compile_pattern, parse_selector
from watchdog.core.variables import fill, names_in

_QUOTED = {
    '"': re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    "'": re.compile(r"'(?:[^'\\\n]|\\.)*'"),
    "`": re.compile(r"`[^`]*`"),
}
_STRING = "(?:" + "|".join(pattern.pattern for pattern in _QUOTED.values()) + ")"
_LABEL = rf"(?:[a-zA-Z_][a-zA-Z0-9_]*|{_STRING})"
_MATCHER = rf"(?:{_LABEL}\s*(?:=~|!~|!=|=)\s*{_STRING}|{_STRING})"
_SELECTOR = re.compile(
    rf"\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)?\s*"
    rf"(?P<braces>\{{\s*(?P<matchers>{_MATCHER}(?:\s*,\s*{_MATCHER})*\s*,?)?\s*\}})?\s*"
)
#: A matcher that every series passes.
_VACUOUS = re.compile(r"""(?<!!)(?:=\s*(?:""|''|``)|=~\s*(?:""|''|``|"\.\*"|'\.\*'|`\.\*`))$""")
_CLOSERS = {")": "(", "]": "[", "}": "{"}


def check_selector(text: str) -> str:
    """The selector, ready to be filled in. Raises `ValueError` with what is wrong with it."""
    if not text.strip():
        raise ValueError('is empty; a selector such as http_requests_total{job="web"} is needed')
    pieces = list(_pieces(text))
    bare = "".join(piece for piece in pieces if piece[0] not in _QUOTED)
    if "[" in bare:
        raise ValueError(f"{quote(text)} has a range; a selector has none, the watchdog adds `window`")
    if "(" in bare:
        raise ValueError(
            f'{quote(text)} calls a function; a selector is only name{{label="value"}} (else use `query`)'
        )
    ready = _ready(text, pieces)
    match = _SELECTOR.fullmatch(ready)
    if match is None:
        raise ValueError(f'{quote(text)} is not a selector such as name{{label="value"}}')
    if match["name"] is None and _takes_everything(match["matchers"] or ""):
        raise ValueError(f"{quote(text)} selects every series; name a metric")
    return ready


def check_evaluable(selector: str) -> str:
    """The name of the metric that is selected.

    Raises `ValueError` when we cannot evaluate the selector ourselves, as sources without PromQL must.
    """
    filled = parse_selector(fill(selector, dict.fromkeys(names_in(selector), "x"), str))
    for matcher in filled.matchers:
        if matcher.operator in {Operator.MATCHES, Operator.MATCHES_NOT}:
            compile_pattern(matcher.value)
    return filled.name


def check_query(text: str) -> str:
    """The query, ready to be filled in. Raises `ValueError` with what is wrong with it."""
    if not text.strip():
        raise ValueError("is empty; PromQL that gives one number is needed")
    pieces = list(_pieces(text))
    opened: list[str] = []
    for letter in "".join(piece for piece in pieces if piece[0] not in _QUOTED and piece[0] != "#"):
        if letter in _CLOSERS.values():
            opened.append(letter)
        elif letter in _CLOSERS and (not opened or opened.pop() != _CLOSERS[letter]):
            raise ValueError(f"{quote(text)}: {letter!r} closes nothing")
    if opened:
        raise ValueError(f"{quote(text)}: {opened[-1]!r} is never closed")
    return _ready(text, pieces)


def _pieces(text: str) -> Iterator[str]:
    """The text cut into quoted strings, comments and what is between. Raises `ValueError` for an open quote."""
    start = place = 0
    while place < len(text):
        letter = text[place]
        if letter not in _QUOTED and letter != "#":
            place += 1
            continue
        if start < place:
            yield text[start:place]
        if letter == "#":
            end = text.find("\n", place)
            end = len(text) if end < 0 else end
        else:
            match = _QUOTED[letter].match(text, place)
            if match is None:
                raise ValueError(f"{quote(text)}: the quote {letter} is never closed")
            end = match.end()
        yield text[place:end]
        start = place = end
    if start < len(text):
        yield text[start:]


def _ready(text: str, pieces: list[str]) -> str:
    """The pieces together again, with every variable where its value is safe and every escape one that exists."""
    for piece in pieces:
        if piece[0] in _QUOTED:
            alone = f"x{{a={piece}}}"
            try:
                parse_selector(alone)
            except ValueError as fault:
                raise ValueError(f"{quote(text)}: {str(fault).removeprefix(f'{alone!r}: ')}") from None
    return "".join(_safe(piece) for piece in pieces)


def _safe(piece: str) -> str:
    names = names_in(piece)
    if not names or piece[0] in {'"', "#"}:
        return piece
    if piece[0] == "'":
        inner = re.sub(
            r"\\(.)|\"", lambda it: '\\"' if it[0] == '"' else "'" if it[1] == "'" else it[0], piece[1:-1]
        )
        return f'"{inner}"'
    raise ValueError(
        f"${names[0]} stands outside double quotes; only there is its value kept from being read as PromQL"
    )


def _takes_everything(matchers: str) -> bool:
    found = re.findall(_MATCHER, matchers)
    return all(_VACUOUS.search(matcher) for matcher in found)
