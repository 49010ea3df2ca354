"""Quantities as people write them: `30s`, `2100ms`, `1%`, `500Mi`, `2 samples`, `3 failures`, `3 per 10m`.

Every function raises `ValueError` with a sentence that says what was expected. This module must never guess a unit.
"""

from __future__ import annotations

import math
import re
from datetime import datetime, timedelta
from decimal import Decimal

from watchdog.core.rule import Hold, Lasting, Samples, Unit

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)\s*([A-Za-z%]*)")
_SIZES = {
    "B": 1,
    "k": 10**3,
    "K": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}
_SCALES: dict[Unit, dict[str, float]] = {
    Unit.RATIO: {"": 1, "%": 0.01},
    Unit.SECONDS: {name: scale for name, scale in _SECONDS.items() if name != "w"},
    Unit.BYTES: {"": 1, **_SIZES, **{name + "B": size for name, size in _SIZES.items() if name != "B"}},
    Unit.COUNT: {"": 1, "k": 10**3, "M": 10**6},
    Unit.TIMES: {"": 1, "x": 1},
    Unit.NONE: {"": 1},
}
_EXAMPLES = {
    Unit.RATIO: "1% or 0.01",
    Unit.SECONDS: "2100ms or 10s",
    Unit.BYTES: "500Mi or 1000000",
    Unit.COUNT: "1000",
    Unit.TIMES: "14.4x or 14.4",
    Unit.NONE: "0.5",
}
_COUNTED = re.compile(r"(\d{1,9})\s+(samples?|failures?)")
_RATE = re.compile(r"(\d{1,9})\s+per\s+(\S+)")
#: Longest duration anybody can mean here; keeps timedelta arithmetic away from its limits.
_LONGEST = timedelta(days=3660)


def parse_duration(text: str) -> timedelta:
    """`30s`, `5m`, `1h30m`, `500ms`, `7d`; a bare `0` is nothing. No other bare numbers, no negative ones."""
    stripped = text.strip()
    if stripped == "0":
        return timedelta()
    parts = _DURATION_PART.findall(stripped)
    if not parts or "".join(number + unit for number, unit in parts) != stripped:
        raise ValueError(
            f"{text!r} is not a duration; write a number with a unit such as 30s, 5m, 1h or 500ms"
        )
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if seconds > _LONGEST.total_seconds():
        raise ValueError(f"{text!r} is longer than ten years")
    return timedelta(seconds=seconds)


def format_duration(duration: timedelta) -> str:
    """The shortest way to write a duration: `90s` is `1m30s`, half a second `500ms`."""
    milliseconds = round(duration.total_seconds() * 1000)
    if milliseconds == 0:
        return "0s"
    sign, milliseconds = ("-", -milliseconds) if milliseconds < 0 else ("", milliseconds)
    out = ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            out += f"{count}{unit}"
    return sign + out


def elapsed(since: datetime, now: datetime) -> str:
    """How long it has been, for people: whole seconds, and fractions only of the first. Never below zero."""
    took = max(now - since, timedelta())
    return format_duration(timedelta(seconds=int(took.total_seconds())) or took)


def parse_number(text: str | float, unit: Unit) -> float:
    """A number in the base unit of `unit` (seconds, bytes, ratio 0..1). A unit that does not fit raises."""
    match = _NUMBER.fullmatch(str(text).strip())
    if match is None or not math.isfinite(float(match.group(1))):
        raise ValueError(f"{text!r} is not a number; with unit {unit} write for example {_EXAMPLES[unit]}")
    scales = _SCALES[unit]
    if match.group(2) not in scales:
        written = match.group(2) or "no unit"
        raise ValueError(
            f"{text!r} has {written}, which does not fit unit {unit}; write for example {_EXAMPLES[unit]}"
        )
    number = _scaled(match.group(1), scales[match.group(2)])
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is too large")
    return number


def parse_percentage(text: str) -> float:
    """`150%` is 1.5. Only a percentage will do."""
    match = _NUMBER.fullmatch(text.strip())
    if match is None or match.group(2) != "%" or not math.isfinite(float(match.group(1))):
        raise ValueError(f"{text!r} is not a percentage such as 20%")
    return _scaled(match.group(1), 0.01)


def is_percentage(text: object) -> bool:
    """Whether the text is written as a percentage."""
    return isinstance(text, str) and text.strip().endswith("%")


def parse_hold(text: str) -> Hold:
    """`2 samples` or a duration."""
    counted = _COUNTED.fullmatch(text.strip())
    if counted is None:
        try:
            return Lasting(parse_duration(text))
        except ValueError:
            raise ValueError(
                f"{text!r} is neither a duration such as 1m nor a count such as 2 samples"
            ) from None
    if not counted.group(2).startswith("sample"):
        raise ValueError(f"{text!r} counts failures; a hold counts samples")
    return Samples(_positive(counted.group(1), text))


def parse_samples(text: str) -> int:
    """`3 samples` is 3."""
    return _count(text, "sample")


def parse_failures(text: str) -> int:
    """`3 failures` is 3."""
    return _count(text, "failure")


def parse_rate(text: str) -> tuple[int, timedelta]:
    """`3 per 10m` is 3 and ten minutes."""
    match = _RATE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a rate such as 3 per 10m")
    return int(match.group(1)), parse_duration(match.group(2))


def _scaled(number: str, scale: float) -> float:
    """In decimal: `0.7%` is 0.007, not 0.006999999999999999. Too small to be told from 0 is 0."""
    return float(Decimal(number) * Decimal(str(scale))) if float(number) else 0.0


def _count(text: str, noun: str) -> int:
    match = _COUNTED.fullmatch(text.strip())
    if match is None or not match.group(2).startswith(noun):
        raise ValueError(f"{text!r} is not a count such as 3 {noun}s")
    return _positive(match.group(1), text)


def _positive(number: str, text: str) -> int:
    if int(number) < 1:
        raise ValueError(f"{text!r}: at least 1 is needed")
    return int(number)
