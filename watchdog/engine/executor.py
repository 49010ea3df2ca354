"""Carries out intents: read, ask the guards again, write if the state still is what it was, read back, report.

It decides nothing but "again later" and "give up". Its path is the same after a crash as before one: what to do follows
from the intent on disk and the state just read (`watchdog.core.recovery`). This module must never write without having
read in the same attempt, and never retry a write whose outcome it has not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import structlog

from watchdog.aio.clock import SteadyClock
from watchdog.aio.crew import Crew
from watchdog.aio.faultpoint import GUARDS, OUTCOME, PAUSE, READ, WRITE, Point, passing
from watchdog.aio.supervise import asked_to_end
from watchdog.core.attempt import Attempt, begin
from watchdog.core.errors import (
    SwitchConflict,
    SwitchError,
    SwitchRejected,
    SwitchUnknown,
    SwitchUnreachable,
)
from watchdog.core.events import Outcome
from watchdog.core.guards import GuardFacts
from watchdog.core.recovery import Next
from watchdog.core.rollback import Rollback
from watchdog.core.traffic import TrafficState
from watchdog.traffic.interface import TrafficSwitch

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: A switch ends every call within its own timeout; this bound is for one that breaks its promise. Shorter than the life
#: of an intent, so that there is a second attempt.
LIMIT = timedelta(minutes=4)

Facts = Callable[[Rollback, TrafficState, str], GuardFacts]


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
            attempt = begin(rollback, resumed=resumed, now=self._clock.now(), boot=self._clock.boottime())
            self.crew.start(rollback.id, self._carry_out(attempt))

    def halt(self) -> None:
        """Begin nothing more, for a clean stop: an intent stays on disk for the next start. Idempotent.

        What is under way goes on; wait for it with `crew.finish`.
        """
        self._halted = True

    async def _carry_out(self, attempt: Attempt) -> None:
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
            attempt.rested()

    async def _try(self, attempt: Attempt) -> Outcome | None:
        """One attempt from the read to the read-back; `None` asks for another one after a pause."""
        state = await self._read(attempt)
        boot = self._clock.boottime()
        move = attempt.move(state, boot=boot)
        if move in (Next.WRITE, Next.FINISH):
            return await self._write(attempt, state, halfway=move is Next.FINISH)
        trouble = attempt.trouble
        outcome = attempt.settled(move, state, boot=boot, now=self._clock.now())
        self._log_delay(attempt, trouble)
        return outcome

    async def _read(self, attempt: Attempt) -> TrafficState:
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                with READ:
                    return await self._switches[attempt.rollback.service].read()
        except TimeoutError:
            raise SwitchUnreachable("the switch was not read in time") from None

    async def _apply(self, attempt: Attempt, state: TrafficState) -> TrafficState:
        """Write. What is not known to have changed nothing may have changed something: then `ours` stays set."""
        ours, change = attempt.ours, attempt.change(state, epoch=self._epoch)
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                with WRITE:
                    return await self._switches[attempt.rollback.service].apply(change)
        except (SwitchConflict, SwitchRejected, SwitchUnreachable):
            attempt.ours = ours
            raise
        except TimeoutError:
            raise SwitchUnknown("the switch did not answer in time") from None

    async def _write(self, attempt: Attempt, state: TrafficState, *, halfway: bool) -> Outcome | None:
        over = attempt.worn_out(state, halfway=halfway, now=self._clock.now())
        if over is not None:
            return over
        with GUARDS:
            paused = await self._paused()
        facts = self._facts(attempt.rollback, state, paused)
        refused = attempt.refused(facts, state, halfway=halfway, now=self._clock.now())
        if refused is not None:
            return refused
        if attempt.outdated(self._clock.boottime()):
            return self._later(attempt, "what was read is too old to act on: nothing ran for a while")
        try:
            after = await self._apply(attempt, state)
        except SwitchRejected as error:
            return attempt.rejected(state, str(error), halfway=halfway, now=self._clock.now())
        trouble = attempt.trouble
        outcome = attempt.read_back(after, boot=self._clock.boottime(), now=self._clock.now())
        self._log_delay(attempt, trouble)
        return outcome

    def _later(self, attempt: Attempt, trouble: str) -> Outcome | None:
        """Again later, unless it is too late (`Attempt.later`)."""
        before = attempt.trouble
        outcome = attempt.later(trouble, boot=self._clock.boottime(), now=self._clock.now())
        self._log_delay(attempt, before)
        return outcome

    def _log_delay(self, attempt: Attempt, before: str) -> None:
        """Say what is in the way when that changes, not every time."""
        if attempt.trouble != before:
            _log.warning("switch_delayed", rollback=attempt.rollback.id, error=attempt.trouble)
