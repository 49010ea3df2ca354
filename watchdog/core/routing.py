"""Who is told: the first route whose labels match names the channels. The last route matches everything.

This module must never send anything.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route: every label in `match` must be equal; an empty `match` takes everything."""

    match: dict[str, str] = {}
    to: tuple[str, ...] = ()


def channels_for(labels: Mapping[str, str], routes: tuple[Route, ...]) -> tuple[str, ...]:
    """The channels of the first route that matches; none when no route does (a load error prevents that)."""
    for route in routes:
        if all(labels.get(name) == wanted for name, wanted in route.match.items()):
            return route.to
    return ()
