"""What people are told when nothing answers the watchdog, and when something does again. Builds messages only."""

from __future__ import annotations

from datetime import datetime

from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.core.units import elapsed
from watchdog.core.wording import clock

#: Services named in the message.
_SHOWN = 20


def cut_off(
    since: datetime,
    names: tuple[str, ...],
    *,
    count: int,
    beyond: bool,
    last: datetime | None,
    now: datetime,
) -> Message:
    """Nothing answers since then: `count` targets of the services `names`; `beyond`: but for this machine."""
    scope = "nothing beyond this machine answers" if beyond else "nothing answers"
    shown = ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
    return Message(
        key=f"{MessageKind.CUT_OFF}:{since.isoformat()}",
        kind=MessageKind.CUT_OFF,
        severity=Severity.CRITICAL,
        headline=(
            f"the watchdog may be cut off: {scope}, {count} targets of {len(names)} services at once; "
            "they are not being watched"
        ),
        created_at=now,
        about=_about(since),
        facts=(
            ("since", clock(since)),
            ("last answer", clock(last) if last is not None else "none since the start"),
            ("services", shown),
        ),
        next_step=(
            "No target is called dead and nothing is rolled back on it. See whether this machine has network and name "
            "resolution: watchdog doctor -c FILE. A service that is really down: "
            "watchdog rollback SERVICE --reason TEXT"
        ),
        needs_human=True,
    )


def reachable_again(since: datetime, *, now: datetime) -> Message:
    """Something answers again; people heard that nothing did since `since`."""
    lasted = elapsed(since, now)
    return Message(
        key=f"{MessageKind.REACHABLE_AGAIN}:{since.isoformat()}",
        kind=MessageKind.REACHABLE_AGAIN,
        severity=Severity.LOW,
        headline=f"the watchdog is answered again, after {lasted}; every service is judged afresh",
        created_at=now,
        about=_about(since),
        facts=(("lasted", lasted),),
    )


def _about(since: datetime) -> str:
    """What ties both together, also for receivers that keep one thing open for it."""
    return f"cut-off:{since.isoformat()}"
