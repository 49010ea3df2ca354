"""What every handler is given, and how it asks the store: in a time budget, 503 when that fails.

This module must never answer for the store: what cannot be read is a problem, not an empty list.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import msgspec
from aiohttp import web

from watchdog.aio.clock import Clock
from watchdog.api.auth import Caller
from watchdog.api.interface import Desk, Live
from watchdog.api.problem import Mistake, Problem
from watchdog.core.errors import StoreError
from watchdog.core.rule import Rule
from watchdog.core.view import View
from watchdog.store.interface import Reader

#: Longest time for one read of the store, and for one answer of the reactor.
PATIENCE = timedelta(seconds=10)
MAX_LIMIT = 200
DEFAULT_LIMIT = 50
JSON = "application/json"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts the API looks at. `patience` bounds every wait."""

    reader: Reader
    desk: Desk
    live: Live
    rules: Callable[[], Mapping[str, Rule]]
    clock: Clock
    patience: timedelta = PATIENCE

    def view(self) -> View:
        """The newest view. Raises 503 until there is one."""
        view = self.live.view()
        if view is None:
            raise Problem(503, "the daemon is starting; nothing is known yet", headers={"Retry-After": "1"})
        return view

    async def ask(self, answer: Awaitable[T]) -> T:
        """One answer of the store. Raises 503 when it fails or takes too long."""
        try:
            async with asyncio.timeout(self.patience.total_seconds()):
                return await answer
        except TimeoutError:
            raise Problem(503, "the store did not answer in time", headers={"Retry-After": "5"}) from None
        except StoreError as error:
            raise store_problem(error) from error

    async def body(
        self, request: web.Request, *, limit: int | None = None, of_any_type: bool = False
    ) -> bytes:
        """The body of a request, which must be JSON if there is one, or `of_any_type`. Raises 400, 408, 413 and 415.

        `limit` (bytes) is for those that may send more than the application takes otherwise.
        """
        try:
            async with asyncio.timeout(self.patience.total_seconds()):
                raw = await (request if limit is None else request.clone(client_max_size=limit)).read()
        except web.HTTPRequestEntityTooLarge:
            if limit is None:
                raise
            raise Problem(413, f"a body may have at most {limit} bytes here") from None
        except TimeoutError:
            raise Problem(408, "the body did not arrive in time") from None
        except web.RequestPayloadError:
            raise Problem(400, "the body broke off or is not framed as HTTP wants it") from None
        if raw and request.content_type != JSON and not of_any_type:
            raise Problem(
                415,
                f"the body must be sent as Content-Type {JSON}, not {request.content_type}",
                headers={"Accept-Post": JSON},
            )
        return raw


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: who asks, and with what. `raw` is the body where it was read to know who asks."""

    request: web.Request
    caller: Caller
    raw: bytes | None = None

    def part(self, name: str) -> str:
        """A part of the path."""
        return self.request.match_info[name]


def store_problem(error: StoreError) -> Problem:
    """The 503 that says what is wrong with the store and what a person should do about it."""
    advice = f"; {error.advice}" if error.advice else ""
    return Problem(503, f"the store failed: {error}{advice}", headers={"Retry-After": "5"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """The query of a list: filters as they were given, and which page."""

    filters: Mapping[str, str]
    cursor: str | None
    limit: int

    def flag(self, name: str) -> bool:
        """A filter that is `true` or `false` (the default)."""
        value = self.filters.get(name, "false").lower()
        if value not in {"true", "false"}:
            raise bad_query(Mistake(pointer=f"?{name}", detail="is neither true nor false"))
        return value == "true"


def listing(request: web.Request, filters: Iterable[str] = ()) -> Listing:
    """The query of a request for a list. Raises 400 for unknown, repeated and impossible parameters."""
    known = {*filters, "cursor", "limit"}
    names = [name for name, _ in request.query.items()]
    mistakes = [
        Mistake(pointer=f"?{name}", detail=f"is not known; known are {', '.join(sorted(known))}")
        for name in dict.fromkeys(names)
        if name not in known
    ]
    mistakes += [
        Mistake(pointer=f"?{name}", detail="stands there twice") for name in known if names.count(name) > 1
    ]
    limit = request.query.get("limit", str(DEFAULT_LIMIT))
    if not (limit.isascii() and limit.isdigit() and len(limit) <= 4 and 1 <= int(limit) <= MAX_LIMIT):
        mistakes.append(Mistake(pointer="?limit", detail=f"is not a number from 1 to {MAX_LIMIT}"))
    if mistakes:
        raise bad_query(*mistakes)
    chosen = {name: request.query[name] for name in filters if name in request.query}
    return Listing(filters=chosen, cursor=request.query.get("cursor"), limit=int(limit))


def bad_query(*mistakes: Mistake) -> Problem:
    """The 400 that lists what is wrong with a query."""
    listed = "; ".join(f"{mistake.pointer} {mistake.detail}" for mistake in mistakes)
    return Problem(400, f"the query is wrong: {listed}", errors=mistakes)


def reply_json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer in JSON: times in RFC 3339 UTC, numbers that are not numbers as `null`."""
    return web.Response(
        status=status, body=msgspec.json.encode(body), content_type="application/json", headers=headers
    )
