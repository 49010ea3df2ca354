"""One attempt at one message, bounded in time, that never raises: here ends what a channel can do wrong.

This module must never try twice, and never decide what is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog
from msgspec.structs import replace

from watchdog.aio.faultpoint import SEND, WAIT
from watchdog.aio.supervise import asked_to_end
from watchdog.channels.interface import Chart, Delivered, Delivery, Later, Refused, Unclear
from watchdog.core.message import Message, Thread
from watchdog.engine.lane import Lane
from watchdog.engine.outbox import clean, outcome
from watchdog.engine.parcel import Parcel
from watchdog.telemetry.cleaning import cleaned

Charts = Callable[[Message], Awaitable[Chart | None]]

#: A channel ends every call within its own timeout; this bound is for one that breaks its promise.
SEND_LIMIT = timedelta(minutes=2)
#: Nobody waits longer than this for a picture.
CHART_WITHIN = timedelta(milliseconds=400)

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


async def no_chart(_message: Message) -> Chart | None:
    """Where nobody draws."""
    return None


class Sending:
    """`on_outcome(channel, outcome)` is called after every attempt: `ok`, `retry`, `permanent` or `unknown`.

    `prepare` adds to a message what only the running configuration knows; nothing secret leaves here.
    """

    def __init__(
        self,
        *,
        charts: Charts,
        on_outcome: Callable[[str, str], None],
        prepare: Callable[[Message], Message] = lambda message: message,
    ) -> None:
        self._charts = charts
        self._prepare = prepare
        self._on_outcome = on_outcome

    async def parcel(self, name: str, lane: Lane, parcel: Parcel) -> Delivery:
        """Send what stands for all of its rows, with a picture if there is one in time."""
        chart = await self._chart(lane, parcel)
        return await self.send(name, lane, parcel.message, parcel.key, lane.thread_of(parcel), chart)

    async def send(
        self,
        name: str,
        lane: Lane,
        message: Message,
        key: str,
        thread: Thread | None = None,
        chart: Chart | None = None,
    ) -> Delivery:
        """Send once. Never raises but for a cancellation that was meant for the caller."""
        fault: Exception | None = None
        try:
            message = cleaned(self._prepare(message))
            if thread is not None:
                thread = replace(thread, message=cleaned(self._prepare(thread.message)))
            async with asyncio.timeout(SEND_LIMIT.total_seconds()):
                with SEND:
                    delivery = _known(await lane.channel.send(message, key=key, thread=thread, chart=chart))
        except TimeoutError:
            delivery = Unclear(reason="the channel did not answer in time")
        except asyncio.CancelledError:
            if asked_to_end():
                raise
            delivery = Unclear(reason="the channel cancelled itself")
        except Exception as error:  # noqa: BLE001 - the border to plugins; a send that broke may have gone out
            fault = error
            delivery = Unclear(reason=f"the channel raised {type(error).__name__}")
        self._on_outcome(name, outcome(delivery))
        _tell_change(name, lane, delivery, fault)
        return delivery

    async def _chart(self, lane: Lane, parcel: Parcel) -> Chart | None:
        """A picture for the first attempt, for a channel that shows pictures. What fails or is late is left out."""
        shows = getattr(lane.channel, "PICTURES", False)
        if not shows or parcel.attempts or parcel.message.evidence is None:
            return None
        try:
            async with asyncio.timeout(CHART_WITHIN.total_seconds()):
                with WAIT:
                    return await self._charts(parcel.message)
        except TimeoutError:
            _log.info("chart_late", key=parcel.key)
        except Exception as error:  # noqa: BLE001 - whatever drawing does wrong, the message goes
            _log.warning("chart_failed", key=parcel.key, error=type(error).__name__, exc_info=error)
        return None


def _known(answer: object) -> Delivery:
    """What a channel answered; one that breaks its promise may have sent all the same."""
    if isinstance(answer, Delivered | Later | Refused | Unclear):
        return answer
    return Unclear(reason=f"the channel answered {type(answer).__name__}, which is no outcome")


def _tell_change(name: str, lane: Lane, delivery: Delivery, fault: Exception | None) -> None:
    if isinstance(delivery, Delivered):
        if lane.failing:
            _log.info("channel_recovered", channel=name)
        lane.failing = ""
        return
    kind, reason = outcome(delivery), clean(delivery.reason)
    failing = f"{kind} {reason}" if fault else kind
    if lane.failing != failing:
        _log.warning("channel_failed", channel=name, outcome=kind, reason=reason, exc_info=fault)
    lane.failing = failing
