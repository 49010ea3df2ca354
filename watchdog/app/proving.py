"""What the doctor says of back-tests: which rules may act although nobody knows what they would have done.

This module must never replay anything.
"""

from __future__ import annotations

from datetime import datetime

from watchdog.app.finding import Finding, Health
from watchdog.config.arming import Gap, gaps, has_history, silent
from watchdog.config.loaded import Configuration
from watchdog.core.service import Mode

WHAT = "back-tests"
ADVICE = "watchdog backtest -c FILE --record, then commit the file"


def backtests(configuration: Configuration, now: datetime) -> list[Finding]:
    """One row, and one for each service on which `require_backtest` keeps a rule from acting; none without rules."""
    tests = configuration.backtest
    found = gaps(configuration.services, configuration.rules, tests, now)
    asked = _asked(configuration)
    if not asked:
        return []
    if not found:
        detail = f"{asked} of {asked} rules that may roll back were back-tested as they are"
        return [Finding(what=WHAT, health=Health.OK, detail=detail)]
    refused = [gap for gap in found if gap.refused]
    rows = [_refused(name, [gap for gap in refused if gap.service == name]) for name in _services(refused)]
    open_ones = [gap for gap in found if not gap.refused]
    if open_ones:
        rows.append(_open(open_ones, asked, quiet=silent(found, tests)))
    return rows


def _asked(configuration: Configuration) -> int:
    """How many pairs of a service that may act and a rule by which it may there are, of those with a history."""
    return sum(
        rule.can_roll_back and has_history(rule)
        for entry in configuration.services.values()
        if entry.service.mode is Mode.ENFORCE
        for name, rule in configuration.rules.items()
        if name in entry.service.rules
    )


def _services(found: list[Gap]) -> list[str]:
    return list(dict.fromkeys(gap.service for gap in found))


def _refused(service: str, found: list[Gap]) -> Finding:
    detail = f"{service} wants them, and will not roll back by {', '.join(gap.rule for gap in found)}: "
    return Finding(
        what=WHAT, health=Health.BAD, detail=detail + "; ".join(gap.detail for gap in found), advice=ADVICE
    )


def _open(found: list[Gap], asked: int, *, quiet: bool) -> Finding:
    """Where nobody ever spoke of back-tests, that there are none is no warning."""
    if quiet:
        rules = "rule that may roll back was" if asked == 1 else "rules that may roll back were"
        return Finding(
            what=WHAT, health=Health.OK, detail=f"{asked} {rules} never back-tested", advice=ADVICE
        )
    shown = "; ".join(dict.fromkeys(gap.detail for gap in found))
    detail = f"{len(found)} of {asked} rules that may roll back have not proved themselves: {shown}"
    return Finding(what=WHAT, health=Health.WARN, detail=detail, advice=ADVICE)
