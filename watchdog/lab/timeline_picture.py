"""A played test as a small chart for a terminal: what was measured over time, and beneath it what happened when.

Values in, text out: spans of text with the name of a style, which whoever prints them may leave out. This module must
never print.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from watchdog.core.quantity import format_quantity
from watchdog.core.rule import BREACH_LEVELS, Direction, Level, Rule
from watchdog.core.units import format_duration
from watchdog.lab.recording import Recording
from watchdog.lab.script import Feed, Sample, Script
from watchdog.lab.timeline_words import NARROWEST, happened

#: Text with the name of its style; empty for none.
Span = tuple[str, str]
#: One line of the picture.
Line = list[Span]

#: Rows of a chart, columns beside it, and how many series are drawn.
_HEIGHT, _LEFT, _RIGHT, _CHARTS = 6, 9, 24, 4
#: At most so many times stand beneath a chart, so far apart.
_TICKS = 5
_APART = tuple(
    timedelta(seconds=one)
    for one in (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 21600, 43200, 86400, 172800, 604800)
)
#: So many lines of happenings are shown.
_LINES = 40
_STYLES = {Level.WARNING: "yellow", Level.CRITICAL: "red", Level.ROLLBACK: "bold red"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Strokes:
    """What charts are drawn with: eighths of a column's top, a threshold, no data, a failed question, and an event."""

    eighths: str = " ▁▂▃▄▅▆▇█"
    line: str = "╌"
    none: str = "·"
    error: str = "!"
    event: str = "▲"
    edge: str = "│"
    more: str = "…"


PLAIN = Strokes(eighths=" ..::++##", line="-", none="_", error="!", event="^", edge="|", more="~")


def picture(
    script: Script,
    recording: Recording,
    *,
    width: int,
    first: Sequence[str] = (),
    strokes: Strokes | None = None,
) -> list[Line]:
    """The chart of every series (those of rules in `first` before others) and everything that happened."""
    strokes = strokes or Strokes()
    width = max(width, NARROWEST)
    ordered = sorted(script.feeds, key=lambda feed: feed.rule not in first)
    lines: list[Line] = []
    for feed in ordered[:_CHARTS]:
        lines += _chart(feed, script, width, strokes)
    if len(ordered) > _CHARTS:
        lines.append([(f"… and {len(ordered) - _CHARTS} more series", "dim")])
    if ordered:
        lines += _axis(script, width, strokes)
    told = list(happened(script, recording, width))
    lines += told[:_LINES]
    if len(told) > _LINES:
        lines.append([(f"  … and {len(told) - _LINES} more lines; --json has everything", "dim")])
    return lines


def _chart(feed: Feed, script: Script, width: int, strokes: Strokes) -> Iterator[Line]:
    """One series: its name, then its columns, a row each from the top."""
    rule = script.rules[feed.rule]
    service = f"{feed.service}/" if len(script.services) > 1 else ""
    yield [(f"{service}{feed.rule}{'@' if feed.version else ''}{feed.version}", "bold")]
    columns = _columns(feed, rule, script.until, _room(width))
    if rule.is_probe:
        marks = "".join(_pulse(sample, strokes) for sample in columns)
        yield [(" " * _LEFT + strokes.edge + marks.rstrip(), "")]
        return
    limits = _limits(rule)
    values = [one.value for one in columns if one is not None and one.value is not None]
    top = max([*values, *(limit for limit, _ in limits)], default=1.0)
    low = min([0.0, *values, *(limit for limit, _ in limits)])
    scale = _Scale(low=low, top=top if top > low else low + 1)
    for row in range(_HEIGHT):
        yield _row(row, columns, limits, scale, rule, strokes)


def _room(width: int) -> int:
    """How many columns are left beside the numbers and the names of thresholds."""
    return width - _LEFT - 1 - _RIGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Scale:
    low: float
    top: float

    def eighths(self, value: float) -> int:
        """How high a value stands, in eighths of a row, from the bottom."""
        return round((value - self.low) / (self.top - self.low) * _HEIGHT * 8)

    def row(self, value: float) -> int:
        """The row of a value, 0 at the top."""
        return min(_HEIGHT - 1, _HEIGHT - 1 - (self.eighths(value) - 1) // 8)


def _row(
    row: int,
    columns: Sequence[Sample | None],
    limits: Sequence[tuple[float, Level]],
    scale: _Scale,
    rule: Rule,
    strokes: Strokes,
) -> Line:
    here = [(limit, level) for limit, level in limits if scale.row(limit) == row]
    blank = strokes.line if here else " "
    label = {0: scale.top, _HEIGHT - 1: scale.low}.get(row)
    left = "" if label is None else format_quantity(label, rule.unit)
    marks = "".join(_mark(sample, row, scale, blank, strokes) for sample in columns)
    words = ", ".join(f"{level} {format_quantity(limit, rule.unit)}" for limit, level in reversed(here))
    line: Line = [(f"{left[: _LEFT - 1]:>{_LEFT - 1}} {strokes.edge}", "dim"), (marks, "")]
    if here:
        words = words if len(words) < _RIGHT else words[: _RIGHT - 2] + strokes.more
        line.append((f" {words}", _STYLES[max((level for _, level in here), key=BREACH_LEVELS.index)]))
    return line if here else [line[0], (marks.rstrip(), "")]


def _mark(sample: Sample | None, row: int, scale: _Scale, blank: str, strokes: Strokes) -> str:
    if sample is None:
        return blank
    if sample.value is None:
        lowest = row == _HEIGHT - 1
        return (strokes.error if sample.failed else strokes.none) if lowest else blank
    filled = min(max(scale.eighths(sample.value) - (_HEIGHT - 1 - row) * 8, 0), 8)
    if row == _HEIGHT - 1:
        filled = max(filled, 1)  # a value that is there is seen
    mark = strokes.eighths[filled]
    return blank if mark == " " else mark


def _pulse(sample: Sample | None, strokes: Strokes) -> str:
    if sample is None:
        return " "
    if sample.value is None:
        return strokes.error if sample.failed else strokes.none
    return strokes.eighths[8] if sample.value else "x"


def _limits(rule: Rule) -> list[tuple[float, Level]]:
    """The thresholds that can be drawn: a baseline's move with the reference, an slo's are no values of the series."""
    if rule.baseline is not None or rule.slo is not None or rule.is_probe:
        return []
    found = ((rule.thresholds.of(level), level) for level in BREACH_LEVELS)
    return [(limit, level) for limit, level in found if limit is not None]


def _columns(feed: Feed, rule: Rule, until: timedelta, count: int) -> list[Sample | None]:
    """The worst sample of each column's stretch of time; a sample lasts until the next one should come."""
    columns: list[Sample | None] = [None] * count
    steps = [b.at - a.at for a, b in zip(feed.samples, feed.samples[1:], strict=False)]
    spacing = min((step for step in steps if step), default=rule.interval)
    whole = max(until, timedelta(microseconds=1))
    for sample in feed.samples:
        if sample.at > until:
            break
        begin = int(sample.at / whole * count)
        end = max(int((sample.at + spacing) / whole * count), begin + 1)
        for column in range(min(begin, count - 1), min(end, count)):
            columns[column] = _worse(columns[column], sample, rule)
    return columns


def _worse(one: Sample | None, other: Sample, rule: Rule) -> Sample:
    if one is None or one.value is None:
        return other if one is None or other.value is not None else one
    if other.value is None:
        return one
    lower = rule.is_probe or rule.direction is Direction.BELOW
    return min(one, other, key=_value) if lower else max(one, other, key=_value)


def _value(sample: Sample) -> float:
    return 0.0 if sample.value is None else sample.value


def _axis(script: Script, width: int, strokes: Strokes) -> Iterator[Line]:
    """Where events stand, and the time."""
    count = _room(width)
    whole = max(script.until, timedelta(microseconds=1))
    marks = [" "] * count
    for planned in script.events:
        if timedelta() < planned.at <= script.until:
            marks[min(int(planned.at / whole * count), count - 1)] = strokes.event
    if any(mark != " " for mark in marks):
        yield [(" " * _LEFT + strokes.edge, "dim"), ("".join(marks).rstrip(), "cyan")]
    apart = next((one for one in _APART if whole <= one * _TICKS), whole)
    ticks = [" "] * (count + _RIGHT)
    for number in range(int(whole / apart) + 1):
        label = format_duration(number * apart)
        column = int(number * apart / whole * count)
        ticks[column : column + len(label)] = label
    yield [(" " * (_LEFT + 1) + "".join(ticks).rstrip(), "dim")]


def plain(lines: Sequence[Line]) -> str:
    """The picture without styles."""
    return "\n".join("".join(text for text, _ in line).rstrip() for line in lines)
