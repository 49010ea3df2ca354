"""The two patches of the Kubernetes API that the watchdog uses, on plain JSON: RFC 7386 and RFC 6902."""

from __future__ import annotations

import copy
from typing import Any


class PatchFailed(Exception):
    """A `test` did not hold, or a path is not there."""


def merged(thing: Any, patch: Any) -> Any:
    """RFC 7386: null removes, mappings are merged, all else replaces."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = dict(copy.deepcopy(thing)) if isinstance(thing, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def json_patched(thing: Any, operations: list[dict[str, Any]]) -> Any:
    """RFC 6902: all operations, or `PatchFailed` and none."""
    result = copy.deepcopy(thing)
    for operation in operations:
        _operate(result, operation)
    return result


def _operate(thing: Any, operation: dict[str, Any]) -> None:
    words = [word.replace("~1", "/").replace("~0", "~") for word in operation["path"].split("/")[1:]]
    place, last = _follow(thing, words[:-1]), words[-1]
    kind, value = operation["op"], copy.deepcopy(operation.get("value"))
    spot: Any = last
    if isinstance(place, list):
        spot = len(place) if last == "-" else _index(last)
        if kind == "add" and spot <= len(place):
            place.insert(spot, value)
            return
        if spot >= len(place):
            raise PatchFailed(operation["path"])
    elif kind != "add" and (not isinstance(place, dict) or last not in place):
        raise PatchFailed(operation["path"])
    if kind == "remove":
        del place[spot]
    elif kind in {"add", "replace"}:
        place[spot] = value
    elif kind != "test" or place[spot] != value:
        raise PatchFailed(operation["path"])


def _follow(thing: Any, words: list[str]) -> Any:
    for word in words:
        try:
            thing = thing[_index(word)] if isinstance(thing, list) else thing[word]
        except (KeyError, IndexError, TypeError):
            raise PatchFailed(word) from None
    return thing


def _index(word: str) -> int:
    if not word.isdigit():
        raise PatchFailed(word)
    return int(word)
