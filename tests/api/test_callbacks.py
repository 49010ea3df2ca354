"""Callbacks of channels: recognised by the channel itself, stored before they are answered, done once."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs

from tests.api.conftest import WITH_TOKENS
from tests.api.daemon import BROKEN, NOW, Daemon
from tests.eventually import Eventually
from watchdog.api.app import make_app
from watchdog.api.listener import Listener, listen
from watchdog.channels.interface import Answer, Heard, Received, Receiving
from watchdog.core.request import RequestKind
from watchdog.telemetry.metrics import Metrics

PRESS = Heard(id="p1", kind=RequestKind.ACKNOWLEDGE, target="i1", by="slack:U1 (ana)")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
#: A person's callback in these tests is whatever has this word in it.
WORD = b"authentic"


class Channel:
    """Recognises what has its word in it."""

    def __init__(self, *heard: Heard, word: bytes = WORD, body: bytes = b"") -> None:
        self.receives = True
        self.heard = heard or (PRESS,)
        self.word = word
        self.body = body
        self.seen: list[tuple[Mapping[str, str], bytes, datetime]] = []
        self.told: list[tuple[Heard, Answer]] = []
        self.goes_on = asyncio.Event()
        self.goes_on.set()

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received | None:
        self.seen.append((headers, body, now))
        return Received(heard=self.heard, body=self.body) if self.word in body else None

    async def answered(self, heard: Heard, answer: Answer) -> None:
        await self.goes_on.wait()
        self.told.append((heard, answer))


class Careful(Channel):
    """Looks up who may."""

    async def vetted(self, heard: Heard) -> Heard:
        return Heard(id=heard.id, kind=heard.kind, target=heard.target, by=heard.by, allowed=True)


Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve(daemon: Daemon) -> AsyncIterator[Serve]:
    async with contextlib.AsyncExitStack() as stack:

        async def start(patience: float = 5.0, **kinds: dict[str, Receiving]) -> str:
            app = make_app(
                reader=daemon,
                desk=daemon,
                live=daemon,
                server=WITH_TOKENS,
                rules=dict,
                metrics=Metrics(daemon.view).render,
                clock=daemon,
                receivers=lambda kind: kinds.get(kind, {}),
                patience=timedelta(seconds=patience),
            )
            listener: Listener = await listen(app, host="127.0.0.1", port=0)
            stack.push_async_callback(listener.aclose)
            return listener.url

        yield start


async def post(
    session: aiohttp.ClientSession, url: str, body: bytes = WORD, headers: Mapping[str, str] = FORM
) -> tuple[int, bytes]:
    async with session.post(url, data=body, headers=headers) as reply:
        return reply.status, await reply.read()


@pytest.mark.parametrize("kind", ["slack", "pagerduty"])
@pytest.mark.parametrize("media", [*FORM.values(), "application/json", "text/plain"])
async def test_what_a_channel_recognises_is_stored_done_and_answered(
    serve: Serve,
    anybody: aiohttp.ClientSession,
    daemon: Daemon,
    eventually: Eventually,
    kind: str,
    media: str,
) -> None:
    channel = Channel(body=b"fine")
    url = await serve(**{kind: {"ops": channel}})
    reply = await post(anybody, f"{url}/hooks/{kind}", headers={"Content-Type": media})
    assert reply == (200, b"fine")
    (asked,) = daemon.asked
    assert (asked.kind, asked.target, asked.by) == (RequestKind.ACKNOWLEDGE, "i1", "slack:U1 (ana)")
    await eventually(lambda: channel.told)
    assert [answer.done for _, answer in channel.told] == [True]
    headers, body, now = channel.seen[0]
    assert (headers["content-type"], body, now) == (media, WORD, NOW)


async def test_each_channel_is_asked_until_one_recognises_it(
    serve: Serve, anybody: aiohttp.ClientSession, eventually: Eventually
) -> None:
    first, second, third = Channel(word=b"other"), Channel(), Channel()
    url = await serve(slack={"a": first, "b": second, "c": third})
    assert (await post(anybody, f"{url}/hooks/slack"))[0] == 200
    await eventually(lambda: second.told)
    assert (len(first.told), third.seen) == (0, [])


async def test_what_no_channel_recognises_is_refused_and_nothing_is_asked(
    serve: Serve, anybody: aiohttp.ClientSession, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve(slack={"ops": Channel()})
    problem: dict[str, Any] = {}
    for session in (anybody, operator):  # a token of ours proves nothing here
        async with session.post(f"{url}/hooks/slack", data=b"forged", headers=FORM) as reply:
            assert reply.status == 401
            assert reply.content_type == "application/problem+json"
            problem = await reply.json()
    assert "recognises" in problem["detail"]
    assert "forged" not in str(problem)
    assert daemon.asked == []


async def test_without_a_channel_that_takes_callbacks_there_is_nothing(
    serve: Serve, anybody: aiohttp.ClientSession
) -> None:
    url = await serve(slack={"ops": Channel()})
    status, body = await post(anybody, f"{url}/hooks/pagerduty")
    assert (status, b"no channel of kind pagerduty" in body) == (404, True)
    assert (await post(anybody, f"{url}/hooks/other"))[0] == 404


async def test_a_replay_acts_once(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, eventually: Eventually
) -> None:
    channel = Channel()
    channel.goes_on.clear()
    url = await serve(slack={"ops": channel})
    for _ in range(3):
        assert (await post(anybody, f"{url}/hooks/slack"))[0] == 200
    assert len(daemon.asked) == 1
    channel.goes_on.set()
    await eventually(lambda: channel.told)
    assert len(channel.told) == 1, "and is answered once while it is being answered"


async def test_the_provider_waits_neither_for_the_reactor_nor_for_the_person(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, eventually: Eventually
) -> None:
    daemon.answer = lambda request: None
    channel = Channel()
    url = await serve(patience=0.2, slack={"ops": channel})
    assert (await post(anybody, f"{url}/hooks/slack"))[0] == 200
    await eventually(lambda: channel.told)
    (_, answer) = channel.told[0]
    assert (answer.done, "stored, but not answered" in answer.text) == (False, True)


async def test_one_who_may_not_is_told_so_and_nothing_is_asked(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, eventually: Eventually
) -> None:
    stranger = Heard(id="p1", kind=RequestKind.ROLLBACK, target="trips", by="slack:U9 (eve)", allowed=False)
    channel = Channel(stranger)
    url = await serve(slack={"ops": channel})
    with capture_logs() as told:
        assert (await post(anybody, f"{url}/hooks/slack"))[0] == 200
        await eventually(lambda: channel.told)
    assert "You may not" in channel.told[0][1].text
    assert daemon.asked == []
    assert [line["event"] for line in told] == ["wish_not_allowed"]


async def test_a_channel_that_must_look_up_who_may_has_the_last_word(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon
) -> None:
    known = Heard(id="p1", kind=RequestKind.ACKNOWLEDGE, target="i1", by="slack:U2", allowed=False)
    url = await serve(slack={"ops": Careful(known)})
    assert (await post(anybody, f"{url}/hooks/slack"))[0] == 200
    assert [request.by for request in daemon.asked] == ["slack:U2"]


@pytest.mark.parametrize("how", ["broken", "stuck"])
async def test_what_cannot_be_stored_is_not_taken(
    serve: Serve, anybody: aiohttp.ClientSession, daemon: Daemon, how: str
) -> None:
    channel = Channel()
    url = await serve(patience=0.2, slack={"ops": channel})
    daemon.fault, daemon.stuck = (BROKEN, False) if how == "broken" else (None, True)
    async with anybody.post(f"{url}/hooks/slack", data=WORD, headers=FORM) as reply:
        assert reply.status == 503
        assert reply.headers["Retry-After"]
    assert channel.told == []


async def test_a_body_has_a_limit(serve: Serve, anybody: aiohttp.ClientSession) -> None:
    channel = Channel()
    url = await serve(slack={"ops": channel})
    endless = io.BytesIO(b"x" * (1024 * 1024 + 1))
    async with anybody.post(f"{url}/hooks/slack", data=endless, headers=FORM) as reply:
        assert reply.status == 413
    assert channel.seen == []
    assert (await post(anybody, f"{url}/hooks/slack", WORD + b"x" * 500_000))[0] == 200


async def test_what_is_still_being_answered_ends_with_the_application(
    daemon: Daemon, anybody: aiohttp.ClientSession
) -> None:
    channel = Channel()
    channel.goes_on.clear()
    app = make_app(
        reader=daemon,
        desk=daemon,
        live=daemon,
        server=WITH_TOKENS,
        rules=dict,
        metrics=Metrics(daemon.view).render,
        clock=daemon,
        receivers=lambda _: {"ops": channel},
    )
    listener = await listen(app, host="127.0.0.1", port=0)
    try:
        assert (await post(anybody, f"{listener.url}/hooks/slack"))[0] == 200
        channel.goes_on.set()
    finally:
        await listener.aclose()
    assert len(channel.told) == 1


async def test_the_document_says_what_a_callback_is(serve: Serve, operator: aiohttp.ClientSession) -> None:
    url = await serve()
    async with operator.get(f"{url}/api/v1/openapi.json") as reply:
        paths: dict[str, Any] = (await reply.json())["paths"]
    slack = paths["/hooks/slack"]["post"]
    assert slack["security"] == []
    assert list(slack["requestBody"]["content"]) == FORM["Content-Type"].split()
    assert {"200", "401", "404", "413", "503"} <= slack["responses"].keys()
