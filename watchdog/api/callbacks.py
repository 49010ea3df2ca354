"""Callbacks: what a provider of messages sends back, such as a button that somebody pressed in Slack.

No bearer token comes with them: the channel itself knows whether a callback is authentic. What a person asks for is
stored before the provider hears that it arrived, and the person hears what came of it afterwards. This module must
never act on what no channel recognises, nor say what was wrong with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

import structlog
from aiohttp import web

from watchdog.aio.crew import Crew
from watchdog.api.context import Call, Context, store_problem
from watchdog.api.problem import Problem
from watchdog.channels.interface import Answer, Heard, Received, Receiving, Vetting
from watchdog.channels.wishes import NOT_ALLOWED, NOT_ANSWERED, answer_of, request_of
from watchdog.core.errors import StoreError
from watchdog.core.request import Request

#: Largest callback (bytes): Slack sends the whole message along.
CALLBACK_LIMIT = 1024 * 1024
#: Slack waits three seconds, of which looking up who may takes a part; a store that takes longer has not taken it.
STORED_WITHIN = timedelta(milliseconds=1400)
#: What is still being answered when the application stops.
FINISH_WITHIN = timedelta(seconds=2)

#: The channels of a kind that take callbacks now, by name.
Receivers = Callable[[str], Mapping[str, Receiving]]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class Callbacks:
    """The handlers of `POST /hooks/KIND`. `aclose` with the application."""

    def __init__(self, context: Context, receivers: Receivers) -> None:
        self._context = context
        self._receivers = receivers
        self._crew = Crew("callback")

    def of(self, kind: str) -> Callable[[Call], Awaitable[web.Response]]:
        """The handler of one kind of channel."""

        async def take(call: Call) -> web.Response:
            return await self._take(kind, call)

        return take

    async def aclose(self) -> None:
        """Finish answering, for a moment."""
        await self._crew.finish(FINISH_WITHIN)
        await self._crew.stop()

    async def _take(self, kind: str, call: Call) -> web.Response:
        channels = self._receivers(kind)
        if not channels:
            raise Problem(404, f"no channel of kind {kind} is configured to take callbacks")
        raw = await self._context.body(call.request, limit=CALLBACK_LIMIT, of_any_type=True)
        name, received = self._recognised(channels, call.request.headers, raw)
        if received is None:
            raise Problem(401, f"no channel of kind {kind} recognises this callback as authentic and of now")
        for heard in received.heard:
            await self._ask(name, channels[name], heard)
        return web.Response(body=received.body)

    def _recognised(
        self, channels: Mapping[str, Receiving], headers: Mapping[str, str], raw: bytes
    ) -> tuple[str, Received | None]:
        now = self._context.clock.now()
        for name, channel in channels.items():
            received = channel.receive(headers, raw, now=now)
            if received is not None:
                return name, received
        return "", None

    async def _ask(self, name: str, channel: Receiving, heard: Heard) -> None:
        """Stored when it returns. Raises 503: nothing was, and the provider may send it again."""
        if isinstance(channel, Vetting):
            heard = await channel.vetted(heard)
        request = request_of(heard, channel=name, now=self._context.clock.now())
        if request is None:
            _log.warning("wish_not_allowed", channel=name, kind=heard.kind, target=heard.target, by=heard.by)
            self._say(heard.id, partial(channel.answered, heard, NOT_ALLOWED))
            return
        patience = min(self._context.patience, STORED_WITHIN)
        try:
            async with asyncio.timeout(patience.total_seconds()):
                await self._context.desk.submit(request)
        except TimeoutError:
            raise Problem(503, "the store did not answer in time", headers={"Retry-After": "5"}) from None
        except StoreError as error:
            raise store_problem(error) from error
        self._say(request.id, partial(self._answer, channel, heard, request))

    def _say(self, identity: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self._crew.busy(identity):  # else the same delivery came again, and is being answered
            self._crew.start(identity, work())

    async def _answer(self, channel: Receiving, heard: Heard, request: Request) -> None:
        answer: Answer = NOT_ANSWERED
        try:
            async with asyncio.timeout(self._context.patience.total_seconds()):
                answer = answer_of(request, await self._context.desk.reply(request.id))
        except (TimeoutError, StoreError):
            _log.info("wish_not_answered", by=heard.by, kind=heard.kind)
        await channel.answered(heard, answer)
