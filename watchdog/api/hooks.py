"""Hooks: what other programs send in their own words, made into the requests that everybody else makes.

A deployment that is over at GitHub becomes a posted deployment; an alert that fires becomes a look, never a verdict.
What is not for us is answered with success and the reason, because senders repeat what failed. This module must never
act twice on one delivery, and never on a deployment that did not succeed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from aiohttp import web

from watchdog.api import hook_shapes
from watchdog.api.asking import Asking
from watchdog.api.auth import unauthorized
from watchdog.api.bodies import PostedDeployment, checked, decode, refuse
from watchdog.api.context import Call, Context, reply_json
from watchdog.api.foreign import AlertmanagerAlert, AlertmanagerDelivery, GithubDelivery, GithubDeployment
from watchdog.api.problem import Mistake, Problem
from watchdog.api.signing import HUB, SIGNATURE, TIMESTAMP
from watchdog.core.request import Request, RequestKind
from watchdog.core.view import ServiceView
from watchdog.settings.registry import nearest

#: Largest delivery (bytes): GitHub sends a repository's whole description along, Alertmanager a whole group.
HOOK_LIMIT = 1024 * 1024
#: Most alerts of one delivery that are listened to; a fleet on fire needs no more looks than this at once.
MOST_ALERTS = 200
#: A signed event of GitHub is acted on for so long, so that one that did not arrive can be redelivered by hand.
GITHUB_FRESH_FOR = timedelta(hours=1)
_STALE = "record the deployment with `watchdog deploy` if it is still wanted"
_TIMELESS = (
    f"a signature in {HUB} covers no time: it is for GitHub's events; sign with {SIGNATURE} and {TIMESTAMP}"
)
EVENT, DELIVERY = "X-GitHub-Event", "X-GitHub-Delivery"
_SUCCESS = "success"


class Hooks:
    """The handlers of `/hooks/…`."""

    def __init__(self, context: Context, asking: Asking) -> None:
        self._context = context
        self._asking = asking

    async def deployment(self, call: Call) -> web.Response:
        """Record a deployment: our own body, or GitHub's event `deployment_status`."""
        document = decode(await self._body(call))
        event = call.request.headers.get(EVENT)
        if event is None:
            if call.raw is not None and not _is_own(call):
                raise unauthorized(_TIMELESS, error="invalid_token")
            return await self._asking.announce(
                call, checked(PostedDeployment, document), key=_delivery(call, "")
            )
        if event == "ping":
            return _ignored("a ping: the hook is set up, and may write")
        if event != "deployment_status":
            return _ignored(
                f"the event {_short(event)} is not deployment_status, which is the only one of use here"
            )
        delivery = checked(GithubDelivery, document)
        if call.raw is not None and not _is_own(call):
            self._refuse_stale(delivery)
        state = delivery.deployment_status.state
        if state != _SUCCESS:
            return _ignored(f"the state {_short(state)} is not {_SUCCESS}: nothing was deployed")
        return await self._deployed(call, delivery)

    async def alertmanager(self, call: Call) -> web.Response:
        """Look at once at every service that a firing alert names."""
        delivery = checked(AlertmanagerDelivery, decode(await self._body(call)))
        services = self._context.view().services
        wishes: dict[str, Request] = {}
        heard: list[hook_shapes.HeardAlert] = []
        ignored: list[hook_shapes.IgnoredAlert] = []
        for alert in delivery.alerts:
            why = _not_for_us(alert, services)
            if not why and len(wishes) >= MOST_ALERTS:
                why = f"more than {MOST_ALERTS} alerts in one delivery"
            if why:
                ignored.append(hook_shapes.IgnoredAlert(fingerprint=alert.fingerprint, reason=why))
                continue
            wish = self._hint(call, alert)
            wishes[wish.id] = wish
            heard.append(hook_shapes.HeardAlert(fingerprint=alert.fingerprint, service=wish.target))
        answers = await asyncio.gather(
            *(self._asking.reply(wish) for wish in wishes.values()), return_exceptions=True
        )
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer  # Alertmanager sends it again; what was stored is not asked twice.
        return reply_json(hook_shapes.Heard(heard=tuple(heard), ignored=tuple(ignored)))

    def _refuse_stale(self, delivery: GithubDelivery) -> None:
        """The signature covers no time but the one that the event names: an old one may come from anybody."""
        said = delivery.deployment_status.created_at or delivery.deployment.created_at
        if said is not None and abs(self._context.clock.now() - said) > GITHUB_FRESH_FOR:
            why = f"this event is from {said.isoformat()}, which is not now; {_STALE}"
            raise unauthorized(why, error="invalid_token")

    async def _body(self, call: Call) -> bytes:
        if call.raw is not None:
            return call.raw
        return await self._context.body(call.request, limit=HOOK_LIMIT)

    async def _deployed(self, call: Call, delivery: GithubDelivery) -> web.Response:
        deployment = delivery.deployment
        payload = _payload(deployment)
        name = payload.get("service")
        if not name and not payload.get("variant"):
            return _ignored("deployment.payload names neither a service nor a variant")
        service = self._context.view().services.get(name) if isinstance(name, str) else None
        elsewhere = _elsewhere(deployment, payload, service, self._environments()) if service else ""
        if elsewhere:
            return _ignored(elsewhere)
        started_at = deployment.created_at
        facts: dict[str, Any] = {
            "service": name,
            "variant": payload.get("variant"),
            "version": payload.get("version") or _version(deployment),
            "started_at": min(started_at, self._context.clock.now()).isoformat() if started_at else None,
            "source": _source(delivery),
            "url": _link(delivery),
            "rollback": payload.get("rollback") or "allowed",
            "labels": payload.get("labels"),
        }
        at = "#/deployment/payload"
        needed = ("service", "variant", "version")
        if missing := [key for key in needed if facts[key] is None]:
            raise refuse(*(Mistake(pointer=f"{at}/{key}", detail="is required") for key in missing))
        body = checked(PostedDeployment, facts, at=at)
        return await self._asking.announce(call, body, key=_delivery(call, _identity(delivery)), at=at)

    def _environments(self) -> frozenset[str]:
        return frozenset(service.environment for service in self._context.view().services.values())

    def _hint(self, call: Call, alert: AlertmanagerAlert) -> Request:
        """One request for one alert and the time at which it began, however often it is delivered."""
        service = alert.labels["service"]
        content = {
            "alert": _short(alert.labels.get("alertname", "")),
            "fingerprint": alert.fingerprint,
            "starts_at": alert.starts_at.isoformat(),
        }
        identity = msgspec.json.encode(
            [RequestKind.ALERT, service, alert.fingerprint, content["starts_at"]], order="sorted"
        )
        return Request(
            id=hashlib.sha256(identity).hexdigest()[:32],
            kind=RequestKind.ALERT,
            target=service,
            by=call.caller.name,
            at=self._context.clock.now(),
            body=content,
        )


def _not_for_us(alert: AlertmanagerAlert, services: Mapping[str, ServiceView]) -> str:
    """Why an alert is not listened to; empty when it is."""
    if alert.status != "firing":
        return f"it is {_short(alert.status)}, not firing"
    name = alert.labels.get("service", "")
    if not name:
        return "it has no label `service`"
    service = services.get(name)
    if service is None:
        guess = nearest(name, services)
        return f"no service is called {_short(name)!r}" + (f"; did you mean {guess!r}?" if guess else "")
    environment = alert.labels.get("environment", service.environment)
    if environment != service.environment:
        return f"{name} is protected in {service.environment}, not in {_short(environment)}"
    return ""


def _elsewhere(
    deployment: GithubDeployment,
    payload: Mapping[str, Any],
    service: ServiceView,
    environments: frozenset[str],
) -> str:
    """Why a deployment of that name is one somewhere else; empty when it is not.

    GitHub's environments may be called anything. Only one that the configuration knows, too, says where it was.
    """
    named = payload.get("environment") or (
        deployment.environment if deployment.environment in environments else service.environment
    )
    if named == service.environment:
        return ""
    return f"{service.name} is protected in {service.environment}; this went to {_short(str(named))}"


def _payload(deployment: GithubDeployment) -> dict[str, Any]:
    """What the one who made the deployment wrote beside it: an object, or a text that holds one."""
    payload = deployment.payload
    if isinstance(payload, str):
        try:
            payload = msgspec.json.decode(payload)
        except (msgspec.DecodeError, RecursionError):
            return {}
    return payload if isinstance(payload, dict) else {}


def _version(deployment: GithubDeployment) -> str | None:
    """The tag that was deployed, else the commit: a branch goes on while what is deployed stays."""
    ref = deployment.ref.removeprefix("refs/tags/")
    tag = ref != deployment.ref or ref.removeprefix("v")[:1].isdigit()
    return ref if tag and not deployment.sha.startswith(ref) else deployment.sha or ref or None


def _source(delivery: GithubDelivery) -> str:
    repository = delivery.repository.full_name if delivery.repository else ""
    return _short(f"github {repository}".strip())


def _link(delivery: GithubDelivery) -> str | None:
    status = delivery.deployment_status
    for link in (status.log_url, status.target_url):
        if link and len(link) <= 2000 and link.startswith(("https://", "http://")) and link.isprintable():
            return link if " " not in link else None
    return None


def _identity(delivery: GithubDelivery) -> str:
    """What tells this delivery from every other, in words that its signature covers."""
    deployment, status = delivery.deployment, delivery.deployment_status
    if deployment.id is None or status.id is None:
        return ""
    return f"{_source(delivery)} {deployment.id} {status.id}"


def _is_own(call: Call) -> bool:
    """Whether a signature of ours came with it."""
    return SIGNATURE in call.request.headers


def _delivery(call: Call, identity: str) -> str:
    """The key under which a delivery acts once: its own identity, its signature, else what the sender calls it."""
    if not identity and call.raw is not None:  # signed: what the signature does not cover tells nothing apart
        identity = call.request.headers[SIGNATURE if _is_own(call) else HUB].strip().lower()
    key = identity or call.request.headers.get(DELIVERY, "").strip()
    if len(key) > 400 or not key.isprintable():
        raise Problem(400, f"{DELIVERY} must be at most 200 printable characters")
    return key if len(key) <= 200 else hashlib.sha256(key.encode()).hexdigest()


def _short(text: str) -> str:
    """A foreign word on one line, without control characters, at most 200 of them."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= 200 else line[:199] + "…"


def _ignored(reason: str) -> web.Response:
    return reply_json(hook_shapes.Ignored(status="ignored", reason=reason))
