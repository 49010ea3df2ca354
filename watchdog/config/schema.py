"""The shapes of the configuration file and of rule files: which keys there are, and what each value looks like.

What needs more than one value to judge (thresholds and their unit, names that must exist) is judged elsewhere.
This module must never read a file.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from watchdog.cluster.settings import ClusterSettings
from watchdog.config.backtests import BacktestShape
from watchdog.config.discovered import DiscoverShape
from watchdog.config.fields import (
    Confidence,
    Count,
    Effect,
    Excess,
    FormatVersion,
    HoldField,
    LabelName,
    MatchedBy,
    Name,
    QuantileNumber,
    Rate,
    SampleCount,
    Share,
    TestedCount,
    Written,
)
from watchdog.config.telling import HeartbeatSettings, ReportsShape, TemplatesShape
from watchdog.core.rule import Aggregate, Direction, Severity, Unit
from watchdog.core.two_samples import TwoSample
from watchdog.postgres.address import TIMEOUT, Tls
from watchdog.settings.model import Duration, PositiveDuration, Secret, Settings

STORE_URL = "sqlite:////var/lib/watchdog/watchdog.db"
PAUSE_FILE = Path("/var/lib/watchdog/pause")


class RatioShape(Settings):
    """`ratio`: two selectors without a range."""

    bad: str
    """Selector of the counters of bad events."""
    total: str
    """Selector of the counters of all events."""


class QuantileShape(Settings):
    """`quantile`: a selector without a range, and which quantile."""

    of: str
    """Selector of a classic histogram, named as a whole or by its `_bucket` series."""
    q: QuantileNumber
    """Which quantile, between 0 and 1."""


class GaugeShape(Settings):
    """`gauge`: a selector without a range, and how its series become one number."""

    of: str
    """Selector of the gauges."""
    by: Aggregate
    """How they become one number."""


class ThresholdShape(Settings):
    """`threshold`: at least one level."""

    warning: Written | None = None
    """Absolute, in the rule's unit."""
    critical: Written | None = None
    """Absolute, in the rule's unit."""
    rollback: Written | None = None
    """Absolute, or a percentage of `critical`."""

    def levels(self) -> dict[str, str]:
        """What was written, by level, mildest first."""
        every = {"warning": self.warning, "critical": self.critical, "rollback": self.rollback}
        return {level: written for level, written in every.items() if written is not None}


class WorseByShape(Settings):
    """`baseline.worse_by`: at least one level."""

    warning: Written | None = None
    """Share of the reference; a number of deviations for `usual`."""
    critical: Written | None = None
    """Share of the reference; a number of deviations for `usual`."""
    rollback: Written | None = None
    """The same (a share as a number), or a percentage of `critical`."""

    def levels(self) -> dict[str, str]:
        """What was written, by level, mildest first."""
        every = {"warning": self.warning, "critical": self.critical, "rollback": self.rollback}
        return {level: written for level, written in every.items() if written is not None}


class TwoSampleShape(Settings):
    """`baseline.test`: what must be shown beside the margin before one version is called worse than another."""

    confidence: Confidence = TwoSample().confidence
    """One-sided confidence of the Mann-Whitney test."""
    effect: Effect = TwoSample().effect
    """Share of the pairs of two values in which the newer version's is the worse one."""
    samples: TestedCount = TwoSample().samples
    """Newest values of each version; at least half as many must be there."""


class BaselineShape(Settings):
    """`baseline`: limits relative to a reference."""

    against: Written
    """What a value is compared with."""
    worse_by: dict[str, Any]
    """How much worse it may be, by level."""
    over: PositiveDuration | None = None
    """The time in which it was usual; for `usual` only."""
    test: str | dict[str, Any] | None = None
    """What must be shown beside the margin; for `previous-version` only."""


class BurnRateShape(Settings):
    """One level of `slo.burn`; what is left out is as in the defaults of that level."""

    rate: Written | None = None
    """How many times faster than the budget allows both windows must burn."""
    long: PositiveDuration | None = None
    """The window that says that it matters."""
    short: PositiveDuration | None = None
    """The window that says that it still goes on; shorter."""


class BurnShape(Settings):
    """`slo.burn`: at least one level; one that is left out is never reached."""

    warning: dict[str, Any] | None = None
    """A rate and its windows."""
    critical: dict[str, Any] | None = None
    """A rate and its windows."""
    rollback: Any = None
    """A rate and its windows, or a percentage of critical's rate, over its windows."""


class SloShape(Settings):
    """`slo`: limits that follow from an objective."""

    objective: Written
    """Share of events that must be good."""
    burn: dict[str, Any] | None = None
    """Which burn rates are too fast, by level."""


class HoldShape(Settings):
    """`hold`: durations, or counts of fresh samples."""

    warning: HoldField = None
    """How long a warning must last."""
    critical: HoldField = None
    """How long a critical must last."""
    rollback: HoldField = None
    """How long a rollback verdict must last."""


class EvidenceShape(Settings):
    """`evidence`: what must be there beside the value."""

    events: str | None = None
    """PromQL for the number of events; for queries only."""
    min_events: Count | None = None
    """Events in one window."""
    min_bad: Count | None = None
    """Bad events in one window, for a rollback."""
    confidence: Confidence | None = None
    """One-sided confidence of the Wilson bound."""
    excess: Excess | None = None
    """Share of one window."""


class SeverityShape(Settings):
    """`severity`: how loudly people are told, by level."""

    warning: Severity = Severity.MEDIUM
    """Of messages about a warning."""
    critical: Severity = Severity.HIGH
    """Of messages about a critical."""
    rollback: Severity = Severity.CRITICAL
    """Of messages about a rollback."""


class RuleShape(Settings):
    """One rule, every key of the language; forms that this release lacks are known, so that they can be named."""

    name: Name = ""
    """Unique over all rule files."""
    summary: str = ""
    """One line for people."""
    unit: Unit | None = None
    """What the thresholds are; `ratio` for ratios, else `none`."""
    interval: str = "critical"
    """A name from `intervals`, or a duration."""
    source: str | None = None
    """Optional when there is one source."""
    ratio: dict[str, Any] | None = None
    """Form: share of bad events."""
    quantile: dict[str, Any] | None = None
    """Form: a quantile of a histogram."""
    rate: str | None = None
    """Form: the summed per-second rate of counters."""
    gauge: dict[str, Any] | None = None
    """Form: current values, made one number."""
    query: str | None = None
    """Form: PromQL that gives one number."""
    probe: dict[str, Any] | None = None
    """Form: an active check, `kind` and its settings."""
    match: Annotated[dict[LabelName, MatchedBy], Field(min_length=1)] | None = None
    """Asks once for all services: which label of a series says whose it is, `name` or `label.NAME`."""
    baseline: dict[str, Any] | None = None
    """Limits relative to what was before, instead of a threshold."""
    slo: dict[str, Any] | None = None
    """Limits of how fast an error budget is used up, instead of a threshold; for a ratio."""
    window: PositiveDuration = timedelta(minutes=1)
    """Range of rates."""
    direction: Direction = Direction.ABOVE
    """The bad side of a threshold."""
    threshold: dict[str, Any] | None = None
    """Limits by level."""
    hold: HoldShape = HoldShape()
    """How long each level must last."""
    clear: SampleCount = 3
    """Fresh samples better than the mildest threshold before the check is ok again."""
    evidence: Any = None
    """A mapping, or `none`."""
    blind_after: Duration | None = None
    """How long without data until people are told; by default 3m or three intervals, whichever is longer."""
    max_age: PositiveDuration | None = None
    """Oldest sample that counts; by default two scrape intervals."""
    freshness: str | None = None
    """PromQL for the time of the newest sample; for queries only."""
    severity: SeverityShape = SeverityShape()
    """How loudly people are told."""
    tags: tuple[Name, ...] = ()
    """Words by which services choose rules."""
    runbook: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")
    """What to read when it fires."""
    dashboard: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")
    """What to look at when it fires."""


class RulesFileShape(Settings):
    """A rule file."""

    version: FormatVersion = 1
    """1."""
    rules: tuple[Any, ...]
    """The rules."""


class IntervalsShape(Settings):
    """`intervals`: the named poll intervals."""

    critical: PositiveDuration = timedelta(seconds=30)
    """Of rules that guard a deployment."""
    normal: PositiveDuration = timedelta(minutes=5)
    """Of rules that can wait."""
    extended: PositiveDuration = timedelta(hours=1)
    """Of rules about slow things."""
    recheck: PositiveDuration = timedelta(seconds=5)
    """While a hold is pending or a rollback is verified."""


class StoreShape(Settings):
    """`store`."""

    url: str = STORE_URL
    """`sqlite:////absolute/path`, `sqlite:///relative/path` or `postgresql://USER@HOST:5432/DATABASE`."""
    password: Secret | None = None
    """Of the user in the URL. PostgreSQL only, as are the keys below."""
    tls: Tls | None = None
    """`disable`, `prefer`, `require` or `verify-full`; `verify-full` with `ca_file`, else `prefer`."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""
    timeout: PositiveDuration = TIMEOUT
    """Longest time for a transaction, and for a connection: 1s to 7s."""


class TokenShape(Settings):
    """One bearer token."""

    name: Name
    """Who it is, in the audit record."""
    role: Literal["viewer", "operator"]
    """What it may do: read, or read and write."""
    token: Secret
    """16 characters or more, or it can be guessed."""


class ServerShape(Settings):
    """`server`: the HTTP API."""

    listen: str = "127.0.0.1:9911"
    """`HOST:PORT`; an IPv6 host in brackets; port 0 takes a free one."""
    metrics: Literal["open", "token"] = "open"
    """Whether `GET /metrics` needs a token."""
    tokens: tuple[TokenShape, ...] = ()
    """Who may read and who may write."""
    url: str | None = Field(default=None, pattern=r"^https?://[^\s/]\S*$")
    """The address at which people reach it, for links in messages."""


class BreakerShape(Settings):
    """`limits.max_breaching`: both must be exceeded."""

    share: Share = 0.3
    """Of all services."""
    at_least: Count = 5
    """Services."""


class LimitsShape(Settings):
    """`limits`: beyond, no automatic rollback anywhere."""

    max_rollbacks: Rate = (3, timedelta(minutes=10))
    """Over all services."""
    max_breaching: BreakerShape = BreakerShape()
    """When this much is red at once, it is not the deployments."""


class MainShape(Settings):
    """The configuration file."""

    version: FormatVersion = 1
    """1."""
    rules: tuple[str, ...] = ()
    """Patterns of rule files, relative to this file. Tests of rules (`NAME.test.yaml`) are left out."""
    intervals: IntervalsShape = IntervalsShape()
    """Named poll intervals."""
    store: StoreShape = StoreShape()
    """Where everything is kept."""
    pause_file: Path = PAUSE_FILE
    """While it exists, nothing is switched."""
    server: ServerShape = ServerShape()
    """The HTTP API."""
    sources: dict[str, Any] = Field(default_factory=dict)
    """Where numbers come from."""
    services: tuple[Any, ...] = ()
    """What is protected."""
    environments: dict[str, Any] = Field(default_factory=dict)
    """Profiles of services."""
    limits: LimitsShape = LimitsShape()
    """Blast radius."""
    backtest: BacktestShape = BacktestShape()
    """What back-tests must have shown."""
    require_backtest: bool = False
    """Whether only rules that were back-tested, as they are and within `backtest`, may roll back by themselves."""
    self_check: tuple[Any, ...] = ()
    """Probes of what should always answer, asked while many targets fail: when none does, it is the watchdog's own
    network, and no target is called dead."""
    channels: dict[str, Any] = Field(default_factory=dict)
    """How people are told."""
    routes: tuple[Any, ...] = ()
    """Who is told what."""
    escalations: dict[str, Any] = Field(default_factory=dict)
    """Escalation policies: who is told next while nobody acknowledges."""
    mute_windows: dict[str, Any] = Field(default_factory=dict)
    """Hours in which routes do not tell what can wait."""
    reports: ReportsShape = ReportsShape()
    """When reports leave."""
    templates: TemplatesShape = TemplatesShape()
    """Own words for messages."""
    heartbeat: HeartbeatSettings | None = None
    """An address outside that hears regularly that the watchdog works."""
    leader: Any = None
    """Which of several watchdogs acts. Left out: this one, alone."""
    discover: DiscoverShape | None = None
    """Services that are not listed but annotated."""
    kubernetes: ClusterSettings = ClusterSettings()
    """The way into the cluster."""
