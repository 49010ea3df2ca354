from __future__ import annotations

import asyncio

import aiohttp
import pytest

from tests.api.conftest import Serve
from tests.api.daemon import Daemon
from watchdog.api.app import make_app
from watchdog.api.listener import CannotListen, listen, why
from watchdog.config.loaded import Server


def app_of(daemon: Daemon) -> aiohttp.web.Application:
    return make_app(
        reader=daemon,
        desk=daemon,
        live=daemon,
        server=Server(),
        rules=dict,
        metrics=lambda: b"",
        clock=daemon,
    )


async def test_a_port_that_is_taken_is_said_with_a_way_out(daemon: Daemon) -> None:
    listener = await listen(app_of(daemon), host="127.0.0.1", port=0)
    port = int(listener.url.rpartition(":")[2])
    with pytest.raises(
        CannotListen, match=rf"127\.0\.0\.1:{port}: the address is in use; is another watchdog"
    ):
        await listen(app_of(daemon), host="127.0.0.1", port=port)
    await listener.aclose()
    again = await listen(app_of(daemon), host="127.0.0.1", port=port)
    await again.aclose()
    await again.aclose()


async def test_an_address_that_is_not_ours_is_said(daemon: Daemon) -> None:
    with pytest.raises(CannotListen, match="does not have that address"):
        await listen(app_of(daemon), host="203.0.113.1", port=0)


def test_an_address_that_is_not_ours_is_said_whatever_words_python_has_for_it() -> None:
    newer = OSError("could not bind on any address out of [('203.0.113.1', 0)]")
    assert "does not have that address" in why(newer)
    assert why(OSError("something else")) == "something else"


async def test_an_address_of_six_is_written_in_brackets(daemon: Daemon) -> None:
    listener = await listen(app_of(daemon), host="::1", port=0)
    assert listener.url.startswith("http://[::1]:")
    async with aiohttp.ClientSession() as session, session.get(listener.url + "/api/v1/services") as answer:
        assert answer.status == 200
    await listener.aclose()


async def test_stopping_ends_event_streams_at_once(daemon: Daemon) -> None:
    listener = await listen(app_of(daemon), host="127.0.0.1", port=0)
    async with aiohttp.ClientSession() as session, session.get(listener.url + "/api/v1/events") as answer:
        assert await answer.content.readuntil(b"\n\n") == b": watching\n\n"
        async with asyncio.timeout(2):
            await listener.aclose()
        assert await answer.content.read() == b""


async def test_a_request_is_not_logged_and_a_fault_once(
    serve: Serve, daemon: Daemon, operator: aiohttp.ClientSession, capsys: pytest.CaptureFixture[str]
) -> None:
    url = await serve()
    async with operator.get(url + "/api/v1/incidents"):
        pass
    assert "incidents" not in "".join(capsys.readouterr())
    daemon.fault = RuntimeError("boom")
    async with operator.get(url + "/api/v1/incidents"):
        pass
    assert "".join(capsys.readouterr()).count("api_request_failed") == 1


async def test_a_host_that_does_not_resolve_is_said(daemon: Daemon) -> None:
    with pytest.raises(CannotListen, match=r"nowhere\.invalid:0: the host name does not resolve"):
        await listen(app_of(daemon), host="nowhere.invalid", port=0)
