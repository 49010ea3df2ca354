"""Schedules: whatever can happen around a daemon, in any order, drawn by Hypothesis (issue 4: the state machine proof).

One schedule is some sixteen actions of people, deployments, sources, switches, clocks, disks, channels and crashes
on the real engine in virtual time, and then a quiet time in which everything answers. The promises are judged after
every action and at the end. This module must never judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from datetime import timedelta
from functools import cache
from typing import Any, ClassVar

import structlog
from hypothesis import HealthCheck, Phase, Verbosity, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from structlog.typing import EventDict, WrappedLogger

from tests.engine.worlds import DEPTH
from tests.faults.machine_daemon import LAXER, SHARE, STRICTER, Daemon, Disk, copied
from tests.faults.machine_outside import SERVERS, Outside, People
from tests.faults.machine_promises import Promises
from tests.loops import VirtualTimeLoop
from watchdog.core.incident import Incident
from watchdog.core.request import RequestKind
from watchdog.core.service import Mode
from watchdog.core.traffic import Tier
from watchdog.store.codec import decode
from watchdog.testing.store import MemoryData

#: Virtual seconds at which schedules begin: what was there before is from earlier.
BEGIN = 100.0
#: Virtual seconds after which everything must have settled.
PATIENCE = 1500.0

#: How far the clock goes after an action.
PAUSES = st.sampled_from([0.0, 0.0, 0.004, 0.3, 1.0, 2.0, 5.0])
VARIANTS = st.sampled_from(["blue", "green", "red"])
WEIGHTS = st.sampled_from(
    [
        {"blue": 100},
        {"green": 100},
        {"red": 100},
        {"blue": 50, "green": 50},
        {"green": 90, "red": 10},
        {"blue": 100, "red": 1},
        {},
    ]
)
MODES = ("value", "error", "senseless", "none", "stale", "future", "repeat", "few", "nan", "partial")
SET_RULES = {
    "same": (SHARE,),
    "removed": (DEPTH,),
    "both": (SHARE, DEPTH),
    "laxer": (LAXER,),
    "stricter": (STRICTER,),
}
WRITE_FAULTS = st.sampled_from(["slow", "nothing done", "late", "answer lost", "unreachable", "rejected"])
#: Where something can happen to a daemon, and what.
TRAPS = st.sampled_from(["read", "was read", "apply", "applied", "intend", "intended", "record", "recorded"])
PLACES = TRAPS | st.sampled_from(["pause check", "sent"])
AMBUSHES = st.sampled_from(
    [
        "crash",
        "crash",
        "taken over",
        "taken over",
        "freeze",
        "pause file",
        "marked",
        "deposed",
        "moved back",
        "moved away",
        "nothing live",
        "touched",
        "target dies",
        "disk full",
        "clock forward",
        "clock back",
    ]
)


@cache
def _begun(tells: bool) -> tuple[MemoryData, frozenset[str]]:
    """A store in which v1 has proved itself on blue, and the messages that people had by then."""
    loop = VirtualTimeLoop()
    outside = Outside(loop=loop, tells=tells)
    outside.judge = Promises(outside)
    outside.channels = {name: People(outside, name) for name in ("ops", "oncall")}
    disk = Disk(MemoryData())

    async def begin() -> None:
        daemon = Daemon(outside, disk, name="first", mode=Mode.ENFORCE)
        await daemon.start()
        await daemon.request(RequestKind.DEPLOYMENT, version="v1", variant="blue")
        await asyncio.sleep(55)
        assert [(one.version, one.state) for one in daemon.deployments] == [("v1", "stable")], (
            daemon.deployments
        )
        await daemon.end()

    loop.run_until_complete(begin())
    loop.close()
    assert not outside.judge.broken, outside.judge.broken
    return disk.data, frozenset().union(*(people.heard for people in outside.channels.values()))


class Schedule(RuleBasedStateMachine):
    """One schedule. `tallies` counts, over all of them, in how many something happened."""

    tallies: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()
        self.loop.set_exception_handler(self._unseen)
        self.daemons: list[Daemon] = []
        self.outside: Outside
        self.mode = Mode.ENFORCE
        self.versions = 1
        self.epoch = 3
        self.names = 0
        self.clock_is_corrected = True
        self._disks: list[Disk] = []
        self._launching: asyncio.Task[None] | None = None

    def _unseen(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.outside.faults.append(f"nobody caught: {context.get('message')} {context.get('exception')!r}")

    # How it begins, goes on and ends

    @initialize(
        tier=st.sampled_from([Tier.A, Tier.A, Tier.B]),
        tells=st.booleans(),
        scrape=st.sampled_from([1.0, 5.0]),
        mode=st.sampled_from([*[Mode.ENFORCE] * 6, Mode.APPROVE, Mode.APPROVE, Mode.OBSERVE]),
        bad=st.sampled_from([True, True, True, True, False]),
        lead=st.sampled_from([2.0, 8.0, 14.0, 14.0, 20.0, 20.0]),
        posted=st.booleans(),
        corrected=st.booleans(),
        trap=st.one_of(st.none(), st.tuples(TRAPS, AMBUSHES)),
        fault=st.one_of(st.none(), st.none(), WRITE_FAULTS),
    )
    def begin(
        self,
        *,
        tier: Tier,
        tells: bool,
        scrape: float,
        mode: Mode,
        bad: bool,
        lead: float,
        posted: bool,
        corrected: bool,
        trap: tuple[str, str] | None,
        fault: str | None,
    ) -> None:
        self.loop._jumping.now = BEGIN  # noqa: SLF001 - the virtual loop's own clock
        data, heard = _begun(tells)
        self.outside = Outside(loop=self.loop, tier=tier, tells=tells, scrape=scrape)
        self.outside.judge = Promises(self.outside)
        self.outside.judge.seen_before = len(data.audit)
        self.outside.heard_before = set(heard)
        self.outside.healthy["v1"] = 40.0
        self.outside.channels = {name: People(self.outside, name) for name in ("ops", "oncall")}
        self.mode = mode
        self.clock_is_corrected = corrected
        self._do(self._launch(Disk(copied(data))))
        self._do(asyncio.sleep(2))
        if fault is not None:
            self.outside.apply_faults.append((fault, 6.0))
        if trap is not None:
            self._set_trap(*trap)
        if bad:
            self._deploy("green", 0.2, posted=posted, forbidden=False, weights={"green": 100})
            self._do(self._pass(lead))

    async def _launch(self, disk: Disk) -> None:
        self.names += 1
        self.epoch += 1
        daemon = Daemon(self.outside, disk, name=f"daemon {self.names}", mode=self.mode, epoch=self.epoch)
        self.daemons.append(daemon)
        await daemon.start()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        if self.loop.is_closed():
            work.close()
            return
        self.loop.run_until_complete(work)

    async def _pass(self, seconds: float) -> None:
        """Let time pass; whoever crashes meanwhile is taken away."""
        until = self.loop.time() + seconds
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self.outside.crashed.wait()
            await self._bury()
            if self.loop.time() >= until:
                return

    async def _bury(self) -> None:
        self.outside.crashed.clear()
        for daemon in [one for one in self.daemons if one.dead]:
            self.daemons.remove(daemon)
            await daemon.end()
            self.outside.count("crash")

    def _after(self, seconds: float) -> None:
        self._do(self._pass(seconds))
        self._hold()

    def _hold(self) -> None:
        """Everything that must hold at any moment."""
        broken = [
            *self.outside.judge.broken,
            *self.outside.faults,
            *FAULTS,
            *(fault for daemon in self.daemons if (fault := daemon.fault())),
        ]
        FAULTS.clear()
        assert not broken, "\n".join(broken)

    def teardown(self) -> None:
        if not hasattr(self, "outside"):
            self.loop.close()
            return
        try:
            if not self.outside.judge.broken:
                self._do(self._settle())
                self._hold()
            self.outside.tally["schedules"] = 1
            type(self).tallies.update(self.outside.tally)
        finally:
            self._do(self._clear())
            self.loop.close()
            FAULTS.clear()

    async def _settle(self) -> None:
        """Everything answers, nobody does anything, and time passes: then everything is over, or told."""
        outside = self.outside
        self._repair()
        survivor = await self._survivor()
        if "trips" not in survivor.services:
            await survivor.reload((SHARE,))
        await self._wait_while(lambda: bool(outside.judge.settled(survivor.disk)))
        if left := outside.judge.settled(survivor.disk):
            outside.judge.breach(f"nothing is stuck: {', '.join(left)}")
        await self._wait_while(lambda: outside.judge.waiting(survivor.disk))
        for disk in self.disks:
            outside.judge.final(disk, delivered=disk is survivor.disk)

    async def _wait_while(self, condition: Callable[[], bool]) -> None:
        until = self.loop.time() + PATIENCE
        await self._pass(20)
        while condition() and self.loop.time() < until:
            await self._pass(20)

    def _repair(self) -> None:
        """Whatever was wrong around the daemons is not any more."""
        outside = self.outside
        outside.ambushes.clear()
        outside.apply_faults.clear()
        outside.read_faults.clear()
        outside.pause_file = False
        outside.switch.pause()
        outside.sight.mode, outside.sight.slow = "value", 0.0
        for people in outside.channels.values():
            people.mode = "ok"
        for daemon in self.daemons:
            daemon.disk.failing = False
            daemon.thaw()
            daemon.lease.is_leader = True
        if outside.skew and self.clock_is_corrected:
            self._set_clocks(timedelta())
            outside.source_skew = timedelta()

    async def _survivor(self) -> Daemon:
        """One daemon is left; it begins anew where another one may have written to its store."""
        while len(self.daemons) > 1:
            self._remember()
            loser = next((one for one in self.daemons if one.reactor.store_error), self.daemons[0])
            self.daemons.remove(loser)
            await loser.end()
        if self.daemons and self.outside.tally["second daemon: same store"]:
            self._remember()
            await self.daemons.pop().end()
        if not self.daemons:
            self.disk.failing = False
            await self._launch(self.disk)
        return self.daemons[0]

    async def _clear(self) -> None:
        for daemon in self.daemons:
            with contextlib.suppress(AssertionError):
                await daemon.end()
        self.daemons.clear()
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    @property
    def disk(self) -> Disk:
        """That of the daemon that was started last."""
        return self.disks[-1]

    @property
    def disks(self) -> list[Disk]:
        """All there ever were."""
        self._remember()
        return self._disks

    def _remember(self) -> None:
        for daemon in self.daemons:
            if all(one is not daemon.disk for one in self._disks):
                self._disks.append(daemon.disk)

    # Time

    @rule(seconds=st.sampled_from([1.0, 3.0, 6.0, 6.0, 12.0, 25.0, 40.0]))
    def time_passes(self, seconds: float) -> None:
        self._after(seconds)

    @rule(seconds=st.sampled_from([2.0, 5.0, 10.0]))
    def a_moment_passes(self, seconds: float) -> None:
        self._after(seconds)

    @rule(
        seconds=st.sampled_from([3600, -3600, 3600, -3600, 100, -100, 30, -30]),
        everywhere=st.booleans(),
        pause=PAUSES,
    )
    def the_clock_jumps(self, seconds: int, everywhere: bool, pause: float) -> None:
        self._jump(seconds, everywhere=everywhere)
        self._after(pause)

    def _jump(self, seconds: int, *, everywhere: bool) -> None:
        """Of the daemons' machine only, or of the source's, too."""
        self._set_clocks(self.outside.skew + timedelta(seconds=seconds))
        if everywhere:
            self.outside.source_skew += timedelta(seconds=seconds)
        self.outside.count("clock forward" if seconds > 0 else "clock back")

    @rule(pause=PAUSES)
    def the_clock_is_right_again(self, pause: float) -> None:
        self._set_clocks(timedelta())
        self.outside.source_skew = timedelta()
        self._after(pause)

    def _set_clocks(self, skew: timedelta) -> None:
        for daemon in self.daemons:
            daemon.clock.jump(skew - self.outside.skew)
        self.outside.skew = skew
        self.outside.count("clock set")

    # The source

    @rule(mode=st.sampled_from(MODES), slow=st.sampled_from([0.0, 0.0, 0.0, 1.5, 4.0, 8.0]), pause=PAUSES)
    def the_source_answers(self, mode: str, slow: float, pause: float) -> None:
        self.outside.sight.mode, self.outside.sight.slow, self.outside.sight.frozen_at = mode, slow, None
        self.outside.count(f"source: {mode}" if not slow else "source: slow")
        self._after(pause)

    @rule(pause=PAUSES)
    def the_source_is_well(self, pause: float) -> None:
        self.outside.sight.mode, self.outside.sight.slow = "value", 0.0
        self._after(pause)

    @rule(hours=st.sampled_from([-1, 1]), pause=PAUSES)
    def the_source_has_another_time(self, hours: int, pause: float) -> None:
        self.outside.source_skew = self.outside.skew + timedelta(hours=hours)
        self.outside.count("source: an hour off")
        self._after(pause)

    @rule(variant=VARIANTS, share=st.sampled_from([0.0, 0.0, 0.004, 0.012, 0.2, 0.2, 0.95]), pause=PAUSES)
    def a_version_turns(self, variant: str, share: float, pause: float) -> None:
        self.outside.turn(self.outside.carried[variant], share)
        self._after(pause)

    # Deployments and people at the switch

    @rule(
        variant=VARIANTS,
        share=st.sampled_from([0.0, 0.2, 0.2, 0.95]),
        posted=st.booleans(),
        forbidden=st.sampled_from([False, False, False, True]),
        shift=st.sampled_from(["all", "all", "half", "none"]),
        pause=PAUSES,
    )
    def something_is_deployed(
        self, variant: str, share: float, posted: bool, forbidden: bool, shift: str, pause: float
    ) -> None:
        weights = {variant: 100}
        if shift == "half" and variant not in self.outside.live:
            weights = {variant: 50, **dict.fromkeys(self.outside.live, 50)}
        self._deploy(
            variant, share, posted=posted, forbidden=forbidden, weights=None if shift == "none" else weights
        )
        self._after(pause)

    def _deploy(
        self, variant: str, share: float, *, posted: bool, forbidden: bool, weights: dict[str, int] | None
    ) -> None:
        self.versions += 1
        version = f"v{self.versions}"
        if posted:
            words = {"rollback": "forbidden"} if forbidden else {}
            self._ask(RequestKind.DEPLOYMENT, version=version, variant=variant, **words)
            self._do(self._pass(0.05))
        self.outside.place(variant, version, share)
        if weights is not None:
            self.outside.move(**weights)
        self.outside.count("deployed: posted" if posted else "deployed: seen")

    @rule(variant=VARIANTS, forbidden=st.booleans(), pause=PAUSES)
    def what_runs_is_posted(self, variant: str, forbidden: bool, pause: float) -> None:
        words = {"rollback": "forbidden"} if forbidden else {}
        self._ask(RequestKind.DEPLOYMENT, version=self.outside.carried[variant], variant=variant, **words)
        self._after(pause)

    @rule(weights=WEIGHTS, pause=PAUSES)
    def a_person_moves_traffic(self, weights: dict[str, int], pause: float) -> None:
        self.outside.move(**weights)
        self._after(pause)

    @rule(pause=PAUSES)
    def a_person_undoes_what_was_switched(self, pause: float) -> None:
        self.outside.move(green=100)
        self._after(pause)

    @rule(variant=VARIANTS, count=st.sampled_from([None, 0, 3, SERVERS, SERVERS]), pause=PAUSES)
    def servers_come_and_go(self, variant: str, count: int | None, pause: float) -> None:
        self.outside.ready(variant, count)
        self._after(pause)

    # The switch

    @rule(
        fault=WRITE_FAULTS,
        seconds=st.sampled_from([1.0, 6.0, 30.0]),
        times=st.sampled_from([1, 1, 2, 6]),
        pause=PAUSES,
    )
    def the_next_writes_go_wrong(self, fault: str, seconds: float, times: int, pause: float) -> None:
        self.outside.apply_faults.extend([(fault, seconds)] * times)
        self._after(pause)

    @rule(times=st.sampled_from([1, 4, 30, 400]), pause=PAUSES)
    def the_next_reads_go_wrong(self, times: int, pause: float) -> None:
        self.outside.read_faults = ["unreachable"] * times
        self._after(pause)

    # What people ask of the daemon

    def _ask(self, kind: RequestKind, target: str = "trips", **body: object) -> None:
        if not self.daemons:
            return
        asked = self.daemons[self.outside.requests % len(self.daemons)]
        self._do(self._asking(asked, kind, target, body))

    async def _asking(self, daemon: Daemon, kind: RequestKind, target: str, body: dict[str, object]) -> None:
        await daemon.request(kind, target, **body)

    @rule(
        kind=st.sampled_from([RequestKind.PAUSE, RequestKind.RESUME, RequestKind.RESUME, RequestKind.ALERT]),
        pause=PAUSES,
    )
    def asked_of_the_service(self, kind: RequestKind, pause: float) -> None:
        self._ask(kind, reason="because")
        self._after(pause)

    @rule(present=st.sampled_from([True, False, False]), pause=PAUSES)
    def the_kill_switch(self, present: bool, pause: float) -> None:
        self.outside.pause_file = present
        if present:
            self.outside.count("pause file")
        self._after(pause)

    @rule(reason=st.sampled_from(["somebody is at it", "", ""]), pause=PAUSES)
    def the_mark_on_the_target(self, reason: str, pause: float) -> None:
        self.outside.switch.pause(reason)
        if reason:
            self.outside.count("mark on the target")
        self._after(pause)

    @rule(to=st.sampled_from(["", "", "v1", "v2"]), pause=PAUSES)
    def a_person_rolls_back(self, to: str, pause: float) -> None:
        self._ask(RequestKind.ROLLBACK, reason="by hand", **({"to": to} if to else {}))
        self._after(pause)

    @rule(
        kind=st.sampled_from(
            [
                RequestKind.APPROVE,
                RequestKind.APPROVE,
                RequestKind.REJECT,
                RequestKind.ACKNOWLEDGE,
                RequestKind.CLOSE,
            ]
        ),
        pause=PAUSES,
    )
    def asked_of_the_incident(self, kind: RequestKind, pause: float) -> None:
        found = [
            one
            for daemon in self.daemons
            for row in daemon.disk.data.incidents.values()
            if (one := decode(row["doc"], Incident)).open
        ]
        if found:
            self._ask(kind, found[-1].id)
        self._after(pause)

    @rule(
        kind=st.sampled_from([RequestKind.TAINT, RequestKind.UNTAINT, RequestKind.MARK_GOOD]),
        variant=VARIANTS,
        pause=PAUSES,
    )
    def asked_of_the_version(self, kind: RequestKind, variant: str, pause: float) -> None:
        self._ask(kind, version=self.outside.carried[variant], reason="because")
        self._after(pause)

    @rule(rules=st.sampled_from(sorted(SET_RULES)), there=st.sampled_from([True, True, False]), pause=PAUSES)
    def the_configuration_changes(self, rules: str, there: bool, pause: float) -> None:
        for daemon in self.daemons:
            if not daemon.frozen:
                self._do(daemon.reload(SET_RULES[rules], there=there))
                self.outside.count("reload" if there else "reload: service removed")
        self._after(pause)

    @rule(pause=PAUSES)
    def the_configuration_is_as_it_was(self, pause: float) -> None:
        for daemon in self.daemons:
            if not daemon.frozen:
                self._do(daemon.reload((SHARE,)))
        self._after(pause)

    # Leadership, two daemons

    @rule(leads=st.sampled_from([True, True, False]), pause=PAUSES)
    def leadership_changes(self, leads: bool, pause: float) -> None:
        for daemon in self.daemons:
            daemon.lease.is_leader = leads
        if not leads:
            self.outside.count("leadership lost")
        self._after(pause)

    @precondition(lambda self: len(self.daemons) == 1 and self.outside.tier is Tier.A)
    @rule(freeze=st.booleans(), knows=st.booleans(), copy=st.sampled_from([False, False, True]), pause=PAUSES)
    def a_second_daemon_starts(self, freeze: bool, knows: bool, copy: bool, pause: float) -> None:
        """From the same store or a copy; the first one is frozen perhaps, and knows perhaps that it is deposed."""
        (first,) = self.daemons
        if freeze:
            first.freeze()
        if knows:
            first.lease.is_leader = False
        self._remember()
        self._do(self._launch(first.disk.copy() if copy else first.disk))
        self.outside.count("second daemon")
        self.outside.count("second daemon: copied store" if copy else "second daemon: same store")
        if not knows:
            self.outside.count("second daemon: both lead")
        self._after(pause)

    @precondition(lambda self: any(one.frozen for one in self.daemons))
    @rule(pause=PAUSES)
    def the_frozen_one_wakes_up(self, pause: float) -> None:
        for daemon in self.daemons:
            if daemon.frozen:
                daemon.thaw()
                self.outside.count("woken up")
        self._after(pause)

    # Crashes, disks, channels

    @precondition(lambda self: bool(self.daemons))
    @rule(pause=PAUSES)
    def a_daemon_crashes(self, pause: float) -> None:
        self._remember()
        self.daemons[0].die()
        self._after(pause)

    @precondition(lambda self: not self.daemons)
    @rule(pause=PAUSES)
    def a_daemon_starts_again(self, pause: float) -> None:
        self._do(self._launch(self.disk))
        self.outside.count("restart")
        self._after(pause)

    @rule(place=PLACES, what=AMBUSHES, pause=PAUSES)
    def something_waits_in_ambush(self, place: str, what: str, pause: float) -> None:
        self._set_trap(place, what)
        self._after(pause)

    def _set_trap(self, place: str, what: str) -> None:
        self._remember()
        self.outside.ambushes.setdefault(place, []).append(self._ambush(what, place))

    def _ambush(self, what: str, place: str) -> Callable[[Daemon], None]:
        outside = self.outside
        deeds: dict[str, Callable[[Daemon], None]] = {
            "crash": Daemon.die,
            "taken over": self._take_over,
            "freeze": Daemon.freeze,
            "pause file": lambda _: setattr(outside, "pause_file", True),
            "marked": lambda _: outside.switch.pause("somebody is at it"),
            "deposed": lambda daemon: setattr(daemon.lease, "is_leader", False),
            "moved back": lambda _: outside.move(green=100),
            "moved away": lambda _: outside.move(red=100),
            "nothing live": lambda _: outside.move(),
            "touched": lambda _: outside.touch(),
            "target dies": lambda _: outside.ready("blue", 0),
            "disk full": lambda daemon: setattr(daemon.disk, "failing", True),
            "clock forward": lambda _: self._jump(3600, everywhere=True),
            "clock back": lambda _: self._jump(-3600, everywhere=True),
        }

        def spring(daemon: Daemon) -> None:
            outside.count(f"{what} at: {place}")
            deeds[what](daemon)

        return spring

    def _take_over(self, first: Daemon) -> None:
        """It stands still, another one starts from the same store, and then it goes on and knows nothing of that."""
        if self.outside.tier is not Tier.A or len(self.daemons) != 1:
            return
        first.freeze()
        self.outside.count("second daemon")
        self.outside.count("second daemon: same store")
        self.outside.count("second daemon: both lead")
        self._launching = self.loop.create_task(self._launch(first.disk))
        self.loop.call_later(self.names * 3 + 1, first.thaw)

    @rule(failing=st.sampled_from([True, False, False]), pause=PAUSES)
    def the_disk(self, failing: bool, pause: float) -> None:
        for disk in self.disks:
            disk.failing = failing
        if failing:
            self.outside.count("disk full")
        self._after(pause)

    @rule(
        name=st.sampled_from(["ops", "oncall"]),
        mode=st.sampled_from(["ok", "later", "lost answer", "refused", "raises", "hangs"]),
        pause=PAUSES,
    )
    def a_channel_answers(self, name: str, mode: str, pause: float) -> None:
        self.outside.channels[name].mode = mode
        self.outside.count(f"channel: {mode}")
        self._after(pause)


#: Faults that were logged since the last look.
FAULTS: list[str] = []


def _watch(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Nothing is printed; what should never be logged is kept."""
    fault = event.get("exc_info")
    if fault and event["event"] != "channel_failed":
        FAULTS.append(f"logged with an exception: {event}")
    raise structlog.DropEvent


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without a log."""
    before, collected = structlog.get_config(), gc.get_threshold()
    structlog.configure(processors=[_watch], cache_logger_on_first_use=False)
    gc.set_threshold(50_000, 20, 50)  # schedules are short-lived and many
    try:
        yield
    finally:
        gc.set_threshold(*collected)
        structlog.configure(**before)


def run(schedules: int, *, number: int, steps: int = 16, shrink: bool = True) -> Counter[str]:
    """Run so many schedules, another set for each `number`; answers in how many of them what happened."""

    class Drawn(Schedule):
        tallies: ClassVar[Counter[str]] = Counter()

    chosen = settings(
        max_examples=schedules,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=list(HealthCheck),
        verbosity=Verbosity.normal,
    )
    with quiet():
        run_state_machine_as_test(seed(number)(Drawn), settings=chosen)
    return Drawn.tallies
