"""Variables in rules: `$service`, `$environment`, `$version`, `$variant`, `$deployment`, `$label.NAME`.

Values are quoted for where they go, so that a version named `"} or vector(1)#` stays a string.
This module must never leave an unknown variable in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

#: The plain names; `label.NAME` comes beside them.
NAMES = ("service", "environment", "version", "variant", "deployment")
_VARIABLE = re.compile(r"\$(?:\{([A-Za-z_][\w.]*)\}|(label\.[A-Za-z_]\w*|[A-Za-z_]\w*))")


def names_in(text: str) -> tuple[str, ...]:
    """Every variable named in `text`, without the dollar sign, in order, known or not."""
    return tuple(match.group(1) or match.group(2) for match in _VARIABLE.finditer(text))


def quote_promql(value: str) -> str:
    """A value for inside a double-quoted PromQL string, as a label value or in a regular expression's place."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def quote_url(value: str) -> str:
    """A value for inside a URL: anything that could end a host or a path segment is percent-encoded."""
    kept = "".join(chr(c) for c in range(128) if chr(c).isalnum()) + "-._~"
    return "".join(c if c in kept else "".join(f"%{byte:02X}" for byte in c.encode()) for c in value)


class Quoting(StrEnum):
    """How a value is written where it goes."""

    PLAIN = "plain"
    """As it is: a place that holds one text whatever is in it, such as an argument or a header."""
    URL = "url"
    """Percent-encoded, inside an address."""
    PATTERN = "pattern"
    """Every letter standing for itself, inside a regular expression."""


_QUOTES: dict[Quoting, Callable[[str], str]] = {
    Quoting.PLAIN: str,
    Quoting.URL: quote_url,
    Quoting.PATTERN: re.escape,
}


def fill(text: str, values: Mapping[str, str], quote: Callable[[str], str]) -> str:
    """`text` with every variable replaced by its quoted value. Raises `KeyError` for an unknown one."""
    return _VARIABLE.sub(lambda match: quote(values[match.group(1) or match.group(2)]), text)


def fill_settings(
    settings: Mapping[str, Any], values: Mapping[str, str], quoting: Mapping[str, Quoting]
) -> Any:
    """The same for every text in a tree of settings (values only, not keys).

    `quoting` says for a place, its keys joined by dots and `*` for any one key, how values are written there. `url`
    is an address anyway; at all other places values are written plainly. A text stays one text: nothing splits it.
    """
    places = {tuple(place.split(".")): _QUOTES[how] for place, how in {"url": Quoting.URL, **quoting}.items()}
    return _filled(settings, values, places, ())


_Places = Mapping[tuple[str, ...], Callable[[str], str]]


def _filled(tree: Any, values: Mapping[str, str], places: _Places, at: tuple[str, ...]) -> Any:
    if isinstance(tree, str):
        return fill(tree, values, _quote_at(places, at))
    if isinstance(tree, list | tuple):
        return [_filled(item, values, places, at) for item in tree]
    if isinstance(tree, dict):
        return {key: _filled(item, values, places, (*at, str(key))) for key, item in tree.items()}
    return tree


def _quote_at(places: _Places, at: tuple[str, ...]) -> Callable[[str], str]:
    for place, quote in places.items():
        if len(place) == len(at) and all(want in {"*", key} for want, key in zip(place, at, strict=True)):
            return quote
    return str
