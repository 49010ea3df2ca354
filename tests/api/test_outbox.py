from __future__ import annotations

from urllib.parse import quote

import aiohttp

from tests.api.conftest import Serve
from tests.api.daemon import DELIVERED, REFUSED, WAITS, Daemon
from tests.api.test_asking import post
from tests.api.test_silences import get
from watchdog.core.request import RequestKind

PATH = "/api/v1/outbox"


async def test_messages_are_listed_with_where_they_are_and_why(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    page = await get(operator, await serve() + PATH)
    shown = [(one["id"], one["state"], one["attempts"], one["last_error"]) for one in page["items"]]
    assert shown == [
        (WAITS.key, "pending", 3, "answered 503"),
        (REFUSED.key, "dead", 1, "answered 401"),
        (DELIVERED.key, "sent", 1, ""),
    ]
    first = page["items"][0]
    assert (first["due_at"], first["needs_human"]) == ("2026-03-14T15:09:30Z", True)
    assert page["items"][2]["reference"] == "<m1@mail>"


async def test_the_list_is_of_one_state_or_one_channel(serve: Serve, operator: aiohttp.ClientSession) -> None:
    url = await serve() + PATH
    assert [one["id"] for one in (await get(operator, url + "?state=dead"))["items"]] == [REFUSED.key]
    assert [one["id"] for one in (await get(operator, url + "?channel=mail"))["items"]] == [DELIVERED.key]
    problem = await get(operator, url + "?state=lost", status=400)
    assert "?state is not one of pending, sent, dead" in problem["detail"]


async def test_a_message_that_was_given_up_is_tried_again_by_request(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + PATH
    answer = await post(operator, f"{url}/{quote(REFUSED.key)}/retry", {"reason": "new token"}, status=200)
    assert answer["id"] == REFUSED.key
    (request,) = daemon.asked
    assert (request.kind, request.target, request.by) == (RequestKind.RESEND, REFUSED.key, "ci")
    assert request.body == {"reason": "new token"}


async def test_no_other_message_is_tried_again(
    serve: Serve, operator: aiohttp.ClientSession, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + PATH
    problem = await post(operator, f"{url}/{quote(WAITS.key)}/retry", status=409)
    assert "the message is pending" in problem["detail"]
    await post(operator, f"{url}/nobody%40ops/retry", status=404)
    await post(operator, f"{url}/{'x' * 3000}/retry", status=404)
    await post(anybody, f"{url}/{quote(REFUSED.key)}/retry", status=401)
    assert daemon.asked == []
