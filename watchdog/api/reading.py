"""Reading: what the API shows. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from aiohttp import web

from watchdog.api import shapes
from watchdog.api.context import Call, Context, Listing, bad_query, listing, reply_json, store_problem
from watchdog.api.cursor import read_name, write_name
from watchdog.api.outbox_shapes import present_outgoing
from watchdog.api.presenters import (
    present_audit,
    present_deployment,
    present_incident,
    present_rollback,
    present_rule,
    present_service,
    present_silence,
    present_status,
)
from watchdog.api.problem import Mistake, Problem
from watchdog.core.errors import StoreError
from watchdog.core.message import OutgoingState
from watchdog.settings.registry import nearest
from watchdog.store.interface import Page

T = TypeVar("T")


class Reading:
    """The handlers of every `GET`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def health(self, call: Call) -> web.Response:
        """200 while the reactor makes progress. A broken store is no reason for a restart."""
        live = self._context.live
        progress_at = live.progress_at()
        idle = self._context.clock.now() - progress_at
        if idle > live.stalled_after:
            raise Problem(503, f"the reactor has made no progress for {idle.total_seconds():.1f} s")
        return reply_json(
            shapes.Health(
                status="ok",
                progress_at=progress_at,
                stalled_after_seconds=live.stalled_after.total_seconds(),
            )
        )

    async def readiness(self, call: Call) -> web.Response:
        """200 when there is something to show and the store works; whether this one leads does not matter."""
        view = self._context.view()
        if view.store_error:
            raise store_problem(StoreError(view.store_error))
        return reply_json(shapes.Readiness(status="ready", leader=view.leader, view_at=view.at))

    async def status(self, call: Call) -> web.Response:
        """The daemon itself."""
        return reply_json(present_status(self._context.view()))

    async def services(self, call: Call) -> web.Response:
        """Every service now, by name."""
        services = self._context.view().services
        page = _by_name("services", services, listing(call.request))
        return _list(page, present_service)

    async def service(self, call: Call) -> web.Response:
        """One service now."""
        services = self._context.view().services
        name = call.part("name")
        if name not in services:
            raise unknown("service", name, services)
        return reply_json(present_service(services[name]))

    async def rules(self, call: Call) -> web.Response:
        """Every rule in force, by name, with the services that use it."""
        view = self._context.view()
        used: dict[str, set[str]] = {}
        for service in view.services.values():
            for check in service.checks:
                used.setdefault(check.id.rule, set()).add(service.name)
        page = _by_name("rules", self._context.rules(), listing(call.request))
        return _list(page, lambda rule: present_rule(rule, tuple(sorted(used.get(rule.name, ())))))

    async def deployments(self, call: Call) -> web.Response:
        """Deployments, newest first."""
        query = listing(call.request, ["service"])
        answer = self._context.reader.deployments(
            service=query.filters.get("service"), cursor=query.cursor, limit=query.limit
        )
        return _list(await self._page(answer), present_deployment)

    async def deployment(self, call: Call) -> web.Response:
        """One deployment."""
        found = await self._context.ask(self._context.reader.deployment(identity(call, "deployment")))
        if found is None:
            raise unknown("deployment", call.part("id"))
        return reply_json(present_deployment(found))

    async def incidents(self, call: Call) -> web.Response:
        """Incidents, newest first."""
        query = listing(call.request, ["service", "open"])
        answer = self._context.reader.incidents(
            service=query.filters.get("service"),
            open_only=query.flag("open"),
            cursor=query.cursor,
            limit=query.limit,
        )
        return _list(await self._page(answer), present_incident)

    async def incident(self, call: Call) -> web.Response:
        """One incident."""
        found = await self._context.ask(self._context.reader.incident(identity(call, "incident")))
        if found is None:
            raise unknown("incident", call.part("id"))
        return reply_json(present_incident(found))

    async def rollbacks(self, call: Call) -> web.Response:
        """Rollbacks, newest first."""
        query = listing(call.request, ["service"])
        answer = self._context.reader.rollbacks(
            service=query.filters.get("service"), cursor=query.cursor, limit=query.limit
        )
        return _list(await self._page(answer), present_rollback)

    async def rollback(self, call: Call) -> web.Response:
        """One rollback."""
        found = await self._context.ask(self._context.reader.rollback(identity(call, "rollback")))
        if found is None:
            raise unknown("rollback", call.part("id"))
        return reply_json(present_rollback(found))

    async def silences(self, call: Call) -> web.Response:
        """Silences, newest first."""
        query, now = listing(call.request, ["active"]), self._context.clock.now()
        answer = self._context.reader.silences(
            active_only=query.flag("active"), cursor=query.cursor, limit=query.limit
        )
        return _list(await self._page(answer), lambda one: present_silence(one, now=now))

    async def silence(self, call: Call) -> web.Response:
        """One silence."""
        found = await self._context.ask(self._context.reader.silence(identity(call, "silence")))
        if found is None:
            raise unknown("silence", call.part("id"))
        return reply_json(present_silence(found, now=self._context.clock.now()))

    async def outbox(self, call: Call) -> web.Response:
        """Messages on their way, sent or given up, newest first."""
        query = listing(call.request, ["state", "channel"])
        wanted = query.filters.get("state")
        known = [state.value for state in OutgoingState]
        if wanted is not None and wanted not in known:
            raise bad_query(Mistake(pointer="?state", detail=f"is not one of {', '.join(known)}"))
        answer = self._context.reader.outbox(
            state=OutgoingState(wanted) if wanted else None,
            channel=query.filters.get("channel"),
            cursor=query.cursor,
            limit=query.limit,
        )
        return _list(await self._page(answer), present_outgoing)

    async def audit(self, call: Call) -> web.Response:
        """Audit records, newest first."""
        query = listing(call.request, ["subject"])
        answer = self._context.reader.audit(
            subject=query.filters.get("subject"), cursor=query.cursor, limit=query.limit
        )
        return _list(await self._page(answer), present_audit)

    async def _page(self, answer: Any) -> Page[Any]:
        try:
            page: Page[Any] = await self._context.ask(answer)
        except ValueError:
            raise _bad_cursor() from None
        return page


def identity(call: Call, noun: str, *, longest: int = 200) -> str:
    """The id in the path. What no id can be is answered 404 without asking the store."""
    wanted = call.part("id")
    if len(wanted) > longest or not wanted.isprintable():
        raise Problem(404, f"there is no such {noun}")
    return wanted


def unknown(noun: str, name: str, known: Iterable[str] = ()) -> Problem:
    """The 404 for a name nobody knows, with the nearest one that exists."""
    guess = nearest(name, known)
    return Problem(404, f"there is no {noun} {name!r}" + (f"; did you mean {guess!r}?" if guess else ""))


def _by_name(what: str, found: Any, query: Listing) -> Page[Any]:
    """A page of a mapping, in the order of names; the cursor holds the last name of the page before."""
    try:
        after = None if query.cursor is None else read_name(what, query.cursor)
    except ValueError:
        raise _bad_cursor() from None
    names = sorted(name for name in found if after is None or name > after)
    page = names[: query.limit]
    following = write_name(what, page[-1]) if len(names) > len(page) else None
    return Page(items=tuple(found[name] for name in page), next=following)


def _bad_cursor() -> Problem:
    return bad_query(Mistake(pointer="?cursor", detail="is not a cursor that this list has answered"))


def _list(page: Page[Any], present: Callable[[Any], Any]) -> web.Response:
    return reply_json({"items": [present(item) for item in page.items], "next": page.next})
