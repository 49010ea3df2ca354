from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from pydantic import SecretStr

from tests.app.test_rehearsal import configuration
from tests.channels.receiver import Receiver, hang, receiving
from tests.servers.certificates import Certificate
from watchdog.app.deadman import heartbeat
from watchdog.app.finding import Finding, Health
from watchdog.config.telling import HeartbeatSettings

CANARY = "canary-2f90"


async def found(url: str, ca_file: Path | None = None, timeout: float = 10) -> Finding:
    settings = HeartbeatSettings(url=SecretStr(url), timeout=timedelta(seconds=timeout), ca_file=ca_file)
    (one,) = await heartbeat(replace(configuration(), heartbeat=settings))
    assert CANARY not in repr(one)
    return one


async def test_without_a_heartbeat_nothing_is_said() -> None:
    assert await heartbeat(configuration()) == []


async def test_it_connects_and_asks_nothing(tmp_path: Path) -> None:
    async with receiving(Receiver()) as service:
        one = await found(f"http://127.0.0.1:{service.port}/{CANARY}")
    assert (one.health, service.received) == (Health.OK, [])
    assert "from the daemon only" in one.detail
    made = Certificate(tmp_path)
    async with receiving(Receiver(), certificate=made.file, key=made.key) as service:
        url = f"https://127.0.0.1:{service.port}/{CANARY}"
        assert (await found(url, made.file)).health is Health.OK
        untrusted = await found(url)
    assert untrusted.health is Health.BAD
    assert "not trusted" in untrusted.detail


async def test_what_does_not_answer_is_bad_and_told_without_the_address(
    free_port: Callable[[], int], tmp_path: Path
) -> None:
    closed = await found(f"http://127.0.0.1:{free_port()}/{CANARY}")
    assert (closed.health, closed.detail) == (
        Health.BAD,
        "no connection: ConnectionRefusedError: Connection refused",
    )
    async with receiving(Receiver(misbehave=hang)) as service:
        silent = await found(f"https://127.0.0.1:{service.port}/{CANARY}", timeout=0.3)
    assert silent.detail == "no connection: nothing within 300ms"
    assert (await found(f"https://127.0.0.1/{CANARY}", tmp_path / "none.pem")).health is Health.BAD
