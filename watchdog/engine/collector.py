"""Collects: one poll, from the question to the observations in the reactor's inbox.

A poll is of one check, or of a rule with `match` for all its services at once (`watchdog.core.dealing`). At
most so many polls of a source at once, each within its time. This module must never judge, and never raise for what
the outside does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

import structlog
from msgspec.structs import replace

from watchdog.aio.clock import Clock
from watchdog.aio.supervise import asked_to_end
from watchdog.core.baseline import reach
from watchdog.core.check import CheckId
from watchdog.core.checks import Poll, SharedPoll, filled_form, rule_of, values_for
from watchdog.core.comparing import compared, comparison
from watchdog.core.dealing import Dealt, Round, narrowed, rounds, tables, worst_first
from watchdog.core.events import Observed
from watchdog.core.observation import Answer, Failed, FailReason, Observation, Value
from watchdog.core.rule import ProbeForm, Query, Rule
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.rhythm import Beat, Rhythm
from watchdog.probes.interface import Probe
from watchdog.sources.interface import Question, Source
from watchdog.telemetry.metrics import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A provider ends every call within its own timeout; this bound is for one that breaks its promise.
LIMIT = timedelta(seconds=60)
#: Polls of one kind of probe at once.
AT_ONCE = 20
#: Services of a shared answer that are looked at before others may run.
AT_A_STRETCH = 100

T = TypeVar("T")


class Collector:
    """Asks sources and probes on behalf of checks."""

    def __init__(
        self,
        *,
        sources: Mapping[str, Source],
        probes: Mapping[str, Probe],
        world: Callable[[], World],
        deliver: Callable[[Observed], None],
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._sources = sources
        self._probes = probes
        self._world = world
        self._deliver = deliver
        self._clock = clock
        self._metrics = metrics
        self._rhythms: dict[tuple[str, str], dict[str, Rhythm]] = {}
        self._failing: dict[Poll, str] = {}
        self._gates: dict[tuple[str, str], asyncio.Semaphore] = {}

    async def poll(self, poll: Poll) -> Beat | None:
        """Poll once and deliver what it gave; answers when the next fresh sample can be seen, if known.

        Safe to cancel: then nothing more is delivered.
        """
        if isinstance(poll, CheckId):
            return await self._poll_check(poll)
        world, now = self._world(), self._now()
        played = await asyncio.gather(
            *(
                self._play(one, poll, whole=len(one.hands) == len(table.hands))
                for table in tables(world, poll, now=now)
                for one in rounds(world, table, now=now)
            )
        )
        found = [observed for observations in played for observed in observations]
        for observed in found:
            self._deliver(replace(observed, edition=world.edition))
        return self._pace(poll, found)

    async def _poll_check(self, check: CheckId) -> Beat | None:
        world = self._world()
        service = world.services.get(check.service)
        rule = rule_of(service, check) if service else None
        if service is None or rule is None:
            return None
        observation = await self._guarded(check, self._ask(service, check, rule))
        now = self._now()
        edition = world.edition
        self._deliver(Observed(check=check, observation=observation, arrived_at=now, edition=edition))
        return self._heard(check, rule, observation, now)

    async def _play(self, one: Round, poll: SharedPoll, *, whole: bool) -> list[Observed]:
        """Ask one question and deal the answer out, what looks worst first."""
        some = () if whole and not poll.pressing else one.hands
        question = Question(
            form=narrowed(one.rule, one.rule.form, some),
            window=one.rule.window,
            reference=one.asked and replace(one.asked, form=narrowed(one.rule, one.asked.form, some)),
            remember=reach(one.rule),
            windows=one.rule.windows,
        )

        async def deal(source: Source) -> Dealt | Failed:
            return await source.deal(question, by=one.by, now=self._now())

        answer = await self._guarded(poll, self._at_source(one.rule, deal))
        now = self._now()
        if isinstance(answer, Dealt) and not some:
            self._metrics.set_unclaimed(one.rule.name, answer.strangers(hand.key for hand in one.hands))
        found: list[Observed] = []
        for count, hand in enumerate(one.hands, 1):
            own = answer if isinstance(answer, Failed) else answer.of(hand.key)
            observation = compared(one.rule, own, one.needs.get(hand.check), now=now)
            found.append(Observed(check=hand.check, observation=observation, arrived_at=now))
            if count % AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        return worst_first(one.rule, found)

    def _pace(self, poll: SharedPoll, found: list[Observed]) -> Beat | None:
        """The beat of one service, and as far as possible of the same one: scrapes of several targets have none.

        While something hangs on some of them it is the worst one's.
        """
        values = [one for one in found if isinstance(one.observation, Value)]
        if not values:
            return None
        leader = values[0] if poll.pressing else min(values, key=lambda one: one.check)
        service = self._world().services.get(leader.check.service)
        rule = rule_of(service, leader.check) if service else None
        return (
            None if rule is None else self._heard(leader.check, rule, leader.observation, leader.arrived_at)
        )

    def follow(self, world: World, *, sources: Iterable[str]) -> None:
        """A changed configuration: `sources` are new or others now. What was learnt of other questions is forgotten."""
        for name in sources:
            self._gates.pop(("source", name), None)
        self._rhythms = {
            (name, rule): kin
            for (name, rule), kin in self._rhythms.items()
            if name in world.services and world.services[name].editions.get(rule, -1) != world.edition
        }

    def _gate(self, family: str, name: str, room: int) -> asyncio.Semaphore:
        return self._gates.setdefault((family, name), asyncio.Semaphore(room))

    def _heard(self, check: CheckId, rule: Rule, observation: Observation, now: datetime) -> Beat | None:
        if rule.is_probe or (isinstance(rule.form, Query) and rule.form.freshness is None):
            return None  # always fresh: nothing to wait for
        return self._rhythm(check).heard(observation, now=now)

    def _rhythm(self, check: CheckId) -> Rhythm:
        """A new version on a variant is scraped as the old one was; another variant as often, at other moments."""
        kin = self._rhythms.setdefault((check.service, check.rule), {})
        if check.variant not in kin:
            like = next((one for one in kin.values() if one.every is not None), None)
            kin[check.variant] = Rhythm(every=like.every, lag=like.lag) if like else Rhythm()
        return kin[check.variant]

    def _now(self) -> datetime:
        return self._clock.now()

    async def _guarded(self, poll: Poll, asking: Awaitable[T]) -> T | Failed:
        """The plugin border."""
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                answer = await asking
        except TimeoutError:
            return Failed(reason=FailReason.TIMEOUT, detail="no answer in time")
        except Exception as error:  # noqa: BLE001 - the plugin border: a provider's fault is an error, never a verdict
            return self._fault(poll, f"{type(error).__name__} in the provider", error)
        except asyncio.CancelledError as error:
            if asked_to_end():
                raise
            return self._fault(poll, "the provider cancelled itself", error)
        self._failing.pop(poll, None)
        return answer

    def _fault(self, poll: Poll, fault: str, error: BaseException) -> Failed:
        if self._failing.get(poll) != fault:
            self._failing[poll] = fault
            _log.error("poll_failed", check=str(poll), exc_info=error)
        return Failed(reason=FailReason.UNABLE, detail=fault)

    async def _ask(self, service: ServiceWorld, check: CheckId, rule: Rule) -> Observation:
        form = filled_form(rule, values_for(service, check))
        if isinstance(form, ProbeForm):
            if form.kind not in self._probes:  # an incident keeps the rule it was opened with
                return Failed(
                    reason=FailReason.UNABLE, detail=f"no rule asks for {form.kind} probes any more"
                )
            async with self._gate("probe", form.kind, AT_ONCE):
                return await self._probes[form.kind].check(form.settings, now=self._clock.now())
        needed = comparison(service, check, rule, now=self._now())
        asked = needed.asked if needed else None

        async def ask(source: Source) -> Answer | Failed:
            question = Question(
                form=form,
                window=rule.window,
                reference=asked,
                remember=reach(rule),
                windows=rule.windows,
            )
            return await source.ask(question, now=self._now())

        return compared(rule, await self._at_source(rule, ask), needed, now=self._now())

    async def _at_source(self, rule: Rule, ask: Callable[[Source], Awaitable[T]]) -> T | Failed:
        name = rule.source or ""
        source = self._sources.get(name)
        if source is None:
            return Failed(reason=FailReason.UNABLE, detail=f"source {name!r} is not configured any more")
        async with self._gate("source", name, source.concurrency):
            began = self._clock.monotonic()
            answer = await ask(self._sources.get(name, source))
            self._metrics.observe_query(name, self._clock.monotonic() - began)
        return answer
