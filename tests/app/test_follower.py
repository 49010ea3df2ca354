"""One of several: a daemon that follows, leads, loses the lead and follows again, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import aiohttp
import asyncpg
import pytest
from structlog.testing import capture_logs

from tests.app.conftest import Home
from tests.eventually import Eventually
from tests.faults import recorded
from tests.faults.recorded import Recorded
from tests.servers.kubernetes import Kubernetes
from tests.servers.postgres import Postgres
from watchdog.aio.clock import SystemClock
from watchdog.aio.supervise import TaskEnded
from watchdog.app.daemon import Daemon
from watchdog.config.load import load
from watchdog.core.errors import ConfigError
from watchdog.core.traffic import Tier
from watchdog.leader.postgres import key_of
from watchdog.store.registry import make_store
from watchdog.traffic.registry import KINDS

pytestmark = pytest.mark.timeout(120)
PATIENCE = 30.0
TOKEN = "follower-operator-token-31"

Start = Callable[[], Awaitable[Daemon]]


@pytest.fixture(autouse=True)
def tier_a() -> Iterator[None]:
    recorded.register()
    yield
    del KINDS["recorded"]


@pytest.fixture
async def shared(home: Home, postgres_url: str) -> AsyncIterator[Home]:
    """A configuration of several on one database."""
    async with Recorded() as switch:
        switch.add("trips", tier=Tier.A, live="blue", versions={"blue": "v1", "green": "v0"})
        (home.folder / "token").write_text(TOKEN)
        home.settings |= {
            "store": {"url": postgres_url},
            "leader": {"kind": "postgres", "lease": "3s", "renew": "2s", "retry": "100ms"},
        }
        home.settings["services"][0]["traffic"] = switch.settings("trips")
        yield home


@pytest.fixture
async def start(shared: Home) -> AsyncIterator[Start]:
    daemons: list[Daemon] = []

    async def make() -> Daemon:
        daemons.append(Daemon(read(shared), clock=SystemClock(), seed=len(daemons)))
        await daemons[-1].start()
        return daemons[-1]

    yield make
    for one in daemons:
        await one.stop()


def read(home: Home) -> Any:
    text = home.path.read_text()
    tokens = '"tokens": [{"name": "ci", "role": "operator", "token": !file token}]'
    home.path.with_name("watchdog.yaml").write_text(
        text.replace('"listen": "127.0.0.1:0"', f'"listen": "127.0.0.1:0", {tokens}')
    )
    return load(home.folder / "watchdog.yaml", environ={})


async def somebody_else(url: str, *, name: str) -> asyncpg.Connection:
    """Another process's session, which has the lock."""
    connection = await asyncpg.connect(url, server_settings={"application_name": name})
    await connection.execute(f"SELECT pg_advisory_lock({key_of('public')})")
    return connection


def leads(daemon: Daemon) -> bool:
    view = daemon.view()
    return view is not None and view.leader


def follows(daemon: Daemon) -> bool:
    view = daemon.view()
    return view is not None and not view.leader


async def test_it_follows_until_the_lead_is_free_and_says_who_has_it(
    shared: Home, start: Start, postgres_url: str, eventually: Eventually
) -> None:
    other = await somebody_else(postgres_url, name="watchdog leader kate_1")
    try:
        daemon = await start()
        await eventually(lambda: follows(daemon), within=PATIENCE)

        def known() -> bool:
            view = daemon.view()
            return view is not None and view.holder == "kate_1"

        await eventually(known, within=PATIENCE, what="who leads")
        assert daemon.term.leading is False
    finally:
        other.terminate()
    await eventually(lambda: leads(daemon), within=PATIENCE, what="the lead")


async def test_a_request_that_nobody_can_answer_is_kept_and_answered_503(
    start: Start, postgres_url: str, eventually: Eventually
) -> None:
    other = await somebody_else(postgres_url, name="")
    try:
        daemon = await start()
        await eventually(lambda: follows(daemon), within=PATIENCE)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"{daemon.url}/api/v1/services/trips/pause"
            async with session.post(url, json={"reason": "by a follower"}) as answer:
                assert answer.status == 503
                assert answer.headers["Retry-After"] == "5"
                assert "no watchdog leads now" in (await answer.json())["detail"]
    finally:
        other.terminate()

    def paused() -> bool:
        view = daemon.view()
        return view is not None and view.services["trips"].paused is not None

    await eventually(paused, within=PATIENCE, what="the next leader to take the request")


async def test_who_finds_the_store_claimed_by_another_follows_and_leads_again_from_what_is_stored(
    start: Start, postgres_url: str, eventually: Eventually
) -> None:
    daemon = await start()
    await eventually(lambda: leads(daemon), within=PATIENCE)
    term = daemon.term
    store = make_store(postgres_url)
    await store.open()
    with capture_logs() as logs:
        epoch = await store.claim(now=datetime.now(UTC))
        await store.aclose()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            url = f"{daemon.url}/api/v1/services/trips/pause"
            async with session.post(url, json={"reason": "needs a commit"}) as answer:
                assert answer.status in {200, 202}

        def again() -> bool:
            return daemon.term is not term and leads(daemon)

        await eventually(again, within=PATIENCE, what="another term")
    view = daemon.view()
    assert view is not None
    assert view.epoch > epoch
    assert "lead_cut_short" in {one["event"] for one in logs}
    await eventually(lambda: _paused(daemon), within=PATIENCE, what="the request")


async def test_a_follower_takes_a_changed_configuration_and_leads_with_it(
    shared: Home, start: Start, postgres_url: str, eventually: Eventually
) -> None:
    other = await somebody_else(postgres_url, name="watchdog leader kate_1")
    try:
        daemon = await start()
        await eventually(lambda: follows(daemon), within=PATIENCE)
        shared.settings["services"][0]["mode"] = "observe"
        shared.settings["leader"]["retry"] = "50ms"
        with capture_logs() as logs:
            assert await daemon.take(read(shared)) is True
            assert await daemon.take(read(shared)) is False
            assert await daemon.refuse(("watchdog.yaml:1:1: bad",)) is True
            await daemon.settle()
        assert [one["restart_needed_for"] for one in logs if one["event"] == "config_reloaded"] == [
            ("leader",)
        ]
        assert [one["problems"] for one in logs if one["event"] == "config_refused"] == [
            ["watchdog.yaml:1:1: bad"]
        ]
    finally:
        other.terminate()
    await eventually(lambda: leads(daemon), within=PATIENCE, what="the lead")
    view = daemon.view()
    assert view is not None
    assert view.services["trips"].mode == "observe"


async def test_a_part_that_ends_ends_the_process_and_gives_the_lead_away(
    start: Start, postgres_url: str, eventually: Eventually
) -> None:
    daemon = await start()
    await eventually(lambda: leads(daemon), within=PATIENCE)
    await eventually(lambda: "reactor" in daemon.term.running, within=PATIENCE)
    (reactor,) = [task for task in asyncio.all_tasks() if task.get_name() == "reactor"]
    reactor.cancel()
    with pytest.raises(TaskEnded, match="reactor"):
        await daemon.wait()
    await daemon.stop()
    other = await somebody_else(postgres_url, name="next")
    other.terminate()


async def test_a_switch_with_a_single_writer_keeps_one_of_several_from_starting(shared: Home) -> None:
    async with Recorded() as switch:
        switch.add("trips", tier=Tier.B, live="blue", versions={"blue": "v1", "green": "v0"})
        shared.settings["services"][0]["traffic"] = switch.settings("trips")
        daemon = Daemon(read(shared), clock=SystemClock(), seed=1)
        with pytest.raises(ConfigError, match="the traffic switch of trips cannot refuse a stale write"):
            await daemon.start()
    assert daemon.url == ""


@pytest.mark.kubernetes
async def test_two_on_a_lease_are_one_leader_and_the_next_goes_on(
    shared: Home, start: Start, kubernetes: Kubernetes, eventually: Eventually
) -> None:
    namespace = kubernetes.namespace("follower")
    shared.settings |= {
        "kubernetes": {"kubeconfig": str(kubernetes.kubeconfig)},
        "leader": {
            "kind": "kubernetes-lease",
            "namespace": namespace,
            "lease": "3s",
            "renew": "2s",
            "retry": "200ms",
        },
    }
    first = await start()
    await eventually(lambda: leads(first), within=PATIENCE, what="the lead")
    second = await start()
    await eventually(lambda: holder(second) == holder(first) != "", within=PATIENCE, what="who leads")
    assert follows(second)
    record = await asyncio.to_thread(kubernetes.get, "lease", "rollback-watchdog", "-n", namespace)
    assert record["spec"]["holderIdentity"] == holder(first)
    await first.stop()
    await eventually(lambda: leads(second), within=PATIENCE, what="the next lead")
    record = await asyncio.to_thread(kubernetes.get, "lease", "rollback-watchdog", "-n", namespace)
    assert record["spec"]["leaseTransitions"] == 1


async def test_a_follower_that_reads_no_store_says_so_and_goes_on(
    start: Start, shared: Home, eventually: Eventually
) -> None:
    with Postgres() as server:
        database = server.database()
        shared.settings["store"] = {"url": server.url(database), "timeout": "1s"}
        other = await somebody_else(server.url(database), name="watchdog leader kate_1")
        daemon = await start()
        await eventually(lambda: follows(daemon) and not error(daemon), within=PATIENCE)
        server.stop()
        await eventually(lambda: bool(error(daemon)), within=PATIENCE)
        async with aiohttp.ClientSession() as session, session.get(f"{daemon.url}/readyz") as answer:
            assert answer.status == 503
        async with aiohttp.ClientSession() as session, session.get(f"{daemon.url}/healthz") as answer:
            assert answer.status == 200
        server.start()
        await eventually(lambda: not error(daemon), within=PATIENCE)
        await eventually(lambda: leads(daemon), within=PATIENCE)
        other.terminate()
        await daemon.stop()


def holder(daemon: Daemon) -> str:
    view = daemon.view()
    return "" if view is None else view.holder


def error(daemon: Daemon) -> str:
    view = daemon.view()
    return "no view" if view is None else view.store_error


def _paused(daemon: Daemon) -> bool:
    view = daemon.view()
    return view is not None and view.services["trips"].paused is not None
