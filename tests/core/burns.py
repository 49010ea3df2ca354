"""Burn rates for tests: counts a step apart, and what a source makes of them in every window."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from watchdog.core.burning import Slo
from watchdog.core.observation import Answer, Value
from watchdog.core.observe import observe
from watchdog.core.promql import over
from watchdog.core.rule import Evidence, Holds, Ratio, Rule, Samples, Thresholds, Unit

T0 = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
SLO = Slo(objective=0.999)
STEP = timedelta(seconds=30)
STEADY = Holds(warning=Samples(2), critical=Samples(2), rollback=Samples(2))


def budget_rule(
    slo: Slo = SLO,
    *,
    evidence: Evidence | None = Evidence(excess=0.0),  # noqa: B008  a frozen value
    selector: str = 'http{version="$version"}',
    clear: int = 3,
) -> Rule:
    """What configuration makes of an objective."""
    return Rule(
        name="error-budget",
        form=Ratio(bad=f"bad_{selector}", total=selector),
        slo=slo,
        thresholds=Thresholds(**{level: limit.factor for level, limit in slo.limits.items()}),
        unit=Unit.TIMES,
        window=slo.windows[0],
        hold=STEADY,
        evidence=evidence,
        clear=clear,
        source="prometheus",
    )


class Counter:
    """Events and bad ones, by when they happened."""

    def __init__(self) -> None:
        self.happened: list[tuple[datetime, float, float]] = []

    def add(self, at: datetime, *, events: float, bad: float) -> None:
        self.happened.append((at, events, bad))

    def answer(self, rule: Rule, now: datetime) -> Answer:
        """What a source answers: every window ends now."""
        parts: dict[str, tuple[float, ...]] = {"newest": (now.timestamp(),), "samples": (10.0,)}
        for window in (rule.window, *rule.windows):
            inside = [one for one in self.happened if now - window < one[0] <= now]
            names = (
                ("total", "bad") if window == rule.window else (over("total", window), over("bad", window))
            )
            for name, index in zip(names, (1, 2), strict=True):
                parts[name] = (sum(one[index] for one in inside),) if inside else ()  # type: ignore[misc]
        return Answer(parts=parts, evaluated_at=now, asked="the question")

    def value(self, rule: Rule, now: datetime) -> Value:
        seen = observe(rule, self.answer(rule, now), now=now)
        assert isinstance(seen, Value), seen
        return seen
