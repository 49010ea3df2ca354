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
    DEPLOYMENT = "deployment"  #: one became known, or passed from one state to the next
    NOTIFICATION = "notification"  #: a message went to a channel
    ESCALATION = "escalation"  #: one that went because nobody had acknowledged
    REPLY = "reply"  #: a request was answered


class Change(StrEnum):
    """What became of an incident: its `state` in a happening."""

    OPENED = "opened"
    WORSENED = "worsened"  #: another rule, or a worse level
    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"  #: given back, or the acknowledgement ended
    CLOSED = "closed"


#: What can be said of each kind, in the names that a test file uses; every value is a text, a number or a flag.
#:
#: * `level` of a verdict is that of this sample, `held` the worst whose hold is met, `fresh` whether it was a new one.
#: * `kind` of an incident is `breach`, `blind`, `source`, `switch`, `unready` or `storm`; of one of a source, `service`
#:   is the source.
#: * `when` a guard said no: `decision` or `write`; `by` is empty unless it said so to a person.
#: * `from` and `to` are versions, `variant` is where the traffic went.
#: * `step` of an escalation is 1 for who is told first; `repeat` is true for the same people told again.
#: * `status` of a reply is an HTTP status.
FIELDS: Mapping[What, tuple[str, ...]] = {
    What.VERDICT: ("service", "rule", "version", "level", "held", "reason", "value", "fresh", "because"),
    What.INCIDENT: ("service", "kind", "state", "level", "severity", "rule", "version", "because"),
    What.GUARD: ("service", "guard", "reason", "version", "when", "by", "because"),
    What.ROLLBACK: ("service", "state", "from", "to", "rule", "automatic", "because"),
    What.SWITCH: ("service", "from", "to", "variant"),
    What.DEPLOYMENT: ("service", "version", "variant", "state", "because"),
    What.NOTIFICATION: ("service", "kind", "severity", "channel", "rule", "headline"),
    What.ESCALATION: ("service", "step", "channel", "severity", "repeat"),
    What.REPLY: ("service", "request", "status", "because"),
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
