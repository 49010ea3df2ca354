"""PagerDuty on loopback, from its documentation: Events API v2, change events, incidents of the REST API, callbacks.

It enforces what the real one does (sizes, required fields, the key's length, the rate), keeps one open alert for a
key, and can answer any status, hang and hang up. HTTPS only, as its library wants it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.servers.certificates import Certificate

ROUTING_KEY = "c0ffee00canary00routing00key00aa"
API_TOKEN = "canary-api-token-y_NbAkKc66ryYTWUXYEu"
WEBHOOK_SECRET = "canary-webhook-secret-91b3"

_ACTIONS = {"trigger", "acknowledge", "resolve"}
_SEVERITIES = {"critical", "error", "warning", "info"}
_LONGEST = {"summary": 1024, "dedup_key": 255}
_LARGEST = 512 * 1024
_RATE, _RATE_SPAN = 120, 60.0


@dataclass
class Alert:
    """One alert (with its incident); `told` counts the triggers that it took."""

    id: str
    key: str
    status: str = "triggered"
    told: int = 1
    by: dict[str, str] | None = None
    at: str = "2026-01-01T12:40:00Z"
    events: list[dict[str, Any]] = field(default_factory=list)


class FakePagerDuty:
    """What it was sent is in `events` and `changes`, whatever became of it; what it holds in `alerts`, oldest first."""

    def __init__(self, certificate: Certificate) -> None:
        self.certificate = certificate
        self.port = 0
        self.events: list[dict[str, Any]] = []
        self.changes: list[dict[str, Any]] = []
        self.asked: list[dict[str, list[str]]] = []
        self.alerts: list[Alert] = []
        self.seen: list[dict[str, str]] = []
        """The headers of every request."""
        self.answer: web.Response | None = None
        """Said instead of looking at the request."""
        self.misbehave = ""
        """`hang`: keeps the event and never answers; `close`: keeps it and hangs up; `drip`: a byte a while."""
        self.limited = False
        self._numbers = itertools.count(1)
        self._taken: list[float] = []
        self._release = asyncio.Event()

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def calls(self) -> int:
        return len(self.events) + len(self.changes)

    def open(self, key: str) -> list[Alert]:
        """The alerts of a key that are not resolved."""
        return [one for one in self.alerts if one.key == key and one.status != "resolved"]

    def act(
        self, key: str, status: str, *, by: str = "Earline Greenholt", kind: str = "user_reference"
    ) -> Alert:
        """Somebody acknowledges or resolves the newest alert with that key."""
        alert = [one for one in self.alerts if one.key == key][-1]
        alert.status = status
        alert.by = {"id": "PUSER01", "type": kind, "summary": by}
        return alert

    def callback(
        self,
        key: str | None,
        what: str,
        *,
        identity: str = "01EVENT",
        at: datetime | None = None,
        **changes: Any,
    ) -> bytes:
        """The body of a v3 webhook: `what` is `acknowledged`, `resolved`, …"""
        occurred = (at or datetime(2026, 1, 1, 12, 40, tzinfo=UTC)).isoformat()
        agent = {
            "html_url": "https://acme.pagerduty.com/users/PUSER01",
            "id": "PUSER01",
            "self": "https://api.pagerduty.com/users/PUSER01",
            "summary": "Earline Greenholt",
            "type": "user_reference",
        }
        data = {
            "id": "PINCIDENT1",
            "type": "incident",
            "self": "https://api.pagerduty.com/incidents/PINCIDENT1",
            "html_url": "https://acme.pagerduty.com/incidents/PINCIDENT1",
            "number": 2,
            "status": what,
            "incident_key": key,
            "created_at": "2026-01-01T12:30:05Z",
            "title": "trips: error-rate is 21%",
            "service": {"id": "PSERVICE", "summary": "trips", "type": "service_reference"},
            "urgency": "high",
            "priority": None,
            "resolve_reason": None,
        }
        event = {
            "id": identity,
            "event_type": f"incident.{what}",
            "resource_type": "incident",
            "occurred_at": occurred,
            "agent": agent,
            "client": None,
            "data": data,
        }
        return json.dumps({"event": event | changes}).encode()

    @staticmethod
    def signed(body: bytes, *secrets: str) -> dict[str, str]:
        """The headers of a callback, signed with every one of `secrets`."""
        return {
            "Content-Type": "application/json",
            "User-Agent": "PagerDuty-Webhook/V3.0",
            "X-Webhook-Id": "55ab3a84-2b6e-4a8d-9a8e-b3c8d6d4f1a0",
            "X-PagerDuty-Signature": ",".join(_signature(secret, body) for secret in secrets),
        }

    def application(self) -> web.Application:
        app = web.Application(client_max_size=2**22)
        app.router.add_post("/v2/enqueue", self._enqueue)
        app.router.add_post("/v2/change/enqueue", self._change)
        app.router.add_get("/incidents", self._incidents)
        app.router.add_get("/abilities", self._abilities)
        app.on_shutdown.append(self._stop)
        return app

    async def _stop(self, _app: web.Application) -> None:
        self._release.set()

    async def _misbehaves(self, request: web.Request) -> None:
        if self.misbehave == "hang":
            await self._release.wait()
        if self.misbehave and request.transport is not None:
            request.transport.abort()

    async def _enqueue(self, request: web.Request) -> web.Response:
        self.seen.append(dict(request.headers))
        raw = await request.read()
        event = json.loads(raw)
        self.events.append(event)
        if self.answer is not None:
            return _copy(self.answer)
        errors = self._mistakes(raw, event)
        if errors:
            return _invalid(*errors)
        if self._too_fast():
            return web.json_response({"status": "throttle exceeded", "message": "slow down"}, status=429)
        self._take(event)
        await self._misbehaves(request)
        answer = {
            "status": "success",
            "message": "Event processed",
            "dedup_key": event.get("dedup_key", "new"),
        }
        return web.json_response(answer, status=202)

    async def _change(self, request: web.Request) -> web.Response:
        self.seen.append(dict(request.headers))
        raw = await request.read()
        event = json.loads(raw)
        self.changes.append(event)
        if self.answer is not None:
            return _copy(self.answer)
        errors = _sizes(raw, event) + _fields(event, required=("summary",))
        if str(event.get("routing_key", "")).startswith("R"):
            errors.append("'routing_key' is of an event orchestration")
        if errors:
            return _invalid(*errors)
        await self._misbehaves(request)
        return web.json_response({"status": "success", "message": "Change event processed"}, status=202)

    def _mistakes(self, raw: bytes, event: dict[str, Any]) -> list[str]:
        errors = _sizes(raw, event)
        action = event.get("event_action")
        if action not in _ACTIONS:
            errors.append("'event_action' is invalid")
        key = event.get("dedup_key")
        if key is not None and not (isinstance(key, str) and 0 < len(key) <= _LONGEST["dedup_key"]):
            errors.append("Length of 'dedup_key' is incorrect (should be at most 255 characters)")
        if action == "trigger":
            errors += _fields(event, required=("summary", "source", "severity"))
            if event.get("payload", {}).get("severity") not in _SEVERITIES:
                errors.append(
                    "'payload.severity' is invalid (must be one of critical, warning, error or info)"
                )
        elif key is None:
            errors.append("'dedup_key' is missing or blank")
        return errors

    def _too_fast(self) -> bool:
        if not self.limited:
            return False
        now = asyncio.get_running_loop().time()
        self._taken = [at for at in self._taken if now - at < _RATE_SPAN]
        if len(self._taken) >= _RATE:
            return True
        self._taken.append(now)
        return False

    def _take(self, event: dict[str, Any]) -> None:
        if event["routing_key"] != ROUTING_KEY:
            return  # accepted, and of nobody
        key = event.get("dedup_key") or f"made-up-{next(self._numbers)}"
        known = self.open(key)
        match event["event_action"]:
            case "trigger" if known:
                known[-1].told += 1
                known[-1].events.append(event)
            case "trigger":
                alert = Alert(id=f"P{next(self._numbers):07}", key=key, events=[event])
                self.alerts.append(alert)
            case "acknowledge" if known:
                self.act(key, "acknowledged", by="the integration", kind="service_reference")
            case "resolve" if known:
                self.act(key, "resolved", by="the integration", kind="service_reference")
            case _:
                return  # accepted, and dropped

    async def _abilities(self, request: web.Request) -> web.Response:
        if refused := self._stranger(request):
            return refused
        return web.json_response({"abilities": ["teams", "events_v2"]})

    async def _incidents(self, request: web.Request) -> web.Response:
        self.asked.append({name: request.query.getall(name) for name in request.query})
        if refused := self._stranger(request):
            return refused
        await self._misbehaves(request)
        keys, statuses = request.query.getall("incident_key"), request.query.getall("statuses[]")
        found = [one for one in self.alerts if one.key in keys and one.status in statuses]
        if request.query.get("sort_by") == "created_at:desc":
            found.reverse()
        limit = int(request.query.get("limit", "25"))
        return web.json_response(
            {
                "incidents": [_shown(one) for one in found[:limit]],
                "limit": limit,
                "offset": 0,
                "total": None,
                "more": len(found) > limit,
            }
        )

    def _stranger(self, request: web.Request) -> web.Response | None:
        self.seen.append(dict(request.headers))
        if self.answer is not None:
            return _copy(self.answer)
        if request.headers.get("Authorization") != f"Token token={API_TOKEN}":
            return web.json_response({"error": {"message": "Access Denied", "code": 2006}}, status=401)
        return None


def _signature(secret: str, body: bytes) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _sizes(raw: bytes, event: dict[str, Any]) -> list[str]:
    errors = []
    if len(raw) > _LARGEST:
        errors.append("the event is larger than 512 KB")
    if len(str(event.get("routing_key", ""))) != 32:
        errors.append("Length of 'routing_key' is incorrect (should be 32 characters)")
    return errors


def _fields(event: dict[str, Any], *, required: tuple[str, ...]) -> list[str]:
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return ["'payload' is missing or blank"]
    errors = [f"'payload.{name}' is missing or blank" for name in required if not payload.get(name)]
    if len(payload.get("summary") or "") > _LONGEST["summary"]:
        errors.append("'payload.summary' is too long (maximum is 1024 characters)")
    errors += ["'links' is invalid" for link in event.get("links", []) if not _is_a_link(link)]
    with_time = payload.get("timestamp")
    if with_time is not None:
        datetime.fromisoformat(with_time)
    return errors


def _is_a_link(link: dict[str, str]) -> bool:
    return not set(link) - {"href", "text"} and link.get("href", "").startswith(("http://", "https://"))


def _invalid(*errors: str) -> web.Response:
    said = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return web.json_response(said, status=400)


def _copy(answer: web.Response) -> web.Response:
    """A response can be sent once."""
    return web.Response(status=answer.status, headers=answer.headers.copy(), body=answer.body)


def _shown(alert: Alert) -> dict[str, Any]:
    taken = alert.status == "acknowledged"
    return {
        "id": alert.id,
        "type": "incident",
        "incident_key": alert.key,
        "status": alert.status,
        "created_at": "2026-01-01T12:30:05Z",
        "acknowledgements": [{"at": alert.at, "acknowledger": alert.by}] if taken else [],
        "last_status_change_at": alert.at,
        "last_status_change_by": alert.by,
    }


@contextlib.asynccontextmanager
async def pagerduty(certificate: Certificate) -> AsyncIterator[FakePagerDuty]:
    """One on a free port."""
    fake = FakePagerDuty(certificate)
    runner = web.AppRunner(fake.application(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=fake.certificate.context)
        await site.start()
        fake.port = runner.addresses[0][1]
        yield fake
    finally:
        await runner.cleanup()
