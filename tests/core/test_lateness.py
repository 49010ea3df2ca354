from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.channels.messages import message
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.ladder import Climb, Policy, Step
from watchdog.core.lateness import LOOK_AFTER, Late, Looked, What, late, unseen
from watchdog.core.message import Outgoing
from watchdog.core.rule import Level, Severity
from watchdog.core.silence import Silence
from watchdog.core.world import SourceWorld, World

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
POLICY = Policy(name="p", ladders={Severity.HIGH: (Step(to=("ops",)), Step(to=("lead",)))})
FINE = Looked(turn_at=NOW)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def world(due_at: datetime | None, **changes: Any) -> World:
    """One source that is down, and its incident's next step."""
    climb = Climb(policy=POLICY, severity=Severity.HIGH, began_at=ago(3600), next_at=due_at)
    incident = Incident(
        id="inc-1",
        kind=IncidentKind.SOURCE,
        state=IncidentState.OPEN,
        subject="metrics",
        opened_at=ago(3600),
        level=Level.UNKNOWN,
        severity=Severity.HIGH,
        climb=climb,
    )
    incident = replace(incident, **changes)
    return World(services={}, sources={"metrics": SourceWorld(name="metrics", incident=incident)})


def found(world: World, looked: Looked = FINE) -> list[What]:
    return [one.what for one in late(world, looked, NOW)]


def only(world: World, looked: Looked = FINE) -> Late:
    (one,) = late(world, looked, NOW)
    return one


def test_nothing_is_late_while_all_is_in_time() -> None:
    row = Outgoing(key="k", channel="ops", message=message(created_at=ago(60)), due_at=ago(60))
    looked = Looked(
        turn_at=ago(10),
        overdue=row,
        unheard=message(created_at=ago(500)),
        unpolled=("trips/error-rate", ago(80)),
    )
    assert found(world(ago(50)), looked) == []


def test_a_step_that_was_not_taken_within_a_minute_is_late() -> None:
    one = only(world(ago(95)))
    assert one == Late(what=What.ESCALATION, since=ago(95), detail="the next step of inc-1 is 1m35s late")


def test_of_several_late_steps_the_oldest_is_named_and_the_others_are_counted() -> None:
    several = world(ago(95))
    source = several.sources["metrics"]
    assert source.incident is not None
    assert source.incident.climb is not None
    older = replace(source.incident, id="inc-0", climb=replace(source.incident.climb, next_at=ago(600)))
    several = replace(
        several, sources={**several.sources, "other": SourceWorld(name="other", incident=older)}
    )
    assert only(several).detail == "the next step of inc-0 is 10m late, and of 1 more"


def test_the_end_of_an_acknowledgement_is_a_step_too() -> None:
    assert found(world(ago(95), state=IncidentState.ACKNOWLEDGED)) == [What.ESCALATION]


def test_nothing_due_is_nothing_late() -> None:
    assert found(world(None)) == []
    assert found(world(NOW + timedelta(hours=1))) == []


def test_what_is_silenced_or_told_with_a_storm_waits_for_nobody() -> None:
    waiting = world(ago(95))
    silence = Silence(
        id="sil-1",
        matchers={"source": "metrics"},
        by="ana",
        created_at=ago(4000),
        ends_at=NOW + timedelta(hours=1),
        reason="work",
    )
    assert found(replace(waiting, silences={"sil-1": silence})) == []
    assert found(world(ago(95), folded="inc-9")) == []


def test_whoever_follows_is_late_with_nothing() -> None:
    looked = Looked(turn_at=ago(600), store_error="disk full")
    assert found(replace(world(ago(600)), leader=False), looked) == []


def test_a_message_that_nobody_tried_is_late_after_two_minutes() -> None:
    row = Outgoing(key="k", channel="ops", message=message(), due_at=ago(121))
    looked = Looked(turn_at=NOW, overdue=row)
    assert only(world(None), looked).detail == "a message for ops has waited 2m1s to be tried"
    assert found(world(None), replace(looked, overdue=replace(row, attempts=3))) == []


def test_a_message_that_no_channel_took_is_late_after_ten_minutes() -> None:
    looked = Looked(turn_at=NOW, unheard=message(created_at=ago(601)))
    one = only(world(None), looked)
    assert (one.what, one.since) == (What.MESSAGE, ago(601))
    assert one.detail == "no channel took a message that needs somebody for 10m1s"


def test_a_reactor_without_a_turn_for_half_a_minute_is_late() -> None:
    assert only(world(None), Looked(turn_at=ago(31))).what is What.REACTOR


def test_a_store_that_does_not_work_is_late() -> None:
    one = only(world(None), Looked(turn_at=NOW, store_error="disk full"))
    assert (one.what, one.detail) == (What.STORE, "the store does not work: disk full")


@pytest.mark.parametrize(
    ("critical", "since", "is_late"), [(30, 91, True), (30, 89, False), (5, 59, False), (5, 61, True)]
)
def test_checks_that_miss_three_rounds_are_late(critical: int, since: int, is_late: bool) -> None:
    looked = Looked(
        turn_at=NOW, unpolled=("trips/error-rate", ago(since)), critical=timedelta(seconds=critical)
    )
    assert found(world(None), looked) == ([What.CHECKS] if is_late else [])


def test_everything_at_once_is_told_in_one_order() -> None:
    row = Outgoing(key="k", channel="ops", message=message(), due_at=ago(1000))
    looked = Looked(
        turn_at=ago(1000),
        store_error="gone",
        overdue=row,
        unheard=message(created_at=ago(1000)),
        unpolled=("trips/error-rate", ago(1000)),
    )
    assert found(world(ago(1000)), looked) == [
        What.REACTOR,
        What.STORE,
        What.ESCALATION,
        What.OUTBOX,
        What.MESSAGE,
        What.CHECKS,
    ]


def test_an_audit_that_nobody_made_is_late() -> None:
    assert unseen(NOW - LOOK_AFTER, NOW) is None
    missed = unseen(ago(61), NOW)
    assert missed is not None
    assert (missed.what, missed.detail) == (What.AUDIT, "nobody looked for what is late for 1m1s")
