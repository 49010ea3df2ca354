from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import Serve
from tests.api.daemon import BROKEN, NOW, Daemon, view
from watchdog.core.view import View

V1 = "/api/v1"


async def get(session: aiohttp.ClientSession, url: str, status: int = 200) -> Any:
    async with session.get(url) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == ("application/json" if status < 400 else "application/problem+json")
        return await answer.json(content_type=None)


async def test_a_service_is_shown_with_everything_that_matters(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    trips = await get(operator, await serve() + f"{V1}/services/trips")
    assert trips["level"] == "critical"
    assert trips["mode"] == "enforce"
    assert trips["paused"] == {"by": "ana", "at": "2026-03-14T15:09:26Z", "reason": "load test"}
    assert trips["traffic"]["variants"]["green"] == {
        "weight": 100,
        "live": True,
        "version": "v2",
        "ready": 2,
        "total": 2,
        "requests": 4711,
        "note": "",
    }
    assert trips["traffic"]["revision"] == "abc"
    assert trips["deployment"]["id"] == "d2"
    assert trips["stable"]["version"] == "v1"
    assert trips["incidents"] == ["i1"]
    assert trips["rollback"]["id"] == "r1"
    assert trips["rollback_ready"] is True
    (check,) = trips["checks"]
    assert check["id"] == "trips/error-rate@v2"
    assert (check["level"], check["held"], check["reason"]) == ("critical", "warning", "beyond")
    assert (check["value"], check["limit"]) == (0.2, 0.01)


async def test_a_services_policy_is_shown_in_seconds(serve: Serve, operator: aiohttp.ClientSession) -> None:
    policy = (await get(operator, await serve() + f"{V1}/services/trips"))["policy"]
    assert (policy["soak_seconds"], policy["max_per_day"], policy["min_ready"]) == (1800.0, 2, 0.8)


async def test_the_daemon_itself_is_shown_with_its_sources(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    status = await get(operator, await serve() + f"{V1}/status")
    assert (status["leader"], status["paused_by_file"], status["breaker"]) == (True, False, "")
    assert status["sources"] == [
        {"name": "prometheus", "up": True, "error": "", "failing_since": None},
        {"name": "new", "up": None, "error": "", "failing_since": None},
    ]


async def test_services_come_by_name_page_by_page(serve: Serve, operator: aiohttp.ClientSession) -> None:
    url = await serve() + f"{V1}/services?limit=1"
    first = await get(operator, url)
    assert [item["name"] for item in first["items"]] == ["hotels"]
    second = await get(operator, f"{url}&cursor={first['next']}")
    assert [item["name"] for item in second["items"]] == ["trips"]
    assert second["next"] is None


async def test_not_ready_says_who_vetoes(serve: Serve, operator: aiohttp.ClientSession) -> None:
    hotels = await get(operator, await serve() + f"{V1}/services/hotels")
    assert hotels["paused"] is None
    assert hotels["not_ready"] == [
        {"guard": "mode", "reason": "observe", "detail": "hotels is only observed"}
    ]


async def test_an_incident_is_shown_with_its_breaches(serve: Serve, operator: aiohttp.ClientSession) -> None:
    incident = await get(operator, await serve() + f"{V1}/incidents/i1")
    assert (incident["kind"], incident["state"], incident["severity"]) == ("breach", "open", "critical")
    assert (incident["service"], incident["services"]) == ("trips", ["trips"])
    assert incident["breaches"][0]["check"] == "trips/error-rate@v2"
    assert incident["breaches"][0]["rule"] == "error-rate"
    assert incident["breaches"][0]["since"] == "2026-03-14T15:09:26Z"
    assert incident["closed_at"] is None


async def test_an_incident_of_a_source_lists_services_and_is_of_none(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    incident = await get(operator, await serve() + f"{V1}/incidents/i0")
    assert incident["service"] is None
    assert incident["subject"] == "prometheus"
    assert incident["services"] == ["trips", "hotels"]


async def test_incidents_are_filtered_by_service_and_by_being_open(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    url = await serve() + f"{V1}/incidents"

    async def ids(query: str) -> list[str]:
        return [item["id"] for item in (await get(operator, url + query))["items"]]

    assert await ids("") == ["i1", "i0"]
    assert await ids("?open=true") == ["i1"]
    assert await ids("?open=false") == ["i1", "i0"]
    assert await ids("?service=prometheus") == ["i0"]
    assert await ids("?service=prometheus&open=true") == []


async def test_a_rollback_is_shown_from_decision_to_end(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    rollback = await get(operator, await serve() + f"{V1}/rollbacks/r1")
    assert rollback["from"] == {"variant": "green", "version": "v2"}
    assert rollback["to"] == {"variant": "blue", "version": "v1"}
    assert rollback["automatic"] is True
    assert rollback["decision_seconds"] == pytest.approx(0.02)
    assert rollback["vetoes"][0]["guard"] == "cooldown"
    assert rollback["history"] == [{"state": "decided", "at": "2026-03-14T15:09:26Z", "why": "error-rate"}]
    assert "change" not in rollback


async def test_rules_are_shown_with_their_services(serve: Serve, operator: aiohttp.ClientSession) -> None:
    rules = (await get(operator, await serve() + f"{V1}/rules"))["items"]
    assert [rule["name"] for rule in rules] == ["error-rate", "healthy"]
    rate, healthy = rules
    assert rate["services"] == ["trips"]
    assert rate["thresholds"] == {"warning": 0.005, "critical": 0.01, "rollback": 0.015}
    assert rate["hold"]["critical"] == {"samples": None, "duration_seconds": 60.0}
    assert rate["hold"]["rollback"] == {"samples": 2, "duration_seconds": None}
    assert rate["interval_seconds"] == 30.0
    assert rate["blind_after_seconds"] == 180.0
    assert len(rate["hash"]) == 16
    assert healthy["hold"] == {}
    assert healthy["form"]["probe"] == {
        "kind": "http",
        "url": "http://$service.internal/healthz",
        "expect": {"status": 200, "within_seconds": 2.0},
        "timeout_seconds": 3.0,
    }


async def test_the_audit_trail_pages_through_to_its_beginning(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + f"{V1}/audit?limit=2"
    seen: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await get(operator, url + (f"&cursor={cursor}" if cursor else ""))
        seen += page["items"]
        cursor = page["next"]
        if cursor is None:
            break
    assert [record["seq"] for record in seen] == [5, 4, 3, 2, 1]
    assert seen[0]["hash"] == daemon.audit_records[-1].hash
    assert (await get(operator, await serve() + f"{V1}/audit?subject=nobody"))["items"] == []


@pytest.mark.parametrize(
    "noun", ["services", "rules", "deployments", "incidents", "rollbacks", "silences", "outbox", "audit"]
)
@pytest.mark.parametrize("cursor", ["", "zzz", "trips", "%00", "WyJzb21ldGhpbmciLCJ4Il0"])
async def test_what_no_list_has_answered_is_no_cursor(
    serve: Serve, operator: aiohttp.ClientSession, noun: str, cursor: str
) -> None:
    problem = await get(operator, await serve() + f"{V1}/{noun}?cursor={cursor}", status=400)
    assert problem["errors"] == [
        {"pointer": "?cursor", "detail": "is not a cursor that this list has answered"}
    ]


async def test_a_cursor_holds_for_its_own_list(serve: Serve, operator: aiohttp.ClientSession) -> None:
    url = await serve() + V1
    following = (await get(operator, f"{url}/rules?limit=1"))["next"]
    assert following is not None
    await get(operator, f"{url}/rules?cursor={following}")
    await get(operator, f"{url}/services?cursor={following}", status=400)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=-1",
        "limit=x",
        "limit=",
        "limit=٣",
        "limit=1&limit=2",
        "cursor=x",
        "opne=true",
        "open=maybe",
        "open=true&open=true",
        "service=a&service=b",
    ],
)
async def test_a_wrong_query_is_refused_with_its_place(
    serve: Serve, operator: aiohttp.ClientSession, query: str
) -> None:
    problem = await get(operator, await serve() + f"{V1}/incidents?{query}", status=400)
    assert problem["errors"][0]["pointer"] == "?" + query.partition("=")[0]


async def test_the_largest_page_has_two_hundred(serve: Serve, operator: aiohttp.ClientSession) -> None:
    await get(operator, await serve() + f"{V1}/incidents?limit=200")


@pytest.mark.parametrize("noun", ["deployments", "incidents", "rollbacks", "services"])
@pytest.mark.parametrize("name", ["nope", "a%00b", "x" * 300, "%F0%9F%A6%8A", "..%2F..%2Fetc%2Fpasswd"])
async def test_what_does_not_exist_is_not_found(
    serve: Serve, operator: aiohttp.ClientSession, noun: str, name: str
) -> None:
    problem = await get(operator, await serve() + f"{V1}/{noun}/{name}", status=404)
    assert problem["title"] == "Not Found"


async def test_a_mistyped_service_gets_the_nearest_name(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    problem = await get(operator, await serve() + f"{V1}/services/trip", status=404)
    assert problem["detail"] == "there is no service 'trip'; did you mean 'trips'?"


@pytest.mark.parametrize(
    "path",
    [
        "deployments",
        "incidents",
        "rollbacks",
        "audit",
        "deployments/d1",
        "incidents/i1",
        "rollbacks/r1",
        "silences",
        "silences/s1",
        "outbox",
    ],
)
async def test_a_failing_store_is_a_503_with_advice(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, path: str
) -> None:
    daemon.fault = BROKEN
    problem = await get(operator, await serve() + f"{V1}/{path}", status=503)
    assert problem["detail"] == "the store failed: the disk is full; free some space on /var/lib/watchdog"


async def test_a_store_that_hangs_is_a_503_in_time(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.stuck = True
    problem = await get(operator, await serve(patience=0.05) + f"{V1}/incidents", status=503)
    assert "in time" in problem["detail"]


async def test_a_fault_of_ours_is_a_500_with_an_id_and_no_traceback(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.fault = RuntimeError("secret details")
    problem = await get(operator, await serve() + f"{V1}/incidents", status=500)
    assert problem["instance"].startswith("urn:uuid:")
    assert "secret details" not in str(problem)
    assert "Traceback" not in str(problem)


async def test_health_follows_the_reactors_progress_only(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + "/healthz"
    daemon.fault, daemon.shown = BROKEN, None
    daemon.now_at = NOW + timedelta(seconds=10)
    assert (await get(anybody, url))["status"] == "ok"
    daemon.now_at = NOW + timedelta(seconds=10.1)
    assert "no progress for 10.1 s" in (await get(anybody, url, status=503))["detail"]


@pytest.mark.parametrize(
    ("shown", "status"),
    [
        pytest.param(view(), 200, id="a view and a store"),
        pytest.param(None, 503, id="no view yet"),
        pytest.param(view(store_error="the disk is full"), 503, id="the store fails"),
    ],
)
async def test_readiness_needs_a_view_and_a_store(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, shown: View | None, status: int
) -> None:
    daemon.shown = shown
    await get(anybody, await serve() + "/readyz", status=status)


async def test_before_the_first_view_lists_of_what_is_now_say_that_it_starts(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.shown = None
    assert "starting" in (await get(operator, await serve() + f"{V1}/services", status=503))["detail"]


@pytest.mark.parametrize(
    ("method", "path", "status", "allow"),
    [
        ("GET", "/nowhere", 404, None),
        ("GET", "/api/v1/nowhere", 404, None),
        ("GET", "/api/v1/services/", 404, None),
        ("DELETE", "/api/v1/incidents", 405, "GET, HEAD"),
        ("PUT", "/api/v1/deployments", 405, "GET, HEAD, POST"),
        ("GET", "/api/v1/services/trips/pause", 405, "POST"),
        ("POST", "/healthz", 405, "GET, HEAD"),
        ("HEAD", "/api/v1/events", 405, "GET"),
    ],
)
async def test_unknown_paths_and_wrong_methods_are_problems(
    serve: Serve, operator: aiohttp.ClientSession, method: str, path: str, status: int, allow: str | None
) -> None:
    async with operator.request(method, await serve() + path) as answer:
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        assert answer.headers.get("Allow") == allow


async def test_times_are_utc_and_durations_end_in_seconds(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    url = await serve()
    for path in ("services", "rules", "deployments", "incidents", "rollbacks", "audit"):
        for name, value in leaves(await get(operator, f"{url}{V1}/{path}")):
            if name.endswith("_at"):
                assert value is None or re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", value), name
            if isinstance(value, str):
                assert not re.fullmatch(r"P(\d+D)?T.*|\d+(ms|s|m|h)", value), f"{name}: {value}"


async def test_no_answer_carries_a_secret(serve: Serve, operator: aiohttp.ClientSession) -> None:
    url = await serve()
    for path in (
        "services",
        "rules",
        "deployments",
        "incidents",
        "incidents/i1",
        "rollbacks",
        "audit",
        "openapi.json",
    ):
        text = str(await get(operator, f"{url}{V1}/{path}"))
        for secret in ("letmein", "operator-token", "viewer-token"):
            assert secret not in text, path


async def test_answers_tell_nothing_about_the_machine_behind(
    serve: Serve, anybody: aiohttp.ClientSession
) -> None:
    async with anybody.get(await serve() + "/healthz") as answer:
        assert answer.headers["Server"] == "rollback-watchdog"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-store"


async def test_metrics_come_in_their_own_media_type(serve: Serve, anybody: aiohttp.ClientSession) -> None:
    async with anybody.get(await serve() + "/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "watchdog_build_info" in await answer.text()


def leaves(tree: Any, name: str = "") -> list[tuple[str, Any]]:
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in leaves(value, key)]
    if isinstance(tree, list):
        return [leaf for value in tree for leaf in leaves(value, name)]
    return [(name, tree)]
