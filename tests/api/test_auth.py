from __future__ import annotations

import aiohttp
import pytest
from pydantic import SecretStr

from tests.api.conftest import OPERATOR, VIEWER, WITH_TOKENS, Serve
from tests.api.daemon import Daemon
from watchdog.api.auth import is_loopback
from watchdog.config.loaded import Server, Token

NO_TOKENS = Server(port=0)
READ, WRITE = ("GET", "/api/v1/services"), ("POST", "/api/v1/services/trips/pause")


@pytest.mark.parametrize(
    ("server", "header", "call", "status"),
    [
        pytest.param(WITH_TOKENS, None, READ, 401, id="tokens exist, none sent"),
        pytest.param(WITH_TOKENS, None, WRITE, 401, id="tokens exist, none sent, writing"),
        pytest.param(WITH_TOKENS, "Bearer viewer-token", READ, 200, id="a viewer reads"),
        pytest.param(WITH_TOKENS, "bearer   viewer-token", READ, 200, id="the scheme's case does not matter"),
        pytest.param(WITH_TOKENS, "Bearer viewer-token", WRITE, 403, id="a viewer writes"),
        pytest.param(WITH_TOKENS, "Bearer operator-token", READ, 200, id="an operator reads"),
        pytest.param(WITH_TOKENS, "Bearer operator-token", WRITE, 200, id="an operator writes"),
        pytest.param(WITH_TOKENS, "Bearer operator-toke", WRITE, 401, id="a token cut short"),
        pytest.param(WITH_TOKENS, "Bearer operator-token2", WRITE, 401, id="a token with a tail"),
        pytest.param(WITH_TOKENS, "Bearer ", READ, 401, id="an empty token"),
        pytest.param(WITH_TOKENS, "", READ, 401, id="an empty header"),
        pytest.param(WITH_TOKENS, "Basic operator-token", READ, 401, id="another scheme"),
        pytest.param(WITH_TOKENS, "operator-token", READ, 401, id="no scheme"),
        pytest.param(WITH_TOKENS, "Bearer t\u00f6ken", READ, 401, id="a token beyond ASCII"),
        pytest.param(NO_TOKENS, None, READ, 200, id="no tokens, loopback reads"),
        pytest.param(NO_TOKENS, None, WRITE, 403, id="no tokens, nobody writes"),
        pytest.param(NO_TOKENS, "Bearer anything", READ, 401, id="no tokens, a wrong one sent"),
        pytest.param(NO_TOKENS, "Bearer anything", WRITE, 401, id="no tokens, a wrong one sent, writing"),
    ],
)
async def test_who_may_do_what(
    serve: Serve,
    daemon: Daemon,
    anybody: aiohttp.ClientSession,
    server: Server,
    header: str | None,
    call: tuple[str, str],
    status: int,
) -> None:
    url = await serve(server)
    headers = {} if header is None else {"Authorization": header}
    async with anybody.request(call[0], url + call[1], headers=headers) as answer:
        assert answer.status == status
        if status == 401:
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        if status >= 400:
            assert answer.content_type == "application/problem+json"
            assert (await answer.json())["status"] == status
    assert bool(daemon.asked) == (status == 200 and call is WRITE)


async def test_a_refused_write_says_to_configure_tokens(serve: Serve, anybody: aiohttp.ClientSession) -> None:
    url = await serve(NO_TOKENS)
    async with anybody.post(url + WRITE[1]) as answer:
        assert "server.tokens" in (await answer.json())["detail"]


async def test_the_tokens_name_and_not_the_token_is_recorded(
    serve: Serve, daemon: Daemon, operator: aiohttp.ClientSession
) -> None:
    url = await serve()
    async with operator.post(url + WRITE[1]) as answer:
        assert answer.status == 200
    assert [request.by for request in daemon.asked] == ["ci"]
    assert "operator-token" not in repr(daemon.asked)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.com"},
        {"Host": "evil.example.com:9911"},
        {"Host": "127.0.0.1.evil.example.com"},
        {"Host": ""},
        {"Host": "169.254.169.254"},
        {"X-Forwarded-For": "203.0.113.7"},
        {"Forwarded": "for=203.0.113.7"},
        {"Via": "1.1 proxy"},
        {"X-Real-IP": "203.0.113.7"},
    ],
    ids=str,
)
async def test_without_tokens_a_request_from_elsewhere_is_refused_though_its_peer_is_loopback(
    serve: Serve, anybody: aiohttp.ClientSession, headers: dict[str, str]
) -> None:
    url = await serve(NO_TOKENS)
    async with anybody.get(url + READ[1], headers=headers) as answer:
        assert answer.status == 403
        assert "trips" not in await answer.text()


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9911", "127.0.0.1", "127.0.0.2:80", "[::1]:9911", "[::1]"]
)
async def test_without_tokens_every_name_of_this_machine_may_read(
    serve: Serve, anybody: aiohttp.ClientSession, host: str
) -> None:
    url = await serve(NO_TOKENS)
    async with anybody.get(url + READ[1], headers={"Host": host}) as answer:
        assert answer.status == 200


async def test_with_a_token_any_host_name_will_do(serve: Serve, operator: aiohttp.ClientSession) -> None:
    url = await serve()
    async with operator.get(url + READ[1], headers={"Host": "watchdog.example.com"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_and_readiness_ask_nobody(
    serve: Serve, anybody: aiohttp.ClientSession, path: str
) -> None:
    url = await serve()
    async with anybody.get(url + path, headers={"Host": "10.0.0.7:9911"}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    ("mode", "header", "status"),
    [("open", None, 200), ("token", None, 401), ("token", "Bearer viewer-token", 200)],
)
async def test_metrics_are_open_or_for_viewers_as_configured(
    serve: Serve, anybody: aiohttp.ClientSession, mode: str, header: str | None, status: int
) -> None:
    url = await serve(
        Server(port=0, tokens=(VIEWER, OPERATOR), metrics="token" if mode == "token" else "open")
    )
    headers = {} if header is None else {"Authorization": header}
    async with anybody.get(url + "/metrics", headers=headers) as answer:
        assert answer.status == status


async def test_every_route_but_health_readiness_open_metrics_and_pages_without_data_asks_for_a_token(
    serve: Serve, anybody: aiohttp.ClientSession
) -> None:
    url = await serve()
    async with aiohttp.ClientSession(headers={"Authorization": "Bearer operator-token"}) as session:
        described = await (await session.get(url + "/api/v1/openapi.json")).json()
    for path, methods in described["paths"].items():
        if path in {"/healthz", "/readyz", "/metrics", "/", "/dashboard.js", "/dashboard.css"}:
            continue
        if path in {"/hooks/slack", "/hooks/pagerduty"}:  # the channel knows whether they are authentic
            continue
        for method in methods:
            async with anybody.request(method, url + path.replace("{", "").replace("}", "")) as answer:
                assert answer.status == 401, f"{method} {path}"


async def test_an_empty_configured_token_lets_nobody_in(serve: Serve, anybody: aiohttp.ClientSession) -> None:
    url = await serve(Server(port=0, tokens=(Token(name="slip", role="operator", token=SecretStr("")),)))
    for header in ("Bearer ", "Bearer", "Bearer  "):
        async with anybody.get(url + READ[1], headers={"Authorization": header}) as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("LOCALHOST.", True),
        ("::1%lo", True),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("0.0.0.0", False),
        ("localhost.example.com", False),
        ("", False),
    ],
)
def test_loopback_is_known_in_every_notation(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
