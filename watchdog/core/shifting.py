"""A clock that was set: everything that is remembered moves with it, and what was sampled before proves nothing more.

Durations are what rules and guards are about: a hold, a cooldown, the time to approve, the life of an intent. Each is
a moment that is remembered and a moment that is now, and both must be of one clock. So when the machine's time of day
is set by an hour, every moment in the world moves by that hour in the same turn in which `now` does, and every
duration stays what it was. It is simpler than to ask of every moment whether it may be wrong, and it forgets none.

Samples are dated by the clocks of their sources, which may have been set too or not. So checks begin anew: one cycle
of verdicts is unknown, what was pending is no longer, and answers that are on their way are dropped. What is known to
be wrong (`latched`) stays.

This module must never read a clock, and never move what is written into the record.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeVar, cast, get_args

import msgspec
from msgspec.structs import replace

from watchdog.core.audit import AuditDraft
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.clockstep import ahead
from watchdog.core.draft import plain
from watchdog.core.edition import SWITCH
from watchdog.core.evaluate import unwatched
from watchdog.core.events import Ticked
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level
from watchdog.core.turn import CheckRecord
from watchdog.core.units import format_duration
from watchdog.core.world import ServiceWorld, World

T = TypeVar("T")

#: A clock that moves by no more than this is only being corrected; samples may be so far ahead as well (design §5).
NOTICED = timedelta(seconds=5)

_FIRST, _LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def shifted(value: T, by: timedelta) -> T:
    """The value with every moment in it moved by so much; whatever holds none is the same object as before."""
    return cast("T", _shifted(value, by))


def followed(world: World, by: timedelta, now: datetime) -> World:
    """The world after the machine's clock was set by so much; `now` is what the new clock says."""
    why = f"the machine's clock was set {described(by)}"
    return _renewed(shifted(world, by), lambda state: _distrusted(state, why, now))


def clock_set(world: World, event: Ticked, now: datetime) -> dict[str, Any]:
    """What a tick comes to that noticed it, by the fields of `watchdog.core.step.Stepped`: all must be written.

    But not what the executor has in hand: it goes by boot time, and must not be given the same intent twice.
    """
    moved = replace(world, paused_by_file=event.paused_by_file, leader=event.leader, epoch=event.epoch)
    moved = followed(moved, event.stepped, now + event.stepped)
    return {"world": moved, **records(moved), "audit": (noted(event.stepped, now),)}


def noted(by: timedelta, now: datetime) -> AuditDraft:
    """The record of it; `now` is what the clock said before."""
    body = {"stepped_seconds": by.total_seconds(), "before": plain(now), "after": plain(now + by)}
    return AuditDraft(at=now, kind="clock_set", subject="", body=body)


def records(world: World) -> dict[str, Any]:
    """Everything of a world that is stored and that nobody has in hand."""
    services = world.services.values()
    shared = (world.storm.incident, *(source.incident for source in world.sources.values()))
    return {
        "services": tuple(one.record() for one in services),
        "deployments": tuple(each for one in services for each in one.deployments.values()),
        "incidents": (
            *(each for one in services for each in one.incidents.values()),
            *(incident for incident in shared if incident is not None),
        ),
        "silences": tuple(world.silences.values()),
        "rollbacks": tuple(one for one in world.rollbacks() if one.state is not RollbackState.INTENDED),
        "checks": tuple(
            CheckRecord(id=check, state=state) for one in services for check, state in one.checks.items()
        ),
    }


def described(by: timedelta) -> str:
    """For example `forward by 1h`."""
    return f"{'forward' if by > timedelta() else 'back'} by {format_duration(abs(by))}"


def stood_still(world: World, since: datetime) -> World:
    """The world of a process that did not run since then: nobody watched, and what is on its way is of before."""
    return _renewed(world, lambda state: unwatched(state, since))


def caught_up(world: World, now: datetime) -> dict[str, Any] | None:
    """What a start comes to that finds a world of later than now, by the fields of `Stepped`; `None` when it is not.

    A clock that was set forward while nobody ran looks like time that has passed, and after a reboot nobody can tell.
    """
    by = set_back_by(world, now)
    if not by:
        return None
    moved = followed(world, by, now)
    return {"world": moved, **records(moved), "audit": (noted(by, now - by),)}


def set_back_by(world: World, now: datetime) -> timedelta:
    """How far a clock was certainly set back while nobody ran: what is remembered cannot be of later than now.

    Never above zero: a clock that was set forward looks like time that has passed.
    """
    newest = max(_remembered(world), default=now)
    return now - newest if ahead(newest, now) else timedelta()


def _remembered(world: World) -> Iterator[datetime]:
    """The newest moments at which this was written down, which can lie in no future."""
    for service in world.services.values():
        if service.traffic is not None:
            yield service.traffic.read_at
        for rollback in service.rollbacks.values():
            if rollback.state is RollbackState.INTENDED:
                continue  # in the executor's hand: what is stored of it does not move (`records`)
            yield rollback.decided_at
            yield from (passage.at for passage in rollback.history)
        for deployment in service.deployments.values():
            yield deployment.recorded_at
        for state in service.checks.values():
            yield from (verdict.at for verdict in (state.verdict, state.known) if verdict is not None)


def _renewed(world: World, change: Callable[[CheckState], CheckState]) -> World:
    """Every check's memory changed, and an edition that answers to earlier questions do not belong to."""
    edition = world.edition + 1
    services = {
        name: replace(
            service,
            checks={check: change(state) for check, state in service.checks.items()},
            editions=dict.fromkeys(_parts(service), edition),
        )
        for name, service in world.services.items()
    }
    return replace(world, services=services, edition=edition)


def _parts(service: ServiceWorld) -> set[str]:
    return {SWITCH, *service.rules, *service.editions, *(check.rule for check in service.checks)}


def _distrusted(state: CheckState, why: str, now: datetime) -> CheckState:
    """A memory in which nothing is pending; the next sample is the first one."""
    return replace(
        state,
        streaks={},
        held=Level.OK,
        clears=0,
        excess=(),
        probe_failures=0,
        sampled_at=None,
        unknown_since=state.unknown_since or now,
        verdict=Verdict(level=Level.UNKNOWN, reason=Reason.CLOCK_SET, at=now, explanation=why),
    )


def _shifted(value: Any, by: timedelta) -> Any:
    if isinstance(value, datetime):
        return _moved(value, by)
    if isinstance(value, msgspec.Struct):
        changed = {name: _shifted(getattr(value, name), by) for name in _dated(type(value))}
        same = all(one is getattr(value, name) for name, one in changed.items())
        return value if same else replace(value, **changed)
    if isinstance(value, dict):
        entries = {key: _shifted(one, by) for key, one in value.items()}
        return value if all(entries[key] is one for key, one in value.items()) else entries
    if isinstance(value, tuple):
        items = tuple(_shifted(one, by) for one in value)
        return value if all(map(operator.is_, items, value)) else items
    return value


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return _LAST if by > timedelta() else _FIRST


@lru_cache(maxsize=256)
def _dated(struct: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of a record that may hold a moment, as their types tell."""
    return tuple(field.name for field in msgspec.structs.fields(struct) if _may_hold(field.type, ()))


def _may_hold(kind: Any, within: tuple[Any, ...]) -> bool:
    if kind is datetime:
        return True
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = () if kind in within else msgspec.structs.fields(kind)
        return any(_may_hold(field.type, (*within, kind)) for field in fields)
    return any(_may_hold(one, within) for one in get_args(kind))
