"""The API in memory keeps what is relied on, as the real one does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from tests.cluster.fake_api import FakeApi, Fault
from tests.eventually import eventually
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import NotSent, Refused, Unanswered
from watchdog.cluster.objects import PODS, SERVICES

NAME = "trips"
PATH = SERVICES.path("prod", NAME)


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with FakeApi() as made:
        body = {"metadata": {"name": NAME}, "spec": {"selector": {"app": "trips", "version": "v1"}}}
        made.put(SERVICES, "prod", body)
        yield made


async def the_service(cluster: Cluster) -> Any:
    return msgspec.json.decode(await cluster.get(PATH))


async def test_a_stale_resource_version_is_a_conflict_in_both_kinds_of_patch(api: FakeApi) -> None:
    cluster = api.cluster()
    version = (await the_service(cluster))["metadata"]["resourceVersion"]
    api.patch(SERVICES, "prod", NAME, {"metadata": {"labels": {"touched": "yes"}}})
    for body in (
        {"metadata": {"resourceVersion": version}, "spec": {"selector": {"version": "v2"}}},
        [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "replace", "path": "/spec/selector/version", "value": "v2"},
        ],
    ):
        with pytest.raises(Refused) as refused:
            await cluster.patch(PATH, body)
        assert refused.value.conflict
    assert (await the_service(cluster))["spec"]["selector"]["version"] == "v1"


async def test_a_failed_test_of_a_json_patch_changes_nothing(api: FakeApi) -> None:
    cluster = api.cluster()
    body = [
        {"op": "replace", "path": "/spec/selector/app", "value": "other"},
        {"op": "test", "path": "/spec/selector/version", "value": "v7"},
    ]
    with pytest.raises(Refused) as refused:
        await cluster.patch(PATH, body)
    assert (refused.value.status, refused.value.reason) == (422, "Invalid")
    assert api.changes(SERVICES, "prod", NAME) == 0


async def test_what_changes_nothing_is_no_change(api: FakeApi) -> None:
    await api.cluster().patch(PATH, {"spec": {"selector": {"version": "v1"}}})
    assert api.changes(SERVICES, "prod", NAME) == 0


@pytest.mark.parametrize(
    ("fault", "kind", "done"),
    [
        (Fault.BUSY, NotSent, False),
        (Fault.DENY, Refused, False),
        (Fault.BREAK, Refused, False),
        (Fault.LIE, Refused, True),
        (Fault.LOSE, Unanswered, True),
        (Fault.CUT, Unanswered, False),
        (Fault.HANG, Unanswered, False),
    ],
)
async def test_what_goes_wrong_is_told_as_what_it_is(
    api: FakeApi, fault: Fault, kind: type[Exception], done: bool
) -> None:
    cluster = api.cluster(timeout="500ms")
    api.fault = lambda _: fault
    with pytest.raises(kind):
        await cluster.patch(PATH, {"spec": {"selector": {"version": "v2"}}})
    assert api.changes(SERVICES, "prod", NAME) == int(done)


async def test_lists_are_chosen_by_labels_and_watches_go_on_from_there(api: FakeApi) -> None:
    cluster = api.cluster()
    for name, app in (("one", "trips"), ("two", "other")):
        api.put(PODS, "prod", {"metadata": {"name": name, "labels": {"app": app}}})
    query = {"labelSelector": "app=trips"}
    listed = msgspec.json.decode(await cluster.get(PODS.path("prod"), query=query))
    assert [pod["metadata"]["name"] for pod in listed["items"]] == ["one"]

    since = {"resourceVersion": listed["metadata"]["resourceVersion"], **query}
    api.patch(PODS, "prod", "two", {"metadata": {"labels": {"seen": "no"}}})
    api.patch(PODS, "prod", "one", {"metadata": {"labels": {"seen": "yes"}}})
    api.delete(PODS, "prod", "one")
    lines = cluster.watch(PODS.path("prod"), query=since, silent_for=timedelta(seconds=20))
    async with contextlib.aclosing(lines):
        events = [msgspec.json.decode(await anext(lines)) for _ in range(2)]
    assert [(one["type"], one["object"]["metadata"]["name"]) for one in events] == [
        ("MODIFIED", "one"),
        ("DELETED", "one"),
    ]


async def test_a_watch_from_before_a_compaction_is_gone(api: FakeApi) -> None:
    api.forget()
    lines = api.cluster().watch(
        PODS.path("prod"), query={"resourceVersion": "1"}, silent_for=timedelta(seconds=20)
    )
    with pytest.raises(Refused) as refused:
        await anext(lines)
    assert refused.value.gone


async def test_it_can_be_restarted_with_everything_that_was_there(api: FakeApi) -> None:
    cluster = api.cluster(timeout="1s")
    await the_service(cluster)
    await api.stop()
    with pytest.raises(NotSent):
        await cluster.get(PATH)
    await api.start()

    async def there() -> bool:
        return bool((await the_service(cluster))["metadata"]["name"] == NAME)

    assert await eventually(there)
