"""Variables in rules: `$service`, `$environment`, `$version`, `$variant`, `$deployment`, `$label.NAME`.

Values are quoted for where they go, so that a version named `"} or vector(1)#` stays a string.
This module must never leave an unknown variable in place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
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


def fill(text: str, values: Mapping[str, str], quote: Callable[[str], str]) -> str:
    """`text` with every variable replaced by its quoted value. Raises `KeyError` for an unknown one."""
    return _VARIABLE.sub(lambda match: quote(values[match.group(1) or match.group(2)]), text)


def fill_all(tree: Any, values: Mapping[str, str], quote: Callable[[str], str]) -> Any:
    """The same for every string in a tree of lists and maps (values only, not keys)."""
    if isinstance(tree, str):
        return fill(tree, values, quote)
    if isinstance(tree, list | tuple):
        return [fill_all(item, values, quote) for item in tree]
    if isinstance(tree, dict):
        return {key: fill_all(item, values, quote) for key, item in tree.items()}
    return tree
