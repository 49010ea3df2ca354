"""What holds for every series of observations: total, replayable, blind to repetition, deaf to silence, monotonic."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.core.series import (
    ALWAYS_THE_SAME,
    ERROR_LIMITS,
    Check,
    at,
    one_sample_each,
    probe_rule,
    query_rule,
    ratio_rule,
)
from watchdog.core.check import CheckState, Reason
from watchdog.core.evaluate import evaluate
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Pulse, Value
from watchdog.core.rule import (
    BREACH_LEVELS,
    Direction,
    Evidence,
    Holds,
    Level,
    Rule,
    Samples,
    Thresholds,
    rank,
)

LIMITS = Thresholds(warning=10.0, critical=20.0, rollback=30.0)
RULES = (
    ratio_rule(),
    ratio_rule(evidence=None, hold=one_sample_each()),
    ratio_rule(Thresholds(critical=0.99, rollback=0.985), direction=Direction.BELOW),
    ratio_rule(Thresholds(rollback=0.2), hold=Holds(rollback=Samples(1)), clear=1),
    ratio_rule(evidence=Evidence(min_events=0, min_bad=0, excess=0.0, confidence=0.5)),
    query_rule(LIMITS),
    query_rule(LIMITS, evidence=Evidence(min_events=50, bound=False), hold=one_sample_each()),
    query_rule(Thresholds(warning=30.0, critical=20.0, rollback=10.0), direction=Direction.BELOW),
    probe_rule(critical=3.0, rollback=5.0),
    probe_rule(warning=1.0, critical=None, rollback=None),
)

rules = st.sampled_from(RULES)
texts = st.text(max_size=8)
silences = st.builds(NoData, reason=st.sampled_from(NoDataReason), detail=texts) | st.builds(
    Failed, reason=st.sampled_from(FailReason), detail=texts
)


def values(numbers: st.SearchStrategy[float], times: st.SearchStrategy[datetime]) -> st.SearchStrategy[Value]:
    return st.builds(
        Value,
        value=numbers,
        at=times,
        events=st.none() | numbers,
        bad=st.none() | numbers,
        scrape_interval=st.none() | st.timedeltas(timedelta(0), timedelta(days=2)),
        since=st.none() | times,
    )


any_time = st.datetimes(timezones=st.just(UTC))
any_observation = (
    values(st.floats(), any_time)
    | st.builds(Pulse, passed=st.booleans(), at=any_time, detail=texts)
    | silences
)

seconds = st.integers(0, 1200)


@st.composite
def ratios(draw: st.DrawFn) -> Value:
    """A plausible answer of a ratio or a query."""
    events = draw(st.sampled_from([3.0, 20.0, 40.0, 412.5, 1000.0]))
    share = draw(st.sampled_from([0.0, 0.004, 0.005, 0.012, 0.0149, 0.02, 0.3, 0.98, 0.99, 1.0]))
    since = draw(st.sampled_from([None, None, None, at(-900), at(120)]))
    return Value(value=share, at=at(draw(seconds)), events=events, bad=share * events, since=since)


plausible = (
    ratios()
    | st.builds(Value, value=st.floats(0, 40), at=seconds.map(at), events=st.none() | st.floats(0, 100))
    | st.builds(Pulse, passed=st.booleans(), at=seconds.map(at))
    | silences
)
#: What is seen, and how many seconds after the poll before.
lives = st.lists(st.tuples(plausible, st.sampled_from([0, 1, 5, 30, 30, 30, 60, 300])), max_size=25)


def lived(rule: Rule, life: list[tuple[Observation, int]]) -> tuple[Check, int]:
    """A check after that life, and the second of its last poll."""
    check, now = Check(rule), 0
    for observation, later in life:
        now += later
        check.see(observation, now=now)
    return check, now


def is_finite(observation: Observation) -> bool:
    numbers = (
        (observation.value, observation.events, observation.bad) if isinstance(observation, Value) else ()
    )
    return all(number is None or math.isfinite(number) for number in numbers)


@given(rules, st.lists(st.tuples(any_observation, any_time), max_size=8))
@ALWAYS_THE_SAME
def test_no_observation_at_any_time_makes_it_raise(
    rule: Rule, seen: list[tuple[Observation, datetime]]
) -> None:
    state = CheckState()
    for observation, now in seen:
        evaluated = evaluate(rule, state, observation, now=now)
        state, verdict = evaluated.state, evaluated.verdict
        assert all(
            number is None or math.isfinite(number)
            for number in (verdict.value, verdict.limit, verdict.events)
        )
        assert all(math.isfinite(amount) for _, amount in state.excess)
        if not is_finite(observation):
            assert verdict.level is Level.UNKNOWN
        if isinstance(observation, NoData | Failed):
            assert verdict.reason.value == observation.reason.value


@given(rules, lives)
@ALWAYS_THE_SAME
def test_written_as_json_and_read_again_every_step_gives_the_same(
    rule: Rule, life: list[tuple[Observation, int]]
) -> None:
    state, now = CheckState(), at(0)
    interval = timedelta(seconds=7.5)
    for observation, later in life:
        now += timedelta(seconds=later)
        record = msgspec.json.encode((rule, state, observation, now, interval))
        kept = msgspec.json.decode(record, type=tuple[Rule, CheckState, Observation, datetime, timedelta])
        evaluated = evaluate(rule, state, observation, now=now, interval=interval)
        again = evaluate(kept[0], kept[1], kept[2], now=kept[3], interval=kept[4])
        assert again == evaluated
        assert msgspec.json.encode(again) == msgspec.json.encode(evaluated)
        state = again.state


@given(rules, lives, plausible)
@ALWAYS_THE_SAME
def test_the_memory_before_is_left_alone(
    rule: Rule, life: list[tuple[Observation, int]], observation: Observation
) -> None:
    check, now = lived(rule, life)
    before, written = check.state, msgspec.json.encode(check.state)
    check.see(observation, now=now)
    assert msgspec.json.encode(before) == written


@given(rules, lives, plausible)
@ALWAYS_THE_SAME
def test_unknown_never_changes_what_counts(
    rule: Rule, life: list[tuple[Observation, int]], observation: Observation
) -> None:
    check, now = lived(rule, life)
    before = check.state
    recent = before.unknown_since is None or at(now + 5) - before.unknown_since <= timedelta(seconds=90)
    seen = check.see(observation, now=now + 5)
    assume(seen.verdict.level is Level.UNKNOWN)
    kept = ("latched", "clears", "excess", "sampled_at", "known")
    pending = ("streaks", "held", "probe_failures", "breached_at")
    for field in kept + (pending if recent else ()):
        assert getattr(seen.state, field) == getattr(before, field), field
    if not recent and seen.verdict.fresh:
        assert (seen.state.streaks, seen.state.held, seen.state.probe_failures) == ({}, Level.OK, 0)


@given(st.sampled_from([rule for rule in RULES if not rule.is_probe]), lives, ratios(), st.integers(0, 20))
@ALWAYS_THE_SAME
def test_two_polls_of_one_scrape_equal_one(
    rule: Rule, life: list[tuple[Observation, int]], sample: Value, later: int
) -> None:
    check, now = lived(rule, life)
    observation = msgspec.structs.replace(sample, at=at(2000))
    once = check.see(observation, now=now)
    assume(once.counted)
    again = check.see(observation, now=now + later)
    assert again.state == once.state
    assert not again.counted
    shown = msgspec.structs.replace(again.verdict, at=once.verdict.at, fresh=True)
    assert shown == once.verdict


@given(
    st.sampled_from([rule for rule in RULES if rule.unit == "ratio" and rule.direction is Direction.ABOVE]),
    lives,
    st.integers(20, 2000),
    st.data(),
)
@ALWAYS_THE_SAME
def test_more_bad_events_never_give_a_better_level(
    rule: Rule, life: list[tuple[Observation, int]], events: int, data: st.DataObject
) -> None:
    check, now = lived(rule, life)
    fewer = data.draw(st.integers(0, events))
    more = data.draw(st.integers(fewer, events))
    levels = [
        evaluate(
            rule,
            check.state,
            Value(value=bad / events, at=at(2000), events=float(events), bad=float(bad)),
            now=at(now + 5),
        ).verdict.level
        for bad in (fewer, more)
    ]
    assert rank(levels[0]) <= rank(levels[1])


@given(rules, lives)
@ALWAYS_THE_SAME
def test_what_is_remembered_makes_sense(rule: Rule, life: list[tuple[Observation, int]]) -> None:
    check, now = Check(rule), 0
    for observation, later in life:
        now += later
        before = check.state
        seen = check.see(observation, now=now)
        state, verdict = seen.state, seen.verdict
        assert set(state.streaks) <= {
            level for level in BREACH_LEVELS if rule.thresholds.of(level) is not None
        }
        assert 0 <= state.clears <= rule.clear
        assert (state.breached_at is None) == (not state.streaks and state.latched is Level.OK)
        assert (state.blind_since is None) or state.unknown_since is not None
        if verdict.fresh:
            assert state.verdict == verdict
        if seen.counted:
            assert rank(state.held) <= rank(verdict.level)
            assert rank(state.latched) >= rank(state.held)
            assert (state.known, state.unknown_since, state.blind_since) == (verdict, None, None)
            assert (verdict.level is Level.OK) or verdict.reason in {Reason.BEYOND, Reason.FAILURES}
        if rank(state.latched) < rank(before.latched):
            assert state.clears == rule.clear
        assert verdict.explanation
        assert verdict.explanation.isprintable() or not is_plain(observation)


def is_plain(observation: Observation) -> bool:
    """Whether what the observation brought of its own is printable."""
    return isinstance(observation, Value) or observation.detail.isprintable()


def test_the_rules_of_these_properties_reach_every_level() -> None:
    check = Check(ratio_rule(hold=one_sample_each()))
    shares = (0.0, 0.0101, 0.0110, 0.9)
    seen = [
        check.verdict(Value(value=share, at=at(30 * i), events=1e6, bad=share * 1e6)).level
        for i, share in enumerate(shares)
    ]
    assert seen == [Level.OK, Level.WARNING, Level.CRITICAL, Level.ROLLBACK]
    assert ERROR_LIMITS.mildest == 0.005
