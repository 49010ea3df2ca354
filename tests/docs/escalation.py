"""The story of one incident that climbs: through the daemon's own decisions, in virtual time, as pages show it."""

from __future__ import annotations

from datetime import timedelta
from textwrap import wrap

from tests.core.ladders import HOUR, MINUTE, Ladders, sent
from tests.core.scenario import CRITICAL, OK, ROLLBACK
from tests.docs.pages import blocks_of
from watchdog.core.ladder import Policy, ReportTime, Step
from watchdog.core.message import Message
from watchdog.core.request import RequestKind
from watchdog.core.routing import Route
from watchdog.core.rule import Severity

#: The kind of the block that shows it.
KIND = "text escalation"
#: The policy `production` of docs/how-to/notifications.md.
POLICY = Policy(
    name="production",
    ladders={
        Severity.CRITICAL: (Step(to=("oncall", "ops")), Step(after=5 * MINUTE, to=("team-lead",))),
        Severity.HIGH: (Step(to=("ops", "mail")), Step(after=15 * MINUTE, to=("team-lead",))),
        Severity.MEDIUM: (Step(to=("ops",)), Step(after=HOUR, to=("mail",))),
        Severity.LOW: (Step(to=("mail",)), Step(after=24 * HOUR, digest=ReportTime())),
    },
)
_WIDTH = 104


def told() -> Ladders:
    """Everything that happens. What people do is asked of the daemon as by `watchdog ack` and its like."""
    story = Ladders(Route(policy=POLICY))
    story.post("v1.4.2", "green")
    story.after("5s").traffic(blue=0, green=1).after("35s").traffic()
    story.begun_at = story.now
    story.forget().observe(value=CRITICAL, on="green")
    story.minutes(19)
    story.ask(RequestKind.PAUSE, by="alice", reason="database migration")
    story.minutes(20)
    for _ in range(2):
        story.after("10s").observe(value=ROLLBACK, on="green")
    story.minutes(27)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, by="maria", for_seconds=7200)
    story.minutes(160)
    story.ask(RequestKind.ACKNOWLEDGE, story.incident.id, by="alice")
    story.minutes(180)
    for _ in range(2):
        story.after("30s").observe(value=OK, on="green")
    return story


def timeline() -> str:
    """Who was told what, when: one entry a message, with its headline below."""
    story = told()
    return "".join(
        _entry(message.created_at - story.begun_at, message, to)
        for stepped in story.steps
        for message, to in sent(stepped)
        if to
    )


def _entry(after: timedelta, message: Message, to: set[str]) -> str:
    minutes, seconds = divmod(int(after.total_seconds()), 60)
    when = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    first = f"{when}  {message.severity:<8}  {message.kind.replace('_', ' ')}  →  {', '.join(sorted(to))}\n"
    return first + "".join(f"         {line}\n" for line in wrap(message.headline, _WIDTH - 9))


def with_timeline(page: str) -> str:
    """The page with the story as it is told now."""
    text = page
    for block in reversed(blocks_of(page)):
        if block.kind == KIND:
            text = text[: block.start] + timeline() + text[block.end :]
    return text
