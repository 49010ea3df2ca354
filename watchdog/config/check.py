"""What `watchdog check` says: every mistake and every note of a configuration, and what it amounts to.

This module must never reach a source, a switch or a channel; that is `watchdog doctor`'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from watchdog.config.arming import remarks
from watchdog.config.load import InvalidConfiguration, Registries, load
from watchdog.config.loaded import Configuration, Problem
from watchdog.config.problems import in_order


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Counts for people. `armed_rules` have a rollback threshold and a service that uses them."""

    rules: int
    armed_rules: int
    services: int
    sources: int
    channels: int
    routes: int
    escalations: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The outcome. `summary` is there only when there are no `problems`."""

    problems: tuple[Problem, ...] = ()
    notes: tuple[Problem, ...] = ()
    summary: Summary | None = None

    @property
    def ok(self) -> bool:
        """Whether the daemon would start with it."""
        return not self.problems


def check(
    path: Path,
    environ: Mapping[str, str],
    *,
    registries: Registries | None = None,
    now: datetime | None = None,
) -> Checked:
    """Load the configuration at `path` and say what was found. Never raises for a user's mistake.

    Without `now`, no record of a back-test is too old.
    """
    try:
        configuration = load(path, environ=environ, registries=registries)
    except InvalidConfiguration as invalid:
        return Checked(problems=invalid.problems, notes=invalid.notes)
    notes = in_order([*configuration.notes, *remarks(configuration, now)])
    return Checked(notes=notes, summary=_summary(configuration))


def _summary(configuration: Configuration) -> Summary:
    used = {name for entry in configuration.services.values() for name in entry.service.rules}
    return Summary(
        rules=len(configuration.rules),
        armed_rules=sum(configuration.rules[name].can_roll_back for name in used),
        services=len(configuration.services),
        sources=len(configuration.sources),
        channels=len(configuration.channels),
        routes=len(configuration.routes),
        escalations=len(configuration.escalations),
    )
