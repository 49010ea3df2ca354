"""Burn rates over tracks: what windows count, against adding up by hand."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.lab.tracks import BEGIN, NAN, track
from watchdog.core.burning import BurnLimit, Counted, Slo
from watchdog.core.burning import burns_of as burns_of_counts
from watchdog.core.promql import over
from watchdog.core.rule import Ratio, Rule, Thresholds, Unit
from watchdog.lab.burns import burns_from, burns_of
from watchdog.lab.track import Track

BEGIN_AT = datetime.fromtimestamp(BEGIN, UTC)
SMALL = Slo(
    objective=0.99,
    warning=BurnLimit(factor=1, long=timedelta(minutes=20), short=timedelta(minutes=5)),
    critical=BurnLimit(factor=6, long=timedelta(minutes=10), short=timedelta(minutes=2)),
    rollback=BurnLimit(factor=14.4, long=timedelta(minutes=5), short=timedelta(seconds=45)),
)
RULE = Rule(
    name="error-budget",
    form=Ratio(bad="bad", total="total"),
    slo=SMALL,
    thresholds=Thresholds(warning=1, critical=6, rollback=14.4),
    unit=Unit.TIMES,
    window=timedelta(seconds=45),
)


@st.composite
def histories(draw: st.DrawFn) -> Track:
    """Samples a step apart or with holes, some without data, some failed."""
    size = draw(st.integers(1, 60))
    gaps = draw(
        st.lists(st.sampled_from([30.0, 30.0, 30.0, 31.5, 90.0, 700.0]), min_size=size, max_size=size)
    )
    events = draw(st.lists(st.integers(0, 500), min_size=size, max_size=size))
    shares = draw(st.lists(st.sampled_from([0.0, 0.0, 0.01, 0.2, 1.0, NAN]), min_size=size, max_size=size))
    failed = draw(st.lists(st.booleans(), min_size=size, max_size=size))
    return Track(
        name="hand",
        times=BEGIN + np.cumsum(gaps),
        values=np.array(shares),
        step=30.0,
        events=np.array(events, dtype=np.float64) if draw(st.booleans()) else None,
        failed=np.array(failed) if draw(st.booleans()) else None,
    )


def by_hand(whole: Track, index: int, window: timedelta) -> Counted | None:
    """The counts in the window that ends with a sample, added up one by one."""
    events = bad = 0.0
    for other in range(index + 1):
        share = whole.values[other]
        count = 1.0 if whole.events is None else whole.events[other]
        inside = whole.times[other] > whole.times[index] - window.total_seconds()
        if (
            inside
            and not math.isnan(share)
            and count > 0
            and (whole.failed is None or not whole.failed[other])
        ):
            events, bad = events + count, bad + share * count
    return Counted(events=events, bad=min(bad, events)) if events else None


@given(histories())
def test_every_window_counts_what_adding_up_by_hand_counts(whole: Track) -> None:
    burns = burns_of(SMALL, whole)
    for index in range(len(whole)):
        known = not math.isnan(whole.values[index]) and (whole.events is None or whole.events[index] > 0)
        if not known or (whole.failed is not None and whole.failed[index]):
            assert burns.at(index) == {}
            assert burns.value(index, at=BEGIN_AT) is None
            continue
        counts = {
            window: counted
            for window in SMALL.windows
            if (counted := by_hand(whole, index, window)) is not None
        }
        wanted = burns_of_counts(SMALL, counts)
        found = burns.at(index)
        assert found.keys() == wanted.keys()
        for level, burn in wanted.items():
            for field in ("long", "short", "events", "bad"):
                assert getattr(found[level], field) == pytest.approx(getattr(burn, field), abs=1e-6)


@given(histories())
def test_what_is_said_of_all_samples_at_once_is_what_each_sample_says(whole: Track) -> None:
    burns = burns_of(SMALL, whole)
    for index in range(len(whole)):
        value = burns.value(index, at=BEGIN_AT)
        if value is None:
            assert math.isnan(burns.values[index])
            assert math.isnan(burns.events[index])
            assert burns.reached[index] == 0
            assert not burns.at_rest[index]
            continue
        assert burns.values[index] == value.value
        assert burns.events[index] == max(burn.events for burn in value.burns.values())
        beyond = [level for level, limit in SMALL.limits.items() if value.burns[level].rate > limit.factor]
        assert burns.reached[index] == (list(SMALL.limits).index(beyond[-1]) + 1 if beyond else 0)
        assert burns.at_rest[index] == (value.burns["rollback"].short <= 1)


def test_a_total_outage_reaches_the_factor_of_a_rollback_after_52_seconds_of_the_hour() -> None:
    """14.4 times 0.1 % of an hour is 51.84 s (The Site Reliability Workbook, table 5-8 and its detection times)."""
    shares = [0.0] * 3600 + [1.0] * 120
    burns = burns_of(Slo(objective=0.999), track(*shares, step=1.0))
    first = int(np.argmax(burns.reached == 3))
    assert first - 3600 + 1 == 52


def test_counts_of_windows_that_overlap_are_counted_once() -> None:
    steady = track(
        *[0.02] * 200, events=np.full(200, 600.0)
    )  # 600 events in each minute, asked twice a minute
    burns = burns_of(SMALL, steady, window=timedelta(minutes=1))
    assert burns.levels["warning"].events[-1] == pytest.approx(20 * 600)
    assert burns.levels["warning"].long[-1] == pytest.approx(2)


def test_a_long_window_counts_what_there_is_when_the_track_begins_within_it() -> None:
    burns = burns_of(Slo(objective=0.999), track(0.5, 0.5))
    assert burns.at(1)["warning"].long == pytest.approx(500)
    assert burns.at(1)["warning"].events == 2


def test_the_parts_of_answers_give_what_the_answers_would_have_given() -> None:
    names = {RULE.window: "total"} | {window: over("total", window) for window in RULE.windows}
    parts = {name: np.array([0.0, 100.0, NAN, 400.0]) for name in names.values()}
    parts |= {name.replace("total", "bad"): np.array([NAN, 25.0, NAN, NAN]) for name in names.values()}
    burns = burns_from(RULE, parts)
    assert [sorted(burns.at(index)) for index in range(4)] == [
        [],
        ["critical", "rollback", "warning"],
        [],
        ["critical", "rollback", "warning"],
    ]
    assert burns.at(1)["rollback"].long == pytest.approx(25)
    assert burns.at(3)["rollback"].long == 0
    with pytest.raises(ValueError, match="has no slo"):
        burns_from(Rule(name="other", form=Ratio(bad="bad", total="total")), parts)


def test_levels_that_the_objective_does_not_have_are_not_counted() -> None:
    only = Slo(objective=0.99, warning=None, rollback=None)
    burns = burns_of(only, track(1.0, 1.0))
    assert list(burns.levels) == ["critical"]
    assert list(burns.reached) == [2, 2]
