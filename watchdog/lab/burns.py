"""Burn rates over a track: what a source would have counted in all windows of an `slo`, at every sample.

Causal: a window ends with its sample. Windows that begin before the track count what there is, as Prometheus does.
This module must never judge; `watchdog.core.evaluate` does, and what a burn rate is stands in `watchdog.core.burning`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec
import numpy as np
from numpy.typing import NDArray

from watchdog.core.burning import LEVELS, Burn, BurnLimit, Slo
from watchdog.core.observation import Value
from watchdog.core.promql import over
from watchdog.core.rule import Rule
from watchdog.lab.track import Floats, Track

#: The sums of events and of bad ones in a window that ends with each sample; NaN or 0 events where there are none.
Counts = tuple[Floats, Floats]

#: What adding up and dividing times may lose: far less than any step (seconds).
_ROUNDING = 1e-6


class LevelBurns(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One level's `watchdog.core.burning.Burn` at every sample; arrays of shape (samples,), NaN where there is none."""

    limit: BurnLimit
    long: Floats
    short: Floats
    events: Floats
    bad: Floats
    recent: Floats

    @property
    def rates(self) -> Floats:
        """What is compared with the factor."""
        return np.minimum(self.long, self.short)


class Burns(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """The burn rates of all levels, mildest first, at every sample of a track."""

    levels: dict[str, LevelBurns]

    def at(self, index: int) -> dict[str, Burn]:
        """What `Value.burns` is at one sample; empty where the track has no data."""
        return {
            name: Burn(
                long=float(one.long[index]),
                short=float(one.short[index]),
                events=float(one.events[index]),
                bad=float(one.bad[index]),
                recent=float(one.recent[index]),
            )
            for name, one in self.levels.items()
            if np.isfinite(one.events[index])
        }

    def value(self, index: int, *, at: datetime) -> Value | None:
        """The whole observation of one sample; `None` where the track has no data."""
        burns = self.at(index)
        if not burns:
            return None
        told = [name for name, burn in burns.items() if burn.rate > self.levels[name].limit.factor]
        burn = burns[told[-1]] if told else next(iter(burns.values()))
        return Value(value=burn.rate, at=at, events=burn.events, bad=burn.bad, burns=burns)

    @property
    def reached(self) -> NDArray[np.int8]:
        """The worst level beyond its factor, by the burn rates alone: 0 is none, 1 warning, 2 critical, 3 rollback."""
        found = np.zeros(self._samples, dtype=np.int8)
        for name, one in self.levels.items():
            found[one.rates > one.limit.factor] = LEVELS.index(name) + 1
        return found

    @property
    def values(self) -> Floats:
        """The number that is told: the rate of the worst level that is reached, of the mildest known where none is."""
        told = np.full(self._samples, np.nan)
        for one in reversed(self.levels.values()):
            told = np.where(np.isfinite(one.rates), one.rates, told)
        for one in self.levels.values():
            told = np.where(one.rates > one.limit.factor, one.rates, told)
        return told

    @property
    def events(self) -> Floats:
        """The most events behind any level; NaN where there is none."""
        most = np.full(self._samples, np.nan)
        for one in self.levels.values():
            most = np.fmax(most, one.events)
        return most

    @property
    def at_rest(self) -> NDArray[np.bool_]:
        """Whether the shortest window burns no faster than the mildest factor: such a sample is clear."""
        shortest = min(self.levels.values(), key=lambda one: one.limit.short)
        resting: NDArray[np.bool_] = shortest.short <= min(one.limit.factor for one in self.levels.values())
        return resting

    @property
    def _samples(self) -> int:
        return len(next(iter(self.levels.values())).long)


def burns_of(slo: Slo, track: Track, *, window: timedelta | None = None) -> Burns:
    """The burn rates of an objective over a track of shares (0..1).

    With `events` in the track, windows count them; its counts are of `window` each, by default of one step: longer ones
    overlap, and their events are counted that many times less. Where the track does not say what was bad, the share
    does; what is no share is no data. Without `events` every sample weighs the same and counts as one event: there is
    no evidence to ask for.
    """
    events, bad, known = _counts(track)
    overlap = 1.0 if window is None or not track.step > 0 else track.step / window.total_seconds()
    return _burns(
        slo,
        {span: _added_up(track.times, span.total_seconds(), events, bad) for span in slo.windows},
        known,
        overlap,
    )


def burns_from(rule: Rule, parts: Mapping[str, Floats]) -> Burns:
    """The same from the parts of the answers themselves, of a rule with an `slo`: what the daemon would have seen.

    `parts` by name as in `watchdog.core.observation.Answer`, every window of the rule among them, NaN where there is
    none. Raises `ValueError` for a rule without an `slo`.
    """
    if rule.slo is None:
        raise ValueError(f"rule {rule.name!r} has no slo")
    names = {rule.window: ("total", "bad")}
    names |= {window: (over("total", window), over("bad", window)) for window in rule.windows}
    counts: dict[timedelta, Counts] = {}
    for window, (total, bad) in names.items():
        events = parts[total]
        counts[window] = (events, np.minimum(np.nan_to_num(parts.get(bad, np.zeros(len(events)))), events))
    known = np.nan_to_num(parts["total"]) > 0
    return _burns(rule.slo, counts, known)


def _burns(
    slo: Slo, counts: Mapping[timedelta, Counts], known: NDArray[np.bool_], overlap: float = 1.0
) -> Burns:
    """All levels, from the counts of every window, each event in them `1 / overlap` times; nothing where unknown."""
    budget = slo.budget
    shares = {window: _share(counted, known) for window, counted in counts.items()}
    levels = {}
    for name, limit in slo.limits.items():
        long, short = shares[limit.long] / budget, shares[limit.short] / budget
        both = np.isfinite(long) & np.isfinite(short)
        levels[name] = LevelBurns(
            limit=limit,
            long=np.where(both, long, np.nan),
            short=np.where(both, short, np.nan),
            events=np.where(both, counts[limit.long][0] * overlap, np.nan),
            bad=np.where(both, counts[limit.long][1] * overlap, np.nan),
            recent=np.where(both, counts[limit.short][0] * overlap, np.nan),
        )
    return Burns(levels=levels)


def _counts(track: Track) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Events and bad events of every sample, 0 where it says nothing, and where it says something."""
    known = np.isfinite(track.values)
    if track.failed is not None:
        known &= ~track.failed
    events = np.ones(len(track)) if track.events is None else track.events
    known &= np.isfinite(events) & (events > 0) & (track.values >= 0) & (track.values <= 1)
    derived = track.values * events
    bad = derived if track.bad is None else np.where(np.isfinite(track.bad), track.bad, derived)
    return np.where(known, events, 0.0), np.where(known, bad, 0.0), known


def _added_up(times: Floats, span: float, events: Floats, bad: Floats) -> Counts:
    """The sums over the samples later than `span` seconds before each sample, up to and with itself."""
    after = np.searchsorted(times, times - span + _ROUNDING, side="left")
    upto = np.arange(1, len(times) + 1)

    def windowed(counts: Floats) -> Floats:
        whole = np.concatenate(([0.0], np.cumsum(counts)))
        added: Floats = np.maximum(whole[upto] - whole[after], 0.0)
        return added

    total = windowed(events)
    return total, np.minimum(windowed(bad), total)


def _share(counted: Counts, known: NDArray[np.bool_]) -> Floats:
    events, bad = counted
    share = np.full(len(events), np.nan)
    np.divide(bad, events, out=share, where=known & (events > 0))
    return share
