"""From observations to incidents: one per service and deployment, opened, worsened and closed by what is known."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.scenario import CRITICAL, OK, ROLLBACK, WARNING, Scenario, counting, of_service, rule
from watchdog.core.audit import ChainHead, link
from watchdog.core.check import CheckId
from watchdog.core.checks import polls
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import OutcomeKind
from watchdog.core.incident import IncidentState
from watchdog.core.message import MessageKind
from watchdog.core.observation import FailReason, Value
from watchdog.core.replay import replay
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Holds, Level, Rule, Severity, Thresholds

OPENED, WORSENED, CLOSED = (
    MessageKind.INCIDENT_OPENED,
    MessageKind.INCIDENT_WORSENED,
    MessageKind.INCIDENT_CLOSED,
)


def adopted(*rules: Rule) -> Scenario:
    """Blue is live and nothing can be rolled back: incidents only."""
    return Scenario(*rules).traffic(blue=1, green=0).after("30s")


def test_the_first_held_verdict_worse_than_ok_opens_an_incident() -> None:
    scenario = adopted().observe(value=WARNING)

    incident = scenario.incident
    assert (incident.level, incident.state, incident.version) == (Level.WARNING, IncidentState.OPEN, "blue")
    assert incident.deployment == scenario.on("blue").id
    assert list(incident.breaches) == ["trips/errors@blue"]
    message = scenario.message(OPENED)
    assert message.headline.startswith("trips blue is in a warning state in production: errors: 15")
    assert message.severity is Severity.MEDIUM
    assert message.incident == incident.id


def test_a_verdict_that_has_not_held_opens_nothing() -> None:
    scenario = adopted(rule(hold=Holds())).observe(value=CRITICAL).after("30s").observe(value=CRITICAL)
    assert scenario.told == []

    scenario.after("30s").observe(value=CRITICAL)

    assert scenario.told == [OPENED]


def test_a_second_rule_joins_the_incident_of_its_deployment() -> None:
    scenario = adopted(rule(), rule("latency")).observe("errors", value=CRITICAL)
    scenario.after("1s").observe("latency", value=CRITICAL)

    assert sorted(scenario.incident.breaches) == ["trips/errors@blue", "trips/latency@blue"]
    assert scenario.told == [OPENED], "people know that it is critical"


def test_it_is_told_once_for_each_level_it_reaches() -> None:
    scenario = adopted()
    for value in (WARNING, CRITICAL, WARNING, CRITICAL, CRITICAL, WARNING):
        scenario.observe(value=value).after("10s")

    assert scenario.told == [OPENED, WORSENED]
    assert scenario.message(WORSENED).severity is Severity.HIGH
    assert scenario.incident.level is Level.CRITICAL


def test_it_closes_when_all_its_checks_have_their_clear_samples() -> None:
    scenario = adopted(rule(), rule("latency"))
    scenario.observe("errors", value=CRITICAL).observe("latency", value=WARNING)
    scenario.after("10s").observe("errors", value=OK).after("10s").observe("errors", value=OK)
    assert scenario.incident.breaches["trips/errors@blue"].cleared_at == scenario.now

    scenario.observe("latency", value=OK)
    assert scenario.told == [OPENED]
    scenario.after("10s").observe("latency", value=OK)

    assert scenario.told == [OPENED, CLOSED]
    assert not scenario.service.incidents
    assert "every check is ok again" in scenario.message(CLOSED).headline


def test_a_rule_that_cleared_and_breaches_again_holds_it_open_again() -> None:
    scenario = adopted(rule(), rule("latency"))
    scenario.observe("errors", value=CRITICAL).observe("latency", value=CRITICAL)
    for _ in range(2):
        scenario.after("10s").observe("errors", value=OK)
    scenario.after("10s").observe("errors", value=CRITICAL)
    for _ in range(2):
        scenario.after("10s").observe("latency", value=OK)

    assert not scenario.incident.breaches["trips/errors@blue"].over
    assert scenario.told == [OPENED]


def test_the_same_sample_seen_twice_clears_nothing() -> None:
    scenario = adopted().observe(value=CRITICAL).after("10s").observe(value=OK)
    for seconds in ("1s", "2s", "3s"):
        scenario.after("1s").observe(value=OK, sampled=seconds)

    assert scenario.told == [OPENED]


@pytest.mark.parametrize("reason", list(FailReason))
def test_an_error_changes_nothing_about_an_incident(reason: FailReason) -> None:
    quiet = adopted()
    for _ in range(10):
        quiet.after("30s").fails(reason=reason)
    assert quiet.told == []

    scenario = adopted().observe(value=CRITICAL)
    before = scenario.incident
    for _ in range(10):
        scenario.after("30s").fails(reason=reason)

    assert scenario.incident == before
    assert scenario.told == [OPENED]


def test_silence_neither_opens_nor_closes() -> None:
    scenario = adopted().observe(value=CRITICAL)
    for _ in range(50):
        scenario.after("30s").silence()

    assert scenario.told == [OPENED]
    assert scenario.incident.open


def test_silence_opens_nothing_for_what_was_bad_before() -> None:
    scenario = adopted().observe(value=CRITICAL)
    lost = replace(scenario.service, incidents={})
    scenario.world = replace(scenario.world, services={"trips": lost})

    scenario.after("10s").silence()
    assert not scenario.service.incidents

    scenario.after("10s").observe(value=CRITICAL)
    assert scenario.incident.open


def test_too_few_events_change_nothing_either() -> None:
    scenario = adopted(counting()).observe(value=CRITICAL, events=100)
    for _ in range(5):
        scenario.after("10s").observe(value=OK, events=3)

    assert scenario.told == [OPENED]


def test_every_deployment_has_an_incident_of_its_own() -> None:
    scenario = Scenario().shows("green", ready=1, total=1).stable_blue().after("5s").traffic(blue=9, green=1)
    scenario.after("35s").observe(value=WARNING, on="blue").observe(value=WARNING, on="green")

    assert len(scenario.service.incidents) == 2
    assert {one.version for one in scenario.service.incidents.values()} == {"blue", "green"}


def test_what_was_wrong_with_the_service_before_stays_in_its_incident() -> None:
    """A rule of the whole service that breached before a deployment and still does is no news of the deployment."""
    scenario = Scenario(of_service()).stable_blue().after("10s").observe(value=WARNING)
    before = scenario.incident.id

    scenario.after("5s").traffic(blue=0, green=1).after("35s").observe(value=CRITICAL)

    assert scenario.incident.id == before


def test_what_was_over_before_a_deployment_opens_an_incident_of_the_new_one() -> None:
    scenario = Scenario(of_service(), of_service("queue")).stable_blue().after("10s")
    scenario.observe("load", value=WARNING).observe("queue", value=WARNING)
    for _ in range(2):
        scenario.after("10s").observe("load", value=OK)
    scenario.after("5s").traffic(blue=0, green=1).after("35s").observe("load", value=CRITICAL)

    newest = [one for one in scenario.service.incidents.values() if one.deployment == scenario.on("green").id]
    assert [list(one.breaches) for one in newest] == [["trips/load"]]


def test_checks_of_a_version_without_traffic_hold_nothing_open() -> None:
    scenario = Scenario().green_deployed().after("10s").observe(value=CRITICAL)

    scenario.after("5s").traffic(blue=1, green=0)

    assert scenario.told == [OPENED, CLOSED]
    assert "takes no traffic any more" in scenario.message(CLOSED).headline
    assert "checks_retired" in scenario.recorded
    assert not [check for check in scenario.service.checks if check.version == "green"]


def test_that_nothing_takes_traffic_closes_nothing() -> None:
    scenario = adopted().observe(value=CRITICAL).after("5s").traffic(blue=0, green=0).after("5s").tick()

    assert scenario.told == [OPENED]
    assert scenario.incident.open


def test_that_nothing_takes_traffic_closes_nothing_either_when_memory_was_lost() -> None:
    scenario = adopted().observe(value=CRITICAL).after("5s").traffic(blue=0, green=0)
    forgetful = replace(scenario.service, checks={})
    scenario.world = replace(scenario.world, services={"trips": forgetful})

    scenario.after("5s").tick()

    assert scenario.incident.open


def test_an_answer_that_comes_after_its_version_lost_its_traffic_says_nothing() -> None:
    scenario = Scenario().green_deployed()
    check = scenario.check(on="green")
    scenario.after("5s").traffic(blue=1, green=0)

    for _ in range(3):
        scenario.after("1s").sees(check, Value(value=ROLLBACK, at=scenario.now))

    assert scenario.told == []
    assert check not in scenario.service.checks


def test_an_answer_of_an_earlier_version_is_not_held_against_the_next() -> None:
    scenario = Scenario().shows("blue", version="v1").stable_blue()
    check = scenario.check()
    scenario.after("5s").shows("blue", version="v2").traffic().after("35s")

    for _ in range(3):
        scenario.after("1s").sees(check, Value(value=ROLLBACK, at=scenario.now))

    assert scenario.told == []


def test_a_poll_of_an_unknown_rule_or_service_is_left_alone() -> None:
    scenario = adopted()
    before = scenario.world

    scenario.sees(CheckId(service="trips", rule="nonsense"), Value(value=ROLLBACK, at=scenario.now))
    scenario.sees(CheckId(service="nobody", rule="errors"), Value(value=ROLLBACK, at=scenario.now))

    assert scenario.world == before


# -- an open incident keeps its rule


def test_a_loosened_rule_clears_an_open_incident_only_by_the_old_one() -> None:
    scenario = adopted().observe(value=CRITICAL)
    loose = rule(thresholds=Thresholds(warning=100.0, critical=200.0, rollback=300.0))

    scenario.restart(loose)
    for _ in range(4):
        scenario.after("10s").observe(value=CRITICAL)

    assert scenario.told == [OPENED]
    assert scenario.incident.breaches["trips/errors@blue"].rule.thresholds.critical == 20.0

    for _ in range(2):
        scenario.after("10s").observe(value=OK)
    scenario.after("10s").observe(value=CRITICAL)
    assert scenario.told == [OPENED, CLOSED], "from then on the new one counts"


@pytest.mark.parametrize("how", ["restart", "reload"])
def test_a_removed_rule_is_asked_until_its_incident_is_over(how: str) -> None:
    scenario = adopted(rule(), rule("latency")).observe("latency", value=CRITICAL)
    check = scenario.check("latency")

    if how == "restart":
        scenario.restart(rule())
    else:
        scenario.configure(rules=(rule(),))
    scenario.after("1s").tick()

    assert check in polls(scenario.service, recheck=timedelta(seconds=5), now=scenario.now).alone
    for _ in range(2):
        scenario.after("10s").observe("latency", value=OK)
    assert scenario.told == [OPENED, CLOSED]
    scenario.after("1s").tick()
    assert check not in polls(scenario.service, recheck=timedelta(seconds=5), now=scenario.now).alone
    assert check not in scenario.service.checks


def test_a_restart_keeps_an_incident_open() -> None:
    scenario = adopted().observe(value=CRITICAL).restart().after("1m").observe(value=CRITICAL)

    assert scenario.told == [OPENED]
    assert scenario.incident.open


# -- people


def test_a_person_acknowledges_once() -> None:
    scenario = adopted().observe(value=CRITICAL)
    identity = scenario.incident.id

    first = scenario.ask(RequestKind.ACKNOWLEDGE, identity, by="alice")
    second = scenario.ask(RequestKind.ACKNOWLEDGE, identity, by="bob")

    assert (first.status, second.status) == (200, 200)
    assert (scenario.incident.acknowledged_by, scenario.incident.state) == (
        "alice",
        IncidentState.ACKNOWLEDGED,
    )
    assert scenario.told == [OPENED, MessageKind.INCIDENT_ACKNOWLEDGED]


def test_what_is_acknowledged_worsens_and_clears_like_before() -> None:
    scenario = adopted().observe(value=WARNING)
    scenario.ask(RequestKind.ACKNOWLEDGE, scenario.incident.id)

    scenario.after("10s").observe(value=CRITICAL)
    assert scenario.incident.state is IncidentState.ACKNOWLEDGED
    for _ in range(2):
        scenario.after("10s").observe(value=OK)

    assert scenario.told == [OPENED, MessageKind.INCIDENT_ACKNOWLEDGED, WORSENED, CLOSED]


def test_a_person_closes_it_and_it_must_hold_again_before_it_opens_again() -> None:
    scenario = adopted(rule(hold=Holds()))
    for _ in range(3):
        scenario.observe(value=CRITICAL).after("30s")
    reply = scenario.ask(RequestKind.CLOSE, scenario.incident.id, reason="known, being worked on")

    assert (reply.status, reply.body["state"]) == (200, "closed")
    assert "closed by alice: known, being worked on" in scenario.message(CLOSED).headline

    scenario.after("30s").observe(value=CRITICAL).after("30s").observe(value=CRITICAL)
    assert scenario.told == [OPENED, CLOSED]
    scenario.after("30s").observe(value=CRITICAL)
    assert scenario.told == [OPENED, CLOSED, OPENED]


def test_an_incident_that_is_not_open_cannot_be_taken() -> None:
    scenario = adopted().observe(value=CRITICAL)
    identity = scenario.incident.id
    scenario.ask(RequestKind.CLOSE, identity)

    for kind in (RequestKind.ACKNOWLEDGE, RequestKind.CLOSE, RequestKind.APPROVE, RequestKind.REJECT):
        reply = scenario.ask(kind, identity)
        assert (reply.status, reply.detail) == (404, f"there is no open incident {identity}")


# -- the record of it


def test_what_opened_an_incident_can_be_reached_again_from_its_record() -> None:
    scenario = adopted().observe(value=CRITICAL)
    (draft,) = [one for one in scenario.audit if one.kind == "incident_opened"]

    again = replay(link(ChainHead(), draft))

    assert again is None or again.faithful
    assert draft.body["rule_hash"] == scenario.rules[0].hash
    assert draft.body["observation"]["value"] == CRITICAL


# -- a human first


def test_a_person_who_moves_traffic_away_first_closes_the_incident_and_ends_the_blocked_rollback() -> None:
    scenario = Scenario().shows("blue", ready=0).decided()
    scenario.rollback_is(RollbackState.BLOCKED)

    scenario.after("5s").traffic(blue=1, green=0)

    assert not scenario.service.incidents
    scenario.rollback_is(RollbackState.SUPERSEDED)
    ended = scenario.message(MessageKind.ROLLBACK_ENDED)
    assert not ended.needs_human
    assert ended.next_step


def test_after_a_switch_the_breaches_wait_for_the_target() -> None:
    scenario = Scenario().switched()

    (key,) = scenario.incident.breaches
    assert key == "trips/errors@blue"
    assert not scenario.incident.breaches[key].over
    assert scenario.incident.breaches[key].version == "blue"
    assert scenario.incident.deployment == scenario.on("green").id


def test_a_rule_that_only_was_critical_waits_for_the_target_too() -> None:
    scenario = Scenario(rule(), rule("latency")).green_deployed().observe("latency", value=CRITICAL)
    scenario.green_is_bad(rule="errors").after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    scenario.after("2s").traffic().after("10s")
    for _ in range(2):
        scenario.after("5s").observe("errors", value=OK)
    scenario.after("60s").traffic()

    scenario.rollback_is(RollbackState.COMPLETED)
    assert scenario.incident.breaches["trips/latency@blue"].over is False
    for _ in range(2):
        scenario.after("5s").observe("latency", value=OK)
    assert not scenario.service.incidents


def test_a_version_with_an_open_incident_never_becomes_stable_while_its_bad_rule_is_silent() -> None:
    scenario = Scenario(rule(), rule("latency")).traffic(blue=1)
    for _ in range(2):
        scenario.after("10s").observe("errors", value=CRITICAL)
    for _ in range(40):
        scenario.after("30s").silence("errors").observe("latency", value=OK)

    assert scenario.incident.open
    assert scenario.on("blue").state is DeploymentState.ADOPTED
    assert not scenario.on("blue").soaked_for

    for _ in range(2):
        scenario.after("10s").observe("errors", value=OK)
    scenario.healthy_for("11m")
    assert scenario.on("blue").state is DeploymentState.STABLE


def test_a_version_whose_incident_waits_for_something_else_does_not_become_stable_meanwhile() -> None:
    scenario = Scenario(rule(clear=100)).traffic(blue=1)
    for _ in range(2):
        scenario.after("10s").observe(value=CRITICAL)
    scenario.healthy_for("15m")

    assert scenario.incident.open
    assert scenario.on("blue").state is DeploymentState.ADOPTED


def test_an_incident_without_checks_stays_until_somebody_closes_it() -> None:
    scenario = adopted().observe(value=CRITICAL)
    empty = replace(scenario.incident, breaches={})
    world = replace(scenario.service, incidents={empty.id: empty})
    scenario.world = replace(scenario.world, services={"trips": world})

    scenario.after("1s").tick()

    assert scenario.incident.open
