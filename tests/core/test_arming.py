"""Where a service asks for it, only a rule that proved itself on history may roll back by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.core.scenario import MINUTE, OK, ROLLBACK, T0, Scenario, rule
from tests.core.test_deciding import faithful
from watchdog.core.arming import Proof, unproven
from watchdog.core.guards import GuardFacts
from watchdog.core.message import MessageKind
from watchdog.core.request import RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Rule, Thresholds
from watchdog.core.service import Mode, Service

ERRORS, SLOW = rule(), rule("slow", query='slow{version="$version"}')
NEVER: dict[str, Any] = {"reason": "never_backtested", "detail": "errors was never back-tested"}


def proof(of: Rule = ERRORS, **changes: Any) -> dict[str, Proof]:
    return {of.name: Proof(judgement=of.judgement, **changes)}


def test_a_rule_that_never_proved_itself_tells_and_does_not_switch() -> None:
    scenario = Scenario(proofs=proof(**NEVER)).decided()

    scenario.rollback_is(RollbackState.BLOCKED)
    assert scenario.vetoes == [("backtested", "never_backtested")]
    told = scenario.message(MessageKind.ROLLBACK_BLOCKED)
    assert "watchdog backtest" in told.next_step
    assert "watchdog rollback trips" in told.next_step
    assert faithful(scenario, "rollback_blocked")


def test_one_that_did_switches() -> None:
    Scenario(proofs=proof()).decided().rollback_is(RollbackState.INTENDED)


def test_where_nobody_asks_for_proofs_none_is_needed() -> None:
    Scenario(proofs=None).decided().rollback_is(RollbackState.INTENDED)


def test_a_record_that_comes_while_it_waits_arms_the_rule() -> None:
    scenario = Scenario(proofs={}).decided().rollback_is(RollbackState.BLOCKED)

    scenario.configure(proofs=proof()).green_is_bad(1)

    scenario.rollback_is(RollbackState.INTENDED)
    assert faithful(scenario, "rollback_intended")


def test_a_record_that_goes_disarms_it() -> None:
    scenario = Scenario(proofs=proof()).green_deployed().configure(proofs=proof(**NEVER)).green_is_bad()

    scenario.rollback_is(RollbackState.BLOCKED)


def test_a_person_needs_no_proof() -> None:
    scenario = Scenario(proofs={}).decided().rollback_is(RollbackState.BLOCKED)

    assert scenario.ask(RequestKind.ROLLBACK, reason="I see it").status == 202
    scenario.rollback_is(RollbackState.INTENDED)


def test_a_person_who_approves_needs_none_either() -> None:
    scenario = Scenario(mode=Mode.APPROVE, proofs={}).decided()
    scenario.rollback_is(RollbackState.AWAITING_APPROVAL)

    assert scenario.ask(RequestKind.APPROVE, scenario.incident.id).status == 202
    scenario.rollback_is(RollbackState.INTENDED)


def test_another_rule_that_proved_itself_decides() -> None:
    scenario = Scenario(ERRORS, SLOW, proofs={**proof(**NEVER), **proof(SLOW)}).green_deployed()
    scenario.green_is_bad(rule="errors").rollback_is(RollbackState.BLOCKED)

    scenario.green_is_bad(rule="slow").rollback_is(RollbackState.INTENDED)


def test_while_another_that_may_asks_too_nobody_is_told_twice_of_the_one_that_may_not() -> None:
    both = {**proof(**NEVER), **proof(SLOW)}
    scenario = Scenario(ERRORS, SLOW, proofs=both).shows("blue", ready=0).green_deployed()
    for _ in range(6):
        scenario.green_is_bad(1, rule="slow").green_is_bad(1, rule="errors")

    assert scenario.vetoes == [("target_ready", "not_ready")]
    assert scenario.recorded.count("rollback_blocked") == 1
    assert scenario.told.count(MessageKind.ROLLBACK_BLOCKED) == 1


@pytest.mark.parametrize("later", ["fine", "silent", "unasked", "once"])
def test_a_rule_that_asks_no_more_lends_its_proof_to_nobody(later: str) -> None:
    both = {**proof(**NEVER), **proof(SLOW)}
    scenario = Scenario(ERRORS, SLOW, proofs=both).shows("blue", ready=0).green_deployed()
    scenario.green_is_bad(rule="slow").rollback_is(RollbackState.BLOCKED)
    if later == "fine":
        scenario.green_is_bad(2, value=OK, rule="slow")
    elif later == "once":
        scenario.green_is_bad(2, value=OK, rule="slow").green_is_bad(1, rule="slow")
    else:
        scenario.after("2m")
    if later == "silent":
        scenario.silence("slow", on="green")
    scenario.shows("blue", ready=10).traffic().green_is_bad(rule="errors")

    scenario.rollback_is(RollbackState.BLOCKED)
    assert scenario.vetoes == [("backtested", "never_backtested")]


def test_an_open_incident_keeps_its_rule_and_the_proof_of_the_next_is_none_of_it() -> None:
    other = rule(thresholds=Thresholds(warning=11.0, critical=21.0, rollback=31.0))
    scenario = Scenario(proofs=proof(**NEVER)).decided().rollback_is(RollbackState.BLOCKED)
    scenario.configure(rules=(other,), proofs=proof(other))

    scenario.green_is_bad(1, value=ROLLBACK)

    assert scenario.vetoes == [("backtested", "changed_since")]


def test_a_proof_has_a_last_moment() -> None:
    until = T0 + 90 * MINUTE
    proofs = proof(until=until)

    assert unproven(proofs, ERRORS, now=until) == ("", "")
    reason, words = unproven(proofs, ERRORS, now=until + timedelta(microseconds=1))
    assert reason == "too_old"
    assert words == "the last back-test of errors counted until 2026-03-02 11:30 UTC"


def test_a_rule_that_nobody_looked_at_proved_nothing() -> None:
    assert unproven({}, ERRORS, now=T0)[0] == "never_backtested"
    assert unproven(None, ERRORS, now=T0) == ("", "")


def test_records_from_before_there_were_proofs_are_read() -> None:
    facts = msgspec.json.decode(msgspec.json.encode(Scenario().decided().audit[-1].body["facts"]))
    for name in ("unproven", "unproven_detail"):
        facts.pop(name)
    assert msgspec.convert(facts, GuardFacts, strict=False).unproven == ""
    assert msgspec.json.decode(b'{"name": "trips"}', type=Service).proofs is None
