"""What to do with an intent, given only what is on disk and what the switched object shows: one total function.

This is the whole of crash recovery (failure catalogue §1.3), and the executor's normal path as well: there is no second
way. This module must never know whether a crash happened, only whether this process has seen the intent from its start.
"""

from __future__ import annotations

from enum import StrEnum

from watchdog.core.rollback import Rollback
from watchdog.core.traffic import TrafficState


class Next(StrEnum):
    """The executor's next move."""

    DONE = "done"  #: the end state is in place
    WRITE = "write"  #: the state is as it was: ask the guards and write
    FINISH = "finish"  #: the target is live beside the bad variant: write again, forward only
    HALF = "half"  #: the target is live beside the bad variant, and it is too late to write: a person looks
    FOREIGN = "foreign"  #: neither: somebody else changed it
    WAIT = "wait"  #: nothing is live at all: an outage or the middle of a change, which says nothing
    LAPSED = "lapsed"  #: too late to begin


def next_move(rollback: Rollback, state: TrafficState, *, expired: bool, ours: bool) -> Next:
    """What to do about an intent. `ours` says that this process or an earlier one may have written it already.

    An end state that is in place although nothing was written is a person's work (`FOREIGN`), not ours. Nothing is
    written once the intent has expired: both live may be the half of a change that was begun, or what a person has set
    since, and nobody can tell which.

    A target that is not shown at all has not taken anybody's traffic: the guards say no to it, and it is tried again.

    A target that carries the mark of this rollback was switched by it. That it takes no traffic all the same is what
    somebody did since, and is his: it is not switched a second time, with no memory but the target's own.
    """
    if not state.live:
        return Next.LAPSED if expired else Next.WAIT
    target_live, bad_live = rollback.to_variant in state.live, rollback.from_variant in state.live
    marked = state.mark is not None and state.mark == rollback.id
    if target_live and not bad_live:
        return Next.DONE if ours or marked else Next.FOREIGN
    if not bad_live:
        return Next.FOREIGN
    beside = rollback.change is not None and rollback.change.beside
    if target_live and not beside:
        if not (ours or marked):
            return Next.FOREIGN
        return Next.HALF if expired else Next.FINISH
    if marked:
        return Next.FOREIGN
    if expired:
        return Next.LAPSED
    return Next.WRITE
