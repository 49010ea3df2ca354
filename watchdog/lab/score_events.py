"""Events and alerts: what labels mark as one trouble, and which alerts found it.

Events count, not points: an hour of trouble that is noticed once is found, whatever the other samples said. Nothing is
adjusted. This module must never know what raised an alert.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

#: Labels at most so many samples apart are one event, and an alert may come so many samples after its end.
CLOSE = 2


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Anomalous samples that belong together: indexes of the first and the last."""

    first: int
    last: int


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert: index of the sample that raised it, and of the last one before it was over."""

    first: int
    last: int


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What one series' alerts found.

    `delays` are how many samples after its begin each event was found, `late` at which sample (both by event, in
    order; only those that were found). `true` and `false` are numbers of alerts.
    """

    events: int
    true: int
    false: int
    delays: tuple[int, ...] = ()
    late: tuple[tuple[int, int], ...] = ()


def events_of(labels: NDArray[np.int8], *, first: int = 0) -> tuple[Event, ...]:
    """The events from a sample on, oldest first. One that began before is cut there: the rest of it counts."""
    events: list[Event] = []
    for index in (int(one) for one in np.flatnonzero(labels) if one >= first):
        if events and index - events[-1].last <= CLOSE:
            events[-1] = Event(first=events[-1].first, last=index)
        else:
            events.append(Event(first=index, last=index))
    return tuple(events)


def found(events: Sequence[Event], alerts: Sequence[Alert]) -> Found:
    """Which events the alerts found, and which alerts found none.

    An alert finds an event when it lasts in it, or begins at most `CLOSE` samples after it. One alert may find
    several events, and one event be found by several alerts: each alert is true, and the first one says how late it is.
    """
    raised: dict[int, int] = {}
    true = 0
    for alert in sorted(alerts, key=lambda one: one.first):
        met = [
            number
            for number, event in enumerate(events)
            if alert.first <= event.last + CLOSE and alert.last >= event.first
        ]
        true += bool(met)
        for number in met:
            raised.setdefault(number, max(alert.first, events[number].first))
    pairs = tuple((events[number].first, at) for number, at in sorted(raised.items()))
    return Found(
        events=len(events),
        true=true,
        false=len(alerts) - true,
        delays=tuple(at - began for began, at in pairs),
        late=pairs,
    )
