"""One intent on its way: what to do after each look at the switch, and what became of it. Pure, but for its own memory.

The daemon's executor waits for switches around it, rule tests play it without waiting: there is no second way to carry
an intent out. Boot time is in seconds and is a parameter, as `now` is: no clock that is set, and no sleep, gives an
intent a longer life. This module must never lead to a write of a state that was not read in the same attempt, nor to a
second one whose outcome was not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from watchdog.core.events import Outcome, OutcomeKind
from watchdog.core.guards import BEFORE_WRITE, GuardFacts, ask
from watchdog.core.recovery import Next, next_move
from watchdog.core.rollback import Rollback, RollbackState, Veto
from watchdog.core.service import GitOps
from watchdog.core.traffic import Change, TrafficState
from watchdog.core.world import World

#: Pauses between attempts: the first, and the longest, in seconds.
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0
#: Writes of one intent, at most, whatever happens.
WRITES = 5
#: A switch that may have been written and cannot be read is asked so long beyond the end of the intent; then people
#: must look. Counted from the start of this process when that was later: a restart alone is no reason to give up.
GRACE = timedelta(minutes=10)
#: Nothing is written on what was read longer ago than this: the machine slept, or this process stood still in between.
ACT_WITHIN = timedelta(seconds=5)


@dataclass(slots=True)
class Attempt:
    """Where one intent stands: `ours` once a write of this or an earlier process may have happened.

    `begun`, `ends` (the end of the intent) and `read` are by boot time; `pause` is how long to wait before the next
    attempt. Every answer of `None` asks for another attempt after it.
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

    def expired(self, boot: float) -> bool:
        """Whether the intent is too old to be begun."""
        return self.ends is not None and boot >= self.ends

    def rested(self) -> None:
        """The pause is over; the next one is longer."""
        self.pause = min(self.pause * 2, LONGEST_PAUSE)

    def move(self, state: TrafficState, *, boot: float) -> Next:
        """The switch was read."""
        self.read = boot
        return next_move(self.rollback, state, expired=self.expired(boot), ours=self.ours)

    def settled(self, move: Next, state: TrafficState, *, boot: float, now: datetime) -> Outcome | None:
        """What a move that writes nothing comes to."""
        match move:
            case Next.DONE:
                kind = OutcomeKind.APPLIED if self.writes else OutcomeKind.FOUND_DONE
                return self.outcome(kind, now=now, state=state)
            case Next.FOREIGN:
                return self.outcome(
                    OutcomeKind.OVERTAKEN, now=now, state=state, detail="traffic was moved first"
                )
            case Next.WAIT:
                return self.later("nothing takes any traffic now", boot=boot, now=now)
            case Next.LAPSED:
                why = self.trouble or "the intent is too old"
                return self.outcome(OutcomeKind.LAPSED, now=now, state=state, detail=why)
            case Next.HALF:
                kept = self.rollback
                why = f"{kept.from_variant} and {kept.to_variant} are live, and the intent is too old to finish it"
                return self.outcome(OutcomeKind.HALF_DONE, now=now, state=state, detail=why)
            case Next.WRITE | Next.FINISH:
                raise ValueError(f"{move} is carried out, not settled")

    def worn_out(self, state: TrafficState, *, halfway: bool, now: datetime) -> Outcome | None:
        """The end after too many writes; `None` while there may be another."""
        if self.writes < WRITES:
            return None
        kind = OutcomeKind.HALF_DONE if halfway else OutcomeKind.REFUSED
        why = f"gave up after {WRITES} writes: {self.trouble}"
        return self.outcome(kind, now=now, state=state, detail=why)

    def refused(
        self, facts: GuardFacts, state: TrafficState, *, halfway: bool, now: datetime
    ) -> Outcome | None:
        """The end where a guard says no right before the write, or the intent names no change; else `None`."""
        self.facts = facts
        vetoes = ask(facts, BEFORE_WRITE)
        if vetoes:
            kind = OutcomeKind.HALF_DONE if halfway else OutcomeKind.VETOED
            return self.outcome(kind, now=now, state=state, detail=vetoes[0].detail, vetoes=vetoes)
        if self.rollback.change is None:
            why = "the intent names no change"
            return self.outcome(OutcomeKind.REFUSED, now=now, state=state, detail=why)
        return None

    def outdated(self, boot: float) -> bool:
        """Whether what was read is too old to act on."""
        return boot - self.read > ACT_WITHIN.total_seconds()

    def change(self, state: TrafficState, *, epoch: int) -> Change:
        """What is written now. What is not known to have changed nothing may have changed something: `ours` is set."""
        if self.rollback.change is None or self.facts is None:
            raise ValueError("nobody asked the guards about this write")
        self.before = self.before or state
        self.ours = True
        self.writes += 1
        suspend = self.facts.gitops is GitOps.PAUSE
        return replace(self.rollback.change, expect=state.revision, epoch=epoch, suspend=suspend)

    def rejected(self, state: TrafficState, why: str, *, halfway: bool, now: datetime) -> Outcome:
        """The target refused the write."""
        kind = OutcomeKind.HALF_DONE if halfway else OutcomeKind.REFUSED
        return self.outcome(kind, now=now, state=state, detail=why)

    def read_back(self, after: TrafficState, *, boot: float, now: datetime) -> Outcome | None:
        """The switch acknowledged, and shows this."""
        if next_move(self.rollback, after, expired=False, ours=True) is Next.DONE:
            return self.outcome(OutcomeKind.APPLIED, now=now, state=after)
        return self.later("the switch acknowledged, but shows something else", boot=boot, now=now)

    def later(self, trouble: str, *, boot: float, now: datetime) -> Outcome | None:
        """Again later; lapses when it is too late and certainly nothing of ours is in place.

        What may be in place but cannot be read for `GRACE` longer ends as half done: a person must look.
        """
        self.trouble = trouble
        if self.expired(boot) and not self.ours:
            return self.outcome(OutcomeKind.LAPSED, now=now, detail=trouble)
        if self._given_up(boot):
            why = f"unknown whether it was written: the switch could not be read; look at it by hand ({trouble})"
            return self.outcome(OutcomeKind.HALF_DONE, now=now, detail=why)
        return None

    def _given_up(self, boot: float) -> bool:
        return self.ends is not None and boot >= max(self.ends, self.begun) + GRACE.total_seconds()

    def outcome(
        self,
        kind: OutcomeKind,
        *,
        now: datetime,
        state: TrafficState | None = None,
        detail: str = "",
        vetoes: tuple[Veto, ...] = (),
    ) -> Outcome:
        """The word on the rollback."""
        return Outcome(
            rollback=self.rollback.id,
            service=self.rollback.service,
            kind=kind,
            at=now,
            state=state,
            before=self.before,
            detail=detail,
            vetoes=vetoes,
            facts=self.facts,
            attempts=self.writes,
        )


def begin(rollback: Rollback, *, resumed: bool, now: datetime, boot: float) -> Attempt:
    """An intent is taken up. `resumed`: an earlier process may have written it already."""
    return Attempt(rollback=rollback, ours=resumed, begun=boot, ends=_end(rollback, now, boot))


def handed_over(before: World, rollback: Rollback) -> bool:
    """Whether the executor was given this intent already. It may be done with it, and nobody could write that down yet.

    Given it once more it would read, find that somebody has moved traffic since, and move it a second time.
    """
    service = before.services.get(rollback.service)
    known = service.rollbacks.get(rollback.id) if service is not None else None
    return known is not None and known.state is RollbackState.INTENDED


def _end(rollback: Rollback, now: datetime, boot: float) -> float | None:
    """The end of an intent by boot time: never further away than when it was written."""
    if rollback.expires_at is None:
        return None
    left = rollback.expires_at - now
    if rollback.intended_at is not None:
        left = min(left, rollback.expires_at - rollback.intended_at)
    return boot + left.total_seconds()
