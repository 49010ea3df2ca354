"""An error budget that a deployment burns: the rollback is proved at once, the incident lasts until windows forget."""

from __future__ import annotations

from datetime import timedelta

from tests.core.burns import STEP, Counter, budget_rule
from tests.core.scenario import Scenario
from watchdog.core.burning import BurnLimit, Slo
from watchdog.core.events import OutcomeKind
from watchdog.core.message import MessageKind
from watchdog.core.replay import DECISIONS
from watchdog.core.rollback import RollbackState
from watchdog.core.rule import Level, Rule

M = timedelta(minutes=1)
SHORT = Slo(
    objective=0.99,
    warning=BurnLimit(factor=1, long=60 * M, short=20 * M),
    critical=BurnLimit(factor=5, long=20 * M, short=6 * M),
    rollback=BurnLimit(factor=10, long=10 * M, short=2 * M),
)


class Polled:
    """A service whose one rule is polled every 30 s, with what all its requests did."""

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.counter = Counter()
        self.scenario = Scenario(rule)
        self.scenario.looks_every = 50

    def goes_on(self, polls: int, *, share: float = 0.0, on: str = "") -> Scenario:
        """So many polls with that share of the requests bad."""
        scenario = self.scenario
        for _ in range(polls):
            scenario.after("30s")
            self.counter.add(scenario.now, events=1000, bad=1000 * share)
            scenario.sees(scenario.check("", on), self.counter.value(self.rule, scenario.now))
            scenario.traffic()
        return scenario

    def rolled_back(self) -> Scenario:
        """Green was deployed, failed, and traffic is back on blue."""
        self.scenario.traffic(blue=1, green=0)
        self.goes_on(60)
        scenario = self.scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic()
        self.goes_on(6, share=0.5, on="green" if self.rule.per_version else "")
        scenario.rollback_is(RollbackState.INTENDED)
        scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0))
        return scenario.after("2s").traffic()


def test_what_the_whole_service_burnt_is_over_when_the_shortest_window_is_clean_and_told_once() -> None:
    polled = Polled(budget_rule(SHORT, selector="http", clear=2))
    scenario = polled.rolled_back()
    assert scenario.rollback.verify_until is not None
    assert scenario.rollback.verify_until - scenario.now < 6 * M, "the long windows are not waited for"

    polled.goes_on(8)

    scenario.rollback_is(RollbackState.COMPLETED)
    # What was burnt is still in the windows of the other levels: the incident is not over, and told no second time.
    assert scenario.remembers().latched is Level.CRITICAL
    assert scenario.incident.level is Level.ROLLBACK
    polled.goes_on(20)
    assert scenario.remembers().latched is Level.WARNING
    polled.goes_on(40)
    assert scenario.remembers().latched is Level.OK
    assert not scenario.service.incidents
    assert scenario.told.count(MessageKind.INCIDENT_OPENED) == 1
    assert scenario.message(MessageKind.INCIDENT_CLOSED).headline.endswith(
        "recovered after the rollback to blue"
    )


def test_a_rule_of_a_version_has_only_its_own_past_and_is_ok_at_once() -> None:
    rule = budget_rule(SHORT, clear=2)
    polled = Polled(rule)
    blue = polled.counter
    polled.scenario.traffic(blue=1, green=0)
    polled.goes_on(60, on="blue")
    scenario = polled.scenario.after("5s").traffic(blue=0, green=1).after("35s").traffic()
    polled.counter = Counter()
    polled.goes_on(3, share=0.5, on="green")
    scenario.rollback_is(RollbackState.INTENDED)
    scenario.after("1s").outcome(OutcomeKind.APPLIED, state=scenario.state(blue=1, green=0)).after(
        "2s"
    ).traffic()
    polled.counter = blue

    polled.goes_on(4, on="blue")

    scenario.rollback_is(RollbackState.COMPLETED)
    assert not scenario.service.incidents


def test_a_target_that_hardly_anybody_reaches_has_not_recovered() -> None:
    polled = Polled(budget_rule(SHORT, selector="http", clear=2))
    scenario = polled.rolled_back()
    for _ in range(14):
        scenario.after("30s")
        polled.counter.add(scenario.now, events=1, bad=0)
        scenario.sees(scenario.check(), polled.counter.value(polled.rule, scenario.now)).traffic()
    assert scenario.rollback.state is RollbackState.INEFFECTIVE
    assert scenario.rollback.recovered_at is None
    assert scenario.service.incidents


def test_a_target_that_burns_on_is_no_recovery() -> None:
    polled = Polled(budget_rule(SHORT, selector="http", clear=2))
    scenario = polled.rolled_back()
    polled.goes_on(14, share=0.05)
    assert scenario.rollback.state is RollbackState.INEFFECTIVE


def test_every_decision_is_recorded_with_the_burn_rates_it_was_made_from() -> None:
    scenario = Polled(budget_rule(SHORT, selector="http")).rolled_back()
    bodies = [
        draft.body for draft in scenario.audit if draft.kind in DECISIONS and "observation" in draft.body
    ]
    assert bodies
    assert all(set(body["observation"]["burns"]) == {"warning", "critical", "rollback"} for body in bodies)


def test_messages_say_how_many_times_too_fast_and_the_limit() -> None:
    scenario = Polled(budget_rule(SHORT, selector="http")).rolled_back()
    opened = scenario.message(MessageKind.INCIDENT_OPENED)
    assert opened.evidence is not None
    assert opened.evidence.unit == "times"
    facts = dict(opened.facts)
    assert "x (limit " in facts["error-budget"]
    assert "what 99% allows" in facts["error-budget"]
    assert STEP.total_seconds() == 30
