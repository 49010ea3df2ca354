"""The watchdog's own metrics: what is now comes from the view, what happened is counted.

Names are a contract (design §8). This module must never ask anybody: rendering reads values and formats them.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from watchdog import __version__
from watchdog.core.check import Reason
from watchdog.core.rule import rank
from watchdog.core.view import CheckView, View

# The library would add a series `…_created` to every counter and histogram, which nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves this one without types

#: The media type of `Metrics.render`.
CONTENT_TYPE = CONTENT_TYPE_LATEST

#: Seconds. Queries are answered in milliseconds and end at their timeout.
_QUERY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
#: Seconds. The aim is below 50 ms from observation to acknowledgement; approvals take minutes.
_DECISION_BUCKETS = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
_SWITCH_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """Every self-metric, in a registry of its own. `view` is asked at each rendering.

    `cluster` answers how many calls were made to the Kubernetes API server since the engine began, and how many bytes
    came back; `None` where there is none.
    """

    def __init__(
        self,
        view: Callable[[], View | None],
        *,
        cluster: Callable[[], tuple[int, int] | None] = lambda: None,
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._query = Histogram(
            "watchdog_source_query_seconds",
            "Time one question to a source took, answered or not.",
            ["source"],
            buckets=_QUERY_BUCKETS,
            registry=self._registry,
        )
        self._decision = Histogram(
            "watchdog_decision_seconds",
            "Time from the observation that decided to the switch's acknowledgement.",
            buckets=_DECISION_BUCKETS,
            registry=self._registry,
        )
        self._switch = Histogram(
            "watchdog_switch_seconds",
            "Time one write to a traffic switch took, with its reads.",
            ["service"],
            buckets=_SWITCH_BUCKETS,
            registry=self._registry,
        )
        self._rollbacks = Counter(
            "watchdog_rollbacks",
            "Rollbacks that ended, by how.",
            ["service", "outcome"],
            registry=self._registry,
        )
        self._vetoes = Counter(
            "watchdog_guard_vetoes",
            "Times a guard said no.",
            ["guard"],
            registry=self._registry,
        )
        self._notifications = Counter(
            "watchdog_notifications",
            "Attempts to deliver a message, by what became of them.",
            ["channel", "outcome"],
            registry=self._registry,
        )
        self._templates = Counter(
            "watchdog_template_failures",
            "Messages that went out in other words because a template failed.",
            ["template"],
            registry=self._registry,
        )
        self._unclaimed = Gauge(
            "watchdog_rule_unclaimed",
            "Services in the newest answer to a rule with `match` that are none of ours.",
            ["rule"],
            registry=self._registry,
        )
        self._outbox = Gauge(
            "watchdog_outbox_pending",
            "Messages not yet sent and not given up.",
            registry=self._registry,
        )
        self._outbox_dead = Gauge(
            "watchdog_outbox_dead",
            "Messages that were given up in the last 30 days and not tried again.",
            registry=self._registry,
        )
        self._outbox_oldest = Gauge(
            "watchdog_outbox_oldest_seconds",
            "Age of the oldest message not yet sent and not given up; 0 when there is none.",
            registry=self._registry,
        )
        self._late = Gauge(
            "watchdog_late",
            "Whether something should have happened by now, by what: the heartbeat is withheld then.",
            ["what"],
            registry=self._registry,
        )
        self._beat_at = Gauge(
            "watchdog_heartbeat_last_success_timestamp_seconds",
            "When the dead-man service last took a sign of life (Unix seconds); 0 when it never did.",
            registry=self._registry,
        )
        self._withheld = Gauge(
            "watchdog_heartbeat_withheld",
            "For how many reasons no sign of life is given now.",
            registry=self._registry,
        )
        self._lag = Gauge(
            "watchdog_loop_lag_seconds",
            "How late the event loop last woke up.",
            registry=self._registry,
        )
        self._reloaded = Gauge(
            "watchdog_config_last_reload_successful",
            "Whether the newest configuration is in force (1) or was refused (0).",
            registry=self._registry,
        )
        self._reloaded.set(1)
        self._reloaded_at = Gauge(
            "watchdog_config_last_reload_success_timestamp_seconds",
            "When a configuration was last taken in, at the start or while running (Unix seconds).",
            registry=self._registry,
        )
        Gauge(
            "watchdog_build_info",
            "Always 1; the labels say what runs.",
            ["version", "python"],
            registry=self._registry,
        ).labels(__version__, platform.python_version()).set(1)
        self._registry.register(_FromView(view))
        self._registry.register(_OfCluster(cluster))

    def observe_query(self, source: str, seconds: float) -> None:
        """One question to a source ended, answered or not."""
        self._query.labels(source).observe(seconds)

    def set_unclaimed(self, rule: str, count: int) -> None:
        """The newest answer to a rule with `match` had series of so many services that are none of ours."""
        self._unclaimed.labels(rule).set(count)

    def observe_decision(self, seconds: float) -> None:
        """A switch was acknowledged so long after the observation that decided it."""
        self._decision.observe(seconds)

    def observe_switch(self, service: str, seconds: float) -> None:
        """One write to a service's switch ended."""
        self._switch.labels(service).observe(seconds)

    def count_rollback(self, service: str, outcome: str) -> None:
        """A rollback ended; `outcome` is the state it ended in."""
        self._rollbacks.labels(service, outcome).inc()

    def count_veto(self, guard: str) -> None:
        """A guard said no."""
        self._vetoes.labels(guard).inc()

    def count_notification(self, channel: str, outcome: str) -> None:
        """An attempt to deliver ended as `ok`, `retry`, `permanent` or `unknown`."""
        self._notifications.labels(channel, outcome).inc()

    def count_template_failure(self, template: str) -> None:
        """A template failed on a message, which went out in other words."""
        self._templates.labels(template).inc()

    def set_outbox(self, pending: int, *, dead: int = 0, oldest: float = 0.0) -> None:
        """So many messages wait, and were given up; the oldest that waits is so many seconds old."""
        self._outbox.set(pending)
        self._outbox_dead.set(dead)
        self._outbox_oldest.set(oldest)

    def set_late(self, found: Mapping[str, bool]) -> None:
        """What is late now, of everything that can be."""
        for what, is_late in found.items():
            self._late.labels(what).set(is_late)

    def heartbeat_taken(self, at: datetime) -> None:
        """The dead-man service took a sign of life."""
        self._beat_at.set(at.timestamp())

    def set_heartbeat_withheld(self, reasons: int) -> None:
        """No sign of life is given now, for so many reasons; 0 when it may be."""
        self._withheld.set(reasons)

    def set_loop_lag(self, seconds: float) -> None:
        """The event loop woke up so late."""
        self._lag.set(seconds)

    def config_taken(self, at: datetime) -> None:
        """The newest configuration is in force since then."""
        self._reloaded.set(1)
        self._reloaded_at.set(at.timestamp())

    def config_refused(self) -> None:
        """The newest configuration was refused; the one before is in force."""
        self._reloaded.set(0)

    def render(self) -> bytes:
        """The page, in the text format of `CONTENT_TYPE`."""
        return generate_latest(self._registry)


class _FromView(Collector):
    """Turns the newest view into samples, so that a service or check that is gone leaves no series behind."""

    def __init__(self, view: Callable[[], View | None]) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        view = self._view()
        if view is None:
            return
        yield from _checks(view)
        up = GaugeMetricFamily("watchdog_source_up", "Whether a source answers.", labels=["source"])
        for source in view.sources.values():
            if source.up is not None:
                up.add_metric([source.name], float(source.up))
        yield up
        ready = GaugeMetricFamily(
            "watchdog_rollback_ready", "Whether a rollback of the service would work now.", labels=["service"]
        )
        for service in view.services.values():
            ready.add_metric([service.name], float(service.rollback_ready))
        yield ready
        yield GaugeMetricFamily(
            "watchdog_cut_off",
            "Whether nothing answers, so that no target is called dead.",
            value=float(view.cut_off_at is not None),
        )
        yield GaugeMetricFamily(
            "watchdog_is_leader", "Whether this process may act.", value=float(view.leader)
        )


class _OfCluster(Collector):
    """What the Kubernetes API server was asked."""

    def __init__(self, cluster: Callable[[], tuple[int, int] | None]) -> None:
        self._cluster = cluster

    def collect(self) -> Iterator[Metric]:
        counted = self._cluster()
        if counted is None:
            return
        calls, received = counted
        yield CounterMetricFamily(
            "watchdog_kubernetes_requests", "Calls to the Kubernetes API server.", value=calls
        )
        yield CounterMetricFamily(
            "watchdog_kubernetes_received_bytes", "Bytes of its answers, watches included.", value=received
        )


def _shown(check: CheckView, checks: Iterable[CheckView]) -> CheckView:
    """Of a version on several variants the worst check is shown: one name has one number."""
    same = (it for it in checks if (it.id.rule, it.id.version) == (check.id.rule, check.id.version))
    return max(same, key=lambda it: rank(it.level))


#: Verdicts that say there is data, only not enough to judge it.
_DATA = frozenset({Reason.TOO_FEW_EVENTS, Reason.NO_REFERENCE})
#: The time of the newest data of a rule that never had any.
_NEVER = 0.0


def _last_data(check: CheckView) -> float | None:
    """Unix seconds; 0 for a check that looks for data and never found any, `None` where nobody can say yet."""
    moments = [check.last_data_at] if check.last_data_at is not None else []
    if check.verdict is not None and check.verdict.reason in _DATA:
        moments.append(check.verdict.at)
    if moments:
        return max(moments).timestamp()
    return _NEVER if check.blind_since is not None else None


def _checks(view: View) -> Iterator[Metric]:
    names = ["service", "rule", "version"]
    value = GaugeMetricFamily(
        "watchdog_check_value", "The newest known value, in the rule's unit.", labels=names
    )
    level = GaugeMetricFamily(
        "watchdog_check_level", "0 ok, 1 warning, 2 critical, 3 rollback, -1 unknown.", labels=names
    )
    blind = GaugeMetricFamily(
        "watchdog_check_blind_since_timestamp_seconds",
        "Since when a check has had no usable data (Unix seconds); no sample while it has some.",
        labels=names,
    )
    newest: dict[str, float] = {}
    for service in view.services.values():
        for check in service.checks:
            labels = [check.id.service, check.id.rule, check.id.version]
            if (at := _last_data(check)) is not None:
                newest[check.id.rule] = max(newest.get(check.id.rule, at), at)
            if check is not _shown(check, service.checks):
                continue
            level.add_metric(labels, rank(check.level))
            if check.blind_since is not None:
                blind.add_metric(labels, check.blind_since.timestamp())
            known = check.verdict.value if check.verdict is not None else None
            if known is not None and math.isfinite(known):
                value.add_metric(labels, known)
    yield value
    yield level
    yield blind
    data = GaugeMetricFamily(
        "watchdog_rule_last_data_timestamp_seconds",
        "When a rule last had usable data, over all its checks (Unix seconds); 0 when it never had any.",
        labels=["rule"],
    )
    for rule, at in newest.items():
        data.add_metric([rule], at)
    yield data
