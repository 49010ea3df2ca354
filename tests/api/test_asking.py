from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from tests.api.conftest import OPERATOR, Serve
from tests.api.daemon import BROKEN, NOW, Daemon
from watchdog.config.loaded import Server, Token
from watchdog.core.request import Reply, Request, RequestKind

DEPLOYMENTS = "/api/v1/deployments"
V3 = {"service": "trips", "version": "v3", "variant": "blue"}


async def post(
    session: aiohttp.ClientSession,
    url: str,
    body: Any = None,
    *,
    status: int,
    headers: dict[str, str] | None = None,
) -> Any:
    async with session.post(url, json=body, headers=headers) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == ("application/json" if status < 400 else "application/problem+json")
        return await answer.json(content_type=None)


async def test_a_posted_deployment_becomes_a_request_and_its_record_the_answer(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.answer = lambda request: Reply(request=request.id, status=201, body={"id": "d2"})
    body = {
        **V3,
        "started_at": "2026-03-14T16:09:00+01:00",
        "source": "pipeline 7",
        "url": "https://ci.example.com/7",
        "rollback": "forbidden",
        "labels": {"team": "booking"},
    }
    record = await post(operator, await serve() + DEPLOYMENTS, body, status=201)
    assert (record["id"], record["state"], record["version"]) == ("d2", "watching", "v2")
    (request,) = daemon.asked
    assert (request.kind, request.target, request.by, request.at) == (
        RequestKind.DEPLOYMENT,
        "trips",
        "ci",
        NOW,
    )
    assert request.body == {**body, "started_at": "2026-03-14T15:09:00Z"}


async def test_what_is_left_out_of_a_deployment_is_left_out_of_the_request(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    await post(operator, await serve() + DEPLOYMENTS, V3, status=201)
    assert daemon.asked[0].body == {**V3, "rollback": "allowed", "labels": {}}


async def test_null_is_as_if_it_was_left_out(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    nothing = dict.fromkeys(["labels", "url", "source", "started_at"])
    url = await serve() + DEPLOYMENTS
    for body in (V3, V3 | nothing):
        await post(operator, url, body, status=201, headers={"Idempotency-Key": "build-7"})
    (request,) = daemon.asked
    assert request.body == {**V3, "rollback": "allowed", "labels": {}}


@pytest.mark.parametrize("name", ["team", "_x_", "cost-center", "app.kubernetes.io/name", "9", "a" * 253])
async def test_labels_may_be_called_what_others_call_them(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, name: str
) -> None:
    await post(operator, await serve() + DEPLOYMENTS, {**V3, "labels": {name: "x"}}, status=201)
    assert daemon.asked[0].body["labels"] == {name: "x"}


@pytest.mark.parametrize("name", ["", "-a", "a-", "/a", "a b", "ä", "a\n", "a" * 254])
async def test_what_is_no_name_of_a_label_is_refused(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, name: str
) -> None:
    await post(operator, await serve() + DEPLOYMENTS, {**V3, "labels": {name: "x"}}, status=422)
    assert daemon.asked == []


async def test_mistakes_are_told_in_words(serve: Serve, operator: aiohttp.ClientSession) -> None:
    body = {"service": "trips", "version": "", "variant": "x" * 201, "url": "x", "labels": {"-": "x"}}
    problem = await post(operator, await serve() + DEPLOYMENTS, body, status=422)
    assert {mistake["pointer"]: mistake["detail"] for mistake in problem["errors"]} == {
        "#/version": "must not be empty",
        "#/variant": "has more than 200 characters",
        "#/url": "is not an address that begins with http:// or https:// and has no blanks",
        "#/labels/-": (
            "is no name of a label: letters, digits and `_ . / -` between them, such as app.kubernetes.io/name"
        ),
    }


@pytest.mark.parametrize(
    ("change", "mistakes"),
    [
        ({"version": None}, {"#/version"}),
        ({"service": "trip"}, {"#/service"}),
        ({"service": ""}, {"#/service"}),
        ({"version": 2}, {"#/version"}),
        ({"variant": "x" * 201}, {"#/variant"}),
        ({"variant": "a\x00b"}, {"#/variant"}),
        ({"variant": " blue"}, {"#/variant"}),
        ({"varient": "blue"}, {"#/varient"}),
        ({"started_at": "yesterday"}, {"#/started_at"}),
        ({"started_at": 1773500966}, {"#/started_at"}),
        ({"started_at": "1773500966"}, {"#/started_at"}),
        ({"started_at": "2026-03-14T15:09:26"}, {"#/started_at"}),
        ({"started_at": "2026-02-30T15:09:26Z"}, {"#/started_at"}),
        ({"started_at": "0001-01-01T00:00:00+23:59"}, {"#/started_at"}),
        ({"started_at": "2026-03-14T15:11:00Z"}, {"#/started_at"}),
        ({"url": "javascript:alert(1)"}, {"#/url"}),
        ({"url": "https://a b"}, {"#/url"}),
        ({"rollback": "never"}, {"#/rollback"}),
        ({"labels": {"team": 1}}, {"#/labels/team"}),
        ({"labels": {"a/b~c": "x"}}, {"#/labels/a~1b~0c"}),
        ({"labels": {f"l{n}": "x" for n in range(33)}}, {"#/labels"}),
        ({"labels": ["team"]}, {"#/labels"}),
        ({"version": 2, "colour": "red", "url": "ftp://x"}, {"#/version", "#/colour", "#/url"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
async def test_every_mistake_in_a_deployment_is_told_at_once(
    serve: Serve,
    operator: aiohttp.ClientSession,
    daemon: Daemon,
    change: dict[str, Any],
    mistakes: set[str],
) -> None:
    body = {name: value for name, value in {**V3, **change}.items() if value is not None}
    problem = await post(operator, await serve() + DEPLOYMENTS, body, status=422)
    assert {mistake["pointer"] for mistake in problem["errors"]} == mistakes
    assert all(mistake["detail"] for mistake in problem["errors"])
    assert daemon.asked == []


async def test_a_mistyped_key_gets_the_nearest_one(serve: Serve, operator: aiohttp.ClientSession) -> None:
    problem = await post(operator, await serve() + DEPLOYMENTS, {**V3, "varient": "x"}, status=422)
    assert problem["errors"] == [
        {"pointer": "#/varient", "detail": "is not a known key; did you mean 'variant'?"}
    ]


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b'{"a": NaN}',
        b'{"a": 1, "a": 2}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": 1}',
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b'{"version": ' + b"9" * 5000 + b"}",
        "{}".encode("utf-16"),
    ],
)
async def test_what_is_no_json_object_is_a_400(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, raw: bytes
) -> None:
    headers = {"Content-Type": "application/json"}
    async with operator.post(await serve() + DEPLOYMENTS, data=raw, headers=headers) as answer:
        assert answer.status == (422 if not raw else 400)
        assert answer.content_type == "application/problem+json"
    assert daemon.asked == []


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", ""]
)
async def test_another_content_type_is_a_415(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, media_type: str
) -> None:
    raw = json.dumps(V3).encode()
    headers = {"Content-Type": media_type}
    async with operator.post(await serve() + DEPLOYMENTS, data=raw, headers=headers) as answer:
        assert answer.status == 415
        assert answer.headers["Accept-Post"] == "application/json"
    assert daemon.asked == []


async def test_json_with_a_charset_is_json(serve: Serve, operator: aiohttp.ClientSession) -> None:
    headers = {"Content-Type": "application/json; charset=utf-8"}
    raw = json.dumps(V3).encode()
    async with operator.post(await serve() + DEPLOYMENTS, data=raw, headers=headers) as answer:
        assert answer.status == 201


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_the_limit_is_a_413(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, chunked: bool
) -> None:
    raw = json.dumps({**V3, "source": "x" * 70_000}).encode()

    async def pieces() -> Any:
        yield raw

    headers = {"Content-Type": "application/json"}
    url = await serve() + DEPLOYMENTS
    async with operator.post(url, data=pieces() if chunked else raw, headers=headers) as answer:
        assert answer.status == 413
        assert answer.content_type == "application/problem+json"
    assert daemon.asked == []


async def test_a_rollback_needs_a_reason(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + "/api/v1/services/trips/rollback"
    for body in (None, {}, {"reason": ""}, {"reason": "  "}, {"to": "v1"}):
        problem = await post(operator, url, body if body is not None else {}, status=422)
        assert problem["errors"][0]["pointer"] == "#/reason"
    assert daemon.asked == []
    daemon.answer = lambda request: Reply(request=request.id, status=202, body={"id": "r1"})
    answer = await post(operator, url, {"to": "v1", "reason": "checkout is broken"}, status=202)
    assert (answer["id"], answer["to"]["version"]) == ("r1", "v1")
    assert daemon.asked[0].kind is RequestKind.ROLLBACK
    assert daemon.asked[0].body == {"to": "v1", "reason": "checkout is broken"}


@pytest.mark.parametrize("reason", [None, "load test"])
@pytest.mark.parametrize("kind", [RequestKind.PAUSE, RequestKind.RESUME])
async def test_pause_and_resume_take_an_optional_reason(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, kind: RequestKind, reason: str | None
) -> None:
    url = f"{await serve()}/api/v1/services/trips/{kind}"
    async with operator.post(url, json={"reason": reason} if reason else None) as answer:
        assert answer.status == 200
    assert [(r.kind, r.target) for r in daemon.asked] == [(kind, "trips")]
    assert daemon.asked[0].body == ({"reason": reason} if reason else {})


@pytest.mark.parametrize("kind", ["acknowledge", "unacknowledge", "approve", "reject", "close"])
async def test_incidents_are_acknowledged_approved_rejected_and_closed(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, kind: str
) -> None:
    url = f"{await serve()}/api/v1/incidents/i1/{kind}"
    await post(operator, url, {"reason": "mine"}, status=200)
    assert [(r.kind, r.target, r.by) for r in daemon.asked] == [(RequestKind(kind), "i1", "ci")]
    await post(operator, url.replace("i1", "i9"), {}, status=404)
    assert len(daemon.asked) == 1


async def test_an_incident_is_acknowledged_for_as_long_as_its_owner_says(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = f"{await serve()}/api/v1/incidents/i1/acknowledge"
    await post(operator, url, {"for_seconds": 14400}, status=200)
    assert daemon.asked[0].body == {"for_seconds": 14400.0}
    for wrong in (0, -1, 30 * 86400 + 1, "4h", True):
        problem = await post(operator, url, {"for_seconds": wrong}, status=422)
        assert [one["pointer"] for one in problem["errors"]] == ["#/for_seconds"]
    assert len(daemon.asked) == 1


@pytest.mark.parametrize("word", ["taint", "untaint", "mark-good"])
async def test_a_persons_word_on_a_version_needs_the_version_and_a_reason(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, word: str
) -> None:
    url = f"{await serve()}/api/v1/services/trips/{word}"
    body = {"version": "v1", "reason": "leaks memory"}
    answer = await post(operator, url, body, status=200)
    assert answer == {"service": "trips", "version": "v1", "taint": None, "states": {}}
    (request,) = daemon.asked
    assert (request.kind, request.target, request.by, request.body) == (
        RequestKind(word.replace("-", "_")),
        "trips",
        "ci",
        body,
    )
    problem = await post(operator, url, {"version": "", "reason": " "}, status=422)
    assert {one["pointer"] for one in problem["errors"]} == {"#/version", "#/reason"}
    assert {one["detail"] for one in problem["errors"]} == {"must not be empty"}
    problem = await post(operator, url, {}, status=422)
    assert {one["pointer"] for one in problem["errors"]} == {"#/version", "#/reason"}
    assert len(daemon.asked) == 1


async def test_a_service_nobody_knows_is_not_asked_about(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    problem = await post(operator, await serve() + "/api/v1/services/trip/pause", {}, status=404)
    assert "did you mean 'trips'?" in problem["detail"]
    assert daemon.asked == []


async def test_a_refusal_of_the_reactor_is_the_answer(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.answer = lambda request: Reply(request=request.id, status=409, detail="a rollback is running")
    problem = await post(operator, await serve() + "/api/v1/services/trips/pause", {}, status=409)
    assert (problem["title"], problem["detail"]) == ("Conflict", "a rollback is running")


async def test_a_reactor_that_does_not_answer_in_time_gives_202_and_the_requests_id(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.answer = lambda _: None
    url = await serve(patience=0.05) + "/api/v1/services/trips/pause"
    async with operator.post(url) as answer:
        assert answer.status == 202
        assert answer.headers["Retry-After"] == "1"
        assert (await answer.json())["request"] == daemon.asked[0].id


async def test_a_store_that_refuses_a_request_is_a_503_with_advice(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.fault = BROKEN
    problem = await post(operator, await serve() + DEPLOYMENTS, V3, status=503)
    assert "free some space" in problem["detail"]


async def test_a_store_that_hangs_on_a_request_is_a_503_that_says_it_may_be_stored(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.stuck = True
    problem = await post(operator, await serve(patience=0.05) + DEPLOYMENTS, V3, status=503)
    assert "may be stored" in problem["detail"]


async def test_a_retry_with_the_same_key_gets_the_same_answer_and_asks_once(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    answers: list[str] = []

    def answer(request: Request) -> Reply:
        answers.append(request.id)
        return Reply(request=request.id, status=201, body={"count": len(answers)})

    daemon.answer = answer
    url = await serve() + DEPLOYMENTS
    headers = {"Idempotency-Key": "build-7"}
    first = await post(operator, url, V3, status=201, headers=headers)
    daemon.now_at = NOW + timedelta(minutes=1)
    # The order of keys is not part of what was asked.
    again = await post(operator, url, dict(reversed(V3.items())), status=201, headers=headers)
    assert first == again == {"count": 1}
    assert len(daemon.asked) == 1


@pytest.mark.parametrize(
    ("path", "body", "headers"),
    [
        (DEPLOYMENTS, {**V3, "version": "v4"}, {"Idempotency-Key": "build-7"}),
        (DEPLOYMENTS, V3, {"Idempotency-Key": "build-8"}),
        (DEPLOYMENTS, V3, {}),
        ("/api/v1/services/trips/pause", {}, {"Idempotency-Key": "build-7"}),
    ],
)
async def test_another_content_key_or_path_is_another_request(
    serve: Serve,
    operator: aiohttp.ClientSession,
    daemon: Daemon,
    path: str,
    body: dict[str, Any],
    headers: dict[str, str],
) -> None:
    url = await serve()
    await post(operator, url + DEPLOYMENTS, V3, status=201, headers={"Idempotency-Key": "build-7"})
    async with operator.post(url + path, json=body, headers=headers) as answer:
        assert answer.status < 300
    assert len(daemon.asked) == 2


async def test_one_persons_key_never_answers_with_anothers_record(serve: Serve, daemon: Daemon) -> None:
    other = Token(name="ana", role="operator", token=SecretStr("token-of-ana"))
    url = await serve(Server(port=0, tokens=(OPERATOR, other)))
    for token in ("operator-token", "token-of-ana", "operator-token"):
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": "build-7"}
        async with aiohttp.ClientSession(headers=headers) as session:
            await post(session, url + DEPLOYMENTS, V3, status=201)
    assert [request.by for request in daemon.asked] == ["ci", "ana"]


async def test_an_impossible_idempotency_key_is_a_400(serve: Serve, operator: aiohttp.ClientSession) -> None:
    headers = {"Idempotency-Key": "x" * 201}
    await post(operator, await serve() + DEPLOYMENTS, V3, status=400, headers=headers)


async def test_a_record_that_cannot_be_shown_does_not_look_like_a_failure(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    def answer(request: Request) -> Reply:
        daemon.fault = BROKEN
        return Reply(request=request.id, status=201, body={"id": "d2"})

    daemon.answer = answer
    assert await post(operator, await serve() + DEPLOYMENTS, V3, status=201) == {"id": "d2"}


@pytest.mark.parametrize(
    ("kind", "made", "field"),
    [("approve", "r1", "from"), ("close", "i1", "breaches"), ("acknowledge", "i1", "kind")],
)
async def test_the_record_that_changed_is_shown_as_a_read_shows_it(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, kind: str, made: str, field: str
) -> None:
    inner = {"id": made, "key": "auto:trips:d2", "change": {"target": "blue"}}
    daemon.answer = lambda request: Reply(request=request.id, status=200, body=inner)
    shown = await post(operator, f"{await serve()}/api/v1/incidents/i1/{kind}", {}, status=200)
    assert shown["id"] == made
    assert field in shown
    assert "key" not in shown
    assert "change" not in shown


async def test_a_body_that_does_not_arrive_is_a_408(serve: Serve, daemon: Daemon) -> None:
    url = await serve(patience=0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    head = f"POST {DEPLOYMENTS} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer operator-token\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 50\r\n\r\n{{".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()
    await writer.wait_closed()
    assert daemon.asked == []
