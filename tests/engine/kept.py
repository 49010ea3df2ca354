"""A switch whose target somebody keeps as a source says, as a self-healing Argo CD does: undone after five seconds.

Everything is in memory and in virtual time.
"""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from tests.engine.worlds import variants
from watchdog.core.errors import SwitchConflict, SwitchError, SwitchRejected
from watchdog.core.happenings import Happening
from watchdog.core.traffic import Change, Suspension, TrafficState
from watchdog.testing.clock import LoopClock
from watchdog.testing.traffic import FakeSwitch

#: argo-cd's default: `--self-heal-timeout-seconds 5`.
HEALS_AFTER = 5.0
OWNER = "Argo CD application argocd/trips"


class KeptSwitch(FakeSwitch):
    """`source` is what Git says is live, `suspended` the rollback that suspended it, `said` what was announced."""

    def __init__(self, source: str, *, clock: LoopClock) -> None:
        super().__init__(variants("blue"), clock=clock.now)
        self.source = source
        self.suspended = ""
        self.said: list[Happening] = []
        self.expected = False
        self.refuses_to_suspend = False
        self.fails_to_resume: list[SwitchError] = []
        self.resumes = 0

    async def read(self) -> TrafficState:
        return self._with_owner(await super().read())

    async def apply(self, change: Change) -> TrafficState:
        if change.suspend:
            if self.refuses_to_suspend:
                raise SwitchRejected(f"cannot suspend {OWNER}: forbidden; nothing was changed")
            self.suspended = change.mark
        return self._with_owner(await super().apply(change))

    def expect_to_suspend(self) -> None:
        self.expected = True

    async def resume(self, mark: str) -> str:
        if self.fails_to_resume:
            raise self.fails_to_resume.pop(0)
        if not self.suspended:
            raise SwitchRejected("nothing is suspended by the watchdog any more")
        if self.suspended != mark:
            raise SwitchConflict(f"{OWNER} was suspended by {self.suspended} meanwhile")
        self.suspended = ""
        self.resumes += 1
        return OWNER

    async def announce(self, happening: Happening) -> None:
        self.said.append(happening)

    async def heal(self) -> None:
        """Argo CD: five seconds after it is not as the source says any more, it is again; unless it is suspended."""
        while True:
            await asyncio.sleep(HEALS_AFTER)
            if not self.suspended and self.state.live != (self.source,):
                self.move({self.source: 100})

    def _with_owner(self, state: TrafficState) -> TrafficState:
        if self.suspended:
            return replace(state, suspended=Suspension(owner=OWNER, rollback=self.suspended))
        undone = self.mark is not None and self.source in state.live
        return replace(
            state, managed_by=f"{OWNER} (self-heal)", written_by="argocd-controller" if undone else ""
        )
