"""What leaves the reactor after a commit: intents to the executor, plans to the schedulers, a nudge to the dispatcher.

Called only for what is on disk. This module must never wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.aio.crew import Crew
from watchdog.core import telling
from watchdog.core.attempt import handed_over
from watchdog.core.checks import Poll, SharedPoll, checks_of, looks_every, plans_as_before, polls
from watchdog.core.errors import StoreError
from watchdog.core.events import Asked, Event, Outcome, OutcomeKind, service_of
from watchdog.core.message import Message
from watchdog.core.reconfigure import Change
from watchdog.core.request import Request, RequestKind
from watchdog.core.rollback import Rollback, RollbackState
from watchdog.core.suspension import suspension
from watchdog.core.turn import Turn
from watchdog.core.world import ServiceWorld, World
from watchdog.engine.dispatcher import Dispatcher
from watchdog.engine.executor import Executor
from watchdog.engine.scheduler import Scheduler
from watchdog.telemetry.metrics import Metrics

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Records of what guards refused to a person.
_REFUSED_TO_PEOPLE = frozenset({"rollback_request_refused", "approval_vetoed"})
#: The scheduler's group of what is asked for all services at once; no service can be named like this.
_SHARED = ""


class Effects:
    """The doors out of the reactor."""

    def __init__(  # noqa: PLR0913 - the doors, all of them by name
        self,
        *,
        executor: Executor,
        checks: Scheduler[Poll],
        traffic: Scheduler[str],
        dispatcher: Dispatcher,
        metrics: Metrics,
        clock: Clock,
        look_interval: timedelta,
        may_tell: Callable[[], bool] = lambda: True,
        announce: Callable[[Turn], None] = lambda _: None,
        resume: Callable[[Request, str], None] = lambda _request, _mark: None,
        remember: Callable[[World, Turn, Sequence[Event | Change]], None] = lambda _after, _turn, _events: (
            None
        ),
    ) -> None:
        """`may_tell`: whether a broken store is this process's news; to whoever lost the lead it is another's.

        `announce` hears of every turn; `resume` carries out what a person may let go on (`watchdog.core.resuming`).
        `remember` hears of every turn last, for what people are shown of it.
        """
        self._executor = executor
        self._checks = checks
        self._traffic = traffic
        self._dispatcher = dispatcher
        self._metrics = metrics
        self._clock = clock
        self._look_interval = look_interval
        self._may_tell = may_tell
        self._announce = announce
        self._resume = resume
        self._remember = remember
        self._emergency = Crew("emergency")
        self._wanted: dict[str, dict[SharedPoll, timedelta]] = {}
        self._shared: Counter[tuple[SharedPoll, timedelta]] = Counter()
        self._shared_changed = False

    def begin(self, world: World) -> None:
        """Start everything a world asks for: all polls, and the intents an earlier process left."""
        for service in world.services.values():
            self._plan(world, service)
        self._plan_shared()
        self._plan_traffic(world)
        self._go_on(world.rollbacks())

    def _go_on(self, rollbacks: Iterable[Rollback]) -> None:
        """Carry out the intents that an earlier process left."""
        for rollback in rollbacks:
            if rollback.state is RollbackState.INTENDED:
                _log.warning("intent_resumed", rollback=rollback.id, service=rollback.service)
                self._executor.submit(rollback, resumed=True)

    def release(
        self,
        before: World,
        after: World,
        turn: Turn,
        *,
        events: Sequence[Event | Change],
        looks: Iterable[str],
    ) -> None:
        """Let go what a committed turn decided. `looks` are services whose traffic should be read at once."""
        for rollback in turn.rollbacks:
            if rollback.state is RollbackState.INTENDED and not handed_over(before, rollback):
                self._executor.submit(rollback)
            self._count(before, rollback)
        self._count_refused(turn)
        if turn.outbox or turn.resent:
            self._dispatcher.wake()
        self._plan_changed(before, after, {service_of(event) for event in events})
        for name in {rollback.service for rollback in turn.rollbacks} & after.services.keys():
            self._traffic.pace(name, looks_every(after.services[name], self._look_interval))
        for event in events:
            if isinstance(event, Outcome):
                self._measure(before, event)
            elif isinstance(event, Asked) and event.request.kind is RequestKind.ALERT:
                self._ask_now(after, event.request.target)
            elif isinstance(event, Asked) and event.request.kind is RequestKind.GITOPS_RESUME:
                self._let_go_on(after, event.request, turn)
        self._announce(turn)
        for name in looks:
            self._traffic.now(name)
        self._remember(after, turn, events)

    def _ask_now(self, world: World, name: str) -> None:
        """Ask every check of a service at once, and look at its traffic; how often comes after that stays as it is."""
        service = world.services.get(name)
        if service is None:
            return
        planned = polls(service, recheck=world.recheck, now=self._clock.now())
        polled: tuple[Poll, ...] = (*planned.alone, *planned.shared)
        for poll in polled:
            self._checks.now(poll)
        self._traffic.now(name)

    def _let_go_on(self, world: World, request: Request, turn: Turn) -> None:
        """Carry out a request that was allowed: one that was not has its reply already."""
        service = world.services.get(request.target)
        suspended = suspension(service) if service is not None else None
        if suspended is not None and all(reply.request != request.id for reply in turn.replies):
            self._resume(request, suspended.rollback)

    def _plan_changed(self, before: World, after: World, names: set[str]) -> None:
        """Plan anew for these services, or for all where one has no name, as far as something changed for them."""
        for name in after.services if "" in names else names:
            service, known = after.services.get(name), before.services.get(name)
            if service is None or service is known:
                continue
            if known is None or before.recheck != after.recheck or not plans_as_before(known, service):
                self._plan(after, service)
        self._plan_shared()

    def follow(self, before: World, after: World, *, look_interval: timedelta) -> None:
        """A changed configuration: forget services that are gone, and ask at once what is another question now."""
        for name in before.services.keys() - after.services.keys():
            self._checks.plan(name, {})
            self._shared.subtract(self._wanted.pop(name, {}).items())
            self._shared_changed = True
        self._plan_shared()
        self._look_interval = look_interval
        self._plan_traffic(after)
        # A service that was not configured at the start, such as one that was not discovered yet.
        self._go_on(one for one in after.rollbacks() if one.service not in before.services)
        asked: dict[Poll, None] = {}
        for name, service in after.services.items():
            anew = {rule for rule, edition in service.editions.items() if edition == after.edition}
            if not anew or name not in before.services:
                continue
            asked |= dict.fromkeys(SharedPoll(rule=rule) for rule in sorted(anew))
            asked |= dict.fromkeys(check for check in checks_of(service) if check.rule in anew)
        for poll in asked:
            self._checks.now(poll)

    def _plan(self, world: World, service: ServiceWorld) -> None:
        """The checks that are asked alone, and what this service wants of those that are asked for all services."""
        planned = polls(service, recheck=world.recheck, now=self._clock.now())
        self._checks.plan(service.name, dict(planned.alone.items()))
        wanted = self._wanted.get(service.name, {})
        if wanted != planned.shared:
            self._wanted[service.name] = planned.shared
            self._shared.subtract(wanted.items())
            self._shared.update(planned.shared.items())
            self._shared_changed = True

    def _plan_shared(self) -> None:
        """What is asked for all services at once, as often as one of them wants it."""
        if not self._shared_changed:
            return
        self._shared_changed = False
        self._shared += Counter()  # drops what nobody wants any more
        jobs: dict[Poll, timedelta] = {}
        for poll, interval in self._shared:
            jobs[poll] = min(interval, jobs.get(poll, interval))
        self._checks.plan(_SHARED, jobs)

    def _plan_traffic(self, world: World) -> None:
        jobs = {name: looks_every(service, self._look_interval) for name, service in world.services.items()}
        self._traffic.plan("traffic", jobs)

    def _count(self, before: World, rollback: Rollback) -> None:
        """Count an end once, and a guard's no once until it says yes or the intent was written."""
        service = before.services.get(rollback.service)  # one that comes back in this very turn was not there
        known = service.rollbacks.get(rollback.id) if service is not None else None
        if rollback.over and (known is None or not known.over):
            self._metrics.count_rollback(rollback.service, str(rollback.state))
        said = {veto.guard for veto in known.vetoes} if known else set[str]()
        for guard in {veto.guard for veto in rollback.vetoes} - said:
            self._metrics.count_veto(guard)

    def _count_refused(self, turn: Turn) -> None:
        """Count what guards refused to a person, each time: no rollback keeps those vetoes."""
        for record in turn.audit:
            if record.kind in _REFUSED_TO_PEOPLE:
                for veto in record.body["vetoes"]:
                    self._metrics.count_veto(veto["guard"])

    def _measure(self, before: World, event: Outcome) -> None:
        rollback = before.services[event.service].rollbacks.get(event.rollback)
        waited = rollback is not None and rollback.state is RollbackState.INTENDED
        if rollback is None or not waited or event.kind is not OutcomeKind.APPLIED:
            return
        if rollback.observed_at is not None:
            self._metrics.observe_decision((event.at - rollback.observed_at).total_seconds())
        if rollback.intended_at is not None:
            self._metrics.observe_switch(event.service, (event.at - rollback.intended_at).total_seconds())

    def store_failed(self, error: StoreError, *, now: datetime) -> None:
        """Tell people past the store: it is what is broken."""
        message = telling.store_failed(str(error), error.advice, now=now)
        if self._may_tell() and not self._emergency.busy("store"):
            self._emergency.start("store", self._tell(message))

    async def _tell(self, message: Message) -> None:
        await self._dispatcher.emergency(message)

    def store_works(self) -> None:
        """The store took a turn again."""
        self._dispatcher.wake()

    async def aclose(self) -> None:
        """End what is under way here."""
        await self._emergency.stop()
