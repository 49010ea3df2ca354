"""Who is told: the first route whose labels match names the channels. The last route matches everything.

This module must never send anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import msgspec

from watchdog.core.ladder import REPEAT_AFTER, Policy
from watchdog.core.mute import MuteWindow


class Gather(msgspec.Struct, frozen=True, kw_only=True):
    """News that can wait leaves together: one message for each value of the labels `by`.

    The first of a group waits `wait`, what comes after a message waits until `interval` after it. Critical messages
    and everything about rollbacks wait for nobody, and channels that stand `apart` get each by itself: those that wake
    people keep track of every single incident.
    """

    by: tuple[str, ...] = ()
    wait: timedelta = timedelta(seconds=30)
    interval: timedelta = timedelta(minutes=5)
    apart: tuple[str, ...] = ()


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One route: every label in `match` must be equal; an empty `match` takes everything.

    It has `to` or a `policy`. `notices` are the channels for what is only good to know. `repeat_after` is how long
    after a message to `to` it is told again while nobody acknowledged, `None` for never (a policy has its own).
    """

    match: dict[str, str] = {}
    to: tuple[str, ...] = ()
    policy: Policy | None = None
    notices: tuple[str, ...] = ()
    mutes: tuple[MuteWindow, ...] = ()
    gather: Gather | None = None
    repeat_after: timedelta | None = REPEAT_AFTER

    @property
    def channels(self) -> tuple[str, ...]:
        """Every channel that it may ever tell, in order."""
        laddered = self.policy.channels if self.policy is not None else ()
        return tuple(dict.fromkeys((*self.to, *laddered, *self.notices)))


def route_for(labels: Mapping[str, str], routes: tuple[Route, ...]) -> Route | None:
    """The first route that matches; none when no route does (a load error prevents that)."""
    for route in routes:
        if all(labels.get(name) == wanted for name, wanted in route.match.items()):
            return route
    return None


def channels_for(labels: Mapping[str, str], routes: tuple[Route, ...]) -> tuple[str, ...]:
    """The channels of the first route that matches."""
    route = route_for(labels, routes)
    return route.to if route is not None else ()
