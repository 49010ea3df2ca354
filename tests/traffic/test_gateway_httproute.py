"""The HTTPRoute switch on an API in memory: what it shows, what it writes, what keeps it from both."""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator
from typing import Any

import jsonpatch
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tests.cluster.fake_api import Asked, Fault
from tests.cluster.routes import httproute, ref
from tests.cluster.worlds import FakeWorld, pod, service
from watchdog.cluster.client import Cluster
from watchdog.cluster.marks import EPOCH, ROLLBACK, SWITCHED_AT
from watchdog.cluster.objects import ENDPOINT_SLICES, PODS, SERVICES
from watchdog.core.errors import SwitchConflict, SwitchRejected, SwitchUnreachable
from watchdog.core.traffic import Change, TrafficState
from watchdog.traffic.gateway_httproute import (
    HTTP_ROUTES,
    BackendRef,
    GatewayHTTPRouteSettings,
    GatewayHTTPRouteSwitch,
    HTTPRoute,
)

Json = dict[str, Any]
BLUE, GREEN = "trips-blue", "trips-green"


@pytest.fixture
async def world() -> AsyncIterator[FakeWorld]:
    async with FakeWorld.open() as made:
        made.put(HTTP_ROUTES, httproute({"backendRefs": [ref(BLUE, 100), ref(GREEN, 0)]}))
        yield made


def switch(world: FakeWorld, rule: int | str = 0) -> GatewayHTTPRouteSwitch:
    settings = GatewayHTTPRouteSettings(namespace="prod", route="trips", rule=rule)
    return GatewayHTTPRouteSwitch(settings, name="trips", cluster=world.cluster)


def change(state: TrafficState, target: str = GREEN, away: str = BLUE) -> Change:
    return Change(target=target, away=(away,), expect=state.revision, mark="rb-1", epoch=7)


def weights(world: FakeWorld, rule: int = 0) -> dict[str, int]:
    refs = world.get(HTTP_ROUTES, "trips")["spec"]["rules"][rule]["backendRefs"]
    return {one["name"]: one.get("weight", 1) for one in refs}


async def test_services_are_shown_with_versions_and_capacity_of_their_pods(world: FakeWorld) -> None:
    state = await switch(world).read()
    shown = {
        name: (one.weight, one.version, one.ready, one.total, one.note)
        for name, one in state.variants.items()
    }
    assert shown == {BLUE: (100, "v1", 1, 1, ""), GREEN: (0, "v2", 1, 1, "")}


async def test_without_a_weight_a_reference_has_one(world: FakeWorld) -> None:
    world.put(HTTP_ROUTES, httproute({"backendRefs": [ref(BLUE), ref(GREEN, 0)]}))
    before = await switch(world).read()
    assert before.variants[BLUE].weight == 1
    await switch(world).apply(change(before))
    assert weights(world) == {BLUE: 0, GREEN: 1}


@pytest.mark.parametrize(
    ("old", "new"),
    [((90, 10), (0, 100)), ((1, 0), (0, 1)), ((3, 4), (0, 7)), ((1_000_000, 5), (0, 1_000_000))],
)
async def test_the_target_gets_what_the_rule_had_together(
    world: FakeWorld, old: tuple[int, int], new: tuple[int, int]
) -> None:
    # Beside a third one that takes traffic, the target is not there already.
    refs = [ref(BLUE, old[0]), ref(GREEN, old[1]), ref("trips", 0)]
    world.put(HTTP_ROUTES, httproute({"backendRefs": refs}))
    before = await switch(world).read()
    await switch(world).apply(change(before))
    assert weights(world) == {BLUE: new[0], GREEN: new[1], "trips": 0}


async def test_each_weight_is_tested_before_it_is_written(world: FakeWorld) -> None:
    await switch(world).apply(change(await switch(world).read()))
    [write] = world.api.writes()
    path = "/spec/rules/0/backendRefs"
    assert [one for one in write.body if one["path"].startswith(path)] == [
        {"op": "test", "path": f"{path}/0/name", "value": BLUE},
        {"op": "test", "path": f"{path}/0/weight", "value": 100},
        {"op": "add", "path": f"{path}/0/weight", "value": 0},
        {"op": "test", "path": f"{path}/1/name", "value": GREEN},
        {"op": "test", "path": f"{path}/1/weight", "value": 0},
        {"op": "add", "path": f"{path}/1/weight", "value": 100},
    ]


async def test_a_rule_is_chosen_by_its_name(world: FakeWorld) -> None:
    rules: list[Json] = [
        {"name": "hotels", "backendRefs": [ref("hotels")]},
        {"name": "main", "backendRefs": [ref(BLUE, 1), ref(GREEN, 0)]},
    ]
    world.put(HTTP_ROUTES, httproute(*rules))
    seen = switch(world, "main")
    await seen.apply(change(await seen.read()))
    assert (weights(world, 0), weights(world, 1)) == ({"hotels": 1}, {BLUE: 0, GREEN: 1})
    assert seen.identity == "kubernetes:prod:httproutes:trips:main"
    assert seen.identity != switch(world).identity


@pytest.mark.parametrize("rule", [3, "mian"])
async def test_a_rule_that_is_not_there_is_told_with_those_that_are(
    world: FakeWorld, rule: int | str
) -> None:
    main = {"name": "main", "backendRefs": [ref(BLUE, 1), ref(GREEN, 0)]}
    world.put(HTTP_ROUTES, httproute(main, {"filters": [{"type": "RequestRedirect"}]}))
    told = rf"HTTPRoute prod/trips has no rule {rule}; there are: rule 0 \(main\) to {BLUE}, {GREEN}$"
    with pytest.raises(SwitchUnreachable, match=told):
        await switch(world, rule).read()
    with pytest.raises(SwitchUnreachable, match="rule 1 has no backendRefs; there are: rule 0"):
        await switch(world, 1).read()


@pytest.mark.parametrize("rule", [-1, 16, "No Name", True, 1.5])
def test_what_names_no_rule_is_a_load_error(rule: Any) -> None:
    with pytest.raises(ValidationError):
        GatewayHTTPRouteSettings(namespace="prod", route="trips", rule=rule)


async def test_only_weights_of_the_one_rule_are_written(world: FakeWorld) -> None:
    filters = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "y"}]}}
    ]
    rules: list[Json] = [
        {
            "matches": [
                {"path": {"type": "PathPrefix", "value": "/"}, "headers": [{"name": "a", "value": "b"}]}
            ],
            "filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": ref("audit")}}],
            "timeouts": {"request": "3s"},
            "sessionPersistence": {"sessionName": "s"},
            "somethingNew": [{"weight": 1}],
            "backendRefs": [ref(BLUE, 90, filters=filters), ref(GREEN, 10, unknown={"a": None})],
        },
        {"backendRefs": [ref(BLUE, 1)]},
    ]
    thing = httproute(*rules, labels={"team": "booking"}, annotations={"a/b~c": "kept"})
    world.put(HTTP_ROUTES, thing)
    before = world.get(HTTP_ROUTES, "trips")
    await switch(world).apply(change(await switch(world).read()))
    after = world.get(HTTP_ROUTES, "trips")
    expected = before["spec"]
    expected["rules"][0]["backendRefs"][0]["weight"] = 0
    expected["rules"][0]["backendRefs"][1]["weight"] = 100
    assert after["spec"] == expected
    notes = after["metadata"].pop("annotations")
    assert notes.pop(SWITCHED_AT)
    assert notes == {"a/b~c": "kept", ROLLBACK: "rb-1", EPOCH: "7"}


async def test_other_rules_and_copies_to_a_version_are_told_and_left_alone(world: FakeWorld) -> None:
    mirror = [{"type": "RequestMirror", "requestMirror": {"backendRef": ref(BLUE)}}]
    rules: list[Json] = [
        {"backendRefs": [ref(BLUE, 1), ref(GREEN, 0)]},
        {"name": "api", "backendRefs": [ref(BLUE, 1), ref(GREEN, 0)]},
        {"backendRefs": [ref("hotels")], "filters": mirror},
    ]
    world.put(HTTP_ROUTES, httproute(*rules))
    after = await switch(world).apply(change(await switch(world).read()))
    assert after.live == (GREEN,)
    assert weights(world, 1) == {BLUE: 1, GREEN: 0}
    assert after.variants[BLUE].note == (
        "rule 1 (api) of the same route sends requests there, too, and is left alone; "
        "copies of requests (rule 2) go there and are left alone"
    )


async def test_several_references_to_one_service_are_one_variant(world: FakeWorld) -> None:
    refs = [ref(BLUE, 50), ref(BLUE, 30, port=81), ref(GREEN, 0), ref(GREEN, 20, port=81)]
    world.put(HTTP_ROUTES, httproute({"backendRefs": refs}))
    before = await switch(world).read()
    assert (before.variants[BLUE].weight, before.variants[GREEN].weight) == (80, 20)
    await switch(world).apply(change(before))
    written = world.get(HTTP_ROUTES, "trips")["spec"]["rules"][0]["backendRefs"]
    assert [one["weight"] for one in written] == [0, 0, 0, 100]


async def test_a_service_in_another_namespace_is_named_with_it(world: FakeWorld) -> None:
    world.api.put(SERVICES, "old", service("trips", {"app": "trips"}))
    world.api.put(PODS, "old", pod("trips-1", {"app": "trips"}, "app:v0"))
    refs = [ref(BLUE, 1, namespace="prod"), ref("trips", 0, namespace="old")]
    thing = httproute({"backendRefs": refs})
    world.put(HTTP_ROUTES, thing)
    state = await switch(world).read()
    assert list(state.variants) == [BLUE, "old/trips"]
    assert (state.variants["old/trips"].version, state.variants["old/trips"].ready) == ("v0", 0)

    refused = {"type": "ResolvedRefs", "status": "False", "reason": "RefNotPermitted", "message": "no grant"}
    thing["status"] = {"parents": [{"conditions": [refused]}]}
    world.put(HTTP_ROUTES, thing)
    state = await switch(world).read()
    assert (state.variants[BLUE].ready, state.variants[BLUE].note) == (1, "")
    assert state.variants["old/trips"].ready is None
    assert state.variants["old/trips"].note == "readiness unknown: a Gateway refuses it: no grant"


async def test_what_is_no_service_is_shown_and_never_chosen(world: FakeWorld) -> None:
    other = ref("trips", 1, kind="ServiceImport", group="multicluster.x-k8s.io")
    world.put(HTTP_ROUTES, httproute({"backendRefs": [ref(BLUE, 99), other, ref(GREEN, 0)]}))
    name = "ServiceImport.multicluster.x-k8s.io:trips"
    before = await switch(world).read()
    assert before.live == (BLUE, name)
    assert before.variants[name].ready is None
    found = msgspec.convert(world.get(HTTP_ROUTES, "trips"), HTTPRoute)
    with pytest.raises(SwitchRejected, match="is no Service in the backendRefs of rule 0"):
        switch(world).patch(found, change(before, target=name))
    after = await switch(world).apply(change(before))
    assert after.live == (GREEN,)


async def test_a_target_that_is_no_reference_is_rejected(world: FakeWorld) -> None:
    before = await switch(world).read()
    with pytest.raises(SwitchRejected, match="has no variant 'trips'"):
        await switch(world).apply(change(before, target="trips"))
    assert world.api.writes() == []


# What cannot be known


async def test_a_service_that_is_gone_has_nothing_ready(world: FakeWorld) -> None:
    world.delete(SERVICES, GREEN)
    green = (await switch(world).read()).variants[GREEN]
    assert (green.ready, green.total, green.note) == (0, 0, f"there is no Service prod/{GREEN}")


@pytest.mark.parametrize("plural", ["services", "pods", "endpointslices"])
async def test_what_may_not_be_read_is_unknown_and_not_none(world: FakeWorld, plural: str) -> None:
    world.api.fault = lambda asked: Fault.DENY if asked.plural == plural else None
    state = await switch(world).read()
    assert state.live == (BLUE,)
    for one in state.variants.values():
        assert (one.ready, one.total) == (None, None)
        assert one.note.startswith("readiness unknown: it cannot be looked at: ")
        assert plural in one.note


async def test_an_api_server_that_breaks_is_no_state_at_all(world: FakeWorld) -> None:
    world.api.fault = lambda asked: Fault.BREAK if asked.plural == "services" else None
    with pytest.raises(SwitchUnreachable, match="request timed out"):
        await switch(world).read()


async def test_a_service_with_endpoints_of_somebody_else_is_counted_by_them(world: FakeWorld) -> None:
    world.put(SERVICES, service(GREEN, None))
    endpoints = [{"addresses": [f"10.9.0.{n}"], "conditions": {"ready": n > 1}} for n in (1, 2, 3)]
    labels = {"kubernetes.io/service-name": GREEN}
    world.put(ENDPOINT_SLICES, {"metadata": {"name": "own", "labels": labels}, "endpoints": endpoints})
    world.delete(ENDPOINT_SLICES, f"{GREEN}-x")
    green = (await switch(world).read()).variants[GREEN]
    assert (green.ready, green.total, green.version) == (2, 3, None)


async def test_a_kind_that_is_not_installed_is_told_in_words(world: FakeWorld) -> None:
    world.api.fault = lambda asked: Fault.UNSERVED if asked.plural == "httproutes" else None
    with pytest.raises(
        SwitchUnreachable, match=r"serves no httproutes of gateway\.networking\.k8s\.io/v1: is the kind"
    ):
        await switch(world).read()


# Between our read and our write


def meanwhile(world: FakeWorld, *rules: Json) -> None:
    """Somebody writes these rules right before our write arrives, once."""
    done: list[bool] = []

    def before(asked: Asked) -> None:
        if asked.write and not done:
            done.append(True)
            world.patch(HTTP_ROUTES, "trips", {"spec": {"rules": list(rules)}})

    world.api.before = before


async def test_a_weight_that_somebody_sets_stays(world: FakeWorld) -> None:
    before = await switch(world).read()
    meanwhile(world, {"backendRefs": [ref(BLUE, 50), ref(GREEN, 50)]})
    with pytest.raises(SwitchConflict):
        await switch(world).apply(change(before))
    assert weights(world) == {BLUE: 50, GREEN: 50}


async def test_another_field_and_another_rule_that_somebody_writes_are_kept(world: FakeWorld) -> None:
    before = await switch(world).read()
    rules: list[Json] = [
        {"backendRefs": [ref(BLUE, 100), ref(GREEN, 0)], "timeouts": {"request": "7s"}},
        {"backendRefs": [ref("hotels", 1)]},
    ]
    meanwhile(world, *rules)
    after = await switch(world).apply(change(before))
    assert after.live == (GREEN,)
    rules[0]["backendRefs"] = [ref(BLUE, 0), ref(GREEN, 100)]
    assert world.get(HTTP_ROUTES, "trips")["spec"]["rules"] == rules


async def test_another_rule_that_somebody_puts_first_is_another_state(world: FakeWorld) -> None:
    before = await switch(world).read()
    first = {
        "matches": [{"path": {"type": "Exact", "value": "/x"}}],
        "backendRefs": [ref(BLUE, 100), ref(GREEN, 0)],
    }
    meanwhile(world, first, {"backendRefs": [ref(BLUE, 100), ref(GREEN, 0)]})
    with pytest.raises(SwitchConflict):
        await switch(world).apply(change(before))
    assert weights(world, 0) == weights(world, 1) == {BLUE: 100, GREEN: 0}


# Any HTTPRoute


@st.composite
def _rules(draw: st.DrawFn) -> Json:
    found: Json = {}
    kinds: st.SearchStrategy[Json] = st.sampled_from(
        [{}, {"kind": "Service", "group": ""}, {"kind": "Bucket", "group": "example.com"}]
    )
    places: st.SearchStrategy[Json] = st.sampled_from(
        [{}, {"namespace": "prod"}, {"namespace": "old"}, {"filters": [{"type": "x"}]}]
    )
    names = st.sampled_from(["v1", "v2", "v3"])
    empty = draw(st.booleans())
    refs = draw(st.lists(st.tuples(names, st.none() | st.integers(0, 100), kinds, places), max_size=5))
    if refs or empty:
        found["backendRefs"] = [ref(name, weight, **kind, **place) for name, weight, kind, place in refs]
    for name in draw(st.lists(st.sampled_from(["name", "timeouts", "unknown"]), max_size=2, unique=True)):
        found[name] = "x" if name == "name" else {"weight": [1, None]}
    return found


def _bare(rules: list[Json], chosen: int) -> list[Json]:
    bare = copy.deepcopy(rules)
    for one in bare[chosen].get("backendRefs", []):
        one.pop("weight", None)
    return bare


@given(st.lists(_rules(), min_size=1, max_size=4), st.data())
def test_of_any_httproute_only_weights_of_the_rule_differ_and_the_target_gets_them_all(
    rules: list[Json], data: st.DataObject
) -> None:
    chosen = data.draw(st.integers(0, len(rules) - 1))
    settings = GatewayHTTPRouteSettings(namespace="prod", route="trips", rule=chosen)
    seen = GatewayHTTPRouteSwitch(settings, name="trips", cluster=Cluster())
    thing = httproute(*rules)
    asked = Change(target="v1", away=("v2",), expect="any", mark="rb-1")
    found = msgspec.convert(thing, HTTPRoute)
    try:
        operations = seen.patch(found, asked)
    except (SwitchRejected, SwitchUnreachable):
        return
    assert isinstance(operations, list)
    after = jsonpatch.apply_patch(copy.deepcopy(thing), operations)
    assert _bare(after["spec"]["rules"], chosen) == _bare(rules, chosen)
    old, new = _refs(thing, chosen), _refs(after, chosen)
    assert sum(one.share for one in new) == max(sum(one.share for one in old), 1)
    assert {one.variant("prod") for one in new if one.share} == {"v1"}


def _refs(thing: Json, rule: int) -> tuple[BackendRef, ...]:
    rules = msgspec.convert(thing, HTTPRoute).spec.rules
    assert rules is not None
    return rules[rule].refs
