"""The probe `http`: one request, judged by its answer and by how long the whole answer took.

Every check opens a fresh connection and resolves the name anew: a kept connection to a process that no longer accepts
anybody would look alive. This module must never follow a redirect, read more than 64 KiB, or blame the target for a
name that cannot be resolved, a missing route or our own lack of descriptors.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from yarl import URL

from watchdog.core.observation import Failed, FailReason, Pulse
from watchdog.core.variables import Quoting
from watchdog.probes.connection import NotConnected, Trust, no_tls, not_connected, untrusted
from watchdog.probes.expectations import (
    BODY_BYTES,
    Expected,
    HeaderName,
    Pattern,
    check_time,
    expiring,
    late,
    unusable,
    wrong_body,
    wrong_header,
)
from watchdog.probes.matching import NotSearched, found
from watchdog.settings.model import HttpSettings, PositiveDuration

#: More addresses than any name has.
_ALL = 1000

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


class HttpProbeSettings(HttpSettings):
    """Settings of the probe `http`; `url`, header values and what is expected may hold variables."""

    QUOTING: ClassVar[Mapping[str, Quoting]] = {
        "url": Quoting.URL,
        "expect.body.matches": Quoting.PATTERN,
        "expect.header.*.matches": Quoting.PATTERN,
    }

    timeout: PositiveDuration = timedelta(seconds=3)
    """Longest time for the whole check; an answer that takes longer is a failure."""
    method: Literal["GET", "HEAD"] = "GET"
    """How to ask."""
    headers: dict[HeaderName, _HeaderValue] = Field(default_factory=dict)
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
    def _possible(self) -> HttpProbeSettings:
        check_time(self.expect, self.timeout)
        if self.expect.certificate is not None and not self.url.startswith("https://"):
            raise ValueError("there is a certificate only with TLS; write an address with https://")
        if self.expect.body is not None and self.method == "HEAD":
            raise ValueError("the answer to HEAD has no body that could be expected; write `method: GET`")
        return self


class _Heard(msgspec.Struct, frozen=True, kw_only=True):
    """One answer: its body is cut at 64 KiB, then it is not `whole`; `took` is in seconds."""

    status: int
    headers: Mapping[str, list[str]]
    body: bytes
    whole: bool
    certificate: Mapping[str, Any]
    took: float


class _Response(aiohttp.ClientResponse):
    """An answer that remembers the other side's certificate: its connection may be gone before anybody looks."""

    certificate: Mapping[str, Any] = {}

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head of the answer."""
        transport = connection.transport
        self.certificate = (transport and transport.get_extra_info("peercert")) or {}
        return await super().start(connection)


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
        self._trust = Trust()
        self._closed = False

    async def check(self, settings: dict[str, Any], *, now: datetime) -> Pulse | Failed:
        try:
            wanted = HttpProbeSettings.model_validate(settings)
            url = URL(wanted.url)
        except ValidationError as error:
            return Failed(reason=FailReason.UNABLE, detail=unusable(error))
        except ValueError as error:
            return Failed(reason=FailReason.UNABLE, detail=f"the probe's url is no address: {error}")
        asked = f"{wanted.method} {url.with_user(None)}"
        if self._closed:
            return Failed(reason=FailReason.UNABLE, detail="the probe was closed", asked=asked)
        heard = await self._answer(wanted, url)
        judged = await _judged(wanted.expect, heard, now) if isinstance(heard, _Heard) else heard
        if isinstance(judged, Failed):
            return msgspec.structs.replace(judged, asked=asked)
        passed, detail = judged
        answered = isinstance(heard, _Heard)
        return Pulse(passed=passed, at=now, answered=answered, detail=detail, asked=asked)

    async def aclose(self) -> None:
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _answer(self, wanted: HttpProbeSettings, url: URL) -> _Heard | tuple[bool, str] | Failed:
        progress = _Progress()
        timeout = wanted.timeout.total_seconds()
        try:
            trust = self._trust.context(wanted.ca_file)
        except NotConnected as error:
            return Failed(reason=FailReason.UNABLE, detail=str(error))
        try:
            async with asyncio.timeout(timeout):
                return await self._request(wanted, url, trust, progress)
        except TimeoutError:
            if progress.resolving:
                detail = f"the name {url.host} was not resolved within {timeout:g} s"
                return Failed(reason=FailReason.UNABLE, detail=detail)
            return False, f"no complete answer within {timeout:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return _explained(error, url)

    async def _request(
        self, wanted: HttpProbeSettings, url: URL, trust: ssl.SSLContext, progress: _Progress
    ) -> _Heard:
        """The answer, once it is complete or 64 KiB of it are read."""
        clock = asyncio.get_running_loop().time
        began = clock()
        async with self._opened().request(
            wanted.method,
            url,
            headers={name: _revealed(value) for name, value in wanted.headers.items()},
            ssl=trust,
            allow_redirects=False,
            trace_request_ctx=progress,
        ) as answer:
            body = bytearray()
            while len(body) < BODY_BYTES and (chunk := await answer.content.read(BODY_BYTES - len(body))):
                body += chunk
            whole = len(body) < BODY_BYTES or answer.content.at_eof()
            if not whole:
                answer.close()
            return _Heard(
                status=answer.status,
                headers={name: answer.headers.getall(name, []) for name in wanted.expect.header},
                body=bytes(body),
                whole=whole,
                certificate=answer.certificate if isinstance(answer, _Response) else {},
                took=clock() - began,
            )

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
                response_class=_Response,
                # What is packed would have to be unpacked, however much of it there is.
                headers={"User-Agent": "rollback-watchdog", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                trace_configs=[_tracing()],
            )
        return self._session


def _tracing() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()

    async def begun(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.resolving = True

    async def done(_session: Any, context: Any, _params: Any) -> None:
        context.trace_request_ctx.resolving = False

    trace.on_dns_resolvehost_start.append(begun)
    trace.on_dns_resolvehost_end.append(done)
    return trace


async def _judged(expect: Expected, heard: _Heard, now: datetime) -> tuple[bool, str] | Failed:
    wrong, patterns = _wrong(expect, heard)
    wrong = wrong or expiring(expect, heard.certificate, now) or late(expect, heard.took)
    if wrong:
        return False, wrong
    for pattern in patterns:
        try:
            if not await found(pattern.expression, pattern.text):
                return False, pattern.otherwise
        except NotSearched as fault:
            return Failed(reason=FailReason.UNABLE, detail=str(fault))
    return True, f"status {heard.status} after {heard.took * 1000:.0f} ms"


def _wrong(expect: Expected, heard: _Heard) -> tuple[str, list[Pattern]]:
    """What is wrong with an answer, and the expressions that are still to be searched."""
    if not expect.wants(heard.status):
        return f"status {heard.status}, expected {expect.words()}", []
    patterns = []
    for name in expect.header:
        match wrong_header(expect, name, heard.headers[name]):
            case Pattern() as pattern:
                patterns.append(pattern)
            case str(words) if words:
                return words, []
            case _:
                pass
    if expect.body is None:
        return "", patterns
    text = heard.body.decode(errors="replace")
    if expect.body.matches is not None:
        otherwise = f"the body does not match {expect.body.matches!r}"
        patterns.append(Pattern(expression=expect.body.matches, text=text, otherwise=otherwise))
    return wrong_body(expect.body, text, whole=heard.whole), patterns


def _explained(error: Exception, url: URL) -> tuple[bool, str] | Failed:
    """Whose fault it was, in words of our own: what the other side wrote is not repeated."""
    place = f"{url.host_subcomponent}:{url.port}"
    match error:
        case aiohttp.ClientConnectorDNSError():
            return Failed(reason=FailReason.UNABLE, detail=f"the name {url.host} cannot be resolved")
        case aiohttp.ClientConnectorCertificateError():
            return False, untrusted(error.certificate_error, place)
        case aiohttp.ClientConnectorSSLError():
            return False, no_tls(error.os_error, place)
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
    answer = not_connected(error, place)
    return answer if isinstance(answer, Failed) else (False, answer)
