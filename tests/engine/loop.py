"""The whole engine over fakes, in virtual time: what the daemon wires, without sockets, threads or a real outside.

`data` of an earlier one is a restart on the same disk; `crash` ends everything where it stands.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from tests.engine.worlds import ERRORS, POLICY, variants
from watchdog.core.audit import AuditRecord, verify
from watchdog.core.checks import Poll
from watchdog.core.dealing import Dealt, Part, deal
from watchdog.core.deployment import Deployment
from watchdog.core.errors import StoreAhead
from watchdog.core.events import Asked, ChannelDead, Outcome, Resumed
from watchdog.core.facts import facts_before_write
from watchdog.core.guards import GuardFacts
from watchdog.core.message import MessageKind, Outgoing
from watchdog.core.observation import Answer, Failed
from watchdog.core.reconfigure import Change, Reconfigured
from watchdog.core.request import Reply, Request, RequestKind
from watchdog.core.restore import restore_service, restore_sources
from watchdog.core.rollback import Rollback
from watchdog.core.routing import Route
from watchdog.core.rule import Rate, Ratio, Rule
from watchdog.core.selector import parse_selector
from watchdog.core.service import Intervals, Limits, Mode, Service
from watchdog.core.storming import restored as restore_storm
from watchdog.core.traffic import TrafficState
from watchdog.core.turn import Turn
from watchdog.core.view import View
from watchdog.core.world import World
from watchdog.engine.announcing import Announcing
from watchdog.engine.collector import Collector
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.effects import Effects
from watchdog.engine.executor import Executor
from watchdog.engine.reactor import Reactor
from watchdog.engine.resuming import Resuming
from watchdog.engine.rhythm import Beat
from watchdog.engine.scheduler import Scheduler
from watchdog.engine.ticker import Ticker
from watchdog.engine.watcher import Watcher
from watchdog.leader.single import SingleLeadership
from watchdog.sources.interface import Question, SourceReport
from watchdog.store.codec import decode
from watchdog.telemetry.metrics import Metrics
from watchdog.testing.channels import FakeChannel
from watchdog.testing.clock import LoopClock
from watchdog.testing.store import MemoryData, MemoryStore
from watchdog.testing.traffic import FakeSwitch

RECHECK = Intervals(critical=ERRORS.interval).recheck


class Shop:
    """A source: the share of failing requests by version, scraped once a second."""

    concurrency = 5

    def __init__(self, shares: Mapping[str, float]) -> None:
        self.shares = dict(shares)
        self.failed: Failed | None = None
        self.asked: list[tuple[float, str]] = []
        #: By service, for rules that are asked once for all; `dealt` is when, and for whom.
        self.services: dict[str, float] = {}
        self.dealt: list[tuple[float, list[str]]] = []
        #: What every reference is.
        self.usual = 1000.0

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        text = str(question.form)
        version = next((name for name in self.shares if f'version="{name}"' in text), "")
        self.asked.append((asyncio.get_running_loop().time(), version))
        await asyncio.sleep(0.003)
        if self.failed is not None:
            return self.failed
        newest = float(int(now.timestamp()))
        share = self.shares.get(version, 0.0)
        parts: dict[str, tuple[float, ...]] = {
            "bad": (1000 * share,),
            "total": (1000.0,),
            "newest": (newest,),
            "samples": (10.0,),
        }
        return Answer(parts=parts, evaluated_at=now)

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        """Every service of `services`, each with its own share of failing requests, or number of requests."""
        assert isinstance(question.form, Ratio | Rate)
        selector = parse_selector(
            question.form.total if isinstance(question.form, Ratio) else question.form.of
        )
        names = [name for name in self.services if selector.accepts({"service": name})]
        self.dealt.append((asyncio.get_running_loop().time(), names))
        await asyncio.sleep(0.003)
        if self.failed is not None:
            return self.failed
        newest = float(int(now.timestamp()))
        numbers = {"newest": newest, "samples": 10.0}
        if isinstance(question.form, Ratio):
            numbers["total"] = 1000.0
        if question.reference is not None:
            numbers |= {"reference": self.usual, "reference_samples": 120.0}
        one = "bad" if isinstance(question.form, Ratio) else "value"
        parts = [
            Part(part, {by[0]: name}, number)
            for name in names
            for part, number in {**numbers, one: 1000 * self.services[name]}.items()
        ]
        whole = Answer(parts=dict.fromkeys((one, *numbers), ()), evaluated_at=now)
        return deal(parts, whole, by)

    async def inspect(self) -> SourceReport:
        return SourceReport(ok=True, detail="")

    async def run(self) -> None: ...

    async def aclose(self) -> None: ...


def is_deposed(fault: BaseException | None) -> bool:
    """Whether a part ended because another process became the writer, as it must."""
    if isinstance(fault, BaseExceptionGroup):
        return all(is_deposed(one) for one in fault.exceptions)
    return isinstance(fault, StoreAhead)


class Engine:
    """One service, `trips`: v1 on blue is live and well, v2 on green is bad. Everything is fake but the engine."""

    def __init__(
        self,
        *,
        data: MemoryData | None = None,
        switch: FakeSwitch | None = None,
        rules: tuple[Rule, ...] = (ERRORS,),
        mode: Mode = Mode.ENFORCE,
        others: tuple[str, ...] = (),
    ) -> None:
        """`others` are services beside `trips`: v1 on blue is live and well."""
        self.clock = LoopClock()
        self.store = MemoryStore(data)
        self.switch = switch or FakeSwitch(variants("blue"), clock=self.clock.now)
        self.shop = Shop({"v1": 0.0, "v2": 0.2})
        self.channels = {"ops": FakeChannel(), "oncall": FakeChannel()}
        self.routes: tuple[Route, ...] = (Route(to=("ops",)),)
        self.limits = Limits()
        self.rules = {rule.name: rule for rule in rules}
        self.services = {
            name: Service(name=name, rules=tuple(self.rules), rollback=POLICY, mode=mode)
            for name in ("trips", *others)
        }
        self.switches = {name: FakeSwitch(variants("blue"), clock=self.clock.now) for name in others} | {
            "trips": self.switch
        }
        self.shop.services = dict.fromkeys(self.services, 0.0)
        self.service = self.services["trips"]
        self.pause = ""
        self.leadership = SingleLeadership()
        self.epoch = 3
        self.metrics = Metrics(self._view)
        self.outcomes: list[Outcome] = []
        self.reactor: Reactor
        self.executor: Executor
        self.checks: Scheduler[Poll]
        self.traffic: Scheduler[str]
        self.effects: Effects
        self.announcing: Announcing
        self.resuming: Resuming
        self.dispatcher: Dispatcher
        self._collector: Collector
        self._watcher: Watcher
        self._tasks: list[asyncio.Task[None]] = []
        self._requests = 0

    async def start(self) -> None:
        """Open, restore, begin: as the daemon does."""
        await self.store.open()
        await self.store.claim(now=self.clock.now())
        saved = await self.store.load(now=self.clock.now())
        await self.leadership.acquire()
        self.checks = Scheduler("poll", self._poll, clock=self.clock, seed=1)
        self.traffic = Scheduler("look", self._look, clock=self.clock, seed=1)
        self.dispatcher = Dispatcher(
            self.store,
            self.channels,
            clock=self.clock,
            rng=random.Random(1),
            on_dead=self._channel_dead,
            on_outcome=self.metrics.count_notification,
            may_send=lambda: self.leadership.is_leader,
        )
        self.executor = Executor(
            switches=self.switches,
            facts=self._facts,
            paused=self._paused,
            epoch=self.epoch,
            deliver=self._outcome,
            clock=self.clock,
        )
        self.announcing = Announcing(switches=self.switches, clock=self.clock)
        self.resuming = Resuming(switches=self.switches, deliver=self._resumed, clock=self.clock)
        self.effects = Effects(
            executor=self.executor,
            checks=self.checks,
            traffic=self.traffic,
            dispatcher=self.dispatcher,
            metrics=self.metrics,
            clock=self.clock,
            look_interval=RECHECK,
            announce=self.announcing.committed,
            resume=self.resuming.submit,
        )
        services = {
            name: restore_service(
                service,
                self.rules,
                record=next((one for one in saved.services if one.name == name), None),
                deployments=saved.deployments,
                incidents=saved.incidents,
                rollbacks=saved.rollbacks,
                checks=saved.checks,
            )
            for name, service in self.services.items()
        }
        world = World(
            services=services,
            sources=restore_sources(["prometheus"], saved.incidents),
            storm=restore_storm(saved.incidents, services),
            limits=self.limits,
            routes=self.routes,
            leader=True,
            epoch=self.epoch,
            recheck=RECHECK,
        )
        self.reactor = Reactor(
            store=self.store,
            world=world,
            head=saved.head,
            effects=self.effects,
            clock=self.clock,
            on_change=self._on_change,
        )
        self._collector = Collector(
            sources={"prometheus": self.shop},
            probes={},
            world=lambda: self.reactor.world,
            deliver=self.reactor.deliver,
            clock=self.clock,
            metrics=self.metrics,
        )
        self._watcher = Watcher(
            switches=self.switches,
            deliver=self.reactor.deliver,
            clock=self.clock,
            edition=lambda: self.reactor.world.edition,
        )
        self.store.on_request(lambda request: self.reactor.deliver(Asked(request=request)))
        for request in saved.requests:
            self.reactor.deliver(Asked(request=request))
        ticker = Ticker(
            paused=self._paused,
            leadership=self.leadership,
            epoch=self.epoch,
            deliver=self.reactor.deliver,
            taken=lambda: self.reactor.ticks,
            store=self.store,
            metrics=self.metrics,
            clock=self.clock,
        )
        work = (
            self.dispatcher.run,
            self.reactor.run,
            ticker.run,
            self.checks.run,
            self.traffic.run,
            self.announcing.run,
        )
        self._tasks = [asyncio.create_task(one(), name=one.__qualname__) for one in work]

    async def crash(self) -> MemoryData:
        """End everything where it stands; answers what is on the disk."""
        self.store.on_request(lambda _: None)
        for task in self._tasks:
            task.cancel()
        await self.executor.crew.stop()
        await self.resuming.crew.stop()
        await self.effects.aclose()
        faults = await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        assert all(isinstance(one, asyncio.CancelledError) or is_deposed(one) for one in faults), faults
        return self.store.data

    def failed(self) -> BaseException | None:
        """Why a task ended that never should."""
        done = [task for task in self._tasks if task.done()]
        return next((task.exception() or RuntimeError(task.get_name()) for task in done), None)

    # What people do

    async def ask(self, kind: RequestKind, target: str = "trips", **body: object) -> Reply:
        """Store a request and wait for the answer."""
        self._requests += 1
        request = Request(
            id=f"req-{id(self)}-{self._requests}",
            kind=kind,
            target=target,
            by="olga",
            at=self.clock.now(),
            body=dict(body),
        )
        await self.store.submit(request)
        async with asyncio.timeout(30):
            return await self.store.reply(request.id)

    async def deploy(self, version: str = "v2", variant: str = "green") -> None:
        """Announce it and send everybody there."""
        reply = await self.ask(RequestKind.DEPLOYMENT, version=version, variant=variant)
        assert reply.status < 300, reply
        self.switch.move({variant: 100})

    async def stable(self) -> None:
        """Announce v1 and wait until it has proved itself."""
        await self.ask(RequestKind.DEPLOYMENT, version="v1", variant="blue")
        await asyncio.sleep(POLICY.soak.total_seconds() + 30)
        states = {one.version: one.state for one in self.deployments}
        assert states == {"v1": "stable"}, states

    # What can be seen

    @property
    def world(self) -> World:
        return self.reactor.world

    @property
    def deployments(self) -> list[Deployment]:
        return list(self.world.services["trips"].deployments.values())

    @property
    def rollbacks(self) -> list[Rollback]:
        return list(self.world.services["trips"].rollbacks.values())

    @property
    def stored_rollbacks(self) -> list[Rollback]:
        return [decode(row["doc"], Rollback) for row in self.store.data.rollbacks.values()]

    @property
    def audit(self) -> list[AuditRecord]:
        return [decode(row["doc"], AuditRecord) for row in self.store.data.audit]

    @property
    def outbox(self) -> list[Outgoing]:
        return [decode(row["doc"], Outgoing) for row in self.store.data.outbox.values()]

    @property
    def committed(self) -> list[Turn]:
        return self.store.commits

    def chain_holds(self) -> bool:
        return verify(self.audit)[1] is None

    def metric(self, series: str) -> float:
        """The value of one series of the watchdog's own page; 0 when there is none."""
        for line in self.metrics.render().decode().splitlines():
            if line.startswith(f"{series} "):
                return float(line.rpartition(" ")[2])
        return 0.0

    # The wires

    def _view(self) -> View | None:
        return self.reactor.view()

    async def _poll(self, poll: Poll) -> Beat | None:
        return await self._collector.poll(poll)

    async def _look(self, service: str) -> None:
        await self._watcher.look(service)

    async def _paused(self) -> str:
        return self.pause

    def _outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self.reactor.deliver(outcome)

    def _resumed(self, event: Resumed) -> None:
        self.reactor.deliver(event)

    def _facts(self, rollback: Rollback, state: TrafficState, paused: str) -> GuardFacts:
        world = replace(self.reactor.world, leader=self.leadership.is_leader)
        return facts_before_write(world, rollback, state, now=self.clock.now(), paused_by_file=paused)

    def _on_change(self, change: Change, before: World | None) -> None:
        """What the daemon's changeover does, less what is built and closed."""
        if before is None or not isinstance(change, Reconfigured):
            return
        self._collector.follow(self.reactor.world, sources=change.new_sources)
        self.effects.follow(before, self.reactor.world, look_interval=RECHECK)

    def _channel_dead(self, row: Outgoing, reason: str) -> None:
        if row.message.kind is not MessageKind.CHANNEL_FAILED:
            self.reactor.deliver(
                ChannelDead(channel=row.channel, key=row.key, message=row.message, reason=reason)
            )
