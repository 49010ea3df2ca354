from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from tests.api.conftest import WITH_TOKENS
from tests.api.daemon import BAD, BREACHED, Daemon
from tests.eventually import Eventually
from watchdog.api.app import make_app
from watchdog.api.listener import listen
from watchdog.core.audit import AuditDraft, ChainHead, link
from watchdog.core.deployment import DeploymentState
from watchdog.core.errors import StoreError
from watchdog.core.request import Reply, Request
from watchdog.core.turn import Turn
from watchdog.store.interface import Store
from watchdog.store.sqlite import SqliteStore
from watchdog.testing.store import MemoryStore

V1 = "/api/v1"


class Reactor:
    """Answers every request in one turn, as the real one does: record, audit link and reply together."""

    def __init__(self, store: Store, clock: Daemon) -> None:
        self._store = store
        self._clock = clock
        self._head = ChainHead()
        self.waiting: list[Request] = []
        store.on_request(self.waiting.append)

    async def turn(self, turn: Turn = Turn()) -> None:  # noqa: B008 - a frozen value
        replies = [Reply(request=one.id, status=201, body={"id": f"d-{one.id}"}) for one in self.waiting]
        deployments = [
            replace(BAD, id=f"d-{one.id}", version=str(one.body["version"])) for one in self.waiting
        ]
        record = link(self._head, AuditDraft(at=self._clock.now(), kind="turn", subject="trips", body={}))
        self._head = ChainHead(seq=record.seq, hash=record.hash)
        self.waiting.clear()
        await self._store.commit(
            replace(
                turn,
                replies=tuple(replies),
                deployments=(*turn.deployments, *deployments),
                audit=(record,),
            )
        )


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    made: Store = (
        MemoryStore() if request.param == "memory" else SqliteStore(f"sqlite:///{tmp_path}/watchdog.db")
    )
    await made.open()
    await made.claim(now=datetime.now(UTC))
    await made.load(now=datetime.now(UTC))
    yield made
    await made.aclose()


@pytest.fixture
def reactor(store: Store, daemon: Daemon) -> Reactor:
    return Reactor(store, daemon)


@pytest.fixture
async def url(store: Store, daemon: Daemon) -> AsyncIterator[str]:
    app = make_app(
        reader=store,
        desk=store,
        live=daemon,
        server=WITH_TOKENS,
        rules=dict,
        metrics=lambda: b"",
        clock=daemon,
        patience=timedelta(seconds=5),
    )
    async with contextlib.aclosing(await listen(app, host="127.0.0.1", port=0)) as listener:
        yield listener.url


async def get(session: aiohttp.ClientSession, url: str, status: int = 200) -> Any:
    async with session.get(url) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json(content_type=None)


async def test_a_request_goes_through_the_store_to_its_answer(
    url: str, reactor: Reactor, operator: aiohttp.ClientSession, store: Store, eventually: Eventually
) -> None:
    asked: list[Request] = []
    store.on_request(asked.append)
    body = {"service": "trips", "version": "v7", "variant": "green"}
    headers = {"Idempotency-Key": "build-7"}

    async def answer() -> None:
        await eventually(lambda: reactor.waiting, what="the request is stored")
        await reactor.turn()

    answering = asyncio.create_task(answer())
    async with operator.post(f"{url}{V1}/deployments", json=body, headers=headers) as posted:
        assert posted.status == 201
        record = await posted.json()
    await answering
    assert record["version"] == "v7"
    assert record == await get(operator, f"{url}{V1}/deployments/{record['id']}")
    # Sent again after it was answered: the same record, and nobody is asked.
    async with operator.post(f"{url}{V1}/deployments", json=body, headers=headers) as again:
        assert (again.status, await again.json()) == (201, record)
    assert len(asked) == 1


async def test_lists_page_through_with_the_stores_own_cursors(
    url: str, reactor: Reactor, operator: aiohttp.ClientSession
) -> None:
    minutes = range(7)
    deployments = tuple(
        replace(
            BAD,
            id=f"d{n}",
            state=DeploymentState.SUPERSEDED,
            started_at=BAD.started_at + timedelta(minutes=n),
        )
        for n in minutes
    )
    await reactor.turn(Turn(deployments=deployments, incidents=(BREACHED,)))
    seen: list[str] = []
    query = "?limit=3"
    while True:
        page = await get(operator, f"{url}{V1}/deployments{query}")
        assert len(page["items"]) <= 3
        seen += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        query = f"?limit=3&cursor={page['next']}"
    assert sorted(seen) == [f"d{n}" for n in minutes]
    assert [item["id"] for item in (await get(operator, f"{url}{V1}/incidents?open=true"))["items"]] == ["i1"]


@pytest.mark.parametrize("noun", ["deployments", "incidents", "rollbacks", "audit"])
@pytest.mark.parametrize("cursor", ["x", "%00", "1", "bm9uc2Vuc2U", "🦊"])
async def test_a_cursor_that_no_list_gave_is_a_400(
    url: str, operator: aiohttp.ClientSession, noun: str, cursor: str
) -> None:
    problem = await get(operator, f"{url}{V1}/{noun}?cursor={cursor}", status=400)
    assert problem["errors"][0]["pointer"] == "?cursor"


async def test_a_committed_turn_is_told_at_once(
    url: str, reactor: Reactor, operator: aiohttp.ClientSession
) -> None:
    async with operator.get(f"{url}{V1}/events") as stream:
        assert await stream.content.readuntil(b"\n\n") == b": watching\n\n"
        await reactor.turn(Turn(incidents=(BREACHED,)))
        told = [(await stream.content.readuntil(b"\n\n")).decode().split("\n") for _ in range(2)]
    assert [lines[0] for lines in told] == ["event: incident", "event: audit"]
    assert told[1][1] == "id: 1"
    assert json.loads(told[0][1].removeprefix("data: "))["id"] == "i1"


@pytest.mark.parametrize("store", ["memory"], indirect=True)
async def test_a_store_that_takes_nothing_is_a_503(
    url: str, store: Store, operator: aiohttp.ClientSession
) -> None:
    assert isinstance(store, MemoryStore)
    store.fail_always(StoreError("the disk is full", advice="free some space"))
    async with operator.post(f"{url}{V1}/services/trips/pause") as answer:
        assert answer.status == 503
        assert "free some space" in (await answer.json(content_type=None))["detail"]
