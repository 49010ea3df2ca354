from __future__ import annotations

import json
from typing import Any

import aiohttp

from tests.api.conftest import Serve
from tests.api.daemon import BAD, BREACHED, ROLLED, Daemon, chain
from tests.eventually import Eventually
from watchdog.api import events as events_module
from watchdog.core.turn import Turn

EVENTS = "/api/v1/events"


async def opened(answer: aiohttp.ClientResponse) -> None:
    assert answer.status == 200
    assert answer.content_type == "text/event-stream"
    assert await answer.content.readuntil(b"\n\n") == b": watching\n\n"


async def event(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    lines = (await answer.content.readuntil(b"\n\n")).decode().strip().split("\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return {**fields, "data": json.loads(fields["data"])}


async def test_each_committed_change_is_one_event_in_order(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    async with operator.get(await serve() + EVENTS) as answer:
        await opened(answer)
        daemon.commit(Turn(deployments=(BAD,), incidents=(BREACHED,), rollbacks=(ROLLED,), audit=chain(2)))
        seen = [await event(answer) for _ in range(5)]
    assert [item["event"] for item in seen] == ["deployment", "incident", "rollback", "audit", "audit"]
    assert [item["data"].get("id") for item in seen[:3]] == ["d2", "i1", "r1"]
    assert [item.get("id") for item in seen] == [None, None, None, "1", "2"]
    assert seen[2]["data"]["from"] == {"variant": "green", "version": "v2"}


async def test_an_event_shows_what_a_read_shows(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve()
    async with operator.get(url + EVENTS) as answer:
        await opened(answer)
        daemon.commit(Turn(incidents=(BREACHED,)))
        told = (await event(answer))["data"]
    async with operator.get(f"{url}/api/v1/incidents/i1") as answer:
        assert told == await answer.json()


async def test_every_reader_gets_every_event(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    url = await serve() + EVENTS
    async with operator.get(url) as one, operator.get(url) as other:
        await opened(one)
        await opened(other)
        daemon.commit(Turn(deployments=(BAD,)))
        assert (await event(one)) == (await event(other))


async def test_an_idle_stream_is_kept_alive_by_comments(
    serve: Serve, operator: aiohttp.ClientSession
) -> None:
    async with operator.get(await serve(keep_alive=0.05) + EVENTS) as answer:
        await opened(answer)
        for _ in range(3):
            assert await answer.content.readuntil(b"\n\n") == b": keep-alive\n\n"


async def test_a_turn_without_records_is_no_event(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon
) -> None:
    async with operator.get(await serve() + EVENTS) as answer:
        await opened(answer)
        daemon.commit(Turn())
        daemon.commit(Turn(deployments=(BAD,)))
        assert (await event(answer))["event"] == "deployment"


async def test_a_reader_that_does_not_read_is_disconnected_and_others_stay(
    serve: Serve, operator: aiohttp.ClientSession, daemon: Daemon, eventually: Eventually
) -> None:
    url = await serve() + EVENTS
    large = Turn(audit=chain(200))
    async with operator.get(url) as slow, operator.get(url) as quick:
        await opened(slow)
        await opened(quick)
        received = 0
        # More than every buffer on the way can hold.
        for _ in range(events_module.BACKLOG * 2):
            daemon.commit(large)
            for _ in range(200):
                assert (await event(quick))["event"] == "audit"
                received += 1

        async def gone() -> bool:
            try:
                while await slow.content.readany():
                    pass
            except (aiohttp.ClientError, ConnectionError):
                return True
            return slow.content.at_eof()

        await eventually(gone, what="the slow reader loses its connection")
        daemon.commit(Turn(deployments=(BAD,)))
        assert (await event(quick))["event"] == "deployment"


async def test_no_more_readers_than_the_daemon_can_serve(
    serve: Serve, operator: aiohttp.ClientSession, eventually: Eventually
) -> None:
    url = await serve(keep_alive=0.05) + EVENTS
    answers = []
    for _ in range(events_module.MAX_READERS):
        answers.append(await operator.get(url))
        await opened(answers[-1])
    async with operator.get(url) as one_too_many:
        assert one_too_many.status == 503
        assert one_too_many.headers["Retry-After"]
    for answer in answers:
        answer.close()

    async def taken_again() -> bool:
        async with operator.get(url) as answer:
            return answer.status == 200

    await eventually(taken_again, what="readers that left make room")
