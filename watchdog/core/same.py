"""Whether a changed rule still asks and judges as before: then what its checks remember is still true.

A new summary or runbook is no reason to forget a breach that was nearly held. This module must never call two rules
the same that could judge one sample differently.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from msgspec.structs import replace

from watchdog.core.rule import Holds, Rule, Severities, Thresholds

#: What says how often, to whom and in which words, but not what; each with one value to compare the rest by.
_WORDS: dict[str, Any] = {
    "summary": "",
    "interval": timedelta(),
    "tags": (),
    "runbook": None,
    "dashboard": None,
    "severity": Severities(),
    "blind_after": timedelta(),
}
#: What decides which level an answer means, and from when on; but not what is asked.
_LIMITS: dict[str, Any] = {
    "hold": Holds(),
    "clear": 1,
    "max_age": None,
    "thresholds": Thresholds(),
    "evidence": None,
}


def same_judgement(before: Rule, after: Rule) -> bool:
    """Whether one rule makes the same of the same answers as the other."""
    return before == after or replace(before, **_WORDS) == replace(after, **_WORDS)


def same_question(before: Rule, after: Rule) -> bool:
    """Whether the same is asked, whatever is called critical.

    Then what was known before a deployment is still known (`not_already_bad`), by the limits of that time.
    """
    return replace(before, **_WORDS, **_LIMITS) == replace(after, **_WORDS, **_LIMITS)
