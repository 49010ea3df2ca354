"""The switches of routes on a real API server: what only that one can say of rights, kinds and unknown fields."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, ClassVar

import pytest
from msgspec.structs import replace

from tests.cluster.routes import destination_rule, header, httproute, ref, to, virtual_service
from tests.cluster.worlds import RealWorld, service
from tests.servers.definitions import taught
from tests.servers.kubernetes import Kubernetes
from watchdog.cluster.client import Cluster
from watchdog.cluster.marks import ROLLBACK
from watchdog.cluster.objects import SERVICES, Kind
from watchdog.cluster.rights import roles
from watchdog.cluster.settings import ClusterSettings
from watchdog.core.errors import SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.gateway_httproute import HTTP_ROUTES, GatewayHTTPRouteSettings, GatewayHTTPRouteSwitch
from watchdog.traffic.istio_routes import VIRTUAL_SERVICES
from watchdog.traffic.istio_subsets import DESTINATION_RULES
from watchdog.traffic.istio_virtualservice import IstioVirtualServiceSettings, IstioVirtualServiceSwitch
from watchdog.traffic.kubernetes_object import ObjectSwitch

pytestmark = [pytest.mark.kubernetes, pytest.mark.timeout(180)]

Json = dict[str, Any]
BLUE, GREEN = "trips-blue", "trips-green"


@pytest.fixture
async def world(kubernetes: Kubernetes) -> AsyncIterator[RealWorld]:
    await taught(kubernetes, HTTP_ROUTES, VIRTUAL_SERVICES, DESTINATION_RULES)
    async with RealWorld.open(kubernetes) as made:
        yield made


def istio(world: RealWorld, cluster: Cluster | None = None) -> IstioVirtualServiceSwitch:
    settings = IstioVirtualServiceSettings(namespace=world.namespace, virtualservice="trips", host="trips")
    return IstioVirtualServiceSwitch(settings, name="trips", cluster=cluster or world.cluster)


def gateway(world: RealWorld, cluster: Cluster | None = None) -> GatewayHTTPRouteSwitch:
    settings = GatewayHTTPRouteSettings(namespace=world.namespace, route="trips")
    return GatewayHTTPRouteSwitch(settings, name="trips", cluster=cluster or world.cluster)


def change(state: TrafficState, target: str, away: str) -> Change:
    return Change(target=target, away=(away,), expect=state.revision, mark="rb-1", epoch=7)


async def test_a_virtual_service_keeps_all_that_is_not_switched(world: RealWorld) -> None:
    routes: list[Json] = [
        {"match": [header()], "route": [to("blue")], "fault": {"abort": {"httpStatus": 500}}},
        {"route": [to("blue", 90), to("green", 10)], "timeout": "3s", "somethingNew": {"weight": 90}},
    ]
    world.put(SERVICES, service("trips", {"app": "trips"}))
    world.put(DESTINATION_RULES, destination_rule())
    world.put(VIRTUAL_SERVICES, virtual_service(*routes, gateways=["mesh"]))
    await world.settle()
    before = world.get(VIRTUAL_SERVICES, "trips")
    state = await istio(world).read()
    assert (state.variants["green"].version, state.variants["green"].ready) == ("v2", 1)
    after = await istio(world).apply(change(state, "green", "blue"))
    assert (after.live, after.mark) == (("green",), "rb-1")
    expected = before["spec"]
    expected["http"][0]["route"][0]["destination"]["subset"] = "green"
    expected["http"][1]["route"][0]["weight"] = 0
    expected["http"][1]["route"][1]["weight"] = 100
    assert world.get(VIRTUAL_SERVICES, "trips")["spec"] == expected


async def test_an_httproute_keeps_all_that_is_not_switched(world: RealWorld) -> None:
    rules: list[Json] = [
        {"backendRefs": [ref(BLUE), ref(GREEN, 0)], "timeouts": {"request": "3s"}},
        {"backendRefs": [ref("hotels", 5)]},
    ]
    world.put(HTTP_ROUTES, httproute(*rules))
    before = world.get(HTTP_ROUTES, "trips")
    assert before["spec"]["rules"][0]["backendRefs"][0]["weight"] == 1, "the API's own default"
    after = await gateway(world).apply(change(await gateway(world).read(), GREEN, BLUE))
    assert (after.live, after.mark) == ((GREEN,), "rb-1")
    expected = before["spec"]
    expected["rules"][0]["backendRefs"][0]["weight"] = 0
    expected["rules"][0]["backendRefs"][1]["weight"] = 1
    assert world.get(HTTP_ROUTES, "trips")["spec"] == expected


class OldSwitch(IstioVirtualServiceSwitch):
    """Asks for a version of the kind that nobody serves."""

    kind: ClassVar[Kind[Any]] = replace(VIRTUAL_SERVICES, version="v0")


async def test_a_kind_that_is_not_installed_is_told_in_words(world: RealWorld) -> None:
    settings = IstioVirtualServiceSettings(namespace=world.namespace, virtualservice="trips", host="trips")
    told = r"serves no virtualservices of networking\.istio\.io/v0: is the kind installed\?"
    with pytest.raises(SwitchUnreachable, match=told):
        await OldSwitch(settings, name="trips", cluster=world.cluster).read()
    with pytest.raises(SwitchUnreachable, match=r'virtualservices\.networking\.istio\.io "trips" not found'):
        await istio(world).read()


async def test_the_rights_that_a_switch_names_are_enough_and_needed(
    world: RealWorld, kubernetes: Kubernetes
) -> None:
    world.put(SERVICES, service("trips", {"app": "trips"}))
    world.put(DESTINATION_RULES, destination_rule())
    world.put(VIRTUAL_SERVICES, virtual_service({"route": [to("blue", 100), to("green", 0)]}))
    world.put(HTTP_ROUTES, httproute({"backendRefs": [ref(BLUE, 100), ref(GREEN, 0)]}))
    await world.settle()
    switches: list[tuple[ObjectSwitch[Any], str, str]] = [
        (istio(world), "green", "blue"),
        (gateway(world), GREEN, BLUE),
    ]
    for made, target, away in switches:
        name = made.kind.plural
        role = roles(made.rights, name=name, account=name, home=world.namespace)[0]
        reads = [one for one in role["rules"] if "patch" not in one["verbs"]]
        for rules, may in ((reads, False), (role["rules"], True)):
            account = f"{name}-{'all' if may else 'reads'}"
            token = await asyncio.to_thread(kubernetes.service_account, world.namespace, account, rules)
            path = kubernetes.write_kubeconfig(account, token)
            cluster = Cluster(ClusterSettings(kubeconfig=path))
            seen = istio(world, cluster) if name == "virtualservices" else gateway(world, cluster)
            try:
                state = await seen.read()
                assert state.variants[target].ready == 1
                if may:
                    assert await seen.inspect() is None
                    assert (await seen.apply(change(state, target, away))).live == (target,)
                    continue
                assert "right is missing to patch" in (await seen.inspect() or "")
                with pytest.raises(SwitchRejected, match="cannot patch resource"):
                    await seen.apply(change(state, target, away))
                assert ROLLBACK not in world.get(made.kind, "trips")["metadata"].get("annotations", {})
            finally:
                await cluster.aclose()
