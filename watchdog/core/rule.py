"""Rules: what is measured, which thresholds count, how long, and on what evidence.

A `Rule` is complete: defaults are filled in, percentages resolved, units gone (seconds, bytes, ratios 0..1).
It is compiled by `watchdog.config` and frozen into every incident it opens.
This module must never know where a rule came from.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Any

import msgspec

from watchdog.core.burning import Slo
from watchdog.core.placing import names_variant, names_version
from watchdog.core.two_samples import TwoSample
from watchdog.core.variables import Quoting


class Direction(StrEnum):
    """Which side of a threshold is the bad one. Equal is never a breach."""

    ABOVE = "above"
    BELOW = "below"


class Unit(StrEnum):
    """What a rule's numbers are. Thresholds are stored in the base unit."""

    RATIO = "ratio"
    SECONDS = "seconds"
    BYTES = "bytes"
    COUNT = "count"
    TIMES = "times"
    NONE = "none"


class Level(StrEnum):
    """A verdict, from harmless to worst. `UNKNOWN` is beside the order, never a rank."""

    UNKNOWN = "unknown"
    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"
    ROLLBACK = "rollback"


#: The levels a rule can have a threshold for, mildest first.
BREACH_LEVELS = (Level.WARNING, Level.CRITICAL, Level.ROLLBACK)

_RANK = {Level.UNKNOWN: -1, Level.OK: 0, Level.WARNING: 1, Level.CRITICAL: 2, Level.ROLLBACK: 3}


def rank(level: Level) -> int:
    """Order of badness: ok 0, warning 1, critical 2, rollback 3; unknown is -1 and worse than nothing."""
    return _RANK[level]


def worst(*levels: Level) -> Level:
    """The worst of several levels; `UNKNOWN` only when nothing else is there."""
    return max(levels, key=rank, default=Level.UNKNOWN)


class Severity(StrEnum):
    """How loudly people are told."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Ratio(msgspec.Struct, frozen=True, kw_only=True, tag="ratio"):
    """Share of bad events: two selectors without a range."""

    bad: str
    total: str


class Quantile(msgspec.Struct, frozen=True, kw_only=True, tag="quantile"):
    """A quantile of a classic histogram: `of` is its selector without a range, 0 < `q` < 1.

    The histogram is named as a whole (`http_request_duration_seconds`) or by its buckets (`..._bucket`).
    """

    of: str
    q: float


class Rate(msgspec.Struct, frozen=True, kw_only=True, tag="rate"):
    """Summed per-second rate of counters over the window: a selector without a range."""

    of: str


class Aggregate(StrEnum):
    """How the series of a gauge become one number."""

    MAX = "max"
    MIN = "min"
    SUM = "sum"
    AVG = "avg"


class Gauge(msgspec.Struct, frozen=True, kw_only=True, tag="gauge"):
    """Current values of gauges, made one number: a selector without a range."""

    of: str
    by: Aggregate


class Query(msgspec.Struct, frozen=True, kw_only=True, tag="query"):
    """Raw PromQL giving one number; `events` and `freshness` are PromQL too, asked in the same round trip."""

    query: str
    events: str | None = None
    freshness: str | None = None


class ProbeForm(msgspec.Struct, frozen=True, kw_only=True, tag="probe", omit_defaults=True):
    """An active check. `settings` are the validated settings of the probe of that `kind`, variables unresolved.

    `quoting` says for places in them how the values of variables are written there: `variables.fill_settings`.
    """

    kind: str
    settings: dict[str, Any]
    quoting: dict[str, Quoting] = {}


#: What a source can be asked.
MetricForm = Ratio | Quantile | Rate | Gauge | Query
Form = MetricForm | ProbeForm


class Samples(msgspec.Struct, frozen=True, tag="samples"):
    """Hold that many consecutive fresh samples."""

    count: int


class Lasting(msgspec.Struct, frozen=True, tag="lasting"):
    """Hold for that long, spanned by at least two fresh samples."""

    duration: timedelta


Hold = Samples | Lasting


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Absolute limits in the rule's base unit; for probes, consecutive failures. `None`: never reaches that level."""

    warning: float | None = None
    critical: float | None = None
    rollback: float | None = None

    def of(self, level: Level) -> float | None:
        """The limit of a breach level; `None` for levels that have none."""
        match level:
            case Level.WARNING:
                return self.warning
            case Level.CRITICAL:
                return self.critical
            case Level.ROLLBACK:
                return self.rollback
            case _:
                return None

    @property
    def mildest(self) -> float:
        """The limit that a sample must be better than to count as clear."""
        for limit in (self.warning, self.critical, self.rollback):
            if limit is not None:
                return limit
        raise ValueError("a rule without thresholds cannot be compiled")


class Against(StrEnum):
    """What a baseline compares with (design §5); `EARLIER` is written as a duration."""

    BEFORE_DEPLOYMENT = "before-deployment"
    PREVIOUS_VERSION = "previous-version"
    EARLIER = "earlier"
    USUAL = "usual"


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """Limits relative to a reference. `margins` are shares of it, `0.3` is 30 % worse.

    `ago` is how much earlier the reference is, for `EARLIER`; else `None`. `USUAL` is the median of the time `over`;
    its margins are counted in deviations, how far values usually lie from that median. `test` asks for more than the
    margin, for `PREVIOUS_VERSION`.
    """

    against: Against
    margins: Thresholds
    ago: timedelta | None = None
    over: timedelta | None = None
    test: TwoSample | None = None


class Holds(msgspec.Struct, frozen=True, kw_only=True):
    """How long each level must last. Defaults: design §5."""

    warning: Hold = Lasting(timedelta(minutes=1))
    critical: Hold = Lasting(timedelta(minutes=1))
    rollback: Hold = Samples(2)

    def of(self, level: Level) -> Hold:
        """The hold of a breach level."""
        match level:
            case Level.WARNING:
                return self.warning
            case Level.CRITICAL:
                return self.critical
            case _:
                return self.rollback


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """What must be there beside the value (design §5, "Level").

    `min_events` and `min_bad` are counts in one window, `confidence` is one-sided (0..1), `excess` a share of one
    window. `bound` says whether the Wilson bound, `min_bad` and `excess` apply (ratios) or only `min_events` (queries).
    """

    min_events: int = 20
    min_bad: int = 10
    confidence: float = 0.99
    excess: float = 0.2
    bound: bool = True


class Severities(msgspec.Struct, frozen=True, kw_only=True):
    """Severity of the message for each level."""

    warning: Severity = Severity.MEDIUM
    critical: Severity = Severity.HIGH
    rollback: Severity = Severity.CRITICAL

    def of(self, level: Level) -> Severity:
        """The severity for a level; `LOW` where nothing is wrong."""
        match level:
            case Level.WARNING:
                return self.warning
            case Level.CRITICAL:
                return self.critical
            case Level.ROLLBACK:
                return self.rollback
            case _:
                return Severity.LOW


class Match(msgspec.Struct, frozen=True, kw_only=True):
    """Which series is whose: `labels` maps a label of the series to what it must equal, all of them at once.

    That is `name`, the service's name, or `label.NAME`, one of its labels. The rule is asked once for all services.
    """

    labels: dict[str, str]

    def values(self, name: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        """What a service's series have in these labels, in their order; empty texts for labels it does not have."""
        return tuple(
            name if of == "name" else labels.get(of.removeprefix("label."), "") for of in self.labels.values()
        )


class Rule(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One compiled rule. Durations: `window` is the range of rates, `interval` the poll interval.

    A rule with a `baseline` has no `thresholds` of its own: every value gets them from what it is compared with
    (`watchdog.core.baseline`). One with an `slo` is a ratio whose thresholds are burn rates; its `window` is the
    shortest of those that they are taken over (`windows`).
    """

    name: str
    form: Form
    thresholds: Thresholds = Thresholds()
    baseline: Baseline | None = None
    slo: Slo | None = None
    match: Match | None = None
    unit: Unit = Unit.NONE
    summary: str = ""
    source: str | None = None
    interval: timedelta = timedelta(seconds=30)
    window: timedelta = timedelta(minutes=1)
    direction: Direction = Direction.ABOVE
    hold: Holds = Holds()
    clear: int = 3
    evidence: Evidence | None = None
    blind_after: timedelta = timedelta(minutes=3)
    max_age: timedelta | None = None
    severity: Severities = Severities()
    tags: tuple[str, ...] = ()
    runbook: str | None = None
    dashboard: str | None = None

    @functools.cached_property
    def per_version(self) -> bool:
        """Whether the rule names `$version` or `$variant`: then it becomes one check per live version."""
        if self.match is not None:
            return False
        return names_version(self.form)

    @functools.cached_property
    def per_variant(self) -> bool:
        """Whether the rule names `$variant`: then the same version on two variants is two different questions."""
        if not self.per_version:
            return False
        return names_variant(self.form)

    @property
    def is_probe(self) -> bool:
        """Whether the rule is an active check."""
        return isinstance(self.form, ProbeForm)

    @property
    def windows(self) -> tuple[timedelta, ...]:
        """The ranges over which a ratio is counted beside `window`, where burn rates are wanted."""
        return () if self.slo is None else tuple(one for one in self.slo.windows if one != self.window)

    @property
    def can_roll_back(self) -> bool:
        """Whether the rule has a rollback threshold at all."""
        limits = self.thresholds if self.baseline is None else self.baseline.margins
        return limits.rollback is not None

    @functools.cached_property
    def plain(self) -> dict[str, Any]:
        """Its content as JSON types, for records; never to be changed."""
        content: dict[str, Any] = msgspec.to_builtins(self)
        return content

    @functools.cached_property
    def hash(self) -> str:
        """Identity of the rule's content, recorded with every decision.

        A field that is younger than the first records counts only where it is set: old records keep their hash.
        """
        content = _without_younger(self.plain)
        for younger in _YOUNGER:
            if content[younger] is None:
                del content[younger]
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]

    @functools.cached_property
    def question(self) -> str:
        """Identity of what is asked, whatever is called bad and however it is told (`same_question`).

        Kept beside what was known of a rule: after a restart nothing else tells whether the rule was another one then.
        """
        plain = _without_younger(self.plain)
        content = {name: value for name, value in plain.items() if value is not None and name not in _BESIDE}
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]

    @functools.cached_property
    def judgement(self) -> str:
        """Identity of what is asked and of what is made of the answers (`same_judgement`).

        Kept with a back-test, which says nothing of a rule that judges otherwise. What is not set does not count, so
        that a later release, which knows more to set, gives the same.
        """
        content = _without_nothing({name: of for name, of in self.plain.items() if name not in _TOLD})
        return hashlib.sha256(msgspec.json.encode(content, order="sorted")).hexdigest()[:16]


def _without_younger(plain: dict[str, Any]) -> dict[str, Any]:
    """The content with a baseline as the first one was recorded, where nothing else is set."""
    baseline = plain["baseline"]
    if baseline is None:
        return dict(plain)
    kept = {name: of for name, of in baseline.items() if of is not None or name not in _YOUNGER_OF_BASELINES}
    return {**plain, "baseline": kept}


def _without_nothing(content: Any) -> Any:
    if isinstance(content, dict):
        return {name: _without_nothing(value) for name, value in content.items() if value is not None}
    return content


_YOUNGER = ("baseline", "match", "dashboard", "slo")
_YOUNGER_OF_BASELINES = ("over", "test")
#: The fields of a rule that say nothing of how an answer is judged, only how often, to whom and in which words; and
#: those that say nothing of what is asked either (`watchdog.core.same`).
_TOLD = frozenset({"summary", "interval", "tags", "runbook", "dashboard", "severity", "blind_after"})
_BESIDE = _TOLD | {"hold", "clear", "max_age", "thresholds", "evidence"}
