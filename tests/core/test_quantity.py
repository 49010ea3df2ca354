from __future__ import annotations

import pytest

from watchdog.core.quantity import format_count, format_quantity
from watchdog.core.rule import Unit


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, Unit.RATIO, "0%"),
        (0.082, Unit.RATIO, "8.2%"),
        (0.015, Unit.RATIO, "1.5%"),
        (0.0125, Unit.RATIO, "1.25%"),
        (0.5, Unit.RATIO, "50%"),
        (1.0, Unit.RATIO, "100%"),
        (0.99995, Unit.RATIO, "99.995%"),
        (0.00012, Unit.RATIO, "0.012%"),
        (1e-12, Unit.RATIO, "0%"),
        (1.5, Unit.RATIO, "150%"),
        (1e9, Unit.RATIO, "1e+11%"),
        (-0.05, Unit.RATIO, "-5%"),
        (0.0, Unit.SECONDS, "0s"),
        (0.4512, Unit.SECONDS, "451ms"),
        (0.0005, Unit.SECONDS, "0.5ms"),
        (2.1, Unit.SECONDS, "2.1s"),
        (90.0, Unit.SECONDS, "90s"),
        (150.0, Unit.SECONDS, "2m30s"),
        (3600.0, Unit.SECONDS, "1h"),
        (1e300, Unit.SECONDS, "1e+300s"),
        (12.0, Unit.BYTES, "12B"),
        (1536.0, Unit.BYTES, "1.5Ki"),
        (524288000.0, Unit.BYTES, "500Mi"),
        (2.0**41, Unit.BYTES, "2Ti"),
        (1000.0, Unit.COUNT, "1000"),
        (12345678.0, Unit.COUNT, "12345678"),
        (0.5, Unit.NONE, "0.5"),
        (1234.5678, Unit.NONE, "1234.57"),
        (1e20, Unit.NONE, "1e+20"),
        (float("nan"), Unit.NONE, "nan"),
        (float("-inf"), Unit.SECONDS, "-inf"),
    ],
)
def test_a_number_reads_in_its_unit(value: float, unit: Unit, text: str) -> None:
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize(("count", "text"), [(411.7, "412"), (0.0, "0"), (1e18, "1e+18")])
def test_counts_of_events_are_whole(count: float, text: str) -> None:
    assert format_count(count) == text
