"""Long runs: the marker `soak`, and what they count.

A test marked `soak` is left out of `make test` and run by `make soak`; it is the code of a test in `make test` with
larger counts. Whatever runs many deaths or schedules says how many they were:

    def test_of_many_deaths(counted: Counted) -> None:
        counted(200, "kills at random instants, tier A")

The run ends with one line for each thing counted, summed over all tests (and over the workers of xdist).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Protocol

import pytest

_PROPERTY = "counted"


class Counted(Protocol):
    """The type of the fixture `counted`."""

    def __call__(self, number: int, what: str) -> None:
        """Add to the count of `what`, a plural such as "kills at random instants"."""
        ...


@pytest.fixture
def counted(record_property: Callable[[str, object], None]) -> Counted:
    """`counted(200, "kills at random instants")`: one line in the summary of the run."""

    def count(number: int, what: str) -> None:
        record_property(_PROPERTY, [number, what])

    return count


def show_counts(terminalreporter: pytest.TerminalReporter) -> None:
    """At the end of a run: what the tests that passed have counted."""
    found: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, value in getattr(report, "user_properties", ()):
            if name == _PROPERTY and report.when == "call":
                number, what = value
                found[what] += number
    if not found:
        return
    terminalreporter.section("COUNTED", sep="-")
    for what, number in sorted(found.items()):
        terminalreporter.line(f"{number:>8,} {what}")
