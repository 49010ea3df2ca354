"""The source `kubernetes` against `scrape`: the same series, once looked at and once read from a page, say the same.

`scrape` is held against Prometheus itself in `test_forms.py` and `test_sources.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from tests.cluster import recorded as r
from tests.cluster.fake_api import FakeApi
from tests.eventually import Eventually
from tests.servers import raw
from tests.servers.raw import RawServer
from tests.sources.questions import poll, question, running
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS, Deployment, Pod, ReplicaSet
from watchdog.core.dealing import Dealt
from watchdog.core.observation import NoData, Value
from watchdog.core.rule import Aggregate, Gauge, MetricForm, Rate, Ratio
from watchdog.sources.interface import Lists, Source
from watchdog.sources.kubernetes import KubernetesSettings, KubernetesSource
from watchdog.sources.kubernetes_series import METRICS, Naming, Writer
from watchdog.sources.scrape import ScrapeSettings, ScrapeSource

RESTARTS = "kube_pod_container_status_restarts_total"
#: What both can be asked: every aggregate, and counters in both forms that take them.
FORMS: tuple[MetricForm, ...] = (
    *(Gauge(of='kube_pod_status_ready{condition="true",version="v2"}', by=by) for by in Aggregate),
    Gauge(of='kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff"}', by=Aggregate.AVG),
    Gauge(of='kube_replicaset_status_ready_replicas{version="v1"}', by=Aggregate.MAX),
    Gauge(of='kube_deployment_status_condition{condition="Progressing",status="false"}', by=Aggregate.MAX),
    Gauge(of='kube_pod_status_phase{phase=~"Pending|Failed"}', by=Aggregate.SUM),
    Rate(of=f'{RESTARTS}{{version="v2",container!~"proxy.*"}}'),
    Ratio(bad=f'{RESTARTS}{{version="v2"}}', total=RESTARTS),
)
#: What is there of neither.
NOTHING: tuple[MetricForm, ...] = (
    Gauge(of='kube_pod_status_ready{version="v9"}', by=Aggregate.MAX),
    Rate(of="kube_node_info"),
    Ratio(bad=f'{RESTARTS}{{version="v9"}}', total=f'{RESTARTS}{{version="v9"}}'),
)


@dataclass(kw_only=True)
class Both:
    """The same objects behind both sources."""

    api: FakeApi
    sources: dict[str, Source]
    restarts: int = 0

    def change(self, *, crash: bool = False) -> None:
        """Two containers restart, one of each version."""
        self.restarts += 1
        count = 2 * self.restarts
        bad = r.crash_loop(restarts=count) if crash else r.running(restarts=count)
        for one in (
            r.pod("trips-v1-a", r.running(restarts=self.restarts), version="v1"),
            r.pod("trips-v2-a", bad, r.running("proxy-1", restarts=9), version="v2"),
            r.pod("trips-v2-b", version="v2"),
            r.unscheduled("trips-v2-c"),
            r.evicted("trips-v2-d"),
        ):
            self.api.put(PODS, "prod", one)
        self.api.put(REPLICA_SETS, "prod", r.replica_set("v1", ready=1))
        self.api.put(DEPLOYMENTS, "prod", r.deployment(stuck=crash))

    async def page(self, _: raw.RawRequest, writer: asyncio.StreamWriter) -> None:
        """What kube-state-metrics would show of them."""
        kinds = ((PODS, Pod), (REPLICA_SETS, ReplicaSet), (DEPLOYMENTS, Deployment))
        names = {"pods": ["trips-v1-a", *(f"trips-v2-{letter}" for letter in "abcd")]}
        found = [
            r.read(self.api.get(kind, "prod", name), shape)
            for kind, shape in kinds
            for name in names.get(
                kind.plural, ["trips" if kind is DEPLOYMENTS else f"trips-{r.HASHES['v1']}"]
            )
        ]
        writer.write(raw.packed(Writer(Naming(version="version")).page(found, METRICS)))

    async def values(self, form: MetricForm) -> dict[str, Value]:
        found: dict[str, Value] = {}
        for name, source in self.sources.items():
            seen = await poll(source, form, window=60)  # all that happens here, however long it takes
            assert isinstance(seen, Value), (name, seen)
            found[name] = seen
        return found

    async def same(self, form: MetricForm) -> dict[str, Value]:
        """What both say, which is the same, once no look came in between."""
        found = await self.values(form)
        own, page = found["kubernetes"], found["scrape"]
        close = 1e-9 if isinstance(form, Gauge) else 0.25  # rates hang on the moments of the looks
        assert own.value == pytest.approx(page.value, rel=close, abs=close * 0.2), form
        return found


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async with FakeApi() as api:
        made = Both(api=api, sources={})
        made.change()
        feeds = Feeds(api.cluster())
        async with RawServer(made.page) as server:
            every = timedelta(seconds=1)  # and a scrape may take as long, on whatever machine
            own = KubernetesSettings(namespace="prod", version_label="version", interval=every)
            made.sources["kubernetes"] = KubernetesSource(own, name="app", feeds=feeds)
            made.sources["scrape"] = ScrapeSource(
                ScrapeSettings(urls=(server.url,), interval=every), name="app"
            )
            async with running(list(made.sources.values())):
                yield made
        await feeds.aclose()


@pytest.mark.timeout(120)
async def test_the_same_rule_says_the_same_of_objects_and_of_a_page_with_their_series(
    both: Both, eventually: Eventually
) -> None:
    for form in FORMS[:-1]:
        await eventually(lambda form=form: both.values(form), within=20)  # type: ignore[misc]  # one each
    for turn in range(8):
        both.change(crash=turn > 4)
        await asyncio.sleep(0)
        await eventually(lambda: both.same(FORMS[0]), within=20)
    for form in FORMS:
        await eventually(lambda form=form: both.same(form), within=20)  # type: ignore[misc]  # one each

    async def crashing() -> bool:
        found = await both.same(FORMS[4])
        return all(value.value == pytest.approx(1 / 4) for value in found.values())

    await eventually(crashing, within=20)
    for form in NOTHING:
        for name, source in both.sources.items():
            seen = await poll(source, form, window=60)
            assert isinstance(seen, NoData), (name, seen)


@pytest.mark.timeout(120)
async def test_what_is_dealt_out_is_what_each_would_have_got_alone(
    both: Both, eventually: Eventually
) -> None:
    form = Gauge(of='kube_pod_status_ready{condition="true"}', by=Aggregate.SUM)

    async def dealt() -> dict[str, Dealt]:
        found: dict[str, Dealt] = {}
        for name, source in both.sources.items():
            answer = await source.deal(question(form), by=("version", "namespace"), now=datetime.now(UTC))
            assert isinstance(answer, Dealt), answer
            assert answer.of(("v2", "prod")).parts["value"], answer
            found[name] = answer
        return found

    answers = await eventually(dealt, within=20)
    for key, value in ((("v1", "prod"), 1.0), (("v2", "prod"), 2.0), (("v9", "prod"), None)):
        for answer in answers.values():
            assert answer.of(key).parts["value"] == (() if value is None else (value,))


async def test_both_tell_the_names_that_there_are(both: Both, eventually: Eventually) -> None:
    async def told() -> bool:
        names = {}
        for name, source in both.sources.items():
            assert isinstance(source, Lists)
            names[name] = set(await source.names() or ())
        assert names["scrape"] <= names["kubernetes"]
        return "kube_pod_status_ready" in names["scrape"]

    await eventually(told, within=20)
