from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.series import ALWAYS_THE_SAME, T0, at, ratio_rule
from watchdog.core.baseline import LEAST_SAMPLES, described, limits_of, reach, resolved, unusable
from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.evaluate import evaluate
from watchdog.core.evidence import integrated
from watchdog.core.observation import Observation, Reference, Value
from watchdog.core.rule import (
    Against,
    Aggregate,
    Baseline,
    Direction,
    Gauge,
    Holds,
    Level,
    Match,
    Ratio,
    Rule,
    Samples,
    Thresholds,
    Unit,
)

ABOVE, BELOW = Direction.ABOVE, Direction.BELOW
MARGINS = Thresholds(warning=0.3, critical=0.5, rollback=0.75)
BEFORE = Baseline(against=Against.BEFORE_DEPLOYMENT, margins=MARGINS)


def rule(baseline: Baseline = BEFORE, *, direction: Direction = BELOW, **changes: Any) -> Rule:
    made = Rule(
        name="requests",
        form=Gauge(of="requests", by=Aggregate.SUM),
        baseline=baseline,
        direction=direction,
        hold=Holds(warning=Samples(1), critical=Samples(1), rollback=Samples(1)),
    )
    return msgspec.structs.replace(made, **changes)


def reference(value: float = 530.0, *, samples: float = 30.0, version: str = "") -> Reference:
    return Reference(value=value, samples=samples, at=T0, learnt_at=T0, version=version)


def seen(value: float, against: Reference | None, *, after: float = 0.0, **more: Any) -> Value:
    return Value(value=value, at=at(after), reference=against, **more)


def judged(asked: Rule, value: Value) -> Verdict:
    return evaluate(asked, CheckState(), value, now=value.at).verdict


@pytest.mark.parametrize(
    ("direction", "limits"),
    [
        (BELOW, Thresholds(warning=371.0, critical=265.0, rollback=132.5)),
        (ABOVE, Thresholds(warning=689.0, critical=795.0, rollback=927.5)),
    ],
)
def test_a_margin_lies_on_the_bad_side_of_the_reference(direction: Direction, limits: Thresholds) -> None:
    assert limits_of(BEFORE, direction, 530.0) == limits
    against = resolved(rule(direction=direction), seen(1.0, reference()))
    assert against is not None
    assert against.thresholds == limits


@pytest.mark.parametrize(
    ("value", "level", "said"),
    [
        (530.0, Level.OK, "530 is 530, the median in the 30m before the deployment, within 371"),
        (371.0, Level.OK, "371 is 30% below 530, the median in the 30m before the deployment, within 371"),
        (
            312.0,
            Level.WARNING,
            "312 is 41.13% below 530, the median in the 30m before the deployment, beyond the limit of 371",
        ),
        (
            0.0,
            Level.ROLLBACK,
            "0 is 0 times 530, the median in the 30m before the deployment, beyond the limit of 132.5",
        ),
        (600.0, Level.OK, "600 is 13.21% above 530, the median in the 30m before the deployment, within 371"),
        (5300.0, Level.OK, "5300 is 10 times 530, the median in the 30m before the deployment, within 371"),
    ],
)
def test_the_sentence_says_what_was_compared_with_what(value: float, level: Level, said: str) -> None:
    verdict = judged(rule(), seen(value, reference()))

    assert verdict.level is level
    assert verdict.explanation == said


def test_the_sentence_of_a_share_does_not_take_a_share_of_it() -> None:
    errors = ratio_rule(direction=ABOVE)
    errors = msgspec.structs.replace(errors, thresholds=Thresholds(), baseline=BEFORE)
    value = seen(0.05, reference(0.01), events=1000, bad=50)

    assert judged(errors, value).explanation == (
        "5% of 1000 events were bad in 1m, 5 times 1%, the median in the 30m before the deployment, "
        "beyond the limit of 1.5%; beyond the limit of 1.75% too, but its excess is 1.05s and must be more than 12s"
    )


@pytest.mark.parametrize(
    ("baseline", "words"),
    [
        (BEFORE, "the median of v1 in the 30m before the deployment"),
        (Baseline(against=Against.PREVIOUS_VERSION, margins=MARGINS), "the value of v1 at 10:00:00Z"),
        (
            Baseline(against=Against.EARLIER, ago=timedelta(hours=36), margins=MARGINS),
            "the value of v1 1d12h before",
        ),
    ],
)
def test_a_reference_is_named(baseline: Baseline, words: str) -> None:
    assert described(rule(baseline), reference(version="v1")) == words
    assert described(rule(baseline), reference()) == words.replace(" of v1", "")


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), float("-inf")])
def test_what_no_share_can_be_taken_of_is_no_reference(value: float) -> None:
    bad = reference(value)
    assert unusable(rule(), bad)
    assert resolved(rule(), seen(1.0, bad)) is None
    verdict = judged(rule(), seen(1.0, bad))
    assert (verdict.level, verdict.reason) == (Level.UNKNOWN, Reason.NO_REFERENCE)


def test_a_reference_from_nine_samples_is_none_and_from_ten_it_is_one() -> None:
    assert LEAST_SAMPLES == 10
    assert unusable(rule(), reference(samples=9)) == (
        "the median in the 30m before the deployment has 9 samples of the 10 it takes"
    )
    assert unusable(rule(), reference(samples=float("nan")))
    assert not unusable(rule(), reference(samples=10))


def test_a_missing_reference_is_unknown_and_no_blindness_and_starts_nothing() -> None:
    state = evaluate(rule(), CheckState(), seen(1.0, None), now=T0).state

    assert state.verdict is not None
    assert state.verdict.reason is Reason.NO_REFERENCE
    assert state.verdict.explanation == "there is nothing to compare it with"
    assert (state.blind_since, state.unknown_since) == (None, T0)
    assert (state.held, state.latched, state.streaks) == (Level.OK, Level.OK, {})


def test_the_reference_of_the_last_judged_sample_is_remembered() -> None:
    state = evaluate(rule(), CheckState(), seen(500.0, reference()), now=T0).state
    assert state.reference == reference()
    state = evaluate(rule(), state, seen(500.0, None, after=30), now=at(30)).state
    assert state.reference == reference()


def test_a_breach_counts_excess_beyond_the_limit_that_counted_then() -> None:
    errors = msgspec.structs.replace(ratio_rule(direction=ABOVE), thresholds=Thresholds(), baseline=BEFORE)
    assert errors.can_roll_back
    state = CheckState()
    values = [seen(0.05, reference(0.01), after=30.0 * number, events=1000, bad=50) for number in range(3)]
    for value in values:
        state = evaluate(errors, state, value, now=value.at).state
    against = resolved(errors, values[0])
    assert against is not None
    assert integrated(against)
    # 5 % is 3.5 points beyond critical, 1.5 %: 30 s each.
    assert [amount for _, amount in state.excess] == [pytest.approx(1.05)] * 3


@ALWAYS_THE_SAME
@given(
    st.sampled_from([ABOVE, BELOW]),
    st.floats(min_value=1e-6, max_value=1e9),
    st.lists(st.floats(min_value=0, max_value=1e9), min_size=1, max_size=6),
)
def test_a_baseline_judges_as_the_thresholds_that_follow_from_it(
    direction: Direction, against: float, values: list[float]
) -> None:
    relative = rule(direction=direction)
    absolute = msgspec.structs.replace(
        relative, baseline=None, thresholds=limits_of(BEFORE, direction, against)
    )
    mine, theirs = CheckState(), CheckState()
    for number, value in enumerate(values):
        moment = at(30.0 * number)
        one = evaluate(relative, mine, seen(value, reference(against), after=30.0 * number), now=moment)
        two = evaluate(absolute, theirs, seen(value, None, after=30.0 * number), now=moment)
        assert one.verdict.level is two.verdict.level
        assert one.verdict.limit == two.verdict.limit
        assert one.state.held is two.state.held
        mine, theirs = one.state, two.state
    assert mine.latched is theirs.latched
    assert mine.clears == theirs.clears


@ALWAYS_THE_SAME
@given(
    st.one_of(
        st.none(),
        st.builds(
            Reference,
            value=st.floats(),
            samples=st.floats(),
            at=st.just(T0),
            learnt_at=st.just(T0),
            version=st.text(max_size=3),
        ),
    ),
    st.floats(),
)
def test_no_reference_is_an_exception_and_all_of_them_survive_being_written(
    against: Reference | None, value: float
) -> None:
    verdict = judged(rule(), seen(value, against))
    assert verdict.explanation
    if against is None or unusable(rule(), against):
        assert verdict.level is Level.UNKNOWN
        return
    written = msgspec.json.decode(msgspec.json.encode(seen(value, against)), type=Observation)
    assert isinstance(written, Value)
    assert written.reference == against
    if verdict.reason is not Reason.NOT_A_NUMBER:
        assert judged(rule(), written) == verdict


@pytest.mark.parametrize(
    ("against", "ago", "minutes"),
    [(Against.BEFORE_DEPLOYMENT, None, 37), (Against.PREVIOUS_VERSION, None, 30), (Against.EARLIER, 15, 45)],
)
def test_how_far_back_a_source_must_remember(against: Against, ago: int | None, minutes: int) -> None:
    past = None if ago is None else timedelta(minutes=ago)
    assert reach(rule(Baseline(against=against, ago=past, margins=MARGINS))) == timedelta(minutes=minutes)
    assert reach(rule(baseline=BEFORE, window=timedelta(minutes=1))) == timedelta(minutes=37)
    assert reach(msgspec.structs.replace(rule(), baseline=None)) == timedelta()


def test_a_rule_of_before_there_were_baselines_keeps_its_hash() -> None:
    old = Rule(name="x", form=Ratio(bad="a", total="b"), thresholds=Thresholds(critical=0.01), unit=Unit.NONE)
    assert old.hash == "bbc0ebe94c08914a"  # as the first release recorded it
    assert msgspec.structs.replace(old, baseline=BEFORE).hash != old.hash
    assert msgspec.structs.replace(old, match=Match(labels={"app": "name"})).hash != old.hash
    again = msgspec.convert(json.loads(msgspec.json.encode(rule())), Rule)
    assert (again, again.hash) == (rule(), rule().hash)
