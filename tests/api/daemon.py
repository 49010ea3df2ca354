"""A daemon as the API sees it, scripted: what it shows is set, what it is asked is recorded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from watchdog.core.audit import AuditDraft, AuditRecord, ChainHead, link
from watchdog.core.check import CheckId, Reason, Verdict
from watchdog.core.deployment import Deployment, DeploymentState, Origin
from watchdog.core.errors import StoreError
from watchdog.core.incident import Breach, Incident, IncidentKind, IncidentState
from watchdog.core.message import Message, MessageKind, Outgoing, OutgoingState
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.rollback import Passage, Rollback, RollbackState, Veto
from watchdog.core.rule import Evidence, Level, ProbeForm, Ratio, Rule, Severity, Thresholds
from watchdog.core.service import Mode
from watchdog.core.silence import Silence
from watchdog.core.traffic import TrafficState, VariantState
from watchdog.core.turn import Pause, Turn
from watchdog.core.view import CheckView, ServiceView, SourceView, View
from watchdog.store.interface import Page, Standing

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)

ERROR_RATE = Rule(
    name="error-rate",
    form=Ratio(bad='errors{service="$service"}', total='requests{service="$service"}'),
    thresholds=Thresholds(warning=0.005, critical=0.01, rollback=0.015),
    evidence=Evidence(),
    runbook="https://runbooks.example.com/error-rate",
)
HEALTHY = Rule(
    name="healthy",
    form=ProbeForm(
        kind="http",
        settings={
            "url": "http://user:letmein@$service.internal/healthz",
            "headers": {"Authorization": "Bearer letmein"},
            "expect": {"status": 200, "within": "2s"},
            "timeout": "3s",
        },
    ),
    thresholds=Thresholds(critical=3, rollback=5),
)

BAD = Deployment(
    id="d2",
    service="trips",
    version="v2",
    variant="green",
    state=DeploymentState.WATCHING,
    origin=Origin.POSTED,
    started_at=NOW - timedelta(minutes=3),
    recorded_at=NOW - timedelta(minutes=3),
    armed=True,
    soaked_for=timedelta(seconds=90),
)
GOOD = Deployment(
    id="d1",
    service="trips",
    version="v1",
    variant="blue",
    state=DeploymentState.STABLE,
    origin=Origin.SEEN,
    started_at=NOW - timedelta(days=1),
    recorded_at=NOW - timedelta(days=1),
)
BREACHED = Incident(
    id="i1",
    kind=IncidentKind.BREACH,
    state=IncidentState.OPEN,
    subject="trips",
    environment="production",
    deployment="d2",
    version="v2",
    opened_at=NOW,
    level=Level.ROLLBACK,
    severity=Severity.CRITICAL,
    summary="trips: error-rate 20% beyond 1.5%",
    breaches={
        "trips/error-rate@v2": Breach(
            rule=ERROR_RATE, level=Level.ROLLBACK, since=NOW, version="v2", value=0.2, reason="beyond"
        )
    },
)
DARK = Incident(
    id="i0",
    kind=IncidentKind.SOURCE,
    state=IncidentState.CLOSED,
    subject="prometheus",
    opened_at=NOW - timedelta(hours=2),
    closed_at=NOW - timedelta(hours=1),
    closed_because="the source answers again",
    level=Level.UNKNOWN,
    severity=Severity.HIGH,
    subjects=("trips", "hotels"),
)
QUIET = Silence(
    id="s1",
    matchers={"service": "trips"},
    by="ana",
    created_at=NOW - timedelta(minutes=1),
    ends_at=NOW + timedelta(hours=1),
    reason="load test",
    held_back=2,
)
OVER = Silence(
    id="s0",
    matchers={"label.team": "booking"},
    by="ana",
    created_at=NOW - timedelta(hours=9),
    ends_at=NOW - timedelta(hours=8),
    reason="migration",
    ended_at=NOW - timedelta(hours=8),
)
TOLD = Message(
    key="incident_opened:i1",
    kind=MessageKind.INCIDENT_OPENED,
    severity=Severity.HIGH,
    headline="trips is bad",
    created_at=NOW - timedelta(minutes=2),
    service="trips",
    incident="i1",
    needs_human=True,
)
WAITS = Outgoing(
    key="incident_opened:i1@ops",
    channel="ops",
    message=TOLD,
    attempts=3,
    due_at=NOW + timedelta(seconds=4),
    last_error="answered 503",
)
REFUSED = Outgoing(
    key="incident_opened:i1@chat",
    channel="chat",
    message=TOLD,
    state=OutgoingState.DEAD,
    attempts=1,
    due_at=NOW - timedelta(minutes=2),
    last_error="answered 401",
)
DELIVERED = Outgoing(
    key="incident_opened:i1@mail",
    channel="mail",
    message=TOLD,
    state=OutgoingState.SENT,
    attempts=1,
    due_at=NOW - timedelta(minutes=1),
    sent_at=NOW - timedelta(minutes=1),
    reference="<m1@mail>",
)
ROLLED = Rollback(
    id="r1",
    key="auto:trips:d2",
    service="trips",
    deployment="d2",
    incident="i1",
    state=RollbackState.APPLIED,
    automatic=True,
    requested_by="watchdog",
    reason="error-rate beyond rollback",
    from_variant="green",
    from_version="v2",
    to_variant="blue",
    to_version="v1",
    decided_at=NOW,
    observed_at=NOW,
    intended_at=NOW,
    applied_at=NOW + timedelta(milliseconds=20),
    rules=(ERROR_RATE,),
    vetoes=(Veto(guard="cooldown", reason="too_soon", detail="the last rollback was 3 minutes ago"),),
    history=(Passage(state=RollbackState.DECIDED, at=NOW, why="error-rate"),),
)

CHECK = CheckView(
    id=CheckId(service="trips", rule="error-rate", version="v2", variant="green"),
    level=Level.CRITICAL,
    held=Level.WARNING,
    latched=Level.WARNING,
    verdict=Verdict(level=Level.CRITICAL, reason=Reason.BEYOND, at=NOW, value=0.2, limit=0.01, events=400.0),
    last_data_at=NOW - timedelta(seconds=1),
)
TRIPS = ServiceView(
    name="trips",
    environment="production",
    mode=Mode.ENFORCE,
    labels={"team": "booking"},
    level=Level.CRITICAL,
    traffic=TrafficState(
        variants={
            "blue": VariantState(weight=0, version="v1", ready=1, total=1),
            "green": VariantState(weight=100, version="v2", ready=2, total=2, requests=4711),
        },
        revision="abc",
        read_at=NOW,
    ),
    deployment=BAD,
    stable=GOOD,
    checks=(CHECK,),
    incidents=("i1",),
    rollback=ROLLED,
    paused=Pause(by="ana", at=NOW, reason="load test"),
    rollback_ready=True,
)
HOTELS = ServiceView(
    name="hotels",
    environment="production",
    mode=Mode.OBSERVE,
    not_ready=(Veto(guard="mode", reason="observe", detail="hotels is only observed"),),
)

T = TypeVar("T")


def view(*, store_error: str = "") -> View:
    """Two services: one in trouble, one quiet."""
    return View(
        at=NOW,
        turn_at=NOW,
        leader=True,
        store_error=store_error,
        services={"trips": TRIPS, "hotels": HOTELS},
        sources={"prometheus": SourceView(name="prometheus", up=True), "new": SourceView(name="new")},
    )


def chain(count: int) -> tuple[AuditRecord, ...]:
    """A sound audit chain."""
    records: list[AuditRecord] = []
    head = ChainHead()
    for number in range(1, count + 1):
        draft = AuditDraft(at=NOW, kind="turn", subject="trips", body={"number": number})
        records.append(link(head, draft))
        head = ChainHead(seq=number, hash=records[-1].hash)
    return tuple(records)


def accept(request: Request) -> Reply | None:
    """The answer of a daemon that does everything it is asked."""
    status = {"deployment": 201, "rollback": 202, "silence": 201}.get(request.kind, 200)
    bodies: dict[RequestKind, dict[str, Any]] = {
        RequestKind.DEPLOYMENT: {"id": "d2"},
        RequestKind.ROLLBACK: {"id": "r1"},
        RequestKind.APPROVE: {"id": "r1"},
        RequestKind.REJECT: {"id": "r1"},
        RequestKind.PAUSE: {"service": request.target, "paused": {"by": request.by, "reason": ""}},
        RequestKind.RESUME: {"service": request.target, "paused": None},
        RequestKind.SILENCE: {"id": "s1"},
    }
    word: dict[str, Any] = {
        "service": request.target,
        "version": request.body.get("version"),
        "taint": None,
        "states": {},
    }
    for kind in (RequestKind.TAINT, RequestKind.UNTAINT, RequestKind.MARK_GOOD):
        bodies[kind] = word
    return Reply(request=request.id, status=status, body=bodies.get(request.kind, {"id": request.target}))


class Daemon:
    """Reader, desk and live view in one. `answer` makes the replies; `fault` is raised by whatever asks the store."""

    stalled_after = timedelta(seconds=10)

    def __init__(self, answer: Callable[[Request], Reply | None] = accept) -> None:
        self.answer = answer
        self.asked: list[Request] = []
        self.fault: Exception | None = None
        self.stuck = False
        self.shown: View | None = view()
        self.progressed_at = NOW
        self.now_at = NOW
        self.rolled: tuple[Rollback, ...] = (ROLLED,)
        self._listeners: list[Callable[[Turn], None]] = []
        self._replies: dict[str, Reply] = {}
        self.audit_records = chain(5)

    # Clock
    def now(self) -> datetime:
        return self.now_at

    def monotonic(self) -> float:
        return 0.0

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("the API never sleeps")

    # Live
    def view(self) -> View | None:
        return self.shown

    def progress_at(self) -> datetime:
        return self.progressed_at

    # Desk
    async def submit(self, request: Request) -> None:
        await self._reach()
        if any(known.id == request.id for known in self.asked):
            return
        self.asked.append(request)
        reply = self.answer(request)
        if reply is not None:
            self._replies[request.id] = reply

    async def reply(self, request: str) -> Reply:
        if request not in self._replies:
            await asyncio.Event().wait()
        return self._replies[request]

    def on_commit(self, listener: Callable[[Turn], None]) -> None:
        self._listeners.append(listener)

    def commit(self, turn: Turn) -> None:
        for listener in self._listeners:
            listener(turn)

    # Reader
    async def deployments(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Deployment]:
        return await self._page([d for d in (BAD, GOOD) if service in (None, d.service)], cursor, limit)

    async def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Incident]:
        found = [i for i in (BREACHED, DARK) if service in (None, i.subject) and (i.open or not open_only)]
        return await self._page(found, cursor, limit)

    async def rollbacks(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Rollback]:
        return await self._page([r for r in self.rolled if service in (None, r.service)], cursor, limit)

    async def deployment(self, identity: str) -> Deployment | None:
        await self._reach()
        return next((d for d in (BAD, GOOD) if d.id == identity), None)

    async def incident(self, identity: str) -> Incident | None:
        await self._reach()
        return next((i for i in (BREACHED, DARK) if i.id == identity), None)

    async def rollback(self, identity: str) -> Rollback | None:
        await self._reach()
        return next((r for r in (ROLLED,) if r.id == identity), None)

    async def silences(
        self, *, active_only: bool = False, cursor: str | None = None, limit: int = 50
    ) -> Page[Silence]:
        return await self._page(
            [s for s in (QUIET, OVER) if s.ended_at is None or not active_only], cursor, limit
        )

    async def silence(self, identity: str) -> Silence | None:
        await self._reach()
        return next((s for s in (QUIET, OVER) if s.id == identity), None)

    async def audit(
        self, *, subject: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[AuditRecord]:
        found = [r for r in reversed(self.audit_records) if subject in (None, r.subject)]
        return await self._page(found, cursor, limit)

    async def chain(self) -> AsyncIterator[AuditRecord]:
        for record in self.audit_records:
            yield record

    async def outbox(
        self,
        *,
        state: OutgoingState | None = None,
        channel: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Outgoing]:
        found = [
            row
            for row in (WAITS, REFUSED, DELIVERED)
            if state in (None, row.state) and channel in (None, row.channel)
        ]
        return await self._page(found, cursor, limit)

    async def outgoing(self, key: str) -> Outgoing | None:
        await self._reach()
        return next((row for row in (WAITS, REFUSED, DELIVERED) if row.key == key), None)

    async def outbox_pending(self) -> int:
        return 1

    async def outbox_standing(self) -> Standing:
        return Standing(pending={"ops": 1}, dead={"chat": 1}, oldest=WAITS)

    async def aclose(self) -> None:
        return

    async def _page(self, found: Sequence[T], cursor: str | None, limit: int) -> Page[T]:
        await self._reach()
        start = int(cursor) if cursor is not None else 0
        end = start + limit
        return Page(items=tuple(found[start:end]), next=str(end) if len(found) > end else None)

    async def _reach(self) -> None:
        if self.stuck:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise self.fault


BROKEN = StoreError("the disk is full", advice="free some space on /var/lib/watchdog")
