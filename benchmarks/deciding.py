"""What guards and audit cost on the way from an answer to a switch: one decision, whole and part by part.

Each round takes one decision to roll back through `step`, the audit chain and the store on a real file, once with its
audit records and once without, by turns; guards are asked as at the decision and again as before the write.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import median
from tempfile import TemporaryDirectory

import msgspec

from tests.engine.red import bad, red_world
from watchdog.core.addressing import outgoing
from watchdog.core.audit import AuditDraft, AuditRecord, ChainHead, link
from watchdog.core.draft import plain
from watchdog.core.facts import facts_before_write, gather
from watchdog.core.guards import BEFORE_WRITE, ask
from watchdog.core.rollback import Rollback
from watchdog.core.step import Stepped, step
from watchdog.core.turn import Turn
from watchdog.core.world import World
from watchdog.store.sqlite import SqliteStore


@dataclass(slots=True)
class Decisions:
    """Seconds of each round: the whole decision until it is on disk, the guards' part, and that of the records.

    `linked` is building the records and their chain, `written` a commit with them and `unrecorded` one without.
    """

    whole: list[float] = field(default_factory=list)
    guards: list[float] = field(default_factory=list)
    linked: list[float] = field(default_factory=list)
    written: list[float] = field(default_factory=list)
    unrecorded: list[float] = field(default_factory=list)

    @property
    def audit(self) -> float:
        """The median cost of the audit. Two commits differ by what the disk does; their medians hardly do."""
        more = median(self.written) - median(self.unrecorded)
        return median(self.linked) + max(0.0, more)


async def decisions(count: int) -> Decisions:
    """So many decisions, each of a service of its own."""
    taken = Decisions()
    with TemporaryDirectory(prefix="deciding-") as folder:
        store = SqliteStore(f"sqlite:///{folder}/watchdog.db")
        await store.open()
        await store.claim(now=datetime.now(UTC))
        try:
            head, now = ChainHead(), datetime.now(UTC)
            worlds = red_world(2 * count, now).services
            pairs = list(zip(*[iter(worlds)] * 2, strict=True))
            for one, other in pairs:
                small = {name: World(services={name: worlds[name]}, leader=True) for name in (one, other)}
                head = await _round(store, small[one], small[other], head, now, taken)
        finally:
            await store.aclose()
    return taken


async def _round(
    store: SqliteStore, one: World, other: World, head: ChainHead, now: datetime, taken: Decisions
) -> ChainHead:
    began = time.perf_counter()
    stepped = step(one, bad(next(iter(one.services)), now), now)
    judged = time.perf_counter()
    records, head = _linked(stepped.audit, head)
    linked = time.perf_counter()
    await store.commit(_turn(stepped, records, head))
    written = time.perf_counter()
    bare = step(other, bad(next(iter(other.services)), now), now)
    before = time.perf_counter()
    await store.commit(_turn(bare, (), head))
    unrecorded = time.perf_counter() - before
    before = time.perf_counter()
    for draft in stepped.audit:
        plain(msgspec.convert(draft.body, dict))
    plained = time.perf_counter() - before
    taken.whole.append(written - began)
    taken.linked.append(linked - judged + plained)
    taken.written.append(written - linked)
    taken.unrecorded.append(unrecorded)
    taken.guards.append(_guards(stepped.world, stepped.rollbacks[0], now))
    return head


def _linked(drafts: tuple[AuditDraft, ...], head: ChainHead) -> tuple[tuple[AuditRecord, ...], ChainHead]:
    records = list[AuditRecord]()
    for draft in drafts:
        record = link(head, draft)
        records.append(record)
        head = ChainHead(seq=record.seq, hash=record.hash)
    return tuple(records), head


def _turn(stepped: Stepped, records: tuple[AuditRecord, ...], head: ChainHead) -> Turn:
    return Turn(
        services=stepped.services,
        deployments=stepped.deployments,
        incidents=stepped.incidents,
        rollbacks=stepped.rollbacks,
        checks=stepped.checks,
        outbox=outgoing(stepped.messages, stepped.world.routes, head=head.hash),
        audit=records,
    )


def _guards(world: World, rollback: Rollback, now: datetime) -> float:
    """Asked as they are on the way: all at the decision, those of the write before it."""
    service = world.services[rollback.service]
    traffic = service.traffic
    if traffic is None:
        raise ValueError("a service that is decided about was seen")
    bad_one, rule = service.deployments[rollback.deployment], rollback.rules[0]
    began = time.perf_counter()
    ask(gather(world, service, now=now, automatic=True, bad=bad_one, rule=rule, own=rollback))
    ask(facts_before_write(world, rollback, traffic, now=now, paused_by_file=""), BEFORE_WRITE)
    return time.perf_counter() - began
