"""The leases of a cluster, in memory and in virtual time: a `resourceVersion` is the precondition of every write.

Each process has a `LeaseApi` of its own, the connection of which a test may break; the leases are one `Leases`.
"""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import NotSent, Refused, Unanswered

Lease = dict[str, Any]
#: Seconds that a call takes.
TAKES = 0.01


class Leases:
    """What the API server keeps, and everything that was written there."""

    def __init__(self) -> None:
        self.objects: dict[str, Lease] = {}
        self.writes: list[tuple[float, str]] = []
        """When (virtual seconds) which holder was written."""
        self._version = 100

    def holder(self, path: str) -> str:
        return str(self.objects[path]["spec"]["holderIdentity"])

    def put(self, path: str, lease: Lease) -> Lease:
        """Replace; `Refused` as the real one does."""
        known = self.objects.get(path)
        if known is None:
            raise Refused("no such lease", status=404, reason="NotFound")
        if lease["metadata"].get("resourceVersion") != known["metadata"]["resourceVersion"]:
            raise Refused("the object has been modified", status=409, reason="Conflict")
        return self.keep(path, lease)

    def create(self, folder: str, lease: Lease) -> Lease:
        path = f"{folder}/{lease['metadata']['name']}"
        if path in self.objects:
            raise Refused("it is there already", status=409, reason="AlreadyExists")
        return self.keep(path, lease)

    def keep(self, path: str, lease: Lease) -> Lease:
        """Whatever is asked, as somebody with kubectl could write it."""
        self._version += 1
        kept = copy.deepcopy(lease)
        kept["metadata"]["resourceVersion"] = str(self._version)
        self.objects[path] = kept
        self.writes.append((asyncio.get_running_loop().time(), kept["spec"]["holderIdentity"]))
        return copy.deepcopy(kept)


class LeaseApi(Cluster):
    """One process's way there. `away`: not to be reached. `mute`: does what is asked and never answers.

    `error` is raised instead of anything; `late` are seconds until a write arrives.
    """

    def __init__(self, leases: Leases) -> None:
        super().__init__()
        self.leases = leases
        self.away = False
        self.mute = False
        self.error: Exception | None = None
        self.late = 0.0
        self.asked = 0
        self.closed = False

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, timeout: timedelta | None = None
    ) -> bytes:
        await self._reach(timeout)
        found = self.leases.objects.get(path)
        if found is None:
            raise Refused("no such lease", status=404, reason="NotFound")
        return await self._answer(copy.deepcopy(found), timeout)

    async def put(self, path: str, body: Mapping[str, Any], *, timeout: timedelta | None = None) -> bytes:
        await self._reach(timeout, late=self.late)
        return await self._answer(self.leases.put(path, json.loads(json.dumps(body))), timeout)

    async def post(self, path: str, body: Mapping[str, Any], *, timeout: timedelta | None = None) -> bytes:
        await self._reach(timeout, late=self.late)
        return await self._answer(self.leases.create(path, json.loads(json.dumps(body))), timeout)

    async def aclose(self) -> None:
        self.closed = True
        await super().aclose()

    async def _reach(self, timeout: timedelta | None, *, late: float = 0.0) -> None:
        self.asked += 1
        await asyncio.sleep(TAKES + late)
        if self.error is not None:
            raise self.error
        if self.away:
            raise NotSent("the API server cannot be reached")

    async def _answer(self, lease: Lease, timeout: timedelta | None) -> bytes:
        if self.mute:
            await asyncio.sleep(3600 if timeout is None else timeout.total_seconds())
            raise Unanswered("no answer in time")
        return json.dumps(lease).encode()
