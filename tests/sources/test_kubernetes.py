"""The source `kubernetes`: what rules get of it while the cluster changes, and while it cannot be asked."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.cluster import recorded as r
from tests.cluster.fake_api import Asked, FakeApi, Fault
from tests.eventually import Eventually
from tests.sources.questions import failed, good, poll, question, running
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import DEPLOYMENTS, PODS, REPLICA_SETS
from watchdog.config.check import check
from watchdog.core.baseline import Earlier
from watchdog.core.observation import Failed, FailReason, NoData, NoDataReason, Value
from watchdog.core.rule import Against, Aggregate, Baseline, Gauge, MetricForm, Query, Rate, Thresholds
from watchdog.sources.interface import Question
from watchdog.sources.kubernetes import KubernetesSettings, KubernetesSource

pytestmark = pytest.mark.timeout(120)

Open = Callable[..., Awaitable[KubernetesSource]]


def not_ready(version: str) -> Gauge:
    return Gauge(of=f'kube_pod_status_ready{{condition="false",version="{version}"}}', by=Aggregate.AVG)


def restarts(version: str = "v2") -> Rate:
    return Rate(of=f'kube_pod_container_status_restarts_total{{version="{version}"}}')


CRASHING = Gauge(
    of='kube_pod_container_status_waiting_reason{reason="CrashLoopBackOff",version="v2"}', by=Aggregate.SUM
)


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    """Two good pods of v1, two of v2, and the Deployment that made them."""
    async with FakeApi() as made:
        for version in ("v1", "v2"):
            for letter in "ab":
                put(made, r.pod(f"trips-{version}-{letter}", version=version))
            made.put(REPLICA_SETS, "prod", r.replica_set(version))
        made.put(DEPLOYMENTS, "prod", r.deployment())
        yield made


def put(api: FakeApi, *pods: dict[str, Any]) -> None:
    for one in pods:
        api.put(PODS, one["metadata"]["namespace"], one)


@pytest.fixture
async def start(api: FakeApi) -> AsyncIterator[Open]:
    """`await start(interval=0.1)`: a source that watches the namespace `prod`."""
    async with AsyncExitStack() as stack:

        async def opened(*, interval: float = 0.1, **more: Any) -> KubernetesSource:
            feeds = Feeds(api.cluster(timeout="1s"))
            stack.push_async_callback(feeds.aclose)
            chosen = {"namespace": "prod", "version_label": "version", **more}
            settings = KubernetesSettings(interval=timedelta(seconds=interval), **chosen)
            source = KubernetesSource(settings, name="cluster", feeds=feeds)
            await stack.enter_async_context(running([source]))
            return source

        yield opened


async def value(source: KubernetesSource, form: MetricForm) -> Value:
    """A poll that fails unless it is a value."""
    seen = await poll(source, form)
    assert isinstance(seen, Value), seen
    return seen


async def no_value(source: KubernetesSource, form: MetricForm) -> NoData | Failed:
    """A poll that fails unless it is none."""
    seen = await poll(source, form)
    assert isinstance(seen, NoData | Failed), seen
    return seen


async def test_the_share_of_pods_that_are_not_ready_is_told_by_version(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    source = await start()
    first = await eventually(lambda: value(source, not_ready("v2")), within=20)
    assert first.value == 0
    assert first.at <= datetime.now(UTC)
    assert first.since is not None
    put(api, r.pod("trips-v2-b", r.crash_loop(), version="v2"))

    async def half() -> bool:
        assert (await value(source, not_ready("v2"))).value == 0.5
        return True

    await eventually(half, within=20)
    assert (await value(source, not_ready("v1"))).value == 0


async def test_a_container_that_backs_off_is_told_and_so_is_one_that_does_not(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    source = await start()
    assert (await eventually(lambda: value(source, CRASHING), within=20)).value == 0
    put(api, r.pod("trips-v2-b", r.crash_loop(), version="v2"))

    async def one() -> bool:
        assert (await value(source, CRASHING)).value == 1
        return True

    await eventually(one, within=20)


async def test_restarts_are_a_rate_over_the_window(api: FakeApi, start: Open, eventually: Eventually) -> None:
    source = await start()

    async def none() -> bool:
        assert (await value(source, restarts())).value == 0
        return True

    await eventually(none, within=20)
    for count in (1, 2, 3):
        put(api, r.pod("trips-v2-a", r.running(restarts=count), version="v2"))

    async def some() -> bool:
        assert (await value(source, restarts())).value > 0.2
        return True

    await eventually(some, within=20)
    assert (await value(source, restarts("v1"))).value == 0


async def test_a_version_without_pods_is_no_data_never_health(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    source = await start()
    await eventually(lambda: value(source, not_ready("v2")), within=20)
    await eventually(lambda: value(source, restarts("v2")), within=20)
    for form in (not_ready("v9"), restarts("v9")):
        seen = await no_value(source, form)
        assert isinstance(seen, NoData)
        assert seen.reason is NoDataReason.EMPTY
    for letter in "ab":
        api.delete(PODS, "prod", f"trips-v2-{letter}")

    async def gone() -> bool:
        for form in (not_ready("v2"), restarts("v2")):
            seen = await no_value(source, form)
            assert isinstance(seen, NoData)
            # A counter is stale until it has left the window.
            assert seen.reason in {NoDataReason.EMPTY, NoDataReason.STALE}
        return True

    await eventually(gone, within=20)


async def test_a_deployment_that_does_not_progress_is_told(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    source = await start()
    form = Gauge(
        of='kube_deployment_status_condition{deployment="trips",condition="Progressing",status="false"}',
        by=Aggregate.MAX,
    )
    assert (await eventually(lambda: value(source, form), within=20)).value == 0
    api.put(DEPLOYMENTS, "prod", r.deployment(stuck=True))

    async def stuck() -> bool:
        assert (await value(source, form)).value == 1
        return True

    await eventually(stuck, within=20)


async def test_before_anything_was_listed_there_is_no_data_and_no_failure(api: FakeApi, start: Open) -> None:
    api.hang()
    source = await start()
    seen = await no_value(source, restarts())
    assert isinstance(seen, NoData), seen


async def test_while_the_cluster_may_not_be_asked_there_is_an_error_never_a_number(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    source = await start()
    await eventually(lambda: value(source, restarts()), within=20)
    api.fault = lambda _: Fault.DENY
    api.forget()

    async def failing() -> Failed:
        seen = await no_value(source, restarts())
        assert isinstance(seen, Failed)
        return seen

    seen = await eventually(failing, within=20)
    assert seen.detail.startswith("namespace prod: ")
    assert "is forbidden" in seen.detail
    api.fault = lambda _: None
    await eventually(lambda: value(source, not_ready("v2")), within=40)


async def test_an_api_server_that_is_gone_is_an_error_and_its_return_begins_a_new_window(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    source = await start()
    before = await eventually(lambda: value(source, restarts()), within=20)
    await api.stop()

    async def failing() -> bool:
        assert isinstance(await no_value(source, restarts()), Failed)
        return True

    await eventually(failing, within=20)
    polls = [await poll(source, restarts()) for _ in range(20)]
    assert not [one for one in polls if isinstance(one, Value)]
    await api.start()
    after = await eventually(lambda: value(source, restarts()), within=40)
    assert before.since is not None
    assert after.since is not None
    assert after.since > before.since


async def test_a_namespace_that_cannot_be_read_makes_answers_partial_that_it_may_belong_to(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    put(api, r.pod("other", namespace="test", version="v2"))

    def deny(asked: Asked) -> Fault | None:
        return Fault.DENY if asked.namespace == "test" else None

    api.fault = deny
    source = await start(namespace=None, namespaces=("prod", "test"), timeout=timedelta(seconds=1))

    async def partial() -> NoData:
        seen = await no_value(source, not_ready("v2"))
        assert isinstance(seen, NoData)
        assert seen.reason is NoDataReason.PARTIAL
        return seen

    assert "namespace test" in (await eventually(partial, within=20)).detail
    api.fault = lambda _: None
    await eventually(lambda: value(source, not_ready("v2")), within=40)


async def test_every_namespace_counts(api: FakeApi, start: Open, eventually: Eventually) -> None:
    put(api, r.pod("other", r.crash_loop(), namespace="test", version="v2"))
    source = await start(namespace=None, namespaces=("prod", "test"))
    seen = await eventually(lambda: value(source, not_ready("v2")), within=20)
    assert seen.value == pytest.approx(1 / 3)


async def test_a_metric_that_is_new_to_it_is_remembered_from_the_question_on(
    start: Open, eventually: Eventually
) -> None:
    source = await start(interval=60)
    await eventually(lambda: value(source, not_ready("v2")), within=20)
    asked_at = datetime.now(UTC)
    assert isinstance(await poll(source, not_ready("v9")), NoData)
    # It does not take a minute until the first question about another metric has its answer.
    seen = await eventually(lambda: value(source, CRASHING), within=20)
    assert seen.since is not None
    assert seen.since >= asked_at


async def test_labels_of_pods_and_of_ours_can_be_asked_for(
    api: FakeApi, start: Open, eventually: Eventually
) -> None:
    source = await start(labels=("app",), variant_label="version")
    for label in ('app="trips"', 'variant="v1"', 'namespace="prod"', 'job="cluster"', 'pod=~"trips-v1-.*"'):
        form = Gauge(of=f'kube_pod_status_ready{{condition="true",{label}}}', by=Aggregate.MIN)
        assert (await eventually(lambda form=form: value(source, form), within=20)).value == 1  # type: ignore[misc]


async def test_series_are_dealt_out_by_their_labels(start: Open, eventually: Eventually) -> None:
    source = await start()
    form = Gauge(of='kube_pod_status_ready{condition="true"}', by=Aggregate.SUM)
    await eventually(lambda: value(source, form), within=20)
    dealt = await source.deal(question(form), by=("version",), now=datetime.now(UTC))
    assert not isinstance(dealt, Failed)
    assert dealt.of(("v1",)).parts["value"] == (2.0,)
    assert dealt.of(("v9",)) == dealt.nothing


async def test_raw_promql_and_windows_beyond_memory_are_refused(start: Open) -> None:
    source = await start()
    now = datetime.now(UTC)
    assert failed(await source.ask(question(Query(query="up")), now=now)).reason is FailReason.QUERY_ERROR
    detail = failed(await source.ask(question(restarts(), window=3601), now=now)).detail
    assert detail == "a kubernetes source remembers 60 minutes, not more"
    settings = KubernetesSettings(namespace="prod")
    assert "shorter than two scrapes" in KubernetesSource.window_fault(settings, timedelta(seconds=9))
    assert "longer than a kubernetes source" in KubernetesSource.window_fault(settings, timedelta(hours=2))
    assert KubernetesSource.window_fault(settings, timedelta(minutes=1)) == ""
    day = Baseline(against=Against.EARLIER, margins=Thresholds(critical=0.5), ago=timedelta(days=1))
    assert "kubernetes source" in KubernetesSource.baseline_fault(settings, day, timedelta(minutes=1))


async def test_a_value_can_be_compared_with_what_was_before(start: Open, eventually: Eventually) -> None:
    source = await start()
    asked = Earlier(form=not_ready("v1"), ago=timedelta())
    await eventually(lambda: value(source, not_ready("v1")), within=20)

    async def compared() -> bool:
        asking = Question(form=not_ready("v2"), window=timedelta(seconds=1), reference=asked)
        answer = good(await source.ask(asking, now=datetime.now(UTC)))
        assert answer.parts["reference"] == (0.0,)
        return True

    await eventually(compared, within=20)


async def test_two_sources_share_their_watches(api: FakeApi, eventually: Eventually) -> None:
    feeds = Feeds(api.cluster())
    settings = KubernetesSettings(namespace="prod", version_label="version", interval=timedelta(seconds=0.1))
    sources = [KubernetesSource(settings, name=name, feeds=feeds) for name in ("a", "b")]
    async with running(list(sources)):
        for source in sources:
            await eventually(lambda source=source: value(source, not_ready("v2")), within=20)  # type: ignore[misc]
        assert len([one for one in api.asked if one.query.get("watch")]) == 3
    await feeds.aclose()


async def test_it_says_what_it_sees(api: FakeApi) -> None:
    feeds = Feeds(api.cluster())
    source = KubernetesSource(KubernetesSettings(namespace="prod"), name="cluster", feeds=feeds)
    report = await source.inspect()
    assert (report.ok, report.detail) == (True, "4 pods in prod")
    empty = KubernetesSource(KubernetesSettings(namespace="pord"), name="cluster", feeds=feeds)
    report = await empty.inspect()
    assert (report.ok, report.detail) == (False, "0 pods in pord")
    assert report.advice == "is the namespace's name right?"
    assert "kube_pod_status_ready" in (await source.names() or ())
    api.fault = lambda _: Fault.DENY
    denied = await KubernetesSource(
        KubernetesSettings(namespace="prod", timeout=timedelta(seconds=1)), name="cluster", feeds=feeds
    ).inspect()
    assert not denied.ok
    assert "is forbidden" in denied.detail
    assert "list and watch pods" in denied.advice
    await source.aclose()
    await source.aclose()
    assert (await source.inspect()).detail == "the source was closed"
    await feeds.aclose()
    assert not (await empty.inspect()).ok


def test_it_needs_to_watch_three_kinds_in_its_namespaces_and_nothing_else(api: FakeApi) -> None:
    source = KubernetesSource(
        KubernetesSettings(namespaces=("a", "b")), name="cluster", feeds=Feeds(api.cluster())
    )
    said = {str(right) for right in source.rights}
    assert len(said) == 18
    assert "watch replicasets.apps in namespace b" in said
    assert {right.verb for right in source.rights} == {"get", "list", "watch"}


MISTAKES: dict[str, tuple[dict[str, Any], str]] = {
    "nowhere": ({}, "write either `namespace: NAME` or `namespaces: [NAME, ...]`"),
    "both": ({"namespace": "a", "namespaces": ["b"]}, "write either"),
    "no name": ({"namespace": "A"}, "should match pattern"),
    "twice": ({"namespaces": ["a", "a"]}, "a namespace is written twice; its pods would count twice"),
    "ours": ({"namespace": "a", "labels": ["version"]}, "the series have a label 'version' of their own"),
    "alike": ({"namespace": "a", "labels": ["a.b", "a-b"]}, "two labels would both be named 'a_b'"),
    "no label": ({"namespace": "a", "labels": ["a b"]}, "should match pattern"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_what_cannot_work_is_refused(name: str) -> None:
    settings, words = MISTAKES[name]
    with pytest.raises(ValidationError) as refused:
        KubernetesSettings.model_validate(settings)
    assert words in str(refused.value)


RULE = """version: 1
rules:
  - {{name: one, gauge: {{of: '{metric}{{version="$version"}}', by: max}}, threshold: {{critical: 1, rollback: 150%}}}}
"""


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        ("kube_pod_status_ready", ""),
        (
            "kube_pod_status_redy",
            "a kubernetes source has no metric kube_pod_status_redy; did you mean kube_pod_status_ready?",
        ),
        ("up", "a kubernetes source has no metric up"),
    ],
)
def test_a_metric_that_it_never_has_is_a_mistake(tmp_path: Path, metric: str, words: str) -> None:
    (tmp_path / "rules.yaml").write_text(RULE.format(metric=metric))
    main = tmp_path / "watchdog.yaml"
    switch = {"kind": "command", "read": ["true"], "apply": ["true", "{variant}"]}
    service = {"name": "trips", "rules": ["one"], "traffic": switch}
    whole = {
        "version": 1,
        "rules": ["rules.yaml"],
        "sources": {"cluster": {"kind": "kubernetes", "namespace": "prod"}},
        "services": [service],
    }
    main.write_text(json.dumps(whole))
    problems = [str(one) for one in check(main, {}).problems]
    assert problems == ([f"{tmp_path}/rules.yaml:3:29: {words}"] if words else [])
