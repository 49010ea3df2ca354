"""What every channel promises: one message out, and an honest answer about what became of it.

The outbox owns retries; a channel tries once. It never raises for an outside fault and never leaks a secret into its
answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import msgspec

from watchdog.core.message import Message, Thread
from watchdog.core.request import RequestKind


class Delivered(msgspec.Struct, frozen=True, kw_only=True, tag="ok"):
    """The receiver has it. `reference` is the provider's id for it, where there is one."""

    reference: str = ""


class Later(msgspec.Struct, frozen=True, kw_only=True, tag="retry"):
    """Certainly not delivered, may work later; `after` is the receiver's own wish, where it said one."""

    reason: str
    after: timedelta | None = None


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag="permanent"):
    """Will never work like this (wrong token, bad request): the next channel must be tried."""

    reason: str


class Unclear(msgspec.Struct, frozen=True, kw_only=True, tag="unknown"):
    """May have been delivered (answer lost). Sent again under the same key: a duplicate rather than a miss."""

    reason: str


Delivery = Delivered | Later | Refused | Unclear


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence as a picture: `png` is at most 256 KiB, `alt` says the same in one line for those who cannot see."""

    png: bytes
    alt: str


class Channel(Protocol):
    """One way to reach people.

    A class may say of its kind with class attributes: `PAGES = True`, it wakes people, so that notices and reports
    never go there; `PICTURES = True`, it is given a chart where there is one; `WANTS`, what it shares with others
    (`rendering`), given by name when it is built; `SINGLY = True`, it keeps one thing for each conversation, so that
    what was gathered reaches it message by message.
    """

    async def send(
        self, message: Message, *, key: str, thread: Thread | None = None, chart: Chart | None = None
    ) -> Delivery:
        """Try once to deliver. `key` is stable over retries; receivers that can deduplicate are given it.

        `thread` is how the message's conversation began on this very channel, when it has. A message that this kind of
        channel has no use for is `Delivered` without being sent.
        Never raises for an outside fault, safe to cancel, done within the channel's timeout.
        """
        ...

    async def inspect(self) -> str | None:
        """Say what is wrong with the channel without telling anybody; `None` when nothing is. Never raises."""
        ...

    async def aclose(self) -> None:
        """Close connections. Idempotent, never raises."""
        ...


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asked for through a channel. `id` is the same for the same delivery, however often it comes.

    `target` is the incident, or for `pause`, `resume` and `rollback` the service. `by` names the person as the
    provider knows them, and goes into the audit record. `allowed` is false for one who may not ask: it is answered,
    recorded in the log and not done. `back` is the channel's own, to answer the person with; it is never stored.
    `version` is what the person saw when asking for a rollback: while another version is live nothing is done.
    """

    id: str
    kind: RequestKind
    target: str
    by: str
    reason: str = ""
    allowed: bool = True
    back: str = ""
    version: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it, in words for that person."""

    done: bool
    text: str


Hear = Callable[[Heard], Awaitable[Answer]]


@runtime_checkable
class Listening(Protocol):
    """A channel that hears people by a connection of its own (Slack's Socket Mode, polling PagerDuty)."""

    @property
    def listens(self) -> bool:
        """Whether its settings want that."""
        ...

    async def listen(self, hear: Hear, *, outstanding: Callable[[], frozenset[str]]) -> None:
        """Hear until cancelled: every wish goes to `hear` once for each `Heard.id`, and its answer to the person.

        `outstanding` are the ids of incidents that nobody has acknowledged yet. Connects again by itself, with pauses
        that grow and jitter; never raises for an outside fault.
        """
        ...


class Received(msgspec.Struct, frozen=True, kw_only=True):
    """What an HTTP callback held, and the body that the provider expects back at once (empty: none)."""

    heard: tuple[Heard, ...] = ()
    body: bytes = b""


@runtime_checkable
class Receiving(Protocol):
    """A channel whose provider calls back over HTTP (`POST /hooks/KIND`)."""

    @property
    def receives(self) -> bool:
        """Whether its settings hold what a callback is checked with."""
        ...

    def receive(self, headers: Mapping[str, str], body: bytes, *, now: datetime) -> Received | None:
        """Check and read a callback. `None` when it is not authentic for this channel: another may have sent it.

        `headers` are asked case-insensitively. Pure, constant time in what was wrong, never raises.
        """
        ...

    async def answered(self, heard: Heard, answer: Answer) -> None:
        """Tell the person what came of it. Best effort, within the channel's timeout, never raises."""
        ...


@runtime_checkable
class Vetting(Protocol):
    """A channel that must look up whether a person may ask: `Heard.allowed` is not its last word."""

    async def vetted(self, heard: Heard) -> Heard:
        """The same with what was looked up; what cannot be is not allowed. Within the timeout, never raises."""
        ...
