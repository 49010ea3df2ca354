"""The probe `grpc`: the standard health service (`grpc.health.v1`) answers SERVING.

The connection is tried first by ourselves, because gRPC tells a refused connection, a resolver that is down and our own
lack of descriptors in one word. grpcio is an extra and slow to import: the first check does that, in a thread. This
module must never ask without a deadline, keep a channel, or go through a proxy.
"""

from __future__ import annotations

import asyncio
import errno
import importlib
import os
import ssl
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import msgspec
from aiohttp.abc import AbstractResolver
from pydantic import ValidationError, model_validator

from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.probes.connection import Connected, Connector, NotConnected
from watchdog.probes.expectations import (
    Address,
    AddressText,
    ExpectedConnection,
    check_time,
    expiring,
    late,
    unusable,
)
from watchdog.settings.model import PositiveDuration, ProviderSettings

#: Longest answer, in bytes; a health status takes two.
_ANSWER_BYTES = 4096
#: What brings everything else along; it takes a fifth of a second.
_SLOW = "grpc_health.v1.health_pb2_grpc"


class GrpcProbeSettings(ProviderSettings):
    """Settings of the probe `grpc`; `address` and `service` may hold variables."""

    timeout: PositiveDuration = timedelta(seconds=3)
    """Longest time for the whole check; an answer that takes longer is a failure."""
    address: AddressText
    """`HOST:PORT`, an IPv6 host in brackets."""
    service: str = ""
    """Name of the service to ask about; left out, the server as a whole."""
    tls: bool = False
    """Whether to ask over TLS and to verify the certificate for the host."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""
    expect: ExpectedConnection = ExpectedConnection()
    """What a healthy answer looks like, besides SERVING."""

    @model_validator(mode="after")
    def _possible(self) -> GrpcProbeSettings:
        check_time(self.expect, self.timeout)
        if not self.tls and (self.expect.certificate is not None or self.ca_file is not None):
            raise ValueError("there is a certificate only with TLS; write `tls: true`")
        return self


class GrpcProbe:
    """Asks any number of gRPC servers for their health (see the module)."""

    Settings: ClassVar = GrpcProbeSettings
    EXTRA: ClassVar = "grpc"
    MODULES: ClassVar = ("grpc", "grpc_health")

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds the addresses of names, the system's by default. Opens nothing."""
        self._connector = Connector(resolver=resolver)
        self._roots: dict[Path | None, bytes] = {}
        self._closed = False

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        try:
            wanted = GrpcProbeSettings.model_validate(settings)
            address = Address.parse(wanted.address)
        except ValidationError as error:
            return Failed(reason=FailReason.UNABLE, detail=unusable(error))
        except ValueError as error:
            return Failed(reason=FailReason.UNABLE, detail=f"cannot be connected to: {error}")
        asked = f"grpc.health.v1.Health/Check {wanted.service!r} at {address}"
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the probe was closed", asked=asked)
        try:
            async with asyncio.timeout(wanted.timeout.total_seconds()):
                await _loaded()
        except TimeoutError:
            return Failed(reason=FailReason.UNABLE, detail="grpcio was not imported in time", asked=asked)
        judged = await self._judged(wanted, address, now)
        if isinstance(judged, Failed):
            return msgspec.structs.replace(judged, asked=asked)
        passed, answered, detail = judged
        return Pulse(passed=passed, at=now, answered=answered, detail=detail, asked=asked)

    async def aclose(self) -> None:
        self._closed = True

    async def _judged(
        self, wanted: GrpcProbeSettings, address: Address, now: datetime
    ) -> tuple[bool, bool, str] | Failed:
        """Whether it passed, whether it answered at all, and what there is to say."""
        clock = asyncio.get_running_loop().time
        timeout = wanted.timeout.total_seconds()
        began = clock()
        try:
            connected = await self._connector.connect(
                address, tls=wanted.tls, ca_file=wanted.ca_file, alpn="h2", timeout=timeout
            )
            roots = self._roots_of(wanted.ca_file) if wanted.tls else None
        except NotConnected as fault:
            if fault.ours:
                return Failed(reason=FailReason.UNABLE, detail=str(fault))
            return False, False, str(fault)
        left = timeout - (clock() - began)
        try:
            async with asyncio.timeout(left):
                wrong = await _ask(wanted.service, connected, address, roots, left)
        except TimeoutError:
            wrong = f"no answer within {timeout:g} s"
        if isinstance(wrong, Failed):
            return wrong
        took = clock() - began
        wrong = wrong or expiring(wanted.expect, connected.certificate, now) or late(wanted.expect, took)
        return not wrong, True, wrong or f"SERVING after {took * 1000:.0f} ms"

    def _roots_of(self, ca_file: Path | None) -> bytes:
        """The authorities that the connection was verified by: gRPC would bring its own instead of the system's."""
        if ca_file not in self._roots:
            known = self._connector.trust(ca_file).get_ca_certs(binary_form=True)
            self._roots[ca_file] = "".join(map(ssl.DER_cert_to_PEM_cert, known)).encode()
        return self._roots[ca_file]


async def _loaded() -> None:
    if _SLOW not in sys.modules:
        # Its C library writes to stderr by itself, a line for every target that is down.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        await asyncio.to_thread(importlib.import_module, _SLOW)


async def _ask(
    service: str, connected: Connected, address: Address, roots: bytes | None, timeout: float
) -> str | Failed:
    """What is wrong with the server's answer; nothing when it serves. `roots` are for TLS."""
    import grpc  # noqa: PLC0415 - an extra
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - the same

    host = f"ipv6:[{connected.host}]" if ":" in connected.host else f"ipv4:{connected.host}"
    options = [
        ("grpc.default_authority", str(address)),
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),  # no connection of an earlier check
        ("grpc.max_receive_message_length", _ANSWER_BYTES),
        ("grpc.service_config_disable_resolution", 1),
    ]
    target = f"{host}:{connected.port}"
    if roots is None:
        channel = grpc.aio.insecure_channel(target, options=options)
    else:
        credentials = grpc.ssl_channel_credentials(root_certificates=roots or None)
        channel = grpc.aio.secure_channel(target, credentials, options=options)
    try:
        request = health_pb2.HealthCheckRequest(service=service)
        answer = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
    except grpc.aio.AioRpcError as error:
        return _explained(error.code().name, error.details() or "", service)
    finally:
        await channel.close()
    known = health_pb2.HealthCheckResponse.ServingStatus
    if answer.status == known.SERVING:
        return ""
    said = known.Name(answer.status) if answer.status in known.values() else "a status that is none"
    return f"answered {said}, expected SERVING"


def _explained(code: str, details: str, service: str) -> str | Failed:
    """Whose fault it was, in words of our own: what the other side wrote is not repeated."""
    if os.strerror(errno.EMFILE) in details or os.strerror(errno.ENFILE) in details:
        return Failed(reason=FailReason.UNABLE, detail=f"cannot ask: {os.strerror(errno.EMFILE)}")
    match code:
        case "NOT_FOUND":
            return f"the server knows no service {service!r}"
        case "UNIMPLEMENTED":
            return "the server has no health service (grpc.health.v1)"
        case "UNAVAILABLE":
            return "the connection ended without a proper answer"
        case "DEADLINE_EXCEEDED":
            return "no answer in time"
        case _:
            return f"answered with the gRPC status {code}"
