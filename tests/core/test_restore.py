from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from tests.core.scenario import OK, T0, Scenario, rule, service
from watchdog.core.check import CheckId, CheckState, KnownLog, KnownRun, Reason, Verdict
from watchdog.core.incident import Breach, Incident, IncidentKind, IncidentState
from watchdog.core.restore import restore_service, restore_sources
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level, Severity
from watchdog.core.turn import CheckRecord, Pause, ServiceRecord, Taint
from watchdog.core.world import ServiceWorld

ERRORS = rule()
TRIPS = service("trips", (ERRORS,))
BREACH = Breach(rule=rule("latency"), level=Level.CRITICAL, since=T0)


def restored(**saved: Any) -> ServiceWorld:
    empty: dict[str, Any] = {
        "record": None,
        "deployments": (),
        "incidents": (),
        "rollbacks": (),
        "checks": (),
    }
    return restore_service(TRIPS, {ERRORS.name: ERRORS, "other": rule("other")}, **{**empty, **saved})


def record_of(check: CheckId, **fields: Any) -> CheckRecord:
    return CheckRecord(id=check, state=CheckState(**fields))


def verdict(at: datetime) -> Verdict:
    return Verdict(level=Level.OK, reason=Reason.WITHIN, at=at)


def incident(identity: str, **fields: Any) -> Incident:
    found = Incident(
        id=identity,
        kind=IncidentKind.BREACH,
        state=IncidentState.OPEN,
        subject="trips",
        opened_at=T0,
        level=Level.CRITICAL,
        severity=Severity.HIGH,
    )
    return replace(found, **fields)


def test_a_service_that_was_never_seen_starts_empty() -> None:
    found = restored()
    assert found == ServiceWorld(service=TRIPS, rules={ERRORS.name: ERRORS})


def test_what_its_own_row_keeps_comes_back() -> None:
    pause = Pause(by="olga", at=T0, reason="lunch")
    taint = Taint(version="v2", at=T0, reason="rolled back")
    known = KnownLog(runs=(KnownRun(level=Level.OK, version="v1", first_at=T0, last_at=T0),))
    state = Scenario().state(blue=1)
    record = ServiceRecord(
        name="trips", paused=pause, taints={"v2": taint}, traffic=state, known={"errors": known}
    )
    found = restored(record=record)
    assert (found.paused, found.taints, found.traffic) == (pause, {"v2": taint}, state)
    assert found.known == {"errors": known}


def test_deployments_come_back_in_the_order_in_which_they_were_recorded() -> None:
    base = Scenario().stable_blue().on("blue")
    later = [replace(base, id=f"dep-{n}", recorded_at=T0 + timedelta(minutes=n)) for n in range(4)]
    found = restored(deployments=[later[2], later[0], later[3], later[1]])
    assert list(found.deployments) == ["dep-0", "dep-1", "dep-2", "dep-3"]


def test_other_services_records_stay_theirs() -> None:
    base = Scenario().decided()
    other = restored(
        deployments=[replace(base.on("blue"), service="other")],
        incidents=[incident("inc-1", subject="other")],
        rollbacks=[replace(base.rollback, service="other")],
        checks=[record_of(CheckId(service="other", rule="errors"))],
    )
    assert other == restored()


def test_open_incidents_come_back_closed_ones_and_those_of_sources_do_not() -> None:
    found = restored(
        incidents=[
            incident("open"),
            incident("acknowledged", state=IncidentState.ACKNOWLEDGED),
            incident("closed", state=IncidentState.CLOSED),
            incident("source", kind=IncidentKind.SOURCE),
            incident("blind", kind=IncidentKind.BLIND),
        ]
    )
    assert set(found.incidents) == {"open", "acknowledged", "blind"}


def test_rollbacks_come_back_ended_ones_too() -> None:
    decided = Scenario().decided().rollback
    ended = replace(decided, id="rb-old", key="auto:trips:old", state=RollbackState.COMPLETED)
    assert set(restored(rollbacks=[decided, ended]).rollbacks) == {decided.id, "rb-old"}


def test_the_memory_of_a_check_counts_as_unwatched_since_its_last_verdict() -> None:
    check = CheckId(service="trips", rule="errors", version="v1", variant="blue")
    newest = T0 + timedelta(minutes=3)
    found = restored(checks=[record_of(check, verdict=verdict(newest), known=verdict(T0), clears=3)])
    assert found.checks[check].unknown_since == newest
    assert found.checks[check].clears == 3


def test_a_check_that_was_unknown_already_stays_so_since_then() -> None:
    check = CheckId(service="trips", rule="errors")
    saved = record_of(check, verdict=verdict(T0 + timedelta(minutes=3)), unknown_since=T0)
    assert restored(checks=[saved]).checks[check].unknown_since == T0


def test_a_check_that_never_said_anything_was_unwatched_for_ever() -> None:
    check = CheckId(service="trips", rule="errors")
    unknown_since = restored(checks=[record_of(check)]).checks[check].unknown_since
    assert unknown_since is not None
    assert unknown_since.year == 1970


def test_a_hold_that_was_pending_when_we_went_down_is_not_confirmed_by_one_sample_after_it() -> None:
    story = Scenario().green_deployed().green_is_bad(1)
    assert not story.service.rollbacks
    story.restart().after("20m").traffic()
    story.green_is_bad(1)
    assert not story.service.rollbacks, "the time between was unknown"
    story.green_is_bad(1)
    story.rollback_is(RollbackState.INTENDED)


def test_a_short_restart_loses_no_hold() -> None:
    story = Scenario().green_deployed().green_is_bad(1)
    story.restart().after("2s").traffic()
    story.green_is_bad(1)
    story.rollback_is(RollbackState.INTENDED)


@pytest.mark.parametrize(
    ("changes", "state", "vetoes"),
    [
        ({"query": 'other{version="$version"}'}, RollbackState.BLOCKED, [("not_already_bad", "no_baseline")]),
        ({"window": timedelta(minutes=1)}, RollbackState.BLOCKED, [("not_already_bad", "no_baseline")]),
        ({"summary": "other words", "clear": 4}, RollbackState.INTENDED, []),
    ],
)
def test_what_was_known_of_another_question_says_nothing_after_a_restart(
    changes: dict[str, Any], state: RollbackState, vetoes: list[tuple[str, str]]
) -> None:
    """A rule was changed together with the restart, and is beyond its limit from the start."""
    story = Scenario().green_deployed().observe(value=OK, on="green")
    story.restart(rule(**changes)).after("5s").traffic()
    story.green_is_bad(3)
    story.rollback_is(state)
    assert story.vetoes == vetoes


def test_rules_come_from_the_configuration_of_now() -> None:
    assert restored().rules == {"errors": ERRORS}


def test_every_configured_source_comes_back_with_its_open_incident() -> None:
    down = incident("inc-s", kind=IncidentKind.SOURCE, subject="prometheus")
    found = restore_sources(
        ["prometheus", "app"],
        [
            down,
            incident("inc-c", kind=IncidentKind.SOURCE, subject="app", state=IncidentState.CLOSED),
            incident("inc-b", subject="app"),
            incident("inc-g", kind=IncidentKind.SOURCE, subject="gone"),
        ],
    )
    assert list(found) == ["prometheus", "app"]
    assert found["prometheus"].incident == down
    assert found["app"].incident is None
    assert found["app"].up is None


def test_a_check_whose_rule_is_gone_comes_back_while_it_holds_an_incident_open() -> None:
    gone = CheckId(service="trips", rule="latency")
    held = incident("inc-1", breaches={"trips/latency": BREACH})
    found = restored(checks=[record_of(gone, latched=Level.CRITICAL)], incidents=[held])
    assert found.checks[gone].latched is Level.CRITICAL
    assert restored(checks=[record_of(gone, latched=Level.CRITICAL)]).checks == {}
