from __future__ import annotations

import json
from datetime import timedelta
from statistics import NormalDist
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.core.series import ALWAYS_THE_SAME, T0, at, ratio_rule
from watchdog.core.baseline import (
    LEAST_SAMPLES,
    USUAL_FLOOR,
    USUAL_QUANTILE,
    counts_good,
    described,
    limits_of,
    reach,
    resolved,
    unusable,
    usual_least,
    usual_spread,
    usual_step,
)
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


DEVIATIONS = Thresholds(warning=4.0, critical=5.0, rollback=7.5)
USUAL = Baseline(against=Against.USUAL, margins=DEVIATIONS, over=timedelta(days=14))


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
        (USUAL, "the usual value of v1 (the median of 14d)"),
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
    second = msgspec.structs.replace(
        old,
        thresholds=Thresholds(),
        baseline=Baseline(against=Against.BEFORE_DEPLOYMENT, margins=Thresholds(critical=0.5)),
    )
    assert (second.hash, second.question) == (
        "c498733033fb4c68",
        "843b6b41516f6d42",
    )  # as the first release with baselines did
    again = msgspec.convert(json.loads(msgspec.json.encode(rule())), Rule)
    assert (again, again.hash) == (rule(), rule().hash)


def usual(value: float, spread: float | None, *, samples: float = 336.0) -> Reference:
    return Reference(value=value, samples=samples, at=T0, learnt_at=T0, spread=spread)


@pytest.mark.parametrize(
    ("direction", "limits"),
    [
        (ABOVE, Thresholds(warning=18.0, critical=20.0, rollback=25.0)),
        (BELOW, Thresholds(warning=2.0, critical=0.0, rollback=-5.0)),
    ],
)
def test_the_limits_of_what_is_usual_lie_so_many_deviations_off(
    direction: Direction, limits: Thresholds
) -> None:
    assert limits_of(USUAL, direction, 10.0, spread=2.0) == limits
    against = resolved(rule(USUAL, direction=direction), seen(1.0, usual(10.0, 2.0)))
    assert against is not None
    assert against.thresholds == limits


def test_a_deviation_is_that_of_normally_distributed_values_but_never_less_than_a_share_of_the_median() -> (
    None
):
    normal = NormalDist(100.0, 40.0)
    assert usual_spread(100.0, normal.inv_cdf(USUAL_QUANTILE)) == pytest.approx(max(40.0, USUAL_FLOOR * 100))
    assert usual_spread(100.0, normal.inv_cdf(1 - USUAL_QUANTILE)) == usual_spread(
        100.0, normal.inv_cdf(USUAL_QUANTILE)
    )
    assert usual_spread(0.0, NormalDist().inv_cdf(USUAL_QUANTILE)) == pytest.approx(1.0)
    assert usual_spread(10.0, 10.0) == USUAL_FLOOR * 10.0
    assert usual_spread(-10.0, -10.0) == USUAL_FLOOR * 10.0
    assert usual_spread(0.995, 0.995, good=True) == pytest.approx(USUAL_FLOOR * 0.005)
    assert usual_spread(0.0, 0.0) == 0.0


def test_only_shares_of_what_went_well_are_counted_as_such() -> None:
    success = rule(USUAL, unit=Unit.RATIO)
    assert counts_good(success)
    assert not counts_good(msgspec.structs.replace(success, direction=ABOVE))
    assert not counts_good(rule(USUAL, unit=Unit.COUNT))


@pytest.mark.parametrize(
    ("against", "why"),
    [
        (usual(10.0, 2.0, samples=83), "has 83 values of the 84 it takes"),
        (usual(0.0, 0.0), "is 0 and hardly ever worse, so that nothing says how much worse would be much"),
        (usual(10.0, None), "is 10 and hardly ever worse, so that nothing says how much worse would be much"),
        (usual(float("nan"), 1.0), "does not exist"),
        (
            usual(10.0, float("inf")),
            "is 10 and hardly ever worse, so that nothing says how much worse would be much",
        ),
    ],
)
def test_without_enough_values_or_any_scale_nothing_is_usual(against: Reference, why: str) -> None:
    asked = rule(USUAL, direction=ABOVE)
    assert unusable(asked, against) == f"the usual value (the median of 14d) {why}"
    assert resolved(asked, seen(1.0, against)) is None


def test_a_median_of_0_or_less_is_usual_where_values_lie_about_it() -> None:
    asked = rule(USUAL, direction=ABOVE)
    for value in (0.0, -3.0):
        assert not unusable(asked, usual(value, 0.5, samples=84))
    verdict = judged(asked, seen(2.1, usual(0.0, 0.5)))
    assert (verdict.level, verdict.limit) == (Level.WARNING, 2.0)


def test_a_quarter_of_the_time_is_enough_and_a_source_must_remember_all_of_it() -> None:
    minute, hour = timedelta(minutes=1), timedelta(hours=1)
    assert usual_step(timedelta(days=14)) == hour
    assert usual_least(timedelta(days=14), minute) == 84
    assert usual_least(hour, minute) == 15
    assert usual_least(hour, 3 * minute) == LEAST_SAMPLES
    assert reach(rule(USUAL)) == timedelta(days=14, minutes=2)
