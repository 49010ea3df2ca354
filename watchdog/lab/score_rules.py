"""The rules of a score card: the one that is scored unless another is named, and the plain ones beside it.

All are judged by the daemon's own evaluation. None knows the name of a series or its folder: what differs is learnt
from the first part of the series, which is not scored. This module must never look at a label, and never at a sample
that is scored.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np

from watchdog.config.forms import Forms
from watchdog.config.problems import Problems, unknown
from watchdog.config.providers import Providers, Registries
from watchdog.config.rule_files import RuleBook
from watchdog.config.rules import Surroundings
from watchdog.config.trail import Trail
from watchdog.core.baseline import LEAST_SAMPLES, USUAL_OVER
from watchdog.core.burning import Slo
from watchdog.core.errors import ConfigError
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Direction,
    Gauge,
    Hold,
    Holds,
    Lasting,
    Rule,
    Samples,
    Thresholds,
    Unit,
)
from watchdog.core.service import Intervals
from watchdog.lab.track import Floats, Track

#: The first fifth of a series calibrates.
CALIBRATION = 5
#: How many deviations from the usual each level is; rollback is 150 % of critical, as everywhere (docs/score-card.md).
DEVIATIONS = Thresholds(warning=4.0, critical=5.0, rollback=7.5)
#: The same for values that get smaller when they get worse: two and a half deviations may be all there is above 0.
DEVIATIONS_BELOW = Thresholds(warning=1.2, critical=1.5, rollback=2.25)
#: What is usual is that of `USUAL_OVER`, but no more than so many times what the series begins with.
OVER_CALIBRATION = 3
#: The plain rules call critical what the calibration exceeds this rarely.
CRITICAL_QUANTILE = 0.99
#: `one sample above 150 %`.
NAIVE = 1.5
#: `for: 3`.
FOR = 3
#: The burn rate's objective leaves at least this as a budget, and at most half.
_LEAST_BUDGET, _MOST_BUDGET = 0.0001, 0.5
_USUAL_HOLD = timedelta(minutes=1)


def calibrating(track: Track) -> int:
    """How many samples at the begin of a series calibrate."""
    return len(track) // CALIBRATION


def learnt_rule(track: Track, direction: Direction) -> Rule:
    """The rule that is scored: so many deviations worse than what is usual, with the holds that its step allows.

    A sample of an hour is the sum of that hour: it holds by itself. Where samples come more often, warning and critical
    hold a minute and a rollback two samples, as by default.
    """
    step = timedelta(seconds=track.step or 60.0)
    over = min(USUAL_OVER, max(OVER_CALIBRATION * calibrating(track), LEAST_SAMPLES) * step)
    one = Samples(1)
    often = step < _USUAL_HOLD
    hold: Hold = Lasting(_USUAL_HOLD) if often else one
    return Rule(
        name="usual",
        form=Gauge(of="value", by=Aggregate.MAX),
        unit=Unit.NONE,
        direction=direction,
        baseline=Baseline(
            against=Against.USUAL,
            margins=DEVIATIONS if direction is Direction.ABOVE else DEVIATIONS_BELOW,
            over=over,
        ),
        hold=Holds(warning=hold, critical=hold, rollback=Samples(2) if often else one),
        interval=step,
        window=step,
    )


def naive_rule(track: Track, direction: Direction) -> Rule | None:
    """One sample beyond 150 % of critical; `None` where nothing could be learnt."""
    critical = critical_of(track, direction)
    if critical is None:
        return None
    margin = (NAIVE - 1) * abs(critical) if direction is Direction.ABOVE else (1 / NAIVE - 1) * abs(critical)
    return _plain("naive", track, direction, critical + margin, samples=1)


def for_rule(track: Track, direction: Direction) -> Rule | None:
    """Three samples beyond critical, one after the other; `None` where nothing could be learnt."""
    critical = critical_of(track, direction)
    return None if critical is None else _plain("for3", track, direction, critical, samples=FOR)


def critical_of(track: Track, direction: Direction) -> float | None:
    """What a person would call critical after a look at the calibration: what it exceeds one time in a hundred."""
    known = _calibration(track)
    if not len(known):
        return None
    q = CRITICAL_QUANTILE if direction is Direction.ABOVE else 1 - CRITICAL_QUANTILE
    return float(np.quantile(known, q))


def burn_slo(track: Track, direction: Direction) -> Slo | None:
    """The objective whose burn rates are looked at, where they apply: all values are shares of what went wrong.

    The budget is what the calibration spent, windows and factors are the workbook's, without the one for tickets.
    `None` where they do not apply.
    """
    known, calibration = track.values[np.isfinite(track.values)], _calibration(track)
    shares = bool(np.all((known >= 0) & (known <= 1)))
    if direction is not Direction.ABOVE or not len(calibration) or not shares:
        return None
    budget = min(max(float(np.mean(calibration)), _LEAST_BUDGET), _MOST_BUDGET)
    return Slo(objective=1 - budget, warning=None)


def _plain(name: str, track: Track, direction: Direction, limit: float, *, samples: int) -> Rule:
    step = timedelta(seconds=track.step or 60.0)
    return Rule(
        name=name,
        form=Gauge(of="value", by=Aggregate.MAX),
        direction=direction,
        thresholds=Thresholds(critical=limit),
        hold=Holds(critical=Samples(samples)),
        clear=1,
        interval=step,
        window=step,
    )


def _calibration(track: Track) -> Floats:
    values = track.values[: calibrating(track)]
    return values[np.isfinite(values)]


def rule_in(file: Path, name: str | None) -> Rule:
    """A rule of a rule file; the only one need not be named.

    Raises `InvalidConfiguration` with all that is wrong in the file, `ConfigError` for a name that is not there.
    """
    problems, trail = Problems(), Trail()
    around = Surroundings(intervals=Intervals(), sources=None, windows={}, baselines={}, metrics={})
    forms = Forms(Providers(Registries(), file.parent, problems, trail), problems)
    book = RuleBook(around, forms, problems, trail)
    book.read([file])
    problems.raise_if_any()
    rules = {known: one.rule for known, one in book.rules.items() if one.rule is not None}
    if name is None:
        if len(rules) > 1:
            raise ConfigError(
                f"{file}: {len(rules)} rules are here; say which with --rule: {', '.join(rules)}"
            )
        return next(iter(rules.values()))
    if name not in rules:
        raise ConfigError(f"{file}: {unknown('rule', name, rules)}")
    return rules[name]
