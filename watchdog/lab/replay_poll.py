"""Polls: what the polls of one check would have got, sample by sample of a track.

This module must never judge: it only says what was seen, and what of the rule cannot be asked of a track.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from watchdog.core.burning import Burn, worst_of
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Observation, Reference, Value
from watchdog.core.rule import Against, Quantile, Rule
from watchdog.lab.burns import Burns, burns_of
from watchdog.lab.track import Floats, Track
from watchdog.lab.usual import References

#: A sample so many steps after the one before it is late; between them polls were missed.
_LATE = 1.5
_MISSED = NoData(reason=NoDataReason.EMPTY, detail="no sample in the track")
_EMPTY = NoData(reason=NoDataReason.EMPTY)
_TOO_FEW = NoData(reason=NoDataReason.TOO_FEW_EVENTS)
_FAILED = Failed(reason=FailReason.UNREACHABLE)


class Polls:
    """The polls of one rule over one track.

    `rule` is the one that is judged by: without evidence where the track does not know the events it takes, which
    `notes` say then. `burns` are those of a rule with an `slo`; left out, they are what the shares of the track add up
    to. Raises `ValueError` for a rule that one track cannot answer.
    """

    def __init__(
        self, rule: Rule, track: Track, references: References | None, burns: Burns | None = None
    ) -> None:
        _answerable(rule, references)
        self.track = track
        self.references = references if rule.baseline is not None else None
        self.interval = timedelta(seconds=track.step)
        self.notes: tuple[str, ...] = ()
        if rule.evidence is not None and track.events is None and burns is None:
            rule = replace(rule, evidence=None)
            missing = "does not say how many events are behind a value"
            self.notes = (
                f"{rule.name} is judged without its evidence, for {track.name} {missing}: what is beyond counts",
            )
        self.rule = rule
        #: Whether a share says by itself how many events are bad, where the track does not.
        self.derives_bad = rule.evidence is not None and rule.evidence.bound
        #: Whether no value of no events is too few of them, as `watchdog.core.observe` says of a quantile.
        wanted = rule.evidence is not None and rule.evidence.min_events > 0
        self.few_without_any = wanted and isinstance(rule.form, Quantile)
        self.burns = None if rule.slo is None else burns or burns_of(rule.slo, track, window=rule.window)
        #: The number of every sample that is compared with thresholds, and which can be: enough is known of it.
        self.values = track.values if self.burns is None else self.burns.values
        self.judged = np.isfinite(self.values)
        if track.failed is not None:
            self.judged &= ~track.failed
        if rule.evidence is not None and self.burns is None and track.events is not None:
            self.judged &= track.events >= rule.evidence.min_events

    def at(self, index: int) -> datetime:
        """The time of a sample."""
        return datetime.fromtimestamp(float(self.track.times[index]), UTC)

    def sampled(self, index: int) -> datetime:
        """The time of the newest raw sample behind it."""
        if self.track.sampled is None or math.isnan(self.track.sampled[index]):
            return self.at(index)
        return datetime.fromtimestamp(float(self.track.sampled[index]), UTC)

    def observation(self, index: int) -> Observation:
        """What the poll at a sample's time got."""
        track = self.track
        if track.failed is not None and track.failed[index]:
            return _FAILED
        if self.burns is not None:
            return self._burning(self.burns.at(index), self.sampled(index))
        value = float(track.values[index])
        events = _known(track.events, index)
        if math.isnan(value):
            return _TOO_FEW if events == 0 and self.few_without_any else _EMPTY
        bad = _known(track.bad, index)
        if bad is None and events is not None and self.derives_bad:
            bad = value * events
        return Value(
            value=value,
            at=self.sampled(index),
            events=events,
            bad=bad,
            more=self.track.more is not None and bool(self.track.more[index]),
            reference=self._reference(index, self.at(index)),
        )

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

    def sample_times(self) -> Floats:
        """When the newest raw sample behind each one was taken (Unix seconds)."""
        track = self.track
        if track.sampled is None:
            return track.times
        return np.where(np.isnan(track.sampled), track.times, track.sampled)

    def late(self) -> NDArray[np.bool_]:
        """Before which samples polls were missed."""
        late = np.zeros(len(self.track), dtype=np.bool_)
        if self.track.step > 0:
            late[1:] = np.diff(self.track.times) > _LATE * self.track.step
        return late

    def nothing(self) -> Observation:
        """What a missed poll got."""
        return _MISSED

    def _burning(self, burns: dict[str, Burn], at: datetime) -> Observation:
        worst = worst_of(self.rule.slo, burns) if self.rule.slo is not None else None
        if worst is None:
            return _EMPTY
        burn = worst.burn
        return Value(value=burn.rate, at=at, events=burn.events, bad=burn.bad, burns=burns)

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
    if rule.baseline is None:
        return
    if rule.baseline.against is Against.PREVIOUS_VERSION:
        raise ValueError(f"{rule.name} compares with the previous version, which one track cannot answer")
    if references is None:
        raise ValueError(f"{rule.name} has a baseline and was given no references")
