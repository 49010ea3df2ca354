"""Recordings: everything that happened while a script was played, in order, in words that expectations can name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum

import msgspec


class What(StrEnum):
    """Kinds of happenings; an expectation names one of them."""

    VERDICT = "verdict"  #: a check was judged
    INCIDENT = "incident"  #: one was opened, worsened, acknowledged, closed …
    GUARD = "guard"  #: a guard said no
    ROLLBACK = "rollback"  #: a rollback passed from one state to the next
    SWITCH = "switch"  #: traffic was moved by the watchdog
    NOTIFICATION = "notification"  #: a message went to a channel
    ESCALATION = "escalation"  #: one that went because nobody had acknowledged


#: What can be said of each kind, in the names that a test file uses; every value is a text, a number or a flag.
FIELDS: Mapping[What, tuple[str, ...]] = {
    What.VERDICT: ("service", "rule", "version", "level", "held", "reason", "value"),
    What.INCIDENT: ("service", "state", "level", "severity", "rule", "version", "because"),
    What.GUARD: ("service", "guard", "reason", "version"),
    What.ROLLBACK: ("service", "state", "from", "to", "rule", "automatic", "because"),
    What.SWITCH: ("service", "from", "to"),
    What.NOTIFICATION: ("service", "kind", "severity", "channel", "rule"),
    What.ESCALATION: ("service", "step", "channel", "severity"),
}


class Happening(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened, at an offset from the begin. `facts` has the fields of its kind, as far as known."""

    at: timedelta
    what: What
    facts: Mapping[str, str | float | bool]


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """All happenings of one script, in the order in which they happened."""

    script: str
    happenings: tuple[Happening, ...]

    def of(self, what: What) -> tuple[Happening, ...]:
        """Those of one kind."""
        return tuple(one for one in self.happenings if one.what is what)
