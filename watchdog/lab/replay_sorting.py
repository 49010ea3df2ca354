"""Sorting samples before they are judged: which of them mean what without any doubt, all at once.

Nothing is decided here: what is said of a sample is only used to leave out, where it changes nothing, what `evaluate`
would say of it. Whatever is strange in any way stays in doubt and is judged. This module must never look at what came
before a sample.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import IntEnum
from typing import cast

import numpy as np
from numpy.typing import NDArray

from watchdog.core.baseline import LEAST_SAMPLES, limits_of, unusable
from watchdog.core.check import Reason
from watchdog.core.evidence import lower_bound
from watchdog.core.observation import Reference
from watchdog.core.rule import BREACH_LEVELS, Against, Direction, Evidence, Level, Rule, Thresholds
from watchdog.lab.burns import Burns
from watchdog.lab.replay_poll import Polls
from watchdog.lab.track import Floats
from watchdog.lab.usual import References

Flags = NDArray[np.bool_]
#: By level, mildest first; only those that the rule has a threshold for.
Limits = dict[Level, Floats]


class Kind(IntEnum):
    """What a sample means by itself, for a check that nothing is wrong with its source."""

    DOUBT = 0  #: only `evaluate` can tell
    FAILED = 1
    EMPTY = 2
    NO_REFERENCE = 3
    TOO_FEW = 4
    THIN = 5  #: beyond a threshold, and not significant
    WITHIN = 6
    WARNING = 7
    CRITICAL = 8
    ROLLBACK = 9


#: The reason that `evaluate` gives.
REASONS = {
    Kind.FAILED: Reason.UNREACHABLE,
    Kind.EMPTY: Reason.EMPTY,
    Kind.NO_REFERENCE: Reason.NO_REFERENCE,
    Kind.TOO_FEW: Reason.TOO_FEW_EVENTS,
    Kind.THIN: Reason.NOT_SIGNIFICANT,
    Kind.WITHIN: Reason.WITHIN,
    Kind.WARNING: Reason.BEYOND,
    Kind.CRITICAL: Reason.BEYOND,
    Kind.ROLLBACK: Reason.BEYOND,
}
#: The level of what counts.
LEVELS = {
    Kind.THIN: Level.OK,
    Kind.WITHIN: Level.OK,
    Kind.WARNING: Level.WARNING,
    Kind.CRITICAL: Level.CRITICAL,
    Kind.ROLLBACK: Level.ROLLBACK,
}
_KINDS = {Level.WARNING: Kind.WARNING, Level.CRITICAL: Kind.CRITICAL, Level.ROLLBACK: Kind.ROLLBACK}

#: When nobody asks when.
_WHENEVER = datetime(1970, 1, 1, tzinfo=UTC)
#: Samples must be so far apart (seconds) that no rounding makes two of them one.
_APART = 0.001


def kinds_of(polls: Polls) -> NDArray[np.int8]:
    """The kind of every sample."""
    track, evidence = polls.track, polls.rule.evidence
    kinds = np.full(len(track), Kind.DOUBT, dtype=np.int8)
    if len(track) < 2 or not _plain_times(polls):
        return kinds
    if polls.burns is not None:
        return _burning(polls, polls.burns, kinds)
    events, bad = _counts(polls)
    numbers = np.isfinite(track.values) & np.isfinite(events) & np.isfinite(bad)
    usable = numbers & _possible(evidence, track.values, events, bad)
    limits, compared = _limits(polls)
    kinds[usable & ~compared] = Kind.NO_REFERENCE
    judged = usable & compared
    if evidence is not None:
        few = judged & (events < evidence.min_events)
        kinds[few] = Kind.TOO_FEW
        judged &= ~few
    beyond = _beyond(track.values, limits[next(iter(limits))], polls.rule.direction)
    kinds[judged & ~beyond] = Kind.WITHIN
    graded = np.flatnonzero(judged & beyond)
    kinds[graded] = _graded(
        polls.rule, track.values[graded], events[graded], bad[graded], _at(limits, graded)
    )
    nothing = np.isnan(track.values)
    if evidence is not None and track.events is not None:
        nothing |= numbers & np.isnan(track.events)
    kinds[nothing] = Kind.EMPTY
    if polls.few_without_any and track.events is not None:
        kinds[np.isnan(track.values) & (track.events == 0)] = Kind.TOO_FEW
    if track.more is not None:
        kinds[track.more & (kinds >= Kind.THIN)] = Kind.DOUBT
    if track.failed is not None:
        kinds[track.failed] = Kind.FAILED
    return kinds


def fresh_of(polls: Polls, kinds: NDArray[np.int8]) -> Flags:
    """Which samples are new: of a raw sample that did not count yet. Where that is a question, `kinds` become doubt."""
    times = polls.sample_times()
    newest = _newest(times, kinds >= Kind.THIN)
    perhaps = _newest(times, (kinds >= Kind.THIN) | (kinds == Kind.DOUBT))
    kinds[(times > newest) & ~(times > perhaps)] = Kind.DOUBT
    fresh: Flags = times > newest
    return fresh


def _newest(times: Floats, which: Flags) -> Floats:
    """The newest of `which` before each sample."""
    before = np.maximum.accumulate(np.where(which, times, -np.inf))
    return np.concatenate(([-np.inf], before[:-1]))


def _plain_times(polls: Polls) -> bool:
    """Whether the order of all times is beyond doubt, whatever is rounded, and none is of a clock that was set back."""
    sampled = polls.sample_times()
    steps = np.diff(sampled)
    apart = np.diff(polls.track.times).min() >= _APART and bool(np.all((steps == 0) | (steps >= _APART)))
    return apart and bool(np.all(sampled <= polls.track.times + _APART))


def _burning(polls: Polls, burns: Burns, kinds: NDArray[np.int8]) -> NDArray[np.int8]:
    """Only what burns no faster than any factor is sure; the rest depends on which windows were measured."""
    slo, evidence, levels = polls.rule.slo, polls.rule.evidence, list(burns.levels.values())
    if slo is None:
        raise ValueError(f"{polls.rule.name} has burn rates and no objective")
    numbers = np.stack([part for one in levels for part in (one.long, one.short, one.events, one.bad)])
    kinds[np.isnan(numbers).all(axis=0)] = Kind.EMPTY
    with np.errstate(invalid="ignore"):
        sure = np.isfinite(numbers).all(axis=0) & (numbers >= 0).all(axis=0)
        for one in levels:
            sure &= (one.bad <= one.events) & (np.maximum(one.long, one.short) <= 1 / slo.budget)
            sure &= one.rates <= one.limit.factor
        few = np.max([one.events for one in levels], axis=0) < (
            0 if evidence is None else evidence.min_events
        )
    kinds[sure & few] = Kind.TOO_FEW
    kinds[sure & ~few] = Kind.WITHIN
    if polls.track.failed is not None:
        kinds[polls.track.failed] = Kind.FAILED
    return kinds


def _counts(polls: Polls) -> tuple[Floats, Floats]:
    """Events and bad ones as a poll would have them; 0 where nobody knows them."""
    track = polls.track
    nothing = np.zeros(len(track))
    events = nothing if track.events is None else np.where(np.isnan(track.events), 0.0, track.events)
    with np.errstate(all="ignore"):
        shares = track.values * events
    derived = np.where(np.isnan(shares), 0.0, shares) if polls.derives_bad else nothing
    bad = derived if track.bad is None else np.where(np.isnan(track.bad), derived, track.bad)
    return events, bad


def _possible(evidence: Evidence | None, values: Floats, events: Floats, bad: Floats) -> Flags:
    """Which shares are surely possible."""
    if evidence is None or not evidence.bound:
        return np.ones(len(values), dtype=np.bool_)
    possible: Flags = (values >= 0) & (values <= 1) & (bad >= 0) & (bad <= events)
    return possible


def _limits(polls: Polls) -> tuple[Limits, Flags]:
    """The limits of every sample by level, and which samples have any."""
    rule, count = polls.rule, len(polls.track)
    if rule.baseline is None or polls.references is None:
        limits = {level: np.broadcast_to(np.float64(limit), count) for level, limit in _own(rule.thresholds)}
        return limits, np.ones(count, dtype=np.bool_)
    if rule.baseline.against is Against.USUAL:
        return _usual_limits(rule, polls.references)
    references = polls.references
    with np.errstate(all="ignore"):
        compared = (references.samples >= LEAST_SAMPLES) & np.isfinite(references.values)
        compared &= references.values > 0
        # The same multiplication for all samples at once.
        every = limits_of(rule.baseline, rule.direction, cast("float", references.values))
    return {level: cast("Floats", limit) for level, limit in _own(every)}, compared


def _usual_limits(rule: Rule, references: References) -> tuple[Limits, Flags]:
    """References that stay for a while: each is asked for its limits once."""
    if rule.baseline is None or references.spreads is None:
        raise ValueError(f"{rule.name} counts deviations from what is usual and was given none")
    levels = [level for level, _ in _own(rule.baseline.margins)]
    count = len(references.values)
    limits = {level: np.full(count, np.nan) for level in levels}
    compared = np.zeros(count, dtype=np.bool_)
    rows = np.stack((references.values, references.samples, references.spreads))
    starts = np.flatnonzero(np.any(rows[:, 1:] != rows[:, :-1], axis=0)) + 1
    for first, end in zip([0, *starts], [*starts, count], strict=True):
        value, samples, spread = (float(number) for number in rows[:, first])
        reference = Reference(value=value, samples=samples, spread=spread, at=_WHENEVER, learnt_at=_WHENEVER)
        if np.isnan(value) or unusable(rule, reference):
            continue
        compared[first:end] = True
        for level, limit in _own(limits_of(rule.baseline, rule.direction, value, spread=spread)):
            limits[level][first:end] = limit
    return limits, compared


def _own(thresholds: Thresholds) -> list[tuple[Level, float]]:
    """The levels that have a limit, mildest first."""
    return [(level, limit) for level in BREACH_LEVELS if (limit := thresholds.of(level)) is not None]


def _at(limits: Limits, indexes: NDArray[np.intp]) -> Limits:
    return {level: limit[indexes] for level, limit in limits.items()}


def _beyond(values: Floats, limit: Floats, direction: Direction) -> Flags:
    beyond: Flags = values > limit if direction is Direction.ABOVE else values < limit
    return beyond


def _graded(rule: Rule, values: Floats, events: Floats, bad: Floats, limits: Limits) -> NDArray[np.int8]:
    """The kinds of samples that are beyond the mildest limit."""
    kinds = np.full(len(values), Kind.THIN, dtype=np.int8)
    left = np.ones(len(values), dtype=np.bool_)
    evidence = rule.evidence
    bound = evidence is not None and evidence.bound
    worse = _worse(rule, events, bad)
    lowest = _lowest(evidence, events, worse) if evidence is not None and bound else np.empty(0)
    for level in reversed(limits):
        passed = left & _beyond(values, limits[level], rule.direction)
        if bound:
            passed &= lowest > (limits[level] if rule.direction is Direction.ABOVE else 1 - limits[level])
        if bound and level is Level.ROLLBACK:
            passed &= worse >= (evidence.min_bad if evidence is not None else 0)
            kinds[passed] = Kind.DOUBT  # its excess is a question of what came before
        else:
            kinds[passed] = _KINDS[level]
        left &= ~passed
    return kinds


def _worse(rule: Rule, events: Floats, bad: Floats) -> Floats:
    """How many events lie on the bad side."""
    return np.clip(bad if rule.direction is Direction.ABOVE else events - bad, 0.0, events)


def _lowest(evidence: Evidence, events: Floats, worse: Floats) -> Floats:
    """The lower bound of the share on the bad side."""
    pairs = zip(worse.tolist(), events.tolist(), strict=True)
    return np.array([lower_bound(bad, of, evidence.confidence) for bad, of in pairs], dtype=np.float64)
