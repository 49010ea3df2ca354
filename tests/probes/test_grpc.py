"""The probe `grpc` against real gRPC servers: serving, not serving, without a health service, and over TLS."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvloop

from tests.servers.certificates import Certificate
from tests.servers.health import HealthServer
from watchdog.core.observation import Failed, Pulse
from watchdog.probes.grpc import GrpcProbe, GrpcProbeSettings


@pytest.fixture
def server() -> Iterator[HealthServer]:
    with HealthServer() as made:
        yield made


@pytest.fixture
async def probe() -> AsyncIterator[GrpcProbe]:
    made = GrpcProbe()
    yield made
    await made.aclose()


async def pulse(probe: GrpcProbe, port: int, **settings: Any) -> Pulse:
    wanted = GrpcProbeSettings.model_validate({"address": f"127.0.0.1:{port}", **settings})
    seen = await probe.check(wanted.model_dump(mode="json"), now=datetime.now(UTC))
    assert isinstance(seen, Pulse), seen
    return seen


async def test_a_server_that_serves_is_alive(server: HealthServer, probe: GrpcProbe) -> None:
    server.tell("shop.Trips", "SERVING")
    for service in ("", "shop.Trips"):
        seen = await pulse(probe, server.port, service=service)
        assert (seen.passed, seen.detail.startswith("SERVING after ")) == (True, True), seen
        assert seen.asked == f"grpc.health.v1.Health/Check {service!r} at 127.0.0.1:{server.port}"


@pytest.mark.parametrize("status", ["NOT_SERVING", "UNKNOWN", "SERVICE_UNKNOWN"])
async def test_a_service_that_does_not_serve_is_dead(
    server: HealthServer, probe: GrpcProbe, status: str
) -> None:
    server.tell("shop.Trips", status)
    seen = await pulse(probe, server.port, service="shop.Trips")
    assert (seen.passed, seen.detail) == (False, f"answered {status}, expected SERVING")
    assert seen.answered
    assert (await pulse(probe, server.port)).passed


async def test_a_service_that_nobody_knows_is_dead(server: HealthServer, probe: GrpcProbe) -> None:
    name = 'a "b"; c\nd'
    seen = await pulse(probe, server.port, service=name)
    assert (seen.passed, seen.detail) == (False, f"the server knows no service {name!r}")


async def test_a_server_without_a_health_service_is_dead(probe: GrpcProbe) -> None:
    with HealthServer(knows_health=False) as server:
        seen = await pulse(probe, server.port)
    assert (seen.passed, seen.detail) == (False, "the server has no health service (grpc.health.v1)")


async def test_tls_is_verified_and_says_how_long_the_certificate_is_valid(
    probe: GrpcProbe, tmp_path: Path
) -> None:
    certificate = Certificate(tmp_path)
    trusted = {"tls": True, "ca_file": str(certificate.file)}
    with HealthServer(certificate=certificate) as server:
        assert (await pulse(probe, server.port, **trusted, expect={"certificate": "1d"})).passed
        soon = await pulse(probe, server.port, **trusted, expect={"certificate": "14d"})
        assert not soon.passed
        assert "at least 14d wanted" in soon.detail
        unknown = await pulse(probe, server.port, tls=True)
        assert not unknown.passed
        assert "is not trusted: self-signed certificate" in unknown.detail
        wrong = await pulse(probe, server.port, **trusted, address=f"localhost:{server.port}")
        assert not wrong.passed
        assert "certificate" in wrong.detail
        plain = await pulse(probe, server.port, timeout="1s")
        assert not plain.passed


async def test_a_certificate_may_be_for_a_name(probe: GrpcProbe, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, names="DNS:localhost")
    with HealthServer(certificate=certificate) as server:
        trusted = {"tls": True, "ca_file": str(certificate.file), "address": f"localhost:{server.port}"}
        seen = await pulse(probe, server.port, **trusted)
    assert seen.passed, seen


async def test_an_expired_certificate_is_dead(probe: GrpcProbe, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, ends=datetime.now(UTC) - timedelta(hours=1))
    with HealthServer(certificate=certificate) as server:
        seen = await pulse(probe, server.port, tls=True, ca_file=str(certificate.file))
    assert not seen.passed
    assert seen.detail.endswith("is not trusted: certificate has expired")


def test_it_asks_on_the_daemons_own_loop(server: HealthServer) -> None:
    async def ask() -> Pulse:
        probe = GrpcProbe()
        try:
            first, *_ = await asyncio.gather(*(pulse(probe, server.port) for _ in range(20)))
        finally:
            await probe.aclose()
        return first

    assert uvloop.run(ask()).passed


async def test_an_address_that_became_none_is_our_own_inability(probe: GrpcProbe) -> None:
    for address in ("unix:/run/x.sock", "dns:///here:1", "a b:1", "here:0", "evil.example:80.internal:9"):
        seen = await probe.check({"address": address}, now=datetime.now(UTC))
        assert isinstance(seen, Failed), address
        assert "an address is HOST:PORT" in seen.detail
