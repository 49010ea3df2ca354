"""Replays a rule over a track: what its check would have said, by the daemon's own `evaluate` on an injected clock.

There is no second implementation: samples that cannot change anything are only skipped, and what they leave behind
in the check's memory is what `evaluate` would have left. This module must never look at a later sample than the one
it judges.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

from watchdog.core.rule import Level, Rule
from watchdog.lab.track import Track
from watchdog.lab.usual import References


class Episode(msgspec.Struct, frozen=True, kw_only=True):
    """One stretch of trouble at a level or worse; all times are Unix seconds, indexes count samples of the track.

    It begins when the hold of `level` is met (`began`, at index `first`); `breached` is the first sample of its streak.
    It ends with the first sample at which the check is clear again (`ended`, at index `end`); `None` and the length
    of the track when it never was. `peak` is the worst value in it.
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


class Replayed(msgspec.Struct, frozen=True, kw_only=True):
    """What a check would have said over a track.

    `episodes` by level, oldest first: those of `warning` include what became worse. `known` and `unknown` are numbers
    of samples with and without a verdict; `reasons` how many verdicts had which reason.
    """

    episodes: Mapping[Level, tuple[Episode, ...]]
    blind: tuple[Blindness, ...]
    known: int
    unknown: int
    reasons: Mapping[str, int]


def replay(rule: Rule, track: Track, *, references: References | None = None, first: int = 0) -> Replayed:
    """Every sample of the track, from index `first` on, through `evaluate`, each at its own time as if just polled.

    `references` says for a rule with a baseline what each sample is compared with. Never raises for what is in a
    track; raises `ValueError` for a rule that cannot be replayed from one track (a probe, another version's values).
    """
    raise NotImplementedError


def verdicts(
    rule: Rule, track: Track, *, references: References | None = None
) -> list[tuple[datetime, Level]]:
    """The level held at each sample: the plain way, sample by sample, which `replay` must agree with."""
    raise NotImplementedError
