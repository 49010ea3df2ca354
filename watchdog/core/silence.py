"""Silences: for a while, people do not want to hear of one thing. It is watched, recorded and rolled back as ever.

Pure values; `watchdog.core.silencing` applies them. A silence always has an end, and this module must never let one
hold back what is told of rollbacks, limits, the store or the channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from watchdog.core.clockstep import ahead
from watchdog.core.message import MessageKind
from watchdog.core.rule import Severity

#: No silence is longer: what is forgotten must come back by itself.
LONGEST = timedelta(days=30)
#: What a silence can be about, beside `label.NAME`.
NAMES = ("service", "environment", "severity", "rule", "source", "version", "incident")
#: The beginning of the name of a service's label.
LABEL = "label."
#: What can be silenced. Everything else is about traffic that moved or could not, or about the watchdog itself.
SILENCED = frozenset(
    {
        MessageKind.INCIDENT_OPENED,
        MessageKind.INCIDENT_WORSENED,
        MessageKind.INCIDENT_ACKNOWLEDGED,
        MessageKind.INCIDENT_CLOSED,
    }
)


class Silence(msgspec.Struct, frozen=True, kw_only=True):
    """One silence: every matcher must be equal. `held_back` counts messages that nobody got because of it.

    `ended_by` is who ended it early; empty when its time was over.
    """

    id: str
    matchers: dict[str, str]
    by: str
    created_at: datetime
    ends_at: datetime
    reason: str
    held_back: int = 0
    ended_at: datetime | None = None
    ended_by: str = ""

    def holds(self, now: datetime) -> bool:
        """Whether it is in force. One made by a clock that was set back since is over: its end means nothing."""
        return self.ended_at is None and now < self.ends_at and not ahead(self.created_at, now)


def covering(
    silences: Iterable[Silence], labels: Mapping[str, str], rules: frozenset[str], *, now: datetime
) -> tuple[Silence, ...]:
    """The silences that together cover something with these labels and rules; none when a part of it is not covered.

    A silence of one rule covers that rule alone: an incident is silent when each of its rules is.
    """
    fitting = [one for one in silences if one.holds(now) and _fits(one, labels)]
    whole = [one for one in fitting if "rule" not in one.matchers]
    if whole:
        return (whole[0],)
    found = {one.matchers["rule"]: one for one in reversed(fitting)}
    if not rules or not rules <= set(found):
        return ()
    return tuple(found[rule] for rule in sorted(rules))


def _fits(silence: Silence, labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == wanted for name, wanted in silence.matchers.items() if name != "rule")


def problem(
    matchers: Mapping[str, str], *, reason: str, ends_at: datetime | None, now: datetime
) -> tuple[str, str] | None:
    """What is wrong with a silence somebody wants: the key, and a sentence."""
    if not matchers:
        return "matchers", "name at least one: a silence of everything is none that anybody should have"
    for name, value in matchers.items():
        if name not in NAMES and not (name.startswith(LABEL) and len(name) > len(LABEL)):
            return f"matchers/{name}", f"is not known; known are {', '.join(NAMES)} and label.NAME"
        if name == "severity" and value not in list(Severity):
            return f"matchers/{name}", f"is none of {', '.join(Severity)}"
    if not reason:
        return "reason", "must not be empty: say why nobody needs to hear of it"
    if ends_at is None:
        return "ends_at", "is required (or for_seconds): a silence has an end"
    if ends_at <= now:
        return "ends_at", "is over already"
    if ends_at - now > LONGEST:
        return "ends_at", f"is more than {LONGEST.days} days away, which is the longest silence"
    return None
