"""The probe `tcp`: a connection is taken, and with `tls` the handshake succeeds. Nothing is asked.

What accepts connections need not work: prefer a probe that asks something where there is one. This module must never
send anything of its own.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from aiohttp.abc import AbstractResolver
from pydantic import ValidationError, model_validator

from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.probes.connection import Connector, NotConnected
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


class TcpProbeSettings(ProviderSettings):
    """Settings of the probe `tcp`; `address` may hold variables."""

    timeout: PositiveDuration = timedelta(seconds=3)
    """Longest time for the whole check; what takes longer is a failure."""
    address: AddressText
    """`HOST:PORT`, an IPv6 host in brackets."""
    tls: bool = False
    """Whether to shake hands (TLS) and to verify the certificate for the host."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) to trust instead of the system's."""
    expect: ExpectedConnection = ExpectedConnection()
    """What a healthy connection looks like."""

    @model_validator(mode="after")
    def _possible(self) -> TcpProbeSettings:
        check_time(self.expect, self.timeout)
        if not self.tls and (self.expect.certificate is not None or self.ca_file is not None):
            raise ValueError("there is a certificate only with TLS; write `tls: true`")
        return self


class TcpProbe:
    """Connects to any number of targets (see the module)."""

    Settings: ClassVar = TcpProbeSettings

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds the addresses of names, the system's by default. Opens nothing."""
        self._connector = Connector(resolver=resolver)
        self._closed = False

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        try:
            wanted = TcpProbeSettings.model_validate(settings)
            address = Address.parse(wanted.address)
        except ValidationError as error:
            return Failed(reason=FailReason.UNABLE, detail=unusable(error))
        except ValueError as error:
            return Failed(reason=FailReason.UNABLE, detail=f"cannot be connected to: {error}")
        asked = f"{'TLS' if wanted.tls else 'TCP'} {address}"
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the probe was closed", asked=asked)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            connected = await self._connector.connect(
                address, tls=wanted.tls, ca_file=wanted.ca_file, timeout=wanted.timeout.total_seconds()
            )
        except NotConnected as fault:
            if fault.ours:
                return Failed(reason=FailReason.UNABLE, detail=str(fault), asked=asked)
            return Pulse(passed=False, at=now, detail=str(fault), asked=asked)
        took = clock() - began
        wrong = expiring(wanted.expect, connected.certificate, now) or late(wanted.expect, took)
        detail = wrong or f"connected after {took * 1000:.0f} ms"
        return Pulse(passed=not wrong, at=now, answered=True, detail=detail, asked=asked)

    async def aclose(self) -> None:
        self._closed = True
