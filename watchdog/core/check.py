"""Checks: a rule applied to one service (and one live version), and what is remembered between two polls.

Everything here is a value; `watchdog.core.evaluate` makes the next one. Nothing may be kept anywhere else, so that a
restart, a rule test and a back-test see the same memory.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from watchdog.core.observation import Reference
from watchdog.core.rule import Level


class CheckId(msgspec.Struct, frozen=True, kw_only=True, order=True):
    """Which check: `version` and `variant` are empty for rules that name neither.

    `by_variant` is set for rules that name `$variant`: the same version on two variants is two answers then. One that
    names `$version` only asks the same on both.
    """

    service: str
    rule: str
    version: str = ""
    variant: str = ""
    by_variant: bool = False

    def __str__(self) -> str:
        """`service/rule`, `service/rule@version`, or `service/rule@version/variant` where that makes a difference.

        It is the key in incidents, the record and the API, and stays what it is whatever else takes traffic.
        """
        place = f"@{self.version}" if self.version else ""
        return f"{self.service}/{self.rule}{place}" + (f"/{self.variant}" if self.by_variant else "")


class Reason(StrEnum):
    """Why a verdict is what it is. Printed the same way in logs, audit, API and messages."""

    WITHIN = "within"  #: better than every threshold
    BEYOND = "beyond"  #: beyond a threshold, with the evidence for it
    NOT_SIGNIFICANT = "not_significant"  #: beyond a threshold, but the evidence is too thin
    TOO_FEW_EVENTS = "too_few_events"  #: fewer than `min_events` in the window; never blindness
    PASSED = "passed"  #: the probe answered
    FAILURES = "failures"  #: consecutive failed probes
    EMPTY = "empty"
    NOT_A_NUMBER = "not_a_number"
    SEVERAL_SERIES = "several_series"
    BEYOND_BUCKETS = "beyond_buckets"  #: above the histogram's last finite bucket, and so is the threshold
    STALE = "stale"
    FUTURE = "future"
    PARTIAL = "partial"
    NO_REFERENCE = (
        "no_reference"  #: nothing to compare with; blindness only when it stays so, and never a page
    )
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"
    HTTP_STATUS = "http_status"
    QUERY_ERROR = "query_error"
    MALFORMED = "malformed"
    OUT_OF_RANGE = "out_of_range"
    UNABLE = "unable"
    QUARANTINE = "quarantine"  #: the source was away; no full window of samples exists yet
    WARMING_UP = "warming_up"  #: the deployment is younger than its warm-up
    CLOCK_SET = "clock_set"  #: the machine's clock was set; the next sample is the first one


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What one observation means. `fresh` is false when the same scrape was seen before: then nothing counts.

    `limit` is the threshold that decided; `events` the events behind the value; `explanation` one sentence.
    """

    level: Level
    reason: Reason
    at: datetime
    fresh: bool = True
    value: float | None = None
    limit: float | None = None
    events: float | None = None
    explanation: str = ""


class Streak(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive fresh samples at one level or worse: `count` of them, the first taken at `since`."""

    count: int = 0
    since: datetime | None = None
    last: datetime | None = None


class CheckState(msgspec.Struct, frozen=True, kw_only=True):
    """What one check remembers.

    `streaks` count towards the holds, by level. `held` is the worst level whose hold is met by the newest fresh
    samples; `latched` the worst level held since the check was last clear (what an incident shows).
    `clears` are consecutive fresh samples better than the mildest threshold. `excess` are `(sample time, seconds of
    excess)` of the last 15 windows. `failures` are consecutive failed polls, `probe_failures` consecutive dead probes.
    `blind_since` is when usable data was last missed, `quarantined_since` when the first of the quarantines began after
    which nothing was known yet, `sampled_at` the time of the last sample that counted,
    `reference` what the last sample was compared with that could be, for a rule with a baseline, `recent` are
    `(sample time, value)` of its newest values, for one that tests two samples (`watchdog.core.recent`).
    """

    streaks: dict[str, Streak] = {}
    held: Level = Level.OK
    latched: Level = Level.OK
    clears: int = 0
    excess: tuple[tuple[datetime, float], ...] = ()
    failures: int = 0
    probe_failures: int = 0
    sampled_at: datetime | None = None
    unknown_since: datetime | None = None
    blind_since: datetime | None = None
    quarantine_until: datetime | None = None
    quarantined_since: datetime | None = None
    source_since: datetime | None = None
    breached_at: datetime | None = None
    scrape_interval: timedelta | None = None
    reference: Reference | None = None
    recent: tuple[tuple[datetime, float], ...] = ()
    verdict: Verdict | None = None
    known: Verdict | None = None


class KnownRun(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of time in which a rule's known verdict on one version stayed the same."""

    level: Level
    version: str
    first_at: datetime
    last_at: datetime


class KnownLog(msgspec.Struct, frozen=True, kw_only=True):
    """The known verdicts of one rule on one service, oldest first: what `not_already_bad` looks at.

    `question` is what the rule asked (`Rule.question`); empty in what was stored before that was kept.
    """

    runs: tuple[KnownRun, ...] = ()
    question: str = ""
