"""Coverage: which rules and levels no test ever reached. Pure; this module must never judge a test."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from watchdog.core.rule import BREACH_LEVELS, Level, Rule
from watchdog.lab.recording import Recording, What


def levels_of(rule: Rule) -> tuple[Level, ...]:
    """The levels that a rule can reach, mildest first."""
    limits = rule.thresholds if rule.baseline is None else rule.baseline.margins
    return tuple(level for level in BREACH_LEVELS if limits.of(level) is not None)


def reached(recordings: Iterable[Recording]) -> frozenset[tuple[str, str]]:
    """Every rule with every level of which a verdict was given."""
    return frozenset(
        (str(happening.facts["rule"]), str(happening.facts["level"]))
        for recording in recordings
        for happening in recording.of(What.VERDICT)
    )


def unreached(rules: Mapping[str, Rule], seen: frozenset[tuple[str, str]]) -> dict[str, tuple[Level, ...]]:
    """The levels of each rule that were never given, by the rule's name; rules that miss none are left out."""
    missing = {
        name: tuple(level for level in levels_of(rule) if (name, level.value) not in seen)
        for name, rule in sorted(rules.items())
    }
    return {name: levels for name, levels in missing.items() if levels}
