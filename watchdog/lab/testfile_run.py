"""Running tests of rules: every test of a file played and judged, with what came of it.

This module must never print, and never judge otherwise than `watchdog.lab.expectations` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from watchdog.config.loaded import Problem
from watchdog.config.problems import InvalidConfiguration
from watchdog.core.rule import Level, Rule
from watchdog.lab.coverage import levels_of, reached, unreached
from watchdog.lab.expectations import Failed, judge
from watchdog.lab.play import play
from watchdog.lab.recording import Recording
from watchdog.lab.testfile import Case, Suite, read_suite


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One test after it was played: `failed` says what was not as expected, `seconds` how long playing took."""

    case: Case
    recording: Recording
    failed: tuple[Failed, ...]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything was as expected."""
        return not self.failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """One file: its tests' outcomes, or the mistakes for which none was played."""

    path: Path
    problems: tuple[Problem, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    rules: Mapping[str, Rule] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there are neither mistakes nor failures."""
        return not self.problems and all(one.ok for one in self.outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Covered:
    """What all tests reached together: `missing` are rules with levels that none did, `levels` counts all there are."""

    missing: tuple[tuple[str, tuple[Level, ...]], ...]
    levels: int
    rules: int

    @property
    def reached(self) -> int:
        """How many levels a test reached."""
        return self.levels - sum(len(levels) for _, levels in self.missing)


def run(
    path: Path,
    *,
    environ: Mapping[str, str],
    timer: Callable[[], float],
    only: str = "",
) -> Ran:
    """Play the tests of a file whose names contain `only`, in any case. `timer` counts seconds.

    Never raises for what stands in the file.
    """
    try:
        suite = read_suite(path, environ=environ)
    except InvalidConfiguration as invalid:
        return Ran(path=path, problems=invalid.problems)
    return Ran(path=path, outcomes=tuple(_played(suite, only, timer)), rules=suite.rules)


def covered(ran: Sequence[Ran]) -> Covered:
    """What the tests of several files reached. Rules of one name are one rule when they are the same."""
    missing: list[tuple[str, tuple[Level, ...]]] = []
    levels = rules = 0
    for group in _by_rules(ran):
        seen = reached(outcome.recording for one in group for outcome in one.outcomes)
        known = group[0].rules
        levels += sum(len(levels_of(rule)) for rule in known.values())
        rules += len(known)
        missing += unreached(known, seen).items()
    return Covered(missing=tuple(missing), levels=levels, rules=rules)


def _by_rules(ran: Sequence[Ran]) -> list[list[Ran]]:
    """Files that test the same rules, together."""
    groups: dict[tuple[tuple[str, str], ...], list[Ran]] = {}
    for one in ran:
        key = tuple(sorted((name, rule.hash) for name, rule in one.rules.items()))
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _played(suite: Suite, only: str, timer: Callable[[], float]) -> Iterator[Outcome]:
    for case in suite.cases:
        if only.casefold() in case.name.casefold():
            begun = timer()
            recording = play(case.script)
            failed = judge(case.expectations, recording, strict=case.strict)
            yield Outcome(case=case, recording=recording, failed=failed, seconds=timer() - begun)
