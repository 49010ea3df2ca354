"""Talking to a running daemon, and what its answers mean.

This module must never send a token anywhere but to the address the user gave, nor print one.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from typing import Any, Self, TypeVar
from urllib.parse import quote

import aiohttp
from yarl import URL

from watchdog.cli.address import Address
from watchdog.cli.answers import is_outcome, is_page, is_record
from watchdog.cli.failure import Failure

#: Longest time for one answer that shows something (seconds).
_LOOK_SECONDS = 10.0
#: Longest time for one answer to a request: the daemon itself waits ten seconds for its reactor.
_ASK_SECONDS = 15.0
#: Longest time to come back for the answer to a request that was stored but not answered.
_ANSWER_SECONDS = 30.0

T = TypeVar("T")


class Refused(Failure):
    """The daemon answered with a problem."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Unreachable(Failure):
    """The daemon did not answer."""


def talk(conversation: Coroutine[Any, Any, T]) -> T:
    """Run one conversation to its end."""
    return asyncio.run(conversation)


class Daemon:
    """A connection to a daemon; to be used as an async context manager."""

    def __init__(self, where: Address) -> None:
        self._where = where
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        headers = {"Accept": "application/json"}
        if self._where.token:
            headers["Authorization"] = f"Bearer {self._where.token}"
        self._session = aiohttp.ClientSession(headers=headers)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, *path: str, **query: str) -> Any:
        """What is at a path below /api/v1, every part quoted. Raises `Refused` and `Unreachable`."""
        status, body = await self._call("GET", path, _LOOK_SECONDS, query=query)
        single = len(path) > 1 or path == ("status",)
        if not (is_record(path[0], body) if single else is_page(path[0], body)):
            raise self._stranger(status, "application/json")
        return body

    async def every(self, *path: str, **query: str) -> list[Any]:
        """All items of a list, page by page."""
        items: list[Any] = []
        cursor: str | None = ""
        while cursor is not None:
            page = await self.get(*path, limit="200", **query, **({"cursor": cursor} if cursor else {}))
            items += page["items"]
            cursor = page["next"]
        return items

    async def post(self, *path: str, body: Mapping[str, Any]) -> Any:
        """The answer to a request: a record, or only its `id` when the daemon could not show it just then.

        One that was stored but not answered yet is asked for again, never made twice.
        """
        key = uuid.uuid4().hex
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                while True:
                    status, answer = await self._call("POST", path, _ASK_SECONDS, body=body, key=key)
                    if status != 202 or set(answer) != {"request", "detail"}:
                        break
                    await asyncio.sleep(1.0)
        except TimeoutError:
            raise Failure(
                f"the daemon did not say within {_ANSWER_SECONDS:.0f} s what became of this; "
                "it may still do it: look with `watchdog status`"
            ) from None
        if not is_outcome(path, answer):
            raise self._stranger(status, "application/json")
        return answer

    async def _call(
        self,
        method: str,
        path: tuple[str, ...],
        seconds: float,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        key: str | None = None,
    ) -> tuple[int, Any]:
        if self._session is None:
            raise RuntimeError("a daemon is used with `async with`")
        where = f"{self._where.url}/api/v1/" + "/".join(quote(part, safe="") for part in path)
        try:
            async with self._session.request(
                method,
                # Quoted already; quoting twice would ask for another name.
                URL(where, encoded=True).update_query(dict(query or {})),
                json=body,
                headers={"Idempotency-Key": key} if key else None,
                timeout=aiohttp.ClientTimeout(total=seconds),
                allow_redirects=False,
            ) as answer:
                raw = await answer.read()
                return answer.status, self._understood(answer, raw)
        except TimeoutError:
            raise Unreachable(f"{self._where.url} did not answer within {seconds:.0f} s") from None
        except aiohttp.ClientConnectorError as error:
            raise Unreachable(
                f"cannot reach {self._where.url}: {_why(error)}; is the daemon running? "
                "Give its address with --url, WATCHDOG_URL or -c FILE"
            ) from None
        except aiohttp.ClientError as error:
            raise Unreachable(f"{self._where.url} broke off: {type(error).__name__}") from None

    def _understood(self, answer: aiohttp.ClientResponse, raw: bytes) -> Any:
        try:
            body = json.loads(raw)
        except ValueError:
            body = None
        if answer.status < 300 and isinstance(body, dict):
            return body
        if not isinstance(body, dict) or not isinstance(body.get("detail"), str):
            raise self._stranger(answer.status, answer.content_type)
        raise Refused(answer.status, "\n".join(_told(answer.status, body)))

    def _stranger(self, status: int, content_type: str) -> Refused:
        said = f"does not answer like a watchdog (status {status}, {content_type})"
        return Refused(status, f"{self._where.url} {said}; is this its address?")


def _told(status: int, problem: dict[str, Any]) -> Iterator[str]:
    mistakes = problem.get("errors")
    if isinstance(mistakes, list) and all(
        isinstance(one, dict) and {"pointer", "detail"} <= set(one) for one in mistakes
    ):
        for mistake in mistakes:
            yield f"{str(mistake['pointer']).lstrip('#/?')}: {mistake['detail']}"
        if mistakes:
            return
    yield str(problem["detail"])
    if status == 401:
        yield "give a token with WATCHDOG_TOKEN, --token or -c FILE"


def _why(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "its name does not resolve"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate is not trusted"
    cause = error.os_error
    if isinstance(cause, ConnectionRefusedError):
        return "connection refused"
    return cause.strerror or str(cause)
