"""The HTTP application: routes bound to handlers, callers checked first, every error answered as a problem.

This module must never import the engine; it sees the daemon through `watchdog.api.interface` and the store's
reader.
"""

from __future__ import annotations

import asyncio
import functools
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog
from aiohttp import hdrs, web

from watchdog.aio.clock import Clock
from watchdog.api.asking import Asking
from watchdog.api.auth import Caller, Guard, Role, is_signed
from watchdog.api.callbacks import Callbacks, Receivers
from watchdog.api.context import PATIENCE, Call, Context, reply_json
from watchdog.api.dashboard import serving
from watchdog.api.events import KEEP_ALIVE, Events
from watchdog.api.hooks import HOOK_LIMIT, Hooks
from watchdog.api.interface import Desk, Live
from watchdog.api.openapi import document
from watchdog.api.problem import HEADERS, Problem, title_of
from watchdog.api.reading import Reading
from watchdog.api.routes import ROUTES, Route
from watchdog.config.loaded import Server
from watchdog.core.rule import Rule
from watchdog.store.interface import Reader
from watchdog.telemetry.metrics import CONTENT_TYPE

#: Largest body anybody has a reason to send (bytes).
BODY_LIMIT = 64 * 1024

#: Who may ask what can be changed while the application serves.
GUARD = web.AppKey("guard", Guard)

Handler = Callable[[Call], Awaitable[web.StreamResponse]]

_log = structlog.get_logger(__name__)
_ANYBODY = Caller(name="", role=Role.VIEWER)


def make_app(  # noqa: PLR0913 - the one place where the API's parts meet, all of them by name
    *,
    reader: Reader,
    desk: Desk,
    live: Live,
    server: Server,
    rules: Callable[[], Mapping[str, Rule]],
    metrics: Callable[[], bytes],
    clock: Clock,
    receivers: Receivers = lambda _kind: {},
    patience: timedelta = PATIENCE,
    keep_alive: timedelta = KEEP_ALIVE,
) -> web.Application:
    """The application, ready to be served (`watchdog.api.listener`).

    `rules`, `metrics` and `receivers` (channels that take callbacks) are asked anew for every request. `patience`
    bounds every wait for the store and for an answer; `keep_alive` is the interval of comments on an idle event stream.
    """
    context = Context(reader=reader, desk=desk, live=live, rules=rules, clock=clock, patience=patience)
    events = Events(keep_alive)
    desk.on_commit(events.publish)
    callbacks = Callbacks(context, receivers)
    handlers = _handlers(context, events, metrics, callbacks)
    guard = Guard(server.tokens, open_metrics=server.metrics == "open")
    app = web.Application(middlewares=[_problems], client_max_size=BODY_LIMIT)
    app[GUARD] = guard
    for route in ROUTES:
        handler = _bind(handlers[route.handler], guard, route, context)
        if route.method == "GET":
            # A HEAD of an endless stream would never end.
            app.router.add_get(route.path, handler, allow_head=route.handler != "events")
        else:
            app.router.add_route(route.method, route.path, handler)
    app.on_response_prepare.append(_stamp)

    async def end_streams(_: web.Application) -> None:
        events.close()
        await callbacks.aclose()

    app.on_shutdown.append(end_streams)
    return app


def _handlers(
    context: Context, events: Events, metrics: Callable[[], bytes], callbacks: Callbacks
) -> dict[str, Handler]:
    reading, asking = Reading(context), Asking(context)
    hooks = Hooks(context, asking)
    described = functools.cache(
        document
    )  # made when somebody asks: it takes longer than all the rest of this

    async def show_metrics(_: Call) -> web.Response:
        # Of a thousand services the page takes a good part of a second; decisions must not wait for it.
        body = await asyncio.to_thread(metrics)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: CONTENT_TYPE})

    async def show_document(_: Call) -> web.Response:
        return reply_json(described())

    return {
        "health": reading.health,
        "readiness": reading.readiness,
        "metrics": show_metrics,
        "dashboard": serving("dashboard.html"),
        "dashboard_script": serving("dashboard.js"),
        "dashboard_style": serving("dashboard.css"),
        "status": reading.status,
        "services": reading.services,
        "service": reading.service,
        "rules": reading.rules,
        "deployments": reading.deployments,
        "deployment": reading.deployment,
        "incidents": reading.incidents,
        "incident": reading.incident,
        "rollbacks": reading.rollbacks,
        "rollback": reading.rollback,
        "silences": reading.silences,
        "silence": reading.silence,
        "outbox": reading.outbox,
        "audit": reading.audit,
        "events": events.stream,
        "openapi": show_document,
        "post_deployment": asking.deployment,
        "post_rollback": asking.rollback,
        "pause": asking.pause,
        "resume": asking.resume,
        "gitops_resume": asking.gitops_resume,
        "acknowledge": asking.acknowledge,
        "unacknowledge": asking.unacknowledge,
        "approve": asking.approve,
        "reject": asking.reject,
        "close": asking.close,
        "taint": asking.taint,
        "untaint": asking.untaint,
        "mark_good": asking.mark_good,
        "post_silence": asking.silence,
        "expire": asking.expire,
        "resend": asking.resend,
        "hook_deployment": hooks.deployment,
        "hook_alertmanager": hooks.alertmanager,
        "hook_slack": callbacks.of("slack"),
        "hook_pagerduty": callbacks.of("pagerduty"),
    }


def _bind(
    handler: Handler, guard: Guard, route: Route, context: Context
) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        if route.role is not None and route.signed and is_signed(request):
            raw = await context.body(request, limit=HOOK_LIMIT)
            signer = guard.admit_signed(request, raw, route.role, now=context.clock.now())
            return await handler(Call(request=request, caller=signer, raw=raw))
        open_to_all = route.handler == "metrics" and guard.open_metrics
        caller = _ANYBODY if route.role is None or open_to_all else guard.admit(request, route.role)
        return await handler(Call(request=request, caller=caller))

    return handle


@web.middleware
async def _problems(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except Problem as problem:
        return problem.response()
    except web.HTTPException as error:
        return _translated(error).response()
    except ConnectionError:
        raise  # The client went away; there is nobody to tell.
    except Exception:  # noqa: BLE001 - the border to the outside: a fault must not become a traceback there
        identity = uuid.uuid4()
        _log.exception("api_request_failed", instance=str(identity), method=request.method, path=request.path)
        detail = "this is a fault of the watchdog; its log has the details"
        return Problem(500, detail, instance=identity.urn).response()


def _translated(error: web.HTTPException) -> Problem:
    """What aiohttp itself refuses: unknown paths, wrong methods, bodies that are too large."""
    match error:
        case web.HTTPMethodNotAllowed():
            allowed = ", ".join(sorted(error.allowed_methods))
            return Problem(405, f"this path takes {allowed}", headers={hdrs.ALLOW: allowed})
        case web.HTTPNotFound():
            return Problem(404, "there is nothing at this path; /api/v1/openapi.json lists what there is")
        case web.HTTPRequestEntityTooLarge():
            return Problem(413, f"a body may have at most {BODY_LIMIT} bytes")
        case _:
            return Problem(error.status, title_of(error.status))


async def _stamp(_: web.Request, response: web.StreamResponse) -> None:
    chosen = response.headers.get(hdrs.CACHE_CONTROL)
    response.headers.update(HEADERS)
    if chosen is not None:
        response.headers[hdrs.CACHE_CONTROL] = chosen
