"""From answers to observations: what becomes a value, what no data, what an error."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from watchdog.core.observation import Answer, Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.observe import observe
from watchdog.core.rule import Form, ProbeForm, Query, Ratio, Rule, Thresholds, Unit

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
RATIO = Ratio(bad='http{status=~"5.."}', total="http")


def rule(form: Form = RATIO, *, unit: Unit = Unit.RATIO, max_age: timedelta | None = None) -> Rule:
    return Rule(
        name="error-rate",
        form=form,
        unit=unit,
        window=timedelta(minutes=1),
        max_age=max_age,
        thresholds=Thresholds(critical=0.01),
    )


def answer(*, warnings: tuple[str, ...] = (), since: datetime | None = None, **parts: float | None) -> Answer:
    """An answer evaluated now; a part given as `None` was asked and came back empty."""
    return Answer(
        parts={part: () if number is None else (number,) for part, number in parts.items()},
        evaluated_at=NOW,
        warnings=warnings,
        since=since,
        asked="the question",
        answered="the answer",
    )


def at(seconds: float) -> float:
    """Unix seconds, that long after `NOW`."""
    return NOW.timestamp() + seconds


def value(seen: Value | NoData | Failed) -> Value:
    assert isinstance(seen, Value), seen
    return seen


def no_data(seen: Value | NoData | Failed) -> NoDataReason:
    assert isinstance(seen, NoData), seen
    return seen.reason


def failed(seen: Value | NoData | Failed) -> FailReason:
    assert isinstance(seen, Failed), seen
    return seen.reason


def test_a_ratio_is_bad_of_total_at_the_time_of_the_newest_sample() -> None:
    since = NOW - timedelta(hours=1)
    seen = value(observe(rule(), answer(bad=3, total=120, newest=at(-4), samples=4, since=since), now=NOW))
    assert seen.value == 3 / 120
    assert (seen.events, seen.bad) == (120, 3)
    assert seen.at == NOW - timedelta(seconds=4)
    assert seen.since == since
    assert (seen.asked, seen.answered) == ("the question", "the answer")


def test_no_bad_series_beside_events_is_no_bad_event() -> None:
    seen = value(observe(rule(), answer(bad=None, total=120, newest=at(0)), now=NOW))
    assert (seen.value, seen.bad) == (0, 0)


@pytest.mark.parametrize("total", [None, 0.0])
@pytest.mark.parametrize("bad", [None, 0.0, 3.0])
def test_a_total_that_is_missing_or_zero_is_no_data(bad: float | None, total: float | None) -> None:
    seen = observe(rule(), answer(bad=bad, total=total, newest=at(0)), now=NOW)
    assert no_data(seen) is NoDataReason.EMPTY


def test_a_ratio_without_any_part_is_no_data() -> None:
    assert no_data(observe(rule(), answer(), now=NOW)) is NoDataReason.EMPTY


def test_warnings_make_an_answer_partial_whatever_else_it_says() -> None:
    seen = observe(rule(), answer(bad=3, total=120, newest=at(0), warnings=("store b is away",)), now=NOW)
    assert no_data(seen) is NoDataReason.PARTIAL
    assert isinstance(seen, NoData)
    assert "store b is away" in seen.detail


@pytest.mark.parametrize("part", ["bad", "total", "newest", "samples"])
def test_two_series_in_any_part_are_no_data(part: str) -> None:
    good = answer(bad=3, total=120, newest=at(0), samples=4)
    twice = Answer(parts={**good.parts, part: (1.0, 2.0)}, evaluated_at=NOW)
    assert no_data(observe(rule(), twice, now=NOW)) is NoDataReason.SEVERAL_SERIES


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("part", ["bad", "total", "newest", "samples"])
def test_what_is_no_finite_number_is_no_data(part: str, number: float) -> None:
    good = answer(bad=3, total=120, newest=at(0), samples=4)
    odd = Answer(parts={**good.parts, part: (number,)}, evaluated_at=NOW)
    assert no_data(observe(rule(), odd, now=NOW)) is NoDataReason.NOT_A_NUMBER


@pytest.mark.parametrize(("bad", "total"), [(121, 120), (-1, 120), (3, -120), (-1, -120), (120.001, 120)])
def test_a_share_outside_0_to_1_is_an_error(bad: float, total: float) -> None:
    seen = observe(rule(), answer(bad=bad, total=total, newest=at(0)), now=NOW)
    assert failed(seen) is FailReason.OUT_OF_RANGE


def test_a_share_above_1_by_rounding_is_all_bad() -> None:
    seen = value(observe(rule(), answer(bad=120.0000001, total=120, newest=at(0)), now=NOW))
    assert seen.value == 1
    assert seen.bad == seen.events == 120


def test_a_failure_stays_what_it_is() -> None:
    away = Failed(reason=FailReason.UNREACHABLE, detail="refused", asked="?")
    assert observe(rule(), away, now=NOW) is away


def test_the_default_age_is_two_learnt_scrape_intervals() -> None:
    learnt = value(observe(rule(), answer(total=120, newest=at(0), samples=4), now=NOW)).scrape_interval
    assert learnt == timedelta(seconds=15)
    assert isinstance(observe(rule(), answer(total=120, newest=at(-24), samples=3), now=NOW), Value)
    late = observe(rule(), answer(total=120, newest=at(-25), samples=3), now=NOW)
    assert no_data(late) is NoDataReason.STALE


@pytest.mark.parametrize("scrape", [1, 2, 5, 10, 15, 30])
def test_a_target_scraped_without_fail_is_never_stale(scrape: int) -> None:
    for tenth in range(scrape * 10):
        age = tenth / 10
        samples = math.floor((60 - age) / scrape) + 1
        seen = observe(rule(), answer(total=120, newest=at(-age), samples=samples), now=NOW)
        assert isinstance(seen, Value), (age, seen)


@pytest.mark.parametrize("scrape", [1, 2, 5, 10, 15, 30])
def test_a_dead_target_is_stale_after_two_intervals_and_stays_it(scrape: int) -> None:
    """Its samples leave the window one by one; that must not be taken for a longer scrape interval."""
    for tenth in range(20 * scrape + 1, 600):
        age = tenth / 10
        samples = math.floor((60 - age) / scrape) + 1
        seen = observe(rule(), answer(total=120, newest=at(-age), samples=samples), now=NOW)
        assert no_data(seen) is NoDataReason.STALE, age


def test_without_a_learnt_interval_30_seconds_are_allowed() -> None:
    assert isinstance(observe(rule(), answer(total=120, newest=at(-30)), now=NOW), Value)
    assert no_data(observe(rule(), answer(total=120, newest=at(-30.1)), now=NOW)) is NoDataReason.STALE


def test_the_rules_own_age_goes_before_the_learnt_one() -> None:
    mine = rule(max_age=timedelta(seconds=50))
    assert isinstance(observe(mine, answer(total=120, newest=at(-49), samples=4), now=NOW), Value)
    seen = observe(mine, answer(total=120, newest=at(-51), samples=4), now=NOW)
    assert no_data(seen) is NoDataReason.STALE
    assert isinstance(seen, NoData)
    assert seen.detail == "newest sample is 51.0 s old, allowed 50.0 s"


def test_a_series_that_no_target_shows_any_more_is_stale_at_once() -> None:
    seen = observe(rule(), answer(bad=3, total=120, newest=None, samples=4), now=NOW)
    assert no_data(seen) is NoDataReason.STALE


def test_five_seconds_into_the_future_are_allowed_and_not_more() -> None:
    assert isinstance(observe(rule(), answer(total=120, newest=at(5)), now=NOW), Value)
    assert no_data(observe(rule(), answer(total=120, newest=at(5.1)), now=NOW)) is NoDataReason.FUTURE


@pytest.mark.parametrize(
    ("newest", "reason"),
    [(1e300, NoDataReason.FUTURE), (-1e300, NoDataReason.STALE), (0, NoDataReason.STALE)],
)
def test_a_time_that_is_no_date_is_judged_all_the_same(newest: float, reason: NoDataReason) -> None:
    assert no_data(observe(rule(), answer(total=120, newest=newest), now=NOW)) is reason


def test_without_a_newest_part_the_evaluation_time_is_the_samples_time() -> None:
    old = Answer(parts={"total": (120.0,)}, evaluated_at=NOW - timedelta(seconds=10))
    assert value(observe(rule(), old, now=NOW)).at == NOW - timedelta(seconds=10)
    stale = Answer(parts={"total": (120.0,)}, evaluated_at=NOW - timedelta(seconds=31))
    assert no_data(observe(rule(), stale, now=NOW)) is NoDataReason.STALE
    ahead = Answer(parts={"total": (120.0,)}, evaluated_at=NOW + timedelta(seconds=6))
    assert no_data(observe(rule(), ahead, now=NOW)) is NoDataReason.FUTURE


QUEUE = Query(query="max(queue_depth)")
BUSY = Query(query="max(queue_depth)", events="sum(in)", freshness="max(timestamp(queue_depth))")


def test_a_query_gives_its_value_and_knows_no_events() -> None:
    seen = value(observe(rule(QUEUE, unit=Unit.COUNT), answer(value=-7), now=NOW))
    assert (seen.value, seen.events, seen.bad, seen.at) == (-7, None, None, NOW)


def test_a_query_without_a_result_is_no_data() -> None:
    seen = observe(rule(QUEUE, unit=Unit.COUNT), answer(value=None), now=NOW)
    assert no_data(seen) is NoDataReason.EMPTY


def test_a_query_with_events_and_freshness_gives_all_three() -> None:
    seen = value(observe(rule(BUSY, unit=Unit.COUNT), answer(value=7, events=50, newest=at(-3)), now=NOW))
    assert (seen.value, seen.events, seen.at) == (7, 50, NOW - timedelta(seconds=3))


def test_an_empty_answer_about_events_is_no_event() -> None:
    seen = value(observe(rule(BUSY, unit=Unit.COUNT), answer(value=7, events=None, newest=at(0)), now=NOW))
    assert seen.events == 0


def test_an_empty_answer_about_freshness_is_stale() -> None:
    for parts in (answer(value=7, events=50, newest=None), answer(value=7, events=50)):
        assert no_data(observe(rule(BUSY, unit=Unit.COUNT), parts, now=NOW)) is NoDataReason.STALE


def test_negative_events_are_an_error() -> None:
    seen = observe(rule(BUSY, unit=Unit.COUNT), answer(value=7, events=-1, newest=at(0)), now=NOW)
    assert failed(seen) is FailReason.OUT_OF_RANGE


def test_a_percentage_where_a_share_is_promised_is_an_error_and_no_breach() -> None:
    assert failed(observe(rule(QUEUE), answer(value=3.5), now=NOW)) is FailReason.OUT_OF_RANGE
    assert failed(observe(rule(QUEUE), answer(value=-0.1), now=NOW)) is FailReason.OUT_OF_RANGE
    assert value(observe(rule(QUEUE), answer(value=1 + 1e-9), now=NOW)).value == 1
    assert value(observe(rule(QUEUE), answer(value=0.035), now=NOW)).value == 0.035


def test_a_probe_rule_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="is a probe"):
        observe(rule(ProbeForm(kind="http", settings={})), answer(value=1), now=NOW)


PARTS = ("bad", "total", "value", "events", "newest", "samples")
ANY_NUMBER = st.floats(allow_nan=True, allow_infinity=True) | st.sampled_from(
    [0.0, 1.0, 20.0, NOW.timestamp(), NOW.timestamp() - 4, NOW.timestamp() + 100]
)
ANY_ANSWER = st.builds(
    Answer,
    parts=st.dictionaries(st.sampled_from(PARTS), st.lists(ANY_NUMBER, max_size=2).map(tuple)),
    evaluated_at=st.datetimes(
        min_value=datetime(1971, 1, 1),  # noqa: DTZ001 - Hypothesis wants them naive
        max_value=datetime(9000, 1, 1),  # noqa: DTZ001
        timezones=st.just(UTC),
    )
    | st.just(NOW),
    warnings=st.just(()) | st.just(("half of it",)),
)
ANY_RULE = st.builds(
    rule,
    st.sampled_from([RATIO, QUEUE, BUSY]),
    unit=st.sampled_from(Unit),
    max_age=st.none() | st.just(timedelta(days=3000)),
)


@pytest.mark.timeout(120)  # a thousand examples, on a busy machine
@settings(derandomize=True, deadline=None, max_examples=1000)
@given(ANY_RULE, ANY_ANSWER)
def test_no_answer_lets_anything_but_a_finite_fresh_number_become_a_value(
    asked: Rule, given_: Answer
) -> None:
    seen = observe(asked, given_, now=NOW)
    if not isinstance(seen, Value):
        return
    assert not given_.warnings
    assert math.isfinite(seen.value)
    assert -timedelta(seconds=5) <= NOW - seen.at <= (asked.max_age or timedelta(minutes=4))
    assert seen.events is None or (math.isfinite(seen.events) and seen.events >= 0)
    assert all(len(series) <= 1 and all(map(math.isfinite, series)) for series in given_.parts.values())
    if isinstance(asked.form, Ratio):
        assert given_.parts["total"][0] > 0
        assert 0 <= seen.value <= 1
        assert seen.bad is not None
        assert seen.events is not None
        assert 0 <= seen.bad <= seen.events
    else:
        assert seen.value == pytest.approx(given_.parts["value"][0], abs=1e-5)
