"""Plays a script on a virtual clock: the daemon's own step, guards, routes and ladders, with its effects carried out.

What the engine does between two steps (polling, reading and writing the switch, sending) is done here without a loop,
in the same order and by the same pure functions. This module must never decide anything that the core decides.

At one moment things happen in this order: what the script says (but for hands on the switch), looks at switches, polls,
hands on the switch, intents, messages, the tick. So a patch by hand at the very moment of a decision lands between the
decision and the write.
"""

from __future__ import annotations

import heapq
import itertools
from bisect import bisect_right
from datetime import datetime, timedelta
from enum import IntEnum
from typing import NamedTuple

from watchdog.core.addressing import outgoing
from watchdog.core.attempt import Attempt, begin, handed_over
from watchdog.core.check import CheckId
from watchdog.core.checks import looks_every, plans_as_before, polls, rule_of
from watchdog.core.errors import SwitchError
from watchdog.core.evaluate import RECHECK_FOR
from watchdog.core.events import (
    Asked,
    Event,
    Observed,
    Ticked,
    TrafficSeen,
    TrafficUnseen,
    service_of,
)
from watchdog.core.gathering import gather
from watchdog.core.reach import SourcePlace
from watchdog.core.reconfigure import busy
from watchdog.core.request import Request, RequestKind
from watchdog.core.rollback import RollbackState
from watchdog.core.roster import concerned
from watchdog.core.shifting import NOTICED
from watchdog.core.step import Stepped, step
from watchdog.core.world import ServiceWorld, SourceWorld, World
from watchdog.lab.play_feeds import Feeds
from watchdog.lab.play_intents import Hand
from watchdog.lab.play_outbox import PlayedOutbox
from watchdog.lab.play_record import Recorder
from watchdog.lab.play_requests import announced, request_of
from watchdog.lab.play_switch import PlayedSwitch
from watchdog.lab.play_ticks import TICK, Ticks
from watchdog.lab.recording import Recording
from watchdog.lab.script import ClockSet, Deployed, Down, Occurrence, Patched, Script, Wanted


def play(script: Script) -> Recording:
    """Play it to its end. Deterministic: the same script gives the same recording. Never raises for what is in one."""
    return Player(script).play()


class Order(IntEnum):
    """What comes first at one moment."""

    SCRIPT = 0
    LOOK = 1
    POLL = 2
    HANDS = 3
    INTENT = 4
    OUTBOX = 5


class _Due(NamedTuple):
    at: timedelta
    order: Order
    number: int
    what: Occurrence | str | CheckId | Attempt | None


class Player:
    """One script, to be played once. `thorough`: looks and ticks that change nothing are made, too, for comparison."""

    def __init__(self, script: Script, *, thorough: bool = False) -> None:
        self._script = script
        self._thorough = thorough
        self._at = timedelta()
        self._ahead = [(timedelta.min, timedelta())]
        self._numbers, self._requests = itertools.count(), itertools.count(1)
        self._heap: list[_Due] = []
        self._polls: dict[str, dict[CheckId, tuple[timedelta, timedelta]]] = {}
        self._looks: dict[str, timedelta] = {}
        self._seen: dict[str, int] = {}
        self._outbox_at: timedelta | None = None
        self._recorder = Recorder()
        self._outbox = PlayedOutbox(seed=script.seed, deliver=self._recorder.delivered)
        self._switches = {one.name: PlayedSwitch(script.traffic.get(one.name, {})) for one in script.services}
        self._feeds = Feeds(script.feeds, script.rules, dated=self._dated, moment=self._moment)
        self._touched = sorted(
            one.at for one in script.events if isinstance(one.what, Deployed | Patched | Down)
        )
        muted = any(route.mutes for route in script.routes)
        self._ticks = Ticks(self._ticked_at, self._dated, muted=muted, thorough=thorough)
        self._world = _world_of(script)

    def play(self) -> Recording:
        """From the first look to the end."""
        for planned in self._script.events:
            hands = isinstance(planned.what, Patched)
            self._push(planned.at, Order.HANDS if hands else Order.SCRIPT, planned.what)
        for name in self._world.services:
            self._look(name)
            self._plan(self._world.services[name])
        while self._heap and self._heap[0].at <= self._script.until:
            if self._tick_before(self._heap[0].at):
                continue  # it may have brought something that comes first
            due = heapq.heappop(self._heap)
            self._at = due.at
            self._happen(due)
        while self._tick_before(self._script.until + TICK):
            pass
        return Recording(script=self._script.name, happenings=tuple(self._recorder.happenings))

    def _push(self, at: timedelta, order: Order, what: Occurrence | str | CheckId | Attempt | None) -> None:
        heapq.heappush(self._heap, _Due(at, order, next(self._numbers), what))

    def _happen(self, due: _Due) -> None:
        match due.what:
            case str() as service:
                if self._looks.get(service) == due.at:
                    self._look(service)
            case CheckId() as check:
                planned = self._polls.get(check.service, {}).get(check)
                if planned is not None and planned[1] == due.at:
                    self._poll(check, planned[0])
            case Attempt() as attempt:
                self._carry_out(attempt)
            case None:
                if self._outbox_at == due.at:
                    self._outbox_at = None
                    for event in self._outbox.look(self._at, self._now):
                        self._take(event)
                    self._plan_outbox()
            case occurrence:
                self._occur(occurrence)

    # -- time

    @property
    def _now(self) -> datetime:
        """What the daemon's clock says."""
        return self._script.begins + self._at + self._ahead[-1][1]

    def _dated(self, at: timedelta) -> datetime:
        """What it said at a moment."""
        ahead = next(by for since, by in reversed(self._ahead) if since <= at)
        return self._script.begins + at + ahead

    def _moment(self, moment: datetime) -> timedelta:
        """When it says so, as it is set now: whatever is remembered was moved with it."""
        return moment - self._script.begins - self._ahead[-1][1]

    def _tick_before(self, end: timedelta) -> bool:
        """Take in the first tick before a moment that changes anything; answers whether there was one."""
        stepped = self._ticks.news_before(end, self._world)
        if stepped is None:
            return False
        self._at = self._ticks.last * TICK
        self._settle(self._tick(), stepped)
        return True

    def _ticked_at(self, second: int) -> Stepped:
        self._at = second * TICK
        return step(self._world, self._tick(), self._now)

    def _tick(self, stepped: timedelta = timedelta()) -> Ticked:
        world = self._world
        return Ticked(
            paused_by_file=world.paused_by_file, leader=world.leader, epoch=world.epoch, stepped=stepped
        )

    # -- turns

    def _take(self, event: Event) -> None:
        self._settle(event, step(self._world, event, self._now))

    def _settle(self, event: Event, stepped: Stepped) -> None:
        """What the reactor and its effects do with a step."""
        before = self._world
        rows = outgoing(
            stepped.messages,
            stepped.world.routes,
            head="",
            incidents=concerned(stepped.world, stepped.messages, stepped.incidents),
        )
        rows, self._world = gather(rows, stepped.world, self._now)
        self._recorder.took(self._at, before, stepped)
        self._outbox.put(rows, at=self._at, now=self._now)
        self._plan_outbox()
        for rollback in stepped.rollbacks:
            if rollback.state is RollbackState.INTENDED and not handed_over(before, rollback):
                boot = self._at.total_seconds()
                attempt = begin(rollback, resumed=False, now=self._now, boot=boot)
                self._push(self._at, Order.INTENT, attempt)
        self._plan_changed(before, service_of(event))
        for name in {rollback.service for rollback in stepped.rollbacks} & self._world.services.keys():
            self._look_at(name, self._at + self._look_every(name))
        for name in stepped.looks:
            self._look_at(name, self._at)

    def _plan_changed(self, before: World, name: str) -> None:
        for one in (name,) if name else tuple(self._world.services):
            service, known = self._world.services.get(one), before.services.get(one)
            if service is None or service is known:
                continue
            if known is None or not plans_as_before(known, service):
                self._plan(service)

    def _plan(self, service: ServiceWorld) -> None:
        """Poll exactly these from now on: what is new at once, what is wanted sooner in so long."""
        planned = polls(service, recheck=self._world.recheck, now=self._now)
        wanted = dict(planned.alone)
        for shared, interval in planned.shared.items():
            check = CheckId(service=service.name, rule=shared.rule)
            wanted[check] = min(interval, wanted.get(check, interval))
        known = self._polls.get(service.name, {})
        jobs = self._polls[service.name] = {}
        for check, interval in wanted.items():
            if check not in known:
                due = self._at
            else:
                every, due = known[check]
                if every != interval:
                    due = min(due, self._at + interval)
            jobs[check] = (interval, due)
            if known.get(check, (None, None))[1] != due:
                self._push(due, Order.POLL, check)

    def _plan_outbox(self) -> None:
        at = self._outbox.next_at()
        if at is not None and (self._outbox_at is None or at < self._outbox_at):
            self._outbox_at = at
            self._push(max(at, self._at), Order.OUTBOX, None)

    # -- what the engine does

    def _poll(self, check: CheckId, interval: timedelta) -> None:
        service = self._world.services[check.service]
        rule = rule_of(service, check)
        if rule is None:
            return
        due = _after(self._at, interval)
        if rule.interval <= interval:
            due = self._feeds.due(check, rule, due, after=self._at)
        self._polls[check.service][check] = (interval, due)
        self._push(due, Order.POLL, check)
        now = self._now
        observation = self._feeds.observation(service, check, rule, at=self._at, now=now)
        edition = self._world.edition
        self._take(Observed(check=check, observation=observation, arrived_at=now, edition=edition))
        self._recorder.judged(self._at, self._world, check, now=now)

    def _look(self, name: str) -> None:
        service, edition = self._world.services[name], self._world.edition
        self._looks.pop(name, None)
        try:
            state = self._switches[name].read(self._at, self._now)
        except SwitchError as error:
            self._take(TrafficUnseen(service=name, error=str(error), edition=edition))
            quiet = False
        else:
            revision = self._switches[name].revision
            quiet = self._seen.get(name) == revision and not service.traffic_failures
            self._seen[name] = revision
            self._take(TrafficSeen(service=name, state=state, edition=edition))
        every = self._look_every(name)
        self._look_at(name, self._skipped(name, every) if quiet else _after(self._at, every))

    def _skipped(self, name: str, every: timedelta) -> timedelta:
        """The next look that may see anything new: the last one before hands are laid on any switch."""
        due, service = _after(self._at, every), self._world.services[name]
        if self._thorough or busy(service) or self._hot(service, every):
            return due
        index = bisect_right(self._touched, self._at)
        if index == len(self._touched):
            return timedelta.max
        return max(due, _after(self._touched[index] - timedelta.resolution, every) - every)

    def _hot(self, service: ServiceWorld, every: timedelta) -> bool:
        """Whether the next look plans the polls anew, which are slower once a breach has lasted for long enough."""
        since = self._now - RECHECK_FOR - every
        return any(
            state.breached_at is not None and state.breached_at >= since for state in service.checks.values()
        )

    def _look_at(self, name: str, at: timedelta) -> None:
        """Look then, or before."""
        if at < self._looks.get(name, timedelta.max):
            self._looks[name] = at
            self._push(at, Order.LOOK, name)

    def _look_every(self, name: str) -> timedelta:
        return looks_every(self._world.services[name], self._world.recheck)

    def _carry_out(self, attempt: Attempt) -> None:
        switch = self._switches[attempt.rollback.service]
        hand = Hand(switch, self._world, at=self._at, now=self._now, switched=self._recorder.switched)
        outcome = hand.carry_out(attempt)
        if outcome is None:
            self._push(self._at + timedelta(seconds=attempt.pause), Order.INTENT, attempt)
            attempt.rested()
        else:
            self._take(outcome)

    # -- what the script says

    def _occur(self, occurrence: Occurrence) -> None:
        match occurrence:
            case Deployed():
                self._deploy(occurrence)
            case Patched(service=name, variants=variants):
                if name in self._switches:
                    self._switches[name].patch(variants)
                    self._look_at(name, _after(self._at, self._look_every(name)))
            case Wanted(service=name):
                number = next(self._requests)
                request = request_of(occurrence, self._world, number=number, now=self._now)
                self._ask(request, name)
            case ClockSet(by=by):
                self._set_clock(by)
            case Down(service=name, channel=channel, lasts=lasts):
                if name in self._switches:
                    self._switches[name].fail(self._at + lasts)
                    self._touch(name)
                if channel:
                    self._outbox.fail(channel, self._at + lasts)

    def _deploy(self, deployed: Deployed) -> None:
        name = deployed.service
        if deployed.announced:
            self._ask(announced(deployed, number=next(self._requests), now=self._now), name)
        if name in self._switches:
            told = deployed.announced
            self._switches[name].deploy(deployed.version, deployed.variant, announced=told)
            self._touch(name)

    def _touch(self, name: str) -> None:
        """Something is new at a switch: the next look is on time."""
        every = self._look_every(name)
        self._look_at(name, _after(self._at - timedelta.resolution, every))

    def _ask(self, request: Request, service: str) -> None:
        stepped = step(self._world, Asked(request=request), self._now)
        self._settle(Asked(request=request), stepped)
        for reply in stepped.replies:
            self._recorder.replied(self._at, request, reply, service)
        if request.kind is RequestKind.ALERT and service in self._world.services:
            for check, (interval, _) in list(self._polls.get(service, {}).items()):
                self._polls[service][check] = (interval, self._at)
                self._push(self._at, Order.POLL, check)
            self._look_at(service, self._at)

    def _set_clock(self, by: timedelta) -> None:
        """As the ticker notices it: what is more than a correction moves all that is remembered."""
        if abs(by) > NOTICED:
            self._take(self._tick(by))
        self._ahead.append((self._at, self._ahead[-1][1] + by))


def _world_of(script: Script) -> World:
    sources = {rule.source for rule in script.rules.values() if rule.source is not None}
    services = {
        one.name: ServiceWorld(
            service=one, rules={name: script.rules[name] for name in one.rules if name in script.rules}
        )
        for one in script.services
    }
    return World(
        services=services,
        sources={name: SourceWorld(name=name) for name in sorted(sources)},
        limits=script.limits,
        routes=script.routes,
        recheck=script.recheck,
        places={name: SourcePlace() for name in sorted(sources)},
    )


def _after(at: timedelta, every: timedelta) -> timedelta:
    """The next multiple of an interval since the begin."""
    return (at // every + 1) * every
