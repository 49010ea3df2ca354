"""The probe `http` against servers that answer, fail, lie and vanish; and against our own troubles."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import socket
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from pydantic import SecretStr, ValidationError

from tests.eventually import Eventually
from tests.servers import raw
from tests.servers.certificates import Certificate
from tests.servers.raw import Behaviour, RawRequest, RawServer
from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.core.variables import fill_settings
from watchdog.probes.http import HttpProbe, HttpProbeSettings

NOW = datetime(2026, 3, 2, 10, 0, tzinfo=UTC)
OK = raw.answer("fine")

Serve = Callable[..., Awaitable[RawServer]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(behaviour: Behaviour, **more: Any) -> RawServer:
            return await stack.enter_async_context(RawServer(behaviour, **more))

        yield start


@pytest.fixture
async def probe() -> AsyncIterator[HttpProbe]:
    made = HttpProbe()
    yield made
    await made.aclose()


async def pulse(probe: HttpProbe, url: str, **settings: Any) -> Pulse:
    """The settings go the way they go in the daemon: validated, written as JSON, filled in, handed over."""
    ready = HttpProbeSettings.model_validate({"url": url, **settings}).model_dump(mode="json")
    seen = await probe.check(ready, now=NOW)
    assert isinstance(seen, Pulse), seen
    assert seen.at == NOW
    return seen


async def unable(probe: HttpProbe, url: str, **settings: Any) -> str:
    seen = await probe.check({"url": url, **settings}, now=NOW)
    assert isinstance(seen, Failed), seen
    assert seen.reason is FailReason.UNABLE
    return seen.detail


async def test_a_good_answer_is_alive(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(OK)
    seen = await pulse(probe, f"{server.url}/healthz?deep=1", headers={"X-Probe": "yes"})
    assert seen.passed
    assert seen.detail.startswith("status 200 after ")
    assert seen.asked == f"GET {server.url}/healthz?deep=1"
    (request,) = server.requests
    assert (request.method, request.path, request.headers["x-probe"]) == ("GET", "/healthz", "yes")


@pytest.mark.parametrize(
    ("status", "expected", "passed", "words"),
    [
        (204, None, True, "status 204"),
        (503, None, False, "status 503, expected 2xx"),
        (404, 200, False, "status 404, expected 200"),
        (404, 404, True, "status 404"),
        (201, 200, False, "status 201, expected 200"),
        (429, [200, "4xx"], True, "status 429"),
        (500, [200, "4xx"], False, "status 500, expected 200 or 4xx"),
        (302, None, False, "status 302, expected 2xx"),
        (302, "3xx", True, "status 302"),
    ],
)
async def test_the_status_decides(
    serve: Serve, probe: HttpProbe, status: int, expected: Any, passed: bool, words: str
) -> None:
    server = await serve(raw.answer("", status=status))
    expect = {} if expected is None else {"expect": {"status": expected}}
    seen = await pulse(probe, server.url, **expect)
    assert (seen.passed, seen.detail.startswith(words)) == (passed, True), seen.detail
    assert seen.answered, "a wrong answer is one"


async def test_head_asks_for_no_body(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(raw.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n", close=False))
    assert (await pulse(probe, server.url, method="HEAD")).passed
    assert server.requests[0].method == "HEAD"


async def test_redirects_are_not_followed(serve: Serve, probe: HttpProbe) -> None:
    other = await serve(OK)
    server = await serve(raw.answer("", status=302, headers={"Location": other.url}))
    assert not (await pulse(probe, server.url)).passed
    assert other.requests == []


async def test_every_check_is_a_connection_of_its_own(serve: Serve, probe: HttpProbe) -> None:
    connections = set()

    async def remembers(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        connections.add(writer.get_extra_info("peername"))
        writer.write(raw.packed("fine"))

    server = await serve(remembers)
    for _ in range(3):
        assert (await pulse(probe, server.url)).passed
    assert len(connections) == 3


def slow(seconds: float) -> Behaviour:
    async def behave(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        writer.write(raw.packed("at last"))

    return behave


async def test_an_answer_later_than_allowed_is_a_failure(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(slow(0.3))
    seen = await pulse(probe, server.url, expect={"within": "100ms"})
    assert not seen.passed
    assert re.fullmatch(r"answered after 0\.[3-9] s, allowed 0\.1 s", seen.detail), seen.detail
    assert (await pulse(probe, server.url, expect={"within": "2s"})).passed


BYTES_OF_A_PAGE = b"x" * 100

DEAD: dict[str, tuple[Behaviour, str]] = {
    "silence": (raw.hang, "no complete answer within 0.5 s"),
    "a byte now and then": (raw.drip(BYTES_OF_A_PAGE, every=0.1), "no complete answer within 0.5 s"),
    "a cut connection": (raw.reset, "closed the connection without a proper answer"),
    "another protocol": (raw.raw(b"220 mail ESMTP\r\n"), "without a proper answer"),
    "half a body": (raw.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"), "cut short"),
    "broken gzip": (raw.raw(raw.packed(b"no", headers={"Content-Encoding": "gzip"})), "cut short"),
}


@pytest.mark.parametrize("fault", DEAD)
async def test_what_the_target_does_wrong_is_the_targets_failure(
    serve: Serve, probe: HttpProbe, fault: str
) -> None:
    behaviour, words = DEAD[fault]
    seen = await pulse(probe, (await serve(behaviour)).url, timeout="500ms")
    assert (seen.passed, words in seen.detail) == (False, True), seen.detail
    assert not seen.answered


async def test_no_more_than_the_beginning_of_a_body_is_read(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(raw.endless(b"x"))
    assert (await pulse(probe, server.url)).passed


async def test_a_refused_connection_is_the_targets_failure(
    probe: HttpProbe, free_port: Callable[[], int]
) -> None:
    port = free_port()
    for host in ("127.0.0.1", "localhost"):
        seen = await pulse(probe, f"http://{host}:{port}/")
        assert (seen.passed, seen.detail) == (False, f"cannot connect to {host}:{port}: Connection refused")


async def test_a_certificate_that_is_not_trusted_is_the_targets_failure(
    serve: Serve, probe: HttpProbe, tmp_path: Path
) -> None:
    certificate = Certificate(tmp_path)
    server = await serve(OK, tls=certificate.context)
    seen = await pulse(probe, server.url)
    assert not seen.passed
    assert "certificate" in seen.detail
    assert "self-signed" in seen.detail
    assert (await pulse(probe, server.url, ca_file=str(certificate.file))).passed
    wrong_name = server.url.replace("127.0.0.1", "localhost")
    assert "certificate" in (await pulse(probe, wrong_name, ca_file=str(certificate.file))).detail


async def test_a_target_that_does_not_speak_tls_is_dead(probe: HttpProbe) -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail ESMTP\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        seen = await pulse(probe, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert not seen.passed
    assert "no TLS with 127.0.0.1" in seen.detail


async def test_no_route_is_our_own_inability(probe: HttpProbe) -> None:
    # No TCP connection leads to a broadcast address; the kernel says so at once.
    assert "unreachable" in await unable(probe, "http://127.255.255.255:9/")


async def test_no_free_descriptor_is_our_own_inability(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(OK)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.socket() as used:
        resource.setrlimit(resource.RLIMIT_NOFILE, (used.fileno(), hard))
        try:
            detail = await unable(probe, server.url)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.strerror(24) in detail
    assert (await pulse(probe, server.url)).passed


class Names(AbstractResolver):
    """A resolver that knows what a test tells it; `hang` never answers, an unknown name is an error."""

    def __init__(self, addresses: dict[str, list[str]]) -> None:
        self.addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        if host == "hang":
            await asyncio.Event().wait()
        if host not in self.addresses:
            raise OSError(None, "Temporary failure in name resolution")
        return [
            ResolveResult(hostname=host, host=address, port=port, family=socket.AF_INET, proto=0, flags=0)
            for address in self.addresses[host]
        ]

    async def close(self) -> None:
        pass


async def test_a_name_that_is_not_resolved_is_our_own_inability() -> None:
    probe = HttpProbe(resolver=Names({}))
    assert await unable(probe, "http://nobody.example/") == "the name nobody.example cannot be resolved"
    detail = await unable(probe, "http://hang/", timeout="200ms")
    assert detail == "the name hang was not resolved within 0.2 s"
    await probe.aclose()


async def test_a_name_with_several_addresses_is_dead_only_when_one_of_them_was_reached(
    free_port: Callable[[], int],
) -> None:
    port = free_port()
    probe = HttpProbe(
        resolver=Names(
            {
                "two": ["127.255.255.255", "127.0.0.1"],
                "owt": ["127.0.0.1", "127.255.255.255"],
                "none": ["127.255.255.255"] * 2,
            }
        )
    )
    for name in ("two", "owt"):
        seen = await pulse(probe, f"http://{name}:{port}/")
        assert (seen.passed, "Connection refused" in seen.detail) == (False, True), seen
    assert "unreachable" in await unable(probe, f"http://none:{port}/")
    await probe.aclose()


async def test_a_time_out_after_the_name_was_found_is_the_targets(serve: Serve) -> None:
    server = await serve(raw.hang)
    probe = HttpProbe(resolver=Names({"app": ["127.0.0.1"]}))
    assert not (await pulse(probe, f"http://app:{server.port}/", timeout="200ms")).passed
    await probe.aclose()


async def test_settings_that_make_no_request_are_our_own_inability(probe: HttpProbe, tmp_path: Path) -> None:
    assert "url" in await unable(probe, "http://a b/")
    assert "Port" in await unable(probe, "http://here:99999/")
    assert "header" not in await unable(probe, "nonsense")
    missing = tmp_path / "missing.pem"
    assert str(missing) in await unable(probe, "https://127.0.0.1:1/", ca_file=str(missing))
    assert "headers.X" in await unable(probe, "http://127.0.0.1:1/", headers={"X": "a\r\nb"})


async def test_a_user_name_that_came_into_the_address_with_a_variable_is_not_sent_or_shown(
    serve: Serve, probe: HttpProbe
) -> None:
    server = await serve(OK)
    url = server.url.replace("http://", "http://user:hunter2@")
    seen = await probe.check({"url": url}, now=NOW)
    assert isinstance(seen, Failed)
    assert "hunter2" not in repr(seen)
    assert server.requests == []


async def test_a_secret_header_is_sent_and_not_shown(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(OK)
    wanted = {"url": server.url, "headers": {"Authorization": SecretStr("Bearer hunter2"), "X-Who": "us"}}
    settings = HttpProbeSettings.model_validate(wanted)
    assert "hunter2" not in repr(settings)
    assert "hunter2" not in settings.model_dump_json()
    seen = await probe.check(settings.model_dump(), now=NOW)
    assert isinstance(seen, Pulse)
    assert seen.passed
    (request,) = server.requests
    assert (request.headers["authorization"], request.headers["x-who"]) == ("Bearer hunter2", "us")


async def test_many_checks_at_once_do_not_wait_for_each_other(
    serve: Serve, probe: HttpProbe, eventually: Eventually
) -> None:
    hanging, healthy = await serve(raw.hang), await serve(OK)
    # More at once than an aiohttp session connects by default.
    slow_ones = [asyncio.create_task(pulse(probe, hanging.url, timeout="5s")) for _ in range(150)]
    await eventually(lambda: len(hanging.requests) == 150)
    seen = await pulse(probe, healthy.url, timeout="1500ms")
    assert seen.passed
    assert not any(check.done() for check in slow_ones)
    for check in slow_ones:
        check.cancel()
    await asyncio.gather(*slow_ones, return_exceptions=True)


async def test_a_cancelled_check_is_cancelled(serve: Serve, probe: HttpProbe, eventually: Eventually) -> None:
    server = await serve(raw.hang)
    check = asyncio.create_task(pulse(probe, server.url))
    await eventually(lambda: server.requests)
    check.cancel()
    with pytest.raises(asyncio.CancelledError):
        await check


async def test_closing_is_final_and_may_be_repeated(serve: Serve) -> None:
    probe = HttpProbe()
    server = await serve(OK)
    assert (await pulse(probe, server.url)).passed
    await probe.aclose()
    await probe.aclose()
    assert "closed" in await unable(probe, server.url)


def test_settings_may_hold_variables_and_have_the_defaults_of_the_design() -> None:
    settings = HttpProbeSettings.model_validate({"url": "http://$service.internal/healthz"})
    assert settings.model_dump(mode="json") == {
        "url": "http://$service.internal/healthz",
        "ca_file": None,
        "timeout": "3s",
        "method": "GET",
        "headers": {},
        "expect": {
            "status": "2xx",
            "within": None,
            "header": {},
            "body": None,
            "certificate": None,
        },
    }


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "url"),
        ({"url": "here"}, "url"),
        ({"url": "http://a", "method": "POST"}, "method"),
        ({"url": "http://a", "expect": {"status": 99}}, "99 is no status"),
        ({"url": "http://a", "expect": {"status": "2x"}}, "'2x' is no status"),
        ({"url": "http://a", "expect": {"status": True}}, "True is no status"),
        ({"url": "http://a", "expect": {"status": []}}, "empty list"),
        ({"url": "http://a", "expect": {"body_contains": "ok"}}, "body_contains"),
        ({"url": "http://a", "expect": {"body": {}}}, "expects nothing"),
        ({"url": "http://a", "expect": {"body": {"contains": ""}}}, "contains"),
        ({"url": "http://a", "expect": {"body": {"matches": "(a"}}}, "is no regular expression"),
        ({"url": "http://a", "expect": {"body": {"matches": "a" * 1001}}}, "matches"),
        ({"url": "http://a", "expect": {"body": {"pointer": {"a": 1}}}}, "is no JSON pointer"),
        ({"url": "http://a", "expect": {"body": {"pointer": {"/a": [1]}}}}, "a value to compare with"),
        ({"url": "http://a", "expect": {"header": {"a b": "c"}}}, "is not the name of a header"),
        ({"url": "http://a", "expect": {"certificate": "7d"}}, "only with TLS"),
        ({"url": "http://a", "method": "HEAD", "expect": {"body": {"contains": "a"}}}, "HEAD has no body"),
        ({"url": "http://a", "expect": {"within": "5s"}}, "longer than timeout"),
        ({"url": "http://a", "timeout": "0s"}, "timeout"),
        ({"url": "http://a", "retries": 2}, "retries"),
        ({"url": "http://user:hunter2@a/"}, "a user name or password is not written into a probe's address"),
        ({"url": "https://$label.user@$service.internal/"}, "a user name or password is not written"),
        ({"url": "http://a", "headers": {"X-Day": 7}}, "7 is not a text"),
        ({"url": "http://a", "headers": {"X": SecretStr("a\nb")}}, "do not fit into a header"),
    ],
)
def test_settings_refuse_what_cannot_work_with_one_message(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        HttpProbeSettings.model_validate(settings)
    assert caught.value.error_count() == 1


JSON = b'{"status": "up", "checks": [{"ok": true, "a/b~c": 1}], "n": 1.0, "none": null, "version": "v1"}'


@pytest.mark.parametrize(
    ("expect", "wrong"),
    [
        ({"header": {"content-type": "application/json"}}, ""),
        ({"header": {"Content-Type": "text/html"}}, "header Content-Type is not 'text/html'"),
        ({"header": {"Content-Type": {"matches": "^application/"}}}, ""),
        ({"header": {"Content-Type": {"matches": "^text/.*"}}}, "does not match '^text/.*'"),
        ({"header": {"X-Missing": "yes"}}, "no header X-Missing"),
        ({"header": {"X-Missing": {"matches": "yes"}}}, "no header X-Missing"),
        ({"body": {"contains": '"up"'}}, ""),
        ({"body": {"contains": "down"}}, "the body does not contain 'down'"),
        ({"body": {"matches": r'"status": "(up|ok)"'}}, ""),
        ({"body": {"matches": r'"status":\s*"ok"'}}, "the body does not match"),
        ({"body": {"pointer": {"/status": "up", "/checks/0/ok": True, "/checks/0/a~1b~0c": 1}}}, ""),
        ({"body": {"pointer": {"/n": 1, "/none": None, "/version": "v1"}}}, ""),
        ({"body": {"pointer": {"/status": "down"}}}, """the body at '/status' is not "down\""""),
        ({"body": {"pointer": {"/checks/0/ok": 1}}}, "the body at '/checks/0/ok' is not 1"),
        ({"body": {"pointer": {"/checks/0/a~1b~0c": True}}}, "is not true"),
        ({"body": {"pointer": {"/n": "1.0"}}}, 'is not "1.0"'),
        ({"body": {"pointer": {"/checks/1/ok": True}}}, "the body has nothing at '/checks/1/ok'"),
        ({"body": {"pointer": {"/checks/00/ok": True}}}, "the body has nothing at '/checks/00/ok'"),
        ({"body": {"pointer": {"/checks/-/ok": True}}}, "the body has nothing at"),
        ({"body": {"pointer": {"/status/0": "u"}}}, "the body has nothing at"),
        ({"body": {"pointer": {"": "up"}}}, "the body at '' is not"),
        ({"status": 503, "body": {"contains": "down"}}, "status 200, expected 503"),
    ],
)
async def test_headers_and_bodies_must_be_as_expected(
    serve: Serve, probe: HttpProbe, expect: dict[str, Any], wrong: str
) -> None:
    server = await serve(raw.answer(JSON, headers={"Content-Type": "application/json"}))
    seen = await pulse(probe, server.url, expect=expect)
    assert (seen.passed, wrong in seen.detail) == (not wrong, True), seen.detail


@pytest.mark.parametrize("body", [b"", b"fine", b"{", b"[" * 60_000, b'{"a": \xff}', b"NaN"])
async def test_a_body_that_is_no_json_is_a_wrong_answer(serve: Serve, probe: HttpProbe, body: bytes) -> None:
    seen = await pulse(probe, (await serve(raw.answer(body))).url, expect={"body": {"pointer": {"/a": 1}}})
    assert (seen.passed, seen.detail) in {
        (False, "the body is no JSON"),
        (False, "the body has nothing at '/a'"),  # letters that are none are replaced
    }


async def test_only_the_beginning_of_a_large_body_is_looked_at(serve: Serve, probe: HttpProbe) -> None:
    async def large(_: RawRequest, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\nbegin ")
        for _block in range(1600):
            writer.write(b"x" * 65536)
            await writer.drain()

    url = (await serve(large)).url
    assert (await pulse(probe, url, expect={"body": {"contains": "begin"}})).passed
    assert (await pulse(probe, url, expect={"body": {"matches": "^begin x+$"}})).passed
    late = await pulse(probe, url, expect={"body": {"contains": "end"}})
    assert (late.passed, late.detail) == (False, "the body does not contain 'end' in its first 64 KiB")
    document = await pulse(probe, url, expect={"body": {"pointer": {"/a": 1}}})
    assert "longer than 64 KiB" in document.detail


async def test_a_body_of_exactly_64_kib_is_whole(serve: Serve, probe: HttpProbe) -> None:
    body = b'{"a": "' + b"x" * (65536 - 9) + b'"}'
    assert len(body) == 65536
    server = await serve(raw.answer(body))
    seen = await pulse(probe, server.url, expect={"body": {"pointer": {"/a": "x" * (65536 - 9)}}})
    assert seen.passed


async def test_an_expression_that_takes_for_ever_is_our_own_inability(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(raw.answer("a" * 60_000))
    expect = {"body": {"matches": "(a+)+b"}}
    assert "was not over after 1 s" in await unable(probe, server.url, expect=expect)


async def test_a_redirect_in_a_loop_is_one_request(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(raw.hang)
    server.behaviour = raw.answer("", status=302, headers={"Location": server.url})
    seen = await pulse(probe, server.url)
    assert (seen.passed, seen.detail) == (False, "status 302, expected 2xx")
    assert len(server.requests) == 1


async def test_what_is_packed_is_not_asked_for(serve: Serve, probe: HttpProbe) -> None:
    server = await serve(OK)
    await pulse(probe, server.url)
    assert server.requests[0].headers["accept-encoding"] == "identity"


async def test_a_packed_body_of_a_gigabyte_costs_64_kib(serve: Serve, probe: HttpProbe) -> None:
    squeeze = zlib.compressobj(wbits=31)
    packed = b"".join(squeeze.compress(b"x" * 2**20) for _ in range(200)) + squeeze.flush()
    server = await serve(raw.answer(packed, headers={"Content-Encoding": "gzip"}))
    seen = await pulse(probe, server.url, expect={"body": {"contains": "xx"}})
    assert seen.passed
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 2**20  # KiB


@pytest.mark.parametrize(
    ("left", "passed", "words"),
    [
        (timedelta(days=30), True, "status 200"),
        (timedelta(days=3, hours=1), False, "the certificate ends in 3 days, at least 14d wanted"),
        (timedelta(hours=-1), False, "is not trusted: certificate has expired"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_a_certificate_must_be_valid_for_long_enough(
    serve: Serve, probe: HttpProbe, tmp_path: Path, left: timedelta, passed: bool, words: str, method: str
) -> None:
    certificate = Certificate(tmp_path, ends=datetime.now(UTC) + left)
    server = await serve(raw.answer(""), tls=certificate.context)
    settings = {"url": server.url, "ca_file": str(certificate.file), "method": method}
    seen = await probe.check({**settings, "expect": {"certificate": "14d"}}, now=datetime.now(UTC))
    assert isinstance(seen, Pulse)
    assert (seen.passed, words in seen.detail) == (passed, True), seen.detail


HOSTILE = 'v1"} ; (a+)+ \n$label'


async def test_the_value_of_a_variable_stands_for_itself_in_every_expectation(
    serve: Serve, probe: HttpProbe
) -> None:
    server = await serve(raw.answer(json.dumps({"version": HOSTILE}), headers={"X-Version": "v1 (a+)+"}))
    wanted = HttpProbeSettings.model_validate(
        {
            "url": f"{server.url}/$version",
            "expect": {
                "header": {"X-Version": {"matches": r"^v1 $label.x$"}},
                "body": {"pointer": {"/version": "$version"}, "matches": r"v1.*;\s$label.x"},
            },
        }
    )
    settings = wanted.model_dump(mode="json", by_alias=True)
    values = {"version": HOSTILE, "label.x": "(a+)+"}
    seen = await probe.check(fill_settings(settings, values, dict(wanted.QUOTING)), now=NOW)
    assert isinstance(seen, Pulse)
    assert seen.passed, seen
    assert unquote(server.requests[0].path) == f"/{HOSTILE}"
