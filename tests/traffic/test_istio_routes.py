"""What a VirtualService sends where, and that a change of it changes nothing else; pure, on objects as people write."""

from __future__ import annotations

import copy
import json
from typing import Any

import jsonpatch
import jsonpointer
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cluster.routes import header, to, virtual_service
from watchdog.traffic.istio_routes import Reach, Routes, VirtualService, full_name

Json = dict[str, Any]


def routes(thing: Json, host: str = "trips") -> Routes:
    """How the switch sees it."""
    found = msgspec.json.decode(json.dumps(thing), type=VirtualService)
    return Routes(found.spec, host=host, namespace="prod")


def moved(thing: Json, target: str, *away: str, host: str = "trips") -> Json:
    """The object after the change, patched by somebody else's RFC 6902."""
    operations = routes(thing, host).move(target, away)
    done: Json = jsonpatch.apply_patch(copy.deepcopy(thing), operations)
    return done


@pytest.mark.parametrize(
    ("host", "full"),
    [
        ("trips", "trips.prod"),
        ("trips.prod", "trips.prod"),
        ("trips.prod.svc", "trips.prod"),
        ("trips.prod.svc.cluster.local", "trips.prod"),
        ("Trips.prod.svc.example.org.", "trips.prod"),
        ("trips.staging", "trips.staging"),
        ("api.trips.example.com", "api.trips.example.com"),
    ],
)
def test_a_host_is_the_same_however_it_is_written(host: str, full: str) -> None:
    assert full_name(host, "prod") == full


def test_subsets_are_variants_and_what_names_none_goes_to_the_whole_host() -> None:
    seen = routes(virtual_service({"route": [to("v1", 70), to("v2", 20), to(None, 10)]}))
    assert seen.weights() == {"v1": 70, "v2": 20, "trips.prod": 10}


def test_an_only_destination_gets_everything_whatever_its_weight() -> None:
    assert routes(virtual_service({"route": [to("v1")]})).weights() == {"v1": 100}
    assert routes(virtual_service({"route": [to("v1", 0)]})).weights() == {"v1": 100}


def test_among_several_destinations_none_is_nothing() -> None:
    assert routes(virtual_service({"route": [to("v1", 100), to("v2")]})).weights() == {"v1": 100, "v2": 0}


def test_a_share_too_small_to_be_a_percentage_is_still_live() -> None:
    seen = routes(virtual_service({"route": [to("v1", 9990), to("v2", 10)]}))
    assert seen.weights() == {"v1": 100, "v2": 1}


def test_shares_are_of_what_the_host_gets_and_each_route_counts_alike() -> None:
    seen = routes(
        virtual_service(
            {"match": [{"uri": {"prefix": "/a"}}], "route": [to("v1", 40), to("x", 60, host="hotels")]},
            {"match": [{"uri": {"prefix": "/b"}}], "route": [to("x", host="hotels")]},
            {"route": [to("v1", 50), to("v2", 50)]},
        )
    )
    assert seen.weights() == {"v1": 75, "v2": 25}


def test_what_only_some_callers_reach_is_not_live_and_said() -> None:
    seen = routes(
        virtual_service(
            {"name": "testers", "match": [header()], "route": [to("v2")]},
            {"route": [to("v1", 100), to("v2", 0)]},
        )
    )
    assert seen.weights() == {"v2": 0, "v1": 100}
    assert seen.notes("v2") == "requests that match http route 0 (testers) go there as well"
    assert seen.notes("v1") == ""


@pytest.mark.parametrize(
    ("match", "reach"),
    [
        ({"headers": {"cookie": {"regex": "canary"}}}, Reach.MATCHED),
        ({"queryParams": {"canary": {"exact": "1"}}}, Reach.MATCHED),
        ({"sourceLabels": {"version": "v2"}}, Reach.MATCHED),
        ({"sourceNamespace": "qa"}, Reach.MATCHED),
        ({"uri": {"prefix": "/"}, "headers": {"x": {"exact": "y"}}}, Reach.MATCHED),
        ({"somethingNew": 1}, Reach.MATCHED),
        ({"uri": {"prefix": "/a"}}, Reach.MAIN),
        ({"name": "a", "authority": {"exact": "a.example.com"}, "port": 80}, Reach.MAIN),
        ({"withoutHeaders": {"x": {}}}, Reach.MAIN),
    ],
)
def test_a_route_is_for_anybody_unless_all_its_conditions_ask_who_calls(match: Json, reach: Reach) -> None:
    one = virtual_service({"match": [match], "route": [to("v2")]}, {"route": [to("v1")]})
    assert routes(one).places[0].reach is reach
    both = virtual_service(
        {"match": [match, {"uri": {"exact": "/b"}}], "route": [to("v2")]}, {"route": [to("v1")]}
    )
    assert routes(both).places[0].reach is Reach.MAIN


@pytest.mark.parametrize(
    "first", [{}, {"match": [{"uri": {"prefix": "/"}}]}, {"match": [header(), {"name": "all"}]}]
)
def test_what_comes_after_a_route_that_takes_everything_is_not_live(first: Json) -> None:
    seen = routes(virtual_service({**first, "route": [to("v1")]}, {"route": [to("v2")]}))
    assert seen.weights() == {"v1": 100, "v2": 0}


def test_where_every_route_asks_who_calls_these_callers_are_everybody() -> None:
    thing = virtual_service({"match": [header()], "route": [to("v2", 100), to("v1", 0)]})
    assert routes(thing).weights() == {"v2": 100, "v1": 0}
    assert routes(moved(thing, "v1", "v2")).weights() == {"v2": 0, "v1": 100}


def test_weights_are_swapped_and_nothing_else_is_written() -> None:
    thing = virtual_service({"route": [to("v1", 0), to("v2", 100)], "timeout": "3s"})
    assert routes(thing).move("v1", ("v2",)) == [
        {"op": "test", "path": "/spec/http/0/route/0/destination/host", "value": "trips"},
        {"op": "test", "path": "/spec/http/0/route/0/destination/subset", "value": "v1"},
        {"op": "test", "path": "/spec/http/0/route/0/weight", "value": 0},
        {"op": "add", "path": "/spec/http/0/route/0/weight", "value": 100},
        {"op": "test", "path": "/spec/http/0/route/1/destination/host", "value": "trips"},
        {"op": "test", "path": "/spec/http/0/route/1/destination/subset", "value": "v2"},
        {"op": "test", "path": "/spec/http/0/route/1/weight", "value": 100},
        {"op": "add", "path": "/spec/http/0/route/1/weight", "value": 0},
    ]


@pytest.mark.parametrize("old", [(1, 3), (0, 1), (100, 100)])
def test_weights_that_summed_to_something_else_sum_to_100_afterwards(old: tuple[int, int]) -> None:
    thing = virtual_service({"route": [to("v1", old[0]), to("v2", old[1])]})
    assert moved(thing, "v1", "v2")["spec"]["http"] == [{"route": [to("v1", 100), to("v2", 0)]}]


def test_an_only_destination_is_pointed_elsewhere() -> None:
    thing = virtual_service({"route": [to("v2", port={"number": 80})], "retries": {"attempts": 3}})
    after = moved(thing, "v1", "v2")
    assert after["spec"]["http"] == [
        {"route": [to("v1", port={"number": 80})], "retries": {"attempts": 3}},
    ]


def test_all_of_a_host_can_be_left_and_come_back_to() -> None:
    thing = virtual_service({"route": [to(None)]})
    there = moved(thing, "v1", "trips.prod")
    assert there["spec"]["http"] == [{"route": [to("v1")]}]
    assert moved(there, "trips.prod", "v1") == thing


def test_header_matched_routes_to_the_bad_version_are_closed_and_others_stay() -> None:
    thing = virtual_service(
        {"match": [header("two")], "route": [to("v2")], "fault": {"delay": {"fixedDelay": "1s"}}},
        {"match": [header("three")], "route": [to("v3")]},
        {"match": [header("mixed")], "route": [to("v2", 30), to("v3", 70)]},
        {"match": [header("both")], "route": [to("v2", 100), to("v1", 0)]},
        {"match": [header("any")], "route": [to(None)]},
        {"route": [to("v2", 90), to("v1", 10)]},
        {"route": [to("v2")]},
    )
    after = moved(thing, "v1", "v2")
    assert [one["route"] for one in after["spec"]["http"]] == [
        [to("v1")],
        [to("v3")],
        [to("v1", 30), to("v3", 70)],
        [to("v2", 0), to("v1", 100)],
        [to("v1")],
        [to("v2", 0), to("v1", 100)],
        [to("v1")],
    ]
    assert routes(after).notes("v2") == ""


def test_every_route_that_anybody_can_take_is_switched() -> None:
    thing = virtual_service(
        {"match": [{"uri": {"prefix": "/a"}}], "route": [to("v2")]},
        {"match": [{"uri": {"prefix": "/b"}}], "route": [to("v2", 50), to("v1", 50)]},
        {"route": [to("v3", 60), to("v2", 20), to("v1", 20)]},
    )
    after = moved(thing, "v1", "v2")
    assert [one["route"] for one in after["spec"]["http"]] == [
        [to("v1")],
        [to("v2", 0), to("v1", 100)],
        [to("v3", 0), to("v2", 0), to("v1", 100)],
    ]


def test_the_heaviest_makes_room_for_a_target_without_a_place() -> None:
    thing = virtual_service({"route": [to("v2", 20), to("v3", 80)]})
    assert moved(thing, "v1", "v2")["spec"]["http"] == [{"route": [to("v2", 0), to("v1", 100)]}]


def test_other_hosts_keep_what_they_have() -> None:
    other = to("v2", 30, host="hotels")
    thing = virtual_service(
        {"route": [other, to("v2", 60), to("v1", 10)]}, {"route": [to("v2", host="hotels")]}
    )
    after = moved(thing, "v1", "v2")
    assert after["spec"]["http"] == [
        {"route": [other, to("v2", 0), to("v1", 70)]},
        {"route": [to("v2", host="hotels")]},
    ]


def test_tcp_and_tls_routes_of_the_host_are_switched_alike() -> None:
    thing = virtual_service(
        {"route": [to("v2", 100), to("v1", 0)]},
        tcp=[{"match": [{"port": 9000}], "route": [to("v2")]}],
        tls=[{"match": [{"sniHosts": ["a.example.com"]}], "route": [to("v2", 100), to("v1", 0)]}],
    )
    after = moved(thing, "v1", "v2")["spec"]
    assert after["tcp"][0]["route"] == [to("v1")]
    assert after["tls"][0]["route"] == after["http"][0]["route"] == [to("v2", 0), to("v1", 100)]


def test_mirrors_are_left_alone_and_said() -> None:
    thing = virtual_service(
        {"route": [to("v2", 100), to("v1", 0)], "mirror": to("v2")["destination"]},
        {"route": [to("v1", host="hotels")], "mirrors": [{"destination": to("v2")["destination"]}]},
    )
    after = moved(thing, "v1", "v2")
    first, second = after["spec"]["http"]
    assert first["mirror"] == to("v2")["destination"]
    assert second == thing["spec"]["http"][1]
    assert routes(after).notes("v2") == (
        "copies of requests (http route 0, http route 1) go there and are left alone"
    )


def test_there_is_nothing_to_move_where_the_host_gets_nothing() -> None:
    thing = virtual_service(
        {"match": [header()], "route": [to("v2")]},
        {"route": [to("v1", 0), to("v2", 0), to(None, 100, host="sorry")]},
    )
    assert routes(thing).weights() == {"v2": 0, "v1": 0}
    assert routes(thing).move("v1", ("v2",)) == []


def test_without_a_route_to_the_host_it_is_said_what_there_is() -> None:
    thing = virtual_service({"route": [to("v1", host="hotels")]}, {"delegate": {"name": "trips-inner"}})
    assert routes(thing).absence() == (
        "no route has a destination of host trips.prod; there are hotels; it delegates to prod/trips-inner"
    )
    assert "there are no destinations" in routes(virtual_service()).absence()


@pytest.mark.parametrize(
    ("change", "different"),
    [
        ({"timeout": "9s"}, False),
        ({"name": "other"}, False),
        ({"mirror": {"host": "hotels"}}, False),
        ({"route": [to("v1", 90), to("v2", 10)]}, True),
        ({"match": [{"uri": {"prefix": "/a"}}]}, True),
        ({"match": [header()]}, True),
    ],
)
def test_only_who_comes_and_what_he_gets_makes_a_state_different(change: Json, different: bool) -> None:
    before = {"match": [{"uri": {"prefix": "/"}}], "route": [to("v1", 100), to("v2", 0)]}
    seen = [
        routes(virtual_service(one, {"route": [to("v1")]})).facts() for one in (before, {**before, **change})
    ]
    assert (seen[0] != seen[1]) is different


# Any VirtualService

HOSTS = ("trips", "trips.prod", "trips.prod.svc.cluster.local", "hotels", "trips.staging")
OURS = frozenset(HOSTS[:3])
_foreign = st.sampled_from(
    [
        None,
        False,
        0,
        100,
        "",
        "3s",
        "x/y~z",
        [],
        [1, "a"],
        {},
        {"weight": 7, "subset": "v2"},
        {"a": [{"b": None}]},
    ]
)
_OTHER_FIELDS = ("timeout", "retries", "mirror", "fault", "headers", "corsPolicy", "unknown", "x/y~z")


@st.composite
def _destinations(draw: st.DrawFn) -> list[Json]:
    """Weights that sum to 100, as Istio asks; one alone may have none."""
    count = draw(st.integers(1, 4))
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=count - 1, max_size=count - 1)))
    found = []
    for low, high in zip([0, *cuts], [*cuts, 100], strict=True):
        subset = draw(st.sampled_from(["v1", "v2", "v3", None]))
        one = to(subset, high - low, draw(st.sampled_from(HOSTS)))
        if draw(st.booleans()):
            one["destination"]["port"] = {"number": 8080}
        if draw(st.booleans()):
            one["headers"] = draw(_foreign)
        if one["weight"] == 0 and draw(st.booleans()):
            del one["weight"]
        found.append(one)
    if count == 1 and draw(st.booleans()):
        found[0].pop("weight", None)
    return found


@st.composite
def _routes(draw: st.DrawFn) -> Json:
    one: Json = {"route": draw(_destinations())} if draw(st.integers(0, 5)) else {"redirect": {"uri": "/x"}}
    matches = [header(), {"uri": {"prefix": "/a"}}, {"uri": {"prefix": "/"}}, {"port": 9000}]
    if draw(st.booleans()):
        one["match"] = draw(st.lists(st.sampled_from(matches), max_size=2))
    for name in draw(st.lists(st.sampled_from(_OTHER_FIELDS), max_size=3, unique=True)):
        if name != "mirror":
            one[name] = draw(_foreign)
        else:
            one[name] = {"host": draw(st.sampled_from(HOSTS)), "subset": "v2"}
    return one


@st.composite
def virtual_services(draw: st.DrawFn) -> Json:
    """Any VirtualService that Istio takes, with fields that nobody here knows."""
    lists = {name: draw(st.lists(_routes(), max_size=4)) for name in ("http", "tcp", "tls")}
    return virtual_service(**{name: found for name, found in lists.items() if found}, gateways=["mesh"])


def _all_routes(thing: Json) -> list[tuple[str, int, Json]]:
    return [
        (kind, i, one) for kind in ("http", "tls", "tcp") for i, one in enumerate(thing["spec"].get(kind, []))
    ]


def _without_our_part(thing: Json) -> Json:
    """The object without the two fields of our destinations that may be written."""
    bare = copy.deepcopy(thing)
    for _, _, route in _all_routes(bare):
        for one in route.get("route", []):
            if one["destination"]["host"] in OURS:
                one.pop("weight", None)
                one["destination"].pop("subset", None)
    return bare


def _gets(route: Json, subset: str | None) -> int:
    """What a subset of our host gets of a route."""
    ways = route.get("route", [])
    return sum(
        100 if len(ways) == 1 else one.get("weight", 0)
        for one in ways
        if one["destination"]["host"] in OURS and one["destination"].get("subset") == subset
    )


@given(virtual_services())
def test_of_any_virtual_service_only_our_destinations_differ_and_the_bad_subset_gets_nothing(
    thing: Json,
) -> None:
    operations = routes(thing).move("v1", ("v2",))
    after = jsonpatch.apply_patch(copy.deepcopy(thing), operations)
    assert _without_our_part(after) == _without_our_part(thing)
    assert_tested_first(thing, operations)
    assert routes(after).move("v1", ("v2",)) == []
    if not operations:
        assert not any(weight for name, weight in routes(thing).weights().items() if name != "v1")
        return
    for (_, _, old), (_, _, new) in zip(_all_routes(thing), _all_routes(after), strict=True):
        assert (_gets(new, "v2"), _gets(new, None)) == (0, 0)
        if len(new.get("route", [])) > 1:
            assert sum(one.get("weight", 0) for one in new["route"]) == 100
        assert old == new or _gets(new, "v1") > _gets(old, "v1")
    assert {name: weight for name, weight in routes(after).weights().items() if weight} == {"v1": 100}


def assert_tested_first(thing: Json, operations: list[Json]) -> None:
    """Each value that is changed was named as it was before; the rest is the part of the resourceVersion."""
    tested: dict[str, Any] = {}
    for operation in operations:
        path = operation["path"]
        if operation["op"] == "test":
            tested[path] = operation["value"]
            continue
        assert path.rpartition("/")[2] in {"weight", "subset"}
        assert tested.get(path) == jsonpointer.resolve_pointer(thing, path, None)
