"""Slack's Web API and webhooks, one call at a time, with an honest answer about what became of it.

Slack says most errors with HTTP 200 and `ok: false`; what each name means for a message stands here, in one table. The
library's own retries are off: the outbox owns them. This module must never let a token, or the address of a webhook,
into a reason.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from watchdog.aio.clock import Clock
from watchdog.channels.interface import Later, Refused, Unclear
from watchdog.channels.posting import named, retry_after
from watchdog.core.units import format_duration
from watchdog.telemetry.redact import Mask, one_line, redact

#: Slack did not like how the message is made, which is our fault: it goes out as plain text instead.
SHAPE = frozenset(
    {
        "attachment_payload_limit_exceeded",
        "block_mismatch",
        "invalid_arg_name",
        "invalid_arguments",
        "invalid_array_arg",
        "invalid_attachments",
        "invalid_blocks",
        "invalid_blocks_format",
        "invalid_metadata_format",
        "invalid_metadata_schema",
        "invalid_payload",
        "markdown_text_conflict",
        "metadata_must_be_sent_from_app",
        "metadata_too_large",
        "msg_blocks_too_long",
        "msg_too_long",
        "no_text",
        "too_many_attachments",
    }
)
#: There is no such thread, or none can be there: the message goes to the channel instead.
THREAD = frozenset(
    {
        "cannot_reply_to_message",
        "invalid_thread_ts",
        "message_not_found",
        "restricted_action_non_threadable_channel",
        "restricted_action_thread_locked",
        "thread_not_found",
    }
)
#: It passes.
PASSING = frozenset(
    {
        "fatal_error",
        "internal_error",
        "message_limit_exceeded",
        "org_login_required",
        "rate_limited",
        "ratelimited",
        "request_timeout",
        "rollup_error",
        "service_unavailable",
        "team_added_to_org",
    }
)
#: What a person should do about the others, which never pass by themselves.
ADVICE = {
    "account_inactive": "the bot was removed or its workspace is gone: install the app again and replace the token",
    "action_prohibited": "a workspace admin restricts this webhook",
    "channel_is_archived": "the channel is archived: unarchive it or name another",
    "channel_not_found": "there is no such channel, or it is private and the bot is not in it: invite the bot",
    "invalid_auth": "the token is not valid: replace it",
    "invalid_token": "the webhook is not valid any more: make a new one",
    "is_archived": "the channel is archived: unarchive it or name another",
    "missing_scope": "the app lacks a right: add the scope and install the app again",
    "no_service": "the webhook was removed: make a new one",
    "not_allowed_token_type": "this method takes another kind of token",
    "not_authed": "no token arrived",
    "not_in_channel": "the bot is not in the channel: invite the bot",
    "token_expired": "the token has expired: turn token rotation off, or replace the token",
    "token_revoked": "the token was revoked: install the app again and replace the token",
}
_RETRIED = {408, 425, 429}
_TEXT_SHOWN = 200

#: The library tells what it sends at the level `debug`; nobody asked for it.
_silent = logging.getLogger("watchdog.slack_sdk")
_silent.setLevel(logging.WARNING)


class Exchange:
    """How far one call came: what decides between "certainly not delivered" and "perhaps"."""

    def __init__(self) -> None:
        self.connected = False
        self.status = 0
        self.wish = ""

    def again(self) -> None:
        """Another call follows the one that was answered."""
        self.connected, self.status, self.wish = False, 0, ""

    def unanswered(self, fault: str) -> Later | Unclear:
        """What became of it when nothing came back."""
        if self.connected:
            return Unclear(reason=f"sent, but no answer: {fault}")
        return Later(reason=f"no connection: {fault}")


#: How far the call of this task came. The library passes nothing through to the session.
_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class Failed(Exception):
    """A call did not do what it was for. `error` is Slack's name for why; `outcome` what it means for a message."""

    def __init__(self, outcome: Later | Refused | Unclear, error: str = "") -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
        self.error = error


class _Redirected(aiohttp.ClientError):
    """A redirect would take the token elsewhere."""


class Api:
    """Calls within the caller's timeout. One connection a call: a kept one would go stale."""

    def __init__(
        self, *, base: str, tls: ssl.SSLContext, mask: Mask, timeout: timedelta, clock: Clock
    ) -> None:
        self._base = base
        self._tls = tls
        self._mask = mask
        self._timeout = timeout
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._closed = False

    async def call(
        self,
        token: str,
        method: str,
        body: Mapping[str, Any],
        *,
        exchange: Exchange | None = None,
        form: bool = False,
    ) -> dict[str, Any]:
        """What a method answers. Raises `Failed`; brings no timeout. `exchange` is for whoever brings one."""
        exchange = exchange or Exchange()
        client = AsyncWebClient(
            token=token,
            base_url=self._base,
            timeout=_whole(self._timeout),
            ssl=self._tls,
            session=self.session(),
            retry_handlers=[],
            logger=_silent,
        )
        client.proxy = None  # the environment's: `url` says where to go
        mark = _exchange.set(exchange)
        try:
            given: dict[str, Any] = {"data": dict(body)} if form else {"json": dict(body)}
            answer = await client.api_call(method, **given)
            return {**_mapping(answer.data), "headers": dict(answer.headers)}
        except SlackApiError as error:
            raise self._failed(exchange, _mapping(getattr(error.response, "data", None)), method) from None
        except (aiohttp.ClientError, OSError, ValueError, SlackClientError) as error:
            raise self._broken(exchange, error) from None
        finally:
            _exchange.reset(mark)

    async def hook(self, address: str, body: Mapping[str, Any], *, exchange: Exchange | None = None) -> None:
        """Post to an address that is a secret of its own. Raises `Failed`; brings no timeout."""
        exchange = exchange or Exchange()
        client = AsyncWebhookClient(
            address,
            timeout=_whole(self._timeout),
            ssl=self._tls,
            session=self.session(),
            retry_handlers=[],
            logger=_silent,
        )
        client.proxy = None
        mark = _exchange.set(exchange)
        try:
            answer = await client.send_dict(dict(body))
        except (aiohttp.ClientError, OSError, ValueError, SlackClientError) as error:
            raise self._broken(exchange, error) from None
        finally:
            _exchange.reset(mark)
        said = answer.body.strip()
        if answer.status_code != 200 or said not in {"ok", '{"ok":true}'}:
            raise self._failed(exchange, {"error": said}, "the webhook")

    async def upload(self, address: str, content: bytes) -> None:
        """Put a file where Slack said; no token goes there. Raises `Failed`; brings no timeout."""
        exchange = Exchange()
        mark = _exchange.set(exchange)
        try:
            async with self.session().post(address, data=content, ssl=self._tls) as answer:
                if answer.status != 200:
                    raise self._failed(exchange, {}, "the upload")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._broken(exchange, error) from None
        finally:
            _exchange.reset(mark)

    def session(self) -> aiohttp.ClientSession:
        """For calls, and for a socket. Raises `Failed` after `aclose`."""
        if self._closed:
            raise Failed(Later(reason="the channel is being closed"))
        if self._session is None:
            trace = aiohttp.TraceConfig()
            trace.on_connection_create_end.append(_connected)
            trace.on_request_end.append(_answered)
            trace.on_request_redirect.append(_redirected)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                trace_configs=[trace],
            )
        return self._session

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def shown(self, text: str) -> str:
        """Text from outside as it may be shown: masked before it is cut."""
        return one_line(redact(self._mask.hide(text)), limit=_TEXT_SHOWN)

    @asynccontextmanager
    async def within(self, exchange: Exchange) -> AsyncIterator[None]:
        """The one deadline of a call from outside. Raises `Failed` when it is over."""
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                yield
        except TimeoutError:
            raise self._late(exchange) from None

    def _late(self, exchange: Exchange) -> Failed:
        """A status that came in time counts, though the text did not."""
        if exchange.status and exchange.status != 200:
            return self._failed(exchange, {}, "Slack")
        return Failed(exchange.unanswered(f"nothing within {format_duration(self._timeout)}"))

    def _broken(self, exchange: Exchange, error: Exception) -> Failed:
        if isinstance(error, _Redirected):
            reason = "answered with a redirect, which is not followed: write the final address"
            return Failed(Refused(reason=reason))
        if exchange.status and exchange.status != 200:
            return self._failed(exchange, {}, "Slack")
        return Failed(exchange.unanswered(self.shown(named(error))))

    def _failed(self, exchange: Exchange, data: Mapping[str, Any], method: str) -> Failed:
        """What an answer means that is not a success."""
        status, error = exchange.status, str(data.get("error") or "")
        after = retry_after(exchange.wish, now=self._clock.now())
        if status in _RETRIED or status >= 500 or error in PASSING:
            reason = f"{method} answered {self.shown(error) or status}"
            return Failed(Later(reason=reason, after=after), error)
        if status == 200 and not data.get("error"):
            return Failed(Unclear(reason=f"{method} answered 200, but not as Slack does"))
        if 300 <= status < 400:
            return self._broken(exchange, _Redirected())
        advice = ADVICE.get(error, "")
        if error == "missing_scope" and data.get("needed"):
            advice = (
                f"the app lacks the scope {self.shown(str(data['needed']))}: add it and install the app again"
            )
        said = self.shown(error) or f"{status}"
        return Failed(Refused(reason=f"{method} answered {said}" + (f": {advice}" if advice else "")), error)


class Bot:
    """The methods that one token may call, each within the channel's timeout."""

    def __init__(self, api: Api, token: str) -> None:
        self._api = api
        self._token = token

    async def call(self, method: str, body: Mapping[str, Any], *, form: bool = False) -> dict[str, Any]:
        """What a method answers. Raises `Failed`."""
        exchange = Exchange()
        async with self._api.within(exchange):
            return await self._api.call(self._token, method, body, exchange=exchange, form=form)

    async def upload(self, address: str, content: bytes) -> None:
        """Put a file where Slack said. Raises `Failed`."""
        async with self._api.within(Exchange()):
            await self._api.upload(address, content)


def _mapping(data: Any) -> dict[str, Any]:
    return data if isinstance(data, dict) else {}


def _whole(timeout: timedelta) -> int:
    return max(
        int(timeout.total_seconds()) + 1, 1
    )  # the library takes whole seconds; the channel has the one deadline


async def _connected(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
    if (exchange := _exchange.get()) is not None:
        exchange.connected = True


async def _answered(
    _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
) -> None:
    if (exchange := _exchange.get()) is not None:
        exchange.status = params.response.status
        exchange.wish = params.response.headers.get("Retry-After", "")


async def _redirected(_session: aiohttp.ClientSession, _context: SimpleNamespace, _params: Any) -> None:
    raise _Redirected
