"""After the switch: in place, traffic moved, uncontested, recovered; and every way in which it ends otherwise."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from tests.core.scenario import (
    CRITICAL,
    MINUTE,
    OK,
    ROLLBACK,
    WARNING,
    Scenario,
    counting,
    of_service,
    probe,
    rule,
)
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.deployment import DeploymentState
from watchdog.core.events import Outcome, OutcomeKind, TrafficSeen
from watchdog.core.message import MessageKind
from watchdog.core.observation import Value
from watchdog.core.proof import events_proof, verify_for
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState, Veto
from watchdog.core.rule import Level, Rule, Severity

ENDED, COMPLETED, SWITCHED, UNDONE = (
    MessageKind.ROLLBACK_ENDED,
    MessageKind.ROLLBACK_COMPLETED,
    MessageKind.ROLLBACK_SWITCHED,
    MessageKind.SWITCH_UNDONE,
)
SECOND = timedelta(seconds=1)


def states(scenario: Scenario) -> list[str]:
    return [passage.state.value for passage in scenario.rollback.history]


# -- the switch


def test_an_applied_switch_rolls_back_the_deployment_and_taints_its_version() -> None:
    scenario = Scenario().switched()

    rollback = scenario.rollback
    assert (rollback.state, rollback.applied_at, rollback.attempts) == (
        RollbackState.APPLIED,
        scenario.now,
        1,
    )
    assert scenario.on("green").state is DeploymentState.ROLLED_BACK
    assert scenario.service.taints["green"].reason.startswith("rolled back: ")
    assert scenario.on("blue").state is DeploymentState.RETURN
    assert scenario.service.current() == scenario.on("blue")
    assert scenario.last.looks == ("trips",)
    assert scenario.last.services, "taints and traffic are stored with it"
    message = scenario.message(SWITCHED)
    assert message.headline.startswith("trips: traffic moved back from green to blue: ")
    assert message.next_step


def test_what_was_found_done_after_a_restart_goes_on_like_what_was_applied() -> None:
    scenario = Scenario().decided().restart().after("1s")
    scenario.outcome(OutcomeKind.FOUND_DONE, state=scenario.state(blue=1, green=0))

    scenario.rollback_is(RollbackState.APPLIED)
    assert scenario.rollback.history[-1].why == "found in place after a restart"


def test_reads_while_the_executor_works_are_left_to_it() -> None:
    scenario = Scenario().decided()
    before = len(scenario.service.deployments)

    scenario.after("1s").traffic(blue=1, green=0)

    scenario.rollback_is(RollbackState.INTENDED)
    assert len(scenario.service.deployments) == before


def test_a_read_from_before_the_switch_says_nothing_about_it() -> None:
    scenario = Scenario().decided()
    old = scenario.state(blue=0, green=1)
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))

    scenario.feed(TrafficSeen(service="trips", state=old))

    scenario.rollback_is(RollbackState.APPLIED)


def test_the_next_read_verifies_the_object() -> None:
    assert states(Scenario().verified()) == ["decided", "intended", "applied", "verified_object"]


# -- recovery


def test_the_whole_way_to_completed() -> None:
    scenario = Scenario().verified().blue_recovers().after("60s").traffic()

    assert states(scenario) == [
        "decided",
        "intended",
        "applied",
        "verified_object",
        "verified_traffic",
        "uncontested",
        "recovered",
        "completed",
    ]
    assert scenario.rollback.ended_at == scenario.now
    message = scenario.message(COMPLETED)
    assert message.headline.startswith("trips: recovered on blue after ")
    assert "green" in message.next_step
    assert not message.needs_human
    closed = scenario.message(MessageKind.INCIDENT_CLOSED)
    assert closed.headline.endswith("recovered after the rollback to blue")
    assert not scenario.service.incidents


def test_samples_from_before_the_switch_and_its_settling_prove_nothing() -> None:
    scenario = Scenario(stabilise=5 * SECOND).verified()

    for _ in range(4):
        scenario.after("700ms").observe(value=OK, on="blue")
    assert scenario.remembers(on="blue").clears == 0
    scenario.after("700ms").observe(value=OK, on="blue")
    assert scenario.remembers(on="blue").clears == 1


def test_a_switch_that_becomes_known_late_has_its_whole_time_to_be_proved() -> None:
    """The store was away when it was made: nothing was looked at until it was back."""
    scenario = Scenario().decided().after("1s")
    switched_at, seen = scenario.now, scenario.state(blue=1, green=0)
    scenario.after("10m").feed(
        Outcome(
            rollback=scenario.rollback.id,
            service="trips",
            kind=OutcomeKind.APPLIED,
            at=switched_at,
            state=seen,
            attempts=1,
        )
    )
    scenario.after("2s").traffic().tick()
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)

    scenario.blue_recovers().after("70s").traffic()

    scenario.rollback_is(RollbackState.COMPLETED)
    assert scenario.rollback.applied_at == switched_at


def test_a_sample_taken_before_the_switch_proves_nothing_when_it_is_read_later() -> None:
    scenario = Scenario().verified().after("20s")

    scenario.observe(value=OK, on="blue", sampled="21s").observe(value=OK, on="blue", sampled="19s")
    assert scenario.remembers(on="blue").clears == 0

    scenario.observe(value=OK, on="blue", sampled="10s").observe(value=OK, on="blue")
    assert scenario.rollback.recovered_at == scenario.now


def test_a_dead_probe_during_the_settling_says_nothing_either() -> None:
    scenario = Scenario(rule(), probe()).verified()

    for _ in range(5):
        scenario.after("100ms").probed(alive=False)

    assert scenario.remembers("healthy").probe_failures == 0


def test_a_rule_of_the_whole_service_counts_its_clear_samples_anew() -> None:
    scenario = Scenario(of_service()).green_deployed()
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK)
    scenario.after("5s").observe(value=OK).after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    assert scenario.remembers().clears == 0
    assert scenario.remembers().streaks == {}

    scenario.after("2s").traffic().after("10s").observe(value=OK).after("5s").observe(value=OK)

    assert scenario.rollback.recovered_at == scenario.now


def test_every_breached_rule_must_recover() -> None:
    scenario = Scenario(rule(), rule("latency")).green_deployed()
    scenario.green_is_bad(rule="errors").green_is_bad(rule="latency").after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0)).after("2s").traffic()
    scenario.after("10s")
    for _ in range(3):
        scenario.after("5s").observe("errors", value=OK, on="blue")
    assert scenario.rollback.recovered_at is None

    for _ in range(2):
        scenario.after("5s").observe("latency", value=OK, on="blue")
    assert scenario.rollback.recovered_at == scenario.now


def test_a_recovery_that_is_lost_again_is_none() -> None:
    scenario = Scenario().verified().blue_recovers()
    assert scenario.rollback.recovered_at == scenario.now

    scenario.after("5s").observe(value=CRITICAL, on="blue")
    assert scenario.recorded[-1] == "rollback_recovery_lost"
    scenario.after("60s").traffic()
    scenario.rollback_is(RollbackState.UNCONTESTED)

    for _ in range(2):
        scenario.after("5s").observe(value=OK, on="blue")
    scenario.rollback_is(RollbackState.COMPLETED)


def test_silence_after_a_recovery_takes_it_away_from_nobody() -> None:
    scenario = Scenario().verified().blue_recovers().after("5s").silence(on="blue").after("60s").traffic()

    scenario.rollback_is(RollbackState.COMPLETED)


def test_a_rollback_by_a_person_without_a_breach_needs_no_recovery() -> None:
    scenario = Scenario().green_deployed()
    scenario.ask(RequestKind.ROLLBACK)
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    scenario.after("2s").traffic().after("70s").traffic()

    scenario.rollback_is(RollbackState.COMPLETED)
    message = scenario.message(COMPLETED)
    assert message.headline == "trips: is on blue after 1m12s"
    assert dict(message.facts)["why"] == (
        "in place and uncontested; there was no rule to prove it by; whether traffic moved was not measured"
    )
    assert scenario.rollback.history[-2].why == "no rule was breached"


@pytest.mark.parametrize("breached", [False, True])
@pytest.mark.parametrize("measured", [False, True])
def test_a_completed_rollback_says_what_was_proved_and_no_more(breached: bool, measured: bool) -> None:
    scenario = counted(Scenario(), 100, 100) if measured else Scenario()
    scenario.green_deployed()
    if breached:
        scenario.green_is_bad()
    else:
        scenario.ask(RequestKind.ROLLBACK)
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    scenario.after("2s").traffic().blue_recovers()
    if measured:
        counted(scenario, 200, 100)
    scenario.after("70s").traffic()

    scenario.rollback_is(RollbackState.COMPLETED)
    why = scenario.rollback.history[-1].why
    assert ("rules recovered" in why, "no rule to prove it by" in why) == (breached, not breached)
    assert ("traffic moved was not measured" in why) is not measured
    assert why.startswith("proved") is (breached and measured)


def test_events_that_were_counted_before_the_switch_prove_no_traffic() -> None:
    scenario = Scenario().verified()
    check = scenario.check(on="blue")
    verdict = Verdict(
        level=Level.OK, reason=Reason.WITHIN, at=scenario.rollback.applied_at or scenario.now, events=57.0
    )
    later = replace(verdict, at=verdict.at + SECOND)

    def proved(seen: Verdict) -> str:
        known = replace(scenario.service, checks={check: CheckState(verdict=seen)})
        return events_proof(known, scenario.rollback)

    assert proved(verdict) == ""
    assert proved(later) == "57 events of errors on blue"


def test_the_rule_it_was_decided_with_proves_it_whatever_is_configured_since() -> None:
    scenario = Scenario().verified()
    assert scenario.rollback.rules[0].clear == 2

    scenario.restart(rule(clear=1)).after("10s").observe(value=OK, on="blue")
    assert scenario.rollback.recovered_at is None
    scenario.after("5s").observe(value=OK, on="blue")
    assert scenario.rollback.recovered_at == scenario.now


def test_a_rule_that_was_removed_meanwhile_still_proves_it() -> None:
    scenario = Scenario(rule(), rule("latency")).green_deployed().green_is_bad(rule="errors").after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0)).after("2s").traffic()
    scenario.ask(RequestKind.CLOSE, scenario.incident.id)

    scenario.configure(rules=(rule("latency"),)).after("10s").tick()
    for _ in range(2):
        scenario.after("5s").observe("errors", value=OK, on="blue")

    assert scenario.rollback.recovered_at is not None


# -- traffic


def counted(scenario: Scenario, blue: int, green: int) -> Scenario:
    return scenario.shows("blue", requests=blue).shows("green", requests=green)


def test_the_switch_s_own_counters_prove_that_traffic_moved() -> None:
    scenario = counted(Scenario(), 100, 100).verified().after("5s")

    counted(scenario, 100, 100).traffic()
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)
    counted(scenario, 139, 101).after("1s").traffic()

    scenario.rollback_is(RollbackState.VERIFIED_TRAFFIC)
    assert scenario.rollback.traffic_proof == "39 requests to blue, 1 to green since the switch"


def test_traffic_is_not_proved_before_the_switch_settled() -> None:
    scenario = counted(Scenario(), 100, 100).switched().after("2s")

    counted(scenario, 200, 100).traffic()

    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)


def test_traffic_that_did_not_move_is_ineffective_at_the_end_of_the_contest_window() -> None:
    scenario = counted(Scenario(), 100, 100).verified().after("20s")
    counted(scenario, 190, 110).traffic()
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)

    counted(scenario, 900, 200).after("50s").traffic()

    scenario.rollback_is(RollbackState.INEFFECTIVE)
    why = scenario.message(ENDED).headline
    assert "traffic did not move: 11% of the requests since the switch still went to green" in why


def test_traffic_that_all_stayed_is_ineffective() -> None:
    scenario = counted(Scenario(), 100, 100).verified()
    counted(scenario, 100, 200).after("70s").traffic()

    scenario.rollback_is(RollbackState.INEFFECTIVE)


def test_a_few_requests_on_old_connections_are_no_traffic() -> None:
    scenario = counted(Scenario(), 0, 0).verified()
    counted(scenario, 95, 5).after("10s").traffic()

    scenario.rollback_is(RollbackState.VERIFIED_TRAFFIC)


def test_events_of_the_target_do_not_overrule_the_switch_s_counters() -> None:
    scenario = counted(Scenario(counting()), 100, 100).green_deployed(events=100)
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK, events=100)
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    counted(scenario, 100, 200).after("2s").traffic().after("10s").observe(value=OK, events=50, on="blue")

    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)


def test_without_counters_the_target_s_own_events_prove_it() -> None:
    scenario = Scenario(counting()).green_deployed(events=100)
    for _ in range(2):
        scenario.after("10s").observe(value=ROLLBACK, events=100)
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
    scenario.after("2s").traffic()
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)

    scenario.after("10s").observe(value=OK, events=57, on="blue")

    scenario.rollback_is(RollbackState.VERIFIED_TRAFFIC)
    assert scenario.rollback.traffic_proof == "57 events of errors on blue"


def test_counters_that_started_over_are_none() -> None:
    scenario = counted(Scenario(), 1000, 1000).verified()
    counted(scenario, 50, 0).after("70s").traffic()

    assert scenario.rollback.traffic_proof == "not_measurable"


def test_what_cannot_be_measured_says_so_and_goes_on() -> None:
    scenario = Scenario().verified().after("60s").traffic()
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT, "not before the window is over")

    scenario.after("10s").traffic()

    assert scenario.rollback.traffic_proof == "not_measurable"
    assert states(scenario)[-2:] == ["verified_traffic", "uncontested"]


# -- contested


@pytest.mark.parametrize("when", ["applied", "verified_object", "verified_traffic", "uncontested"])
def test_somebody_who_undoes_the_switch_is_noticed_in_every_state(when: str) -> None:
    scenario = counted(Scenario(), 100, 100).switched()
    if when != "applied":
        scenario.after("2s").traffic()
    if when in ("verified_traffic", "uncontested"):
        counted(scenario, 200, 100).after("8s").traffic()
    if when == "uncontested":
        scenario.after("60s").traffic()
    assert scenario.rollback.state.value == when

    scenario.after("1s").traffic(blue=0, green=1)

    scenario.rollback_is(RollbackState.CONTESTED)
    message = scenario.message(ENDED)
    assert "green takes traffic again instead of blue" in message.headline
    assert "watchdog rollback trips" in message.next_step
    assert (message.severity, message.needs_human) == (Severity.CRITICAL, True)
    assert scenario.on("green").state is DeploymentState.RETURN
    assert UNDONE not in scenario.told, "it is told once"


def test_a_switch_that_is_undone_in_part_is_contested_too() -> None:
    scenario = Scenario().verified().after("1s").traffic(blue=1, green=1)

    scenario.rollback_is(RollbackState.CONTESTED)
    assert "beside blue" in scenario.message(ENDED).headline


@pytest.mark.parametrize("weight", [0, 1])
@pytest.mark.parametrize("recovered", [False, True])
def test_a_switch_that_is_undone_leaves_the_incident_open_until_the_bad_version_is_ok(
    weight: int, recovered: bool
) -> None:
    scenario = Scenario().verified()
    incident = scenario.incident.id
    if recovered:
        scenario.blue_recovers()
        assert all(breach.over for breach in scenario.incident.breaches.values())

    scenario.after("1s").traffic(blue=weight, green=1).after("1s").tick()

    scenario.rollback_is(RollbackState.CONTESTED)
    assert scenario.incident.id == incident
    assert [(key, one.version) for key, one in scenario.incident.breaches.items() if not one.over] == [
        ("trips/errors@green", "green")
    ]
    assert MessageKind.INCIDENT_CLOSED not in scenario.told

    scenario.after("20s").observe(value=OK, on="green").after("5s").tick()
    assert scenario.incident.id == incident
    scenario.after("5s").observe(value=OK, on="green").tick()
    assert scenario.service.incidents == {}
    assert scenario.message(MessageKind.INCIDENT_CLOSED).headline.endswith("every check is ok again")


def test_a_rule_of_the_whole_service_clears_anew_after_the_switch_was_undone() -> None:
    scenario = Scenario(of_service()).green_deployed().green_is_bad(rule="load").after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0)).after("2s").traffic()
    scenario.after("10s").observe(value=OK).after("5s").observe(value=OK)

    scenario.after("1s").traffic(blue=0, green=1).after("5s").observe(value=OK)

    scenario.rollback_is(RollbackState.CONTESTED)
    assert [breach.over for breach in scenario.incident.breaches.values()] == [False]
    scenario.after("5s").observe(value=OK)
    assert scenario.service.incidents == {}


@pytest.mark.parametrize("end", ["completed", "ineffective", "unverified"])
def test_traffic_that_goes_back_later_is_told(end: str) -> None:
    scenario = Scenario().verified()
    if end == "completed":
        scenario.blue_recovers()
    if end == "ineffective":
        scenario.after("10s").observe(value=CRITICAL, on="blue")
    scenario.after("70s").traffic().after("5m").tick()
    assert scenario.rollback.state.value == end

    scenario.after("1h").traffic(blue=0, green=1)

    message = scenario.message(UNDONE)
    assert message.headline == "trips: traffic is back on green, which was rolled back"
    assert message.next_step
    assert scenario.on("green").state is DeploymentState.RETURN
    assert not scenario.on("green").armed
    assert "switch_undone" in scenario.recorded

    scenario.after("10s").traffic()
    assert scenario.told.count(UNDONE) == 1


@pytest.mark.parametrize("version", ["green", "v2"])
def test_traffic_that_goes_back_days_later_is_told_too(version: str) -> None:
    scenario = Scenario()
    if version != "green":
        scenario.shows("blue", version="v1").shows("green", version=version)
    scenario.verified().blue_recovers().after("60s").traffic().after("70s").tick()
    scenario.rollback_is(RollbackState.COMPLETED)
    scenario.looks_every = 50
    scenario.healthy_for("30m").after("25h").tick().restart().tick()
    assert scenario.service.rollbacks == {}, "it is forgotten"

    scenario.traffic(blue=1, green=1)

    message = scenario.message(UNDONE)
    assert message.headline == f"trips: traffic is back on {version}, which was rolled back"
    assert dict(message.facts)["because"]
    scenario.after("10s").traffic()
    assert scenario.told.count(UNDONE) == 1


def test_a_new_version_on_the_variant_that_was_rolled_back_is_no_undoing() -> None:
    scenario = Scenario().verified().blue_recovers().after("60s").traffic().after("20m")
    scenario.post("v3", "green")

    scenario.after("5s").traffic(blue=0, green=1)

    assert UNDONE not in scenario.told
    assert (scenario.on("green").version, scenario.on("green").armed) == ("v3", True)


def test_what_replaced_the_version_that_was_rolled_back_may_come_back() -> None:
    scenario = Scenario().verified().blue_recovers().after("60s").traffic().after("20m")
    scenario.post("v3", "green")
    scenario.after("5s").traffic(blue=0, green=1).after("5s").traffic(blue=1, green=0)

    scenario.after("5s").traffic(blue=0, green=1)

    assert UNDONE not in scenario.told


def test_a_new_version_that_the_switch_tells_is_no_undoing_either() -> None:
    scenario = Scenario().shows("blue", version="v1").shows("green", version="v2").verified()
    scenario.blue_recovers().after("60s").traffic().after("20m")

    scenario.shows("green", version="v3").traffic(blue=0, green=1)

    assert UNDONE not in scenario.told
    assert scenario.on("green").armed


# -- superseded after the switch


def test_a_newer_deployment_in_place_ends_the_proof() -> None:
    scenario = Scenario().verified().after("30s")
    scenario.post("v1", "blue")
    scenario.after("1m").post("v3", "blue")

    scenario.rollback_is(RollbackState.SUPERSEDED)
    assert "a newer deployment takes traffic" in scenario.message(ENDED).headline


def test_an_announced_version_on_the_bad_variant_is_a_newer_deployment_not_a_contest() -> None:
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green")
    scenario.after("5s").traffic(blue=0, green=1).after("35s").green_is_bad().after("1s")
    scenario.outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0)).after("2s").traffic()
    scenario.after("5s").post("v3", "green")

    scenario.after("5s").traffic(blue=0, green=1)

    scenario.rollback_is(RollbackState.SUPERSEDED)
    assert (scenario.on("green").version, scenario.on("green").armed) == ("v3", True)


def test_a_canary_beside_the_target_is_a_newer_deployment() -> None:
    scenario = Scenario().verified().after("10s").traffic(red=1)

    scenario.rollback_is(RollbackState.SUPERSEDED)
    assert scenario.on("red").armed


def test_traffic_that_is_moved_elsewhere_supersedes() -> None:
    scenario = Scenario().verified().after("10s").traffic(blue=0, red=1)

    scenario.rollback_is(RollbackState.SUPERSEDED)
    assert not scenario.message(ENDED).needs_human


def test_that_nothing_takes_traffic_for_a_moment_ends_nothing() -> None:
    scenario = Scenario().verified().after("10s").traffic(blue=0, green=0)
    scenario.rollback_is(RollbackState.VERIFIED_OBJECT)

    scenario.after("1s").traffic(blue=1).blue_recovers().after("60s").traffic()
    scenario.rollback_is(RollbackState.COMPLETED)


# -- the deadline


def test_measured_bad_at_the_deadline_is_ineffective() -> None:
    scenario = Scenario().verified()
    until = scenario.rollback.verify_until
    assert until is not None
    while scenario.now + 10 * SECOND < until:
        scenario.after("10s").observe(value=WARNING, on="blue").traffic()
    assert not scenario.rollback.over

    scenario.now = until
    scenario.tick()

    scenario.rollback_is(RollbackState.INEFFECTIVE)
    message = scenario.message(ENDED)
    assert message.headline.endswith("still bad on blue: errors")
    assert "traffic stays where it is" in message.next_step
    assert message.needs_human
    assert scenario.incident.open, "somebody is needed, so the incident stays"


def test_not_measured_at_the_deadline_is_unverified() -> None:
    scenario = Scenario().verified()
    for _ in range(20):
        scenario.after("10s").silence(on="blue").traffic()

    scenario.rollback_is(RollbackState.UNVERIFIED)
    assert scenario.message(ENDED).headline.endswith("recovery could not be measured: errors")
    assert scenario.incident.open


def test_too_few_clear_samples_at_the_deadline_are_unverified() -> None:
    scenario = Scenario().verified().after("10s").observe(value=OK, on="blue").traffic().after("5m").tick()

    scenario.rollback_is(RollbackState.UNVERIFIED)
    assert "too few clear samples" in scenario.message(ENDED).headline


def test_a_switch_that_cannot_be_read_again_is_unverified() -> None:
    scenario = Scenario().switched().after("10s").unreadable().blue_recovers().after("5m").tick()

    scenario.rollback_is(RollbackState.UNVERIFIED)
    assert "the switch could not be read again" in scenario.message(ENDED).headline


def test_recovered_but_unread_since_is_not_called_uncontested() -> None:
    scenario = counted(Scenario(), 0, 0).verified()
    counted(scenario, 100, 0).after("8s").traffic().blue_recovers()
    scenario.rollback_is(RollbackState.VERIFIED_TRAFFIC)
    until = scenario.rollback.verify_until
    assert until is not None

    scenario.after("60s").tick()
    scenario.rollback_is(RollbackState.VERIFIED_TRAFFIC)
    assert scenario.last.looks == ("trips",), "it asks for the read it needs"

    scenario.now = until + MINUTE
    scenario.tick()
    scenario.rollback_is(RollbackState.UNVERIFIED)
    assert "could not be read" in scenario.message(ENDED).headline


def test_a_contest_window_longer_than_the_proof_is_waited_for() -> None:
    scenario = Scenario(verify=10 * SECOND, contest_for=10 * MINUTE).verified().blue_recovers()
    scenario.after("5m").traffic()
    assert not scenario.rollback.over

    scenario.after("5m").traffic()

    scenario.rollback_is(RollbackState.COMPLETED)


def quick() -> Rule:
    return rule(window=30 * SECOND, clear=2, interval=30 * SECOND)


@pytest.mark.parametrize(
    ("rules", "scrapes", "expected"),
    [
        ((), {}, 60),
        ((quick(),), {}, 30 + 2 * 5 + 2 * 30),  # an interval not learnt counts as 30 s
        ((quick(),), {"errors": 5 * SECOND}, 60),  # 30 + 10 + 10 is less than `verify`
        ((quick(),), {"errors": 15 * SECOND}, 30 + 2 * 15 + 2 * 15),  # samples come no faster than scrapes
        ((quick(),), {"errors": 60 * SECOND}, 30 + 2 * 60 + 2 * 60),
        ((rule(window=5 * MINUTE, clear=3), quick()), {"errors": 10 * SECOND}, 300 + 3 * 10 + 2 * 10),
        ((rule(interval=SECOND, window=60 * SECOND, clear=3),), {}, 60 + 3 * 1 + 2 * 1),
        ((probe(clear=20),), {}, 20 * 5),
    ],
)
def test_the_time_for_proof_is_window_and_clear_samples_and_two_scrapes(
    rules: tuple[Rule, ...], scrapes: dict[str, timedelta], expected: int
) -> None:
    assert verify_for(rules, MINUTE, scrapes, 5 * SECOND) == expected * SECOND


def test_the_deadline_begins_after_the_settling() -> None:
    scenario = Scenario(stabilise=7 * SECOND, verify=10 * MINUTE, contest_for=40 * SECOND).switched()
    rollback = scenario.rollback

    assert rollback.verify_until == scenario.now + 7 * SECOND + 10 * MINUTE
    assert rollback.contest_until == scenario.now + 47 * SECOND


def test_the_scrape_interval_that_was_learnt_raises_the_deadline() -> None:
    scenario = Scenario().green_deployed()
    for _ in range(2):
        scenario.after("10s")
        scenario.sees(
            scenario.check(on="green"),
            Value(value=ROLLBACK, at=scenario.now, scrape_interval=60 * SECOND),
        )
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))

    assert scenario.rollback.verify_until == scenario.now + (5 + 30 + 2 * 60 + 2 * 60) * SECOND


def test_a_restart_in_the_middle_of_the_proof_goes_on_with_it() -> None:
    scenario = Scenario().verified().restart().blue_recovers().after("60s").traffic()

    scenario.rollback_is(RollbackState.COMPLETED)


# -- stopped right before the write


def test_a_version_that_lost_its_traffic_before_the_write_ends_it_with_one_message() -> None:
    scenario = Scenario().decided().after("1s")
    gone = Veto(guard="still_live", reason="not_live", detail="green takes no traffic any more")

    scenario.outcome(OutcomeKind.VETOED, vetoes=(gone,))

    scenario.rollback_is(RollbackState.SUPERSEDED)
    message = scenario.message(ENDED)
    assert message.headline.endswith("green takes no traffic any more")
    assert not message.needs_human
    assert MessageKind.ROLLBACK_BLOCKED not in scenario.told


# -- what was announced while it was being written


def announced() -> Scenario:
    """v2 on green was announced, so that the next announcement is another version."""
    scenario = Scenario().stable_blue()
    scenario.post("v2", "green")
    return scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic().green_is_bad().after("1s")


def test_what_is_announced_in_place_while_traffic_is_taken_away_is_awaited() -> None:
    scenario = announced()
    seen = scenario.state(blue=1, green=0)
    scenario.post("v3", "green")
    assert scenario.on("green").version == "v3"

    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=seen)

    (waiting,) = [one for one in scenario.service.deployments.values() if one.version == "v3"]
    assert (waiting.state, waiting.armed, waiting.live_at) == (DeploymentState.PENDING, False, None)
    assert scenario.on("green").state is DeploymentState.ROLLED_BACK
    scenario.after("5s").traffic(blue=0, green=1)
    assert (scenario.on("green").version, scenario.on("green").armed) == ("v3", True)


def test_what_is_announced_on_the_target_while_traffic_is_sent_there_has_arrived() -> None:
    scenario = announced()
    seen = scenario.state(blue=1, green=0)
    scenario.post("v3", "blue")

    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=seen)

    assert (scenario.on("blue").version, scenario.on("blue").armed) == ("v3", True)
    scenario.rollback_is(RollbackState.SUPERSEDED)
