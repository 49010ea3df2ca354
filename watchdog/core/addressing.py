"""From messages to rows in the outbox: who gets a message, by routes and ladders, and one row for each channel. Pure.

A message about an incident that people heard of follows the policy that was frozen in it; everything else follows the
first route that matches. What only follows (that it was taken, that it is over) goes where people heard of it. This
module must never decide when anybody is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import chain

from msgspec.structs import replace

from watchdog.core import climbing
from watchdog.core.incident import Incident
from watchdog.core.ladder import Policy
from watchdog.core.message import NOTICES, Message, MessageKind, Outgoing
from watchdog.core.routing import Route, route_for
from watchdog.core.rule import Severity

#: News of a channel that does not work: everybody else must hear of it.
_BROKEN = frozenset({MessageKind.CHANNEL_FAILED, MessageKind.CHANNEL_LATE})
#: What is said of an incident to those who heard of it, and to nobody else.
_FOLLOWS = frozenset({MessageKind.INCIDENT_CLOSED, MessageKind.INCIDENT_ACKNOWLEDGED})
#: What ends something that is no incident goes where that was told, which was louder.
_BEGAN = {
    MessageKind.BREAKER_CLOSED: (MessageKind.BREAKER_OPEN, Severity.CRITICAL),
    MessageKind.REACHABLE_AGAIN: (MessageKind.CUT_OFF, Severity.CRITICAL),
    MessageKind.CONFIG_REPAIRED: (MessageKind.CONFIG_BROKEN, Severity.HIGH),
}


def labels_of(message: Message) -> dict[str, str]:
    """What a route can match: the service's labels (also as `label.NAME`) and what the message says of itself."""
    own = {
        "service": message.service,
        "environment": message.environment,
        "severity": str(message.severity),
        "kind": str(message.kind),
        "version": message.version,
    }
    prefixed = {f"label.{name}": value for name, value in message.labels.items()}
    return {**message.labels, **prefixed, **own}


def policy_for(
    message: Message, routes: tuple[Route, ...], incident: Incident | None = None
) -> Policy | None:
    """The policy whose ladder says who gets a message: the one that its incident climbs by, else that of its route.

    A frozen policy that has nothing as loud as the message asks the routes anew: it was made for something quieter.
    So does one of a route without a policy.
    """
    climb = incident.climb if incident is not None else None
    frozen = climb.policy if climb is not None and climb.policy.name else None
    if frozen is not None and any(not climbing.louder(message.severity, one) for one in frozen.ladders):
        return frozen
    return _routed(message, routes) or frozen


def _routed(message: Message, routes: tuple[Route, ...]) -> Policy | None:
    route = route_for(labels_of(message), routes)
    return climbing.policy_of(route, message.severity) if route is not None else None


def addressees(
    message: Message, routes: tuple[Route, ...], incident: Incident | None = None
) -> tuple[str, ...]:
    """Every channel that gets a message. One that is gone from the configuration gets nothing.

    `incident` is the one that the message is about, as it is after the message was made.
    """
    known = known_channels(routes)
    if message.only_to:
        return present(message.only_to, known)
    if message.kind in NOTICES:
        route = route_for(labels_of(message), routes)
        return route.notices if route is not None else ()
    if message.kind in _BROKEN:
        return _all_but(message.labels.get("channel", ""), routes)
    also = present(message.also_to, known)
    policy = policy_for(message, routes, incident)
    if policy is None:
        return also
    if message.kind in _FOLLOWS and policy.name and also:
        return also
    began = _BEGAN.get(message.kind)
    if began is not None:
        beginning = replace(message, kind=began[0], severity=began[1])
        also = (*also, *addressees(beginning, routes))
        if policy.name:
            return tuple(dict.fromkeys(also))
    first = present(climbing.first_channels(policy, message.severity), known)
    now = _routed(message, routes) if not first else None
    if now is not None:  # everybody whom the frozen policy names is gone
        first = present(climbing.first_channels(now, message.severity), known)
    return tuple(dict.fromkeys((*first, *also)))


def known_channels(routes: tuple[Route, ...]) -> tuple[str, ...]:
    """Every channel that anything is ever told by, in order."""
    return tuple(dict.fromkeys(chain.from_iterable(route.channels for route in routes)))


def present(channels: Iterable[str], known: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the channels that are still there, once each."""
    return tuple(dict.fromkeys(channel for channel in channels if channel in known))


def _all_but(broken: str, routes: tuple[Route, ...]) -> tuple[str, ...]:
    """All other channels that are ever told of trouble; where there are none, those for notices."""
    told = chain.from_iterable(
        (*route.to, *(route.policy.channels if route.policy else ())) for route in routes
    )
    others = dict.fromkeys(channel for channel in told if channel != broken)
    noticed = chain.from_iterable(route.notices for route in routes)
    return tuple(others or dict.fromkeys(channel for channel in noticed if channel != broken))


def outgoing(
    messages: Iterable[Message],
    routes: tuple[Route, ...],
    *,
    head: str,
    incidents: Mapping[str, Incident] = {},
) -> tuple[Outgoing, ...]:
    """One row a message and channel. `head` ties them to the chain; `incidents` are those that the messages are about.

    Routes can match what changes while an incident lasts, such as its severity: its end goes where its beginning went.
    """
    rows: list[Outgoing] = []
    for message in messages:
        tied = replace(message, audit_head=head)
        rows.extend(
            Outgoing(key=f"{message.key}@{channel}", channel=channel, message=tied, due_at=message.created_at)
            for channel in addressees(message, routes, incidents.get(message.incident or ""))
        )
    return tuple(rows)
