"""Series of observations for the tests of the evaluation: rules, samples, and a check that lives through them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from hypothesis import settings

from watchdog.core.check import CheckState, Verdict
from watchdog.core.evaluate import Evaluated, evaluate
from watchdog.core.observation import Observation, Pulse, Value
from watchdog.core.rule import (
    Direction,
    Evidence,
    Holds,
    ProbeForm,
    Query,
    Ratio,
    Rule,
    Samples,
    Thresholds,
    Unit,
)

T0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
ERROR_LIMITS = Thresholds(warning=0.005, critical=0.01, rollback=0.015)
#: The same examples in every run: a red test stays red.
ALWAYS_THE_SAME = settings(derandomize=True, deadline=None, max_examples=100)


def at(seconds: float) -> datetime:
    return T0 + timedelta(seconds=seconds)


def ratio_rule(
    thresholds: Thresholds = ERROR_LIMITS,
    *,
    direction: Direction = Direction.ABOVE,
    evidence: Evidence | None = Evidence(),  # noqa: B008  a frozen value
    hold: Holds = Holds(),  # noqa: B008  a frozen value
    clear: int = 3,
    interval: timedelta = timedelta(seconds=30),
    window: timedelta = timedelta(minutes=1),
) -> Rule:
    return Rule(
        name="error-rate",
        form=Ratio(bad="bad", total="total"),
        unit=Unit.RATIO,
        thresholds=thresholds,
        direction=direction,
        evidence=evidence,
        hold=hold,
        clear=clear,
        interval=interval,
        window=window,
    )


def query_rule(
    thresholds: Thresholds,
    *,
    direction: Direction = Direction.ABOVE,
    evidence: Evidence | None = None,
    hold: Holds = Holds(),  # noqa: B008  a frozen value
    unit: Unit = Unit.COUNT,
) -> Rule:
    return Rule(
        name="queue",
        form=Query(query="max(queue_depth)"),
        unit=unit,
        thresholds=thresholds,
        direction=direction,
        evidence=evidence,
        hold=hold,
    )


def probe_rule(
    *, warning: float | None = None, critical: float | None = 3, rollback: float | None = 5
) -> Rule:
    return Rule(
        name="healthy",
        form=ProbeForm(kind="http", settings={"url": "http://$service.internal/healthz"}),
        thresholds=Thresholds(warning=warning, critical=critical, rollback=rollback),
    )


def one_sample_each() -> Holds:
    return Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(1))


def errors(share: float, seconds: float, *, events: float = 1000.0) -> Value:
    """A ratio sample: that share of `events` was bad."""
    return Value(value=share, at=at(seconds), events=events, bad=share * events)


def number(value: float, seconds: float, *, events: float | None = None) -> Value:
    return Value(value=value, at=at(seconds), events=events)


def pulse(seconds: float, *, passed: bool, detail: str = "") -> Pulse:
    return Pulse(passed=passed, at=at(seconds), detail=detail)


class Check:
    """One check that lives through a series; `now` is the sample's time unless told."""

    def __init__(self, rule: Rule, *, interval: timedelta | None = None) -> None:
        self.rule = rule
        self.interval = interval
        self.state = CheckState()

    def see(self, observation: Observation, *, now: float | None = None) -> Evaluated:
        if now is None:
            assert isinstance(observation, Value | Pulse), "say when nothing was seen"
            moment = observation.at
        else:
            moment = at(now)
        evaluated = evaluate(self.rule, self.state, observation, now=moment, interval=self.interval)
        self.state = evaluated.state
        return evaluated

    def verdict(self, observation: Observation, *, now: float | None = None) -> Verdict:
        return self.see(observation, now=now).verdict

    def live_through(self, observations: Iterable[Value | Pulse]) -> list[Evaluated]:
        return [self.see(observation) for observation in observations]
