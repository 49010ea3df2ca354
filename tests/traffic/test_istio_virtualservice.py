"""The VirtualService switch on an API in memory: what it shows, what it writes, what keeps it from both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.cluster.fake_api import Asked, Fault
from tests.cluster.routes import destination_rule, header, to, virtual_service
from tests.cluster.worlds import FakeWorld, service
from watchdog.cluster.marks import EPOCH, ROLLBACK, SWITCHED_AT
from watchdog.cluster.objects import PODS, SERVICES
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState, VariantState
from watchdog.traffic.istio_routes import VIRTUAL_SERVICES
from watchdog.traffic.istio_subsets import DESTINATION_RULES
from watchdog.traffic.istio_virtualservice import IstioVirtualServiceSettings, IstioVirtualServiceSwitch

Json = dict[str, Any]


@pytest.fixture
async def world() -> AsyncIterator[FakeWorld]:
    async with FakeWorld.open() as made:
        made.put(SERVICES, service("trips", {"app": "trips"}))
        made.put(DESTINATION_RULES, destination_rule())
        made.put(VIRTUAL_SERVICES, virtual_service({"route": [to("blue", 100), to("green", 0)]}))
        yield made


def switch(world: FakeWorld, host: str = "trips", **other: Any) -> IstioVirtualServiceSwitch:
    facts: Json = {"namespace": "prod", "virtualservice": "trips", "host": host, **other}
    return IstioVirtualServiceSwitch(
        IstioVirtualServiceSettings(**facts), name="trips", cluster=world.cluster
    )


def change(state: TrafficState, target: str = "green", away: str = "blue") -> Change:
    return Change(target=target, away=(away,), expect=state.revision, mark="rb-1", epoch=7)


def show(state: VariantState) -> tuple[int, str | None, int | None, int | None]:
    return state.weight, state.version, state.ready, state.total


async def test_subsets_are_shown_with_versions_and_capacity_of_their_pods(world: FakeWorld) -> None:
    state = await switch(world).read()
    assert {name: show(one) for name, one in state.variants.items()} == {
        "blue": (100, "v1", 1, 1),
        "green": (0, "v2", 1, 1),
    }
    assert [one.note for one in state.variants.values()] == ["", ""]


async def test_subsets_without_a_place_in_the_routes_are_variants_as_well(world: FakeWorld) -> None:
    world.put(VIRTUAL_SERVICES, virtual_service({"route": [to("blue")]}))
    before = await switch(world).read()
    assert show(before.variants["green"]) == (0, "v2", 1, 1)
    after = await switch(world).apply(change(before))
    assert after.live == ("green",)
    assert world.get(VIRTUAL_SERVICES, "trips")["spec"]["http"] == [{"route": [to("green")]}]


async def test_the_whole_host_is_a_variant_of_all_its_pods(world: FakeWorld) -> None:
    world.put(VIRTUAL_SERVICES, virtual_service({"route": [to(None)]}))
    state = await switch(world).read()
    assert state.live == ("trips.prod",)
    assert (state.variants["trips.prod"].ready, state.variants["trips.prod"].total) == (2, 2)


@pytest.mark.parametrize("host", ["trips", "trips.prod", "trips.prod.svc.cluster.local"])
async def test_a_host_is_found_however_either_side_writes_it(world: FakeWorld, host: str) -> None:
    long = "trips.prod.svc.cluster.local"
    world.put(VIRTUAL_SERVICES, virtual_service({"route": [to("blue", 100, long), to("green", 0)]}))
    world.put(DESTINATION_RULES, destination_rule(long))
    seen = switch(world, host)
    state = await seen.read()
    assert (state.live, state.variants["green"].ready) == (("blue",), 1)
    assert seen.identity == "kubernetes:prod:virtualservices:trips:trips.prod"


async def test_the_whole_object_is_as_it_was_but_for_what_was_switched(world: FakeWorld) -> None:
    routes = [
        {
            "name": "testers",
            "match": [header()],
            "route": [to("blue", headers={"response": {"set": {"x-to": "blue"}}})],
            "fault": {"delay": {"fixedDelay": "1s", "percentage": {"value": 0.1}}},
        },
        {
            "match": [{"uri": {"prefix": "/old"}}],
            "redirect": {"uri": "/new"},
        },
        {
            "name": "main",
            "route": [to("blue", 90), to("green", 5), to("v1", 5, host="hotels")],
            "timeout": "3s",
            "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx"},
            "mirror": {"host": "audit"},
            "corsPolicy": {"allowOrigins": [{"exact": "https://example.com"}]},
            "somethingNew": {"weight": 90, "subset": "blue"},
        },
    ]
    thing = virtual_service(*routes, gateways=["mesh", "public/gate"], exportTo=["."])
    thing["metadata"] |= {"labels": {"team": "booking"}, "annotations": {"a/b~c": "kept"}}
    world.put(VIRTUAL_SERVICES, thing)
    before = world.get(VIRTUAL_SERVICES, "trips")
    await switch(world).apply(change(await switch(world).read()))
    after = world.get(VIRTUAL_SERVICES, "trips")

    expected = before["spec"]
    expected["http"][0]["route"][0]["destination"]["subset"] = "green"
    expected["http"][2]["route"][0]["weight"] = 0
    expected["http"][2]["route"][1]["weight"] = 95
    assert after["spec"] == expected
    notes = after["metadata"].pop("annotations")
    assert notes.pop(SWITCHED_AT)
    assert notes == {"a/b~c": "kept", ROLLBACK: "rb-1", EPOCH: "7"}
    for metadata in (before["metadata"], after["metadata"]):
        for name in ("annotations", "resourceVersion", "generation"):
            metadata.pop(name, None)
    assert after["metadata"] == before["metadata"]


async def test_a_header_route_to_the_bad_version_is_told_and_closed_with_it(world: FakeWorld) -> None:
    routes = [{"match": [header()], "route": [to("blue")]}, {"route": [to("blue", 100), to("green", 0)]}]
    world.put(VIRTUAL_SERVICES, virtual_service(*routes))
    before = await switch(world).read()
    assert before.variants["blue"].note == "requests that match http route 0 go there as well"
    after = await switch(world).apply(change(before))
    assert after.variants["blue"].note == ""
    assert after.variants["green"].note == "requests that match http route 0 go there as well"


async def test_a_header_route_alone_keeps_no_version_live(world: FakeWorld) -> None:
    routes = [{"match": [header()], "route": [to("green")]}, {"route": [to("blue", 100), to("green", 0)]}]
    world.put(VIRTUAL_SERVICES, virtual_service(*routes))
    assert (await switch(world).read()).live == ("blue",)


# What cannot be known


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        (None, "readiness unknown: no DestinationRule of trips.prod has a subset green"),
        (
            {"blue": {"version": "blue"}},
            "readiness unknown: no DestinationRule of trips.prod has a subset green",
        ),
    ],
    ids=["no rule", "no subset"],
)
async def test_a_subset_that_nobody_defines_is_unknown(
    world: FakeWorld, labels: Json | None, told: str
) -> None:
    world.delete(DESTINATION_RULES, "trips")
    if labels is not None:
        world.put(DESTINATION_RULES, destination_rule(**labels))
    green = (await switch(world).read()).variants["green"]
    assert (green.ready, green.total, green.note) == (None, None, told)


async def test_subsets_that_are_defined_twice_and_not_alike_are_unknown(world: FakeWorld) -> None:
    other = destination_rule(green={"version": "viridian"}, blue={"version": "blue"})
    other["metadata"]["name"] = "other"
    world.put(DESTINATION_RULES, other)
    state = await switch(world).read()
    assert state.variants["blue"].ready == 1
    assert state.variants["green"].ready is None
    assert "contradict each other on the subset green" in state.variants["green"].note


async def test_destination_rules_beside_the_virtual_service_count_where_the_host_is_elsewhere(
    world: FakeWorld,
) -> None:
    route = {"route": [to("blue", 100, "trips.prod.svc"), to("green", 0, "trips.prod.svc")]}
    world.api.put(VIRTUAL_SERVICES, "edge", virtual_service(route))
    world.api.put(DESTINATION_RULES, "edge", destination_rule("trips.prod.svc", green={"version": "nothing"}))
    seen = switch(world, "trips.prod.svc.cluster.local", namespace="edge")
    state = await seen.read()
    assert show(state.variants["blue"]) == (100, "v1", 1, 1)
    assert (state.variants["green"].ready, state.variants["green"].total) == (0, 0)
    places = {(one.resource, one.namespace) for one in seen.rights if one.verb == "list"}
    assert places >= {("virtualservices", "edge"), ("destinationrules", "edge"), ("pods", "prod")}
    assert ("pods", "edge") not in places


@pytest.mark.parametrize("plural", ["destinationrules", "services", "pods", "endpointslices"])
async def test_what_may_not_be_read_is_unknown_and_not_none(world: FakeWorld, plural: str) -> None:
    world.api.fault = lambda asked: Fault.DENY if asked.plural == plural else None
    state = await switch(world).read()
    assert state.live == ("blue",)
    for one in state.variants.values():
        assert (one.ready, one.total) == (None, None)
        assert one.note.startswith("readiness unknown: ")
        assert plural in one.note


@pytest.mark.parametrize("plural", ["destinationrules", "services", "pods", "endpointslices"])
async def test_an_api_server_that_breaks_is_no_state_at_all(world: FakeWorld, plural: str) -> None:
    world.api.fault = lambda asked: Fault.BREAK if asked.plural == plural else None
    with pytest.raises(SwitchUnreachable, match="request timed out"):
        await switch(world).read()


async def test_destination_rules_that_are_not_installed_leave_readiness_unknown(world: FakeWorld) -> None:
    world.api.fault = lambda asked: Fault.UNSERVED if asked.plural == "destinationrules" else None
    note = (await switch(world).read()).variants["green"].note
    assert "serves no destinationrules of networking.istio.io/v1: is the kind installed?" in note


async def test_a_service_that_is_gone_has_nothing_ready(world: FakeWorld) -> None:
    world.delete(SERVICES, "trips")
    green = (await switch(world).read()).variants["green"]
    assert (green.ready, green.total, green.note) == (0, 0, "there is no Service prod/trips")


@pytest.mark.parametrize(
    ("selector", "spec", "told"),
    [
        (None, {}, "readiness unknown: the host's Service selects no pods"),
        (
            {"app": "trips"},
            {"type": "ExternalName", "externalName": "example.com"},
            "readiness unknown: Service prod/trips is the name of something outside",
        ),
    ],
    ids=["no selector", "external"],
)
async def test_a_service_without_pods_of_its_own_tells_nothing_of_subsets(
    world: FakeWorld, selector: Json | None, spec: Json, told: str
) -> None:
    world.put(SERVICES, service("trips", selector, **spec))
    assert (await switch(world).read()).variants["green"].note == told


async def test_a_host_outside_the_cluster_can_be_switched_but_its_readiness_is_unknown(
    world: FakeWorld,
) -> None:
    host = "api.example.com"
    world.put(VIRTUAL_SERVICES, virtual_service({"route": [to("blue", 100, host), to("green", 0, host)]}))
    state = await switch(world, host).read()
    assert state.live == ("blue",)
    assert state.variants["green"].note == "readiness unknown: api.example.com is no Service of Kubernetes"


# What cannot be read or written


async def test_a_virtual_service_without_the_host_is_told_in_words(world: FakeWorld) -> None:
    routes: list[Json] = [
        {"route": [to("v1", host="hotels")]},
        {"delegate": {"name": "inner", "namespace": "other"}},
    ]
    world.put(VIRTUAL_SERVICES, virtual_service(*routes))
    told = "VirtualService prod/trips: no route has a destination of host trips.prod; there are hotels; it delegates"
    with pytest.raises(SwitchUnreachable, match=told):
        await switch(world).read()


async def test_a_kind_that_is_not_installed_is_told_in_words(world: FakeWorld) -> None:
    world.api.fault = lambda asked: Fault.UNSERVED if asked.plural == "virtualservices" else None
    with pytest.raises(
        SwitchUnreachable, match=r"serves no virtualservices of networking\.istio\.io/v1: is the kind"
    ):
        await switch(world).read()


async def test_a_change_while_the_host_gets_nothing_is_rejected(world: FakeWorld) -> None:
    sorry = {"route": [to("blue", 0), to("green", 0), to(None, 100, "sorry")]}
    world.put(VIRTUAL_SERVICES, virtual_service(sorry))
    before = await switch(world).read()
    assert before.live == ()
    with pytest.raises(SwitchRejected, match=r"sends no requests to trips\.prod that could be moved"):
        await switch(world).apply(change(before))
    assert world.api.writes() == []


def meanwhile(world: FakeWorld, deed: Any) -> None:
    """Somebody does this right before our write arrives, once."""
    done: list[bool] = []

    def before(asked: Asked) -> None:
        if asked.write and not done:
            done.append(True)
            deed()

    world.api.before = before


async def test_a_weight_that_somebody_sets_between_our_read_and_our_write_stays(world: FakeWorld) -> None:
    before = await switch(world).read()
    his = virtual_service({"route": [to("blue", 50), to("green", 50)]})
    meanwhile(world, lambda: world.patch(VIRTUAL_SERVICES, "trips", {"spec": his["spec"]}))
    with pytest.raises(SwitchConflict):
        await switch(world).apply(change(before))
    assert world.get(VIRTUAL_SERVICES, "trips")["spec"] == his["spec"]


async def test_another_field_that_somebody_sets_between_our_read_and_our_write_is_kept(
    world: FakeWorld,
) -> None:
    before = await switch(world).read()
    his = {"route": [to("blue", 100), to("green", 0)], "timeout": "7s"}
    first = {"match": [{"uri": {"prefix": "/h"}}], "route": [to("v1", host="hotels")]}
    spec = virtual_service(first, his)["spec"]
    meanwhile(world, lambda: world.patch(VIRTUAL_SERVICES, "trips", {"spec": spec}))
    after = await switch(world).apply(change(before))
    assert after.live == ("green",)
    spec["http"][1]["route"] = [to("blue", 0), to("green", 100)]
    assert world.get(VIRTUAL_SERVICES, "trips")["spec"] == spec


async def test_a_service_is_no_other_because_pods_come_and_go(world: FakeWorld) -> None:
    before = await switch(world).read()
    world.delete(PODS, "green-1")
    after = await switch(world).read()
    assert (after.variants["green"].ready, after.variants["green"].total) == (0, 0)
    assert after.revision == before.revision


async def test_who_ignores_the_weights_of_every_route_of_the_host_undoes_nothing(world: FakeWorld) -> None:
    seen = switch(world)
    assert seen.fields() == ("/spec",)
    routes = [{"match": [header()], "route": [to("blue")]}, {"route": [to("blue", 100), to("green", 0)]}]
    world.put(VIRTUAL_SERVICES, virtual_service(*routes))
    await seen.read()
    assert seen.fields() == (
        "/spec/http/0/route/0/destination/subset",
        "/spec/http/1/route/0/weight",
        "/spec/http/1/route/1/weight",
    )
