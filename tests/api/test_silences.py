from __future__ import annotations

from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from tests.api.conftest import Serve
from tests.api.daemon import NOW, QUIET, Daemon
from tests.api.test_asking import post
from watchdog.core.request import RequestKind

PATH = "/api/v1/silences"
GOOD = {"matchers": {"service": "trips"}, "reason": "load test", "for_seconds": 3600}


async def get(session: aiohttp.ClientSession, url: str, status: int = 200) -> Any:
    async with session.get(url) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def test_silences_are_shown_newest_first_with_whether_they_hold(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + PATH
    page = await get(operator, url)
    assert [(one["id"], one["active"], one["held_back"]) for one in page["items"]] == [
        ("s1", True, 2),
        ("s0", False, 0),
    ]
    assert [one["id"] for one in (await get(operator, url + "?active=true"))["items"]] == ["s1"]
    assert (await get(operator, url + "/s0"))["ended_at"] == "2026-03-14T07:09:26Z"
    await get(operator, url + "/s9", status=404)
    daemon.now_at = QUIET.ends_at
    assert not (await get(operator, url + "/s1"))["active"], "the next tick of the reactor will end it"


async def test_a_posted_silence_becomes_a_request_of_its_author(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    answer = await post(operator, await serve() + PATH, GOOD, status=201)
    assert answer["id"] == "s1"
    (request,) = daemon.asked
    assert (request.kind, request.target, request.by) == (RequestKind.SILENCE, "", "ci")
    assert request.body == GOOD


async def test_a_label_may_be_written_with_or_without_its_prefix(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + PATH
    for name in ("team", "label.team"):
        await post(operator, url, {**GOOD, "matchers": {name: "booking"}}, status=201)
    assert [request.body["matchers"] for request in daemon.asked] == [{"label.team": "booking"}] * 2


async def test_everything_that_a_message_has_can_be_matched(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    matchers = {
        "service": "trips",
        "environment": "production",
        "severity": "high",
        "rule": "error-rate",
        "source": "prometheus",
        "version": "v2",
        "incident": "i1",
    }
    await post(operator, await serve() + PATH, {**GOOD, "matchers": matchers}, status=201)
    assert daemon.asked[0].body["matchers"] == matchers


@pytest.mark.parametrize(
    ("change", "pointer", "detail"),
    [
        ({"matchers": {}}, "#/matchers", "at least one"),
        ({"matchers": None}, "#/matchers", "dictionary"),
        ({"matchers": {"servce": "trips"}}, "#/matchers/servce", "did you mean 'service'?"),
        ({"matchers": {"zzz": "trips"}}, "#/matchers/zzz", "known are service, environment"),
        ({"matchers": {"label.zzz": "x"}}, "#/matchers/label.zzz", "no message has this"),
        ({"matchers": {"service": "trisp"}}, "#/matchers/service", "did you mean 'trips'?"),
        ({"matchers": {"rule": "error-rat"}}, "#/matchers/rule", "did you mean 'error-rate'?"),
        ({"matchers": {"severity": "loud"}}, "#/matchers/severity", "there is no severity 'loud'"),
        ({"matchers": {"team": "bookings"}}, "#/matchers/team", "did you mean 'booking'?"),
        ({"matchers": {"service": 1}}, "#/matchers/service", "string"),
        ({"reason": ""}, "#/reason", "must not be empty"),
        ({"reason": None}, "#/reason", "string"),
        ({"for_seconds": None}, "#/ends_at", "a silence has an end"),
        ({"for_seconds": 0}, "#/for_seconds", "greater than 0"),
        ({"for_seconds": 31 * 86400}, "#/for_seconds", "less than or equal"),
        ({"for_seconds": "1h"}, "#/for_seconds", "number"),
        ({"ends_at": "2026-03-14T16:00:00Z"}, "#/for_seconds", "one of the two"),
        ({"for_seconds": None, "ends_at": "2026-03-14T15:09:26Z"}, "#/ends_at", "over already"),
        ({"for_seconds": None, "ends_at": "2026-04-14T15:09:26Z"}, "#/ends_at", "more than 30 days away"),
        ({"for_seconds": None, "ends_at": "tomorrow"}, "#/ends_at", "is not a time"),
        ({"author": "ana"}, "#/author", "is not a known key"),
    ],
    ids=str,
)
async def test_a_silence_that_cannot_be_is_refused_with_its_place(
    serve: Serve,
    operator: aiohttp.ClientSession,
    daemon: Daemon,
    change: dict[str, Any],
    pointer: str,
    detail: str,
) -> None:
    problem = await post(operator, await serve() + PATH, {**GOOD, **change}, status=422)
    (mistake,) = problem["errors"]
    assert mistake["pointer"] == pointer
    assert detail in mistake["detail"]
    assert daemon.asked == []


async def test_every_mistake_in_a_silence_is_told_at_once(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    body = {"matchers": {"service": "x", "rule": "y"}, "reason": "z"}
    problem = await post(operator, await serve() + PATH, body, status=422)
    assert {one["pointer"] for one in problem["errors"]} == {
        "#/matchers/service",
        "#/matchers/rule",
        "#/ends_at",
    }


async def test_an_end_may_be_a_time(serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon) -> None:
    ends_at = (NOW + timedelta(days=30)).isoformat()
    body = {"matchers": {"service": "trips"}, "reason": "x", "ends_at": ends_at}
    await post(operator, await serve() + PATH, body, status=201)
    assert daemon.asked[0].body["ends_at"] == "2026-04-13T15:09:26Z"


async def test_a_silence_is_ended_early_by_its_id(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + PATH
    answer = await post(operator, url + "/s1/expire", {"reason": "found it"}, status=200)
    assert answer["id"] == "s1"
    (request,) = daemon.asked
    assert (request.kind, request.target, request.body) == (RequestKind.EXPIRE, "s1", {"reason": "found it"})
    await post(operator, url + "/s9/expire", status=404)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("silences", GOOD),
        ("silences/s1/expire", {}),
        ("services/trips/taint", {"version": "v1", "reason": "x"}),
        ("services/trips/untaint", {"version": "v1", "reason": "x"}),
        ("services/trips/mark-good", {"version": "v1", "reason": "x"}),
        ("incidents/i1/approve", {}),
        ("incidents/i1/reject", {}),
        ("incidents/i1/close", {}),
    ],
)
async def test_a_request_that_is_sent_again_with_its_key_is_made_once(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, path: str, body: dict[str, Any]
) -> None:
    url = f"{await serve()}/api/v1/{path}"
    answers = []
    for _ in range(3):
        async with operator.post(url, json=body, headers={"Idempotency-Key": "once"}) as answer:
            assert answer.status < 300
            answers.append(await answer.json())
    assert answers == [answers[0]] * 3
    assert len(daemon.asked) == 1


async def test_a_viewer_may_look_and_not_silence(serve: Serve, daemon: Daemon) -> None:
    url = await serve() + PATH
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer viewer-token"}) as viewer:
        await get(viewer, url)
        await post(viewer, url, GOOD, status=403)
    assert daemon.asked == []
