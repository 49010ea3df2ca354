from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.channels.receiver import Receiver, close, garbage, hang, receiving
from tests.servers.certificates import Certificate
from watchdog.config.telling import HeartbeatSettings
from watchdog.engine.heartbeat import DeadMan

CANARY = "canary-77c1-4f0a"


def settings(url: str, ca_file: Path | None = None, timeout: float = 5) -> HeartbeatSettings:
    return HeartbeatSettings(url=SecretStr(url), timeout=timedelta(seconds=timeout), ca_file=ca_file)


@pytest.fixture
async def dead_man() -> AsyncIterator[DeadMan]:
    one = DeadMan()
    yield one
    await one.aclose()
    await one.aclose()


async def test_the_address_is_asked_and_nothing_else(dead_man: DeadMan) -> None:
    async with receiving(Receiver()) as service:
        for _ in range(2):
            assert await dead_man.ask(settings(f"http://127.0.0.1:{service.port}/ping/{CANARY}?a=b")) == ""
    assert [(one.method, one.path, one.body) for one in service.received] == [
        ("GET", f"/ping/{CANARY}?a=b", b"")
    ] * 2


async def test_it_is_asked_over_tls_with_the_authorities_that_were_given(
    dead_man: DeadMan, tmp_path: Path
) -> None:
    made = Certificate(tmp_path)
    async with receiving(Receiver(), certificate=made.file, key=made.key) as service:
        url = f"https://127.0.0.1:{service.port}/ping/{CANARY}"
        assert await dead_man.ask(settings(url, made.file)) == ""
        assert "not trusted" in await dead_man.ask(settings(url))
        assert "cannot be asked" in await dead_man.ask(settings(url, tmp_path / "none.pem"))
    assert len(service.received) == 1


@pytest.mark.parametrize("status", [301, 400, 404, 410, 429, 500, 503])
async def test_any_other_answer_than_2xx_is_none(dead_man: DeadMan, status: int) -> None:
    headers = {"Location": f"https://example.com/{CANARY}"}
    async with receiving(Receiver(status=status, headers=headers)) as service:
        said = await dead_man.ask(settings(f"http://127.0.0.1:{service.port}/ping/{CANARY}"))
    assert said == f"it answered {status}"
    assert len(service.received) == 1


async def test_what_goes_wrong_is_said_without_the_address(dead_man: DeadMan) -> None:
    said, url = [], ""
    for trouble in (hang, garbage, close):
        async with receiving(Receiver(after_reading=trouble)) as service:
            url = f"http://me:{CANARY}@localhost:{service.port}/ping/{CANARY}?key={CANARY}"
            async with asyncio.timeout(20):
                said.append(await dead_man.ask(settings(url, timeout=0.3)))
    said.append(await dead_man.ask(settings(url)))  # nobody is there any more
    said.append(await dead_man.ask(settings("http://[half/ping/" + CANARY)))
    assert all(said)
    assert [one for one in said if CANARY in one or "localhost" in one] == []


async def test_a_call_can_be_cancelled(dead_man: DeadMan) -> None:
    async with receiving(Receiver(after_reading=hang)) as service:
        task = asyncio.create_task(dead_man.ask(settings(f"http://127.0.0.1:{service.port}/")))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
