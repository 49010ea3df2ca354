"""From messages to rows in the outbox: the labels a route can match, and one row for each channel. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

from watchdog.core.message import Message, MessageKind, Outgoing
from watchdog.core.routing import Route, channels_for


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


def outgoing(messages: Iterable[Message], routes: tuple[Route, ...], *, head: str) -> tuple[Outgoing, ...]:
    """One row a message and channel. News of a broken channel goes to all others. `head` ties them to the chain.

    Routes can match what changes while an incident lasts, such as its severity: its end goes where its beginning went.
    """
    everywhere = tuple(dict.fromkeys(channel for route in routes for channel in route.to))
    rows: list[Outgoing] = []
    for message in messages:
        tied = replace(message, audit_head=head)
        also = (channel for channel in message.also_to if channel in everywhere)
        channels = (*channels_for(labels_of(message), routes), *also)
        if message.kind is MessageKind.CHANNEL_FAILED:
            broken = message.labels.get("channel", "")
            channels = tuple(channel for channel in everywhere if channel != broken)
        rows.extend(
            Outgoing(key=f"{message.key}@{channel}", channel=channel, message=tied, due_at=message.created_at)
            for channel in dict.fromkeys(channels)
        )
    return tuple(rows)
