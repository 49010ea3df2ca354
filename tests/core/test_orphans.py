"""What an earlier configuration left behind is ended at the start, so that nothing stays open for ever."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.scenario import T0, Scenario, service
from watchdog.core.incident import Incident, IncidentKind, IncidentState
from watchdog.core.message import MessageKind
from watchdog.core.orphans import WHY, orphans
from watchdog.core.rollback import RollbackState
from watchdog.core.rollback_news import ENDED_AS
from watchdog.core.rule import Level, Severity
from watchdog.core.service import Mode
from watchdog.core.step import Stepped
from watchdog.core.world import ServiceWorld, SourceWorld, World

NOW = T0 + timedelta(hours=5)
RENAMED = World(
    services={"journeys": ServiceWorld(service=service("journeys", ()), rules={})},
    sources={"prom": SourceWorld(name="prom")},
)


def incident(subject: str, kind: IncidentKind = IncidentKind.BREACH) -> Incident:
    return Incident(
        id=f"inc-{subject}",
        kind=kind,
        state=IncidentState.ACKNOWLEDGED,
        subject=subject,
        opened_at=T0,
        level=Level.CRITICAL,
        severity=Severity.HIGH,
    )


def left(scenario: Scenario) -> Stepped:
    return orphans(RENAMED, (), (scenario.rollback,), now=NOW)


def test_incidents_of_a_service_or_source_that_is_gone_are_closed_and_told() -> None:
    gone = (incident("trips"), incident("graphite", IncidentKind.SOURCE))
    kept = (incident("journeys"), incident("prom", IncidentKind.SOURCE))

    found = orphans(RENAMED, (*gone, *kept), (), now=NOW)

    assert [(one.id, one.state, one.closed_because) for one in found.incidents] == [
        ("inc-trips", IncidentState.CLOSED, WHY),
        ("inc-graphite", IncidentState.CLOSED, WHY),
    ]
    assert [one.kind for one in found.messages] == [MessageKind.INCIDENT_CLOSED] * 2
    assert [one.kind for one in found.audit] == ["incident_closed"] * 2


def test_an_incident_that_nobody_heard_of_is_closed_without_a_word() -> None:
    found = orphans(RENAMED, (replace(incident("trips"), told=False, silenced_by=("sil-1",)),), (), now=NOW)

    assert [one.state for one in found.incidents] == [IncidentState.CLOSED]
    assert found.messages == ()


@pytest.mark.parametrize(
    ("scenario", "end"),
    [
        (Scenario().decided(), RollbackState.PARTIAL),
        (Scenario().switched(), RollbackState.UNVERIFIED),
        (Scenario(mode=Mode.APPROVE).decided(), RollbackState.EXPIRED),
        (Scenario(mode=Mode.OBSERVE).decided(), RollbackState.EXPIRED),
    ],
)
def test_a_rollback_of_a_service_that_is_gone_ends_by_what_may_have_been_done(
    scenario: Scenario, end: RollbackState
) -> None:
    found = left(scenario)

    assert [(one.state, one.ended_at, one.history[-1].why) for one in found.rollbacks] == [(end, NOW, WHY)]
    if end is RollbackState.EXPIRED:
        assert found.messages == (), "the end of its incident says so"
        return
    (message,) = found.messages
    assert (message.needs_human, message.rollback) == (True, scenario.rollback.id)
    assert message.headline == f"trips: the rollback to blue {ENDED_AS[end]}: no longer configured"
    assert "by hand" in message.next_step
    assert "watchdog" not in message.next_step, "no command works on what is not configured"


def test_what_has_ended_or_is_still_configured_is_left_alone() -> None:
    scenario = Scenario().switched()
    over = replace(scenario.rollback, state=RollbackState.COMPLETED)

    assert orphans(RENAMED, (), (over,), now=NOW) == Stepped(world=RENAMED)
    assert orphans(scenario.world, (), (scenario.rollback,), now=NOW) == Stepped(world=scenario.world)
