"""Skipping: stretches of samples that provably change nothing, and what they leave behind in a check's memory.

Three kinds of memory stay what they are: one that is calm, while nothing is beyond a threshold and no silence lasts;
one that has been blind for so long that nothing is pending any more; and one that holds the level which every sample
has. The last sample of a stretch is never skipped: `evaluate` writes what is remembered of it.
This module must never skip what it cannot name, and tests compare it with the plain way in full.
"""

from __future__ import annotations

import msgspec
import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from watchdog.core.baseline import resolved
from watchdog.core.check import CheckState, Reason
from watchdog.core.evidence import EXCESS_WINDOWS, Excess, with_excess_of
from watchdog.core.observation import Value
from watchdog.core.quarantine import AWAY_AFTER
from watchdog.core.rule import Level, Rule
from watchdog.lab.replay_poll import Polls
from watchdog.lab.replay_sorting import LEVELS, REASONS, Flags, Kind, fresh_of, kinds_of

#: Fewer samples are evaluated faster than skipped.
_WORTH = 4
#: What rounding may take from a duration (seconds).
_ROUNDING = 0.01


class Skip(msgspec.Struct, frozen=True, kw_only=True):
    """Samples up to, not including, `end` change nothing; `state` is the memory after them.

    `known` and `unknown` say how many of them have a verdict and which, by reason.
    """

    end: int
    state: CheckState
    known: dict[Reason, int]
    unknown: dict[Reason, int]


class Stretches:
    """The stretches of one track, from index `first` on, that can be skipped for one rule."""

    def __init__(self, polls: Polls, first: int) -> None:
        self._polls = polls
        self._kinds = kinds_of(polls)
        self._settles = max(polls.rule.window, 3 * polls.interval)
        # What goes on is said by one sample; whether burning rests, by as many as make it clear.
        self._settling = 1 if polls.rule.slo is None else polls.rule.clear + 1
        count = len(self._kinds)
        late = polls.late()
        late[: first + 1] = False
        fresh = fresh_of(polls, self._kinds)
        known = (self._kinds >= Kind.THIN) & fresh
        self._known = np.flatnonzero(known)
        self._known_times = polls.sample_times()[self._known]
        self._within = np.concatenate(([0], np.cumsum(known & (self._kinds == Kind.WITHIN))))
        notable = late | (self._kinds == Kind.DOUBT) | (self._kinds > Kind.WITHIN)
        notable |= _silences(polls, self._kinds, known)
        self._notable = np.append(np.flatnonzero(notable), count)
        changes = late
        changes[1:] |= self._kinds[1:] != self._kinds[:-1]
        # What was seen before changes nothing by itself; only among others is it skipped.
        changes |= ~fresh & (self._kinds >= Kind.TOO_FEW)
        self._changes = np.append(np.flatnonzero(changes), count)

    def skip(self, state: CheckState, index: int) -> Skip | None:
        """What can be skipped from `index` on; `state` is the memory after the sample before it."""
        if _calm(state) and (skip := self._calmly(state, index)) is not None:
            return skip
        if state.verdict is None:
            return None
        kind = Kind(self._kinds[index])
        end = int(self._changes[np.searchsorted(self._changes, index)]) - 1
        if end - index < _WORTH or REASONS.get(kind) is not state.verdict.reason:
            return None
        if kind < Kind.THIN:
            return self._blindly(state, kind, index, end)
        if LEVELS[kind] is not state.held or LEVELS[kind] is not state.verdict.level or kind is Kind.WITHIN:
            return None
        return self._steadily(state, kind, index, end)

    def _calmly(self, state: CheckState, index: int) -> Skip | None:
        """Up to the last sample with a verdict before the next that is notable: it ends what was unknown, too."""
        notable = self._notable[np.searchsorted(self._notable, index)]
        place = int(np.searchsorted(self._known, notable)) - self._settling
        if place < 0 or self._known[place] - index < _WORTH:
            return None
        end = int(self._known[place])
        begin = int(np.searchsorted(self._known, index))
        counts = np.bincount(self._kinds[index:end], minlength=len(Kind))
        named = {reason: int(counts[kind]) for kind, reason in REASONS.items() if counts[kind]}
        known = {reason: count for reason, count in named.items() if reason in _KNOWN}
        unknown = {reason: count for reason, count in named.items() if reason not in _KNOWN}
        state = self._counted(state, begin, place)
        if self._polls.rule.slo is None:
            clears = state.clears + int(self._within[end] - self._within[index])
            state = replace(state, clears=min(clears, self._polls.rule.clear))
        return Skip(end=end, state=state, known=known, unknown=unknown)

    def _blindly(self, state: CheckState, kind: Kind, index: int, end: int) -> Skip | None:
        """One unknown after the other, for so long that what was pending is given up."""
        if (
            state.verdict is None
            or state.unknown_since is None
            or not state.verdict.at - state.unknown_since > self._settles
        ):
            return None
        if kind is Kind.TOO_FEW and state.failures:
            return None
        if kind is Kind.FAILED:
            state = replace(state, failures=state.failures + end - index)
        return Skip(end=end, state=state, known={}, unknown={REASONS[kind]: end - index})

    def _steadily(self, state: CheckState, kind: Kind, index: int, end: int) -> Skip:
        """One sample at the level that is held after the other."""
        begin, place = (int(found) for found in np.searchsorted(self._known, (index, end)))
        state = self._counted(state, begin, place)
        streaks = {
            name: replace(streak, count=streak.count + end - index, last=state.sampled_at)
            for name, streak in state.streaks.items()
        }
        return Skip(
            end=end, state=replace(state, streaks=streaks), known={REASONS[kind]: end - index}, unknown={}
        )

    def _counted(self, state: CheckState, begin: int, end: int) -> CheckState:
        """The memory with what the samples with a verdict from place `begin` up to `end` leave: time and excess."""
        if begin == end:
            return state
        last = self._polls.sampled(int(self._known[end - 1]))
        return replace(state, sampled_at=last, excess=self._excess(state, begin, end))

    def _excess(self, state: CheckState, begin: int, end: int) -> Excess:
        """The excess after them, by the same function that evaluation adds to it with."""
        rule = self._polls.rule
        if rule.evidence is None or not rule.evidence.bound or not rule.can_roll_back or rule.slo is not None:
            return state.excess
        reach = (EXCESS_WINDOWS * rule.window).total_seconds() + _ROUNDING
        oldest = self._known_times[end - 1] - reach
        start = max(begin, int(np.searchsorted(self._known_times, oldest)))
        excess = state.excess if start == begin else ()
        previous = state.sampled_at if start == begin else self._polls.sampled(int(self._known[start - 1]))
        for place in range(start, end):
            value, against = self._compared(int(self._known[place]))
            # Only the last one looks at what is too old by then.
            before = excess if place == end - 1 else ()
            one = with_excess_of(against, before, value, previous=previous, interval=self._polls.interval)
            excess = one if place == end - 1 else (*excess, *one)
            previous = value.at
        return excess

    def _compared(self, index: int) -> tuple[Value, Rule]:
        """A sample that counts, and the rule with the limits that count for it. Its counts are nobody's business."""
        polls = self._polls
        if polls.rule.baseline is None:
            return Value(value=float(polls.track.values[index]), at=polls.sampled(index)), polls.rule
        value = polls.observation(index)
        against = resolved(polls.rule, value) if isinstance(value, Value) else None
        if not isinstance(value, Value) or against is None:
            raise RuntimeError("a sample that counts has a value and something to compare it with")
        return value, against


_KNOWN = frozenset(REASONS[kind] for kind in LEVELS)


def _calm(state: CheckState) -> bool:
    """Whether the next sample that is not beyond anything ends all that is pending, and nothing else is remembered."""
    return (
        state.latched is Level.OK
        and state.blind_since is None
        and state.quarantine_until is None
        and state.quarantined_since is None
        and state.failures == 0
        and state.sampled_at is not None
    )


def _silences(polls: Polls, kinds: NDArray[np.int8], known: Flags) -> Flags:
    """The samples without data in stretches of which something could come: blindness, or a quarantine."""
    silent: Flags = (kinds == Kind.FAILED) | (kinds == Kind.EMPTY)
    edges = np.diff(np.concatenate(([True], known, [True])).astype(np.int8))
    starts, ends = np.flatnonzero(edges == -1), np.flatnonzero(edges == 1)
    if not len(starts):
        return silent
    failed = np.concatenate(([0], np.cumsum(kinds == Kind.FAILED)))
    lasting = polls.track.times[ends - 1] - polls.track.times[starts]
    telling = lasting >= polls.rule.blind_after.total_seconds() - _ROUNDING
    telling |= failed[ends] - failed[starts] >= AWAY_AFTER
    silent[~known] &= np.repeat(telling, ends - starts)
    return silent
