"""What a Service's selector, its pods, ReplicaSets and EndpointSlices come to, and what is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.cluster.fake_api import Asked
from tests.cluster.worlds import FakeWorld, pod
from watchdog.cluster.objects import ENDPOINT_SLICES, PODS, REPLICA_SETS, SERVICES, Metadata
from watchdog.core.errors import SwitchUnknown, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.kubernetes_service import KubernetesServiceSwitch, ServiceSettings

REVISION = "deployment.kubernetes.io/revision"


@pytest.fixture
async def world() -> AsyncIterator[FakeWorld]:
    async with FakeWorld.open() as made:
        yield made


def switch(world: FakeWorld, **settings: Any) -> KubernetesServiceSwitch:
    named = {"namespace": world.namespace, "service": "trips", "selector": "version", **settings}
    return KubernetesServiceSwitch(ServiceSettings(**named), name="trips", cluster=world.cluster)


async def read(world: FakeWorld, **settings: Any) -> TrafficState:
    return await switch(world, **settings).read()


def select(world: FakeWorld, **selector: str | None) -> None:
    world.patch(SERVICES, "trips", {"spec": {"selector": selector}})


def replica_set(name: str, labels: dict[str, str], *, owner: str, revision: int, replicas: int = 0) -> Any:
    """A ReplicaSet of a Deployment."""
    reference = {"kind": "Deployment", "name": owner, "uid": f"uid-{owner}", "controller": True}
    container = {"name": "app", "image": f"app:{labels.get('version', 'v0')}-{revision}"}
    return {
        "metadata": {
            "name": name,
            "labels": labels,
            "annotations": {REVISION: str(revision)},
            "ownerReferences": [reference],
        },
        "spec": {
            "replicas": replicas,
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


async def test_variants_are_the_values_among_the_pods_that_match_the_rest_of_the_selector(
    world: FakeWorld,
) -> None:
    world.put(PODS, pod("other-1", {"app": "other", "version": "red"}))
    world.put(PODS, pod("unlabelled", {"app": "trips"}))
    state = await read(world)
    assert set(state.variants) == {"blue", "green"}
    assert state.live == ("blue",)


async def test_versions_are_the_label_else_the_tag_of_the_image(world: FakeWorld) -> None:
    assert {name: one.version for name, one in (await read(world)).variants.items()} == {
        "blue": "v1",
        "green": "v2",
    }
    world.patch(PODS, "green-1", {"metadata": {"labels": {"app.kubernetes.io/version": "2.0.1"}}})
    assert (await read(world)).variants["green"].version == "2.0.1"


async def test_where_the_switched_label_is_the_version_label_its_value_is_the_version(
    world: FakeWorld,
) -> None:
    state = await read(world, version_label="version")
    assert state.variants["blue"].version == "blue"
    assert state.told("blue") is None, "a variant's own name tells nothing"


async def test_a_rolling_update_of_the_live_variant_is_another_version_from_its_first_ready_pod(
    world: FakeWorld,
) -> None:
    newer = pod("blue-2", {"app": "trips", "version": "blue"}, "app:v3")
    newer["metadata"]["creationTimestamp"] = "2100-01-01T00:00:00Z"
    world.put(PODS, newer)
    assert (await read(world)).variants["blue"].version == "v1"
    world.fate("blue-2", "ready")
    seen = (await read(world)).variants["blue"]
    assert (seen.version, seen.ready, seen.total) == ("v3", 2, 2)


async def test_pods_that_are_not_ready_or_on_their_way_out_are_no_capacity(world: FakeWorld) -> None:
    world.put(PODS, pod("green-2", {"app": "trips", "version": "green"}))
    world.fate("green-2", "CrashLoopBackOff")
    ended = pod("green-3", {"app": "trips", "version": "green"})
    world.put(PODS, {**ended, "status": {"phase": "Succeeded"}})
    leaving = pod("green-4", {"app": "trips", "version": "green"})
    leaving["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.put(PODS, leaving)
    world.fate("green-4", "ready")
    green = (await read(world)).variants["green"]
    assert (green.ready, green.total) == (1, 2)


async def test_of_the_live_variant_only_pods_that_are_endpoints_are_ready(world: FakeWorld) -> None:
    world.put(PODS, pod("blue-2", {"app": "trips", "version": "blue"}))
    world.lags = True
    world.fate("blue-2", "ready")
    blue = (await read(world)).variants["blue"]
    assert (blue.ready, blue.total) == (1, 2)
    assert "1 of 2 ready pods are no endpoints" in blue.note
    world.delete(ENDPOINT_SLICES, "trips-x")
    assert (await read(world)).variants["blue"].ready == 0


async def test_a_selector_that_matches_nothing_is_live_with_nothing_ready(world: FakeWorld) -> None:
    select(world, version="purple")
    state = await read(world)
    assert state.live == ("purple",)
    purple = state.variants["purple"]
    assert (purple.ready, purple.total, purple.version) == (0, 0, None)
    assert "no pod has the label version: purple" in purple.note
    assert state.variants["blue"].ready == 1, "and there is a way back"


async def test_a_standby_that_is_scaled_to_zero_is_still_a_variant(world: FakeWorld) -> None:
    world.delete(PODS, "green-1")
    labels = {"app": "trips", "version": "green"}
    world.put(REPLICA_SETS, replica_set("green-7f", labels, owner="green", revision=4))
    world.put(REPLICA_SETS, replica_set("green-old", labels, owner="green", revision=3))
    green = (await read(world)).variants["green"]
    assert (green.weight, green.ready, green.total) == (0, 0, 0)
    assert green.version == "green-4"
    assert "scaled to 0" in green.note


async def test_the_history_of_a_deployment_is_no_standby(world: FakeWorld) -> None:
    for revision, value in ((1, "ancient"), (2, "old"), (3, "blue")):
        labels = {"app": "trips", "version": value}
        world.put(REPLICA_SETS, replica_set(f"blue-{revision}", labels, owner="blue", revision=revision))
    assert set((await read(world)).variants) == {"blue", "green"}


async def test_a_deployment_whose_pods_cannot_be_made_is_a_variant_without_pods(world: FakeWorld) -> None:
    labels = {"app": "trips", "version": "red"}
    world.put(REPLICA_SETS, replica_set("red-1", labels, owner="red", revision=1, replicas=3))
    red = (await read(world)).variants["red"]
    assert (red.ready, red.note) == (0, "it has no pods")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"selector": {"version": None}}, "has no key 'version' (it has: app)"),
        ({"selector": None}, "has no selector"),
        ({"type": "ExternalName", "externalName": "trips.example.com"}, "ExternalName"),
    ],
)
async def test_a_service_that_cannot_be_switched_says_why(
    world: FakeWorld, spec: dict[str, Any], words: str
) -> None:
    world.patch(SERVICES, "trips", {"spec": spec})
    with pytest.raises(SwitchUnreachable) as caught:
        await read(world)
    assert words in str(caught.value)
    assert "prod/trips" in str(caught.value)


async def test_nothing_but_one_value_of_the_selector_is_written(world: FakeWorld) -> None:
    before = world.get(SERVICES, "trips")
    tested = switch(world)
    state = await tested.read()
    await tested.apply(Change(target="green", away=("blue",), expect=state.revision, mark="rb-1", epoch=1))
    after = world.get(SERVICES, "trips")
    assert after["spec"].pop("selector") == {"app": "trips", "version": "green"}
    before["spec"].pop("selector")
    assert after["spec"] == before["spec"]
    (sent,) = [asked.body for asked in world.api.writes()]
    assert sent["spec"] == {"selector": {"version": "green"}}
    assert tested.fields() == ("/spec/selector/version",)


async def test_a_service_that_cannot_be_read_any_more_right_after_the_write_leaves_it_unknown(
    world: FakeWorld,
) -> None:
    tested = switch(world)
    state = await tested.read()
    written: list[bool] = []

    def before(asked: Asked) -> None:
        if asked.method == "PATCH":
            written.append(True)
        elif written and asked.plural == "services":
            world.api.before = lambda _: None
            select(world, version=None)

    world.api.before = before
    change = Change(target="green", away=("blue",), expect=state.revision, mark="rb-1", epoch=1)
    with pytest.raises(SwitchUnknown, match="written"):
        await tested.apply(change)


async def test_a_label_with_a_prefix_can_be_switched(world: FakeWorld) -> None:
    key = "deploy.example.com/slot"
    for name in ("blue", "green"):
        world.patch(PODS, f"{name}-1", {"metadata": {"labels": {key: name}}})
    select(world, version=None, **{key: "blue"})
    tested = switch(world, selector=key)
    state = await tested.read()
    assert (set(state.variants), state.live) == ({"blue", "green"}, ("blue",))
    change = Change(target="green", away=("blue",), expect=state.revision, mark="rb-1", epoch=1)
    assert (await tested.apply(change)).live == ("green",)
    assert tested.fields() == ("/spec/selector/deploy.example.com~1slot",)


async def test_addresses_are_those_of_ready_pods_at_the_target_port(world: FakeWorld) -> None:
    state = await read(world)
    (address,) = state.variants["green"].addresses
    assert address == f"{world.get(PODS, 'green-1')['status']['podIP']}:8080"
    world.lags = True
    world.delete(ENDPOINT_SLICES, "trips-x")
    assert (await read(world)).variants["blue"].addresses == ()


async def test_another_key_of_the_selector_is_another_revision_and_a_port_is_not(world: FakeWorld) -> None:
    before = await read(world)
    world.patch(SERVICES, "trips", {"spec": {"ports": [{"name": "http", "port": 81, "targetPort": 8080}]}})
    assert (await read(world)).revision == before.revision
    select(world, tier="web")
    assert (await read(world)).revision != before.revision


async def test_only_what_concerns_the_service_wakes_it(world: FakeWorld) -> None:
    tested = switch(world)
    await tested.read()
    own = PODS.shape(metadata=_metadata("green-1", app="trips", version="green"))
    other = PODS.shape(metadata=_metadata("cart-1", app="cart", version="green"))
    slices = ENDPOINT_SLICES.shape(metadata=_metadata("x", **{"kubernetes.io/service-name": "trips"}))
    others = ENDPOINT_SLICES.shape(metadata=_metadata("y", **{"kubernetes.io/service-name": "cart"}))
    assert [tested.concerns(one) for one in (own, other, slices, others)] == [True, False, True, False]


def _metadata(name: str, **labels: str) -> Metadata:
    return Metadata(name=name, labels=labels)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"service": "Trips"}, "service"),
        ({"service": "a/b"}, "service"),
        ({"namespace": "../kube-system"}, "namespace"),
        ({"selector": ""}, "selector"),
        ({"selector": "a b"}, "selector"),
        ({"selektor": "version"}, "selektor"),
    ],
)
def test_names_that_kubernetes_would_not_take_are_refused_at_once(wrong: dict[str, Any], where: str) -> None:
    named: dict[str, Any] = {"namespace": "prod", "service": "trips", "selector": "version", **wrong}
    with pytest.raises(ValidationError) as caught:
        ServiceSettings(**named)
    assert where in str(caught.value)
