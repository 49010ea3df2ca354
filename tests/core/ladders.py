"""A service under an escalation policy, and who was told what, when: rows of the outbox, told as a list."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from msgspec.structs import replace

from tests.core.scenario import T0, Scenario
from watchdog.core.addressing import outgoing
from watchdog.core.events import ChannelDead, ChannelLate
from watchdog.core.incident import Incident
from watchdog.core.ladder import Climb, Policy, ReportTime, Step
from watchdog.core.message import Message, MessageKind
from watchdog.core.roster import concerned
from watchdog.core.routing import Route
from watchdog.core.rule import Severity
from watchdog.core.step import Stepped

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
#: The policy of the design.
PRODUCTION = Policy(
    name="production",
    ladders={
        Severity.CRITICAL: (Step(to=("oncall", "ops")), Step(after=5 * MINUTE, to=("team-lead",))),
        Severity.HIGH: (
            Step(to=("ops", "mail")),
            Step(after=15 * MINUTE, to=("manager",)),
            Step(after=45 * MINUTE, to=("director",)),
        ),
        Severity.MEDIUM: (Step(to=("ops",)), Step(after=HOUR, to=("manager",))),
        Severity.LOW: (Step(to=("mail",)), Step(after=24 * HOUR, digest=ReportTime())),
    },
)
OPENED, WORSENED = MessageKind.INCIDENT_OPENED, MessageKind.INCIDENT_WORSENED
ESCALATED, REPEATED = MessageKind.ESCALATED, MessageKind.INCIDENT_REPEATED
#: Who was told what, so many minutes after the story's beginning.
Entry = tuple[str, MessageKind, set[str]]


class Ladders(Scenario):
    """A service that was well for 11 minutes when the story begins (`begun_at`); all its routes are given."""

    def __init__(self, *routes: Route, policy: Policy = PRODUCTION, others: tuple[str, ...] = ()) -> None:
        super().__init__(others=others)
        self.looks_every = 50
        self.world = replace(self.world, routes=routes or (Route(policy=policy),))
        self.stable_blue().after("30s")
        self.begun_at = self.now

    def at_minute(self, minute: float) -> Ladders:
        """So many minutes after the beginning, with a tick."""
        self.now = self.begun_at + minute * MINUTE
        self.tick()
        return self

    def minutes(self, end: float, *, every: float = 1.0) -> Ladders:
        """Ticks until so many minutes after the beginning."""
        until = self.begun_at + end * MINUTE
        while self.now < until:
            self.now = min(self.now + every * MINUTE, until)
            self.tick()
        return self

    def tells(self) -> list[Entry]:
        """Who was told what, when, in order."""
        return [
            (f"{(message.created_at - self.begun_at) / MINUTE:g}m", message.kind, to)
            for stepped in self.steps
            for message, to in sent(stepped)
            if to
        ]

    def may_repeat(self, *keys: str) -> Ladders:
        """These keys may be made again: the outbox knows them."""
        self._keys -= set(keys)
        return self

    def forget(self) -> Ladders:
        """Leave out of `tells` what was told so far."""
        self.steps.clear()
        return self

    @property
    def climb(self) -> Climb:
        """Where the one open breach stands."""
        assert self.incident.climb is not None
        return self.incident.climb

    def minute_of_next(self) -> float | None:
        """When something is due, in minutes after the beginning."""
        at = self.climb.next_at
        return None if at is None else (at - self.begun_at) / MINUTE

    def newest(self, kind: MessageKind) -> Message:
        """The last message of a kind."""
        return [message for message in self.messages if message.kind is kind][-1]

    def dies(self, channel: str, message: Message) -> Ladders:
        """A channel gives a message up."""
        self.feed(ChannelDead(channel=channel, key=f"{message.key}@{channel}", message=message, reason="404"))
        return self

    def late(self, channel: str, message: Message, *, since: float = 0) -> Ladders:
        """A channel has taken nothing since that minute."""
        at = self.begun_at + since * MINUTE
        key = f"{message.key}@{channel}"
        self.feed(ChannelLate(channel=channel, key=key, message=message, reason="timeout", since=at))
        return self

    def reloaded(self, *routes: Route) -> Ladders:
        """The configuration has other routes now."""
        self.world = replace(self.world, routes=routes)
        return self

    def reborn(self) -> Ladders:
        """The daemon was stopped and starts with what the store has of its incidents."""
        self.restart()
        service = self.service
        kept = {key: stored(one) for key, one in service.incidents.items()}
        services = {**self.world.services, self.name: replace(service, incidents=kept)}
        self.world = replace(self.world, services=services)
        return self


def stored(incident: Incident) -> Incident:
    """An incident as it comes back from the store."""
    return msgspec.json.decode(msgspec.json.encode(incident), type=Incident)


def sent(stepped: Stepped) -> list[tuple[Message, set[str]]]:
    """Each message of a step and the channels that get it."""
    incidents = concerned(stepped.world, stepped.messages, stepped.incidents)
    return [
        (
            message,
            {
                row.channel
                for row in outgoing([message], stepped.world.routes, head="ab" * 32, incidents=incidents)
            },
        )
        for message in stepped.messages
    ]


__all__ = ["ESCALATED", "HOUR", "MINUTE", "OPENED", "PRODUCTION", "REPEATED", "T0", "WORSENED", "Ladders"]
