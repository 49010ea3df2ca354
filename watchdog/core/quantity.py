"""Numbers as people read them: `8.2%`, `451ms`, `500Mi`. The opposite direction of `watchdog.core.units`.

For sentences only. This module must never be used to compare numbers or to store them: it rounds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import timedelta

from watchdog.core.rule import Unit
from watchdog.core.units import format_duration

_BINARY = (("Ti", 2.0**40), ("Gi", 2.0**30), ("Mi", 2.0**20), ("Ki", 2.0**10))
#: From here on seconds read better as `2m30s`, and beyond the other one only as a power of ten.
_MINUTES, _AGES = 120.0, 1e9


def format_quantity(value: float, unit: Unit) -> str:
    """A number of a rule in its unit, rounded for reading (three to six figures). Never raises."""
    if not math.isfinite(value):
        return str(value)
    if value < 0:
        return "-" + format_quantity(-value, unit)
    return _WRITERS[unit](value)


def format_count(count: float) -> str:
    """A number of events. Counts of a window are extrapolated and rarely whole; people want whole ones."""
    return f"{count:.0f}" if abs(count) < 1e15 else f"{count:.3g}"


def _percent(share: float) -> str:
    """Two decimals, and more near 0 and near 100, where 99.99 and 99.995 are worlds apart."""
    percent = share * 100
    if percent >= 1e6:
        return f"{percent:.3g}%"
    distance = min(percent, abs(100 - percent))
    decimals = 2 if distance >= 0.1 or distance < 1e-6 else 1 - math.floor(math.log10(distance))
    return f"{percent:.{decimals}f}".rstrip("0").rstrip(".") + "%"


def _seconds(seconds: float) -> str:
    if seconds >= _AGES:
        return f"{seconds:.3g}s"
    if seconds >= _MINUTES:
        return format_duration(timedelta(seconds=round(seconds)))
    return f"{seconds:.3g}s" if seconds >= 1 or seconds == 0 else f"{seconds * 1000:.3g}ms"


def _bytes(size: float) -> str:
    for name, scale in _BINARY:
        if size >= scale:
            return f"{size / scale:.4g}{name}"
    return f"{size:.4g}B"


def _plain(number: float) -> str:
    return f"{number:.0f}" if number < 1e15 and number == int(number) else f"{number:.6g}"


def _times(number: float) -> str:
    return f"{number:.3g}x" if number < 1000 else f"{_plain(round(number))}x"


_WRITERS: dict[Unit, Callable[[float], str]] = {
    Unit.RATIO: _percent,
    Unit.SECONDS: _seconds,
    Unit.BYTES: _bytes,
    Unit.COUNT: _plain,
    Unit.TIMES: _times,
    Unit.NONE: _plain,
}
