"""Asking: every `POST` becomes a request that is stored first and answered by the reactor.

Nothing here changes anything by itself, so that a person's wish takes the same road as the watchdog's own
decisions.
"""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from watchdog.api import shapes
from watchdog.api.accepted import Accepted
from watchdog.api.bodies import (
    CLOCK_SKEW,
    Body,
    PostedAcknowledgement,
    PostedDeployment,
    PostedReason,
    PostedRollback,
    PostedSilence,
    PostedVersion,
    parse,
    refuse,
)
from watchdog.api.context import Call, Context, reply_json, store_problem
from watchdog.api.matchers import ending, matched
from watchdog.api.outbox_shapes import present_outgoing
from watchdog.api.presenters import (
    present_deployment,
    present_incident,
    present_rollback,
    present_silence,
)
from watchdog.api.problem import Mistake, Problem
from watchdog.api.reading import identity, unknown
from watchdog.core.errors import StoreError
from watchdog.core.message import OutgoingState
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.settings.registry import nearest

#: Repeating a request with the same value of this header gives the same answer and asks only once.
IDEMPOTENCY_KEY = "Idempotency-Key"
_PERHAPS_STORED = (
    "the store did not answer in time, and the request may be stored all the same; "
    f"repeat it with the same {IDEMPOTENCY_KEY}"
)
_NOBODY_LEADS = (
    "no watchdog leads now, so nobody answers; the request is stored, and the next leader takes it; "
    f"repeat it with the same {IDEMPOTENCY_KEY} for the answer"
)

B = TypeVar("B", bound=Body)


class Asking:
    """The handlers of every `POST`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def deployment(self, call: Call) -> web.Response:
        """Record a deployment."""
        return await self.announce(call, await self._body(call, PostedDeployment))

    async def announce(
        self, call: Call, body: PostedDeployment, *, key: str = "", at: str = "#"
    ) -> web.Response:
        """Record a deployment that came in whatever way.

        `key` is what an `Idempotency-Key` is; `at` points to where the deployment stood in what was posted.
        """
        services = self._context.view().services
        mistakes = []
        if body.service not in services:
            guess = nearest(body.service, services)
            hint = f"; did you mean {guess!r}?" if guess else ""
            mistakes.append(Mistake(pointer=f"{at}/service", detail=f"no service has this name{hint}"))
        if body.started_at is not None and body.started_at > self._context.clock.now() + CLOCK_SKEW:
            mistakes.append(Mistake(pointer=f"{at}/started_at", detail="lies in the future"))
        if mistakes:
            raise refuse(*mistakes)
        return await self._ask(call, RequestKind.DEPLOYMENT, body.service, body, key=key)

    async def rollback(self, call: Call) -> web.Response:
        """Move a service's traffic back."""
        return await self._for_service(call, RequestKind.ROLLBACK, PostedRollback)

    async def pause(self, call: Call) -> web.Response:
        """Stop the automation for a service."""
        return await self._for_service(call, RequestKind.PAUSE, PostedReason)

    async def resume(self, call: Call) -> web.Response:
        """Let the automation act again."""
        return await self._for_service(call, RequestKind.RESUME, PostedReason)

    async def gitops_resume(self, call: Call) -> web.Response:
        """Let what was suspended for a rollback write the service's target again."""
        return await self._for_service(call, RequestKind.GITOPS_RESUME, PostedReason)

    async def acknowledge(self, call: Call) -> web.Response:
        """Say that somebody looks after an incident."""
        return await self._for_incident(call, RequestKind.ACKNOWLEDGE, PostedAcknowledgement)

    async def unacknowledge(self, call: Call) -> web.Response:
        """Say that nobody looks after an incident any more."""
        return await self._for_incident(call, RequestKind.UNACKNOWLEDGE)

    async def approve(self, call: Call) -> web.Response:
        """Allow the rollback that waits for approval."""
        return await self._for_incident(call, RequestKind.APPROVE)

    async def reject(self, call: Call) -> web.Response:
        """Refuse the rollback that waits for approval."""
        return await self._for_incident(call, RequestKind.REJECT)

    async def close(self, call: Call) -> web.Response:
        """Close an incident by hand."""
        return await self._for_incident(call, RequestKind.CLOSE)

    async def taint(self, call: Call) -> web.Response:
        """Never roll back to a version."""
        return await self._for_service(call, RequestKind.TAINT, PostedVersion)

    async def untaint(self, call: Call) -> web.Response:
        """Let a version be a rollback target again."""
        return await self._for_service(call, RequestKind.UNTAINT, PostedVersion)

    async def mark_good(self, call: Call) -> web.Response:
        """Make a version stable now."""
        return await self._for_service(call, RequestKind.MARK_GOOD, PostedVersion)

    async def silence(self, call: Call) -> web.Response:
        """Hold back what is told of incidents, for a while."""
        body = await self._body(call, PostedSilence)
        matchers, mistakes = matched(body.matchers, self._context.view(), self._context.rules())
        mistakes += ending(body, now=self._context.clock.now())
        if mistakes:
            raise refuse(*mistakes)
        return await self._ask(call, RequestKind.SILENCE, "", body.model_copy(update={"matchers": matchers}))

    async def expire(self, call: Call) -> web.Response:
        """End a silence early."""
        wanted = identity(call, "silence")
        if await self._context.ask(self._context.reader.silence(wanted)) is None:
            raise unknown("silence", wanted)
        return await self._ask(call, RequestKind.EXPIRE, wanted, await self._body(call, PostedReason))

    async def resend(self, call: Call) -> web.Response:
        """Try a message again that was given up."""
        wanted = identity(call, "message", longest=2000)
        found = await self._context.ask(self._context.reader.outgoing(wanted))
        if found is None:
            raise unknown("message", wanted)
        if found.state is not OutgoingState.DEAD:
            raise Problem(409, f"the message is {found.state}; only one that was given up can be tried again")
        return await self._ask(call, RequestKind.RESEND, wanted, await self._body(call, PostedReason))

    async def _for_service(self, call: Call, kind: RequestKind, model: type[Body]) -> web.Response:
        services = self._context.view().services
        name = call.part("name")
        if name not in services:
            raise unknown("service", name, services)
        return await self._ask(call, kind, name, await self._body(call, model))

    async def _for_incident(
        self, call: Call, kind: RequestKind, model: type[Body] = PostedReason
    ) -> web.Response:
        wanted = identity(call, "incident")
        if await self._context.ask(self._context.reader.incident(wanted)) is None:
            raise unknown("incident", wanted)
        return await self._ask(call, kind, wanted, await self._body(call, model))

    async def _body(self, call: Call, model: type[B]) -> B:
        return parse(model, await self._context.body(call.request) or b"{}")

    async def _ask(
        self, call: Call, kind: RequestKind, target: str, body: Body, *, key: str = ""
    ) -> web.Response:
        content = body.model_dump(mode="json", exclude_none=True)
        wish = Request(
            id=_request_id(call, content, key),
            kind=kind,
            target=target,
            by=call.caller.name,
            at=self._context.clock.now(),
            body=content,
        )
        reply = await self.reply(wish)
        if reply is None and self._nobody_leads():
            raise Problem(503, _NOBODY_LEADS, headers={"Retry-After": "5"})
        if reply is None:
            detail = (
                f"stored, but not answered yet; send it again with the same {IDEMPOTENCY_KEY} for the answer"
            )
            return reply_json(
                Accepted(request=wish.id, detail=detail), status=202, headers={"Retry-After": "1"}
            )
        if reply.status >= 400:
            raise Problem(reply.status, reply.detail or "the request was refused")
        return reply_json(await self._shown(wish, reply), status=reply.status)

    def _nobody_leads(self) -> bool:
        """Whether there is nobody who could answer now, as far as is known here."""
        view = self._context.live.view()
        return view is not None and not view.leader and not view.holder

    async def reply(self, wish: Request) -> Reply | None:
        """Store a request and wait for its answer; `None` when it is stored, but not answered in time. Raises 503."""
        try:
            async with asyncio.timeout(self._context.patience.total_seconds()):
                await self._context.desk.submit(wish)
        except TimeoutError:
            raise Problem(503, _PERHAPS_STORED, headers={"Retry-After": "5"}) from None
        except StoreError as error:
            raise store_problem(error) from error
        try:
            async with asyncio.timeout(self._context.patience.total_seconds()):
                return await self._context.desk.reply(wish.id)
        except TimeoutError:
            return None
        except StoreError as error:
            raise store_problem(error) from error

    async def _shown(self, wish: Request, reply: Reply) -> dict[str, Any]:
        """The reply's body; a record that it names by `id` is shown the way `GET` shows it."""
        wanted = reply.body.get("id")
        if not isinstance(wanted, str):
            return reply.body
        try:
            shown = await self._record(wish.kind, wanted)
        except Problem:
            shown = None  # It is done; that it cannot be shown now must not look like a failure.
        return msgspec.to_builtins(shown) if shown else {"id": wanted}

    async def _record(self, kind: RequestKind, wanted: str) -> shapes.Shape | None:
        reader = self._context.reader
        match kind:
            case RequestKind.DEPLOYMENT:
                deployment = await self._context.ask(reader.deployment(wanted))
                return present_deployment(deployment) if deployment else None
            case RequestKind.ROLLBACK | RequestKind.APPROVE | RequestKind.REJECT:
                rollback = await self._context.ask(reader.rollback(wanted))
                return present_rollback(rollback) if rollback else None
            case RequestKind.ACKNOWLEDGE | RequestKind.UNACKNOWLEDGE | RequestKind.CLOSE:
                incident = await self._context.ask(reader.incident(wanted))
                return present_incident(incident) if incident else None
            case RequestKind.SILENCE | RequestKind.EXPIRE:
                silence = await self._context.ask(reader.silence(wanted))
                return present_silence(silence, now=self._context.clock.now()) if silence else None
            case RequestKind.RESEND:
                message = await self._context.ask(reader.outgoing(wanted))
                return present_outgoing(message) if message else None
            case (
                RequestKind.PAUSE
                | RequestKind.RESUME
                | RequestKind.TAINT
                | RequestKind.UNTAINT
                | RequestKind.MARK_GOOD
                | RequestKind.ALERT
                | RequestKind.GITOPS_RESUME
            ):
                return None


def _request_id(call: Call, content: dict[str, Any], key: str) -> str:
    """A new id, or the one that `key` or the caller's `Idempotency-Key` stands for.

    Caller, path and content are part of it: one person's key never answers with another's record, and a key
    that is used again for something else asks for that instead of answering with the old.
    """
    key = key or call.request.headers.get(IDEMPOTENCY_KEY, "").strip()
    if not key:
        return uuid.uuid4().hex
    if len(key) > 200 or not key.isprintable():
        raise Problem(400, f"{IDEMPOTENCY_KEY} must be at most 200 printable characters")
    parts = [call.caller.name, call.request.method, call.request.path, key, content]
    return hashlib.sha256(msgspec.json.encode(parts, order="sorted")).hexdigest()[:32]
