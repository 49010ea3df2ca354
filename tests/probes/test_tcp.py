"""The probe `tcp`: connections and TLS handshakes, and how long certificates are valid."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from tests.servers.certificates import Certificate
from tests.servers.peer import Peer, hang, reset
from watchdog.core.observation import Failed, Pulse
from watchdog.probes.tcp import TcpProbe, TcpProbeSettings


@pytest.fixture
async def probe() -> AsyncIterator[TcpProbe]:
    made = TcpProbe()
    yield made
    await made.aclose()


async def pulse(probe: TcpProbe, address: str, **settings: Any) -> Pulse:
    wanted = TcpProbeSettings.model_validate({"address": address, **settings})
    seen = await probe.check(wanted.model_dump(mode="json"), now=datetime.now(UTC))
    assert isinstance(seen, Pulse), seen
    return seen


async def test_a_taken_connection_is_alive_whatever_comes_after_it(probe: TcpProbe) -> None:
    for rudeness in (hang, reset):
        async with Peer(rudeness) as peer:
            seen = await pulse(probe, f"127.0.0.1:{peer.port}")
        assert (seen.passed, seen.answered, seen.asked) == (True, True, f"TCP 127.0.0.1:{peer.port}")
        assert seen.detail.startswith("connected after ")


async def test_ipv6_hosts_stand_in_brackets(probe: TcpProbe) -> None:
    async with Peer(hang, host="::1") as peer:
        assert (await pulse(probe, f"[::1]:{peer.port}")).passed


async def test_a_listener_with_a_full_queue_is_dead(probe: TcpProbe) -> None:
    with socket.socket() as full, socket.socket() as waiting, socket.socket() as another:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (waiting, another):
            client.settimeout(0)
            client.connect_ex(full.getsockname())
        seen = await pulse(probe, f"127.0.0.1:{full.getsockname()[1]}", timeout="300ms")
    assert (seen.passed, seen.answered) == (False, False)
    assert seen.detail.endswith("Connection timed out")


@pytest.mark.parametrize(
    ("left", "wanted", "words"),
    [
        (timedelta(days=30), "14d", ""),
        (timedelta(days=10, hours=1), "14d", "the certificate ends in 10 days, at least 14d wanted"),
        (timedelta(hours=5, minutes=30), "1d", "the certificate ends in 5h29m"),
        (timedelta(hours=-1), "1s", "is not trusted: certificate has expired"),
    ],
)
async def test_a_certificate_must_be_valid_for_long_enough(
    probe: TcpProbe, tmp_path: Path, left: timedelta, wanted: str, words: str
) -> None:
    certificate = Certificate(tmp_path, ends=datetime.now(UTC) + left)
    async with Peer(hang, tls=certificate.context) as peer:
        seen = await pulse(
            probe,
            f"127.0.0.1:{peer.port}",
            tls=True,
            ca_file=str(certificate.file),
            expect={"certificate": wanted},
        )
    assert (seen.passed, words in seen.detail) == (not words, True), seen.detail


async def test_a_certificate_for_another_name_or_from_anybody_is_not_trusted(
    probe: TcpProbe, tmp_path: Path
) -> None:
    certificate = Certificate(tmp_path)
    async with Peer(hang, tls=certificate.context) as peer:
        anybody = await pulse(probe, f"127.0.0.1:{peer.port}", tls=True)
        other = await pulse(probe, f"localhost:{peer.port}", tls=True, ca_file=str(certificate.file))
    assert not anybody.passed
    assert anybody.detail.endswith("is not trusted: self-signed certificate")
    assert not other.passed
    assert "Hostname mismatch" in other.detail


async def test_a_handshake_later_than_allowed_is_a_failure(probe: TcpProbe, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    trusted = {"tls": True, "ca_file": str(certificate.file)}
    async with Peer(hang, tls=certificate.context) as peer:
        seen = await pulse(probe, f"127.0.0.1:{peer.port}", **trusted, expect={"within": "1ms"})
    assert (seen.passed, "allowed 0.001 s" in seen.detail) == (False, True), seen


async def test_authorities_that_are_gone_are_our_own_inability(probe: TcpProbe, tmp_path: Path) -> None:
    settings = {"address": "127.0.0.1:9", "tls": True, "ca_file": str(tmp_path / "missing.pem")}
    seen = await probe.check(settings, now=datetime.now(UTC))
    assert isinstance(seen, Failed)
    assert "missing.pem" in seen.detail


@pytest.mark.parametrize(
    "address", ["here", "here:", ":80", "here:0", "here:99999", "a b:80", "http://a:80", "::1:80", "a:80:90"]
)
def test_an_address_is_a_host_and_a_port(address: str) -> None:
    with pytest.raises(ValidationError, match="an address is HOST:PORT"):
        TcpProbeSettings.model_validate({"address": address})
    for good in ("$service.internal:80", "{address}", "$label.database", "[::1]:80", "db_1.internal:5432"):
        assert TcpProbeSettings.model_validate({"address": good}).address == good
