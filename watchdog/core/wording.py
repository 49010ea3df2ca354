"""How messages are worded wherever they come from: moments, numbers, the facts of a breach, commands to copy.

This module must never decide who is told, and never put text from outside into a command where a shell would read it
as more than one word.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from watchdog.core.check import CheckId
from watchdog.core.incident import Breach, Incident
from watchdog.core.message import Evidence, Message
from watchdog.core.quantity import format_quantity
from watchdog.core.rule import Level, Rule, Unit, rank

Facts = tuple[tuple[str, str], ...]

#: A level as it stands behind `is` in a headline.
LEVELS: Mapping[Level, str] = {
    Level.WARNING: "in a warning state",
    Level.CRITICAL: "critical",
    Level.ROLLBACK: "bad enough to be rolled back",
}


def number(value: float | None, unit: Unit) -> str:
    """A value in its rule's unit, short."""
    return "no value" if value is None else format_quantity(value, unit)


def clock(moment: datetime) -> str:
    """A moment as people read it."""
    return moment.strftime("%Y-%m-%d %H:%M:%S UTC")


def digest(text: str) -> str:
    """A few letters that tell texts apart, for keys."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:8]


def word(text: str) -> str:
    """A name as one word of a command: what comes from outside is quoted where a shell would see more in it."""
    return shlex.quote(" ".join(text.split()))


def limit_of(breach: Breach) -> float | None:
    """What the value was measured against."""
    return breach.limit if breach.limit is not None else breach.rule.thresholds.of(breach.level)


def breach_facts(incident: Incident) -> Facts:
    """A line for each rule of an incident."""
    lines: list[tuple[str, str]] = []
    for breach in incident.breaches.values():
        state = "over" if breach.over else str(breach.level)
        limit = limit_of(breach)
        shown = number(breach.value, breach.rule.unit)
        beyond = f" (limit {number(limit, breach.rule.unit)})" if limit is not None else ""
        text = f"{state}, {shown}{beyond} since {clock(breach.since)}"
        lines.append((breach.rule.name, f"{text}: {breach.reason}" if breach.reason else text))
    return tuple(lines)


def evidence_of(incident: Incident | None, *, now_over: bool = False) -> Evidence | None:
    """The numbers of an incident's worst breach that is not over; with `now_over`, else of its worst."""
    if incident is None:
        return None
    open_ones = {key: one for key, one in incident.breaches.items() if not one.over}
    found = open_ones or (incident.breaches if now_over else {})
    if not found:
        return None
    key, worst = max(found.items(), key=lambda one: (rank(one[1].level), -one[1].since.timestamp()))
    thresholds = worst.rule.thresholds
    return Evidence(
        check=_check_of(key, incident.subject, worst),
        unit=worst.rule.unit,
        direction=worst.rule.direction,
        level=worst.level,
        since=worst.since,
        value=worst.value,
        limit=limit_of(worst),
        warning=thresholds.warning,
        critical=thresholds.critical,
        rollback=thresholds.rollback,
    )


def _check_of(key: str, service: str, breach: Breach) -> CheckId:
    """The check whose text is `key` (`CheckId.__str__`)."""
    own = CheckId(service=service, rule=breach.rule.name, version=breach.version)
    if key == str(own):
        return own
    variant = key.removeprefix(f"{own}/")
    if breach.version and variant != key:
        return CheckId(
            service=service, rule=breach.rule.name, version=breach.version, variant=variant, by_variant=True
        )
    return CheckId(service=service, rule=breach.rule.name)


def explaining(identity: str | None) -> str:
    """The command that shows why something was decided."""
    return f"watchdog explain {identity}" if identity else ""


def runbook_of(rules: tuple[Rule, ...]) -> str | None:
    """What to read: the first of these rules that says so."""
    return next((rule.runbook for rule in rules if rule.runbook), None)


def dashboard_of(rules: tuple[Rule, ...]) -> str | None:
    """What to look at: the first of these rules that says so."""
    return next((rule.dashboard for rule in rules if rule.dashboard), None)


def linked(message: Message, url: str | None) -> Message:
    """The message with the watchdog's own dashboard at `url`, where it has no other address to look at."""
    if not url or message.dashboard:
        return message
    at = f"#incident={message.incident}" if message.incident else ""
    return replace(message, dashboard=f"{url.rstrip('/')}/{at}")


def rules_of(incident: Incident) -> tuple[Rule, ...]:
    """The rules of an incident, the worst that is not over first."""
    found = sorted(incident.breaches.values(), key=lambda one: (one.over, -rank(one.level)))
    return tuple(one.rule for one in found)
