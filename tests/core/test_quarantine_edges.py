"""A quarantine that a clock, set back since, has put too far away ends a window from now; any other stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.core.series import at
from watchdog.core.check import CheckState
from watchdog.core.quarantine import not_ahead

MINUTE = timedelta(minutes=1)


@pytest.mark.parametrize(("until", "kept"), [(30, 30), (100, 100), (120, 120), (121, 60), (3600, 60)])
def test_only_what_lies_further_ahead_than_a_window_is_the_clocks_fault(until: float, kept: float) -> None:
    state = CheckState(quarantine_until=at(until))

    assert not_ahead(state, window=MINUTE, now=at(0)) == at(kept)


def test_without_a_quarantine_there_is_none() -> None:
    assert not_ahead(CheckState(), window=MINUTE, now=at(0)) is None
