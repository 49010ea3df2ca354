"""Which backend of an Ingress is meant, what Services come to as variants, and what is written."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import ValidationError

from tests.cluster.worlds import FakeWorld, ingress, path, service
from watchdog.cluster.objects import ENDPOINT_SLICES, PODS, SERVICES, Metadata
from watchdog.core.errors import SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.kubernetes_ingress import IngressSettings, KubernetesIngressSwitch
from watchdog.traffic.kubernetes_ingress_paths import INGRESSES

NAMED = {"blue": "trips-blue", "green": "trips-green"}


@pytest.fixture
async def world() -> AsyncIterator[FakeWorld]:
    async with FakeWorld.open() as made:
        # It has a selector of its own and would be a third variant where none are named.
        made.delete(SERVICES, "trips")
        yield made


def switch(world: FakeWorld, **settings: Any) -> KubernetesIngressSwitch:
    named: dict[str, Any] = {"namespace": world.namespace, "ingress": "trips", "variants": NAMED, **settings}
    return KubernetesIngressSwitch(IngressSettings(**named), name="trips", cluster=world.cluster)


async def read(world: FakeWorld, **settings: Any) -> TrafficState:
    return await switch(world, **settings).read()


async def to_green(world: FakeWorld, target: str = "green", away: str = "blue", **settings: Any) -> Any:
    """Switch; answers the Ingress afterwards."""
    tested = switch(world, **settings)
    state = await tested.read()
    await tested.apply(Change(target=target, away=(away,), expect=state.revision, mark="rb-1", epoch=1))
    return world.get(INGRESSES, "trips")


def several(world: FakeWorld) -> None:
    """An Ingress with two hosts and more than one path each."""
    paths = [path("/", "trips-blue"), path("/admin", "admin"), path("/", "admin", kind="Exact")]
    body = ingress("trips", *paths, annotations={"nginx.ingress.kubernetes.io/rewrite-target": "/"})
    other = {"host": "other.example.com", "http": {"paths": [path("/", "trips-blue")]}}
    body["spec"]["rules"].append(other)
    body["spec"]["tls"] = [{"hosts": ["trips.example.com"], "secretName": "trips-tls"}]
    body["spec"]["ingressClassName"] = "nginx"
    world.put(INGRESSES, body)


async def test_versions_and_capacity_are_those_of_the_services_pods(world: FakeWorld) -> None:
    state = await read(world)
    assert state.live == ("blue",)
    told = {name: (one.version, one.ready, one.total) for name, one in state.variants.items()}
    assert told == {"blue": ("v1", 1, 1), "green": ("v2", 1, 1)}


async def test_only_pods_that_are_endpoints_of_their_service_are_ready(world: FakeWorld) -> None:
    world.delete(ENDPOINT_SLICES, "trips-green-x")
    green = (await read(world)).variants["green"]
    assert (green.ready, green.total) == (0, 1)
    assert "no endpoints" in green.note


async def test_a_service_with_endpoints_written_by_hand_counts_these(world: FakeWorld) -> None:
    world.put(SERVICES, service("trips-green", None))
    endpoints = [
        {"addresses": ["192.0.2.1"], "conditions": {"ready": True}},
        {"addresses": ["192.0.2.2"], "conditions": {"ready": False}},
        {"addresses": ["192.0.2.3"], "conditions": {}},
    ]
    labels = {"kubernetes.io/service-name": "trips-green"}
    world.put(
        ENDPOINT_SLICES, {"metadata": {"name": "trips-green-x", "labels": labels}, "endpoints": endpoints}
    )
    green = (await read(world)).variants["green"]
    assert (green.ready, green.total, green.version) == (2, 3, None)


async def test_only_the_name_of_one_backend_is_written(world: FakeWorld) -> None:
    several(world)
    before = world.get(INGRESSES, "trips")
    after = await to_green(world, host="trips.example.com", path="/", path_type="Prefix")
    place = before["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
    assert place == {"name": "trips-blue", "port": {"number": 80}}
    place["name"] = "trips-green"
    assert after["spec"] == before["spec"]
    added = after["metadata"]["annotations"].items() - before["metadata"]["annotations"].items()
    assert {name for name, _ in added} == {
        "rollback-watchdog.io/rollback",
        "rollback-watchdog.io/epoch",
        "rollback-watchdog.io/switched-at",
    }


async def test_the_write_names_what_it_was_decided_on(world: FakeWorld) -> None:
    several(world)
    await to_green(world, host="trips.example.com", path="/", path_type="Prefix")
    (sent,) = [asked.body for asked in world.api.writes()]
    tested = {one["path"]: one["value"] for one in sent if one["op"] == "test"}
    place = "/spec/rules/0/http/paths/0"
    assert tested.items() >= {
        ("/spec/rules/0/host", "trips.example.com"),
        (f"{place}/path", "/"),
        (f"{place}/pathType", "Prefix"),
        (f"{place}/backend/service/name", "trips-blue"),
    }


async def test_rules_that_changed_places_since_the_read_are_not_mixed_up(world: FakeWorld) -> None:
    several(world)
    rules = world.get(INGRESSES, "trips")["spec"]["rules"]
    done: list[bool] = []

    def before(asked: Any) -> None:
        if asked.method == "PATCH" and not done:
            done.append(True)
            world.patch(INGRESSES, "trips", {"spec": {"rules": rules[::-1]}})

    world.api.before = before
    after = await to_green(world, host="trips.example.com", path="/", path_type="Prefix")
    first, second = after["spec"]["rules"]
    assert first["http"]["paths"][0]["backend"]["service"]["name"] == "trips-blue"
    assert second["http"]["paths"][0]["backend"]["service"]["name"] == "trips-green"


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ({}, "more than one backend"),
        ({"host": "trips.example.com"}, "host trips.example.com fits 3 of its backends"),
        ({"path": "/"}, "path / fits 3 of its backends"),
        ({"host": "trips.example.com", "path": "/"}, "fits 2 of its backends"),
        ({"host": "nobody.example.com"}, "nothing for host nobody.example.com"),
        ({"path": "/adm"}, "nothing for path /adm"),
        ({"host": "other.example.com", "path": "/", "path_type": "Exact"}, "nothing for"),
        ({"default_backend": True}, "nothing for the default backend"),
    ],
)
async def test_what_fits_more_or_less_than_one_path_is_told_with_what_there_is(
    world: FakeWorld, chosen: dict[str, Any], words: str
) -> None:
    several(world)
    with pytest.raises(SwitchUnreachable) as caught:
        await read(world, **chosen)
    assert words in str(caught.value)
    assert "host trips.example.com path /admin (Prefix) to Service admin port 80" in str(caught.value)


@pytest.mark.parametrize(
    "chosen",
    [
        {"host": "other.example.com"},
        {"host": "trips.example.com", "path": "/", "path_type": "Prefix"},
    ],
)
async def test_what_fits_one_path_is_that_path(world: FakeWorld, chosen: dict[str, Any]) -> None:
    several(world)
    assert (await read(world, **chosen)).live == ("blue",)


async def test_a_rule_without_a_host_is_chosen_by_an_empty_one(world: FakeWorld) -> None:
    several(world)
    rules = world.get(INGRESSES, "trips")["spec"]["rules"]
    rules.append({"http": {"paths": [path("/", "trips-green")]}})
    world.patch(INGRESSES, "trips", {"spec": {"rules": rules}})
    assert (await read(world, host="")).live == ("green",)


async def test_the_default_backend_can_be_switched(world: FakeWorld) -> None:
    backend = {"service": {"name": "trips-blue", "port": {"number": 80}}}
    world.put(INGRESSES, {"metadata": {"name": "trips"}, "spec": {"defaultBackend": backend}})
    after = await to_green(world)
    assert after["spec"]["defaultBackend"]["service"]["name"] == "trips-green"


async def test_the_default_backend_beside_paths_is_chosen_by_name(world: FakeWorld) -> None:
    backend = {"service": {"name": "trips-green", "port": {"number": 80}}}
    world.patch(INGRESSES, "trips", {"spec": {"defaultBackend": backend}})
    with pytest.raises(SwitchUnreachable, match="more than one backend"):
        await read(world)
    assert (await read(world, default_backend=True)).live == ("green",)
    assert (await read(world, path="/")).live == ("blue",)
    assert switch(world, default_backend=True).identity != switch(world, path="/").identity


async def test_a_backend_that_is_no_service_is_told(world: FakeWorld) -> None:
    resource = {"apiGroup": "example.com", "kind": "Bucket", "name": "pages"}
    one = {"path": "/", "pathType": "Prefix", "backend": {"resource": resource}}
    world.put(INGRESSES, ingress("trips", one))
    with pytest.raises(SwitchUnreachable, match="leads to no Service"):
        await read(world)


async def test_an_ingress_without_any_backend_is_told(world: FakeWorld) -> None:
    world.put(INGRESSES, {"metadata": {"name": "trips"}, "spec": {"rules": [{"host": "a.example.com"}]}})
    with pytest.raises(SwitchUnreachable, match="no backend at all"):
        await read(world)


async def test_without_names_variants_are_the_services_like_the_one_that_takes_traffic(
    world: FakeWorld,
) -> None:
    world.put(SERVICES, service("trips-metrics", {"app": "trips"}, port=9100))
    unlike = service("cart", {"app": "cart"})
    unlike["metadata"]["labels"] = {"app": "cart"}
    world.put(SERVICES, unlike)
    state = await read(world, variants=None)
    assert set(state.variants) == {"trips-blue", "trips-green"}
    assert state.live == ("trips-blue",)
    after = await to_green(world, "trips-green", "trips-blue", variants=None)
    assert after["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "trips-green"


async def test_the_name_of_an_application_comes_before_what_it_is_part_of(world: FakeWorld) -> None:
    for name, app in (("trips-blue", "trips"), ("trips-green", "trips"), ("cart", "cart")):
        body = service(name, {"app": app})
        labels = {"app.kubernetes.io/name": app, "app.kubernetes.io/part-of": "booking"}
        body["metadata"]["labels"] = labels
        world.put(SERVICES, body)
    assert set((await read(world, variants=None)).variants) == {"trips-blue", "trips-green"}


async def test_a_service_without_such_labels_stands_alone(world: FakeWorld) -> None:
    body = service("trips-blue", {"app": "trips", "version": "blue"})
    body["metadata"]["labels"] = {}
    world.put(SERVICES, body)
    assert set((await read(world, variants=None)).variants) == {"trips-blue"}


async def test_a_backend_without_a_service_is_live_with_nothing_ready(world: FakeWorld) -> None:
    world.delete(SERVICES, "trips-blue")
    for settings in ({}, {"variants": None}):
        state = await read(world, **settings)
        assert state.live in {("blue",), ("trips-blue",)}
        live = state.variants[state.live[0]]
        assert (live.ready, live.total) == (0, 0)
        assert "there is no Service trips-blue" in live.note


async def test_a_service_that_is_no_configured_variant_is_seen_when_it_takes_traffic(
    world: FakeWorld,
) -> None:
    world.put(SERVICES, service("trips-hotfix", {"app": "trips", "version": "green"}))
    world.put(INGRESSES, ingress("trips", path("/", "trips-hotfix")))
    state = await read(world)
    assert state.live == ("trips-hotfix",)
    assert set(state.variants) == {"blue", "green", "trips-hotfix"}
    after = await to_green(world, "blue", "trips-hotfix")
    assert after["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"] == "trips-blue"


async def test_a_service_that_bears_another_variants_name_is_told(world: FakeWorld) -> None:
    world.put(INGRESSES, ingress("trips", path("/", "green")))
    with pytest.raises(SwitchUnreachable, match="'green' is a variant's name"):
        await read(world)


async def test_a_target_without_the_port_is_refused_in_words(world: FakeWorld) -> None:
    world.put(SERVICES, service("trips-green", {"app": "trips", "version": "green"}, port=81))
    green = (await read(world)).variants["green"]
    assert (green.ready, green.note) == (None, "Service trips-green has no port 80")
    with pytest.raises(SwitchRejected, match="Service trips-green has no port 80"):
        await to_green(world)
    assert world.api.writes() == []


@pytest.mark.parametrize("port", ["http", 80])
async def test_a_port_is_kept_by_name_as_by_number(world: FakeWorld, port: Any) -> None:
    world.put(INGRESSES, ingress("trips", path("/", "trips-blue", port=port)))
    after = await to_green(world)
    kept = {"name": port} if isinstance(port, str) else {"number": port}
    assert after["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"] == {
        "name": "trips-green",
        "port": kept,
    }


async def test_a_target_outside_of_the_cluster_is_refused_because_nobody_knows_it(world: FakeWorld) -> None:
    outside = service("trips-green", None, type="ExternalName", externalName="trips.example.com")
    world.put(SERVICES, outside)
    assert (await read(world)).variants["green"].ready is None
    with pytest.raises(SwitchRejected, match="outside"):
        await to_green(world)


async def test_a_canary_beside_it_is_told_of(world: FakeWorld) -> None:
    canary = {"nginx.ingress.kubernetes.io/canary": "true"}
    world.put(INGRESSES, ingress("trips-canary", path("/", "trips-green"), annotations=canary))
    elsewhere = ingress("cart-canary", path("/", "cart"), host="cart.example.com", annotations=canary)
    world.put(INGRESSES, elsewhere)
    state = await read(world)
    note = "Ingress trips-canary takes a share of the same host's traffic (canary)"
    assert state.variants["blue"].note == note
    assert state.variants["green"].note == ""


async def test_another_path_is_no_other_revision_and_another_service_is(world: FakeWorld) -> None:
    before = await read(world, path="/")
    paths = [path("/", "trips-blue"), path("/admin", "admin")]
    world.patch(INGRESSES, "trips", {"spec": ingress("trips", *paths)["spec"]})
    assert (await read(world, path="/")).revision == before.revision
    paths[0] = path("/", "trips-green")
    world.patch(INGRESSES, "trips", {"spec": ingress("trips", *paths)["spec"]})
    assert (await read(world, path="/")).revision != before.revision


async def test_only_what_concerns_its_services_wakes_it(world: FakeWorld) -> None:
    tested = switch(world)
    stranger = PODS.shape(metadata=Metadata(name="cart-1", labels={"app": "cart"}))
    assert tested.concerns(stranger), "before the first read nobody knows"
    await tested.read()
    own = PODS.shape(metadata=Metadata(name="g", labels={"app": "trips", "version": "green"}))
    key = "kubernetes.io/service-name"
    slices = ENDPOINT_SLICES.shape(metadata=Metadata(name="x", labels={key: "trips-green"}))
    others = ENDPOINT_SLICES.shape(metadata=Metadata(name="y", labels={key: "cart"}))
    any_service = SERVICES.shape(metadata=Metadata(name="cart"))
    asked = [tested.concerns(one) for one in (own, stranger, slices, others, any_service)]
    assert asked == [True, False, True, False, True]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"variants": {}}, "variants"),
        ({"variants": {"blue": "trips", "green": "trips"}}, "more than one variant is the Service 'trips'"),
        ({"default_backend": True, "path": "/"}, "the default backend has neither host nor path"),
        ({"path_type": "prefix"}, "path_type"),
        ({"variants": {"blue": "trips/blue"}}, "variants"),
        ({"ingress": ""}, "ingress"),
    ],
)
def test_settings_that_make_no_sense_are_refused_at_once(wrong: dict[str, Any], words: str) -> None:
    named: dict[str, Any] = {"namespace": "prod", "ingress": "trips", **wrong}
    with pytest.raises(ValidationError) as caught:
        IngressSettings(**named)
    assert words in str(caught.value)
