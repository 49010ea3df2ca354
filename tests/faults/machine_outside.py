"""Everything around the daemons of one schedule: the switch, the source, people's channels, time, and what is true.

All of it is fake and in virtual time, and all of it is written down as it happens: every read and write of the switch
(who, in which attempt, at which revision, with what result), every answer of the source with whether it could be
believed, every message. The judge (`tests/faults/machine_promises.py`) looks only at this and at the stores. This
module must never ask a daemon what it thinks.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected, SwitchUnknown, SwitchUnreachable
from watchdog.core.message import Message, Thread
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.traffic import Change, Tier, TrafficState, VariantState
from watchdog.sources.interface import Question, SourceReport
from watchdog.testing.clock import BASE
from watchdog.testing.traffic import FakeSwitch

if TYPE_CHECKING:
    from tests.faults.machine_daemon import Daemon
    from tests.faults.machine_promises import Promises

#: Servers of each variant; of them 80 % must be ready before traffic goes there.
SERVERS, NEEDED = 5, 4
#: From this share on a version is bad (`ERRORS.thresholds`): below it nothing may ever be rolled back.
BAD, WORSE_THAN_OK = 0.015, 0.005


class Kind(StrEnum):
    """What a line of the switch's log says."""

    READ = "read"  #: a daemon was answered
    SENT = "sent"  #: a daemon decided to write: everything it checked lies before this
    EFFECT = "effect"  #: a daemon's write changed traffic
    MOVED = "moved"  #: somebody else changed it
    REFUSED = "refused"  #: a write that changed nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line. `at` are seconds of virtual time, `wall` the machine's time of day, `attempt` the task that did it."""

    number: int
    at: float
    kind: Kind
    who: str = ""
    attempt: str = ""
    wall: datetime = BASE
    revision: str = ""
    live: tuple[str, ...] = ()
    state: TrafficState | None = None
    change: Change | None = None
    late: bool = False
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One answer of the source that says something: a number, of many requests, from a time that can be.

    It came `at`, and says how it was when it was `sampled`; both are seconds of virtual time.
    """

    at: float
    version: str
    share: float
    sampled: float


@dataclass(slots=True)
class Sight:
    """How the source answers now."""

    mode: str = "value"
    slow: float = 0.0
    frozen_at: float | None = None


class Target(FakeSwitch):
    """The switched object, which says when a write took effect."""

    effect: Callable[[Change], None] | None = None

    def _enforce(self, change: Change) -> None:
        super()._enforce(change)
        if self.effect is not None:
            self.effect(change)


@dataclass(slots=True)
class Outside:
    """The world outside of one schedule. `scrape` are seconds between samples; `tells`: the switch knows versions."""

    loop: asyncio.AbstractEventLoop
    tier: Tier = Tier.A
    tells: bool = False
    scrape: float = 1.0
    skew: timedelta = timedelta()
    source_skew: timedelta = timedelta()
    numbers: int = 0
    requests: int = 0
    pause_file: bool = False
    log: list[Line] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    carried: dict[str, str] = field(default_factory=lambda: {"blue": "v1", "green": "v0", "red": "old"})
    shares: dict[str, float] = field(default_factory=lambda: {"v1": 0.0})
    generation: Counter[str] = field(default_factory=Counter)
    """How many versions were put on a variant so far."""
    ever: dict[str, list[str]] = field(default_factory=dict)
    """Every version that a variant ever carried."""
    heard_before: set[str] = field(default_factory=set)
    """What people heard before this schedule began."""
    healthy: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    """For how many seconds each version took traffic and was fine."""
    sight: Sight = field(default_factory=Sight)
    apply_faults: list[tuple[str, float]] = field(default_factory=list)
    read_faults: list[str] = field(default_factory=list)
    ambushes: dict[str, list[Callable[[Daemon], None]]] = field(default_factory=dict)
    channels: dict[str, People] = field(default_factory=dict)
    tally: Counter[str] = field(default_factory=Counter)
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    faults: list[str] = field(default_factory=list)
    """Exceptions that nobody caught, and faults that were logged."""
    judge: Promises = field(init=False)
    switch: Target = field(init=False)
    _healthy_until: float = 0.0

    def __post_init__(self) -> None:
        self.ever = {name: [version] for name, version in self.carried.items()}
        self.switch = Target(
            {
                name: VariantState(
                    weight=100 if name == "blue" else 0,
                    version=self._told(name),
                    ready=SERVERS,
                    total=SERVERS,
                )
                for name in self.carried
            },
            tier=self.tier,
            clock=self.wall,
        )
        self._healthy_until = self.loop.time()

    # Time

    def wall(self) -> datetime:
        """The time of day on the daemons' machine."""
        return BASE + timedelta(seconds=self.loop.time()) + self.skew

    # What can be done to it

    def note(self, kind: Kind, **words: object) -> Line:
        """Write one line."""
        self.numbers += 1
        line = Line(number=self.numbers, at=self.loop.time(), wall=self.wall(), kind=kind, **words)  # type: ignore[arg-type]
        self.log.append(line)
        return line

    def count(self, what: str) -> None:
        """Something worth counting happened in this schedule."""
        self.tally[what] = 1

    @property
    def live(self) -> tuple[str, ...]:
        """What takes traffic."""
        return self.switch.state.live

    def move(self, **weights: int) -> None:
        """A person sets these weights."""
        self.age()
        self.switch.move(weights)
        self.note(Kind.MOVED, revision=self.switch.revision, live=self.live)

    def touch(self) -> None:
        """Somebody changes something else of the object: another revision, the same traffic."""
        state = self.switch.state
        self.switch.move({name: spot.weight for name, spot in state.variants.items()})
        self.note(Kind.MOVED, revision=self.switch.revision, live=self.live)

    def place(self, variant: str, version: str, share: float) -> None:
        """Put a new version on a variant."""
        self.age()
        self.carried[variant] = version
        self.ever[variant].append(version)
        self.shares[version] = share
        self.generation[variant] += 1
        if self.tells:
            spot = self.switch.state.variants[variant]
            self.switch.put(
                variant,
                VariantState(weight=spot.weight, version=version, ready=spot.ready, total=spot.total),
            )

    def ready(self, variant: str, count: int | None) -> None:
        """So many servers of a variant are ready; `None`: nobody can tell."""
        self.switch.observe(variant, ready=count, total=SERVERS)

    def turn(self, version: str, share: float) -> None:
        """From now on so many of a version's requests fail."""
        self.age()
        self.shares[version] = share

    def age(self) -> None:
        """Count the time in which live versions were fine. To be called before anything changes that."""
        now = self.loop.time()
        for variant in self.live:
            version = self.carried[variant]
            if self.shares.get(version, 0.0) < WORSE_THAN_OK:
                self.healthy[version] += now - self._healthy_until
        self._healthy_until = now

    def _told(self, variant: str) -> str | None:
        return self.carried[variant] if self.tells else None


class Feed:
    """One daemon's line to the source."""

    concurrency = 5

    def __init__(self, outside: Outside, daemon: Daemon) -> None:
        self._outside = outside
        self._daemon = daemon

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        outside, sight = self._outside, self._outside.sight
        await self._daemon.point("ask")
        version = self._version(str(question.form))
        share = outside.shares.get(version, 0.0)
        answer, sampled = self._answer(sight, version, now)
        await asyncio.sleep(0.003 + sight.slow)
        await self._daemon.point("asked")
        if sampled is not None:
            outside.samples.append(
                Sample(at=outside.loop.time(), version=version, share=share, sampled=sampled)
            )
        return answer

    def _version(self, text: str) -> str:
        """The live version that a question is about; an unannounced one goes by its variant's name."""
        outside = self._outside
        for variant in outside.live:
            version = outside.carried[variant]
            if f'version="{version}"' in text or f'version="{variant}"' in text:
                return version
        return ""

    def _answer(self, sight: Sight, version: str, now: datetime) -> tuple[Answer | Failed, float | None]:
        """What comes back, and when it was sampled if it can be believed."""
        outside = self._outside
        source_now = BASE + timedelta(seconds=outside.loop.time()) + outside.source_skew
        seconds = source_now.timestamp()
        newest = seconds - seconds % outside.scrape
        trusted = version != "" and abs((source_now - now).total_seconds()) < 2
        match sight.mode:
            case "error":
                return Failed(reason=FailReason.UNREACHABLE, detail="refused"), None
            case "senseless":
                return Failed(reason=FailReason.QUERY_ERROR, detail="what?"), None
            case "none":
                return Answer(parts={"bad": (), "total": (), "newest": ()}, evaluated_at=source_now), None
            case "stale":
                newest, trusted = newest - 120, False
            case "future":
                newest, trusted = newest + 60, False
            case "repeat":
                sight.frozen_at = sight.frozen_at or newest
                newest = sight.frozen_at
            case _:
                pass
        few = sight.mode == "few"
        total = 0.0 if version == "" else 5.0 if few else 1000.0
        parts: dict[str, tuple[float, ...]] = {
            "bad": (total * outside.shares.get(version, 0.0),),
            "total": (total,),
            "newest": (newest,),
            "samples": (10.0 / outside.scrape,),
        }
        if sight.mode == "nan":
            parts["bad"], trusted = (float("nan"),), False
        warnings = ("a store did not answer",) if sight.mode == "partial" else ()
        believed = trusted and not few and not warnings
        known = newest - (BASE + outside.source_skew).timestamp() if believed else None
        return Answer(parts=parts, evaluated_at=source_now, warnings=warnings), known

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Failed:
        return Failed(reason=FailReason.QUERY_ERROR, detail="no rule here is asked for several services")

    async def inspect(self) -> SourceReport:
        return SourceReport(ok=True, detail="")

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


class Wire:
    """One daemon's line to the switch: faults happen here, and everything is written down."""

    def __init__(self, outside: Outside, daemon: Daemon) -> None:
        self._outside = outside
        self._daemon = daemon
        self._late: set[asyncio.Task[None]] = set()

    @property
    def tier(self) -> Tier:
        return self._outside.tier

    @property
    def identity(self) -> str:
        return self._outside.switch.identity

    async def read(self) -> TrafficState:
        outside, attempt = self._outside, _attempt()
        await self._daemon.point("read" if attempt else "look")
        if outside.read_faults:
            outside.read_faults.pop(0)
            await asyncio.sleep(1)
            raise SwitchUnreachable("no answer within 1 s")
        state = await outside.switch.read()
        state = replace(state, read_at=self._daemon.clock.now())
        outside.note(
            Kind.READ,
            who=self._daemon.name,
            attempt=attempt,
            revision=state.revision,
            live=state.live,
            state=state,
        )
        if attempt:
            self._daemon.remember(attempt)
        await self._daemon.point("was read" if attempt else "looked")
        return state

    async def apply(self, change: Change) -> TrafficState:
        outside = self._outside
        if not self._daemon.dead:
            sent = outside.note(
                Kind.SENT, who=self._daemon.name, attempt=_attempt(), revision=change.expect, change=change
            )
            outside.judge.sent(self._daemon, sent)
        await self._daemon.point("apply")
        fault, seconds = outside.apply_faults.pop(0) if outside.apply_faults else ("", 0.0)
        outside.count(f"write: {fault}" if fault else "write")
        try:
            await self._suffer(fault, seconds, change)
            outside.switch.effect = self._effect
            try:
                await outside.switch.apply(change)
            finally:
                outside.switch.effect = None
        except SwitchError as error:
            refused = type(error).__name__
            outside.note(Kind.REFUSED, who=self._daemon.name, attempt=_attempt(), change=change, why=refused)
            if isinstance(error, SwitchConflict):
                outside.count("conflict")
            raise
        await self._daemon.point("applied")
        if fault == "answer lost":
            await asyncio.sleep(seconds)
            raise SwitchUnknown("no answer in time")
        return replace(outside.switch.state, read_at=self._daemon.clock.now())

    async def _suffer(self, fault: str, seconds: float, change: Change) -> None:
        match fault:
            case "slow":
                await asyncio.sleep(seconds)
            case "nothing done":
                await asyncio.sleep(seconds)
                raise SwitchUnknown("no answer in time")
            case "late":
                task = asyncio.get_running_loop().create_task(
                    self._arrive(change, seconds), name="late write"
                )
                self._late.add(task)
                task.add_done_callback(self._late.discard)
                await asyncio.sleep(1)
                raise SwitchUnknown("no answer in time")
            case "unreachable":
                await asyncio.sleep(seconds)
                raise SwitchUnreachable("no route")
            case "rejected":
                raise SwitchRejected("not allowed")
            case _:
                pass

    async def _arrive(self, change: Change, seconds: float) -> None:
        """A write that was on its way longer than anybody waited for it, and than its daemon lived perhaps."""
        await asyncio.sleep(seconds)
        self._outside.switch.effect = lambda made: self._effect(made, late=True)
        try:
            await self._outside.switch.apply(change)
        except SwitchError:
            self._outside.count("late write refused")
        finally:
            self._outside.switch.effect = None

    def _effect(self, change: Change, *, late: bool = False) -> None:
        outside = self._outside
        outside.age()
        outside.count("effect arrives late" if late else "switched")
        line = outside.note(
            Kind.EFFECT,
            who=self._daemon.name,
            attempt=_attempt(),
            revision=outside.switch.revision,
            live=outside.live,
            change=change,
            late=late,
        )
        outside.judge.effect(self._daemon, line)

    async def inspect(self) -> str | None:
        return None

    async def aclose(self) -> None: ...


class People:
    """A channel that outlives daemons. `mode` says how it answers; `heard` are the keys that arrived."""

    def __init__(self, outside: Outside, name: str) -> None:
        self._outside = outside
        self.name = name
        self.mode = "ok"
        self.refused_some = False
        self.attempts: dict[str, set[bytes]] = {}
        self.heard: set[str] = set()

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        self.attempts.setdefault(key, set()).add(msgspec.json.encode(message))
        match self.mode:
            case "ok":
                self.heard.add(key)
                return Delivered()
            case "later":
                return Later(reason="busy", after=timedelta(seconds=5))
            case "lost answer":
                self.heard.add(key)
                await asyncio.sleep(2)
                return Unclear(reason="no answer")
            case "refused":
                self.refused_some = True
                return Refused(reason="wrong token")
            case "raises":
                raise RuntimeError("a channel with a fault")
            case _:
                await asyncio.sleep(5)
                return Unclear(reason="hung")


class Phone:
    """One daemon's line to a channel."""

    def __init__(self, people: People, daemon: Daemon) -> None:
        self._people = people
        self._daemon = daemon

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        await self._daemon.point("send")
        answer = await self._people.send(message, key=key)
        await self._daemon.point("sent")
        return answer

    async def inspect(self) -> str | None:
        return None

    async def aclose(self) -> None: ...


def _attempt() -> str:
    """The executor's task that this is a part of; empty for whoever only looks."""
    task = asyncio.current_task()
    name = task.get_name() if task is not None else ""
    return f"{name}/{id(task)}" if name.startswith("executor:") else ""
