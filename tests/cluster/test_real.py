"""Feeds and the ways into a cluster, tried on a real API server."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Self

import msgspec
import pytest

from tests.eventually import Eventually
from tests.servers.certificates import Certificate
from tests.servers.connect_proxy import ConnectProxy
from tests.servers.kubernetes import TOKEN, Kubernetes
from watchdog.cluster.access import Access, find_access
from watchdog.cluster.client import Cluster
from watchdog.cluster.differences import Difference
from watchdog.cluster.errors import ClusterError, NotSent, Refused, Unanswered
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.look import Fresh
from watchdog.cluster.objects import PODS, SERVICES, Service
from watchdog.cluster.settings import ClusterSettings
from watchdog.cluster.told import Stale, Told

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

PATIENCE = 90.0
MAY_LOOK = [{"apiGroups": [""], "resources": ["services"], "verbs": ["get", "list", "watch"]}]


def service(name: str, version: str) -> dict[str, Any]:
    spec = {"selector": {"app": name, "version": version}, "ports": [{"port": 80}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


async def make(cluster: Cluster, namespace: str, *names: str) -> None:
    for name in names:
        await cluster.post(SERVICES.path(namespace), service(name, "v1"))


async def switch(cluster: Cluster, namespace: str, name: str, version: str) -> None:
    await cluster.patch(SERVICES.path(namespace, name), {"spec": {"selector": {"version": version}}})


@pytest.fixture
async def open_cluster() -> AsyncIterator[Callable[..., Cluster]]:
    """`open_cluster(find=…, **settings)`: a connection, closed at the end."""
    made: list[Cluster] = []

    def make(find: Any = find_access, **settings: Any) -> Cluster:
        made.append(Cluster(ClusterSettings.model_validate(settings), find=find))
        return made[-1]

    yield make
    for one in made:
        await one.aclose()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubernetes]:
    """An API server that a test may kill."""
    with Kubernetes(tmp_path_factory.mktemp("own"), controllers=False) as server:
        yield server


class Follower:
    """The Services of a namespace, as they are told."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.feeds = Feeds(cluster)
        self.feed = self.feeds.feed(SERVICES, namespace)
        self.told: list[Difference[Service]] = []
        self.look = Told(self.feeds)

    async def __aenter__(self) -> Self:
        self._stack = contextlib.AsyncExitStack()
        self._stack.push_async_callback(self.feeds.aclose)
        await self._stack.enter_async_context(self.feeds.following(self.feed, changed=self.told.extend))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def versions(self) -> dict[str, str]:
        """What each Service selects; empty while that cannot be believed."""
        if not self.feed.current:
            return {}
        return {name: one.spec.selector["version"] for (_, name), one in self.feed.objects.items()}


async def test_a_change_is_told(kubernetes: Kubernetes, cluster: Cluster, eventually: Eventually) -> None:
    namespace = kubernetes.namespace()
    await make(cluster, namespace, "trips")
    async with Follower(cluster, namespace) as follower:
        await eventually(lambda: follower.versions() == {"trips": "v1"}, within=PATIENCE)
        await switch(cluster, namespace, "trips", "v2")
        await make(cluster, namespace, "hotels")
        await eventually(lambda: follower.versions() == {"trips": "v2", "hotels": "v1"}, within=PATIENCE)
        kubernetes.kubectl("delete", "service", "hotels", "-n", namespace)
        await eventually(lambda: follower.versions() == {"trips": "v2"}, within=PATIENCE)
        told = [(one.before is None, one.after is None, one.newest.name) for one in follower.told]
        first = [(True, False, "trips"), (False, False, "trips"), (True, False, "hotels")]
        assert told == [*first, (False, True, "hotels")]
        assert follower.feed.lists == follower.feed.watches == 1


async def test_a_list_of_many_comes_in_pages(cluster: Cluster, kubernetes: Kubernetes) -> None:
    namespace = kubernetes.namespace()
    await make(cluster, namespace, "a", "b", "c")
    query = {"limit": "2"}
    first = msgspec.json.decode(await cluster.get(SERVICES.path(namespace), query=query))
    query["continue"] = first["metadata"]["continue"]
    rest = msgspec.json.decode(await cluster.get(SERVICES.path(namespace), query=query))
    assert [one["metadata"]["name"] for one in first["items"] + rest["items"]] == ["a", "b", "c"]


async def test_what_was_switched_is_not_told_as_it_was(
    kubernetes: Kubernetes, cluster: Cluster, eventually: Eventually
) -> None:
    namespace = kubernetes.namespace()
    await make(cluster, namespace, "trips")
    async with Follower(cluster, namespace) as follower:
        await eventually(follower.versions, within=PATIENCE)
        fresh = Fresh(cluster, timeout=timedelta(seconds=10), feeds=follower.feeds)
        for number in range(20):
            version = f"v{number + 2}"
            await switch(cluster, namespace, "trips", version)
            await fresh.one(SERVICES, namespace, "trips")
            with contextlib.suppress(Stale):
                seen = await follower.look.one(SERVICES, namespace, "trips")
                assert seen.spec.selector["version"] == version


async def test_a_watch_survives_that_the_api_server_is_killed(
    own: Kubernetes, open_cluster: Callable[..., Cluster], eventually: Eventually
) -> None:
    namespace = own.namespace()
    cluster = open_cluster(kubeconfig=own.kubeconfig)
    await make(cluster, namespace, "trips")
    async with Follower(cluster, namespace) as follower:
        await eventually(follower.versions, within=PATIENCE)
        for number in range(20):  # so that the place of the watch is before everything a new API server knows
            own.kubectl("create", "configmap", f"c{number}", "-n", namespace)
        before = msgspec.json.decode(await cluster.get(SERVICES.path(namespace)))["metadata"][
            "resourceVersion"
        ]
        own.kubectl("create", "configmap", "last", "-n", namespace)
        own.api.kill()
        await eventually(lambda: follower.feed.problem, within=PATIENCE)
        await eventually(lambda: not follower.feed.current, within=PATIENCE)
        with pytest.raises(Stale):
            await follower.look.one(SERVICES, namespace, "trips")
        own.api.start()
        await eventually(lambda: follower.versions() == {"trips": "v1"}, within=PATIENCE)
        assert await answer_to_a_watch(cluster, namespace, before) == 410
        await switch(cluster, namespace, "trips", "v2")
        await eventually(lambda: follower.versions() == {"trips": "v2"}, within=PATIENCE)


async def answer_to_a_watch(cluster: Cluster, namespace: str, version: str) -> int:
    """The status that a watch from there is answered with, however that is told."""
    query = {"resourceVersion": version, "timeoutSeconds": "5"}
    lines = cluster.watch(SERVICES.path(namespace), query=query, silent_for=timedelta(seconds=20))
    try:
        async with contextlib.aclosing(lines):
            async for line in lines:
                event = msgspec.json.decode(line)
                return int(event["object"].get("code", 200))
    except Refused as error:
        return error.status
    return 200


async def test_an_api_server_that_hangs_is_not_waited_for_and_not_believed(
    own: Kubernetes, open_cluster: Callable[..., Cluster], eventually: Eventually
) -> None:
    namespace = own.namespace()
    cluster = open_cluster(kubeconfig=own.kubeconfig, timeout="2s")
    await make(cluster, namespace, "trips")
    async with Follower(cluster, namespace) as follower:
        await eventually(follower.versions, within=PATIENCE)
        await cluster.get("/version")  # leaves a connection to be used again
        own.api.freeze()
        try:
            with pytest.raises(Unanswered):
                await switch(cluster, namespace, "trips", "v2")
            await eventually(lambda: not follower.feed.current, within=PATIENCE)
        finally:
            own.api.thaw()
        # Whether what was not answered happened after all, nobody can say before.
        await eventually(lambda: follower.feed.current, within=PATIENCE)

        async def the_truth() -> bool:
            fresh = await Fresh(cluster, timeout=timedelta(seconds=10)).one(SERVICES, namespace, "trips")
            return follower.versions() == {"trips": fresh.spec.selector["version"]}

        await eventually(the_truth, within=PATIENCE)


async def test_a_missing_right_is_named(
    kubernetes: Kubernetes, open_cluster: Callable[..., Cluster], eventually: Eventually
) -> None:
    namespace = kubernetes.namespace()
    token = kubernetes.service_account(namespace, "looker", MAY_LOOK)
    cluster = open_cluster(kubeconfig=kubernetes.write_kubeconfig(f"looker-{namespace}", token))
    feeds = Feeds(cluster)
    services, pods = feeds.feed(SERVICES, namespace), feeds.feed(PODS, namespace)
    async with feeds.following(services, pods):
        await eventually(lambda: services.current and pods.problem, within=PATIENCE)
        assert 'cannot list resource "pods" in API group ""' in pods.problem
        assert namespace in pods.problem
    with pytest.raises(Refused, match='cannot patch resource "services"') as refused:
        await switch(cluster, namespace, "trips", "v2")
    assert refused.value.forbidden
    await feeds.aclose()


async def test_a_token_that_is_rotated_in_its_file_is_followed(
    kubernetes: Kubernetes, open_cluster: Callable[..., Cluster], eventually: Eventually, tmp_path: Path
) -> None:
    namespace = kubernetes.namespace()
    address, _, port = kubernetes.url.removeprefix("https://").partition(":")
    pod = {"KUBERNETES_SERVICE_HOST": address, "KUBERNETES_SERVICE_PORT": port}
    (tmp_path / "ca.crt").write_bytes(kubernetes.certificate.file.read_bytes())
    found: list[Access] = []

    async def find(settings: ClusterSettings) -> Access:
        found.append(await find_access(settings, environment=pod, account=tmp_path))
        return found[-1]

    def rotate() -> None:
        token = kubernetes.service_account(namespace, "looker", MAY_LOOK)
        (tmp_path / "next").write_text(token)
        (tmp_path / "next").rename(tmp_path / "token")

    rotate()
    cluster = open_cluster(find)
    await cluster.get(SERVICES.path(namespace))
    kubernetes.kubectl("delete", "serviceaccount", "looker", "-n", namespace)
    rotate()

    async def renewed() -> bool:
        await cluster.get(SERVICES.path(namespace))  # never refused, whichever token it is asked with
        return len(found) > 1

    await eventually(renewed, within=PATIENCE)
    assert (await found[0].headers()) != (await found[1].headers())


async def test_a_plugin_says_who_we_are(
    kubernetes: Kubernetes, open_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    version = "client.authentication.k8s.io/v1"
    answer = {"apiVersion": version, "kind": "ExecCredential", "status": {"token": TOKEN}}
    (tmp_path / "answer").write_text(json.dumps(answer))
    found = json.loads(kubernetes.kubeconfig.read_text())
    plugin = {"apiVersion": version, "command": "cat", "args": [str(tmp_path / "answer")]}
    found["users"][0]["user"] = {"exec": plugin}
    path = tmp_path / "config"
    path.write_text(json.dumps(found))
    await open_cluster(kubeconfig=path, timeout="30s").get("/api/v1/namespaces")


async def test_the_wrong_authorities_are_said_in_words(
    kubernetes: Kubernetes, open_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    other = Certificate(tmp_path)
    cluster = open_cluster(kubeconfig=kubernetes.kubeconfig, ca_file=other.file, timeout="30s")
    with pytest.raises(NotSent, match=r"cannot be trusted.*certificate"):
        await cluster.get("/version")


async def test_another_address_and_its_authorities_can_be_named(
    kubernetes: Kubernetes, open_cluster: Callable[..., Cluster], tmp_path: Path
) -> None:
    found = json.loads(kubernetes.kubeconfig.read_text())
    found["clusters"][0]["cluster"] = {"server": "https://nowhere.invalid"}
    path = tmp_path / "config"
    path.write_text(json.dumps(found))
    right = {"url": kubernetes.url, "ca_file": kubernetes.certificate.file}
    await open_cluster(kubeconfig=path, timeout="30s", **right).get("/version")


@pytest.mark.parametrize("how", ["setting", "environment"])
async def test_a_proxy_is_gone_through(
    kubernetes: Kubernetes, open_cluster: Callable[..., Cluster], eventually: Eventually, how: str
) -> None:
    namespace = kubernetes.namespace()
    async with ConnectProxy() as proxy:
        settings = {"proxy": proxy.url} if how == "setting" else {}
        environment = {"https_proxy": proxy.url} if how == "environment" else {}
        cluster = open_cluster(
            partial(find_access, environment=environment),
            kubeconfig=kubernetes.kubeconfig,
            timeout="30s",
            **settings,
        )
        await make(cluster, namespace, "trips")
        async with Follower(cluster, namespace) as follower:
            await eventually(lambda: follower.versions() == {"trips": "v1"}, within=PATIENCE)
            await switch(cluster, namespace, "trips", "v2")
            await eventually(lambda: follower.versions() == {"trips": "v2"}, within=PATIENCE)
        await cluster.aclose()
    assert set(proxy.tunnels) == {f"127.0.0.1:{kubernetes.port}"}


async def test_a_proxy_that_refuses_means_that_nothing_was_sent(
    kubernetes: Kubernetes, open_cluster: Callable[..., Cluster]
) -> None:
    async with ConnectProxy(refuse=407) as proxy:
        url = proxy.url.replace("//", "//user:hidden@")
        found = json.loads(kubernetes.kubeconfig.read_text())
        found["clusters"][0]["cluster"]["proxy-url"] = url
        path = kubernetes.folder / "proxied.kubeconfig"
        path.write_text(json.dumps(found))
        cluster = open_cluster(kubeconfig=path, timeout="30s")
        with pytest.raises(NotSent, match="the proxy answers 407") as told:
            await switch(cluster, "prod", "trips", "v2")
        await cluster.aclose()
    assert isinstance(told.value, ClusterError)
    assert "hidden" not in f"{told.value!r} {told.value.__cause__!s}"
