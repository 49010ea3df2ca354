"""Registries: which kinds of provider exist and where each one's class is. There is no default kind.

A provider is imported only when a configuration names it. This module must never know a provider.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable, Mapping
from typing import Any

from watchdog.core.errors import ConfigError


class UnknownKind(ConfigError):
    """A `kind` that no provider has."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most like `name`, if any is like it at all."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return found[0] if found else None


def load(family: str, kinds: Mapping[str, str], kind: str) -> Any:
    """The class registered for `kind` as `package.module:Class`. Raises `UnknownKind` with the nearest name."""
    if kind not in kinds:
        guess = nearest(kind, kinds)
        hint = f"; did you mean {guess!r}?" if guess else ""
        raise UnknownKind(f"unknown {family} kind {kind!r}{hint} (known: {', '.join(sorted(kinds))})")
    module, _, attribute = kinds[kind].partition(":")
    return getattr(importlib.import_module(module), attribute)
