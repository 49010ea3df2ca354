"""What the doctor and the commands that look at the store say of one in PostgreSQL."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.app.test_doctor import configuration
from tests.servers.ports import free_port
from tests.servers.postgres import Postgres
from tests.servers.process import ROOT
from tests.store import samples
from watchdog.app import holdings
from watchdog.app.finding import Finding, Health
from watchdog.core.audit import ChainHead
from watchdog.core.turn import Turn
from watchdog.postgres.address import address_of
from watchdog.store.postgresql import PostgresReader, PostgresStore

pytestmark = pytest.mark.timeout(60)


async def examined(tmp_path: Path, url: str) -> list[Finding]:
    known = replace(configuration(tmp_path), store_url=str(address_of(url)), postgres=address_of(url))
    reader = PostgresReader(url)
    try:
        return await holdings.store(known, reader)
    finally:
        await reader.aclose()


async def write(url: str, records: int) -> None:
    store = PostgresStore(url)
    await store.open()
    await store.claim(now=samples.DAY)
    await store.load(now=samples.DAY)
    await store.commit(Turn(audit=samples.links(ChainHead(), records)))
    await store.aclose()


async def test_a_database_in_use_is_fine(tmp_path: Path, postgres_url: str) -> None:
    await write(postgres_url, 3)
    store, database = await examined(tmp_path, postgres_url)
    assert (store.health, store.detail) == (Health.OK, "readable, 3 audit records")
    assert database.health is Health.OK
    assert database.detail.startswith("PostgreSQL 1")
    assert "connections are free" in database.detail
    assert holdings.is_known([store, database])


async def test_an_empty_database_is_fine_and_knows_nothing_yet(tmp_path: Path, postgres: Postgres) -> None:
    found = await examined(tmp_path, postgres.url(postgres.database()))
    assert [one.health for one in found] == [Health.OK, Health.OK]
    assert "makes its tables at its first start" in found[0].detail
    assert not holdings.is_known(found)


@pytest.mark.parametrize("empty", [True, False])
async def test_rights_that_are_missing_are_told(tmp_path: Path, postgres: Postgres, *, empty: bool) -> None:
    name = postgres.database()
    if not empty:
        await write(postgres.url(name), 1)
    postgres.sql(
        f"ALTER DATABASE {name} OWNER TO postgres; REVOKE ALL ON SCHEMA public FROM PUBLIC; "
        "GRANT USAGE ON SCHEMA public TO watchdog; REASSIGN OWNED BY watchdog TO postgres; "
        "GRANT SELECT ON ALL TABLES IN SCHEMA public TO watchdog",
        database=name,
    )
    found = await examined(tmp_path, postgres.url(name))
    assert found[0].health is Health.BAD
    assert ("may not make tables" if empty else "may not write writer, services") in found[0].detail
    assert "OWNER" in found[0].advice


async def test_a_database_that_is_away_or_takes_no_writes_is_told(tmp_path: Path, postgres: Postgres) -> None:
    url = postgres.url(name := postgres.database())
    postgres.sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    (readonly,) = await examined(tmp_path, url)
    (away,) = await examined(tmp_path, url.replace(str(postgres.port), str(free_port())))
    assert (readonly.health, away.health) == (Health.BAD, Health.BAD)
    assert "takes no writes" in readonly.detail
    assert "refused the connection" in away.detail
    assert away.advice


def test_the_record_is_verified_and_exported(tmp_path: Path, postgres_url: str) -> None:
    asyncio.run(write(postgres_url, 4))
    (tmp_path / "rules.yaml").write_text(
        "version: 1\n"
        "rules:\n"
        "  - name: up\n"
        "    probe: {kind: tcp, address: '127.0.0.1:1'}\n"
        "    threshold: {critical: 1 failures, rollback: 2 failures}\n"
    )
    config = tmp_path / "watchdog.yaml"
    config.write_text(f"""version: 1
rules: [rules.yaml]
store: {{url: "{postgres_url}"}}
services:
  - name: trips
    mode: observe
    rules: [up]
    traffic: {{kind: command, read: ["true"], apply: ["true", "{{variant}}"]}}
""")

    def run(*words: str) -> str:
        command = [sys.executable, "-m", "watchdog", *words, "-c", str(config)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=40, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert run("audit", "verify").startswith("4 records, unbroken")
    assert len(run("audit", "export").splitlines()) == 4
