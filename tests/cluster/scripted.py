"""A cluster that answers as a test says, without a socket: what feeds make of it is tried in virtual time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from datetime import timedelta
from typing import Any

from watchdog.aio.clock import Clock
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError, Silent

Json = dict[str, Any]


def pod(name: str, version: int, *, namespace: str = "prod", **labels: str) -> Json:
    """A pod of so much as feeds look at."""
    metadata = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}",
        "resourceVersion": str(version),
        "labels": labels,
    }
    return {"kind": "Pod", "apiVersion": "v1", "metadata": metadata}


def page(version: int, *pods: Json, more: str = "") -> bytes:
    """One page of a list; `more` is how to ask for the next."""
    metadata = {"resourceVersion": str(version), **({"continue": more} if more else {})}
    return json.dumps({"kind": "PodList", "metadata": metadata, "items": list(pods)}).encode()


class Stream:
    """One watch that was opened: what a test sends comes out of it."""

    def __init__(self, query: Mapping[str, str], silent_for: timedelta) -> None:
        self.query = dict(query)
        self._silent_for = silent_for.total_seconds()
        self._lines: asyncio.Queue[bytes | ClusterError | None] = asyncio.Queue()
        self.closed = False

    def send(self, kind: str, thing: Json) -> None:
        """An event."""
        self.raw(json.dumps({"type": kind, "object": thing}).encode() + b"\n")

    def bookmark(self, version: int) -> None:
        """How far the API server has come; its object has no name."""
        self.send("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": str(version)}, "spec": {}})

    def raw(self, line: bytes) -> None:
        """A line as it is."""
        self._lines.put_nowait(line)

    def end(self, error: ClusterError | None = None) -> None:
        """The API server ends the watch, or something else does."""
        self._lines.put_nowait(error)

    async def lines(self) -> AsyncGenerator[bytes, None]:
        """What `Cluster.watch` gives."""
        try:
            while True:
                async with asyncio.timeout(self._silent_for):
                    line = await self._lines.get()
                if line is None:
                    return
                if isinstance(line, ClusterError):
                    raise line
                yield line
        except TimeoutError:
            raise Silent("nothing was heard for too long") from None
        finally:
            self.closed = True


class ScriptedCluster(Cluster):
    """`lists` answers GETs of lists: bytes, or an error to raise. `streams` are the watches so far, oldest first.

    `refuse` is raised by every watch instead of opening one. A test says what `pulse` does.
    """

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.clock = clock
        self.lists: Callable[[dict[str, str]], bytes | ClusterError] = lambda _: page(10)
        self.pulse: Callable[[], bytes | ClusterError] = lambda: b"{}"
        self.refuse: ClusterError | None = None
        self.asked: list[tuple[float, str, dict[str, str]]] = []
        self.streams: list[Stream] = []

    @property
    def stream(self) -> Stream:
        """The newest watch."""
        return self.streams[-1]

    def at(self, path: str = "/pods") -> list[float]:
        """When something was asked."""
        return [at for at, asked, _ in self.asked if path in asked]

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, timeout: timedelta | None = None
    ) -> bytes:
        self.asked.append((self.clock.monotonic(), path, dict(query or {})))
        answer = self.pulse() if path == "/version" else self.lists(dict(query or {}))
        if isinstance(answer, ClusterError):
            raise answer
        self.heard_at = self.clock.monotonic()
        return answer

    async def watch(
        self,
        path: str,
        *,
        query: Mapping[str, str],
        silent_for: timedelta,
        opened: Callable[[], None] | None = None,
    ) -> AsyncGenerator[bytes, None]:
        self.asked.append((self.clock.monotonic(), f"watch {path}", dict(query)))
        if self.refuse is not None:
            raise self.refuse
        stream = Stream(query, silent_for)
        self.streams.append(stream)
        if opened is not None:
            opened()
        lines = stream.lines()
        try:
            async for line in lines:
                self.heard_at = self.clock.monotonic()
                yield line
        finally:
            await lines.aclose()
