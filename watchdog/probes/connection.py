"""Opening a connection on a probe's behalf, and whose fault it is when there is none.

Finding the name is a step of its own, so that a resolver that is down is never told as a dead target. This module must
never keep a connection, follow anything, or repeat what the other side wrote.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import re
import socket
import ssl
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import ThreadedResolver
from aiohttp.abc import AbstractResolver, ResolveResult

from watchdog.core.observation import Failed, FailReason
from watchdog.probes.expectations import Address

#: Faults of this machine, or of the way there, that say nothing about the target.
_OURS = frozenset(
    {
        errno.ENETUNREACH,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.EADDRNOTAVAIL,
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOBUFS,
        errno.ENOMEM,
        errno.EACCES,
        errno.EPERM,
    }
)
_NUMBERS = re.compile(r"\[Errno (\d+)\]")
#: Bytes of a handshake that are read at once.
_BLOCK = 2**14


class NotConnected(Exception):
    """There is no connection. `ours`: we could not even try; else it is the target's failure. `str()` says why."""

    def __init__(self, why: str, *, ours: bool) -> None:
        super().__init__(why)
        self.ours = ours


class Connected(msgspec.Struct, frozen=True, kw_only=True):
    """Where a connection led, and the certificate of the other side (empty without TLS). It is closed already."""

    host: str
    port: int
    certificate: dict[str, Any]


class Connector:
    """Tries connections to addresses `HOST:PORT`, each name resolved anew."""

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds the addresses of names, the system's by default. Opens nothing."""
        self._resolver = resolver
        self._trust = Trust()

    async def connect(
        self, address: Address, *, tls: bool, ca_file: Path | None, alpn: str = "", timeout: float
    ) -> Connected:
        """Open one connection, shake hands if it is to be TLS, and close it. `timeout` (seconds) is for all of it.

        Raises `NotConnected`.
        """
        until = asyncio.get_running_loop().time() + timeout
        trust = self._trust.context(ca_file, alpn=alpn) if tls else None
        found = await self._resolved(address, timeout)
        plain, where = await _first_open(found, address, until)
        with contextlib.closing(plain):
            certificate = {} if trust is None else await _shaken(plain, address, trust, until, timeout)
            return Connected(host=where["host"], port=where["port"], certificate=certificate)

    def trust(self, ca_file: Path | None) -> ssl.SSLContext:
        """The context that trusts `ca_file`, or the system's authorities. Raises `NotConnected`."""
        return self._trust.context(ca_file)

    async def _resolved(self, address: Address, timeout: float) -> list[ResolveResult]:
        resolver = self._resolver or ThreadedResolver()
        try:
            async with asyncio.timeout(timeout):
                found = await resolver.resolve(address.host, address.port, family=socket.AF_UNSPEC)
            if found:
                return found
            why = f"the name {address.host} has no address"
        except TimeoutError:
            why = f"the name {address.host} was not resolved within {timeout:g} s"
        except (OSError, UnicodeError):
            why = f"the name {address.host} cannot be resolved"
        raise NotConnected(why, ours=True)


class Trust:
    """TLS contexts, made once for each file of authorities."""

    def __init__(self) -> None:
        self._known: dict[tuple[Path | None, str], ssl.SSLContext] = {}

    def context(self, ca_file: Path | None, *, alpn: str = "") -> ssl.SSLContext:
        """The context that trusts `ca_file`, or the system's authorities. Raises `NotConnected`."""
        key = ca_file, alpn
        if key not in self._known:
            try:
                made = ssl.create_default_context(cafile=ca_file)
            except OSError as error:
                raise NotConnected(
                    f"cannot use ca_file {ca_file}: {error.strerror or error}", ours=True
                ) from error
            if alpn:
                made.set_alpn_protocols([alpn])
            self._known[key] = made
        return self._known[key]


async def _first_open(
    found: list[ResolveResult], address: Address, until: float
) -> tuple[socket.socket, ResolveResult]:
    """The first address that takes a connection; each one has an equal share of the time that is left."""
    loop = asyncio.get_running_loop()
    faults: list[OSError] = []
    for index, one in enumerate(found):
        share = (until - loop.time()) / (len(found) - index)
        try:
            return await _open(one, share), one
        except OSError as fault:
            faults.append(fault)
    # An address that could not be tried says nothing while another one refused.
    told = next((fault for fault in faults if fault.errno not in _OURS), faults[-1])
    answer = not_connected(told, str(address))
    raise NotConnected(
        answer.detail if isinstance(answer, Failed) else answer, ours=isinstance(answer, Failed)
    )


async def _open(where: ResolveResult, share: float) -> socket.socket:
    plain = socket.socket(where["family"], socket.SOCK_STREAM)
    try:
        plain.settimeout(0)
        async with asyncio.timeout(share):
            await asyncio.get_running_loop().sock_connect(plain, (where["host"], where["port"]))
    except TimeoutError:
        plain.close()
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT)) from None
    except BaseException:
        plain.close()
        raise
    return plain


async def _shaken(
    plain: socket.socket, address: Address, trust: ssl.SSLContext, until: float, timeout: float
) -> dict[str, Any]:
    """Shake hands over an open connection; the certificate of the other side, which was verified."""
    try:
        async with asyncio.timeout(until - asyncio.get_running_loop().time()):
            return await _handshake(plain, trust, address.host)
    except TimeoutError:
        why = f"no TLS with {address} within {timeout:g} s"
    except ssl.SSLCertVerificationError as error:
        why = untrusted(error, str(address))
    except OSError as error:
        why = no_tls(error, str(address))
    except ValueError:  # a name that cannot stand in a certificate
        why = f"no TLS with {address}: the name fits into no certificate"
    raise NotConnected(why, ours=False)


async def _handshake(plain: socket.socket, trust: ssl.SSLContext, name: str) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    heard, said = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = trust.wrap_bio(heard, said, server_hostname=name)
    while True:
        try:
            tls.do_handshake()
        except ssl.SSLWantReadError:
            await loop.sock_sendall(plain, said.read())
        else:
            # The last word of the handshake is ours; without it the other side complains of every probe.
            await loop.sock_sendall(plain, said.read())
            return dict(tls.getpeercert() or {})
        if more := await loop.sock_recv(plain, _BLOCK):
            heard.write(more)
        else:
            heard.write_eof()


def untrusted(error: Exception, place: str) -> str:
    """Words for a certificate that was not accepted; expired is the usual reason."""
    cause = getattr(error, "verify_message", "") or "it cannot be verified"
    return f"the certificate of {place} is not trusted: {cause}"


def no_tls(error: OSError, place: str) -> str:
    """Words for a handshake that failed. Its number is OpenSSL's own, not the system's."""
    return f"no TLS with {place}: {error.strerror or type(error).__name__}"


def not_connected(error: OSError, place: str) -> str | Failed:
    """Refused, reset and the like are the target's. A name with several addresses fails with several numbers."""
    numbers = {error.errno} if error.errno else {int(number) for number in _NUMBERS.findall(str(error))}
    words = ", ".join(sorted(os.strerror(number) for number in numbers))
    detail = f"cannot connect to {place}: {words or type(error).__name__}"
    if numbers and numbers <= _OURS:
        return Failed(reason=FailReason.UNABLE, detail=detail)
    return detail
