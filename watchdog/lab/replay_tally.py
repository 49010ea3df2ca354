"""Tallies: what a replay counts while it goes, sample by sample or a stretch at a time.

This module must never judge: it reads off the check's memory what `evaluate` left there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

import msgspec

from watchdog.core.check import CheckState, Reason, Verdict
from watchdog.core.evaluate import Evaluated, blind
from watchdog.core.rule import BREACH_LEVELS, Direction, Level, rank
from watchdog.lab.replay_poll import Polls


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of trouble at a level or worse; all times are Unix seconds, indexes count samples of the track.

    It begins when the hold of `level` is met (`began`, at index `first`); `breached` is the first sample of its streak.
    It ends with the first sample at which the check is clear again (`ended`, at index `end`); `None` and the length
    of the track when it never was. `peak` is the worst value from the first sample of its streak on.
    """

    level: Level
    breached: float
    began: float
    ended: float | None
    first: int
    end: int
    peak: float


class Blindness(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of nothing but unknown verdicts, from `began` to `ended` (Unix seconds), and its commonest reason."""

    began: float
    ended: float
    reason: str


class Tally:
    """Counts of one replay. `seen` after every sample, in order; `skipped` for a stretch that changed nothing."""

    def __init__(self, polls: Polls) -> None:
        self.reasons: Counter[str] = Counter()
        self.known = self.unknown = self.missed = 0
        self.episodes: dict[Level, list[Episode]] = {level: [] for level in BREACH_LEVELS}
        self.blind: list[Blindness] = []
        self._polls = polls
        self._streaks: dict[str, int] = {}  # where the streak of a level began
        self._open: dict[
            Level, tuple[int, int]
        ] = {}  # by level: where its streak began, and where it was held
        self._silent: datetime | None = None  # since when there is nothing but unknown
        self._told = False  # whether that lasts so long that people are told
        self._why: Counter[str] = Counter()

    def seen(self, index: int, evaluated: Evaluated) -> None:
        """One sample was judged."""
        state, verdict = evaluated.state, evaluated.verdict
        self._count(verdict.reason, 1, known=verdict.level is not Level.UNKNOWN)
        self._heard(state, verdict, float(self._polls.track.times[index]))
        if evaluated.counted:
            self._streaks.update((name, index) for name, streak in state.streaks.items() if streak.count == 1)
        if self._open:
            self._close(index, float(self._polls.track.times[index]), above=state.latched)
        self._raise(state, index)

    def missing(self, count: int, evaluated: Evaluated) -> None:
        """So many polls were missed; `evaluated` is what one of them meant."""
        self.missed += count
        self._heard(evaluated.state, evaluated.verdict, evaluated.verdict.at.timestamp())

    def skipped(self, reasons: Mapping[Reason, int], *, known: bool) -> None:
        """So many samples changed nothing but, where they were not `known`, the length of a silence."""
        for reason, count in reasons.items():
            self._count(reason, count, known=known)
            if self._silent is not None:
                self._why[reason.value] += count

    def finish(self) -> None:
        """The track is at its end: what still lasts has no end."""
        times = self._polls.track.times
        self._close(len(times), None, above=Level.OK)
        if self._silent is not None:
            self._silence_ends(float(times[-1]))

    def _count(self, reason: Reason, count: int, *, known: bool) -> None:
        self.reasons[reason.value] += count
        if known:
            self.known += count
        else:
            self.unknown += count

    def _heard(self, state: CheckState, verdict: Verdict, moment: float) -> None:
        """Follow the silence: it lasts as long as `blind_since` stays what it is."""
        if self._silent is not None and state.blind_since != self._silent:
            self._silence_ends(moment)
        if state.blind_since is not None:
            self._silent = state.blind_since
            self._why[verdict.reason.value] += 1
            self._told = self._told or blind(self._polls.rule, state, verdict.at)

    def _silence_ends(self, moment: float) -> None:
        if self._told and self._silent is not None:
            ((reason, _),) = self._why.most_common(1)
            self.blind.append(Blindness(began=self._silent.timestamp(), ended=moment, reason=reason))
        self._silent, self._told, self._why = None, False, Counter()

    def _raise(self, state: CheckState, index: int) -> None:
        for level in BREACH_LEVELS[: rank(state.latched)]:
            if level not in self._open:
                # A level without a threshold of its own has no streak: that of the next worse one counts.
                worse = BREACH_LEVELS[rank(level) - 1 :]
                self._open[level] = next(self._streaks[one] for one in worse if one in state.streaks), index

    def _close(self, end: int, moment: float | None, *, above: Level) -> None:
        """End what is worse than is latched now. Only long windows of an `slo` leave anything but nothing."""
        times = self._polls.track.times
        for level in BREACH_LEVELS[max(rank(above), 0) :]:
            if level not in self._open:
                continue
            breach, first = self._open.pop(level)
            self.episodes[level].append(
                Episode(
                    level=level,
                    breached=float(times[breach]),
                    began=float(times[first]),
                    ended=moment,
                    first=first,
                    end=end,
                    peak=self._peak(breach, end),
                )
            )

    def _peak(self, first: int, end: int) -> float:
        """The worst value that could be judged."""
        values = self._polls.values[first:end]
        judged = values[self._polls.judged[first:end]]
        return float(judged.max() if self._polls.rule.direction is Direction.ABOVE else judged.min())
