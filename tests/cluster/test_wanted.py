"""What annotations ask for, and the file that becomes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.fake_api import FakeApi, Fault
from tests.eventually import Eventually
from watchdog.aio.clock import SystemClock
from watchdog.app.discovery import Discoverer
from watchdog.cluster.feeds import Feeds
from watchdog.cluster.objects import DEPLOYMENTS, SERVICES, Metadata
from watchdog.cluster.wanted import Defaults, service_of
from watchdog.config.loaded import Discovery

DEFAULTS = Defaults(rules=("errors", {"tag": "web"}), mode="observe", environment="staging")
WATCH = {"rollback-watchdog.io/watch": "true"}


def asking(name: str = "trips", **notes: str) -> Metadata:
    own = {f"rollback-watchdog.io/{key}": text for key, text in notes.items()}
    return Metadata(name=name, namespace="prod", annotations=WATCH | own)


def test_an_object_that_does_not_ask_is_left_alone() -> None:
    for text in ("", "false", "no"):
        metadata = Metadata(name="x", namespace="prod", annotations={"rollback-watchdog.io/watch": text})
        assert service_of(DEPLOYMENTS, metadata, DEFAULTS) is None
    assert service_of(DEPLOYMENTS, Metadata(name="x", namespace="prod"), DEFAULTS) is None


def test_what_an_object_does_not_say_has_the_defaults() -> None:
    assert service_of(DEPLOYMENTS, asking(), DEFAULTS) == {
        "name": "trips",
        "environment": "staging",
        "labels": {},
        "rules": ["errors", {"tag": "web"}],
        "mode": "observe",
        "traffic": {"kind": "kubernetes-deployment", "namespace": "prod", "deployment": "trips"},
    }


def test_an_object_may_say_everything() -> None:
    metadata = asking(service="booking", rules="slow, tag:jvm,", mode="enforce", selector="colour")
    found = service_of(SERVICES, metadata, DEFAULTS)
    assert found is not None
    assert (found["name"], found["mode"]) == ("booking", "enforce")
    assert found["rules"] == ["slow", {"tag": "jvm"}]
    assert found["traffic"] == {
        "kind": "kubernetes-service",
        "namespace": "prod",
        "service": "trips",
        "selector": "colour",
    }


@contextlib.asynccontextmanager
async def discovering(api: FakeApi, file: Path, told: list[int]) -> AsyncIterator[None]:
    clock = SystemClock()
    feeds = Feeds(api.cluster(), clock=clock)
    wanted = Discovery(namespaces=("prod",), kinds=("deployments", "services"), file=file, defaults=DEFAULTS)
    task = asyncio.create_task(Discoverer(wanted, feeds, clock=clock, found=lambda: told.append(1)).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await feeds.aclose()


def deployment(name: str, **notes: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": dict(asking(**notes).annotations)}, "spec": {}}


def names(file: Path) -> list[str]:
    return [one["name"] for one in yaml.safe_load(file.read_text())["services"]] if file.exists() else []


async def test_annotated_objects_come_and_go_in_the_file(tmp_path: Path, eventually: Eventually) -> None:
    file, told = tmp_path / "found.yaml", list[int]()
    async with FakeApi() as api:
        api.put(DEPLOYMENTS, "prod", deployment("trips"))
        api.put(DEPLOYMENTS, "prod", {"metadata": {"name": "silent"}, "spec": {}})
        async with discovering(api, file, told):
            await eventually(lambda: names(file) == ["trips"], within=15)
            api.put(SERVICES, "prod", deployment("stays", rules="!file /etc/passwd"))
            await eventually(lambda: names(file) == ["trips", "stays"], within=15)
            assert "'!file /etc/passwd'" in file.read_text(), "an annotation is text, whatever it looks like"
            api.delete(DEPLOYMENTS, "prod", "trips")
            await eventually(lambda: names(file) == ["stays"], within=15)
            await eventually(lambda: len(told) == 3, within=15)
            api.put(DEPLOYMENTS, "prod", {"metadata": {"name": "silent"}, "spec": {"replicas": 2}})


async def test_an_api_server_that_cannot_be_read_leaves_the_file_as_it_is(
    tmp_path: Path, eventually: Eventually
) -> None:
    file, told = tmp_path / "found.yaml", list[int]()
    file.write_text("services: [{name: kept}]\n")
    async with FakeApi() as api:
        api.fault = lambda asked: Fault.DENY if asked.plural == DEPLOYMENTS.plural else None
        async with discovering(api, file, told):
            await eventually(lambda: len([one for one in api.asked if one.plural == "services"]) >= 2)
            await eventually(lambda: any(one.plural == "deployments" for one in api.asked))
    assert names(file) == ["kept"]
    assert not told
