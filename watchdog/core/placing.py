"""Whether a form names the place that it is asked of: `$version` or `$variant`.

The answer is wanted at every poll, so it is remembered. This module must never fill anything in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import msgspec


def _named(form: msgspec.Struct, *names: str) -> bool:
    texts = msgspec.json.encode(form).decode()
    return any(f"${name}" in texts or f"${{{name}}}" in texts for name in names)


def _names_version(form: msgspec.Struct) -> bool:
    return _named(form, "version", "variant")


def _names_variant(form: msgspec.Struct) -> bool:
    return _named(form, "variant")


_version = functools.lru_cache(maxsize=4096)(_names_version)
_variant = functools.lru_cache(maxsize=4096)(_names_variant)


def names_version(form: msgspec.Struct) -> bool:
    """Whether it names `$version` or `$variant`."""
    return _remembered(_version, _names_version, form)


def names_variant(form: msgspec.Struct) -> bool:
    """Whether it names `$variant`."""
    return _remembered(_variant, _names_variant, form)


def _remembered(
    known: Callable[[msgspec.Struct], bool], anew: Callable[[msgspec.Struct], bool], form: msgspec.Struct
) -> bool:
    try:
        return known(form)
    except TypeError:
        return anew(form)  # a probe: its settings are a mapping, which cannot be remembered by
