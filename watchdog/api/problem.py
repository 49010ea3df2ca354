"""Problems: every error the API answers, as RFC 9457 `application/problem+json`.

This module must never put an exception's text or a traceback into an answer; a handler says in words what is
wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
from aiohttp import hdrs, web

MEDIA_TYPE = "application/problem+json"
#: What every answer carries, also one to a request that never reached the application.
HEADERS = {
    hdrs.SERVER: "rollback-watchdog",
    "X-Content-Type-Options": "nosniff",
    hdrs.CACHE_CONTROL: "no-store",
}


class Mistake(msgspec.Struct, frozen=True, kw_only=True):
    """One thing wrong. `pointer` is a JSON pointer into the body (`#/labels/team`), or `?NAME`."""

    pointer: str
    detail: str


class ProblemDetails(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What every error answers (RFC 9457). `errors` lists all mistakes; `instance` names one failure."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    errors: tuple[Mistake, ...] = ()


class Problem(Exception):
    """Raised anywhere in a handler to end a request with that status. `detail` is a sentence for a person."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: tuple[Mistake, ...] = (),
        headers: Mapping[str, str] | None = None,
        instance: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})
        self.instance = instance

    def response(self) -> web.Response:
        """The answer that says so."""
        details = ProblemDetails(
            type="about:blank",
            title=title_of(self.status),
            status=self.status,
            detail=self.detail,
            instance=self.instance,
            errors=self.errors,
        )
        return web.Response(
            status=self.status,
            body=msgspec.json.encode(details),
            content_type=MEDIA_TYPE,
            headers=self.headers,
        )


def title_of(status: int) -> str:
    """The phrase of an HTTP status, as RFC 9457 asks of problems without a type of their own."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
