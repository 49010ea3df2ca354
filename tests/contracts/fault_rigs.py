"""Whatever asks something over a network, with a fault proxy in between: one rig for each provider that does.

A new source, probe or channel adds a class here and a line to `RIGS`; a traffic switch has its own in
`test_switch_faults.py`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from pydantic import SecretStr

from tests.channels.messages import USUAL
from tests.channels.receiver import SECRET
from tests.cluster import recorded
from tests.cluster.fake_api import FakeApi
from tests.contracts import probe_rigs
from tests.faults.proxy import OBEYED, Deed, FaultProxy
from tests.servers import raw
from tests.servers.raw import RawServer
from tests.sources.questions import parts, poll, running
from watchdog.aio.clock import SystemClock
from watchdog.channels.interface import Delivered, Later, Unclear
from watchdog.channels.webhook import WebhookChannel
from watchdog.cluster.objects import PODS
from watchdog.core.observation import Failed, FailReason, Pulse, Value
from watchdog.probes.kubernetes import KubernetesProbe
from watchdog.probes.registry import KINDS as PROBES
from watchdog.settings.registry import load
from watchdog.sources.prometheus import PrometheusSettings, PrometheusSource
from watchdog.sources.scrape import ScrapeSettings, ScrapeSource

#: Long enough for a good answer on a machine that is busy, short enough to wait for.
TIMEOUT = timedelta(seconds=1)
#: Deeds after which everything is as if there were no proxy.
HARMLESS = frozenset({Deed.PASS, Deed.DELAY, Deed.TWICE})


class Rig(ABC):
    """One provider behind a proxy. `call` says whether it went well; it fails where the outcome is not allowed."""

    name: ClassVar[str]
    #: What of a deed does it no harm; a plain TCP probe wants no more than a connection.
    harmless: ClassVar[frozenset[Deed]] = HARMLESS

    proxy: FaultProxy

    @asynccontextmanager
    @abstractmethod
    async def open(self, folder: Path) -> AsyncIterator[None]:
        """The server, the proxy and the provider; the latter is closed first."""
        yield

    @property
    def met(self) -> int:
        """How often the proxy was met."""
        return len(self.proxy.lines)

    @abstractmethod
    async def call(self, deed: Deed) -> bool:
        """Call it once. `deed` is what the proxy does: what may be said of it depends on that."""


class SourceRig(Rig):
    """What a source says while it cannot be asked is `Failed`; a value is one that it really got."""

    async def call(self, deed: Deed) -> bool:
        seen = await poll(self.source)
        if isinstance(seen, Value):
            assert seen.value == 0.25, seen
            return True
        assert isinstance(seen, Failed) or deed in self.harmless, seen
        return False

    source: PrometheusSource | ScrapeSource


class PrometheusRig(SourceRig):
    name = "prometheus"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(RawServer(_api))
            self.proxy = FaultProxy(server.port)
            await stack.enter_async_context(self.proxy.open())
            settings = PrometheusSettings(url=self.proxy.url, timeout=TIMEOUT)
            self.source = PrometheusSource(settings, name="main")
            await stack.enter_async_context(running([self.source]))
            yield


class ScrapeRig(SourceRig):
    name = "scrape"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(RawServer(_Page()))
            self.proxy = FaultProxy(server.port)
            await stack.enter_async_context(self.proxy.open())
            settings = ScrapeSettings(
                urls=(self.proxy.url,), interval=timedelta(milliseconds=200), timeout=TIMEOUT
            )
            self.source = ScrapeSource(settings, name="app")
            await stack.enter_async_context(running([self.source]))
            yield


async def _api(request: raw.RawRequest, writer: asyncio.StreamWriter) -> None:
    now = datetime.now(UTC).timestamp()
    writer.write(raw.packed(parts(now, bad="1", total="4", newest=str(now), samples="4")))


class _Page:
    """Every fourth request failed, and there are four more of them at every look."""

    def __init__(self) -> None:
        self._looks = 0

    async def __call__(self, _: raw.RawRequest, writer: asyncio.StreamWriter) -> None:
        self._looks += 1
        name = 'http_requests_total{service="trips",status='
        writer.write(raw.packed(f'{name}"200"}} {3 * self._looks}\n{name}"500"}} {self._looks}\n'))


class ProbeRig(Rig):
    """What answers well is alive, all else is dead: never our own inability, which says nothing of the target."""

    kind: ClassVar[str]

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        rig = probe_rigs.RIGS[self.kind](folder)
        async with AsyncExitStack() as stack:
            settings = await stack.enter_async_context(rig.alive())
            self.proxy = FaultProxy(_port_of(settings))
            await stack.enter_async_context(self.proxy.open())
            self.probe = rig.probe()
            stack.push_async_callback(self.probe.aclose)
            written = {**rig.at("127.0.0.1", self.proxy.port), "timeout": "1s"}
            wanted = load("probe", PROBES, rig.kind).Settings.model_validate(written)
            self.settings = wanted.model_dump(mode="json", by_alias=True)
            yield

    async def call(self, deed: Deed) -> bool:
        seen = await self.probe.check(self.settings, now=datetime.now(UTC))
        if isinstance(seen, Failed):
            # grpcio is imported at the first check, which can take longer than a second on a busy machine.
            assert seen.reason is FailReason.UNABLE, seen
            assert "imported" in seen.detail, seen
            return False
        assert isinstance(seen, Pulse)
        return seen.passed


class HttpRig(ProbeRig):
    name = kind = "http"


class HttpsRig(ProbeRig):
    name = kind = "https"


class TcpRig(ProbeRig):
    name = kind = "tcp"
    harmless = frozenset(Deed)

    @property
    def met(self) -> int:
        return self.proxy.taken  # a connection is all it wants


class TcpTlsRig(ProbeRig):
    name = kind = "tcp over tls"


class GrpcRig(ProbeRig):
    name = kind = "grpc"


def _port_of(settings: dict[str, Any]) -> int:
    where = str(settings.get("address") or settings["url"])
    return int(where.rstrip("/").rpartition(":")[2])


class KubernetesRig(Rig):
    """Whoever cannot be asked how the target is says nothing of it: that is our own inability, never a dead target."""

    name = "kubernetes"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            api = await stack.enter_async_context(FakeApi())
            api.put(PODS, "prod", recorded.pod())
            self.proxy = FaultProxy(_port_of({"url": api.url}))
            await stack.enter_async_context(self.proxy.open())
            self.probe = KubernetesProbe(cluster=api.cluster(self.proxy.url, timeout="1s"))
            stack.push_async_callback(self.probe.aclose)
            yield

    async def call(self, deed: Deed) -> bool:
        settings = {"namespace": "prod", "selector": "app=trips", "when": ["crash_loop"], "timeout": "1s"}
        seen = await self.probe.check(settings, now=datetime.now(UTC))
        if isinstance(seen, Pulse):
            assert seen.passed, seen
            return True
        assert isinstance(seen, Failed)
        assert seen.reason is FailReason.UNABLE, seen
        return False


class WebhookRig(Rig):
    """What may have arrived is never said not to have; what is said to have arrived has."""

    name = "webhook"

    @asynccontextmanager
    async def open(self, folder: Path) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            self.receiver = await stack.enter_async_context(RawServer(raw.answer("ok")))
            self.proxy = FaultProxy(self.receiver.port)
            await stack.enter_async_context(self.proxy.open())
            settings = WebhookChannel.Settings.model_validate(
                {"url": f"{self.proxy.url}/hook", "secret": SecretStr(SECRET), "timeout": TIMEOUT}
            )
            self.channel = WebhookChannel(settings, name="hook", clock=SystemClock())
            stack.push_async_callback(self.channel.aclose)
            yield

    async def call(self, deed: Deed) -> bool:
        before = len(self.receiver.requests)
        struck = len(self.proxy.lines)
        delivery = await self.channel.send(USUAL, key="k")
        if isinstance(delivery, Delivered):
            assert len(self.receiver.requests) > before
            return True
        if deed in OBEYED and len(self.proxy.lines) > struck:
            assert isinstance(delivery, Unclear), delivery
        # Whatever answered 400 in the receiver's place did refuse it.
        assert isinstance(delivery, Unclear | Later) or deed is Deed.BABBLE, delivery
        return False


RIGS: dict[str, type[Rig]] = {
    rig.name: rig
    for rig in (
        PrometheusRig,
        ScrapeRig,
        HttpRig,
        HttpsRig,
        TcpRig,
        TcpTlsRig,
        GrpcRig,
        KubernetesRig,
        WebhookRig,
    )
}
