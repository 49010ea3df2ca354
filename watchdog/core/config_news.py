"""What people are told about the configuration itself: it cannot be used, it can again, it needs a restart.

Builds messages only. Nothing secret may enter one: mistakes come here redacted, values never.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from watchdog.core.message import Message, MessageKind
from watchdog.core.rule import Severity
from watchdog.core.units import elapsed

#: So many mistakes stand in one message; the log has all.
SHOWN = 10


def broken(problems: tuple[str, ...], *, file: str, since: datetime, now: datetime) -> Message:
    """The files were changed and cannot be used. `since` is when the first such change was seen.

    The key is the same for the same mistakes, so that people hear of them once while it stays broken.
    """
    digest = hashlib.sha256("\n".join(problems).encode()).hexdigest()[:8]
    first = problems[0] if problems else "it cannot be used"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    left = len(problems) - SHOWN
    shown = (*problems[:SHOWN], *([f"and {left} more"] if left > 0 else []))
    return Message(
        key=f"{MessageKind.CONFIG_BROKEN}:{since.isoformat()}:{digest}",
        kind=MessageKind.CONFIG_BROKEN,
        severity=Severity.HIGH,
        headline=f"the changed configuration cannot be used, the one before stays in force: {first}{more}",
        created_at=now,
        about=_about(since),
        facts=tuple(("mistake", problem) for problem in shown),
        next_step=f"Correct it; it is taken in by itself then. All mistakes: watchdog check -c {file}",
        needs_human=True,
    )


def repaired(*, since: datetime, now: datetime) -> Message:
    """The configuration is good again, and in force."""
    return Message(
        key=f"{MessageKind.CONFIG_REPAIRED}:{since.isoformat()}",
        kind=MessageKind.CONFIG_REPAIRED,
        severity=Severity.LOW,
        headline="the configuration is good again, and in force",
        created_at=now,
        about=_about(since),
        facts=(("was broken for", elapsed(since, now)),),
    )


def _about(since: datetime) -> str:
    """What ties both together, also for receivers that keep one thing open for it."""
    return f"configuration:{since.isoformat()}"


def needs_restart(keys: tuple[str, ...], *, now: datetime) -> Message:
    """Something was changed that is only looked at when the daemon starts; everything else was taken in."""
    named = " and ".join(keys)
    return Message(
        key=f"{MessageKind.CONFIG_NEEDS_RESTART}:{now.isoformat()}",
        kind=MessageKind.CONFIG_NEEDS_RESTART,
        severity=Severity.MEDIUM,
        headline=f"a change of {named} needs a restart; everything else in the configuration was taken in",
        created_at=now,
        facts=(("still as it was", named),),
        next_step="Restart the daemon when no rollback is under way, or undo the change.",
        needs_human=True,
    )
