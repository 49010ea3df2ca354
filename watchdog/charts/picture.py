"""What a chart of evidence shows, as a value: samples, thresholds, and what happened meanwhile.

This module must never import a drawing library: the daemon makes pictures, another process draws them.
"""

from __future__ import annotations

import importlib.util
import math
from datetime import UTC, datetime, timedelta

import msgspec

from watchdog.core.rule import Direction, Unit

#: The largest chart in bytes: what every channel takes, and a mail bears.
LARGEST = 256 * 1024
#: The width and the height of a chart in points; it is drawn with twice as many pixels, for fine screens.
WIDTH, HEIGHT = 720, 320


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: a deployment, a switch. `label` is short."""

    at: datetime
    label: str


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """One chart: `points` are (time, value) in the rule's unit, oldest first; a `None` value is a gap.

    `unit` is that of the rule; a threshold that is `None` is not drawn. `direction` says which side of a threshold is
    the bad one.
    """

    title: str
    unit: Unit
    points: tuple[tuple[datetime, float | None], ...]
    direction: Direction = Direction.ABOVE
    warning: float | None = None
    critical: float | None = None
    rollback: float | None = None
    marks: tuple[Mark, ...] = ()


def how_to_install() -> str | None:
    """How charts can be had; `None` when what draws them is installed. Imports nothing of it."""
    if importlib.util.find_spec("matplotlib") is not None:
        return None
    return "install the extra: pip install 'rollback-watchdog[charts]'"


def sample(now: datetime = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)) -> Picture:
    """What a chart looks like: a bad deployment eight minutes ago, and the switch back two minutes ago. Made up."""
    points = list[tuple[datetime, float | None]]()
    for step in range(121):
        before = (120 - step) / 2
        noise = 0.0018 * math.sin(step * 1.7) + 0.0011 * math.sin(step * 4.1)
        bad = (
            0.0
            if not 1.5 < before < 8
            else 0.036 * min(1.0, (8 - before) / 1.5) * min(1.0, (before - 1) / 1.0)
        )
        gap = 30 < before < 33
        points.append((now - timedelta(minutes=before), None if gap else max(0.0, 0.004 + noise + bad)))
    return Picture(
        title="trips · error-rate · v2",
        unit=Unit.RATIO,
        points=tuple(points),
        warning=0.01,
        critical=0.02,
        rollback=0.03,
        marks=(
            Mark(at=now - timedelta(minutes=8), label="v2 deployed"),
            Mark(at=now - timedelta(minutes=2), label="back to v1"),
        ),
    )
