"""The API on a real loopback socket, with a scripted daemon behind it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import aiohttp
import pytest
from pydantic import SecretStr

from tests.api.daemon import ERROR_RATE, HEALTHY, Daemon
from watchdog.api.app import make_app
from watchdog.api.listener import Listener, listen
from watchdog.config.loaded import Server, Token
from watchdog.telemetry.metrics import Metrics

OPERATOR = Token(name="ci", role="operator", token=SecretStr("operator-token"))
VIEWER = Token(name="wallboard", role="viewer", token=SecretStr("viewer-token"))
WITH_TOKENS = Server(port=0, tokens=(VIEWER, OPERATOR))

Serve = Callable[..., Awaitable[str]]


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
async def serve(daemon: Daemon) -> AsyncIterator[Serve]:
    """`await serve(server)`: the base address of the API."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(
            server: Server = WITH_TOKENS,
            *,
            patience: float = 5.0,
            keep_alive: float = 15.0,
            host: str = "127.0.0.1",
        ) -> str:
            app = make_app(
                reader=daemon,
                desk=daemon,
                live=daemon,
                server=server,
                rules=lambda: {rule.name: rule for rule in (HEALTHY, ERROR_RATE)},
                metrics=Metrics(daemon.view).render,
                clock=daemon,
                patience=timedelta(seconds=patience),
                keep_alive=timedelta(seconds=keep_alive),
            )
            listener: Listener = await listen(app, host=host, port=0)
            stack.push_async_callback(listener.aclose)
            return listener.url

        yield start


@pytest.fixture
async def operator() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that presents the operator's token."""
    async with _client({"Authorization": "Bearer operator-token"}) as session:
        yield session


@pytest.fixture
async def anybody() -> AsyncIterator[aiohttp.ClientSession]:
    """A client without a token."""
    async with _client({}) as session:
        yield session


def _client(headers: dict[str, str]) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=10))
