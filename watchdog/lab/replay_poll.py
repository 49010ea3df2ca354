"""Polls: what the polls of one check would have got, sample by sample of a track.

This module must never judge: it only says what was seen, and what of the rule cannot be asked of a track.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Reference, Value
from watchdog.core.rule import Against, Rule
from watchdog.lab.track import Floats, Track
from watchdog.lab.usual import References

#: A sample so many steps after the one before it is late; between them polls were missed.
_LATE = 1.5
_MISSED = NoData(reason=NoDataReason.EMPTY, detail="no sample in the track")
_EMPTY = NoData(reason=NoDataReason.EMPTY)
_FAILED = Failed(reason=FailReason.UNREACHABLE)


class Polls:
    """The polls of one rule over one track.

    `rule` is the one that is judged by: without evidence where the track does not know the events it takes, which
    `notes` say then. Raises `ValueError` for a rule that one track cannot answer.
    """

    def __init__(self, rule: Rule, track: Track, references: References | None) -> None:
        _answerable(rule, references)
        self.track = track
        self.references = references if rule.baseline is not None else None
        self.interval = timedelta(seconds=track.step)
        self.notes: tuple[str, ...] = ()
        if rule.evidence is not None and track.events is None:
            rule = replace(rule, evidence=None)
            missing = "does not say how many events are behind a value"
            self.notes = (
                f"{rule.name} is judged without its evidence, for {track.name} {missing}: what is beyond counts",
            )
        self.rule = rule
        #: Whether a share says by itself how many events are bad, where the track does not.
        self.derives_bad = rule.evidence is not None and rule.evidence.bound
        #: Which samples could be judged by themselves: a number, from enough events.
        self.judged = np.isfinite(track.values)
        if track.failed is not None:
            self.judged &= ~track.failed
        if rule.evidence is not None and track.events is not None:
            self.judged &= track.events >= rule.evidence.min_events

    def at(self, index: int) -> datetime:
        """The time of a sample."""
        return datetime.fromtimestamp(float(self.track.times[index]), UTC)

    def observation(self, index: int) -> Observation:
        """What the poll at a sample's time got."""
        track = self.track
        if track.failed is not None and track.failed[index]:
            return _FAILED
        value = float(track.values[index])
        if math.isnan(value):
            return _EMPTY
        at = self.at(index)
        events = _known(track.events, index)
        bad = _known(track.bad, index)
        if bad is None and events is not None and self.derives_bad:
            bad = value * events
        return Value(value=value, at=at, events=events, bad=bad, reference=self._reference(index, at))

    def missed(self, index: int) -> tuple[int, tuple[datetime, ...]]:
        """How many polls without any sample lie before a sample, and the first and the last of them.

        Those between change nothing: what is unknown stays it.
        """
        if index == 0:
            return 0, ()
        before, after, step = (
            float(self.track.times[index - 1]),
            float(self.track.times[index]),
            self.track.step,
        )
        if not step > 0 or after - before <= _LATE * step:
            return 0, ()
        count = max(1, round((after - before) / step) - 1)
        moments = dict.fromkeys((before + step, max(before + step, after - step)))
        return count, tuple(datetime.fromtimestamp(moment, UTC) for moment in moments)

    def late(self) -> NDArray[np.bool_]:
        """Before which samples polls were missed."""
        late = np.zeros(len(self.track), dtype=np.bool_)
        if self.track.step > 0:
            late[1:] = np.diff(self.track.times) > _LATE * self.track.step
        return late

    def nothing(self) -> Observation:
        """What a missed poll got."""
        return _MISSED

    def _reference(self, index: int, at: datetime) -> Reference | None:
        if self.references is None or math.isnan(self.references.values[index]):
            return None
        spreads = self.references.spreads
        return Reference(
            value=float(self.references.values[index]),
            samples=float(self.references.samples[index]),
            at=at,
            learnt_at=at,
            spread=None if spreads is None else float(spreads[index]),
        )


def _known(counts: Floats | None, index: int) -> float | None:
    """A count, `None` where the track does not know it."""
    if counts is None:
        return None
    count = float(counts[index])
    return None if math.isnan(count) else count


def _answerable(rule: Rule, references: References | None) -> None:
    if rule.is_probe:
        raise ValueError(f"{rule.name} is a probe, and no history tells what it would have answered")
    if rule.slo is not None:
        raise ValueError(f"{rule.name} counts burn rates over several windows, which one track does not hold")
    if rule.baseline is None:
        return
    if rule.baseline.against is Against.PREVIOUS_VERSION:
        raise ValueError(f"{rule.name} compares with the previous version, which one track cannot answer")
    if references is None:
        raise ValueError(f"{rule.name} has a baseline and was given no references")
