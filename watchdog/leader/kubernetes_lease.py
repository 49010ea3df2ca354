"""Who holds a `coordination.k8s.io/v1` Lease leads, by the algorithm of client-go.

A record counts as alive for as long as its lease lasts after *we* saw it change, by boot time: no clock of another
machine is believed. Every write names the `resourceVersion` that was read, so of two who take an expired lease one is
refused. A renewal that was not answered is none. What must not happen when this fails is up to the store's claim and to
the switched objects. This module must never write a lease that it did not read, nor believe in one for longer than
`renew` after the question left that renewed it.

https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go
"""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from pydantic import Field

from watchdog.aio.clock import SteadyClock
from watchdog.aio.crew import Crew
from watchdog.cluster.access import own_namespace
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import ClusterError, Refused, Unanswered
from watchdog.cluster.rights import Right
from watchdog.core.errors import ConfigError
from watchdog.leader.hold import Hold, SharedSettings, identity_of

_log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

#: Followers do not ask in step: up to so much of `retry` is added, as client-go does.
_JITTER: Final = 1.2
#: Giving up the lead is a courtesy; a stop does not wait longer for it (seconds).
_RELEASE_WITHIN: Final = 3.0

Lease = dict[str, Any]


class LeaseSettings(SharedSettings):
    """`leader: {kind: kubernetes-lease}`."""

    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")
    """Namespace of the lease; left out, the pod's own."""
    name: str = Field(default="rollback-watchdog", pattern=r"^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$")
    """Name of the lease; every installation has its own."""


class LeaseLeadership:
    """Leads while it holds the lease. The connection is its own: nothing else that is asked delays a renewal."""

    Settings = LeaseSettings
    WANTS = ("cluster",)

    def __init__(
        self,
        settings: LeaseSettings,
        *,
        cluster: Cluster,
        clock: SteadyClock,
        rng: random.Random | None = None,
    ) -> None:
        namespace = settings.namespace or own_namespace()
        if namespace is None:
            raise ConfigError(
                "leader: outside of a cluster there is no own namespace; name one: `namespace: …`"
            )
        self._settings = settings
        self._cluster = cluster
        self._clock = clock
        self._rng = rng or random.Random()
        self._identity = identity_of(settings)
        self._folder = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
        self._metadata = {"name": settings.name, "namespace": namespace}
        self._path = f"{self._folder}/{settings.name}"
        self._hold = Hold(settings, clock=clock)
        self._crew = Crew("leader")
        self._seen: Lease | None = None
        self._seen_at = 0.0
        """When it was first seen like this, by boot time."""
        self._trouble = ""

    @staticmethod
    def rights_for(settings: LeaseSettings) -> Sequence[Right]:
        """What a lease takes: to make it once, and to read and renew it. None where its namespace is not known."""
        namespace = settings.namespace or own_namespace()
        if namespace is None:
            return ()
        lease = partial(Right, group="coordination.k8s.io", resource="leases", namespace=namespace)
        return (
            lease(verb="create"),
            lease(verb="get", name=settings.name),
            lease(verb="update", name=settings.name),
        )

    @property
    def is_leader(self) -> bool:
        return self._hold.sure

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def holder(self) -> str:
        if self._hold.sure:
            return self._identity
        holder = _holder(self._seen)
        return "" if holder == self._identity or self._expired() else holder

    async def acquire(self) -> None:
        await self._crew.stop()
        self._hold.end()
        while True:
            try:
                async with asyncio.timeout(self._settings.renew.total_seconds()):
                    if await self._take():
                        break
                self._well()
            except (ClusterError, TimeoutError) as error:
                self._tell(error)
            await self._clock.sleep(self._pause())
        self._well()
        self._crew.start("renew", self._keep())

    async def lost(self) -> None:
        await self._hold.ended()

    async def release(self) -> None:
        held = self._hold.sure
        await self._crew.stop()
        self._hold.end()
        if not held:
            return
        try:
            async with asyncio.timeout(_RELEASE_WITHIN):
                await self._give_away()
        except (ClusterError, TimeoutError) as error:
            _log.warning("lease_not_released", lease=self._path, error=str(error) or "no answer in time")

    async def aclose(self) -> None:
        await self.release()
        await self._cluster.aclose()

    async def _give_away(self) -> None:
        """Read first: a renewal may have been cut off in the middle."""
        found = await self._get()
        if found is not None and _holder(found) == self._identity:
            await self._put(found, self._record(found, holder=""))

    async def _keep(self) -> None:
        """Renew until that fails for too long, or the lease is another's."""
        try:
            while (left := self._hold.left()) > 0.0:
                await self._clock.sleep(min(self._settings.retry.total_seconds(), left))
                left = self._hold.left()
                if left <= 0.0 or not await self._renewed(left):
                    break
        finally:
            self._hold.end()

    async def _renewed(self, left: float) -> bool:
        """One try; false when the lease is certainly another's."""
        try:
            async with asyncio.timeout(left):
                if not await self._renew():
                    _log.warning("lease_taken", lease=self._path, by=_holder(self._seen))
                    return False
            self._well()
        except (ClusterError, TimeoutError) as error:
            self._tell(error)
        return True

    async def _renew(self) -> bool:
        """Write the record anew as it is known; when it is not like that any more, read it, and write it if it is ours.

        It is ours after a renewal that took effect and was not answered.
        """
        asked_at = self._clock.boottime()
        known = self._seen
        if known is not None and _holder(known) == self._identity:
            try:
                await self._put(known, self._record(known))
            except Refused as error:
                if not (error.conflict or error.missing):
                    raise
            else:
                self._hold.renewed(asked_at)
                return True
        found = await self._get()
        if found is None or _holder(found) != self._identity:
            return False
        asked_at = self._clock.boottime()
        await self._put(found, self._record(found))
        self._hold.renewed(asked_at)
        return True

    async def _take(self) -> bool:
        """One try to become the holder; false when somebody else is, or was quicker."""
        found = await self._get()
        asked_at = self._clock.boottime()
        try:
            if found is None:
                await self._create()
            elif _holder(found) in {"", self._identity} or self._expired():
                await self._put(found, self._record(found))
            else:
                return False
        except Refused as error:
            if error.conflict or (error.missing and found is not None):
                return False
            raise
        return self._hold.begin(asked_at)

    async def _get(self) -> Lease | None:
        try:
            return self._see(_decode(await self._cluster.get(self._path, timeout=self._settings.timeout)))
        except Refused as error:
            if not error.missing or error.reason != "NotFound":
                raise
            self._seen = None
            return None

    async def _create(self) -> None:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": self._metadata,
            "spec": self._record(None),
        }
        self._see(_decode(await self._cluster.post(self._folder, body, timeout=self._settings.timeout)))

    async def _put(self, lease: Lease, spec: dict[str, Any]) -> None:
        """Everything else in the object stays as others have it; its `resourceVersion` is the precondition."""
        body = {**lease, "spec": spec}
        self._see(_decode(await self._cluster.put(self._path, body, timeout=self._settings.timeout)))

    def _see(self, lease: Lease) -> Lease:
        if self._seen is None or self._seen.get("spec") != lease.get("spec"):
            self._seen_at = self._clock.boottime()
        self._seen = lease
        return lease

    def _record(self, lease: Lease | None, *, holder: str | None = None) -> dict[str, Any]:
        """The record as this process would write it; `holder=""` gives the lease away."""
        spec = dict((lease or {}).get("spec") or {})
        now = self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        name = self._identity if holder is None else holder
        changed = spec.get("holderIdentity") != name
        known = spec.get("leaseTransitions") or 0
        transitions = known + 1 if changed and name and lease is not None else known
        return {
            **spec,
            "holderIdentity": name,
            "leaseDurationSeconds": math.ceil(self._settings.lease.total_seconds()) if name else 1,
            "acquireTime": now if changed else spec.get("acquireTime", now),
            "renewTime": now,
            "leaseTransitions": transitions,
        }

    def _expired(self) -> bool:
        """Whether the record has not changed for as long as it lasts: as its holder wrote, and never less than ours."""
        spec = (self._seen or {}).get("spec") or {}
        lasts = max(float(spec.get("leaseDurationSeconds") or 0.0), self._settings.lease.total_seconds())
        return self._clock.boottime() >= self._seen_at + lasts

    def _pause(self) -> float:
        return self._settings.retry.total_seconds() * (1.0 + self._rng.random() * _JITTER)

    def _tell(self, error: Exception) -> None:
        """Said when it changes, not at every try."""
        trouble = type(error).__name__
        if trouble != self._trouble:
            _log.warning("lease_not_reached", lease=self._path, error=str(error) or "no answer in time")
        self._trouble = trouble

    def _well(self) -> None:
        if self._trouble:
            _log.info("lease_reached_again", lease=self._path)
        self._trouble = ""


def _holder(lease: Lease | None) -> str:
    return str(((lease or {}).get("spec") or {}).get("holderIdentity") or "")


def _decode(text: bytes) -> Lease:
    """A Lease, all of it: what others have in it is written back. Raises `Unanswered` for anything else."""
    try:
        found = msgspec.json.decode(text)
    except msgspec.MsgspecError as error:
        raise Unanswered(f"the API server's answer is not usable: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("metadata"), dict):
        raise Unanswered("the API server's answer is no Lease")
    return found
