"""What every store promises: what was committed survives, and nothing else is ever seen.

One writer: the process that claimed the store last; requests may come from any. Every method may raise `StoreError`
(`StoreLocked` and `StoreCorrupt` from `open`); after one, nothing of that call was written. All are safe to cancel: a
cancelled write is either whole or absent, and the caller must read to know which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime
from typing import Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from watchdog.core.audit import AuditRecord, ChainHead
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Incident
from watchdog.core.message import Outgoing, OutgoingState
from watchdog.core.request import Reply, Request
from watchdog.core.rollback import Rollback
from watchdog.core.silence import Silence
from watchdog.core.turn import CheckRecord, ServiceRecord, Turn


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """Everything the reactor needs to go on after a restart.

    `deployments`, per service: every one that is not ended, every stable one, and the newest 50. `incidents`: open
    ones. `rollbacks`: not ended, those decided in the last 24 hours, and the one that a deployment which has not ended
    had already: there is never a second. `silences`: those that were not ended. `requests`: stored, not yet answered.
    """

    services: tuple[ServiceRecord, ...] = ()
    deployments: tuple[Deployment, ...] = ()
    incidents: tuple[Incident, ...] = ()
    silences: tuple[Silence, ...] = ()
    rollbacks: tuple[Rollback, ...] = ()
    checks: tuple[CheckRecord, ...] = ()
    requests: tuple[Request, ...] = ()
    head: ChainHead = ChainHead()


T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """One page of a list, newest first; `next` is the cursor of the following page, `None` at the end."""

    items: tuple[T, ...]
    next: str | None = None


class Reader(Protocol):
    """The reading half: used by the API and by commands that look at the store without running the daemon."""

    async def deployments(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Deployment]:
        """Deployments, newest first. A malformed cursor raises `ValueError`."""
        ...

    async def incidents(
        self,
        *,
        service: str | None = None,
        open_only: bool = False,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Incident]:
        """Incidents, newest first."""
        ...

    async def rollbacks(
        self, *, service: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[Rollback]:
        """Rollbacks, newest first."""
        ...

    async def silences(
        self, *, active_only: bool = False, cursor: str | None = None, limit: int = 50
    ) -> Page[Silence]:
        """Silences, newest first. Active is one that was not ended; the caller looks at the clock."""
        ...

    async def deployment(self, identity: str) -> Deployment | None:
        """One deployment by id."""
        ...

    async def incident(self, identity: str) -> Incident | None:
        """One incident by id."""
        ...

    async def rollback(self, identity: str) -> Rollback | None:
        """One rollback by id."""
        ...

    async def silence(self, identity: str) -> Silence | None:
        """One silence by id."""
        ...

    async def audit(
        self, *, subject: str | None = None, cursor: str | None = None, limit: int = 50
    ) -> Page[AuditRecord]:
        """Audit records, newest first."""
        ...

    def chain(self) -> AsyncIterator[AuditRecord]:
        """The whole audit chain, oldest first, streamed."""
        ...

    async def outbox_pending(self) -> int:
        """Messages not yet sent and not given up."""
        ...

    async def aclose(self) -> None:
        """Close. Idempotent, never raises."""
        ...


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """How the database of a store is, for `watchdog doctor`: `size` in bytes, `free` connections that are left.

    `refused`: what our user may not do there, in words. `empty`: no daemon has made its tables yet.
    """

    server: str
    size: int
    free: int
    empty: bool = False
    refused: str = ""


@runtime_checkable
class Remote(Protocol):
    """A reader of a database behind a network."""

    async def condition(self) -> Condition:
        """How it is now. Raises `StoreError`, also for a server that takes no writes."""
        ...


class Store(Reader, Protocol):
    """The whole store; there is one writer. A process that acts opens, claims and loads it, in this order."""

    async def open(self) -> None:
        """Lock, check integrity, migrate. Raises `StoreLocked`, `StoreCorrupt` or `StoreError` with advice."""
        ...

    async def claim(self, *, now: datetime) -> int:
        """Become the writer, and answer the epoch of this: more than any before it, also in a store that was lost.

        It is the seconds since 1970, or one more than the epoch stored, and is durable when it returns. Waits for
        commits under way. From then on `commit` and `settle` of whoever was the writer before raise `StoreAhead` and
        write nothing. What this process knew of the store is old: `load` comes next. Can be repeated.
        """
        ...

    async def load(self, *, now: datetime) -> Saved:
        """Everything that is needed to go on."""
        ...

    async def commit(self, turn: Turn) -> None:
        """Write one turn in one durable transaction. All or nothing; durable when it returns.

        Outgoing messages whose key exists already are left as they are. Raises `StoreError` when a rollback's `key`
        belongs to another rollback, or an audit record does not follow the stored head; `StoreAhead` when it turns out
        that a turn is stored after all that could not be written, as it seemed, or that another process claimed the
        store since: only a start afresh goes on from there. `StoreError` without a claim.
        """
        ...

    async def submit(self, request: Request) -> None:
        """Store a request durably, then call every listener. Idempotent by `request.id`. Needs no claim."""
        ...

    def on_request(self, listener: Callable[[Request], None]) -> None:
        """Call `listener` for every request after it was stored. It must not block."""
        ...

    async def reply(self, request: str) -> Reply:
        """Wait until the request is answered, and answer it. The caller brings the timeout."""
        ...

    def on_commit(self, listener: Callable[[Turn], None]) -> None:
        """Call `listener` after every commit, in order. It must not block."""
        ...

    async def due(self, *, now: datetime, limit: int = 100) -> tuple[Outgoing, ...]:
        """Pending messages whose time has come, oldest first."""
        ...

    async def settle(
        self,
        key: str,
        *,
        state: OutgoingState,
        due_at: datetime,
        last_error: str = "",
        sent_at: datetime | None = None,
    ) -> None:
        """Record what became of one attempt (and count it). Raises `StoreAhead` and `StoreError` as `commit` does."""
        ...
