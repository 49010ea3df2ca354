"""Telling the service manager (systemd's `sd_notify`): ready, reloading, stopping, how it goes, and "still getting on".

A message is one datagram to the socket that the manager named in the environment; without that, nothing is said. The
protocol is that of sd_notify(3). This module must never raise, block, or say "still getting on" for any reason but the
reactor's own progress: a timer that runs beside a reactor that hangs is exactly what must not feed the watchdog.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Hashable, MutableMapping
from datetime import timedelta

import structlog

from watchdog.aio.clock import Clock
from watchdog.core.view import View
from watchdog.telemetry.redact import one_line

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: What is shown as the unit's status is renewed this often, when it changed: seeing everything takes a while.
STATUS_INTERVAL = timedelta(seconds=5)
#: While the start lasts, so much time from now on is asked for at every beat ...
EXTENSION = timedelta(seconds=30)
#: ... but only for so long, because a start that hangs must end, too. Most of a start is SQLite checking the store.
LONGEST_START = timedelta(minutes=15)
#: Beats within one interval of the watchdog. The reactor turns once a second, and may be inside a long turn at a beat.
BEATS = 4
LONGEST_PAUSE = timedelta(seconds=5)


class Notifier:
    """The manager's socket. Every method is safe to call at any time, and does nothing where nobody listens."""

    def __init__(self, address: str | None, *, watchdog: timedelta | None, clock: Clock) -> None:
        """`address`: a path, or `@name` in the abstract namespace. `watchdog`: how long silence may last."""
        self._address = _address_of(address)
        self.watchdog = watchdog if self._address else None
        self._clock = clock
        self._owed: dict[str, str] = {}
        self._unheard = ""

    @classmethod
    def of(cls, environ: MutableMapping[str, str], *, clock: Clock) -> Notifier:
        """What the manager put into the environment, taken out of it: no child may speak for the daemon."""
        address = environ.pop("NOTIFY_SOCKET", None)
        interval = _interval(environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", ""))
        return cls(address, watchdog=interval, clock=clock)

    @property
    def listened_to(self) -> bool:
        """Whether a manager gave us a socket."""
        return self._address is not None

    def ready(self, status: str = "") -> None:
        """The start is done; or a reload is, whatever came of it."""
        self._tell(state="READY=1", status=status)

    def reloading(self) -> None:
        """A reload begins; `ready` must follow."""
        self._tell(state=f"RELOADING=1\nMONOTONIC_USEC={int(self._clock.monotonic() * 1_000_000)}")

    def stopping(self, status: str = "stopping") -> None:
        """A clean stop begins."""
        self._tell(state="STOPPING=1", status=status)

    def status(self, text: str) -> None:
        """What is shown to people as the unit's status."""
        self._tell(status=text)

    def alive(self) -> None:
        """The reactor got on since this was said last. Never said later than it is true."""
        self._tell(now="WATCHDOG=1")

    def extend(self, time: timedelta) -> None:
        """Ask for so much time from now on for the start that is under way."""
        self._tell(now=f"EXTEND_TIMEOUT_USEC={_usec(time)}")

    def _tell(self, *, state: str = "", status: str = "", now: str = "") -> None:
        """Send what is new and what is still owed; what the manager has no room for is sent with the next message."""
        if self._address is None:
            return
        if state:
            self._owed["state"] = state
        if status:
            self._owed["status"] = f"STATUS={one_line(status, limit=500)}"
        words = [*self._owed.values(), *([now] if now else [])]
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as to:
                to.sendto("\n".join(words).encode(errors="replace"), self._address)
        except OSError as error:
            self._not_heard(str(error.strerror))
        else:
            self._owed.clear()
            self._not_heard("")

    def _not_heard(self, why: str) -> None:
        if why and why != self._unheard:
            _log.warning("service_manager_not_reached", error=why)
        self._unheard = why


class Pulse:
    """Passes the reactor's progress on, and what there is to see. One task for the daemon's life."""

    def __init__(
        self,
        notifier: Notifier,
        *,
        progress: Callable[[], Hashable],
        view: Callable[[], View | None],
        clock: Clock,
    ) -> None:
        """`progress` answers something else after every turn of the reactor; what it is, does not matter."""
        self._notifier = notifier
        self._progress = progress
        self._view = view
        self._clock = clock
        self._began_at = clock.monotonic()
        self._shown_at = clock.monotonic()
        self._shown = ""
        self._seen: Hashable = None
        self._started = False

    async def run(self) -> None:
        """Beat until cancelled. Before `started`, asks for more time instead, for a while."""
        if not self._notifier.listened_to:
            return
        watchdog = self._notifier.watchdog
        pause = LONGEST_PAUSE if watchdog is None else min(LONGEST_PAUSE, watchdog / BEATS)
        while True:
            if self._started:
                self._beat()
            elif self._clock.monotonic() - self._began_at < LONGEST_START.total_seconds():
                self._notifier.extend(EXTENSION)
            await self._clock.sleep(pause.total_seconds())

    def started(self) -> None:
        """The start is done: say so, and feed the watchdog from now on."""
        self._started = True
        self._seen = self._progress()
        self._shown = status_of(self._view())
        self._notifier.ready(self._shown)

    def _beat(self) -> None:
        seen = self._progress()
        if seen != self._seen:
            self._seen = seen
            self._notifier.alive()
        now = self._clock.monotonic()
        if now - self._shown_at >= STATUS_INTERVAL.total_seconds():
            self._shown_at = now
            status = status_of(self._view())
            if status != self._shown:
                self._shown = status
                self._notifier.status(status)


def status_of(view: View | None) -> str:
    """What there is to see, in one line, the worst first."""
    if view is None:
        return "starting"
    services = view.services.values()
    incidents = {incident for service in services for incident in service.incidents}
    moving = sum(service.rollback is not None for service in services)
    paused = sum(service.paused is not None for service in services)
    down = sum(source.up is False for source in view.sources.values())
    parts = [
        f"STORE FAILED: {view.store_error}" if view.store_error else "",
        "PAUSED by file" if view.paused_by_file else "",
        f"automatic rollbacks stopped: {view.breaker}" if view.breaker else "",
        "nothing answers" if view.cut_off_at else "",
        f"CONFIGURATION REFUSED: {view.config_fault}" if view.config_fault else "",
        "" if view.leader else "standing by",
        f"watching {_number(len(view.services), 'service')}",
        f"{_number(len(incidents), 'incident')} open" if incidents else "no incident",
        f"{_number(moving, 'rollback')} under way" if moving else "",
        f"{_number(paused, 'service')} paused" if paused else "",
        f"{_number(down, 'source')} down" if down else "",
    ]
    return ", ".join(part for part in parts if part)


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def _address_of(text: str | None) -> str | None:
    """What `sendto` takes; `None` for kinds that only virtual machines know (`vsock:`)."""
    if not text or text[0] not in "/@":
        return None
    return f"\0{text[1:]}" if text.startswith("@") else text


def _interval(usec: str, process: str) -> timedelta | None:
    """How long silence may last, when it is this process that must not be silent."""
    if not usec.isdecimal() or int(usec) == 0 or (process and process != str(os.getpid())):
        return None
    return timedelta(microseconds=min(int(usec), _usec(timedelta(days=1))))


def _usec(time: timedelta) -> int:
    return time // timedelta(microseconds=1)
