"""What a service measured, whenever it is asked: a scenario whose checks are polled as the daemon polls them.

A rule with a baseline is asked together with the reference that it needs then, as far as history has one.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Self

from tests.core.scenario import Scenario, rule
from watchdog.core.baseline import Earlier
from watchdog.core.check import CheckId, Verdict
from watchdog.core.checks import checks_of, rule_of
from watchdog.core.comparing import compared, comparison
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.rule import Against, Aggregate, Baseline, Direction, Gauge, Query, Rule, Thresholds
from watchdog.core.units import parse_duration

#: What was measured on a version at a moment, `None` for nothing; the version is empty where a rule names none.
Measured = Callable[[str, datetime], float | None]

MARGINS = Thresholds(warning=0.3, critical=0.5, rollback=0.55)
PER_VERSION = Query(query='requests{version="$version"}')


def baseline(
    against: Against = Against.BEFORE_DEPLOYMENT,
    *,
    ago: str = "",
    margins: Thresholds = MARGINS,
    **changes: Any,
) -> Rule:
    """`requests`: the fewer the worse, 30 % are a warning, 50 % critical, 55 % too much."""
    settings: dict[str, Any] = {
        "form": Gauge(of='requests{service="$service"}', by=Aggregate.SUM),
        "thresholds": Thresholds(),
        "direction": Direction.BELOW,
        "baseline": Baseline(against=against, ago=parse_duration(ago) if ago else None, margins=margins),
    }
    return rule("requests", **(settings | changes))


class History(Scenario):
    """`measured` answers every question, out of `samples` samples each. `asked` are the references asked for."""

    def __init__(self, *rules: Rule, measured: Measured, samples: float = 100.0, **policy: Any) -> None:
        super().__init__(*rules, **policy)
        self.measured = measured
        self.samples = samples
        self.failing = False
        self.asked: list[Earlier] = []
        #: The median, a quantile on the bad side and how many values they are made of, where somebody asks.
        self.usual: tuple[float, float, float] | None = None

    def poll(self, name: str = "", on: str = "") -> Verdict:
        """Poll one check now."""
        check = self.check(name, on)
        self._poll(check)
        verdict = self.service.checks[check].verdict
        assert verdict is not None
        return verdict

    def live_for(self, text: str, *, every: str = "30s") -> Self:
        """Every check is polled for so long, and the switch is read."""
        end = self.now + parse_duration(text)
        while self.now < end:
            self.now = min(self.now + parse_duration(every), end)
            for check in checks_of(self.service):
                self._poll(check)
            self.traffic().tick()
        return self

    def after(self, text: str) -> Self:
        super().after(text)
        return self

    def restart(self, *rules: Rule) -> Self:
        super().restart(*rules)
        return self

    def deployed(self, **weights: int) -> Self:
        """Traffic moves, and the warm-up passes."""
        self.after("5s").traffic(**(weights or {"blue": 0, "green": 1}))
        self.after("35s").traffic()
        return self

    def _poll(self, check: CheckId) -> None:
        asked = rule_of(self.service, check)
        assert asked is not None
        needed = comparison(self.service, check, asked, now=self.now)
        parts: dict[str, tuple[float, ...]] = {
            "value": self._number(check.version, self.now),
            "newest": (self.now.timestamp(),),
            "samples": (4.0,),
        }
        if needed is not None and needed.asked is not None:
            self.asked.append(needed.asked)
            then = needed.asked.at or self.now - needed.asked.ago
            number = self._number(needed.asked.version, then)
            parts |= (
                {"reference": number, "reference_samples": (self.samples,) if number else ()}
                if needed.asked.outer is None
                else self._usual()
            )
        if self.failing:
            self.sees(check, Failed(reason=FailReason.TIMEOUT, detail="no answer in time"))
            return
        answer = Answer(parts=parts, evaluated_at=self.now)
        self.sees(check, compared(asked, answer, needed, now=self.now))

    def _usual(self) -> dict[str, tuple[float, ...]]:
        median, outer, points = self.usual or (None, None, None)
        numbers = {"reference": median, "reference_outer": outer, "reference_points": points}
        return {part: () if number is None else (number,) for part, number in numbers.items()}

    def _number(self, version: str, at: datetime) -> tuple[float, ...]:
        found = self.measured(version, at)
        return () if found is None else (found,)
