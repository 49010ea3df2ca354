"""Carries out intents: read, ask the guards again, write if the state still is what it was, read back, report.

It decides nothing but "again later" and "give up". Its path is the same after a crash as before one: what to do follows
from the intent on disk and the state just read (`watchdog.core.recovery`). This module must never write without having
read in the same attempt, and never retry a write whose outcome it has not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from msgspec.structs import replace

from watchdog.aio.clock import SteadyClock
from watchdog.aio.crew import Crew
from watchdog.aio.faultpoint import GUARDS, OUTCOME, PAUSE, READ, WRITE, Point, passing
from watchdog.aio.supervise import asked_to_end
from watchdog.core.errors import (
    SwitchConflict,
    SwitchError,
    SwitchRejected,
    SwitchUnknown,
    SwitchUnreachable,
)
from watchdog.core.events import Outcome, OutcomeKind
from watchdog.core.guards import BEFORE_WRITE, GuardFacts, ask
from watchdog.core.recovery import Next, next_move
from watchdog.core.rollback import Rollback, Veto
from watchdog.core.service import GitOps
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.interface import TrafficSwitch

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Pauses between attempts: the first, and the longest, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Writes of one intent, at most, whatever happens.
WRITES = 5
#: A switch ends every call within its own timeout; this bound is for one that breaks its promise. Shorter than the life
#: of an intent, so that there is a second attempt.
LIMIT = timedelta(minutes=4)
#: A switch that may have been written and cannot be read is asked so long beyond the end of the intent; then people
#: must look. Counted from the start of this process when that was later: a restart alone is no reason to give up.
GRACE = timedelta(minutes=10)
#: Nothing is written on what was read longer ago than this: the machine slept, or this process stood still in between.
ACT_WITHIN = timedelta(seconds=5)

Facts = Callable[[Rollback, TrafficState, str], GuardFacts]


@dataclass(slots=True)
class _Attempt:
    """Where one intent stands: `ours` once a write of this or an earlier process may have happened.

    `begun` and `ends` (the end of the intent) are by boot time, and so is `read`: no clock that is set, and no sleep,
    gives an intent a longer life.
    """

    rollback: Rollback
    ours: bool
    begun: float
    ends: float | None
    read: float = 0.0
    writes: int = 0
    pause: float = FIRST_PAUSE
    before: TrafficState | None = None
    facts: GuardFacts | None = None
    trouble: str = ""


class Executor:
    """Owns the write credentials; one intent of a service at a time."""

    def __init__(
        self,
        *,
        switches: Mapping[str, TrafficSwitch],
        facts: Facts,
        paused: Callable[[], Awaitable[str]],
        epoch: int,
        deliver: Callable[[Outcome], None],
        clock: SteadyClock,
    ) -> None:
        """`epoch` is that of the store's claim; it goes into every write of a switch that can carry it."""
        self._switches = switches
        self._facts = facts
        self._paused = paused
        self._epoch = epoch
        self._deliver = deliver
        self._clock = clock
        self._halted = False
        self.crew = Crew("executor")

    def submit(self, rollback: Rollback, *, resumed: bool = False) -> None:
        """Carry out an intent that is on disk. `resumed`: an earlier process may have written it already."""
        if self._halted:
            _log.warning("intent_left_for_the_next_start", rollback=rollback.id)
            return
        if not self.crew.busy(rollback.id):
            passing(Point.INTENT_TAKEN)
            begun = self._clock.boottime()
            attempt = _Attempt(rollback=rollback, ours=resumed, begun=begun, ends=self._end(rollback, begun))
            self.crew.start(rollback.id, self._carry_out(attempt))

    def _end(self, rollback: Rollback, begun: float) -> float | None:
        """The end of an intent by boot time: never further away than when it was written."""
        if rollback.expires_at is None:
            return None
        left = rollback.expires_at - self._clock.now()
        if rollback.intended_at is not None:
            left = min(left, rollback.expires_at - rollback.intended_at)
        return begun + left.total_seconds()

    def halt(self) -> None:
        """Begin nothing more, for a clean stop: an intent stays on disk for the next start. Idempotent.

        What is under way goes on; wait for it with `crew.finish`.
        """
        self._halted = True

    async def _carry_out(self, attempt: _Attempt) -> None:
        while True:
            try:
                outcome = await self._try(attempt)
            except SwitchError as error:
                outcome = self._later(attempt, str(error))
            except Exception as error:  # noqa: BLE001 - the plugin border
                fault = f"{type(error).__name__} in the provider"
                if fault != attempt.trouble:
                    _log.exception("switch_failed", rollback=attempt.rollback.id)
                outcome = self._later(attempt, fault)
            except asyncio.CancelledError:
                if asked_to_end():
                    raise
                outcome = self._later(attempt, "the provider cancelled itself")
            if outcome is not None:
                with OUTCOME:
                    self._deliver(outcome)
                return
            with PAUSE:
                await self._clock.sleep(attempt.pause)
            attempt.pause = min(attempt.pause * 2, LONGEST_PAUSE)

    async def _try(self, attempt: _Attempt) -> Outcome | None:
        """One attempt from the read to the read-back; `None` asks for another one after a pause."""
        state = await self._read(attempt)
        attempt.read = self._clock.boottime()
        move = next_move(attempt.rollback, state, expired=self._expired(attempt), ours=attempt.ours)
        match move:
            case Next.DONE:
                kind = OutcomeKind.APPLIED if attempt.writes else OutcomeKind.FOUND_DONE
                return self._outcome(attempt, kind, state=state)
            case Next.FOREIGN:
                return self._outcome(
                    attempt, OutcomeKind.OVERTAKEN, state=state, detail="traffic was moved first"
                )
            case Next.WAIT:
                return self._later(attempt, "nothing takes any traffic now")
            case Next.LAPSED:
                why = attempt.trouble or "the intent is too old"
                return self._outcome(attempt, OutcomeKind.LAPSED, state=state, detail=why)
            case Next.HALF:
                kept = attempt.rollback
                why = f"{kept.from_variant} and {kept.to_variant} are live, and the intent is too old to finish it"
                return self._outcome(attempt, OutcomeKind.HALF_DONE, state=state, detail=why)
            case Next.WRITE | Next.FINISH:
                return await self._write(attempt, state, halfway=move is Next.FINISH)

    async def _read(self, attempt: _Attempt) -> TrafficState:
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                with READ:
                    return await self._switches[attempt.rollback.service].read()
        except TimeoutError:
            raise SwitchUnreachable("the switch was not read in time") from None

    async def _apply(self, attempt: _Attempt, change: Change) -> TrafficState:
        """Write. What is not known to have changed nothing may have changed something: then `ours` stays set."""
        ours, attempt.ours = attempt.ours, True
        attempt.writes += 1
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                with WRITE:
                    return await self._switches[attempt.rollback.service].apply(change)
        except (SwitchConflict, SwitchRejected, SwitchUnreachable):
            attempt.ours = ours
            raise
        except TimeoutError:
            raise SwitchUnknown("the switch did not answer in time") from None

    async def _write(self, attempt: _Attempt, state: TrafficState, *, halfway: bool) -> Outcome | None:
        if attempt.writes >= WRITES:
            kind = OutcomeKind.HALF_DONE if halfway else OutcomeKind.REFUSED
            return self._outcome(
                attempt, kind, state=state, detail=f"gave up after {WRITES} writes: {attempt.trouble}"
            )
        with GUARDS:
            paused = await self._paused()
        attempt.facts = self._facts(attempt.rollback, state, paused)
        vetoes = ask(attempt.facts, BEFORE_WRITE)
        if vetoes:
            kind = OutcomeKind.HALF_DONE if halfway else OutcomeKind.VETOED
            return self._outcome(attempt, kind, state=state, detail=vetoes[0].detail, vetoes=vetoes)
        change = attempt.rollback.change
        if change is None:
            return self._outcome(
                attempt, OutcomeKind.REFUSED, state=state, detail="the intent names no change"
            )
        if self._clock.boottime() - attempt.read > ACT_WITHIN.total_seconds():
            return self._later(attempt, "what was read is too old to act on: nothing ran for a while")
        attempt.before = attempt.before or state
        try:
            after = await self._apply(
                attempt,
                replace(
                    change,
                    expect=state.revision,
                    epoch=self._epoch,
                    suspend=attempt.facts.gitops is GitOps.PAUSE,
                ),
            )
        except SwitchRejected as error:
            kind = OutcomeKind.HALF_DONE if halfway else OutcomeKind.REFUSED
            return self._outcome(attempt, kind, state=state, detail=str(error))
        return self._judge_read_back(attempt, after)

    def _judge_read_back(self, attempt: _Attempt, after: TrafficState) -> Outcome | None:
        if next_move(attempt.rollback, after, expired=False, ours=True) is Next.DONE:
            return self._outcome(attempt, OutcomeKind.APPLIED, state=after)
        return self._later(attempt, "the switch acknowledged, but shows something else")

    def _later(self, attempt: _Attempt, trouble: str) -> Outcome | None:
        """Again later; lapses when it is too late and certainly nothing of ours is in place.

        What may be in place but cannot be read for `GRACE` longer ends as half done: a person must look.
        """
        if trouble != attempt.trouble:
            _log.warning("switch_delayed", rollback=attempt.rollback.id, error=trouble)
            attempt.trouble = trouble
        if self._expired(attempt) and not attempt.ours:
            return self._outcome(attempt, OutcomeKind.LAPSED, detail=trouble)
        if self._given_up(attempt):
            why = f"unknown whether it was written: the switch could not be read; look at it by hand ({trouble})"
            return self._outcome(attempt, OutcomeKind.HALF_DONE, detail=why)
        return None

    def _given_up(self, attempt: _Attempt) -> bool:
        if attempt.ends is None:
            return False
        return self._clock.boottime() >= max(attempt.ends, attempt.begun) + GRACE.total_seconds()

    def _expired(self, attempt: _Attempt) -> bool:
        return attempt.ends is not None and self._clock.boottime() >= attempt.ends

    def _outcome(
        self,
        attempt: _Attempt,
        kind: OutcomeKind,
        *,
        state: TrafficState | None = None,
        detail: str = "",
        vetoes: tuple[Veto, ...] = (),
    ) -> Outcome:
        return Outcome(
            rollback=attempt.rollback.id,
            service=attempt.rollback.service,
            kind=kind,
            at=self._clock.now(),
            state=state,
            before=attempt.before,
            detail=detail,
            vetoes=vetoes,
            facts=attempt.facts,
            attempts=attempt.writes,
        )
