"""One daemon of a schedule: the real engine, with a hand on everything that leaves or enters it.

It can be frozen and thawed, crash at named points, lose and win the leadership; its disk outlives it, as a disk does.
This module must never judge.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from tests.engine.loop import RECHECK, Engine, is_deposed
from tests.engine.worlds import DEPTH, ERRORS, POLICY
from tests.faults.machine_outside import Feed, Outside, Phone, Wire
from watchdog.core.errors import StoreAhead, StoreError
from watchdog.core.message import Attempted, Outgoing
from watchdog.core.reconfigure import ConfigBroken, Reconfigured
from watchdog.core.request import Request, RequestKind
from watchdog.core.restore import restore_service
from watchdog.core.rollback import RollbackState
from watchdog.core.routing import Route
from watchdog.core.rule import Evidence, Rule
from watchdog.core.service import Limits, Mode, Service
from watchdog.core.turn import Turn
from watchdog.store.interface import Wanted
from watchdog.testing.clock import BASE, LoopClock
from watchdog.testing.store import MemoryData, MemoryStore

#: Short, so that a schedule of some minutes goes through all of it.
RULES_OF_THE_HOUSE = replace(
    POLICY,
    cooldown=timedelta(seconds=20),
    max_per_day=3,
    armed_for=timedelta(minutes=10),
    approve_within=timedelta(seconds=60),
)
LIMITS = Limits(max_rollbacks=2, per=timedelta(seconds=90))
SHARE = replace(ERRORS, evidence=Evidence())
LAXER = replace(SHARE, thresholds=replace(SHARE.thresholds, warning=0.5, critical=0.6, rollback=0.9))
STRICTER = replace(SHARE, thresholds=replace(SHARE.thresholds, rollback=0.011))


@dataclass(slots=True)
class Known:
    """What a daemon was told and has acknowledged: from then on it must keep to it."""

    paused: bool = False
    tainted: set[str] = field(default_factory=set)
    vouched: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    """Ids of deployments that were posted with `rollback: forbidden`."""

    def copy(self) -> Known:
        return Known(
            paused=self.paused,
            tainted=set(self.tainted),
            vouched=set(self.vouched),
            forbidden=set(self.forbidden),
        )


@dataclass(slots=True)
class Disk:
    """What a store holds, and what was acknowledged on it."""

    data: MemoryData
    known: Known = field(default_factory=Known)
    passages: defaultdict[str, list[tuple[float, str]]] = field(default_factory=lambda: defaultdict(list))
    """When (virtual seconds) each rollback came to which state."""
    incidents: dict[str, tuple[float, str]] = field(default_factory=dict)
    """When each incident was opened, and whether it is open."""
    asked: dict[str, Request] = field(default_factory=dict)
    failing: bool = False
    copied: bool = False
    """Another daemon goes on from a copy of this one."""

    def copy(self) -> Disk:
        """A copy as of a backup."""
        made = Disk(data=copied(self.data), known=self.known.copy(), copied=True)
        self.copied = True
        for rollback, passages in self.passages.items():
            made.passages[rollback] = list(passages)
        made.incidents = dict(self.incidents)
        made.asked = dict(self.asked)
        return made


def copied(data: MemoryData) -> MemoryData:
    """The same rows; rows themselves are never changed in place."""
    made = MemoryData()
    for name, value in vars(data).items():
        setattr(made, name, value.copy() if isinstance(value, dict | list) else value)
    return made


class DaemonClock(LoopClock):
    """The clock of a daemon's machine; what waits for it stands still with its process."""

    def __init__(self, daemon: Daemon, base: datetime) -> None:
        super().__init__(base)
        self._daemon = daemon

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await self._daemon.point("slept")


class Lease:
    """Who may act, as this daemon believes."""

    def __init__(self) -> None:
        self.is_leader = True

    async def acquire(self) -> None: ...

    async def release(self) -> None:
        self.is_leader = False


class DiskStore(MemoryStore):
    """A store on a disk that can be full, under a daemon that can die beside it."""

    def __init__(self, outside: Outside, disk: Disk, daemon: Daemon) -> None:
        super().__init__(disk.data)
        self._outside = outside
        self._disk = disk
        self._daemon = daemon

    async def commit(self, turn: Turn) -> None:
        states = {one.state for one in turn.rollbacks}
        await self._daemon.thawed("commit")
        if RollbackState.INTENDED in states:
            await self._daemon.thawed("intend")
        if RollbackState.APPLIED in states:
            await self._daemon.thawed("record")
        self._require_life()
        with self._deposed():
            await super().commit(turn)
        self._outside.judge.committed(self._daemon, turn)
        if RollbackState.INTENDED in states:
            await self._daemon.thawed("intended")
        if RollbackState.APPLIED in states:
            await self._daemon.thawed("recorded")
        if self._daemon.dead:
            raise StoreError("the process has died")

    async def take(self, wanted: Wanted) -> tuple[Outgoing, ...]:
        await self._daemon.thawed("due")
        self._require_life()
        return await super().take(wanted)

    async def settle_many(self, attempts: Sequence[Attempted]) -> frozenset[str]:
        await self._daemon.thawed("settle")
        self._require_life()
        with self._deposed():
            return await super().settle_many(attempts)

    @contextlib.contextmanager
    def _deposed(self) -> Iterator[None]:
        """The process ends when another one became the writer of its store."""
        try:
            yield
        except StoreAhead:
            self._outside.count("deposed")
            self._daemon.die()
            raise

    def _require_life(self) -> None:
        if self._daemon.dead:
            raise StoreError("the process has died")
        if self._disk.failing:
            raise StoreError("the disk is full")


class Daemon(Engine):
    """One process. `dead`: it has crashed and does nothing more, whatever its tasks still try."""

    def __init__(self, outside: Outside, disk: Disk, *, name: str, mode: Mode, epoch: int = 3) -> None:
        super().__init__(data=disk.data, switch=outside.switch, rules=(SHARE, DEPTH), mode=mode)
        self.name = name
        self.outside = outside
        self.disk = disk
        self.dead = False
        self.was_frozen = False
        self.known = disk.known.copy()
        self.at_read: dict[str, tuple[Known, bool, bool]] = {}
        """By attempt, as of its last read: what was known, whether the pause file was there, whether it led."""
        self.clock: DaemonClock = DaemonClock(self, BASE + outside.skew)
        self.store = DiskStore(outside, disk, self)
        self.lease = Lease()
        self.epoch = epoch
        self.leadership = self.lease  # type: ignore[assignment]
        self.shop = Feed(outside, self)  # type: ignore[assignment]
        self.switches = {"trips": Wire(outside, self)}  # type: ignore[dict-item]
        self.channels = {name: Phone(people, self) for name, people in outside.channels.items()}  # type: ignore[misc]
        self.routes = (Route(to=tuple(outside.channels)),)
        self.limits = LIMITS
        self.every_rule = {rule.name: rule for rule in (SHARE, DEPTH)}
        self.service = Service(name="trips", rules=("errors",), rollback=RULES_OF_THE_HOUSE, mode=mode)
        self.services = {"trips": self.service}
        self._gate = asyncio.Event()
        self._gate.set()

    # Its life

    @property
    def frozen(self) -> bool:
        return not self._gate.is_set()

    def freeze(self) -> None:
        """Stand still, as under SIGSTOP."""
        self.was_frozen = True
        self._gate.clear()

    def thaw(self) -> None:
        self._gate.set()

    def die(self) -> None:
        """Nothing of it reaches the outside any more; `crash` is left to whoever drives the schedule."""
        if not self.dead:
            self.dead = True
            self.outside.crashed.set()

    async def end(self) -> None:
        """Take away what is left of it."""
        self.die()
        self.thaw()
        await self.crash()

    async def point(self, name: str) -> None:
        """A place where something can happen; a dead process never comes past it."""
        await self.thawed(name)
        if self.dead:
            await asyncio.Event().wait()

    async def thawed(self, name: str) -> None:
        """What waits in ambush here happens; a frozen process stands still here."""
        for ambush in self.outside.ambushes.pop(name, ()):
            if not self.dead:
                self.outside.count(f"ambush at: {name}")
                ambush(self)
        if not self._gate.is_set():
            await self._gate.wait()

    async def _paused(self) -> str:
        await self.point("pause check")
        return "the pause file is there" if self.outside.pause_file else ""

    def remember(self, attempt: str) -> None:
        """What held when an attempt read the switch."""
        self.at_read[attempt] = (self.known.copy(), bool(self.outside.pause_file), self.lease.is_leader)

    def fault(self) -> str:
        """What ended that never should."""
        failed = self.failed()
        return (
            ""
            if failed is None or self.dead or is_deposed(failed)
            else f"a task of {self.name} ended: {failed!r}"
        )

    # What people do

    async def request(self, kind: RequestKind, target: str = "trips", **body: object) -> bool:
        """Ask for something and wait for nothing; false when it could not be asked."""
        outside = self.outside
        outside.requests += 1
        request = Request(
            id=f"req-{outside.requests}",
            kind=kind,
            target=target,
            by="olga",
            at=self.clock.now(),
            body=dict(body),
        )
        if self.disk.failing or self.dead or self.frozen:
            return False
        self.disk.asked[request.id] = request
        await self.store.submit(request)
        return True

    async def reload(self, rules: tuple[Rule, ...], *, there: bool = True, broken: bool = False) -> None:
        """A changed configuration: these rules, the service there or gone; or one that cannot be used."""
        if broken:
            self.reactor.deliver(ConfigBroken(problems=("watchdog.yaml:1:1: what?",), file="watchdog.yaml"))
            return
        self.every_rule = {rule.name: rule for rule in rules}
        service = replace(self.service, rules=tuple(self.every_rule))
        self.services = {"trips": service} if there else {}
        self.rules = dict(self.every_rule)
        saved = await self.store.load(now=self.clock.now())
        restored = {
            name: restore_service(
                one,
                self.every_rule,
                record=next((record for record in saved.services if record.name == name), None),
                deployments=saved.deployments,
                incidents=saved.incidents,
                rollbacks=saved.rollbacks,
                checks=saved.checks,
            )
            for name, one in self.services.items()
            if name not in self.world.services
        }
        self.reactor.deliver(
            Reconfigured(
                services=self.services,
                rules=self.every_rule,
                sources=("prometheus",),
                limits=LIMITS,
                routes=self.routes,
                recheck=RECHECK,
                restored=restored,
                after=msgspec.json.encode(sorted(self.every_rule)).decode(),
            )
        )
