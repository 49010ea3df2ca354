"""What every store promises: what was committed survives, and nothing else is ever seen.

One writer: the process that claimed the store last; requests may come from any. Every method may raise `StoreError`
(`StoreLocked` and `StoreCorrupt` from `open`); after one, nothing of that call was written. All are safe to cancel: a
cancelled write is either whole or absent, and the caller must read to know which.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar, runtime_checkable

import msgspec

from watchdog.core.audit import AuditRecord, ChainHead
from watchdog.core.deployment import Deployment
from watchdog.core.incident import Incident
from watchdog.core.message import Attempted, Outgoing, OutgoingState
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


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a dispatcher can take from the outbox at `now`, `limit` messages and the whole of their groups.

    `full` are channels that take nothing more for now, `full_for_urgent` those that take nothing urgent either.
    `in_hand` are keys that it has already: they are not answered again, and stay its own. `whatever`: also what is not
    due yet. `lease` is how long what is answered, and what is in hand, is nobody else's.
    """

    now: datetime
    limit: int = 100
    full: frozenset[str] = frozenset()
    full_for_urgent: frozenset[str] = frozenset()
    in_hand: frozenset[str] = frozenset()
    whatever: bool = False
    lease: timedelta = timedelta()


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How things stand in the outbox: `pending` and `dead` messages by channel, and which of the pending to look at.

    `oldest` was stored first, `needed` first of those that are urgent; `overdue` has been due for longest without being
    tried (again), or is the next that will be due.
    """

    pending: dict[str, int] = {}
    dead: dict[str, int] = {}
    oldest: Outgoing | None = None
    needed: Outgoing | None = None
    overdue: Outgoing | None = None


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

    async def outbox(
        self,
        *,
        state: OutgoingState | None = None,
        channel: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[Outgoing]:
        """Messages on their way, sent or given up: those that were stored last first."""
        ...

    async def outgoing(self, key: str) -> Outgoing | None:
        """One message by its key."""
        ...

    async def outbox_pending(self) -> int:
        """Messages not yet sent and not given up."""
        ...

    async def outbox_standing(self) -> Standing:
        """How many wait or were given up, and what has waited for longest."""
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

        Outgoing messages whose key exists already are left as they are; of `resent`, those that were given up are
        pending again. Raises `StoreError` when a rollback's `key`
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
        """What could be taken now by one who has nothing in hand; takes nothing. Needs no claim."""
        ...

    async def take(self, wanted: Wanted) -> tuple[Outgoing, ...]:
        """Pending messages whose time has come: what is urgent first, then the longest due first.

        With `thread` where their conversation has begun on their channel. A message waits for earlier ones of its
        conversation on its channel, for a minute at most; earlier ones go with what is urgent.

        Leases: what is answered, or in hand, belongs to this claim until the lease ends, a settlement ends it, or the
        claimant asks again. Where several processes may use the store, another one that claims it is answered nothing
        that is leased: the lease is written in the transaction that reads, is fenced like every write, and goes by the
        database's clock. Where one process has the store for itself (SQLite) the lock on its file is the lease. It ends
        with the process, so what a dead one left is answered at once, and nothing needs to be written. Raises as
        `commit` where it writes.
        """
        ...

    async def settle(
        self,
        key: str,
        *,
        state: OutgoingState,
        due_at: datetime,
        last_error: str = "",
        sent_at: datetime | None = None,
        reference: str = "",
    ) -> None:
        """Record what became of one attempt (and count it). Raises `StoreAhead` and `StoreError` as `commit` does."""
        ...

    async def settle_many(self, attempts: Sequence[Attempted]) -> frozenset[str]:
        """Record what became of attempts at different messages, in one transaction, all or none.

        Answers the keys that are not in the outbox (any more). Raises as `commit` does.
        """
        ...

    async def prune(self, *, before: datetime, limit: int = 200) -> int:
        """Forget at most `limit` records from before a time that nobody needs any more; answers how many were.

        Messages that were sent or given up, and requests that were answered. Conversations are kept whole while one of
        their messages is younger or pending, or their incident is open. Raises as `commit` does.
        """
        ...
