"""Socket Mode: Slack's presses of buttons over a connection that we open, so that nothing has to reach us.

One connection for each app token in this process, however many channels have it: Slack deals presses out among the
connections of an app, so a second one would take what is meant for the first. Each press goes to the channel whose
button it was. This module must never hold an acknowledgement back: Slack waits three seconds for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import ssl
from collections.abc import Callable
from datetime import timedelta
from weakref import WeakKeyDictionary

import aiohttp
import msgspec
import structlog

from watchdog.aio.clock import Clock
from watchdog.channels.slack_api import Api, Failed
from watchdog.core.units import format_duration

#: Pauses between connections: the first, and the longest. A connection that Slack itself wants renewed has none.
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=1), timedelta(minutes=1)
#: Slack pings; one that is silent for so long is dead.
SILENCE = 30.0
_MOST = 1024 * 1024
_RENEWED = frozenset({"warning", "refresh_requested"})

#: A payload as it came, for whoever knows the button.
Handle = Callable[[bytes], None]

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)


class _Envelope(msgspec.Struct, frozen=True):
    type: str = ""
    envelope_id: str = ""
    payload: msgspec.Raw = msgspec.Raw()
    reason: str = ""


class Line:
    """What the channels with one app token share: the right to the one connection, and who they are."""

    def __init__(self) -> None:
        self.members: dict[str, Handle] = {}
        self.turn = asyncio.Lock()

    def deal(self, payload: bytes) -> None:
        """Show it to everybody; whose button it is takes it."""
        for handle in list(self.members.values()):
            handle(payload)


_lines: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Line]] = WeakKeyDictionary()


def line_of(token: str) -> Line:
    """The line of an app token on this loop."""
    known = _lines.setdefault(asyncio.get_running_loop(), {})
    return known.setdefault(hashlib.sha256(token.encode()).hexdigest(), Line())


class Socket:
    """Connects, acknowledges, hands over, and connects again, until cancelled."""

    def __init__(  # noqa: PLR0913 - what a connection is made of, by name
        self,
        api: Api,
        token: str,
        *,
        name: str,
        tls: ssl.SSLContext,
        plain: bool,
        timeout: timedelta,
        clock: Clock,
        rng: random.Random | None = None,
    ) -> None:
        """`plain`: the API itself is asked without TLS, so the socket may be, too."""
        self._api = api
        self._token = token
        self._name = name
        self._tls = tls
        self._schemes = ("wss://", "ws://") if plain else ("wss://",)
        self._timeout = timeout
        self._clock = clock
        self._rng = rng or random.Random()
        self._fault = ""

    async def run(self, handle: Handle) -> None:
        """Never returns and never raises for an outside fault. Safe to cancel."""
        pause = FIRST_PAUSE
        while True:
            fault, renew, lived = "", False, False
            try:
                async with asyncio.timeout(self._timeout.total_seconds()):
                    socket = await self._connect()
                async with socket:
                    lived, renew = await self._serve(socket, handle)
                fault = "" if renew else "the connection ended"
            except Failed as failed:
                fault = failed.outcome.reason
            except TimeoutError:
                fault = f"nothing within {format_duration(self._timeout)}"
            except (aiohttp.ClientError, OSError, ValueError) as error:
                fault = type(error).__name__
            self._tell(fault)
            if lived:
                pause = FIRST_PAUSE
            if not renew:
                await self._clock.sleep(pause.total_seconds() * self._rng.uniform(0.5, 1.0))
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _connect(self) -> aiohttp.ClientWebSocketResponse:
        answer = await self._api.call(self._token, "apps.connections.open", {})
        address = str(answer.get("url", ""))
        if not address.startswith(self._schemes):
            raise ValueError("no address of a socket")
        return await self._api.session().ws_connect(
            address, ssl=self._tls, max_msg_size=_MOST, heartbeat=SILENCE / 2, autoping=True
        )

    async def _serve(self, socket: aiohttp.ClientWebSocketResponse, handle: Handle) -> tuple[bool, bool]:
        """Whether Slack greeted, and whether it wants another connection in the place of this one."""
        greeted = False
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                envelope = msgspec.json.decode(message.data, type=_Envelope)
            except (msgspec.MsgspecError, UnicodeEncodeError):
                continue
            if envelope.type == "hello":
                greeted = True
                self._tell("")
            elif envelope.type == "disconnect":
                return greeted, greeted and envelope.reason in _RENEWED
            elif envelope.envelope_id:
                await socket.send_str(msgspec.json.encode({"envelope_id": envelope.envelope_id}).decode())
                if envelope.type == "interactive":
                    handle(bytes(envelope.payload))
        return greeted, False

    def _tell(self, fault: str) -> None:
        if fault and fault != self._fault:
            _log.warning("socket_lost", channel=self._name, reason=fault)
        elif self._fault and not fault:
            _log.info("socket_connected", channel=self._name)
        self._fault = fault
