"""Evaluation: an observation and a check's memory give a verdict and the next memory (design §5).

The daemon, rule tests, back-tests and `explain` all come through here; there is no second implementation.
It is total: whatever the observation, it answers, and what is not known stays `unknown` with its reason.
This module must never let an unknown observation start, confirm or cancel anything, never read a clock, and
never depend on anything that is not in its arguments: written as JSON and read again, they give the same
answer. Warm-up, deployments and incidents are the caller's.
"""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from enum import Enum

import msgspec

from watchdog.core import explanation, quarantine
from watchdog.core.baseline import resolved, unusable
from watchdog.core.burning import Slo, at_rest, finite, hushed, possible, worst_of
from watchdog.core.check import CheckState, Reason, Streak, Verdict
from watchdog.core.clockstep import ahead
from watchdog.core.evidence import Excess, with_excess_of
from watchdog.core.hold import extended, held
from watchdog.core.judge import judge
from watchdog.core.observation import Failed, NoData, Observation, Pulse, Value
from watchdog.core.recent import Recent, two_sample_of, with_value
from watchdog.core.rule import BREACH_LEVELS, Level, Rule, rank, worst

#: How long one breach may keep its checks at the recheck interval (design §5, "Recheck").
RECHECK_FOR = timedelta(minutes=10)

#: What adding up floats in another order may add to a share: a total outage must not look impossible.
ROUNDING = 1e-9

_replace = msgspec.structs.replace


class Rest(Enum):
    """Whether the shortest window of an `slo` says that nothing burns any more; `UNSAID`: it has too few events."""

    YES = 1
    NO = 2
    UNSAID = 3


class Evaluated(msgspec.Struct, frozen=True, kw_only=True):
    """The check's next memory, and what this observation meant."""

    state: CheckState
    verdict: Verdict

    @property
    def counted(self) -> bool:
        """Whether the observation counted: a fresh sample with a known verdict.

        Act on `state.held` only then. An unknown or repeated observation leaves `held` as it was, and what
        was held a moment ago is not what is held now.
        """
        return self.verdict.fresh and self.verdict.level is not Level.UNKNOWN


def evaluate(
    rule: Rule,
    state: CheckState,
    observation: Observation,
    *,
    now: datetime,
    interval: timedelta | None = None,
) -> Evaluated:
    """What an observation made at `now` means. Never raises, whatever the observation.

    `interval` is the time between polls at the moment, the rule's own by default. Times must be aware.
    """
    every = rule.interval if interval is None else interval
    state = _not_ahead(rule, state, now)
    match observation:
        case Value() if not rule.is_probe:
            return _value(rule, state, observation, now, every)
        case Failed(reason=failed, detail=detail):
            away = _replace(state, failures=state.failures + 1)
            return _unknown(rule, away, _no_data(Reason(failed.value), detail, now), every)
        case NoData(reason=missing, detail=detail):
            answered = _replace(state, failures=quarantine.failures_after_answer(state))
            return _unknown(rule, answered, _no_data(Reason(missing.value), detail, now), every)
        case Pulse() if rule.is_probe:
            return _pulse(rule, state, observation, now, every)
        case _:
            verdict = _no_data(Reason.MALFORMED, "a probe's answer for a query or the reverse", now)
            return _unknown(rule, state, verdict, every)


def blind(rule: Rule, state: CheckState, now: datetime) -> bool:
    """Whether usable data has been missing for so long that people must be told."""
    return state.blind_since is not None and now - state.blind_since >= rule.blind_after


def wants_recheck(state: CheckState, now: datetime) -> bool:
    """Whether to poll this check at the recheck interval: a hold is pending, or rollback is breached.

    At most `RECHECK_FOR` per breach. A streak worse than what is held is a pending one. Verification and
    `confirm` want rechecks for reasons of their own; ask those who know.
    """
    if state.breached_at is None or now - state.breached_at > RECHECK_FOR:
        return False
    return any(name == Level.ROLLBACK or rank(Level(name)) > rank(state.held) for name in state.streaks)


def unwatched(state: CheckState, since: datetime) -> CheckState:
    """The memory of a check that nobody polled since then (we were down): unknown time, like any other.

    Without this, the last sample before a long absence and the first one after it would look consecutive.
    """
    return _replace(state, unknown_since=state.unknown_since or since)


def _not_ahead(rule: Rule, state: CheckState, now: datetime) -> CheckState:
    """The memory with what a clock remembered that was set back since: silence is counted from now."""
    return _replace(
        state,
        blind_since=now if ahead(state.blind_since, now) else state.blind_since,
        unknown_since=now if ahead(state.unknown_since, now) else state.unknown_since,
        breached_at=now if ahead(state.breached_at, now) else state.breached_at,
        quarantine_until=quarantine.not_ahead(state, window=rule.window, now=now),
        quarantined_since=now if ahead(state.quarantined_since, now) else state.quarantined_since,
    )


def _value(rule: Rule, state: CheckState, value: Value, now: datetime, interval: timedelta) -> Evaluated:
    unusable = _unusable(rule, value)
    if unusable is not None:
        answered = _replace(state, failures=quarantine.failures_after_answer(state))
        return _unknown(rule, answered, _no_data(unusable, "", now), interval)
    against = resolved(rule, value)
    if against is None:
        return _uncompared(rule, state, value, now, interval)
    rule, state = against, _replace(state, reference=value.reference)
    if state.sampled_at is not None and value.at <= state.sampled_at:
        if not ahead(state.sampled_at, now) or ahead(value.at, now):
            return _repeated(rule, state, value, now)
        state = _replace(state, streaks={}, held=Level.OK, clears=0, excess=(), sampled_at=None)
    until = quarantine.until(state, value, window=rule.window, now=now)
    state = _replace(
        state,
        failures=0,
        quarantine_until=until,
        source_since=value.since or state.source_since,
        scrape_interval=value.scrape_interval or state.scrape_interval,
    )
    if until is not None:
        return _unknown(rule, state, _quarantined(value, until, now), interval)
    state = _replace(state, recent=with_value(rule, state.recent, value))
    excess = with_excess_of(rule, state.excess, value, previous=state.sampled_at, interval=interval)
    verdict = _judged(rule, value, excess, state.recent, now)
    if verdict.level is Level.UNKNOWN:
        return _unknown(rule, state, verdict, interval)
    state = _replace(_settled(rule, state, now, interval), excess=excess)
    streaks = extended(rule, state.streaks, verdict.level, value.at)
    return _known(rule, state, verdict, streaks, held(rule, streaks), value.at, rests=_rests(rule, value))


def _uncompared(rule: Rule, state: CheckState, value: Value, now: datetime, interval: timedelta) -> Evaluated:
    """There is nothing to compare the value with. What was answered is kept, so that it is not asked again at once.

    A rule that tests two samples keeps the value: other versions are compared with it.
    """
    reference = value.reference
    known = state.reference if reference is None else reference
    failures = quarantine.failures_after_answer(state)
    answered = _replace(state, failures=failures, reference=known)
    if two_sample_of(rule) is not None:
        until = quarantine.until(state, value, window=rule.window, now=now)
        since = value.since or state.source_since
        answered = _replace(answered, failures=0, quarantine_until=until, source_since=since)
        if until is None:
            answered = _replace(answered, recent=with_value(rule, state.recent, value))
    why = value.uncompared if reference is None else unusable(rule, reference)
    return _unknown(rule, answered, _no_data(Reason.NO_REFERENCE, why, now), interval)


def _repeated(rule: Rule, state: CheckState, value: Value, now: datetime) -> Evaluated:
    """The same scrape once more: a verdict to show, and a sign that the source answers with data."""
    if quarantine.was_away(state) or state.quarantine_until is not None:
        waiting = _replace(state, failures=quarantine.failures_after_answer(state))
        return Evaluated(state=waiting, verdict=_quarantined(value, state.quarantine_until, now, fresh=False))
    verdict = _judged(rule, value, state.excess, state.recent, now, fresh=False)
    return Evaluated(state=_replace(state, failures=0, blind_since=None), verdict=verdict)


def _pulse(rule: Rule, state: CheckState, pulse: Pulse, now: datetime, interval: timedelta) -> Evaluated:
    """`N failures` is the hold: what the count reaches is held at once. Every probe is a fresh sample."""
    state = _settled(rule, state, now, interval)
    failures = 0 if pulse.passed else state.probe_failures + 1
    level, limit = Level.OK, rule.thresholds.mildest
    for step in BREACH_LEVELS:
        needed = rule.thresholds.of(step)
        if needed is not None and failures >= needed:
            level, limit = step, needed
    verdict = Verdict(
        level=level,
        reason=Reason.PASSED if pulse.passed else Reason.FAILURES,
        at=now,
        value=float(failures),
        limit=limit,
        explanation=explanation.of_probe(failures, pulse.detail),
    )
    # A dead probe is on its way to every level that the rule has: that is what a recheck wants to know.
    on_its_way = Level.OK if pulse.passed else Level.ROLLBACK
    streaks = extended(rule, state.streaks, on_its_way, pulse.at)
    state = _replace(state, probe_failures=failures, failures=0)
    return _known(rule, state, verdict, streaks, level, pulse.at)


def _known(
    rule: Rule,
    state: CheckState,
    verdict: Verdict,
    streaks: dict[str, Streak],
    holds: Level,
    at: datetime,
    *,
    rests: Rest | None = None,
) -> Evaluated:
    """The memory after a sample that counted.

    Once it is clear, nothing is latched but what is still held: `OK`, except where long windows of an `slo` remember
    what is over (`rests`).
    """
    clears = _clears(rule, state, verdict, rests=rests)
    latched = holds if clears >= rule.clear else worst(state.latched, holds)
    after = _replace(
        state,
        streaks=streaks,
        held=holds,
        latched=latched,
        clears=clears,
        sampled_at=at,
        unknown_since=None,
        blind_since=None,
        quarantined_since=None,
        breached_at=_breached_at(state, streaks, latched, verdict.at),
        verdict=verdict,
        known=verdict,
    )
    return Evaluated(state=after, verdict=verdict)


def _unknown(rule: Rule, state: CheckState, verdict: Verdict, interval: timedelta) -> Evaluated:
    """The memory after an unknown observation: nothing moves but the clocks of silence."""
    match verdict.reason:
        case Reason.TOO_FEW_EVENTS | Reason.NO_REFERENCE:
            blind_since = None  # there is data; whether to tell that it cannot be compared is `blindness`'s
        case Reason.QUARANTINE:
            state = _replace(state, quarantined_since=state.quarantined_since or verdict.at)
            lasts = quarantine.lasts(rule, state, verdict.at)
            blind_since = state.blind_since or (state.quarantined_since if lasts else None)
        case _:
            blind_since = state.blind_since or verdict.at
    after = _replace(
        state, unknown_since=state.unknown_since or verdict.at, blind_since=blind_since, verdict=verdict
    )
    return Evaluated(state=_settled(rule, after, verdict.at, interval), verdict=verdict)


def _settled(rule: Rule, state: CheckState, now: datetime, interval: timedelta) -> CheckState:
    """The memory without its pending hold when it was unknown for too long: then the hold must be met again.

    What is latched stays: an incident does not go away because nobody can look.
    """
    if state.unknown_since is None or now - state.unknown_since <= max(rule.window, 3 * interval):
        return state
    breached_at = _breached_at(state, {}, state.latched, now)
    return _replace(state, streaks={}, held=Level.OK, probe_failures=0, breached_at=breached_at)


def _breached_at(
    state: CheckState, streaks: dict[str, Streak], latched: Level, now: datetime
) -> datetime | None:
    """When the episode began: the first breach since the check was last clear with nothing pending."""
    if not streaks and latched is Level.OK:
        return None
    return state.breached_at or now


def _rests(rule: Rule, value: Value) -> Rest | None:
    """Whether what burnt goes on, for a rule with an `slo`."""
    if rule.slo is None:
        return None
    if not at_rest(rule.slo, value.burns):
        return Rest.NO
    least = 0 if rule.evidence is None else rule.evidence.min_events
    return Rest.UNSAID if hushed(rule.slo, value.burns, least=least) else Rest.YES


def _clears(rule: Rule, state: CheckState, verdict: Verdict, *, rests: Rest | None) -> int:
    """Consecutive samples better than the mildest threshold, counted no further than needed.

    One that is beyond it without enough evidence says neither. Of burn rates the shortest window decides (`rests`).
    """
    match verdict.reason:
        case _ if rests is Rest.UNSAID:
            return state.clears
        case _ if rests is Rest.YES:
            return min(state.clears + 1, rule.clear)
        case Reason.WITHIN | Reason.PASSED if rests is None:
            return min(state.clears + 1, rule.clear)
        case Reason.NOT_SIGNIFICANT:
            return state.clears
        case _:
            return 0


def _unusable(rule: Rule, value: Value) -> Reason | None:
    """Why a value cannot be judged. Nothing that is not finite gets past here: no comparison meets a NaN."""
    evidence = rule.evidence
    if rule.slo is not None:
        return _unusable_burns(rule.slo, value)
    if not all(math.isfinite(number) for number in (value.value, value.events or 0.0, value.bad or 0.0)):
        return Reason.NOT_A_NUMBER
    if evidence is None:
        return None
    if value.events is None:
        return Reason.EMPTY
    if not evidence.bound:
        return None
    if value.bad is None:
        return Reason.EMPTY
    share_is_possible = -ROUNDING <= value.value <= 1 + ROUNDING
    bad_is_possible = -ROUNDING <= value.bad <= value.events * (1 + ROUNDING) + ROUNDING
    return None if share_is_possible and bad_is_possible else Reason.OUT_OF_RANGE


def _unusable_burns(slo: Slo, value: Value) -> Reason | None:
    if worst_of(slo, value.burns) is None:
        return Reason.EMPTY
    if not (math.isfinite(value.value) and finite(value.burns)):
        return Reason.NOT_A_NUMBER
    return None if possible(slo, value.burns, rounding=ROUNDING) else Reason.OUT_OF_RANGE


def _events(value: Value) -> float | None:
    """The most that are behind any part of the value."""
    return max((burn.events for burn in value.burns.values()), default=value.events)


def _judged(
    rule: Rule, value: Value, excess: Excess, recent: Recent, now: datetime, *, fresh: bool = True
) -> Verdict:
    """The verdict on a usable sample: too few events, or a level."""
    evidence, events = rule.evidence, _events(value)
    if evidence is not None and events is not None and events < evidence.min_events:
        return Verdict(
            level=Level.UNKNOWN,
            reason=Reason.TOO_FEW_EVENTS,
            at=now,
            fresh=fresh,
            value=value.value,
            events=events,
            explanation=explanation.of_too_few(rule, events, evidence.min_events),
        )
    if value.more and value.value < rule.thresholds.mildest:
        return Verdict(
            level=Level.UNKNOWN,
            reason=Reason.BEYOND_BUCKETS,
            at=now,
            fresh=fresh,
            value=value.value,
            events=value.events,
            explanation=explanation.of_beyond_buckets(rule, value),
        )
    judgement = judge(rule, value, excess, recent)
    burnt = judgement.burnt
    return Verdict(
        level=judgement.level,
        reason=judgement.reason,
        at=now,
        fresh=fresh,
        value=value.value if burnt is None else burnt.burn.rate,
        limit=judgement.limit,
        events=value.events if burnt is None else burnt.burn.events,
        explanation=explanation.of_sample(rule, value, judgement),
    )


def _quarantined(value: Value, until: datetime | None, now: datetime, *, fresh: bool = True) -> Verdict:
    return Verdict(
        level=Level.UNKNOWN,
        reason=Reason.QUARANTINE,
        at=now,
        fresh=fresh,
        value=value.value,
        events=value.events,
        explanation=explanation.of_quarantine(until),
    )


def _no_data(reason: Reason, detail: str, now: datetime) -> Verdict:
    return Verdict(
        level=Level.UNKNOWN, reason=reason, at=now, explanation=explanation.of_unknown(reason, detail)
    )
