"""Every way to lead, with real servers behind it, and the ways in which a process can lose the lead there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Protocol

import asyncpg

from tests.servers.kubernetes import Kubernetes
from tests.servers.postgres import Postgres
from watchdog.aio.clock import SystemClock
from watchdog.cluster.client import Cluster
from watchdog.cluster.errors import NotSent
from watchdog.cluster.settings import ClusterSettings
from watchdog.leader.interface import Leadership
from watchdog.leader.kubernetes_lease import LeaseLeadership, LeaseSettings
from watchdog.leader.postgres import PostgresLeadership, PostgresSettings
from watchdog.leader.single import SingleLeadership
from watchdog.postgres.address import address_of
from watchdog.postgres.connecting import connect as open_session

LEASE = timedelta(seconds=3)
TIMES: dict[str, Any] = {
    "lease": LEASE,
    "renew": timedelta(seconds=2),
    "retry": timedelta(milliseconds=200),
    "timeout": timedelta(seconds=2),
}


class Freezing(SystemClock):
    """A clock whose owner can stand still: who waits by it waits on, while the machine's time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self._running = asyncio.Event()
        self._running.set()

    def freeze(self) -> None:
        self._running.clear()

    def thaw(self) -> None:
        self._running.set()

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds)
        await self._running.wait()


class Rig(Protocol):
    """One place in which processes compete."""

    shares: bool
    """Whether there can be several."""

    def make(self, name: str) -> tuple[Leadership, Freezing]:
        """One process's leadership, and its clock."""
        ...

    async def cut(self, leadership: Leadership) -> None:
        """This process reaches nobody any more."""
        ...

    async def heal(self, leadership: Leadership) -> None:
        """It does again."""
        ...


class SingleRig:
    shares = False

    def make(self, name: str) -> tuple[Leadership, Freezing]:
        clock = Freezing()
        return SingleLeadership(clock=clock), clock

    async def cut(self, leadership: Leadership) -> None:
        raise AssertionError("there is nobody to reach")

    async def heal(self, leadership: Leadership) -> None:
        raise AssertionError("there is nobody to reach")


class _CutOff(Cluster):
    """A connection that a test can cut."""

    away = False

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, timeout: timedelta | None = None
    ) -> bytes:
        self._look()
        return await super().get(path, query=query, timeout=timeout)

    async def put(self, path: str, body: Mapping[str, Any], *, timeout: timedelta | None = None) -> bytes:
        self._look()
        return await super().put(path, body, timeout=timeout)

    def _look(self) -> None:
        if self.away:
            raise NotSent("cut off by the test")


class LeaseRig:
    shares = True

    def __init__(self, kubernetes: Kubernetes) -> None:
        self._settings = ClusterSettings(kubeconfig=kubernetes.kubeconfig)
        self._namespace = kubernetes.namespace("lease")
        self._clusters: dict[int, _CutOff] = {}

    def make(self, name: str) -> tuple[Leadership, Freezing]:
        clock = Freezing()
        cluster = _CutOff(self._settings, clock=clock)
        settings = LeaseSettings(namespace=self._namespace, identity=name, **TIMES)
        made = LeaseLeadership(settings, cluster=cluster, clock=clock)
        self._clusters[id(made)] = cluster
        return made, clock

    async def cut(self, leadership: Leadership) -> None:
        self._clusters[id(leadership)].away = True

    async def heal(self, leadership: Leadership) -> None:
        self._clusters[id(leadership)].away = False


class PostgresRig:
    shares = True

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres
        self._database = postgres.database()
        self._away: set[int] = set()

    def make(self, name: str) -> tuple[Leadership, Freezing]:
        clock = Freezing()
        settings = PostgresSettings(identity=name, **TIMES)
        place: list[int] = []

        async def connect(*words: Any, **more: Any) -> asyncpg.Connection:
            if place[0] in self._away:
                raise ConnectionRefusedError(111, "cut off by the test")
            return await open_session(*words, **more)

        made = PostgresLeadership(
            settings, postgres=address_of(self._postgres.url(self._database)), clock=clock, connect=connect
        )
        place.append(id(made))
        return made, clock

    async def cut(self, leadership: Leadership) -> None:
        self._away.add(id(leadership))
        name = leadership.identity
        await asyncio.to_thread(
            self._postgres.sql,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "  # noqa: S608 - a name of ours
            f"WHERE application_name = 'watchdog leader {name}'",
        )

    async def heal(self, leadership: Leadership) -> None:
        self._away.discard(id(leadership))
