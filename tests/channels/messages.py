"""Messages for the tests of channels: a usual one, and the awkward ones that come from outside."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity

USUAL = Message(
    key="incident/i-1/opened",
    kind=MessageKind.INCIDENT_OPENED,
    severity=Severity.CRITICAL,
    headline="trips: error-rate is 21% (rollback above 1.5%); traffic goes back to v1.4.1",
    created_at=datetime(2026, 1, 1, 12, 30, 5, 250_000, tzinfo=UTC),
    service="trips",
    environment="production",
    version="v1.4.2",
    labels={"team": "booking"},
    incident="i-1",
    rollback="r-1",
    facts=(("error-rate", "21%, held for 2 samples"), ("guards", "all allow")),
    next_step="Nothing to do now; look at why v1.4.2 fails.",
    needs_human=False,
    runbook="https://runbooks.example.com/error-rate",
    audit_head="ab" * 32,
)


def message(**changes: Any) -> Message:
    return msgspec.structs.replace(USUAL, **changes)


AWKWARD = {
    "empty": Message(
        key="k", kind=MessageKind.PAUSED, severity=Severity.LOW, headline="", created_at=USUAL.created_at
    ),
    "very long": message(
        headline="x" * 10_000, facts=(("y" * 10_000, "z" * 10_000),), next_step="n" * 10_000
    ),
    "long key": message(key="k" * 10_000),
    "emoji": message(headline="💥 trips 👨‍👩‍👧 naïve 漢字", facts=(("🔥", "ok ✅"),), service="träffic"),
    "controls": message(
        headline="two\r\nlines\x00\x1b[31m\u2028\u202e",
        facts=(("a\nb", "c\r\nd\x07"),),
        version="v\n1",
        key="k\r\nX: y",
    ),
    "half an emoji": message(headline="cut \ud83d here", labels={"\udc00": "\ud800"}, key="\ud83d"),
    "markup": message(headline="<script>alert('x')</script> @here <!channel> **b** `c` \"quoted\" \\ end"),
    "many facts": message(facts=tuple((f"name {number}", "value") for number in range(500))),
}
