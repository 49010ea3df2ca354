"""Feeds that are shared: whoever wants the same objects hears of them from one watch.

Two hundred services in a namespace cost one watch for each kind they look at, and a small question now and then that
tells a silent API server from a quiet one. This module must never keep a watch that nobody listens to.
"""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, NoReturn
from weakref import WeakValueDictionary

import structlog

from watchdog.aio.clock import Clock, SystemClock
from watchdog.aio.supervise import Supervisor
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import NotSent, Refused, Unanswered
from watchdog.cluster.feed import Feed, Listener, Topic
from watchdog.cluster.objects import Kind, O

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: While feeds are followed the API server is asked for a sign of life when it said nothing for so many seconds.
PULSE_EVERY: Final = 15.0
#: After a question in vain the next one comes so many seconds later.
_AGAIN_AFTER: Final = 1.0
#: A rest of a pause (seconds) that no clock rounds away.
_AT_LEAST: Final = 0.01
#: Open to every client, and next to nothing for the API server.
_PULSE: Final = "/version"
#: Longest time in which feeds end.
_STOP_WITHIN: Final = timedelta(seconds=5)


@dataclass(slots=True)
class _Followed:
    feed: Feed[Any]
    task: str
    followers: int = 1


class Feeds:
    """All feeds of one cluster. Opens nothing before somebody follows."""

    def __init__(
        self, cluster: Cluster, *, clock: Clock | None = None, rng: random.Random | None = None
    ) -> None:
        self._cluster = cluster
        self._clock = clock or SystemClock()
        self._rng = rng or random.Random()
        self._known: WeakValueDictionary[Topic[Any], Feed[Any]] = WeakValueDictionary()
        self._followed: dict[Topic[Any], _Followed] = {}
        self._newest: dict[tuple[str, str, str, str], str] = {}
        self._tasks = Supervisor(rng=self._rng)
        self._numbers = itertools.count(1)
        self._pulse = ""
        self._silent_since: float | None = None
        self._closed = False

    def feed(
        self,
        kind: Kind[O],
        namespace: str,
        *,
        labels: Mapping[str, str] | None = None,
        name: str = "",
    ) -> Feed[O]:
        """The feed of all objects of a kind in a namespace, of those with `labels`, or of the one called `name`.

        The same for everybody who asks for the same. It holds nothing unless somebody follows it.
        """
        topic = Topic(kind=kind, namespace=namespace, labels=tuple(sorted((labels or {}).items())), name=name)
        found = self._known.get(topic)
        if found is None:
            rng = random.Random(self._rng.random())
            found = Feed(topic, self._cluster, clock=self._clock, rng=rng, silent=self._silent)
            self._known[topic] = found
        return found

    @asynccontextmanager
    async def following(
        self, *wanted: Feed[Any], changed: Listener[Any] | None = None
    ) -> AsyncIterator[None]:
        """Keep these feeds up to date inside the block, and call `changed` after every change in one of them.

        What a feed holds already when the block begins is no change. Raises `NotSent` after `aclose`.
        """
        if self._closed:
            raise NotSent("the connection to the cluster was closed")
        with ExitStack() as stack:
            for feed in wanted:
                if changed is not None:
                    stack.callback(feed.listen(changed))
                self._begin(feed)
                stack.callback(self._end, feed.topic)
            yield

    async def follow(self, *wanted: Feed[Any], changed: Listener[Any] | None = None) -> NoReturn:
        """The same until cancelled."""
        async with self.following(*wanted, changed=changed):
            await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody resolves that future")

    def holding(self, kind: Kind[O], namespace: str) -> Iterable[Feed[O]]:
        """The feeds that are followed and hold objects of that kind and namespace."""
        return [
            one.feed
            for topic, one in self._followed.items()
            if topic.kind == kind and topic.namespace in {namespace, ""}
        ]

    def saw(self, kind: Kind[O], namespace: str, name: str, found: O | None) -> None:
        """Somebody read an object past the feeds (`None`: it is not there): nobody is told an older one from now on."""
        key = kind.group, kind.plural, namespace, name
        if found is None:
            self._newest.pop(key, None)
        elif not older(found.metadata.resource_version, self._newest.get(key, "0")):
            self._newest[key] = found.metadata.resource_version

    def outdated(self, kind: Kind[O], namespace: str, name: str, found: O | None) -> bool:
        """Whether what a feed holds is older than what somebody read past it."""
        seen = self._newest.get((kind.group, kind.plural, namespace, name))
        if seen is None:
            return False
        if found is None:
            return True
        mine = found.metadata.resource_version
        return mine != seen and (older(mine, seen) or not (mine.isdecimal() and seen.isdecimal()))

    async def aclose(self) -> None:
        """End every watch. Idempotent, never raises. The cluster stays open."""
        self._closed = True
        await self._tasks.stop(_STOP_WITHIN)

    def _begin(self, feed: Feed[Any]) -> None:
        entry = self._followed.get(feed.topic)
        if entry is not None:
            entry.followers += 1
            return
        name = f"feed {feed.topic} #{next(self._numbers)}"
        self._followed[feed.topic] = _Followed(feed, name)
        self._tasks.start(name, feed.run, critical=False)
        if not self._pulse:
            self._pulse = f"pulse #{next(self._numbers)}"
            self._tasks.start(self._pulse, self._feel, critical=False)

    def _end(self, topic: Topic[Any]) -> None:
        entry = self._followed[topic]
        entry.followers -= 1
        if entry.followers:
            return
        del self._followed[topic]
        entry.feed.forget()
        self._tasks.end(entry.task)
        if not self._followed:
            self._tasks.end(self._pulse)
            self._pulse = ""

    async def _feel(self) -> None:
        """Ask for a sign of life whenever the API server said nothing for a while."""
        heard_at = self._clock.monotonic()
        while True:
            heard_at = max(heard_at, self._cluster.heard_at)
            quiet = self._clock.monotonic() - heard_at
            if quiet < PULSE_EVERY:
                self._silent_since = None
                await self._clock.sleep(max(PULSE_EVERY - quiet, _AT_LEAST))
                continue
            try:
                await self._cluster.get(_PULSE)
            except (NotSent, Unanswered) as error:
                if not isinstance(error, NotSent) or not error.retry_after:
                    if self._silent_since is None:
                        _log.warning("cluster_silent", error=str(error))
                    self._silent_since = self._clock.monotonic()
                    await self._clock.sleep(_AGAIN_AFTER)
                    continue
            except Refused:
                pass
            heard_at = self._clock.monotonic()  # whatever was answered is a sign of life

    def _silent(self) -> bool:
        """Whether the last sign of life was asked for in vain, and none came since."""
        return self._silent_since is not None and self._cluster.heard_at < self._silent_since


def older(one: str, other: str) -> bool:
    """Whether a `resourceVersion` comes before another, where they are numbers, which those from etcd are."""
    return one.isdecimal() and other.isdecimal() and int(one) < int(other)
