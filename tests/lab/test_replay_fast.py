"""The fast replay skips samples; it must say the same as evaluating every one of them, in full, whatever the track."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from numpy.typing import NDArray

from tests.lab.tracks import BEGIN, ERRORS, NAN, QUEUE, track
from watchdog.core.burning import BurnLimit, Slo
from watchdog.core.check import CheckState, Reason
from watchdog.core.evaluate import evaluate
from watchdog.core.rule import (
    Against,
    Baseline,
    Direction,
    Evidence,
    Hold,
    Holds,
    Lasting,
    Rule,
    Samples,
    Thresholds,
)
from watchdog.lab.replay import plain, replay
from watchdog.lab.replay_poll import Polls
from watchdog.lab.replay_skip import Stretches
from watchdog.lab.track import Floats, Track
from watchdog.lab.usual import References

#: What a stretch of a track is like; the numbers are shares of the mildest threshold.
LIKE = {
    "quiet": (0.0, 0.9),
    "edge": (1.0, 1.0),
    "noisy": (0.0, 1.3),
    "warning": (1.1, 1.9),
    "critical": (2.1, 2.9),
    "rollback": (3.1, 9.0),
    "nothing": None,
    "failed": None,
    "few": (0.0, 9.0),
    "uncounted": (0.0, 9.0),
    "infinite": None,
    "impossible": (-3.0, 300.0),
    "gap": None,
    "uncompared": (0.0, 9.0),
}


@st.composite
def holds(draw: st.DrawFn) -> Hold:
    if draw(st.booleans()):
        return Samples(draw(st.integers(1, 5)))
    return Lasting(timedelta(seconds=draw(st.sampled_from([30, 60, 90, 120, 300]))))


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    share = draw(st.booleans())
    base = ERRORS if share else QUEUE
    one = 0.01 if share else 10.0
    levels = draw(st.sets(st.sampled_from(["warning", "critical", "rollback"]), min_size=1))
    limits = {
        name: factor * one
        for name, factor in (("warning", 1), ("critical", 2), ("rollback", 3))
        if name in levels
    }
    against = draw(st.sampled_from([None, None, Against.EARLIER, Against.BEFORE_DEPLOYMENT, Against.USUAL]))
    below = draw(st.booleans())
    margins = {name: limit / one * (0.3 if below else 1.0) for name, limit in limits.items()}
    if below and against is None:
        limits = {name: 1 - limit if share else -limit for name, limit in limits.items()}
    changed: dict[str, Any] = {
        "thresholds": Thresholds(**limits) if against is None else Thresholds(),
        "baseline": None if against is None else _baseline(against, Thresholds(**margins)),
        "direction": Direction.BELOW if below else Direction.ABOVE,
        "hold": Holds(warning=draw(holds()), critical=draw(holds()), rollback=draw(holds())),
        "clear": draw(st.integers(1, 6)),
        "window": timedelta(seconds=draw(st.sampled_from([15, 60, 120]))),
        "blind_after": timedelta(seconds=draw(st.sampled_from([0, 90, 180, 600]))),
        "evidence": draw(
            st.sampled_from(
                [None, Evidence(bound=share), Evidence(min_events=0, min_bad=0, excess=0.0, bound=share)]
            )
        ),
    }
    return replace(base, **changed)


def _baseline(against: Against, margins: Thresholds) -> Baseline:
    over = timedelta(days=1) if against is Against.USUAL else None
    return Baseline(
        against=against,
        margins=margins,
        over=over,
        ago=timedelta(days=1) if against is Against.EARLIER else None,
    )


@st.composite
def tracks(draw: st.DrawFn, rule: Rule) -> tuple[Track, References | None]:
    """Stretches one after the other, each of one kind, of a few samples or of many."""
    parts = draw(
        st.lists(
            st.tuples(st.sampled_from(sorted(LIKE)), st.one_of(st.integers(1, 4), st.integers(5, 70))),
            max_size=8,
        )
    )
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    kinds = [kind for kind, length in parts for _ in range(length)]
    step = draw(st.sampled_from([15.0, 30.0, 60.0]))
    times = np.zeros(len(kinds))
    moment = BEGIN
    for index, kind in enumerate(kinds):
        gap = kind == "gap" and random.random() < 0.3
        moment += step * float(random.integers(2, 30)) if gap else step
        times[index] = moment
    jitter = draw(st.sampled_from([0.0, 0.2]))
    times += random.uniform(-jitter, jitter, len(times)) * step
    return _filled(draw, rule, random, kinds, times, step)


def _filled(
    draw: st.DrawFn, rule: Rule, random: np.random.Generator, kinds: list[str], times: Floats, step: float
) -> tuple[Track, References | None]:
    share = rule.unit is ERRORS.unit
    above = rule.direction is Direction.ABOVE
    one = 0.01 if share else 10.0
    count = len(kinds)
    sizes = np.array([random.uniform(*(LIKE[kind] or (0.0, 0.9))) for kind in kinds]).reshape(count) * one
    values = sizes if above or rule.baseline is not None else (1 - sizes if share else -sizes)
    like = np.array(kinds, dtype=np.str_)
    values[like == "nothing"] = np.nan
    values[like == "infinite"] = random.choice([np.inf, -np.inf])
    usual = draw(st.sampled_from([50.0, 1000.0, 100_000.0]))
    events = np.where(like == "few", 3.0, random.poisson(usual, count).astype(np.float64))
    with np.errstate(all="ignore"):
        bad = values * events
    events[(like == "uncounted") | (like == "nothing")] = np.nan
    failed = like == "failed"
    counted = draw(st.booleans()) or rule.evidence is not None
    made = replace(
        track(),
        times=times,
        values=values,
        step=step,
        events=events if counted else None,
        bad=bad if counted and draw(st.booleans()) else None,
        failed=failed if draw(st.booleans()) else None,
    )
    sampled = draw(st.sampled_from([0.0, 0.4, 2.0, 2.5]))
    if sampled:  # so many steps from one raw sample to the next
        made = replace(made, sampled=np.floor(times / (sampled * step)) * sampled * step)
    if draw(st.booleans()):
        made = replace(made, more=random.random(count) < 0.05)
    return made, _references(draw, rule, random, like, one)


def _references(
    draw: st.DrawFn, rule: Rule, random: np.random.Generator, like: NDArray[np.str_], one: float
) -> References | None:
    """Either another one for every sample, or one that stays for a while."""
    if rule.baseline is None:
        return None
    count = len(like)
    if draw(st.booleans()):
        values = random.uniform(0.9, 1.1, count) * one
    else:
        values = np.repeat(random.uniform(0.9, 1.1, count), 40)[:count] * one
    values[like == "uncompared"] = random.choice([np.nan, 0.0, -one, np.inf])
    samples = np.where(random.random(count) < 0.02, 3.0, 400.0)
    return References(values=values, samples=samples, spreads=np.full(count, random.choice([one / 5, 0.0])))


@settings(max_examples=120, derandomize=True, deadline=None)
@given(st.data())
def test_skipping_changes_nothing_that_is_told(data: st.DataObject) -> None:
    rule = data.draw(rules())
    made, references = data.draw(tracks(rule))
    first = data.draw(st.integers(0, max(0, min(5, len(made) - 1))))
    assert replay(rule, made, references=references, first=first) == plain(
        rule, made, references=references, first=first
    )


def test_a_long_calm_is_skipped_to_its_last_sample() -> None:
    stretches, state = _before(QUEUE, track(*[1.0] * 500), until=10)
    skip = stretches.skip(state, 10)
    assert skip is not None
    assert (skip.end, skip.known, skip.unknown) == (499, {Reason.WITHIN: 489}, {})


def test_a_calm_is_skipped_over_short_silences_up_to_what_is_notable() -> None:
    values = [1.0] * 100
    values[20:23] = [NAN] * 3
    values[60] = 11.0
    stretches, state = _before(QUEUE, track(*values), until=10)
    skip = stretches.skip(state, 10)
    assert skip is not None
    assert (skip.end, skip.known, skip.unknown) == (59, {Reason.WITHIN: 46}, {Reason.EMPTY: 3})


def test_a_long_silence_is_skipped_once_nothing_is_pending() -> None:
    stretches, state = _before(QUEUE, track(*[1.0] * 10, *[NAN] * 500), until=20)
    skip = stretches.skip(state, 20)
    assert skip is not None
    assert (skip.end, skip.known, skip.unknown) == (509, {}, {Reason.EMPTY: 489})


def test_a_long_breach_is_skipped_once_it_is_held() -> None:
    stretches, state = _before(QUEUE, track(*[25.0] * 500), until=1)
    assert stretches.skip(state, 1) is None
    stretches, state = _before(QUEUE, track(*[25.0] * 500), until=2)
    skip = stretches.skip(state, 2)
    assert skip is not None
    assert (skip.end, skip.known, skip.state.streaks["critical"].count) == (499, {Reason.BEYOND: 497}, 499)


def _before(rule: Rule, made: Track, *, until: int) -> tuple[Stretches, CheckState]:
    polls = Polls(rule, made, None)
    state = CheckState()
    for index in range(until):
        state = evaluate(rule, state, polls.observation(index), now=polls.at(index)).state
    return Stretches(polls, 0), state


@st.composite
def objectives(draw: st.DrawFn) -> Rule:
    def limit(factor: float) -> BurnLimit:
        long = timedelta(minutes=draw(st.sampled_from([5, 30, 120])))
        return BurnLimit(factor=factor, long=long, short=long / 5)

    slo = Slo(
        objective=0.99,
        warning=draw(st.sampled_from([None, limit(0.8)])),
        critical=limit(2.0),
        rollback=draw(st.sampled_from([None, limit(3.0)])),
    )
    thresholds = Thresholds(**{name: one.factor for name, one in slo.limits.items()})
    hold = Holds(warning=draw(holds()), critical=draw(holds()), rollback=draw(holds()))
    clear = draw(st.integers(1, 4))
    return replace(ERRORS, slo=slo, thresholds=thresholds, hold=hold, clear=clear)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.data())
def test_skipping_changes_nothing_that_is_told_of_burn_rates(data: st.DataObject) -> None:
    rule = data.draw(objectives())
    made, _ = data.draw(tracks(rule))
    assert replay(rule, made) == plain(rule, made)


@settings(max_examples=120, derandomize=True, deadline=None)
@given(st.data())
def test_after_every_skip_the_check_remembers_what_it_would_have_remembered(data: st.DataObject) -> None:
    rule = data.draw(rules())
    made, references = data.draw(tracks(rule))
    polls = Polls(rule, made, references)
    stretches, state = Stretches(polls, 0), CheckState()
    remembered: list[CheckState] = []
    for index in range(len(made)):
        state = _after(polls, state, index)
        remembered.append(state)
    state, index = CheckState(), 0
    while index < len(made):
        skip = stretches.skip(state, index)
        if skip is not None:
            state, index = skip.state, skip.end
        state = _after(polls, state, index)
        assert state == remembered[index]
        index += 1


def _after(polls: Polls, state: CheckState, index: int) -> CheckState:
    for moment in polls.missed(index)[1]:
        state = evaluate(polls.rule, state, polls.nothing(), now=moment, interval=polls.interval).state
    seen = polls.observation(index)
    return evaluate(polls.rule, state, seen, now=polls.at(index), interval=polls.interval).state


def test_a_short_absence_of_the_source_is_not_skipped_over() -> None:
    failed = np.zeros(60, dtype=np.bool_)
    failed[30:34] = True
    made = track(*[1.0] * 60, failed=failed)
    rule = replace(QUEUE, blind_after=timedelta(minutes=10))
    assert replay(rule, made).reasons == {"within": 54, "unreachable": 4, "quarantine": 2}
