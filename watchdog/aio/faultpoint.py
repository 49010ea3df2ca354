"""Named places at which the daemon can be made to die, stop or fail, for tests of what happens then.

They lie on both sides of everything that is done to the outside by the executor, the dispatcher and the store; a test
finds an await or a commit there that has none. Without a hook, passing one is one look at a variable. A hook comes
from Python code only, in the process that runs the daemon: this module must never read an environment variable, a
file or a setting, so that nothing an operator can write makes a daemon die.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import NamedTuple


class Point(StrEnum):
    """Where a hook is called: on the loop's thread, or, for the store's transactions, on the store's own."""

    INTENT_TAKEN = "intent taken"
    """The executor was handed an intent that is on disk, and has done nothing yet."""
    BEFORE_READ = "before read"
    """The switch is about to be read. The hook may raise what a read raises."""
    AFTER_READ = "after read"
    """The switch was read, or could not be. The hook may raise what a read raises: the answer is lost then."""
    BEFORE_GUARDS = "before guards"
    """The state allows a write; the kill switch is about to be looked at, and the guards to be asked again."""
    AFTER_GUARDS = "after guards"
    """The kill switch was looked at."""
    BEFORE_WRITE = "before write"
    """The guards said yes; the switch is about to be written. The hook may raise what a write raises."""
    AFTER_WRITE = "after write"
    """The write was answered, or failed, and nobody knows yet. The hook may raise what a write raises."""
    BEFORE_OUTCOME = "before outcome"
    """It is known what became of an intent; the reactor was not told."""
    AFTER_OUTCOME = "after outcome"
    """The reactor was told, and has not recorded it."""
    BEFORE_PAUSE = "before pause"
    """An attempt failed; the executor is about to wait before the next."""
    AFTER_PAUSE = "after pause"
    """The next attempt is about to begin."""

    BEFORE_DUE = "before due"
    """The outbox is about to be asked what is due. The hook may raise what the store raises."""
    AFTER_DUE = "after due"
    """The outbox has answered, and nothing was handed out yet. The hook may raise what the store raises."""
    BEFORE_SEND = "before send"
    """A message is about to be sent. The hook may raise anything, as a broken channel does."""
    AFTER_SEND = "after send"
    """The receiver has answered, or has not, and nobody knows yet. The hook may raise anything."""
    BEFORE_SETTLE = "before settle"
    """What became of a message is about to be recorded. The hook may raise what the store raises."""
    AFTER_SETTLE = "after settle"
    """It was recorded, or the store refused. The hook may raise what the store raises."""
    BEFORE_WAIT = "before wait"
    """The dispatcher, or one of its workers, has nothing to do for now."""
    AFTER_WAIT = "after wait"
    """There is something to do again, or it is time to look."""

    OPEN_BEGUN = "open begun"
    """At the start: a transaction that brings the store to this release's schema, or loads it, has begun."""
    OPEN_WRITTEN = "open written"
    """All its statements ran; nothing is committed."""
    OPEN_COMMITTED = "open committed"
    """It is committed, and the daemon does not know yet."""
    TURN_BEGUN = "turn begun"
    """A transaction that writes what the reactor decided has begun. The hook may raise what the driver raises."""
    TURN_WRITTEN = "turn written"
    """All its statements ran; nothing is committed. The hook may raise what the driver raises."""
    TURN_COMMITTED = "turn committed"
    """It is on the disk, and the reactor does not know yet."""
    BEFORE_ANNOUNCE = "before announce"
    """The loop knows that a turn is on the disk; nobody who listens was told."""
    AFTER_ANNOUNCE = "after announce"
    """Everybody who listens was told; the reactor goes on next, and lets go of the effects."""
    REQUEST_BEGUN = "request begun"
    """A transaction that keeps what somebody asked for has begun. The hook may raise what the driver raises."""
    REQUEST_WRITTEN = "request written"
    """Its statement ran; nothing is committed. The hook may raise what the driver raises."""
    REQUEST_COMMITTED = "request committed"
    """It is on the disk, and was not answered."""
    SETTLE_BEGUN = "settle begun"
    """A transaction that records an attempt to send has begun. The hook may raise what the driver raises."""
    SETTLE_WRITTEN = "settle written"
    """Its statements ran; nothing is committed. The hook may raise what the driver raises."""
    SETTLE_COMMITTED = "settle committed"
    """It is on the disk, and the dispatcher does not know yet."""

    TAKE_BEGUN = "take begun"
    """A transaction that leases what is to be sent has begun. The hook may raise what the driver raises."""
    TAKE_WRITTEN = "take written"
    """Its statements ran; nothing is committed. The hook may raise what the driver raises."""
    TAKE_COMMITTED = "take committed"
    """It is leased, and the dispatcher does not know yet."""
    PRUNE_BEGUN = "prune begun"
    """A transaction that forgets what is old has begun. The hook may raise what the driver raises."""
    PRUNE_WRITTEN = "prune written"
    """Its statements ran; nothing is committed. The hook may raise what the driver raises."""
    PRUNE_COMMITTED = "prune committed"
    """It is forgotten."""


Hook = Callable[[Point], None]

_hook: Hook | None = None


def install(hook: Hook | None) -> None:
    """Call `hook` at every point from now on; `None`: call nothing again. For tests, before the daemon starts."""
    global _hook  # noqa: PLW0603  one process, one daemon
    _hook = hook


def passing(point: Point) -> None:
    """One point. Raises what the hook raises."""
    if _hook is not None:
        _hook(point)


class Around:
    """Two points, as a context manager: before and, however it ends, after what is done inside. Has no state."""

    __slots__ = ("after", "before")

    def __init__(self, before: Point, after: Point) -> None:
        self.before = before
        self.after = after

    def __enter__(self) -> None:
        if _hook is not None:
            _hook(self.before)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _hook is not None:
            _hook(self.after)


class Transaction(NamedTuple):
    """The points of one kind of transaction, passed on the store's own thread."""

    begun: Point
    written: Point
    committed: Point


READ = Around(Point.BEFORE_READ, Point.AFTER_READ)
GUARDS = Around(Point.BEFORE_GUARDS, Point.AFTER_GUARDS)
WRITE = Around(Point.BEFORE_WRITE, Point.AFTER_WRITE)
OUTCOME = Around(Point.BEFORE_OUTCOME, Point.AFTER_OUTCOME)
PAUSE = Around(Point.BEFORE_PAUSE, Point.AFTER_PAUSE)
DUE = Around(Point.BEFORE_DUE, Point.AFTER_DUE)
SEND = Around(Point.BEFORE_SEND, Point.AFTER_SEND)
SETTLE = Around(Point.BEFORE_SETTLE, Point.AFTER_SETTLE)
WAIT = Around(Point.BEFORE_WAIT, Point.AFTER_WAIT)
ANNOUNCE = Around(Point.BEFORE_ANNOUNCE, Point.AFTER_ANNOUNCE)

OPENING = Transaction(Point.OPEN_BEGUN, Point.OPEN_WRITTEN, Point.OPEN_COMMITTED)
TURN = Transaction(Point.TURN_BEGUN, Point.TURN_WRITTEN, Point.TURN_COMMITTED)
REQUEST = Transaction(Point.REQUEST_BEGUN, Point.REQUEST_WRITTEN, Point.REQUEST_COMMITTED)
SETTLING = Transaction(Point.SETTLE_BEGUN, Point.SETTLE_WRITTEN, Point.SETTLE_COMMITTED)
TAKING = Transaction(Point.TAKE_BEGUN, Point.TAKE_WRITTEN, Point.TAKE_COMMITTED)
PRUNING = Transaction(Point.PRUNE_BEGUN, Point.PRUNE_WRITTEN, Point.PRUNE_COMMITTED)
