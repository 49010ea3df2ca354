"""Suggestions: limits, holds and evidence for one measurement, learnt from its history, with the noise they would make.

The first part of the history teaches, the rest measures: the noise that is told was made by samples that no limit was
chosen by. Fixed limits are compared with learnt ones (`against: usual`), and the better ones proposed. What a number
means (its unit) and which side is bad (its direction) are never guessed. This module must never propose a rule that a
configuration would refuse.
"""

from __future__ import annotations

from datetime import timedelta

import msgspec
import numpy as np
from msgspec.structs import replace

from watchdog.config.thresholds import metric_thresholds
from watchdog.core.baseline import USUAL_OVER, limits_of
from watchdog.core.errors import ConfigError
from watchdog.core.rule import (
    BREACH_LEVELS,
    Against,
    Baseline,
    Direction,
    Evidence,
    Hold,
    Holds,
    Level,
    Quantile,
    Query,
    Ratio,
    Rule,
    Thresholds,
    Unit,
)
from watchdog.lab.replay import replay
from watchdog.lab.score_figures import poisson_interval
from watchdog.lab.score_rules import DEVIATIONS, DEVIATIONS_BELOW
from watchdog.lab.suggest_levels import (
    NOISE,
    Found,
    Scale,
    allowed,
    find,
    further,
    hold_of_rollback,
    holds,
    noise,
    weeks,
)
from watchdog.lab.suggest_look import LEAST_SAMPLES, Look, look, usable
from watchdog.lab.suggest_words import remarks
from watchdog.lab.track import Track
from watchdog.lab.usual import References, references_of

#: This share of a history teaches, the rest measures.
TEACHES = 0.6
#: Learnt limits must lie so much nearer to usual values to be worth it where both are quiet.
NEARER = 0.8
#: Learnt limits need at least so much history to learn from.
LEARNT_FROM = timedelta(days=2)
#: Events in a window from which a quantile says something (design §5, the sample rules).
QUANTILE_EVENTS = 100
_SHARE = "150%"


class Unsuggestable(ConfigError):
    """A history from which nothing can be proposed; the text says what it looks like and why."""


class Noise(msgspec.Struct, frozen=True, kw_only=True):
    """How often a level was reached on the part that was held out: `count` times, and what that is in a week.

    `most_per_week` is the upper end of its 95 % interval.
    """

    count: int
    per_week: float
    most_per_week: float


class Proposal(msgspec.Struct, frozen=True, kw_only=True):
    """A rule with limits, as values and as they are written by level, and what it would have told.

    `distance` is how far critical lies from the values of the held-out part, halfway (in deviations of the history).
    `found` says how the fixed limits were found, by level.
    """

    rule: Rule
    limits: dict[str, str]
    noise: dict[str, Noise]
    distance: float
    found: dict[str, Found] = {}

    @property
    def quiet(self) -> bool:
        """Whether no level fires more often than it may, by what was measured."""
        return all(one.per_week <= max(NOISE[Level(level)], 0) for level, one in self.noise.items())


class Suggestion(msgspec.Struct, frozen=True, kw_only=True):
    """What is proposed for one history, and what was compared with it. `learnt` and `held_out` are times (seconds).

    `notes` are sentences about the history that whoever pastes it should know.
    """

    name: str
    seen: Look
    learnt: float
    held_out: float
    proposal: Proposal
    other: Proposal | None
    notes: tuple[str, ...]


def suggest(rule: Rule, track: Track) -> Suggestion:
    """Limits for what `rule` measures; its own limits and holds are not looked at.

    Raises `Unsuggestable` for a history that teaches nothing.
    """
    seen = look(track)
    track = replace(track, values=usable(track), labels=None)
    _refuse(rule, track, seen)
    rule = replace(rule, slo=None, evidence=_evidence(rule, track))
    cut = int(len(track) * TEACHES)
    fixed, learnt = _fixed(rule, track, cut), _learnt(rule, track, cut)
    proposal, other = _better(fixed, learnt)
    if proposal is None:
        raise Unsuggestable(_hopeless(rule, track, seen))
    return Suggestion(
        name=track.name,
        seen=seen,
        learnt=cut * track.step,
        held_out=(len(track) - cut) * track.step,
        proposal=proposal,
        other=other,
        notes=remarks(track, seen, proposal),
    )


def _refuse(rule: Rule, track: Track, seen: Look) -> None:
    """Say of what history nothing can be learnt."""
    if seen.usable < LEAST_SAMPLES:
        words = f"too little history: {seen.usable} samples with a value, at least {LEAST_SAMPLES} are needed"
    elif seen.constant and seen.most == 0:
        words = "every value is 0: that says nothing of how much would be bad"
    elif seen.constant:
        words = (
            f"every value is the same ({seen.values(rule.unit)}): that says nothing of how much would be bad"
        )
    elif rule.unit is Unit.RATIO and not (seen.least >= 0 and seen.most <= 1):
        words = f"values lie {seen.values(Unit.NONE)}, which is no ratio: a ratio lies between 0 and 1"
    else:
        return
    raise Unsuggestable(f"{track.name}: {words}")


def _hopeless(rule: Rule, track: Track, seen: Look) -> str:
    side = "above" if rule.direction is Direction.ABOVE else "below"
    words = (
        f"no limit {side} is quiet: values lie {seen.values(rule.unit)} in times that nobody marked as bad"
    )
    return f"{track.name}: {words}"


def _evidence(rule: Rule, track: Track) -> Evidence | None:
    """What to ask for beside the value, where the form knows events at all."""
    known = None if track.events is None else track.events[np.isfinite(track.events)]
    match rule.form:
        case Ratio():
            return Evidence()
        case Quantile():
            enough = known is not None and len(known) > 0 and np.quantile(known, 0.1) >= QUANTILE_EVENTS
            return Evidence(min_events=QUANTILE_EVENTS if enough else Evidence().min_events, bound=False)
        case Query() if rule.form.events is not None:
            return Evidence(min_events=Evidence().min_events, bound=False)
        case _:
            return None


# -- fixed limits


def _fixed(rule: Rule, track: Track, cut: int) -> Proposal | None:
    """The nearest fixed limits that are quiet on the first part; `None` where there are none."""
    teaching = track.part(0, cut)
    scale = Scale.of(track.values, direction=rule.direction, unit=rule.unit)
    found: dict[str, Found] = {}
    beyond: float | None = None
    for level in (Level.WARNING, Level.CRITICAL):
        one = find(rule, teaching, level, beyond=beyond)
        if one is None:
            continue
        found[level.value] = one
        beyond = scale.of_limit(one.limit)
    if Level.CRITICAL.value not in found:
        return None
    texts = {level: one.text for level, one in found.items()}
    written, hold = _rollback(rule, teaching, texts, found[Level.CRITICAL.value].limit)
    texts |= {"rollback": written} if written else {}
    limits, mistakes = metric_thresholds(texts, unit=rule.unit, direction=rule.direction)
    if mistakes:
        raise AssertionError(f"{texts}: {mistakes[0].message}")
    kept = {**{level: one.hold for level, one in found.items()}, **({"rollback": hold} if hold else {})}
    whole = replace(rule, baseline=None, thresholds=limits, hold=replace(Holds(), **kept))
    return _measured(whole, track, cut, texts, found=found)


def _rollback(rule: Rule, teaching: Track, texts: dict[str, str], critical: float) -> tuple[str, Hold | None]:
    """The rollback's limit as it is written, and its hold; nothing where none is quiet enough."""
    limits, mistakes = metric_thresholds(
        {**texts, "rollback": _SHARE}, unit=rule.unit, direction=rule.direction
    )
    if not mistakes and limits.rollback is not None:
        hold = hold_of_rollback(rule, teaching, limits.rollback)
        if hold is not None:
            return _SHARE, hold
    for text, limit in further(rule, teaching, critical):
        _, mistakes = metric_thresholds({**texts, "rollback": text}, unit=rule.unit, direction=rule.direction)
        hold = None if mistakes else hold_of_rollback(rule, teaching, limit)
        if hold is not None:
            return text, hold
    return "", None


# -- learnt limits


def _learnt(rule: Rule, track: Track, cut: int) -> Proposal | None:
    """Limits in deviations from what is usual, with the shortest holds that are quiet on the first part."""
    if cut * track.step < LEARNT_FROM.total_seconds():
        return None
    margins = DEVIATIONS if rule.direction is Direction.ABOVE else DEVIATIONS_BELOW
    over = min(USUAL_OVER, timedelta(days=int(cut * track.step // 86_400)))
    made = replace(
        rule, thresholds=Thresholds(), baseline=Baseline(against=Against.USUAL, margins=margins, over=over)
    )
    references = references_of(made, track)
    if references is None or not np.isfinite(references.values[cut:]).any():
        return None
    teaching, before = track.part(0, cut), _part(references, cut)
    chosen: dict[str, Hold] = {}
    for level in BREACH_LEVELS:
        most = allowed(level, teaching)
        every = holds(level, track.step)
        tried = (replace(made, hold=replace(Holds(), **{level.value: one})) for one in every)
        quiet = (
            one
            for one, rule_of in zip(every, tried, strict=True)
            if noise(rule_of, teaching, level, references=before) <= most
        )
        chosen[level.value] = next(quiet, every[-1])
    texts = {level: f"{getattr(margins, level):g} deviations" for level in ("warning", "critical")}
    whole = replace(made, hold=replace(Holds(), **chosen))
    return _measured(whole, track, cut, {**texts, "rollback": _SHARE}, references=references)


def _part(references: References, end: int) -> References:
    spreads = None if references.spreads is None else references.spreads[:end]
    return References(values=references.values[:end], samples=references.samples[:end], spreads=spreads)


# -- both


def _measured(
    rule: Rule,
    track: Track,
    cut: int,
    texts: dict[str, str],
    *,
    references: References | None = None,
    found: dict[str, Found] | None = None,
) -> Proposal:
    """What a rule would have told on the part that was held out."""
    episodes = replay(rule, track, references=references, first=cut).episodes
    over = weeks(track.part(cut, len(track)))
    told: dict[str, Noise] = {}
    for level in BREACH_LEVELS:
        if level.value in texts:
            count = len(episodes.get(level, ()))
            told[level.value] = Noise(
                count=count, per_week=count / over, most_per_week=poisson_interval(count)[1] / over
            )
    return Proposal(
        rule=rule,
        limits=texts,
        noise=told,
        distance=_distance(rule, track, cut, references),
        found=found or {},
    )


def _distance(rule: Rule, track: Track, cut: int, references: References | None) -> float:
    """How far critical lies from half of the held-out values, in the scale's own measure."""
    scale = Scale.of(track.values, direction=rule.direction, unit=rule.unit)
    values = track.values[cut:]
    limits = np.full(len(values), np.nan)
    if rule.baseline is None or references is None:
        limits[:] = np.nan if rule.thresholds.critical is None else rule.thresholds.critical
    else:
        spreads = references.spreads if references.spreads is not None else np.zeros(len(references.values))
        for index, (value, spread) in enumerate(zip(references.values[cut:], spreads[cut:], strict=True)):
            critical = limits_of(rule.baseline, rule.direction, float(value), spread=float(spread)).critical
            limits[index] = np.nan if critical is None else critical
    with np.errstate(invalid="ignore"):
        away = scale.bad(limits) - scale.bad(values)
    away = away[np.isfinite(away)]
    return float(np.median(away)) if len(away) else float("inf")


def _better(fixed: Proposal | None, learnt: Proposal | None) -> tuple[Proposal | None, Proposal | None]:
    """The one to propose, and the other one: quiet before near, fixed before learnt."""
    if learnt is None or fixed is None:
        if learnt is not None and not learnt.quiet:
            return None, None
        return fixed or learnt, None
    no_louder = all(
        one.count <= fixed.noise[level].count for level, one in learnt.noise.items() if level in fixed.noise
    )
    nearer = learnt.distance < NEARER * fixed.distance
    if learnt.quiet and (not fixed.quiet or (no_louder and nearer)):
        return learnt, fixed
    return fixed, learnt
