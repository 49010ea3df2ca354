"""Switches that are told of changes, in a running daemon: nobody polls, and what happens is known nevertheless."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from tests.app.conftest import Home
from tests.app.test_reload import Live
from tests.cluster.fake_api import FakeApi
from tests.eventually import Eventually
from watchdog.cluster.objects import PODS, SERVICES

PATIENCE = 30.0


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as made:
        for name in ("trips", "hotels"):
            selector = {"app": name, "version": "v1"}
            made.put(SERVICES, "prod", {"metadata": {"name": name}, "spec": {"selector": selector}})
            for version in ("v1", "v2"):
                labels = {"app": name, "version": version, "app.kubernetes.io/version": version}
                ready = {"conditions": [{"type": "Ready", "status": "True"}]}
                pod = {"name": f"{name}-{version}", "labels": labels}
                made.put(PODS, "prod", {"metadata": pod, "spec": {"containers": []}, "status": ready})
        yield made


@pytest.fixture
async def start(home: Home, api: FakeApi) -> AsyncIterator[Callable[[], Awaitable[Live]]]:
    """A daemon that polls nothing after its first look."""
    user = {"name": "me", "user": {"token": "t"}}
    context = {"name": "it", "context": {"cluster": "it", "user": "me"}}
    kubeconfig = {
        "clusters": [{"name": "it", "cluster": {"server": api.url}}],
        "users": [user],
        "contexts": [context],
        "current-context": "it",
    }
    (home.folder / "kubeconfig").write_text(json.dumps(kubeconfig))
    home.settings["kubernetes"] = {"kubeconfig": "kubeconfig", "timeout": "20s"}
    home.settings["intervals"] = {"critical": "6h", "recheck": "6h"}
    home.settings["services"] = [entry("trips")]
    lives: list[Live] = []

    async def make() -> Live:
        lives.append(Live(home))
        await lives[-1].start()
        return lives[-1]

    yield make
    for live in lives:
        await live.daemon.stop()


def entry(name: str, **more: Any) -> dict[str, Any]:
    traffic = {"kind": "kubernetes-service", "namespace": "prod", "service": name, "selector": "version"}
    return {"name": name, "rules": ["error-rate"], "traffic": {**traffic, "timeout": "20s", **more}}


def live_version(live: Live, name: str) -> str:
    """The version that takes traffic, as far as the watchdog knows."""
    service = live.view.services.get(name)
    state = None if service is None else service.traffic
    if state is None:
        return ""
    return "".join(one.version or "" for one in state.variants.values() if one.live)


def goes_to(live: Live, name: str, version: str) -> bool:
    return live_version(live, name) == version


def watches(api: FakeApi, plural: str) -> int:
    return sum(asked.plural == plural and "watch" in asked.query for asked in api.asked)


async def test_a_persons_patch_is_noticed_without_a_poll(
    start: Callable[[], Awaitable[Live]], api: FakeApi, eventually: Eventually
) -> None:
    live = await start()
    await eventually(lambda: live_version(live, "trips") == "v1", within=PATIENCE)
    await eventually(lambda: watches(api, "services") and watches(api, "pods"), within=PATIENCE)
    for version in ("v2", "v1", "v2"):
        api.patch(SERVICES, "prod", "trips", {"spec": {"selector": {"version": version}}})
        await eventually(partial(goes_to, live, "trips", version), within=PATIENCE)


async def test_capacity_that_goes_away_is_noticed_without_a_poll(
    start: Callable[[], Awaitable[Live]], api: FakeApi, eventually: Eventually
) -> None:
    live = await start()
    await eventually(lambda: live_version(live, "trips") == "v1", within=PATIENCE)
    await eventually(lambda: watches(api, "pods"), within=PATIENCE)
    gone = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    api.patch(PODS, "prod", "trips-v2", gone)

    def ready() -> int | None:
        state = live.view.services["trips"].traffic
        return (
            None if state is None else {one.version: one.ready for one in state.variants.values()}.get("v2")
        )

    await eventually(lambda: ready() == 0, within=PATIENCE)


async def test_a_pod_that_is_taken_away_by_its_labels_is_noticed_without_a_poll(
    start: Callable[[], Awaitable[Live]], api: FakeApi, eventually: Eventually
) -> None:
    live = await start()
    await eventually(lambda: live_version(live, "trips") == "v1", within=PATIENCE)
    await eventually(lambda: watches(api, "pods"), within=PATIENCE)
    api.patch(PODS, "prod", "trips-v2", {"metadata": {"labels": {"app": "elsewhere"}}})

    def versions() -> set[str | None]:
        state = live.view.services["trips"].traffic
        return set() if state is None else {one.version for one in state.variants.values()}

    await eventually(lambda: versions() == {"v1"}, within=PATIENCE)


async def test_services_of_one_namespace_share_their_watches_through_a_reload(
    start: Callable[[], Awaitable[Live]], api: FakeApi, home: Home, eventually: Eventually
) -> None:
    live = await start()
    await eventually(lambda: live_version(live, "trips") == "v1", within=PATIENCE)
    await eventually(lambda: watches(api, "services"), within=PATIENCE)
    home.settings["services"] = [entry("trips"), entry("hotels")]
    live.write()
    await live.reload(eventually)
    await eventually(lambda: live_version(live, "hotels") == "v1", within=PATIENCE)
    assert watches(api, "services") == 1
    for name in ("hotels", "trips"):
        api.patch(SERVICES, "prod", name, {"spec": {"selector": {"version": "v2"}}})
        await eventually(partial(goes_to, live, name, "v2"), within=PATIENCE)
    home.settings["services"] = [entry("trips", timeout="19s")]
    live.write()
    await live.reload(eventually)
    api.patch(SERVICES, "prod", "trips", {"spec": {"selector": {"version": "v1"}}})
    await eventually(lambda: live_version(live, "trips") == "v1", within=PATIENCE)


async def test_another_cluster_needs_a_restart(
    start: Callable[[], Awaitable[Live]], home: Home, eventually: Eventually
) -> None:
    live = await start()
    home.settings["kubernetes"] = {"kubeconfig": "kubeconfig", "timeout": "7s"}
    live.write()
    await live.reload(eventually)
    (told,) = live.told("config_needs_restart")
    assert told.startswith("a change of kubernetes needs a restart")
