"""Findings: what the doctor says of one thing it looked at.

This module must never look at anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Health(StrEnum):
    """How a finding is meant."""

    OK = "ok"
    WARN = "warn"  #: works, but not as somebody may expect
    BAD = "bad"  #: will not work


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. `advice` says what to do, where there is something to do."""

    what: str
    health: Health
    detail: str
    advice: str = ""


def worst(findings: Iterable[Finding]) -> Health:
    """The worst of several findings."""
    order = (Health.OK, Health.WARN, Health.BAD)
    return max((finding.health for finding in findings), key=order.index, default=Health.OK)
