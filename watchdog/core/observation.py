"""What one poll of one check gave: a value, no data, or an error. Three different things, everywhere.

Sources answer with an `Answer` (numbers as they came) or `Failed`; `watchdog.core.observe` makes an `Observation`
of it. This module must never turn one kind into another.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from watchdog.core.burning import Burn


class NoDataReason(StrEnum):
    """Why there is no number although somebody answered."""

    EMPTY = "empty"
    NOT_A_NUMBER = "not_a_number"
    SEVERAL_SERIES = "several_series"
    TOO_FEW_EVENTS = "too_few_events"
    STALE = "stale"
    FUTURE = "future"
    PARTIAL = "partial"
    NO_REFERENCE = "no_reference"


class FailReason(StrEnum):
    """Why nobody answered properly. Closed set, also the label of the metric."""

    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    HTTP_STATUS = "http_status"
    QUERY_ERROR = "query_error"
    MALFORMED = "malformed"
    OUT_OF_RANGE = "out_of_range"
    UNABLE = "unable"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A source's answer to one question, numbers as they came.

    `parts` maps a part's name to the values of its series (none, one or several):
    `bad` and `total` are events in the window; `value` the number of every form but a ratio; `events` its number of
    events; `highest` the quantile 1 of the histogram that `value` is a quantile of;
    `newest` the time of the newest raw sample (Unix seconds); `samples` raw samples in the window of the best series.
    `reference` is the number to compare with, `reference_samples` and `reference_points` how many raw samples and how
    many values of the rule it is made of, `reference_outer` a quantile of these values on the bad side.
    `evaluated_at` is the source's evaluation time; `since` the moment from which the source has data without a gap,
    when it knows; `asked` and `answered` are for the record.
    """

    parts: dict[str, tuple[float, ...]]
    evaluated_at: datetime
    warnings: tuple[str, ...] = ()
    since: datetime | None = None
    asked: str = ""
    answered: str = ""


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What a value of a rule with a baseline is compared with.

    `samples` is how many samples it is made of, `at` the moment that it belongs to, `version` the one that it was
    measured on (empty for a rule that does not name any), `learnt_at` when a source gave it. `spread` is how far values
    usually lie from it on the bad side, `sample` the other version's newest values, where asked for.
    """

    value: float
    samples: float
    at: datetime
    learnt_at: datetime
    version: str = ""
    spread: float | None = None
    sample: tuple[float, ...] = ()


class Value(msgspec.Struct, frozen=True, kw_only=True, tag="value"):
    """A number. `at` is the time of the newest raw sample behind it; `events`, `bad` are counts in the window.

    With `more` the true number is known only not to be below `value`: a quantile beyond the last finite bucket.
    `reference` is what it is compared with, for a rule with a baseline, and `uncompared` why there is none where the
    value is wanted all the same; `burns` the burn rates by level, for one with
    an `slo`.
    """

    value: float
    at: datetime
    events: float | None = None
    bad: float | None = None
    more: bool = False
    scrape_interval: timedelta | None = None
    since: datetime | None = None
    asked: str = ""
    answered: str = ""
    reference: Reference | None = None
    uncompared: str = ""
    burns: dict[str, Burn] = {}


class Pulse(msgspec.Struct, frozen=True, kw_only=True, tag="pulse"):
    """A probe's answer: alive or dead. `answered`: the target said something, if only the wrong thing."""

    passed: bool
    at: datetime
    answered: bool = False
    detail: str = ""
    asked: str = ""


class NoData(msgspec.Struct, frozen=True, kw_only=True, tag="no_data"):
    """Somebody answered, but there is no number to judge."""

    reason: NoDataReason
    detail: str = ""
    asked: str = ""
    answered: str = ""


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """The question could not be asked or answered. Never the service's fault."""

    reason: FailReason
    detail: str = ""
    asked: str = ""


Observation = Value | Pulse | NoData | Failed
