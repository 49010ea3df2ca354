"""Replays of rules with an objective: burn rates of a track, judged as the daemon judges them."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.lab.test_burns import RULE, SMALL, histories
from tests.lab.tracks import NAN, track
from watchdog.core.rule import Evidence, Holds, Level, Rule, Samples
from watchdog.lab.burns import burns_of
from watchdog.lab.replay import plain, replay
from watchdog.lab.track import Track

JUDGED = replace(
    RULE,
    evidence=Evidence(),
    hold=Holds(warning=Samples(2), critical=Samples(2), rollback=Samples(2)),
)


@st.composite
def long_histories(draw: st.DrawFn) -> Track:
    """Stretches of many samples with the same share."""
    parts = draw(
        st.lists(
            st.tuples(st.sampled_from([0.0, 0.002, 0.012, 0.2, NAN]), st.integers(1, 60)),
            min_size=1,
            max_size=6,
        )
    )
    shares = [share for share, length in parts for _ in range(length)]
    events = draw(st.sampled_from([3.0, 40.0, 5000.0]))
    return track(*shares, events=np.full(len(shares), events) if draw(st.booleans()) else None)


@settings(max_examples=60, deadline=None)
@given(st.one_of(histories(), long_histories()), st.sampled_from([RULE, JUDGED]), st.integers(0, 3))
def test_skipping_changes_nothing_that_is_told_of_burn_rates(whole: Track, rule: Rule, first: int) -> None:
    first = min(first, len(whole) - 1)
    assert replay(rule, whole, first=first) == plain(rule, whole, first=first)


def test_an_outage_is_told_with_its_burn_rate_and_over_when_the_shortest_window_is_clean() -> None:
    shares = [0.0] * 60 + [1.0] * 6 + [0.0] * 120
    whole = track(*shares, events=np.full(len(shares), 1000.0))
    told = replay(JUDGED, whole)
    (rollback,) = told.episodes[Level.ROLLBACK]
    assert rollback.first in (61, 62)
    assert rollback.peak > 14.4
    (warning,) = told.episodes[Level.WARNING]
    assert warning.end > 66, "the 20 minutes of the mildest level remember it longer"
    assert told.unknown == 0


def test_burn_rates_can_be_given_instead_of_shares() -> None:
    shares = track(*[0.0] * 20, *[0.5] * 10, events=np.full(30, 1000.0))
    burns = burns_of(SMALL, shares, window=RULE.window)
    assert replay(JUDGED, replace(shares, values=burns.values), burns=burns) == replay(JUDGED, shares)
