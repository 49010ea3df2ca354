"""The world as the reactor knows it: one value, replaced by every turn, rebuilt from the store after a restart.

This module must never change anything; `watchdog.core.step` makes the next world.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime, timedelta

import msgspec

from watchdog.core.check import CheckId, CheckState, KnownLog
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Incident, IncidentKind
from watchdog.core.reach import Reach, SourcePlace
from watchdog.core.rollback import Rollback
from watchdog.core.routing import Route
from watchdog.core.rule import Level, Rule, rank
from watchdog.core.service import Limits, Service
from watchdog.core.silence import Silence
from watchdog.core.storm import Storm
from watchdog.core.switchplace import SwitchPlace
from watchdog.core.traffic import TrafficState
from watchdog.core.turn import Pause, ServiceRecord, Taint

_GRAVE = frozenset(level for level in Level if rank(level) >= rank(Level.CRITICAL))


class ServiceWorld(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One service: what was configured, what is live, what is wrong, what is being done about it.

    `deployments` are ordered by the time they were recorded; `incidents` are open ones; `rollbacks` are those under
    way and those of the last day. `traffic` is the last successful read of the switch, `place` what that switch is,
    `idle_since` when it began to show nothing live, `unready_since` when the guards of readiness began to say other
    than people were told (`watchdog.core.readiness`). `editions` says since which edition of the configuration a rule
    (or, under the empty name, the switch) is what it is; `stale` are checks that remember what an earlier rule saw.
    """

    service: Service
    rules: dict[str, Rule]
    traffic: TrafficState | None = None
    traffic_error: str = ""
    traffic_failures: int = 0
    idle_since: datetime | None = None
    unready_since: datetime | None = None
    deployments: dict[str, Deployment] = {}
    incidents: dict[str, Incident] = {}
    rollbacks: dict[str, Rollback] = {}
    checks: dict[CheckId, CheckState] = {}
    known: dict[str, KnownLog] = {}
    paused: Pause | None = None
    taints: dict[str, Taint] = {}
    editions: dict[str, int] = {}
    stale: frozenset[CheckId] = frozenset()
    place: SwitchPlace | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.service.name

    def on_variant(self, variant: str) -> Deployment | None:
        """The newest deployment of a variant, whatever became of it: the last to take traffic or be announced.

        A person's word on what the variant carries is newer than announcements from before it.
        """
        found = [one for one in self.deployments.values() if one.variant == variant]
        return max(found, key=_last_heard_of, default=None)

    def serving(self, variant: str) -> Deployment | None:
        """The deployment on a variant that took traffic last; an announcement may be older than that."""
        served = self.served(variant)
        return served[-1] if served else None

    def served(self, variant: str) -> list[Deployment]:
        """Every deployment on a variant that ever took traffic, in the order in which they did."""
        return self._served.get(variant, [])

    @functools.cached_property
    def _served(self) -> dict[str, list[Deployment]]:
        took = [
            (one.live_at, one.recorded_at, one)
            for one in self.deployments.values()
            if one.live_at is not None
        ]
        served: dict[str, list[Deployment]] = {}
        for _, _, one in sorted(took, key=lambda entry: entry[:2]):
            served.setdefault(one.variant, []).append(one)
        return served

    def current(self) -> Deployment | None:
        """The deployment that takes traffic now; of several live ones the newest."""
        return self._current

    @functools.cached_property
    def _current(self) -> Deployment | None:
        live = [self.serving(variant) for variant in (self.traffic.live if self.traffic else ())]
        present = [deployment for deployment in live if deployment is not None]
        return max(
            present, key=lambda deployment: (deployment.started_at, deployment.recorded_at), default=None
        )

    def deployment_of(self, check: CheckId) -> Deployment | None:
        """The deployment a check judges: that of its variant, else the current one."""
        return self.serving(check.variant) if check.variant else self.current()

    def active_rollback(self) -> Rollback | None:
        """The rollback that is under way or waits, newest first; `None` when there is none."""
        open_ones = [rollback for rollback in self.rollbacks.values() if not rollback.over]
        return max(open_ones, key=lambda rollback: rollback.decided_at, default=None)

    def incident_of(self, kind: IncidentKind, deployment: str | None = None) -> Incident | None:
        """The open incident of a kind (and deployment)."""
        for incident in self.incidents.values():
            if incident.kind is kind and (deployment is None or incident.deployment == deployment):
                return incident
        return None

    @property
    def level(self) -> Level:
        """The worst that any check shows now. What takes no traffic is never ok."""
        levels = [state.latched for state in self.checks.values() if state.known is not None]
        worst = max(levels, key=rank, default=Level.UNKNOWN)
        idle = self.traffic is not None and not self.traffic.live
        return Level.UNKNOWN if idle and worst is Level.OK else worst

    @property
    def breaching(self) -> bool:
        """Whether there is an open incident at critical or worse."""
        for incident in self.incidents.values():  # asked very often: no generator here
            if incident.kind is IncidentKind.BREACH and incident.level in _GRAVE:
                return True
        return False

    def record(self) -> ServiceRecord:
        """What of this is stored in the service's own row."""
        return ServiceRecord(
            name=self.name,
            paused=self.paused,
            taints=self.taints,
            traffic=self.traffic,
            known=self.known,
            place=self.place,
        )


def _last_heard_of(one: Deployment) -> tuple[datetime, datetime]:
    came = one.live_at or one.recorded_at
    return max(came, one.vouched_at or came), one.recorded_at


class SourceWorld(msgspec.Struct, frozen=True, kw_only=True):
    """One source: whether it answers, and its open incident."""

    name: str
    up: bool | None = None
    error: str = ""
    failing_since: datetime | None = None
    incident: Incident | None = None


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """What the limits count, of these very `services`: `movers` are those with a rollback that was intended."""

    services: dict[str, ServiceWorld]
    breaching: int
    movers: frozenset[str]


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """When a group of news leaves or left (`watchdog.core.gathering`), and by its route how long the next one waits."""

    due_at: datetime
    interval: timedelta
    longest: timedelta

    def counts(self, now: datetime) -> bool:
        """Whether it is known when the next one may leave; not where the clock was set back since."""
        return self.due_at - self.longest <= now < self.due_at + self.interval


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `paused_by_file` is the reason the pause file gives, or empty. `silences` are those in force.

    `storm` is what people hear of as one, because many turned bad at once. `count` holds for its own `services` only
    (`watchdog.core.census`).
    `breaker` says why the limits stop rollbacks now, `breaker_told` of which waiting services people have heard, and
    `breaker_since` since when, from when they heard of any.
    `gathered` says of each group of news when it leaves or left.
    `edition` counts the configurations that were taken while running; `config_fault` is why the newest one was not.
    """

    services: dict[str, ServiceWorld]
    sources: dict[str, SourceWorld] = {}
    limits: Limits = Limits()
    routes: tuple[Route, ...] = ()
    paused_by_file: str = ""
    leader: bool = True
    epoch: int = 0
    breaker: str = ""
    breaker_told: tuple[str, ...] = ()
    breaker_told_at: datetime | None = None
    breaker_since: datetime | None = None
    storm: Storm = Storm()
    recheck: timedelta = timedelta(seconds=5)
    edition: int = 0
    config_fault: str = ""
    config_fault_at: datetime | None = None
    silences: dict[str, Silence] = {}
    places: dict[str, SourcePlace] = {}
    reach: Reach = Reach()
    count: Count | None = None
    gathered: dict[str, Gathered] = {}

    def rollbacks(self) -> Iterator[Rollback]:
        """Every known rollback of every service."""
        for service in self.services.values():
            yield from service.rollbacks.values()
