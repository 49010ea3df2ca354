"""The source `kubernetes`: the state of pods, ReplicaSets and Deployments as series, without kube-state-metrics.

The objects are kept up to date by watches, which the switches share; each `interval` they are written down as series
(`watchdog.sources.kubernetes_series`) and remembered (`watchdog.sources.recollection`). Asking costs no round trip. A
sample's time is a moment at which the watches were known to be current: while the API server is away there is none.
A metric is remembered from the first question about it on.

This module must never take what was known before for what is known now, nor a namespace that cannot be read for an
empty one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from watchdog.aio.clock import Clock, SystemClock
from watchdog.aio.supervise import run_all
from watchdog.cluster.errors import NotSent
from watchdog.cluster.feed import Feed
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS, Object
from watchdog.cluster.pods import TEMPLATE_HASH, VERSION_LABEL
from watchdog.cluster.rights import Right, reading
from watchdog.core.dealing import Dealt
from watchdog.core.observation import Answer, Failed, FailReason
from watchdog.core.rule import Baseline
from watchdog.settings.model import PositiveDuration, ProviderSettings
from watchdog.settings.registry import nearest
from watchdog.sources.interface import Question, SourceReport
from watchdog.sources.kubernetes_series import METRICS, RESERVED, Naming, Writer, label_name
from watchdog.sources.recollection import ERROR_CHARS, Origin, Recollection, baseline_fault, window_fault
from watchdog.telemetry.redact import one_line

_KINDS = (PODS, REPLICA_SETS, DEPLOYMENTS)
#: How often it is looked whether the watches have begun (seconds), while they have not.
_BEGUN_EVERY = 0.1

_Namespace = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")]
_LabelKey = Annotated[
    str,
    Field(pattern=r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"),
]


def _distinct(namespaces: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(namespaces)) < len(namespaces):
        raise ValueError("a namespace is written twice; its pods would count twice")
    return namespaces


def _series_labels(keys: tuple[str, ...]) -> tuple[str, ...]:
    names = [label_name(key) for key in keys]
    for key, name in zip(keys, names, strict=True):
        if name in RESERVED:
            raise ValueError(f"the series have a label {name!r} of their own; leave {key!r} out")
        if names.count(name) > 1:
            raise ValueError(f"two labels would both be named {name!r}")
    return keys


class KubernetesSettings(ProviderSettings):
    """Settings of the source `kubernetes`. How to reach the cluster stands at the top level, `kubernetes`."""

    namespace: _Namespace | None = None
    """The namespace whose objects are looked at; this or `namespaces` is required."""
    namespaces: Annotated[tuple[_Namespace, ...], Field(min_length=1), AfterValidator(_distinct)] | None = (
        None
    )
    """Several namespaces."""
    interval: PositiveDuration = timedelta(seconds=5)
    """Time between two samples."""
    labels: Annotated[tuple[_LabelKey, ...], AfterValidator(_series_labels)] = ()
    """Labels of pods that become labels of their series, such as `app`; characters other than letters and digits become
    `_`."""
    version_label: _LabelKey = VERSION_LABEL
    """The label of pods that tells their version (`version` of their series); without it the image's tag does, or its
    digest."""
    variant_label: _LabelKey = TEMPLATE_HASH
    """The label of pods that tells their variant (`variant` of the series): what the traffic switch selects by."""

    @model_validator(mode="after")
    def _somewhere(self) -> KubernetesSettings:
        if (self.namespace is None) == (self.namespaces is None):
            raise ValueError("write either `namespace: NAME` or `namespaces: [NAME, ...]`")
        return self

    def places(self) -> tuple[str, ...]:
        """Every namespace."""
        return self.namespaces or ((self.namespace,) if self.namespace else ())


class _Place(Origin):
    """One namespace: the feeds of its objects, and what writes them down."""

    def __init__(self, namespace: str, feeds: Feeds, *, job: str, naming: Naming) -> None:
        super().__init__(namespace, shown=f"namespace {namespace}", labels={"job": job})
        self.pods = feeds.feed(PODS, namespace)
        self.feeds: tuple[Feed[Any], ...] = (
            self.pods,
            feeds.feed(REPLICA_SETS, namespace),
            feeds.feed(DEPLOYMENTS, namespace),
        )
        self._writer = Writer(naming)

    def fault(self) -> Failed | None:
        """Why what is held cannot be believed; `None` when it can."""
        for feed in self.feeds:
            if not feed.current:
                problem = feed.problem or f"{feed.topic}: the API server does not answer"
                return Failed(reason=FailReason.UNREACHABLE, detail=one_line(problem, limit=ERROR_CHARS))
        return None

    def page(self, metrics: frozenset[str]) -> str | Failed:
        """All objects as series of these metrics, or why they cannot be believed."""
        fault = self.fault()
        if fault is not None:
            return fault
        found: list[Object] = [one for feed in self.feeds for one in feed.objects.values()]
        return self._writer.page(found, metrics)


class KubernetesSource:
    """Watches namespaces and remembers series (see the module). `run` must be running for it to know anything."""

    Settings: ClassVar = KubernetesSettings
    WANTS: ClassVar = ("feeds",)

    @staticmethod
    def window_fault(settings: KubernetesSettings, window: timedelta) -> str:
        """Why no rule with this window can ever have data here; empty when it can."""
        return window_fault("kubernetes", settings.interval, window)

    @staticmethod
    def metric_fault(settings: KubernetesSettings, metric: str) -> str:
        """Why there is never a metric of this name here; empty when there is one."""
        del settings
        if metric in METRICS:
            return ""
        guess = nearest(metric, METRICS)
        hint = f"; did you mean {guess}?" if guess else ""
        return f"a kubernetes source has no metric {metric}{hint}"

    @staticmethod
    def baseline_fault(settings: KubernetesSettings, baseline: Baseline, window: timedelta) -> str:
        """Why no rule with this baseline and window can ever have a reference here; empty when it can."""
        del settings
        return baseline_fault("kubernetes", baseline, window)

    def __init__(
        self, settings: KubernetesSettings, *, name: str, feeds: Feeds, clock: Clock | None = None
    ) -> None:
        """`name` is the source's name in the configuration, and its series' `job`. Opens nothing."""
        naming = Naming(
            version=settings.version_label, variant=settings.variant_label, labels=settings.labels
        )
        self._clock = clock or SystemClock()
        self._feeds = feeds
        self._interval = settings.interval.total_seconds()
        self._timeout = settings.timeout.total_seconds()
        self._places = [_Place(one, feeds, job=name, naming=naming) for one in settings.places()]
        self._recollection = Recollection(self._places, kind="kubernetes", look_back=False)
        self._asked = asyncio.Event()
        self._closed = False

    @property
    def concurrency(self) -> int:
        return 100  # an answer comes from memory

    @property
    def rights(self) -> Sequence[Right]:
        """Everything it needs."""
        return tuple(right for place in self._places for kind in _KINDS for right in reading(kind, place.key))

    async def ask(self, question: Question, *, now: datetime) -> Answer | Failed:
        known = self._recollection.metrics
        answer = self._recollection.ask(question, now=now)
        self._note(known)
        return answer

    async def deal(self, question: Question, *, by: tuple[str, ...], now: datetime) -> Dealt | Failed:
        known = self._recollection.metrics
        dealt = await self._recollection.deal(question, by=by, now=now)
        self._note(known)
        return dealt

    def _note(self, known: frozenset[str]) -> None:
        if self._recollection.metrics != known:
            self._asked.set()

    async def inspect(self) -> SourceReport:
        feeds = [feed for place in self._places for feed in place.feeds]
        try:
            if self._closed:
                raise NotSent("the source was closed")
            async with self._feeds.following(*feeds):
                await self._begun(feeds)
                return self._report()
        except NotSent as error:
            return SourceReport(ok=False, detail=str(error))

    def _report(self) -> SourceReport:
        bad = [f"{place.shown}: {fault.detail}" for place in self._places if (fault := place.fault())]
        if bad:
            advice = "may the watchdog list and watch pods, replicasets.apps and deployments.apps there?"
            return SourceReport(ok=False, detail=one_line("; ".join(bad), limit=ERROR_CHARS), advice=advice)
        counts = {place.key: len(place.pods.objects) for place in self._places}
        detail = ", ".join(f"{count} pods in {namespace}" for namespace, count in counts.items())
        # A list of a namespace that does not exist is empty, not an error.
        advice = "" if all(counts.values()) else "is the namespace's name right?"
        return SourceReport(ok=not advice, detail=detail, advice=advice)

    async def names(self) -> tuple[str, ...] | None:
        return METRICS

    async def run(self) -> None:
        feeds = [feed for place in self._places for feed in place.feeds]
        async with self._feeds.following(*feeds):
            await self._begun(feeds)
            work = {"sample the cluster": self._keep_sampling(), "sample what is new": self._answer_new()}
            await run_all(work)

    async def aclose(self) -> None:
        """The watches belong to all."""
        self._closed = True

    async def _begun(self, feeds: Sequence[Feed[Any]]) -> None:
        """Until every feed has listed its objects, or cannot; at most the timeout."""
        until = self._clock.monotonic() + self._timeout
        while not all(feed.current or feed.problem for feed in feeds):
            left = until - self._clock.monotonic()
            if left <= 0:
                return
            await self._clock.sleep(min(left, _BEGUN_EVERY))

    async def _keep_sampling(self) -> None:
        due = self._clock.monotonic()
        while True:
            self._sample()
            late = max(self._clock.monotonic() - due, 0.0)
            due += (math.floor(late / self._interval) + 1) * self._interval
            await self._clock.sleep(due - self._clock.monotonic())

    async def _answer_new(self) -> None:
        """What was asked about for the first time is written down at once, not an interval later."""
        while True:
            await self._asked.wait()
            self._asked.clear()
            self._sample()

    def _sample(self) -> None:
        """One look at what the watches hold, dated now: they are current."""
        at = self._clock.now().timestamp()
        for place in self._places:
            if at == place.seen_at:
                continue  # twice in one moment
            page = place.page(self._recollection.metrics)
            if isinstance(page, Failed):
                self._recollection.missed(place, page)
            else:
                self._recollection.take(place, page, at=at)
