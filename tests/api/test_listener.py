from __future__ import annotations

import asyncio
import json
import logging

import aiohttp
import pytest

from tests.api.conftest import WITH_TOKENS, Serve
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


async def talk(url: str, *parts: bytes) -> bytes:
    """What comes back for these bytes; the client then leaves."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    for part in parts:
        writer.write(part)
        await writer.drain()
    async with asyncio.timeout(5):
        answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    "raw",
    [
        b"hunter2 nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost x\r\nhunter2\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
    ids=["garbage", "tls", "version", "headers", "length"],
)
async def test_what_is_no_http_is_answered_as_a_problem_that_tells_nothing(
    serve: Serve, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture, raw: bytes
) -> None:
    head, _, body = (await talk(await serve(), raw)).partition(b"\r\n\r\n")
    assert b" 400 Bad Request\r\n" in head
    assert b"Server: rollback-watchdog" in head
    assert b"Content-Type: application/problem+json" in head
    assert json.loads(body)["status"] == 400
    assert b"hunter2" not in body
    assert b"aiohttp" not in head + body
    assert "Traceback" not in "".join(capsys.readouterr()) + caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


HEAD = (
    b"POST /api/v1/services/trips/pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer operator-token\r\n"
    b"Content-Type: application/json\r\n"
)


@pytest.mark.parametrize(
    "body",
    [
        b'Content-Length: 100\r\n\r\n{"reason"',
        b'Transfer-Encoding: chunked\r\n\r\n9\r\n{"reason"\r\n',
    ],
    ids=["length", "chunked"],
)
@pytest.mark.parametrize("hard", [False, True], ids=["closed", "reset"])
async def test_a_client_that_leaves_in_the_middle_of_a_body_is_no_fault_of_ours(
    daemon: Daemon,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    hard: bool,
) -> None:
    app = make_app(
        reader=daemon,
        desk=daemon,
        live=daemon,
        server=WITH_TOKENS,
        rules=dict,
        metrics=lambda: b"",
        clock=daemon,
    )
    listener = await listen(app, host="127.0.0.1", port=0)
    _, writer = await asyncio.open_connection("127.0.0.1", int(listener.url.rpartition(":")[2]))
    writer.write(HEAD + body)
    await writer.drain()
    async with aiohttp.ClientSession() as session, session.get(listener.url + "/healthz"):
        pass  # The half request is being handled by now.
    if hard:
        writer.transport.abort()
    else:
        writer.close()
    await listener.aclose()
    assert daemon.asked == []
    assert "Traceback" not in "".join(capsys.readouterr()) + caplog.text
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_body_that_is_framed_wrongly_is_a_400(serve: Serve, daemon: Daemon) -> None:
    answer = await talk(await serve(), HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n")
    assert b" 400 Bad Request" in answer
    assert daemon.asked == []
