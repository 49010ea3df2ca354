"""What a chart of evidence shows, as a value: samples, thresholds, and what happened meanwhile.

This module must never import a drawing library: the daemon makes pictures, another process draws them.
"""

from __future__ import annotations

from datetime import datetime

import msgspec


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened: a deployment, a switch. `label` is short."""

    at: datetime
    label: str


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """One chart: `points` are (time, value) in the rule's unit, oldest first; a `None` value is a gap.

    `unit` is ratio, seconds, bytes, count or none; a threshold that is `None` is not drawn.
    """

    title: str
    unit: str
    points: tuple[tuple[datetime, float | None], ...]
    warning: float | None = None
    critical: float | None = None
    rollback: float | None = None
    marks: tuple[Mark, ...] = ()
