"""Messages that nobody was sent: one of every kind, in the words of the core, to try templates on and to show.

The golden files and the pages show them; a configuration's templates must bear them, and some that are awkward. This
module must never be used to tell anybody anything.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from watchdog.core import (
    config_news,
    cutoff_news,
    escalation_news,
    gathering,
    notices,
    rollback_news,
    telling,
)
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.draft import Draft
from watchdog.core.events import ChannelDead, ChannelLate
from watchdog.core.incident import Breach, Incident, IncidentKind, IncidentState
from watchdog.core.ladder import Climb, Policy, ReportTime, Step
from watchdog.core.message import Message, MessageKind
from watchdog.core.rollback import Passage, Rollback, RollbackState, Veto
from watchdog.core.rule import Level, Ratio, Rule, Severity, Thresholds, Unit
from watchdog.core.service import Service
from watchdog.core.turn import Taint
from watchdog.core.world import ServiceWorld, World

NOW = datetime(2026, 1, 31, 12, 30, 5, tzinfo=UTC)
HEAD = "c36288cf5c8eef492b6847f9f501185a8fdfb3ca274e291e5f3c9298f9232d1b"

_RULE = Rule(
    name="error-rate",
    form=Ratio(bad='requests_total{status=~"5.."}', total="requests_total"),
    unit=Unit.RATIO,
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
    runbook="https://runbooks.example.com/error-rate",
)
_WHY = "8.25% of 412 events were bad in 1m, above 1.5%"
_SERVICE = Service(name="trips", environment="production", labels={"team": "booking"})
_INCIDENT = Incident(
    id="inc-245e0dc489",
    kind=IncidentKind.BREACH,
    state=IncidentState.OPEN,
    subject="trips",
    opened_at=NOW - timedelta(seconds=34),
    level=Level.ROLLBACK,
    severity=Severity.CRITICAL,
    environment="production",
    deployment="dep-5f1c3a7b20",
    version="v1.4.2",
    summary=f"error-rate: {_WHY}",
    breaches={
        "trips/error-rate@v1.4.2": Breach(
            rule=_RULE,
            level=Level.ROLLBACK,
            since=NOW - timedelta(seconds=34),
            version="v1.4.2",
            value=0.0825,
            reason=_WHY,
        )
    },
)
_ROLLBACK = Rollback(
    id="rb-6bfdfe6da5",
    key="auto:trips:dep-5f1c3a7b20",
    service="trips",
    deployment="dep-5f1c3a7b20",
    incident=_INCIDENT.id,
    state=RollbackState.APPLIED,
    automatic=True,
    requested_by="watchdog",
    reason=_WHY,
    from_variant="green",
    from_version="v1.4.2",
    to_variant="blue",
    to_version="v1.4.1",
    decided_at=NOW - timedelta(seconds=2),
    rules=(_RULE,),
    applied_at=NOW - timedelta(seconds=77),
    traffic_proof="400 events of error-rate on v1.4.1",
)
_DEPLOYMENT = Deployment(
    id="dep-5f1c3a7b20",
    service="trips",
    version="v1.4.2",
    variant="green",
    state=DeploymentState.WATCHING,
    origin=Origin.POSTED,
    started_at=NOW - timedelta(seconds=75),
    recorded_at=NOW - timedelta(seconds=80),
    armed=True,
)
_ACKNOWLEDGED = replace(
    _INCIDENT, state=IncidentState.ACKNOWLEDGED, acknowledged_by="alice", acknowledged_at=NOW
)
_POLICY = Policy(
    name="production",
    ladders={
        Severity.CRITICAL: (
            Step(to=("oncall", "ops")),
            Step(after=timedelta(minutes=5), to=("team-lead",)),
            Step(after=timedelta(hours=1), to=("manager",)),
        )
    },
)


def specimens() -> dict[MessageKind, Message]:
    """One message of every kind, all of one story."""
    return {message.kind: replace(message, audit_head=HEAD) for message in _told()}


def trials() -> tuple[Message, ...]:
    """What a template of a user's must bear: every kind, and what comes from outside in the worst case."""
    usual = specimens()
    switched = usual[MessageKind.ROLLBACK_SWITCHED]
    bare = Message(
        key="k",
        kind=MessageKind.TEST,
        severity=Severity.LOW,
        headline="A headline and nothing else",
        created_at=NOW,
    )
    long, odd = "x" * 10_000, "<b>&amp;\r\n@here <!channel> {{ 7 * 7 }} \u202e\x00 \U0001f525 \ud83d"
    extremes = (
        replace(switched, headline=text, service=text, version=text, labels={text: text}, next_step=text)
        for text in (long, odd)
    )
    many = replace(
        switched,
        facts=tuple((f"{'guard ' if number % 2 else ''}name {number}", odd) for number in range(500)),
        labels={f"label {number}": odd for number in range(500)},
    )
    return (*usual.values(), bare, *extremes, many)


def _told() -> tuple[Message, ...]:
    return (*_of_incidents(), *_of_rollbacks(), *_of_itself(), *_of_telling(), *_good_to_know())


def _of_incidents() -> tuple[Message, ...]:
    closed = replace(
        _INCIDENT,
        state=IncidentState.CLOSED,
        closed_at=NOW,
        closed_because="recovered after the rollback to v1.4.1",
        opened_at=NOW - timedelta(minutes=4),
        breaches={
            name: replace(breach, cleared_at=NOW, since=NOW - timedelta(minutes=4))
            for name, breach in _INCIDENT.breaches.items()
        },
    )
    return (
        telling.incident_opened(_SERVICE, _INCIDENT, now=NOW),
        telling.incident_opened(_SERVICE, _INCIDENT, now=NOW, worsened=True),
        telling.incident_closed(closed, now=NOW, service=_SERVICE),
        telling.acknowledged(_ACKNOWLEDGED, now=NOW, service=_SERVICE),
    )


def _of_rollbacks() -> tuple[Message, ...]:
    veto = Veto(guard="paused", reason="paused", detail="automation is paused by alice: we are looking")
    blocked = replace(_ROLLBACK, state=RollbackState.BLOCKED, vetoes=(veto,), applied_at=None)
    asked = replace(
        _ROLLBACK,
        state=RollbackState.AWAITING_APPROVAL,
        applied_at=None,
        expires_at=NOW + timedelta(minutes=15),
    )
    return (
        rollback_news.rollback_blocked(_SERVICE, blocked, now=NOW, incident=_INCIDENT),
        rollback_news.approval_wanted(_SERVICE, asked, now=NOW, incident=_INCIDENT),
        rollback_news.rollback_switched(_SERVICE, _ROLLBACK, now=NOW, incident=_INCIDENT),
        rollback_news.rollback_ended(
            _SERVICE,
            _ended(RollbackState.COMPLETED, "proved: traffic moved and the rules recovered"),
            now=NOW,
        ),
        rollback_news.rollback_ended(
            _SERVICE,
            _ended(RollbackState.CONTESTED, "green takes traffic again instead of blue"),
            now=NOW,
            incident=_INCIDENT,
        ),
        rollback_news.switch_undone(
            _SERVICE,
            Taint(version="v1.4.2", at=NOW - timedelta(hours=2), reason=f"rolled back: {_WHY}"),
            rollback=_ROLLBACK.id,
            now=NOW,
        ),
        rollback_news.breaker_open(
            "3 rollbacks in 10m, which is the limit (2 waiting: pay, trips)",
            ("pay", "trips"),
            since=NOW,
            first=NOW,
            now=NOW,
        ),
        rollback_news.breaker_closed(since=NOW, now=NOW + timedelta(minutes=9)),
    )


def _ended(state: RollbackState, why: str) -> Rollback:
    return replace(_ROLLBACK, state=state, history=(Passage(state=state, at=NOW, why=why),))


def _of_itself() -> tuple[Message, ...]:
    earlier = NOW - timedelta(minutes=7)
    mistake = "watchdog.yaml:12:3: services.0.trafic: unknown key; did you mean `traffic`?"
    paused = telling.pause_changed(_SERVICE, by="alice", reason="we are looking", paused=True, now=earlier)
    resumed = telling.pause_changed(
        _SERVICE, by="alice", reason="", paused=False, now=NOW, since=paused.created_at
    )
    return (
        cutoff_news.cut_off(
            earlier, ("pay", "trips"), count=6, beyond=False, last=earlier - timedelta(seconds=9), now=NOW
        ),
        cutoff_news.reachable_again(earlier, now=NOW),
        telling.store_failed(
            "the disk is full", "Free space where the store is; it goes on by itself then.", now=NOW
        ),
        paused,
        resumed,
        config_news.broken((mistake,), file="watchdog.yaml", since=earlier, now=NOW),
        config_news.repaired(since=earlier, now=NOW),
        config_news.needs_restart(("server.listen",), now=NOW),
    )


def _of_telling() -> tuple[Message, ...]:
    opened = telling.incident_opened(_SERVICE, _INCIDENT, now=NOW - timedelta(seconds=30))
    hour = timedelta(hours=1)
    climb = Climb(
        policy=_POLICY,
        severity=Severity.CRITICAL,
        began_at=NOW - 5 * timedelta(minutes=1),
        step=1,
        next_at=NOW + hour,
    )
    heard = replace(_INCIDENT, heard_by=("oncall", "ops"), climb=climb)
    held = replace(climb, acknowledged_until=NOW + 7 * hour)
    taken = replace(_ACKNOWLEDGED, acknowledged_at=NOW - hour, climb=held)
    lost = ChannelDead(
        channel="ops", key=f"{opened.key}@ops", message=opened, reason="answered 404: no_service"
    )
    late = ChannelLate(
        channel="ops",
        key=lost.key,
        message=opened,
        reason="answered 503",
        since=NOW - timedelta(minutes=2),
    )
    return (
        escalation_news.escalated(opened, heard, climb, to=("team-lead",), now=NOW),
        escalation_news.repeated(
            opened, heard, replace(climb, repeats=1), to=("oncall", "ops", "team-lead"), now=NOW + 4 * hour
        ),
        escalation_news.unacknowledged(opened, taken, climb, to=("oncall", "ops"), now=NOW),
        escalation_news.reminder(opened, taken, held, to=("ops",), now=NOW),
        escalation_news.weekly_report(
            (replace(_INCIDENT, severity=Severity.LOW),),
            week="2026-W05",
            report=ReportTime(),
            to=("mail",),
            now=NOW,
        ),
        escalation_news.channel_failed(lost, open_=True, now=NOW),
        escalation_news.channel_late(late, alone=False, open_=True, now=NOW),
    )


def _good_to_know() -> tuple[Message, ...]:
    known = ServiceWorld(service=_SERVICE, rules={})
    draft = Draft(world=World(services={_SERVICE.name: known}), now=NOW, service=known)
    opened = telling.incident_opened(
        replace(_SERVICE, name="pay"), replace(_INCIDENT, subject="pay"), now=NOW
    )
    closed = telling.incident_closed(
        replace(_INCIDENT, closed_because="all is well"), now=NOW, service=_SERVICE
    )
    return (
        gathering.gathered(
            (replace(opened, severity=Severity.HIGH), replace(closed, severity=Severity.HIGH))
        ),
        notices.watched(draft, _DEPLOYMENT),
        notices.stable(draft, replace(_DEPLOYMENT, reason="30m in good health")),
        Message(
            key=f"{MessageKind.TEST}:ops",
            kind=MessageKind.TEST,
            severity=Severity.LOW,
            headline="a test of channel ops: whoever reads this is reached",
            created_at=NOW,
            facts=(("asked by", "alice"),),
        ),
    )
