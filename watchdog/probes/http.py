"""The probe `http`: one request, judged by its status and by how long the whole answer took.

Every check opens a fresh connection and resolves the name anew: a kept connection to a process that no longer accepts
anybody would look alive. This module must never follow a redirect, read more than 64 KiB, or blame the target for a
name that cannot be resolved, a missing route or our own lack of descriptors.
"""

from __future__ import annotations

import asyncio
import errno
import os
import re
import ssl
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import aiohttp
from aiohttp.abc import AbstractResolver
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from yarl import URL

from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.settings.model import HttpSettings, PositiveDuration, Settings

#: Most bytes of a body that are read; what comes after is not waited for.
BODY_BYTES = 64 * 2**10
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
#: More addresses than any name has.
_ALL = 1000
_NUMBERS = re.compile(r"\[Errno (\d+)\]")

_HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
_CLASS = re.compile(r"[1-5]xx")
#: A user name or password in an address; variables may stand anywhere, so no URL parser can look.
_USERINFO = re.compile(r"https?://[^/?#]*@")


def _header(value: Any) -> Any:
    text = _revealed(value)
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a text; put it in quotes")
    if any(letter != "\t" and (letter < " " or letter == "\x7f") for letter in text):
        raise ValueError("control characters and line breaks do not fit into a header")
    return value


def _revealed(value: Any) -> Any:
    return value.get_secret_value() if isinstance(value, SecretStr) else value


_HeaderValue = Annotated[str | SecretStr, BeforeValidator(_header)]


def _status(value: Any) -> Any:
    wanted = value if isinstance(value, list) else [value]
    for one in wanted:
        number = isinstance(one, int) and not isinstance(one, bool) and 100 <= one <= 599
        if not number and not (isinstance(one, str) and _CLASS.fullmatch(one)):
            raise ValueError(f"{one!r} is no status; write 200, 2xx or a list such as [200, 204]")
    if not wanted:
        raise ValueError("an empty list would fail every answer; write 200, 2xx or a list such as [200, 204]")
    return value


class Expected(Settings):
    """What a healthy answer looks like."""

    status: Annotated[int | str | list[int | str], BeforeValidator(_status)] = "2xx"
    """A status such as `200`, a class such as `2xx`, or a list of them."""
    within: PositiveDuration | None = None
    """Longest time for the whole answer; default: the timeout."""

    def wants(self, status: int) -> bool:
        """Whether this status is one of those expected."""
        wanted = self.status if isinstance(self.status, list) else [self.status]
        return status in wanted or f"{status // 100}xx" in wanted

    def words(self) -> str:
        """The status as it was written, for people."""
        wanted = self.status if isinstance(self.status, list) else [self.status]
        return " or ".join(str(one) for one in wanted)


class HttpProbeSettings(HttpSettings):
    """Settings of the probe `http`; `url` and header values may hold variables."""

    timeout: PositiveDuration = timedelta(seconds=3)
    """Longest time for the whole check; an answer that takes longer is a failure."""
    method: Literal["GET", "HEAD"] = "GET"
    """How to ask."""
    headers: dict[_HeaderName, _HeaderValue] = Field(default_factory=dict)
    """Headers to send along; in `ready` a value may be a secret."""
    expect: Expected = Expected()
    """What a healthy answer looks like."""

    @field_validator("url")
    @classmethod
    def _without_password(cls, value: str) -> str:
        if _USERINFO.match(value):
            raise ValueError(
                "a user name or password is not written into a probe's address: it would be recorded and shown"
            )
        return value

    @model_validator(mode="after")
    def _reachable(self) -> HttpProbeSettings:
        if self.expect.within is not None and self.expect.within > self.timeout:
            raise ValueError(
                "expect.within is longer than timeout, so it could never be used up; raise timeout"
            )
        return self


class _Progress:
    """How far a check came; a time-out while the name was being resolved is not the target's."""

    def __init__(self) -> None:
        self.resolving = False


class HttpProbe:
    """Asks any number of HTTP targets (see the module)."""

    Settings = HttpProbeSettings

    def __init__(self, *, resolver: AbstractResolver | None = None) -> None:
        """`resolver` finds the addresses of names, the system's by default. Opens nothing."""
        self._resolver = resolver
        self._session: aiohttp.ClientSession | None = None
        self._trust: dict[Path | None, ssl.SSLContext] = {}
        self._closed = False

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        try:
            wanted = HttpProbeSettings.model_validate(settings)
            url = URL(wanted.url)
        except ValidationError as error:
            faults = "; ".join(
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()
            )
            return Failed(reason=FailReason.UNABLE, detail=f"the probe's settings make no request: {faults}")
        except ValueError as error:
            return Failed(reason=FailReason.UNABLE, detail=f"the probe's url is no address: {error}")
        asked = f"{wanted.method} {url.with_user(None)}"
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the probe was closed", asked=asked)
        found = await self._judged(wanted, url)
        if isinstance(found, Failed):
            return Failed(reason=found.reason, detail=found.detail, asked=asked)
        passed, detail = found
        return Pulse(passed=passed, at=now, detail=detail, asked=asked)

    async def aclose(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _judged(self, wanted: HttpProbeSettings, url: URL) -> tuple[bool, str] | Failed:
        progress = _Progress()
        timeout = wanted.timeout.total_seconds()
        try:
            trust = self._context(wanted.ca_file)
        except OSError as error:
            detail = f"cannot use ca_file {wanted.ca_file}: {error.strerror or error}"
            return Failed(reason=FailReason.UNABLE, detail=detail)
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with asyncio.timeout(timeout):
                status = await self._request(wanted, url, trust, progress)
        except TimeoutError:
            if progress.resolving:
                detail = f"the name {url.host} was not resolved within {timeout:g} s"
                return Failed(reason=FailReason.UNABLE, detail=detail)
            return False, f"no complete answer within {timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _explained(error, url)
        return _verdict(wanted.expect, status, clock() - began)

    async def _request(
        self, wanted: HttpProbeSettings, url: URL, trust: ssl.SSLContext, progress: _Progress
    ) -> int:
        """The status, once the answer is complete or 64 KiB of it are read."""
        async with self._opened().request(
            wanted.method,
            url,
            headers={name: _revealed(value) for name, value in wanted.headers.items()},
            ssl=trust,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as answer:
            left = BODY_BYTES
            while left > 0 and (chunk := await answer.content.read(left)):
                left -= len(chunk)
            if left <= 0:
                answer.close()
            return answer.status

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # No limit: waiting for a free place would be our delay, told as the target's. One attempt over
                # all addresses (interleave): in attempt after attempt only the last address's fault would be told,
                # and a host without IPv6 would take a refused IPv4 connection for a missing route.
                connector=aiohttp.TCPConnector(
                    limit=0, force_close=True, use_dns_cache=False, resolver=self._resolver, interleave=_ALL
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "rollback-watchdog"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trace_configs=[_tracing()],
            )
        return self._session

    def _context(self, ca_file: Path | None) -> ssl.SSLContext:
        if ca_file not in self._trust:
            self._trust[ca_file] = ssl.create_default_context(cafile=ca_file)
        return self._trust[ca_file]


def _tracing() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def begun(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.resolving = True

    async def done(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.resolving = False

    trace.on_dns_resolvehost_start.append(begun)
    trace.on_dns_resolvehost_end.append(done)
    return trace


def _verdict(expected: Expected, status: int, took: float) -> tuple[bool, str]:
    if not expected.wants(status):
        return False, f"status {status}, expected {expected.words()}"
    if expected.within is not None and took > expected.within.total_seconds():
        return False, f"answered after {took:.1f} s, allowed {expected.within.total_seconds():g} s"
    return True, f"status {status} after {took * 1000:.0f} ms"


def _explained(error: Exception, url: URL) -> tuple[bool, str] | Failed:
    """Whose fault it was, in words of our own: what the other side wrote is not repeated."""
    place = f"{url.host_subcomponent}:{url.port}"
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failed(reason=FailReason.UNABLE, detail=f"the name {url.host} cannot be resolved")
        case aiohttp.ClientConnectorCertificateError():
            cause = getattr(error.certificate_error, "verify_message", "") or "it cannot be verified"
            return False, f"the certificate of {place} is not trusted: {cause}"
        case aiohttp.ClientConnectorSSLError():  # its number is OpenSSL's own, not the system's
            return False, f"no TLS with {place}: {error.os_error.strerror or type(error.os_error).__name__}"
        case aiohttp.ClientConnectorError():
            return _no_connection(error.os_error, place)
        case aiohttp.InvalidURL():
            return Failed(reason=FailReason.UNABLE, detail="the probe's url is no address")
        case aiohttp.ClientPayloadError():
            return False, "the answer was cut short"
        case aiohttp.ClientConnectionError() | aiohttp.ClientResponseError():
            return False, f"{place} closed the connection without a proper answer"
        case OSError():
            return _no_connection(error, place)
        case _:
            return Failed(reason=FailReason.UNABLE, detail=f"cannot ask {place}: {type(error).__name__}")


def _no_connection(error: OSError, place: str) -> tuple[bool, str] | Failed:
    """Refused, reset and the like are the target's. A name with several addresses fails with several numbers."""
    numbers = {error.errno} if error.errno else {int(number) for number in _NUMBERS.findall(str(error))}
    words = ", ".join(sorted(os.strerror(number) for number in numbers))
    detail = f"cannot connect to {place}: {words or type(error).__name__}"
    if numbers and numbers <= _OURS:
        return Failed(reason=FailReason.UNABLE, detail=detail)
    return False, detail
