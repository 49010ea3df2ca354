from __future__ import annotations

import asyncio
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from tests.api.daemon import chain
from tests.cli.conftest import invoke
from watchdog.core.audit import AuditRecord, verify
from watchdog.core.turn import Turn
from watchdog.store.sqlite import SqliteStore

Configure = Callable[..., Path]


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[[int], tuple[AuditRecord, ...]]:
    """`recorded(5)`: a store with so many audit records, closed again."""

    def record(count: int) -> tuple[AuditRecord, ...]:
        records = chain(count)

        async def write() -> None:
            store = SqliteStore(f"sqlite:///{tmp_path}/watchdog.db")
            await store.open()
            await store.claim(now=datetime.now(UTC))
            await store.commit(Turn(audit=records))
            await store.aclose()

        asyncio.run(write())
        return records

    return record


def tamper(tmp_path: Path, statement: str) -> None:
    with sqlite3.connect(tmp_path / "watchdog.db") as connection:
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            connection.execute(f'DROP TRIGGER "{name}"')
        assert connection.execute(statement).rowcount > 0
    connection.close()


def test_a_sound_chain_is_proved(
    configuration: Configure, recorded: Callable[..., tuple[AuditRecord, ...]]
) -> None:
    records = recorded(1200)
    result = invoke("audit", "verify", "-c", str(configuration()))
    assert result.exit_code == 0
    assert result.stdout == f"1200 records, unbroken; head {records[-1].hash}\n"


def test_the_proof_in_json(
    configuration: Configure, recorded: Callable[..., tuple[AuditRecord, ...]]
) -> None:
    records = recorded(3)
    result = invoke("audit", "verify", "-c", str(configuration()), "--json")
    assert json.loads(result.stdout) == {
        "ok": True,
        "records": 3,
        "head": records[-1].hash,
        "given_head_at": None,
        "fault": None,
    }


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        ("UPDATE audit SET subject = 'hotels' WHERE seq = 3", "record 3: its content was changed"),
        ("DELETE FROM audit WHERE seq = 3", "record 4: record 3 is missing"),
        ("DELETE FROM audit WHERE seq = 1", "record 2: record 1 is missing"),
    ],
)
def test_the_first_broken_record_is_named(
    configuration: Configure,
    recorded: Callable[..., tuple[AuditRecord, ...]],
    tmp_path: Path,
    statement: str,
    told: str,
) -> None:
    recorded(5)
    tamper(tmp_path, statement)
    result = invoke("audit", "verify", "-c", str(configuration()))
    assert result.exit_code == 1
    assert told in result.stderr
    told_json = invoke("audit", "verify", "-c", str(configuration()), "--json")
    assert told_json.exit_code == 1
    assert json.loads(told_json.stdout)["fault"]["seq"] == int(told.split()[1].rstrip(":"))


def test_a_cut_chain_is_noticed_by_a_head_from_elsewhere(
    configuration: Configure, recorded: Callable[..., tuple[AuditRecord, ...]], tmp_path: Path
) -> None:
    records = recorded(5)
    path = str(configuration())
    proved = invoke("audit", "verify", "-c", path, "--head", records[3].hash.upper())
    assert proved.exit_code == 0
    assert proved.stdout.endswith("the given head is record 4\n")
    tamper(tmp_path, "DELETE FROM audit WHERE seq > 3")
    assert invoke("audit", "verify", "-c", path).exit_code == 0
    result = invoke("audit", "verify", "-c", path, "--head", records[3].hash)
    assert result.exit_code == 1
    assert "nowhere in the chain" in result.stderr


@pytest.mark.parametrize("command", ["verify", "export"])
def test_a_store_that_is_not_there_is_said(configuration: Configure, command: str) -> None:
    result = invoke("audit", command, "-c", str(configuration()))
    assert result.exit_code == 1
    assert "there is no such file" in result.stderr
    assert "Traceback" not in result.output


def test_a_file_that_is_no_database_is_said(configuration: Configure, tmp_path: Path) -> None:
    (tmp_path / "watchdog.db").write_bytes(b"no database at all" * 100)
    result = invoke("audit", "verify", "-c", str(configuration()))
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")


def test_the_record_is_handed_over_whole(
    configuration: Configure, recorded: Callable[..., tuple[AuditRecord, ...]]
) -> None:
    records = recorded(700)
    result = invoke("audit", "export", "-c", str(configuration()))
    assert result.exit_code == 0
    handed = [msgspec.json.decode(line, type=AuditRecord) for line in result.stdout_bytes.splitlines()]
    assert tuple(handed) == records
    assert verify(handed)[1] is None


def test_a_reader_that_goes_away_is_not_worth_a_word(
    configuration: Configure, recorded: Callable[..., tuple[AuditRecord, ...]]
) -> None:
    recorded(2000)
    command = [sys.executable, "-m", "watchdog", "audit", "export", "-c", str(configuration())]
    done = subprocess.run(
        ["/bin/sh", "-c", f"{shlex.join(command)} | head -n 1"],
        capture_output=True,
        text=True,
        timeout=15,
        check=False,
        env={**os.environ, "PYTHONWARNINGS": "error"},
    )
    assert json.loads(done.stdout)["seq"] == 1
    assert done.stderr == ""
