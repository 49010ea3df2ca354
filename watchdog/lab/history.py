"""The history of checks: what their polls would have got over a span of time, asked of the configured Prometheus.

A rule that names the version has one history for each deployment that is known, else one for all versions together;
which, is said in the notes. What cannot be asked over history (probes, other sources) is listed with its reason.
This module must never judge a value, and never let a gap pass for data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from watchdog.config.loaded import Configuration
from watchdog.core.rule import Rule
from watchdog.lab.cache import Cache
from watchdog.lab.deployments import Deployments
from watchdog.lab.track import Floats, Track

#: Called with the numbers of points that are there and that are wanted.
Progress = Callable[[int, int], None]


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A time to look at, both ends included; aware UTC.

    `step` is the distance of two polls, whole seconds; the rule's own interval where it is `None`.
    """

    begin: datetime
    end: datetime
    step: timedelta | None = None


class History(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """One check's history. `version` is empty unless it was asked of one version alone.

    `track` is what `observe` made of every poll: NaN is no data, `failed` an answer that cannot be true. Its `events`
    are 0 where it is known that nothing happened. `parts` are the numbers of which it is made, by the part's name
    (`watchdog.core.observation.Answer`; a ratio's other windows, `bad_3600s`, too), NaN where there is none.
    `reasons` counts the samples without a value by `NoDataReason` or `FailReason`. `notes` say how it was asked.
    """

    service: str
    rule: Rule
    track: Track
    version: str = ""
    parts: Mapping[str, Floats] = {}
    reasons: Mapping[str, int] = {}
    notes: tuple[str, ...] = ()


class Unasked(msgspec.Struct, frozen=True, kw_only=True):
    """A check without a history, and why."""

    service: str
    rule: str
    reason: str


class Histories(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Everything that was found, in the order in which it was wanted. `notes` are about the asking as a whole."""

    found: tuple[History, ...]
    unasked: tuple[Unasked, ...] = ()
    notes: tuple[str, ...] = ()


def histories(
    configuration: Configuration,
    checks: Sequence[tuple[str, str]],
    span: Span,
    *,
    deployments: Deployments | None = None,
    cache: Cache | None = None,
    timeout: timedelta | None = None,
    progress: Progress | None = None,
) -> Histories:
    """The histories of `checks`, pairs of a service's and a rule's name, both of the configuration.

    `timeout` bounds one query (default: that of the source, but at least 30 s). Raises `RangeError` when a server cannot be asked; what was
    answered by then is in the cache. Raises `KeyError` for a name that the configuration does not have.
    """
    raise NotImplementedError
