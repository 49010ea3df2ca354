"""A PostgreSQL server that goes away under the daemon: nothing is switched, people are told, and the work goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from tests.eventually import eventually
from tests.faults.fleet import Fleet
from tests.servers.postgres import Postgres
from watchdog.telemetry.redact import redact

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres() as server:
        yield server


@contextmanager
def killed(server: Postgres) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextmanager
def frozen(server: Postgres) -> Iterator[None]:
    server.freeze()
    yield
    server.thaw()


@contextmanager
def read_only(server: Postgres) -> Iterator[None]:
    """As a standby is that has not taken over."""
    server.sql("ALTER SYSTEM SET default_transaction_read_only = on")
    server.sql("SELECT pg_reload_conf()")
    yield
    server.sql("ALTER SYSTEM RESET default_transaction_read_only")
    server.sql("SELECT pg_reload_conf()")


@pytest.mark.parametrize(
    ("trouble", "advice"),
    [
        (killed, "the watchdog goes on by itself as soon as the database answers again"),
        (frozen, "see whether PostgreSQL runs there, answers and can be reached"),
        (read_only, "name all servers in the URL"),
    ],
    ids=["killed", "frozen", "read-only"],
)
async def test_with_a_database_that_is_away_nothing_is_switched_until_it_is_back(
    fleet: Fleet,
    server: Postgres,
    trouble: Callable[[Postgres], AbstractContextManager[None]],
    advice: str,
) -> None:
    url = server.url(server.database())
    fleet.daemon.settings["store"] = {"url": url, "timeout": "3s"}
    fleet.add("trips")
    await fleet.launch(proxied=True)
    await fleet.watched("v2")
    with trouble(server):
        fleet.turn_bad("v2")
        (message,) = await fleet.told("store_failed", within=40)
        assert f"store {redact(url)}" in message["headline"]
        assert advice in message["next_step"]
        status, problem = await fleet.daemon.page("/readyz")
        assert status == 503
        assert f"store {url}" in problem
        assert (await fleet.daemon.page("/healthz"))[0] == 200, "no restart would help"
        fleet.fake.asked.clear()
        await eventually(lambda: fleet.fake.asked["trips"] >= 5, within=30, what="more bad answers")
        assert fleet.live() == {"green"}
        assert fleet.proxy.writes == []
    await fleet.moved_once("v2")
    await eventually(lambda: _ready(fleet), within=30, what="a daemon that is ready again")
    assert len(fleet.people.heard("store_failed")) == 1
    await fleet.audit_holds()


async def _ready(fleet: Fleet) -> bool:
    return (await fleet.daemon.page("/readyz"))[0] == 200
