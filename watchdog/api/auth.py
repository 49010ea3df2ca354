"""Who is asking, and what they may do.

Without any token configured, only this machine may read and nobody may write. Tokens are compared by their
SHA-256 in constant time, all of them, every time. This module must never log a header.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum
from typing import Literal

import msgspec
from aiohttp import hdrs, web

from watchdog.api.problem import Problem
from watchdog.api.signing import FRESH_FOR, HUB, SIGNATURE, TIMESTAMP, Signature, Taken
from watchdog.api.signing import is_signed as has_signature
from watchdog.config.loaded import Token


class Role(IntEnum):
    """What somebody may do; a higher one may do everything a lower one may."""

    VIEWER = 1
    OPERATOR = 2


_ROLES: dict[Literal["viewer", "operator"], Role] = {"viewer": Role.VIEWER, "operator": Role.OPERATOR}

#: Left by proxies. A request that came through one is not from this machine, whatever its peer address says.
_FORWARDED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP", "Via")
_NO_TOKENS = "no token is configured; add one under server.tokens in the configuration"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who is asking. `name` is the token's name, never the token."""

    name: str
    role: Role


class Guard:
    """Answers who is asking, or raises the `Problem` that says why not."""

    def __init__(self, tokens: Iterable[Token], *, open_metrics: bool = False) -> None:
        """`open_metrics`: whether everybody may read the metrics page."""
        self._taken = Taken()
        self.change(tokens, open_metrics=open_metrics)

    def change(self, tokens: Iterable[Token], *, open_metrics: bool) -> None:
        """Let in those who have one of these tokens, and nobody else, from the next request on."""
        self.open_metrics = open_metrics
        tokens = tuple(tokens)
        self._known = [
            (_fingerprint(token.token.get_secret_value()), Caller(name=token.name, role=_ROLES[token.role]))
            for token in tokens
        ]
        # Anybody can sign with nothing, so an empty token is no secret.
        self._secrets = [
            (token.token, caller)
            for token, (_, caller) in zip(tokens, self._known, strict=True)
            if token.token.get_secret_value().strip()
        ]

    def admit(self, request: web.Request, needed: Role) -> Caller:
        """The caller of a request that needs this role. Raises 401 or 403."""
        return self._allowed(self._caller(request), needed)

    def admit_signed(self, request: web.Request, raw: bytes, needed: Role, *, now: datetime) -> Caller:
        """The caller whose token signed this body (`watchdog.api.signing`), now and for the first time.

        Raises 401 or 403.
        """
        signature = Signature(request.headers, raw)
        name = SIGNATURE if signature.own else HUB
        # No early exit, as with bearer tokens.
        found = [caller for secret, caller in self._secrets if signature.fits(secret.get_secret_value())]
        if not found:
            why = "the secret must be a token of server.tokens" if self._known else _NO_TOKENS
            raise unauthorized(f"the signature in {name} fits no token: {why}", error="invalid_token")
        if signature.stale(now):
            minutes = int(FRESH_FOR.total_seconds() // 60)
            why = f"{TIMESTAMP} must be the Unix time in seconds, at most {minutes} minutes from now"
            raise unauthorized(f"the signature is not of now: {why}", error="invalid_token")
        caller = self._allowed(found[0], needed)
        if signature.own and not self._taken.take(signature.given, now):
            why = "sign it again, with the time of the new attempt"
            raise unauthorized(f"this signature was used already: {why}", error="invalid_token")
        return caller

    def _allowed(self, caller: Caller, needed: Role) -> Caller:
        if caller.role >= needed:
            return caller
        if not self._known:
            raise Problem(403, f"nobody may write: {_NO_TOKENS}, with role operator")
        raise Problem(403, f"the token {caller.name!r} has role viewer; this needs role operator")

    def _caller(self, request: web.Request) -> Caller:
        presented = request.headers.get(hdrs.AUTHORIZATION)
        if presented is not None:
            return self._bearer(presented)
        if self._known:
            raise unauthorized("a bearer token is needed: send `Authorization: Bearer TOKEN`")
        if not is_local(request):
            raise Problem(
                403, f"only requests from this machine, to a loopback address, may read: {_NO_TOKENS}"
            )
        return Caller(name="loopback", role=Role.VIEWER)

    def _bearer(self, presented: str) -> Caller:
        scheme, _, token = presented.partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise unauthorized("the Authorization header is not `Bearer TOKEN`", error="invalid_request")
        mark = _fingerprint(token.strip())
        # No early exit: the time taken says nothing about which token was nearly right.
        found = [caller for known, caller in self._known if hmac.compare_digest(known, mark)]
        if not found:
            detail = "this token is not known" if self._known else f"this token is not known: {_NO_TOKENS}"
            raise unauthorized(detail, error="invalid_token")
        return found[0]


def is_signed(request: web.Request) -> bool:
    """Whether a request brings a signature and no token."""
    return has_signature(request.headers) and hdrs.AUTHORIZATION not in request.headers


def _fingerprint(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def unauthorized(detail: str, *, error: str = "") -> Problem:
    """The 401 that says why, and how to do better."""
    challenge = 'Bearer realm="watchdog"' + (f', error="{error}"' if error else "")
    return Problem(401, detail, headers={hdrs.WWW_AUTHENTICATE: challenge})


def is_local(request: web.Request) -> bool:
    """Whether a request comes from this machine and was meant for it.

    The peer alone is not enough: a web page can make a browser on this machine ask us under a foreign name
    that resolves to loopback (DNS rebinding), and a reverse proxy on this machine asks for the whole world.
    """
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not peer or not is_loopback(str(peer[0])):
        return False
    if any(name in request.headers for name in _FORWARDED):
        return False
    return is_loopback(_host_of(request.headers.get(hdrs.HOST, "")))


def _host_of(header: str) -> str:
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.rpartition(":")[0] if header.count(":") == 1 else header


def is_loopback(host: str) -> bool:
    """Whether a host is `localhost` or a loopback address, in whatever notation a socket reports it."""
    if host.lower().rstrip(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
