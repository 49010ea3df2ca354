"""Charts of a report: one measurement over time as inline SVG, with thresholds, incidents, silences and deployments.

A month has more samples than a screen has columns: of each column the smallest and the largest value are drawn, so
that no spike is lost. This module must never draw outside of its frame, and never load anything.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from html import escape

import numpy as np

from watchdog.core.quantity import format_quantity
from watchdog.core.rule import BREACH_LEVELS, Unit
from watchdog.lab.backtest import Checked, compared
from watchdog.lab.track import Floats

WIDTH, HEIGHT = 960, 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 12, 10, 22
_INNER, _TALL = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM
#: Values beyond so many times the worst threshold are cut off, or they would make a line of all others.
_CUT = 5.0
_TICKS = 6


class _Frame:
    """Where things lie: seconds and values to points."""

    def __init__(self, checked: Checked, values: Floats, limits: list[float]) -> None:
        self.begin, self.end = checked.since, max(checked.until, checked.since + 1)
        finite = values[np.isfinite(values)]
        known = [float(finite.min()), float(finite.max()), *limits] if len(finite) else [1.0, *limits]
        low, high = min(0.0, *known), max(known)
        self.cut = False
        if limits and max(limits) > 0 and high > _CUT * max(limits):
            high, self.cut = _CUT * max(limits), True
        self.low, self.high = low, high if high > low else low + 1

    def x(self, moment: float) -> float:
        share = (moment - self.begin) / (self.end - self.begin)
        return round(_LEFT + min(max(share, 0.0), 1.0) * _INNER, 1)

    def y(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(HEIGHT - _BOTTOM - min(max(share, 0.0), 1.0) * _TALL, 1)


def chart(checked: Checked) -> str:
    """The chart of one check."""
    rule = checked.subject.rule
    shown = [(one.judged.times, compared(rule, one)) for one in checked.subject.stretches if len(one.judged)]
    limits = [(level, limit) for level in BREACH_LEVELS if (limit := rule.thresholds.of(level)) is not None]
    frame = _Frame(checked, np.concatenate([values for _, values in shown]), [limit for _, limit in limits])
    unit = rule.unit if rule.slo is None else Unit.TIMES
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(_title(checked))}">',
        f'<rect class="frame" x="{_LEFT}" y="{_TOP}" width="{_INNER}" height="{_TALL}"/>',
        *_shades(checked, frame),
        *_axes(frame, unit),
        *(f'<polyline class="values" points="{line}"/>' for one in shown for line in _lines(frame, *one)),
        *(
            f'<line class="limit {level.value}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
            f'y1="{frame.y(limit)}" y2="{frame.y(limit)}"><title>{level.value} '
            f"{escape(format_quantity(limit, unit))}</title></line>"
            for level, limit in limits
        ),
        *_deployments(checked, frame),
        "</svg>",
    ]
    return "\n".join(parts)


def _title(checked: Checked) -> str:
    return f"{checked.subject.rule.name} on {checked.subject.service} over time"


def _lines(frame: _Frame, times: Floats, values: Floats) -> Iterator[str]:
    """The values, column by column; a column without any is a gap."""
    columns = _INNER
    column = ((times - frame.begin) / (frame.end - frame.begin) * columns).astype(np.int64)
    known = np.isfinite(values)
    column, values = column[known], values[known]
    starts = np.flatnonzero(np.append(True, np.diff(column) != 0)) if len(column) else np.empty(0, np.int64)
    if not len(starts):
        return
    low, high = np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)
    # Samples may be further apart than columns; what is missing shows as a gap twice as wide as usual.
    places = column[starts]
    usual = float(np.median(np.diff(places))) if len(places) > 1 else 1.0
    points: list[str] = []
    before: int | None = None
    for place, least, most in zip(places.tolist(), low.tolist(), high.tolist(), strict=True):
        if before is not None and place - before > 2 * usual + 1 and points:
            yield " ".join(points)
            points = []
        x = _LEFT + place
        points += (
            [f"{x},{frame.y(most)}"] if least == most else [f"{x},{frame.y(least)}", f"{x},{frame.y(most)}"]
        )
        before = place
    yield " ".join(points)


def _shades(checked: Checked, frame: _Frame) -> Iterator[str]:
    for silence in checked.blind:
        yield _shade(frame, "blind", silence.began, silence.ended, f"blind: {silence.reason}")
    for incident in checked.incidents:
        ended = checked.until if incident.ended is None else incident.ended
        yield _shade(frame, incident.level.value, incident.began, ended, incident.level.value)
        if incident.rolled_back is not None:
            x = frame.x(incident.rolled_back)
            yield f'<path class="rolled" d="M{x - 4},{_TOP} h8 l-4,8 z"><title>would roll back</title></path>'


def _shade(frame: _Frame, kind: str, began: float, ended: float, told: str) -> str:
    left = frame.x(began)
    width = max(frame.x(ended) - left, 1.5)
    when = f"{_clock(began)} to {_clock(ended)}"
    return (
        f'<rect class="shade {kind}" x="{left}" y="{_TOP}" width="{round(width, 1)}" '
        f'height="{_TALL}"><title>{escape(told)}, {when}</title></rect>'
    )


def _deployments(checked: Checked, frame: _Frame) -> Iterator[str]:
    for moment in checked.subject.deployments or ():
        if frame.begin <= moment <= frame.end:
            x = frame.x(moment)
            yield (
                f'<line class="deployed" x1="{x}" x2="{x}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}">'
                f"<title>deployed {_clock(moment)}</title></line>"
            )


def _axes(frame: _Frame, unit: Unit) -> Iterator[str]:
    for share in (0.0, 0.5, 1.0):
        value = frame.low + share * (frame.high - frame.low)
        mark = "≥ " if frame.cut and share == 1.0 else ""
        yield (
            f'<text class="tick" x="{_LEFT - 6}" y="{frame.y(value) + 4}" text-anchor="end">'
            f"{mark}{escape(format_quantity(value, unit))}</text>"
        )
    for number in range(_TICKS):
        moment = frame.begin + (frame.end - frame.begin) * number / (_TICKS - 1)
        anchor = "start" if number == 0 else "end" if number == _TICKS - 1 else "middle"
        yield (
            f'<text class="tick" x="{frame.x(moment)}" y="{HEIGHT - 6}" text-anchor="{anchor}">'
            f"{_clock(moment)}</text>"
        )


def _clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M")
