"""Thresholds: from what people write to absolute limits in the rule's base unit.

Computed in decimal, so that 150 % of 1 % is exactly 0.015. This module must never look at anything but the numbers,
their unit and their direction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from itertools import pairwise
from math import isfinite

from watchdog.config.problems import quote
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Direction, Thresholds, Unit
from watchdog.core.units import is_percentage, parse_failures, parse_number, parse_percentage

_ONE = Decimal(1)
#: Beyond, a percentage of a number of failures is a slip of the hand.
_MOST_FAILURES = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """What is wrong with the threshold of `level`."""

    level: str
    message: str


def metric_thresholds(
    written: Mapping[str, str], *, unit: Unit, direction: Direction
) -> tuple[Thresholds, list[Mistake]]:
    """Limits of a rule that compares numbers; `written` by level, mildest first. Design §5, "Numbers" and after."""
    scale = _Scale(unit, direction)
    limits: dict[str, Decimal] = {}
    mistakes: list[Mistake] = []
    for level, text in written.items():
        try:
            if level == "rollback" and is_percentage(text):
                if (limit := scale.share(text, limits.get("critical"), written)) is not None:
                    limits[level] = limit
            else:
                limits[level] = scale.absolute(text)
        except ValueError as fault:
            mistakes.append(Mistake(level=level, message=str(fault)))
    mistakes += scale.out_of_order(limits, written)
    return _thresholds(limits), mistakes


def probe_thresholds(written: Mapping[str, str]) -> tuple[Thresholds, list[Mistake]]:
    """Limits of a probe: consecutive failures, `3 failures`; a rollback percentage of critical is rounded up."""
    limits: dict[str, Decimal] = {}
    mistakes: list[Mistake] = []
    for level, text in written.items():
        try:
            if level == "rollback" and is_percentage(text):
                share = Decimal(str(parse_percentage(text)))
                if share > _MOST_FAILURES:
                    raise ValueError(f"{quote(text)} of critical is too large")
                if "critical" in limits:
                    limits[level] = (limits["critical"] * share).to_integral_value(ROUND_CEILING)
                elif "critical" not in written:
                    raise ValueError(_no_critical(text, "5 failures"))
            else:
                limits[level] = Decimal(parse_failures(text))
        except ValueError as fault:
            mistakes.append(Mistake(level=level, message=str(fault)))
    for milder, worse in _steps(limits):
        if limits[worse] <= limits[milder]:
            message = (
                f"{worse} ({limits[worse]} failures) must be more than {milder} ({limits[milder]} failures)"
            )
            mistakes.append(Mistake(level=worse, message=message))
    return _thresholds(limits), mistakes


class _Scale:
    """Numbers of one unit, getting worse in one direction."""

    def __init__(self, unit: Unit, direction: Direction) -> None:
        self._unit = unit
        self._direction = direction

    def absolute(self, text: str) -> Decimal:
        """The limit that `text` says. Raises `ValueError` when it does not fit or can never be reached."""
        limit = Decimal(str(parse_number(text, self._unit)))
        self._must_be_reachable(limit, quote(text), written=text)
        return limit

    def share(self, text: str, critical: Decimal | None, written: Mapping[str, str]) -> Decimal | None:
        """`text` as a percentage of `critical`; `None` when `critical` has a mistake of its own."""
        share = Decimal(str(parse_percentage(text)))
        if critical is None:
            if "critical" in written:
                return None
            raise ValueError(_no_critical(text, self._example(None)))
        below_ratio = self._direction is Direction.BELOW and self._unit is Unit.RATIO
        if self._direction is Direction.BELOW and not below_ratio:
            why = "with `direction: below` a percentage has no clear meaning"
        elif critical <= 0 or (below_ratio and critical >= 1):
            why = f"critical is {self._shown(critical)}, of which no percentage is worse"
        else:
            limit = _ONE - share * (_ONE - critical) if below_ratio else share * critical
            if not isfinite(float(limit)):
                raise ValueError(f"{quote(text)} of critical is too large")
            # Of a share no other spelling of the number is meant.
            self._must_be_reachable(
                limit, f"{quote(text)} of critical is {self._shown(limit)}, which", written=""
            )
            return limit
        raise ValueError(
            f"{quote(text)}: {why}; write an absolute limit, for example {self._example(critical)}"
        )

    def out_of_order(self, limits: Mapping[str, Decimal], written: Mapping[str, str]) -> list[Mistake]:
        """Every level that is not strictly worse than the milder one before it."""
        word = "above" if self._direction is Direction.ABOVE else "below"
        mistakes = []
        for milder, worse in _steps(limits):
            margin = limits[worse] - limits[milder]
            if (margin if self._direction is Direction.ABOVE else -margin) > 0:
                continue
            shown = f"{worse} ({self._shown(limits[worse])}) must be {word} {milder} ({self._shown(limits[milder])})"
            hint = self._hint(worse, written[worse], limits[milder])
            mistakes.append(Mistake(level=worse, message=shown + hint))
        return mistakes

    def _hint(self, level: str, text: str, milder: Decimal) -> str:
        if level != "rollback" or not is_percentage(text):
            if self._direction is Direction.ABOVE:
                return "; larger is worse here, write `direction: below` where smaller is"
            return "; smaller is worse here (`direction: below`)"
        share = Decimal(str(parse_percentage(text)))
        words = "; a percentage here is a share of critical"
        above = self._direction is Direction.ABOVE
        # Only what would be taken is worth writing.
        if self._unit is Unit.RATIO and (milder < share < 1 if above else 0 < share < milder):
            return f"{words}; write {share.normalize():f} for an absolute ratio"
        return f"{words}, so more than 100% is needed, not {text}" if share <= 1 else ""

    def _must_be_reachable(self, limit: Decimal, what: str, *, written: str) -> None:
        if self._unit is not Unit.RATIO:
            return
        above = self._direction is Direction.ABOVE
        if limit >= 1 if above else limit <= 0:
            side = "above 100%" if above else "below 0%"
            raise ValueError(
                f"{what} can never be reached: no ratio is {side}{self._percent_hint(limit, written)}"
            )
        if limit < 0 or limit > 1:
            raise ValueError(
                f"{what} is no ratio: it must be between 0 and 1{self._percent_hint(limit, written)}"
            )

    @staticmethod
    def _percent_hint(limit: Decimal, written: str) -> str:
        bare = bool(written) and not is_percentage(written)
        return f"; did you mean {limit.normalize():f}%?" if bare and _ONE <= limit < 100 else ""

    def _shown(self, limit: Decimal) -> str:
        return format_quantity(float(limit), self._unit)

    def _example(self, critical: Decimal | None) -> str:
        """An absolute limit that would do, written as this unit is written."""
        above = self._direction is Direction.ABOVE
        if self._unit is Unit.RATIO:
            return "0.015" if above else "0.985"
        if self._unit is Unit.SECONDS:
            return "1500ms" if above or critical is None else f"{(critical * 500).normalize():f}ms"
        if critical is None or critical == 0:
            return "1500" if above else "-1"
        step = abs(critical) / 2
        return f"{(critical + step if above else critical - step).normalize():f}"


def _no_critical(text: str, example: str) -> str:
    return f"{quote(text)} is a percentage of critical, and there is no critical; write for example {example}"


def _steps(limits: Mapping[str, Decimal]) -> list[tuple[str, str]]:
    present = [level for level in ("warning", "critical", "rollback") if level in limits]
    return list(pairwise(present))


def _thresholds(limits: Mapping[str, Decimal]) -> Thresholds:
    return Thresholds(**{level: float(limit) for level, limit in limits.items()})
