"""An intent of a script carried out: the executor's way around a switch, without waiting (`watchdog.core.attempt`).

This module must never write what the guards were not asked about a moment before.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from watchdog.core.attempt import Attempt
from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected, SwitchUnreachable
from watchdog.core.events import Outcome
from watchdog.core.facts import facts_before_write
from watchdog.core.recovery import Next
from watchdog.core.rollback import Rollback
from watchdog.core.traffic import TrafficState
from watchdog.core.world import World
from watchdog.lab.play_switch import PlayedSwitch


class Hand:
    """At one moment, on one switch. `switched` hears of a rollback whose change was written."""

    def __init__(
        self,
        switch: PlayedSwitch,
        world: World,
        *,
        at: timedelta,
        now: datetime,
        switched: Callable[[timedelta, Rollback], None],
    ) -> None:
        self._switch = switch
        self._world = world
        self._at = at
        self._boot = at.total_seconds()
        self._now = now
        self._switched = switched

    def carry_out(self, attempt: Attempt) -> Outcome | None:
        """One attempt from the read to the read-back; `None` asks for another one after its pause."""
        try:
            state = self._switch.read(self._at, self._now)
            move = attempt.move(state, boot=self._boot)
            if move in (Next.WRITE, Next.FINISH):
                return self._write(attempt, state, halfway=move is Next.FINISH)
            return attempt.settled(move, state, boot=self._boot, now=self._now)
        except SwitchError as error:
            return attempt.later(str(error), boot=self._boot, now=self._now)

    def _write(self, attempt: Attempt, state: TrafficState, *, halfway: bool) -> Outcome | None:
        now, world, rollback = self._now, self._world, attempt.rollback
        over = attempt.worn_out(state, halfway=halfway, now=now)
        if over is not None:
            return over
        facts = facts_before_write(world, rollback, state, now=now, paused_by_file=world.paused_by_file)
        refused = attempt.refused(facts, state, halfway=halfway, now=now)
        if refused is not None:
            return refused
        ours, change = attempt.ours, attempt.change(state, epoch=world.epoch)
        try:
            after = self._switch.apply(change, self._at, now)
        except SwitchRejected as error:
            attempt.ours = ours
            return attempt.rejected(state, str(error), halfway=halfway, now=now)
        except (SwitchConflict, SwitchUnreachable):
            attempt.ours = ours
            raise
        self._switched(self._at, rollback)
        return attempt.read_back(after, boot=self._boot, now=now)
