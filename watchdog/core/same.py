"""Whether a changed rule still asks and judges as before: then what its checks remember is still true.

A new summary or runbook is no reason to forget a breach that was nearly held. This module must never call two rules
the same that could judge one sample differently.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from watchdog.core.rule import Direction, Holds, Rule, Severities, Thresholds

#: What says how often, to whom and in which words, but not what; each with one value to compare the rest by.
_WORDS: dict[str, Any] = {
    "summary": "",
    "interval": timedelta(),
    "tags": (),
    "runbook": None,
    "severity": Severities(),
    "blind_after": timedelta(),
}
#: What decides when a level counts, but not which level one sample shows.
_HOLDING: dict[str, Any] = {"hold": Holds(), "clear": 1, "max_age": None, "thresholds": Thresholds()}


def same_judgement(before: Rule, after: Rule) -> bool:
    """Whether one rule makes the same of the same answers as the other."""
    return before == after or replace(before, **_WORDS) == replace(after, **_WORDS)


def speaks_for(before: Rule, after: Rule) -> bool:
    """Whether a sample that was below critical by the first rule is so by the second, too.

    That is what `not_already_bad` wants to know of the time before a deployment.
    """
    if same_judgement(before, after):
        return True
    if replace(before, **_WORDS, **_HOLDING) != replace(after, **_WORDS, **_HOLDING):
        return False
    was, now = before.thresholds.critical, after.thresholds.critical
    if now is None or was is None:
        return now is was
    return now >= was if after.direction is Direction.ABOVE else now <= was
