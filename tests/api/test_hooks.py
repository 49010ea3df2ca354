"""Webhooks: what other programs send becomes a request once, or is answered with the reason why not."""

from __future__ import annotations

import hashlib
import hmac
import io
import json
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from tests.api.conftest import Serve
from tests.api.daemon import BROKEN, NOW, Daemon
from watchdog.config.loaded import Server, Token
from watchdog.core.request import RequestKind

DEPLOYMENT, ALERTS = "/hooks/deployment", "/hooks/alertmanager"
V3 = {"service": "trips", "version": "v3", "variant": "blue"}


def github(
    state: str = "success", *, status: dict[str, Any] | None = None, **deployment: Any
) -> dict[str, Any]:
    """GitHub's event, cut down to some of what it has."""
    return {
        "action": "created",
        "deployment_status": {
            "id": 11,
            "state": state,
            "log_url": "https://github.com/example/trips/actions/runs/5",
            "target_url": "",
            "environment": "production",
            "created_at": "2026-03-14T15:09:20Z",
            **(status or {}),
        },
        "deployment": {
            "id": 7,
            "ref": "main",
            "sha": "5f3a1c0d2b4e69788796a5b4c3d2e1f001122334",
            "task": "deploy",
            "payload": {"service": "trips", "variant": "blue", "version": "v3"},
            "environment": "production",
            "created_at": "2026-03-14T15:05:00Z",
            **deployment,
        },
        "repository": {"id": 1, "full_name": "example/trips", "private": True},
        "sender": {"login": "octocat"},
        "workflow": None,
    }


def firing(service: str = "trips", *, status: str = "firing", **labels: str) -> dict[str, Any]:
    return {
        "status": status,
        "labels": {"alertname": "HighErrorRate", "service": service, **labels},
        "annotations": {"summary": "it burns"},
        "startsAt": "2026-03-14T16:09:00.123456789+01:00",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.org/graph",
        "fingerprint": hashlib.sha256(json.dumps([service, labels]).encode()).hexdigest()[:16],
    }


def delivery(*alerts: dict[str, Any], **other: Any) -> dict[str, Any]:
    facts = {
        "version": "4",
        "groupKey": '{}:{alertname="HighErrorRate"}',
        "truncatedAlerts": 0,
        "status": "firing",
        "receiver": "watchdog",
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://alertmanager.example.org",
        "alerts": list(alerts),
    }
    return facts | other


def timed(
    raw: bytes,
    secret: str = "operator-token",
    *,
    at: datetime = NOW,
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    """Our own signature, of this moment."""
    stamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), stamp.encode() + b"." + raw, hashlib.sha256).hexdigest()
    own = {"X-Watchdog-Timestamp": stamp, "X-Watchdog-Signature": f"v1={digest}"}
    return {"Content-Type": "application/json", **own, **(headers or {})}


def signed(raw: bytes, secret: str = "operator-token", **headers: str) -> dict[str, str]:
    """GitHub's signature."""
    digest = hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    return {"Content-Type": "application/json", "X-Hub-Signature-256": f"sha256={digest}", **headers}


async def post(
    session: aiohttp.ClientSession,
    url: str,
    body: Any,
    *,
    status: int,
    headers: dict[str, str] | None = None,
    event: str = "",
) -> Any:
    words = {
        "Content-Type": "application/json",
        **({"X-GitHub-Event": event} if event else {}),
        **(headers or {}),
    }
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with session.post(url, data=io.BytesIO(raw), headers=words) as answer:
        assert answer.status == status, await answer.text()
        assert answer.content_type == ("application/json" if status < 400 else "application/problem+json")
        return await answer.json(content_type=None)


# Deployments in our own words


async def test_our_own_body_is_taken_as_the_api_takes_it(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve()
    record = await post(operator, url + DEPLOYMENT, V3, status=201)
    assert record["id"] == "d2"
    (request,) = daemon.asked
    assert (request.kind, request.target, request.by) == (RequestKind.DEPLOYMENT, "trips", "ci")
    assert request.body == {**V3, "rollback": "allowed", "labels": {}}
    problem = await post(operator, url + DEPLOYMENT, {**V3, "colour": "red"}, status=422)
    assert [mistake["pointer"] for mistake in problem["errors"]] == ["#/colour"]


async def test_an_idempotency_key_works_here_too(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve()
    for _ in range(2):
        await post(operator, url + DEPLOYMENT, V3, status=201, headers={"Idempotency-Key": "build-7"})
    assert len(daemon.asked) == 1


# Who may


@pytest.mark.parametrize("path", [DEPLOYMENT, ALERTS])
async def test_without_token_and_signature_nothing_is_taken(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, path: str
) -> None:
    body = V3 if path == DEPLOYMENT else delivery(firing())
    await post(anybody, await serve() + path, body, status=401)
    assert daemon.asked == []


@pytest.mark.parametrize("event", ["", "ping", "deployment_status"])
async def test_a_body_signed_with_an_operators_token_is_that_operators(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, event: str
) -> None:
    raw = json.dumps(V3 if not event else github()).encode()
    status = 200 if event == "ping" else 201
    headers = signed(raw) if event else timed(raw)
    await post(anybody, await serve() + DEPLOYMENT, raw, status=status, headers=headers, event=event)
    assert [request.by for request in daemon.asked] == ([] if event == "ping" else ["ci"])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (signed(b"{}"), 401),
        (signed(json.dumps(V3).encode(), "operator-toke"), 401),
        (signed(json.dumps(V3).encode(), ""), 401),
        ({"X-Hub-Signature-256": ""}, 401),
        ({"X-Hub-Signature-256": "sha256="}, 401),
        ({"X-Hub-Signature-256": "t\u00f6ken"}, 401),
        (
            {
                "X-Hub-Signature": "sha1="
                + hmac.new(b"operator-token", json.dumps(V3).encode(), "sha1").hexdigest()
            },
            401,
        ),
        (signed(json.dumps(V3).encode()), 401),
        (signed(json.dumps(V3).encode(), "viewer-token"), 403),
        (timed(b"{}"), 401),
        (timed(json.dumps(V3).encode(), "operator-toke"), 401),
        (timed(json.dumps(V3).encode(), "viewer-token"), 403),
        (timed(json.dumps(V3).encode(), at=NOW - timedelta(seconds=302)), 401),
        (timed(json.dumps(V3).encode(), at=NOW + timedelta(seconds=302)), 401),
        (
            timed(json.dumps(V3).encode(), headers={"X-Watchdog-Timestamp": str(int(NOW.timestamp()) + 1)}),
            401,
        ),
        (timed(json.dumps(V3).encode(), headers={"X-Watchdog-Timestamp": "now"}), 401),
        (timed(json.dumps(V3).encode(), headers={"Authorization": "Bearer viewer-token"}), 403),
        (signed(json.dumps(V3).encode(), Authorization="Bearer nonsense"), 401),
        (signed(json.dumps(V3).encode(), Authorization="Bearer viewer-token"), 403),
    ],
)
async def test_a_wrong_signature_is_refused(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, headers: dict[str, str], status: int
) -> None:
    await post(anybody, await serve() + DEPLOYMENT, V3, status=status, headers=headers)
    assert daemon.asked == []


async def test_no_signature_fits_where_no_token_is_configured(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    raw = json.dumps(V3).encode()
    url = await serve(Server(port=0)) + DEPLOYMENT
    problem = await post(anybody, url, raw, status=401, headers=signed(raw, ""))
    assert "no token is configured" in problem["detail"]
    await post(anybody, url, raw, status=403)
    assert daemon.asked == []


@pytest.mark.parametrize("secret", ["", " "])
async def test_an_empty_configured_token_signs_nothing(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, secret: str
) -> None:
    slip = Token(name="slip", role="operator", token=SecretStr(secret))
    raw = json.dumps(V3).encode()
    url = await serve(Server(port=0, tokens=(slip,))) + DEPLOYMENT
    await post(anybody, url, raw, status=401, headers=signed(raw, secret))
    assert daemon.asked == []


async def test_a_signature_opens_nothing_but_the_hook_for_deployments(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    raw = json.dumps({"reason": "freeze"}).encode()
    url = await serve()
    for path in ("/api/v1/services/trips/pause", ALERTS):
        await post(anybody, url + path, raw, status=401, headers=signed(raw))
    assert daemon.asked == []


async def test_the_signer_is_told_from_the_other_operators(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    tokens = tuple(
        Token(name=name, role="operator", token=SecretStr(f"{name}-secret"))
        for name in ("ci", "github", "cd")
    )
    raw = json.dumps(V3).encode()
    url = await serve(Server(port=0, tokens=tokens)) + DEPLOYMENT
    await post(anybody, url, raw, status=201, headers=timed(raw, "github-secret"))
    assert daemon.asked[0].by == "github"


async def test_a_signature_of_ours_counts_once_and_a_new_one_again(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + DEPLOYMENT
    raw = json.dumps(V3).encode()
    await post(anybody, url, raw, status=201, headers=timed(raw))
    for words in ({}, {"X-GitHub-Delivery": "another"}, {"Idempotency-Key": "another"}):
        problem = await post(anybody, url, raw, status=401, headers=timed(raw, headers=words))
        assert "used already" in problem["detail"]
    assert len(daemon.asked) == 1
    await post(anybody, url, raw, status=201, headers=timed(raw, at=NOW + timedelta(seconds=1)))
    assert len(daemon.asked) == 2


async def test_a_signature_of_ours_asks_for_the_same_after_a_restart(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    """What was taken is forgotten then, but the store knows the request."""
    raw = json.dumps(V3).encode()
    for _ in range(2):
        await post(anybody, await serve() + DEPLOYMENT, raw, status=201, headers=timed(raw))
    assert len({request.id for request in daemon.asked}) == 1


async def test_every_flipped_bit_of_a_signed_delivery_is_refused(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + DEPLOYMENT
    for raw, headers, event in (
        (json.dumps(V3).encode(), timed, ""),
        (json.dumps(github()).encode(), signed, "deployment_status"),
    ):
        for place in range(0, len(raw), 7):
            forged = bytearray(raw)
            forged[place] ^= 1 << place % 8
            await post(anybody, url, bytes(forged), status=401, headers=headers(raw), event=event)
    assert daemon.asked == []


@pytest.mark.parametrize("said", ["2026-03-14T14:09:00Z", "2026-03-14T16:10:00Z", "2025-03-14T15:09:20Z"])
async def test_an_old_event_of_github_is_refused_however_well_it_is_signed(
    serve: Serve,
    anybody: aiohttp.ClientSession,
    operator: aiohttp.ClientSession,
    daemon: Daemon,
    said: str | None,
) -> None:
    url = await serve() + DEPLOYMENT
    raw = json.dumps(github(status={"created_at": said})).encode()
    problem = await post(anybody, url, raw, status=401, headers=signed(raw), event="deployment_status")
    assert "watchdog deploy" in problem["detail"]
    assert daemon.asked == []
    # Who brings the token itself may redeliver what he likes.
    await post(operator, url, raw, status=201, event="deployment_status")


async def test_a_signed_event_without_ids_is_told_from_others_by_its_signature(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + DEPLOYMENT
    raw = json.dumps(github(status={"id": None})).encode()
    for number in ("one", "two"):
        headers = signed(raw, **{"X-GitHub-Delivery": number})
        await post(anybody, url, raw, status=201, headers=headers, event="deployment_status")
    assert len(daemon.asked) == 1


# GitHub


async def test_a_successful_deployment_of_github_is_posted(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    record = await post(operator, await serve() + DEPLOYMENT, github(), status=201, event="deployment_status")
    assert record["id"] == "d2"
    assert daemon.asked[0].body == {
        "service": "trips",
        "variant": "blue",
        "version": "v3",
        "started_at": "2026-03-14T15:05:00Z",
        "source": "github example/trips",
        "url": "https://github.com/example/trips/actions/runs/5",
        "rollback": "allowed",
        "labels": {},
    }


@pytest.mark.parametrize(
    ("deployment", "version"),
    [
        ({"ref": "v1.4.2"}, "v1.4.2"),
        ({"ref": "refs/tags/winter"}, "winter"),
        ({"ref": "2026.03"}, "2026.03"),
        ({"ref": "main"}, "5f3a1c0d2b4e69788796a5b4c3d2e1f001122334"),
        ({"ref": "release-1"}, "5f3a1c0d2b4e69788796a5b4c3d2e1f001122334"),
        ({"ref": "5f3a1c0"}, "5f3a1c0d2b4e69788796a5b4c3d2e1f001122334"),
        ({"ref": "main", "sha": ""}, "main"),
    ],
)
async def test_without_a_version_the_tag_or_the_commit_is_it(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, deployment: dict[str, Any], version: str
) -> None:
    payload = {"service": "trips", "variant": "blue"}
    body = github(payload=payload, **deployment)
    await post(operator, await serve() + DEPLOYMENT, body, status=201, event="deployment_status")
    assert daemon.asked[0].body["version"] == version


async def test_a_payload_may_be_a_text_and_say_more(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    payload = {**V3, "rollback": "forbidden", "labels": {"team": "booking"}, "shard": 3}
    body = github(payload=json.dumps(payload), created_at="2030-01-01T00:00:00Z")
    body["deployment_status"]["log_url"] = "javascript:alert(1)"
    await post(operator, await serve() + DEPLOYMENT, body, status=201, event="deployment_status")
    asked = daemon.asked[0].body
    assert (asked["rollback"], asked["labels"]) == ("forbidden", {"team": "booking"})
    assert asked["started_at"] == "2026-03-14T15:09:26Z", "GitHub's clock may be ahead"
    assert "url" not in asked


@pytest.mark.parametrize(
    ("event", "body", "reason"),
    [
        ("ping", {"zen": "Design for failure.", "hook_id": 1}, "a ping"),
        ("push", {"ref": "refs/heads/main"}, "the event push is not deployment_status"),
        ("deployment", {"deployment": {"id": 7}}, "the event deployment is not"),
        *(
            ("deployment_status", github(state), f"the state {state} is not success")
            for state in ("pending", "queued", "in_progress", "failure", "error", "inactive", "waiting")
        ),
        ("deployment_status", github(payload={}), "names neither a service nor a variant"),
        ("deployment_status", github(payload=""), "names neither"),
        ("deployment_status", github(payload="{" * 5000), "names neither"),
        ("deployment_status", github(payload=None, environment="github-pages"), "names neither"),
        ("deployment_status", github(payload={**V3, "environment": "staging"}), "this went to staging"),
    ],
)
async def test_what_is_of_no_use_is_answered_with_the_reason(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, event: str, body: Any, reason: str
) -> None:
    answer = await post(operator, await serve() + DEPLOYMENT, body, status=200, event=event)
    assert answer["status"] == "ignored"
    assert reason in answer["reason"]
    assert daemon.asked == []


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        (github(payload={"service": "trips"}), {"#/deployment/payload/variant"}),
        (github(payload={"variant": "blue"}), {"#/deployment/payload/service"}),
        (github(payload={**V3, "version": 7}), {"#/deployment/payload/version"}),
        (github(payload={**V3, "service": ["trips"]}), {"#/deployment/payload/service"}),
        (github(payload={**V3, "service": "trip"}), {"#/deployment/payload/service"}),
        (github(payload={**V3, "labels": {"-": "x"}}), {"#/deployment/payload/labels/-"}),
        ({"deployment": {}}, {"#/deployment_status"}),
    ],
)
async def test_a_mistake_is_told_with_its_place(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, body: Any, pointers: set[str]
) -> None:
    problem = await post(operator, await serve() + DEPLOYMENT, body, status=422, event="deployment_status")
    assert {mistake["pointer"] for mistake in problem["errors"]} == pointers
    assert daemon.asked == []


async def test_a_delivery_acts_once_however_often_it_comes(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + DEPLOYMENT
    raw = json.dumps(github()).encode()
    for number in ("one", "one", "two"):  # what the signature does not cover must not make it another one
        headers = signed(raw, **{"X-GitHub-Delivery": number})
        await post(anybody, url, raw, status=201, headers=headers, event="deployment_status")
    assert len(daemon.asked) == 1
    again = json.dumps(github(status={"id": 12})).encode()
    await post(anybody, url, again, status=201, headers=signed(again), event="deployment_status")
    assert len(daemon.asked) == 2


async def test_where_nothing_in_the_body_names_the_delivery_its_header_does(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + DEPLOYMENT
    body = github(status={"id": None})
    for number in ("one", "one", "two"):
        headers = {"X-GitHub-Delivery": number}
        await post(operator, url, body, status=201, headers=headers, event="deployment_status")
    assert len(daemon.asked) == 2
    await post(
        operator, url, body, status=400, headers={"X-GitHub-Delivery": "x" * 500}, event="deployment_status"
    )


async def test_a_large_delivery_is_taken_and_an_endless_one_is_not(
    serve: Serve, operator: aiohttp.ClientSession, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + DEPLOYMENT
    large = github()
    large["repository"]["description"] = "x" * 300_000
    await post(operator, url, large, status=201, event="deployment_status")
    endless = json.dumps({"x": "x" * 1_100_000}).encode()
    await post(operator, url, endless, status=413)
    await post(anybody, url, endless, status=413, headers=signed(endless))
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    problem = await post(operator, url, b"payload=%7B%7D", status=415, headers=form, event="ping")
    assert "application/json" in problem["detail"]


# Alertmanager


async def test_a_firing_alert_becomes_one_hint(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + ALERTS
    alert = firing(environment="production")
    for _ in range(3):
        answer = await post(operator, url, delivery(alert), status=200)
        assert answer == {"heard": [{"fingerprint": alert["fingerprint"], "service": "trips"}], "ignored": []}
    (request,) = daemon.asked
    assert (request.kind, request.target, request.by, request.at) == (RequestKind.ALERT, "trips", "ci", NOW)
    assert request.body == {
        "alert": "HighErrorRate",
        "fingerprint": alert["fingerprint"],
        "starts_at": "2026-03-14T15:09:00.123456+00:00",
    }


async def test_an_alert_that_begins_again_is_another_hint(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + ALERTS
    await post(operator, url, delivery(firing()), status=200)
    await post(operator, url, delivery({**firing(), "startsAt": "2026-03-14T17:00:00Z"}), status=200)
    assert len(daemon.asked) == 2


@pytest.mark.parametrize(
    ("alert", "reason"),
    [
        (firing(status="resolved"), "it is resolved, not firing"),
        (firing("trip"), "no service is called 'trip'; did you mean 'trips'?"),
        (firing("nowhere"), "no service is called 'nowhere'"),
        (firing(""), "it has no label `service`"),
        (firing(environment="staging"), "trips is protected in production, not in staging"),
    ],
)
async def test_an_alert_that_is_not_for_us_is_listed_with_the_reason(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, alert: dict[str, Any], reason: str
) -> None:
    other = firing("hotels")
    answer = await post(operator, await serve() + ALERTS, delivery(alert, other), status=200)
    assert answer["ignored"] == [{"fingerprint": alert["fingerprint"], "reason": reason}]
    assert [request.target for request in daemon.asked] == ["hotels"]


async def test_a_fleet_on_fire_is_listened_to_up_to_a_bound(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    alerts = [firing(instance=str(number)) for number in range(230)]
    answer = await post(operator, await serve() + ALERTS, delivery(*alerts), status=200)
    assert (len(daemon.asked), len(answer["heard"]), len(answer["ignored"])) == (200, 200, 30)
    assert answer["ignored"][0]["reason"] == "more than 200 alerts in one delivery"


@pytest.mark.parametrize(
    "body",
    [
        {},
        delivery(version="3"),
        delivery(alerts={}),
        delivery({**firing(), "startsAt": "yesterday"}),
        delivery({**firing(), "fingerprint": ""}),
    ],
)
async def test_what_is_no_delivery_of_alertmanager_is_refused(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, body: Any
) -> None:
    await post(operator, await serve() + ALERTS, body, status=422)
    assert daemon.asked == []


async def test_a_broken_store_makes_alertmanager_try_again(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.fault = BROKEN
    alerts = [firing(instance=str(number)) for number in range(3)]
    await post(operator, await serve() + ALERTS, delivery(*alerts), status=503)


async def test_a_hint_that_is_stored_but_not_answered_yet_is_heard(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    daemon.answer = lambda request: None
    answer = await post(operator, await serve(patience=0.2) + ALERTS, delivery(firing()), status=200)
    assert len(answer["heard"]) == len(daemon.asked) == 1


async def test_no_secret_and_no_payload_is_shown_in_an_answer(
    serve: Serve, anybody: aiohttp.ClientSession
) -> None:
    raw = json.dumps({**V3, "password": "letmein"}).encode()
    problem = await post(anybody, await serve() + DEPLOYMENT, raw, status=422, headers=timed(raw))
    assert "letmein" not in json.dumps(problem)
    assert "operator-token" not in json.dumps(problem)
