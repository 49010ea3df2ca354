"""A list of objects that is kept as it is: listed once, then watched.

The watch goes on from where it ended; only when the API server has forgotten that place (410) is everything listed
anew. What is held may be believed while `current`, and not otherwise: silence is not "nothing changed". This module
must never raise for what the outside does, nor block on who listens.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

import msgspec
import structlog

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.differences import Difference, Key, differences, key_of, same
from watchdog.cluster.errors import GONE, ClusterError, NotSent, Refused, Silent, Unanswered
from watchdog.cluster.look import decode, listed, selector
from watchdog.cluster.objects import Kind, O

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

T = TypeVar("T")
#: Told what changed, right after it was taken in. Returns at once.
Listener = Callable[[tuple[Difference[T], ...]], None]

#: Objects on one page of a list: what client-go asks for.
PAGE: Final = 500
#: A watch is asked to end after so many seconds, drawn anew each time: not all end at once.
WATCH_SECONDS: Final = (240, 300)
#: Bookmarks come about every minute where something changes; a watch that is silent for so long may be dead, and is
#: opened anew.
SILENT_FOR: Final = timedelta(seconds=90)
#: What is held is believed for so many seconds after a watch ended, while the next one is opened.
BELIEVED_FOR: Final = 5.0
#: Pauses after a failure double from the first to the longest (seconds); each is shortened at random to half of it.
FIRST_PAUSE: Final = 0.5
LONGEST_PAUSE: Final = 30.0
#: A watch that ended sooner than this (seconds) without a word is a failure: it would be opened over and over.
_TOO_SHORT: Final = 1.0


class _Event(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a watch; what `object` is depends on `type`."""

    type: str
    object: msgspec.Raw = msgspec.Raw()


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    """The object of an ERROR."""

    message: str = ""
    reason: str = ""
    code: int = 0


class _Place(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    resource_version: str = ""


class _Bookmark(msgspec.Struct, frozen=True, kw_only=True):
    """The object of a BOOKMARK: nothing but how far the watch has come."""

    metadata: _Place = _Place()


class Topic(msgspec.Struct, Generic[O], frozen=True, kw_only=True):
    """What a feed holds: objects of a kind in a namespace, all of them or those with `labels`, or the one of a name."""

    kind: Kind[O]
    namespace: str
    labels: tuple[tuple[str, str], ...] = ()
    name: str = ""

    @property
    def query(self) -> dict[str, str]:
        """The selectors, as a list and a watch want them."""
        query = {"labelSelector": selector(dict(self.labels))} if self.labels else {}
        return {**query, "fieldSelector": f"metadata.name={self.name}"} if self.name else query

    def labels_within(self, labels: Mapping[str, str]) -> bool:
        """Whether everything with `labels` is among what is held."""
        return all(labels.get(name) == value for name, value in self.labels)

    def __str__(self) -> str:
        where = (
            f"{self.kind.plural} in {self.namespace}" if self.namespace else f"{self.kind.plural} everywhere"
        )
        return where + "".join(f" {value}" for value in self.query.values())


class Feed(Generic[O]):
    """The objects of one topic, as they were last told. Kept by `run`; `Feeds` runs it while somebody listens."""

    def __init__(
        self,
        topic: Topic[O],
        cluster: Cluster,
        *,
        clock: Clock,
        rng: random.Random,
        silent: Callable[[], bool] = bool,
    ) -> None:
        """`silent` answers whether the API server does not answer at all at the moment: then nothing is believed."""
        self.topic = topic
        self._silent = silent
        self._cluster = cluster
        self._clock = clock
        self._rng = rng
        self._objects: dict[Key, O] = {}
        self._version = ""
        self._listed = False
        self._open = False
        self._believed_until = 0.0
        self._failures = 0
        self._forgotten = False
        self._turn = asyncio.Lock()
        self._listeners: dict[object, Listener[O]] = {}
        self._page: Any = msgspec.json.Decoder(listed(topic.kind.shape))
        #: What is wrong at the moment, in words; empty when nothing is.
        self.problem = ""
        #: How often everything was listed, and watches were opened: what the feed costs.
        self.lists = 0
        self.watches = 0

    @property
    def current(self) -> bool:
        """Whether what is held may be believed: it was listed, and the watch is open or ended a moment ago."""
        return self._listed and self._believable() and not self._silent()

    def _believable(self) -> bool:
        return self._open or self._clock.monotonic() < self._believed_until

    @property
    def objects(self) -> Mapping[Key, O]:
        """What is held, by namespace and name. Changes in place; not to be kept."""
        return self._objects

    def listen(self, listener: Listener[O]) -> Callable[[], None]:
        """Call `listener` after every change from now on; what is answered ends that. An exception is only logged."""
        mark = object()
        self._listeners[mark] = listener

        def end() -> None:
            self._listeners.pop(mark, None)

        return end

    def forget(self) -> None:
        """Drop everything: nobody keeps it up to date any more."""
        self._objects = {}
        self._version, self._listed, self._open = "", False, False

    async def run(self) -> None:
        """List and watch until cancelled. Never raises for what the outside does."""
        async with self._turn:  # one that was cancelled a moment ago may not have ended yet
            self.forget()
            while True:
                try:
                    # After a gap nobody knows what was missed until it has come in; a list knows.
                    if not self._version or not self._believable():
                        await self._list()
                    await self._watch()
                except ClusterError as error:
                    await self._failed(error)
                else:
                    self._works()

    async def _failed(self, error: ClusterError) -> None:
        """Pause as the kind of failure asks for, and see to it that the next try begins where it can."""
        if isinstance(error, Refused):
            # Whatever was wrong with the place in the stream (forgotten, unknown to a restored store): a list has one.
            self._version = ""
            if error.gone and not self._forgotten:
                self._forgotten = True  # a second one without anything in between waits
                return
        self._tell(str(error))
        pause = min(FIRST_PAUSE * 2 ** min(self._failures, 10), LONGEST_PAUSE) * self._rng.uniform(0.5, 1.0)
        self._failures += 1
        await self._clock.sleep(max(pause, error.retry_after if isinstance(error, NotSent) else 0.0))

    def _tell(self, problem: str) -> None:
        if problem != self.problem:
            self.problem = problem
            _log.warning("cluster_feed_failed", feed=str(self.topic), error=problem)

    def _works(self) -> None:
        self._failures, self._forgotten = 0, False
        if self.problem:
            self.problem = ""
            _log.info("cluster_feed_works_again", feed=str(self.topic))

    async def _list(self) -> None:
        """Everything, page by page; a list that cannot be finished changes nothing."""
        self.lists += 1
        found: dict[Key, O] = {}
        path, query = self.topic.kind.path(self.topic.namespace), {**self.topic.query, "limit": str(PAGE)}
        while True:
            text = await self._cluster.get(path, query=query)
            try:
                page = self._page.decode(text)
            except msgspec.MsgspecError as error:
                raise Unanswered(f"GET {path}: the API server's answer is not usable: {error}") from error
            found |= {key_of(one): one for one in page.items}
            if not page.metadata.continue_:
                break
            query["continue"] = page.metadata.continue_
        if not page.metadata.resource_version:
            raise Unanswered(f"GET {path}: a list without a resourceVersion cannot be watched")
        changes = differences(self._objects, found)
        self._objects, self._version, self._listed = found, page.metadata.resource_version, True
        self._believed_until = self._clock.monotonic() + BELIEVED_FOR
        self._announce(changes)

    async def _watch(self) -> None:
        """Take events in until the API server ends the watch as it was asked to."""
        self.watches += 1
        began, progress = self._clock.monotonic(), False
        query = {
            **self.topic.query,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(self._rng.randint(*WATCH_SECONDS)),
        }
        path = self.topic.kind.path(self.topic.namespace)
        lines = self._cluster.watch(path, query=query, silent_for=SILENT_FOR, opened=self._opened)
        try:
            async with contextlib.aclosing(lines):
                async for line in lines:
                    self._take(decode(line, _Event))
                    if not progress:
                        progress = True
                        self._works()
        except Silent:
            if not self._open:
                raise
            return  # where nothing changes no bookmarks need come: another watch goes on from here, and tells
        finally:
            self._ended()
        if not progress and self._clock.monotonic() - began < _TOO_SHORT:
            raise Unanswered(f"the watch of {self.topic} ended at once")

    def _opened(self) -> None:
        self._open = True

    def _ended(self) -> None:
        if self._open:
            self._open = False
            self._believed_until = self._clock.monotonic() + BELIEVED_FOR

    def _take(self, event: _Event) -> None:
        """Apply one event. Raises `ClusterError` for one that ends the watch."""
        if event.type == "BOOKMARK":
            self._version = decode(event.object, _Bookmark).metadata.resource_version or self._version
        elif event.type in {"ADDED", "MODIFIED"}:
            self._put(decode(event.object, self.topic.kind.shape))
        elif event.type == "DELETED":
            self._drop(decode(event.object, self.topic.kind.shape))
        elif event.type == "ERROR":
            status = decode(event.object, _Status)
            told = status.message or status.reason or "no reason given"
            code = GONE if status.reason in {"Expired", "Gone"} else status.code
            raise Refused(f"watch of {self.topic}: {code}: {told}", status=code, reason=status.reason)
        else:
            raise Unanswered(f"watch of {self.topic}: an event of the unknown type {event.type[:40]!r}")

    def _put(self, found: O) -> None:
        key = key_of(found)
        before = self._objects.get(key)
        self._objects[key] = found
        self._version = found.metadata.resource_version or self._version
        if not same(before, found):
            self._announce((Difference(before=before, after=found),))

    def _drop(self, found: O) -> None:
        self._version = found.metadata.resource_version or self._version
        before = self._objects.pop(key_of(found), None)
        if before is not None:
            self._announce((Difference(before=before),))

    def _announce(self, changes: tuple[Difference[O], ...]) -> None:
        if not changes:
            return
        for listener in list(self._listeners.values()):
            try:
                listener(changes)
            except Exception as error:  # noqa: BLE001 - one who listens must not stop the others
                _log.error("cluster_listener_failed", feed=str(self.topic), exc_info=error)
