"""The stage of one play: versions of an app, HAProxy in front, a source of numbers, the daemon, people, visitors.

A test changes `service`, `rules` or `daemon.settings`, says `await stage.open()`, and plays. Everything is real, on
loopback, in the test's folder, and gone when the test ends.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.e2e.daemon import Daemon
from tests.e2e.people import SECRET, People, people
from tests.e2e.visitors import Visitors, visitors
from tests.eventually import eventually
from tests.servers.haproxy import HAProxy, Server
from tests.servers.process import Process
from tests.servers.prometheus import Prometheus, Target
from tests.servers.versioned import VersionedApp

#: Windows and waits as short as the daemon allows to make sense of.
ERROR_RATE: dict[str, Any] = {
    "name": "error-rate",
    "summary": "share of requests answered 5xx",
    "unit": "ratio",
    "ratio": {
        "bad": 'http_requests_total{service="$service",version="$version",status=~"5.."}',
        "total": 'http_requests_total{service="$service",version="$version"}',
    },
    "window": "1200ms",
    "threshold": {"warning": "1%", "critical": "2%", "rollback": "150%"},
    "hold": {"warning": "2 samples", "critical": "2 samples", "rollback": "2 samples"},
    "clear": "2 samples",
}
SERVICE: dict[str, Any] = {
    "environment": "production",
    "labels": {"team": "booking"},
    "rules": ["error-rate"],
    "mode": "enforce",
    "rollback": {
        "warmup": "300ms",
        "soak": "600ms",
        "stabilise": "300ms",
        "verify": "10s",
        "contest_for": "600ms",
        "cooldown": "0s",
        "max_per_day": 50,
    },
}


class Stage:
    """One service, `trips`, on two variants: blue runs v1 and is live, green runs v2 and stands by."""

    def __init__(self, folder: Path, stack: AsyncExitStack) -> None:
        self.folder = folder
        self.stack = stack
        self.daemon = Daemon(folder / "daemon")
        self.rules = [copy.deepcopy(ERROR_RATE)]
        self.service: dict[str, Any] = {"name": "trips", **copy.deepcopy(SERVICE)}
        self.versions = {"blue": "v1", "green": "v2"}
        self.apps: dict[str, VersionedApp] = {}
        self._people: People | None = None
        self._haproxy: HAProxy | None = None
        self._visitors: Visitors | None = None
        self._prometheus: Prometheus | None = None

    @property
    def people(self) -> People:
        assert self._people is not None
        return self._people

    @property
    def haproxy(self) -> HAProxy:
        assert self._haproxy is not None
        return self._haproxy

    @property
    def visitors(self) -> Visitors:
        assert self._visitors is not None
        return self._visitors

    @property
    def prometheus(self) -> Prometheus:
        assert self._prometheus is not None
        return self._prometheus

    async def open(self, *, numbers: str = "scrape", stable: bool = True, begin: bool = True) -> None:
        """Start everything around the daemon and, with `begin`, the daemon, too."""
        for variant, version in self.versions.items():
            self.apps[variant] = VersionedApp(self.folder, version=version)
        await self.start(*self.apps.values())
        if numbers == "prometheus":
            targets = [Target(job="trips", port=app.port) for app in self.apps.values()]
            self._prometheus = Prometheus(self.folder, targets)
            await self.start(self._prometheus)
            for rule in self.rules:
                rule["window"] = "4s"  # Prometheus scrapes once a second, and a rate wants samples
        if "traffic" not in self.service:
            await self.open_haproxy({"trips": {variant: app.port for variant, app in self.apps.items()}})
            self.service["traffic"] = self.haproxy_switch("trips")
            await self.let_in(f"http://127.0.0.1:{self.haproxy.front['trips']}/")
        self.daemon.settings["sources"].setdefault("numbers", self._source(numbers))
        await self.invite()
        if begin:
            await self.begin(stable=stable)

    async def begin(self, *, stable: bool = True) -> None:
        """Start the daemon; with `stable`, say that v1 is what runs and wait until it has proved itself."""
        self.daemon.settings["services"] = [self.service]
        self.daemon.rules = self.rules
        await self.daemon.begin()
        if stable:
            await self.announce("blue", self.versions["blue"])
            await self.until_stable(self.versions["blue"])

    async def start(self, *processes: Process) -> None:
        """Start servers side by side; each is stopped at the end."""
        for process in processes:
            self.stack.callback(process.stop)
        await asyncio.gather(*(asyncio.to_thread(process.start) for process in processes))

    async def open_haproxy(self, backends: Mapping[str, Mapping[str, int]], *, extra: str = "") -> HAProxy:
        """HAProxy with one backend a service; the first variant is live."""
        servers = {
            service: [
                Server(name=f"srv_{variant}", port=port, weight=0 if number else 100, extra=extra)
                for number, (variant, port) in enumerate(variants.items())
            ]
            for service, variants in backends.items()
        }
        haproxy = HAProxy(self.folder, servers)
        self.stack.callback(haproxy.discard)
        await asyncio.to_thread(haproxy.start)
        self._haproxy = haproxy
        return haproxy

    async def let_in(self, url: str) -> None:
        """Visitors come to this address until the end."""
        self._visitors = await self.stack.enter_async_context(visitors(url))

    async def invite(self) -> None:
        """People, at a webhook; and the daemon, which will be stopped before they leave."""
        self._people = await self.stack.enter_async_context(people())
        secret = self.daemon.folder / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        hook = {"kind": "webhook", "url": self.people.url, "secret": "!file secret", "timeout": "2s"}
        self.daemon.settings["channels"]["hook"] = hook
        self.daemon.settings["routes"] = [{"to": ["hook", "log"]}]
        self.stack.push_async_callback(asyncio.to_thread, self.daemon.stop)

    def haproxy_switch(self, service: str, *, socket: Path | None = None) -> dict[str, Any]:
        """The configuration of a service's traffic switch."""
        return {
            "kind": "haproxy",
            "socket": str(socket or self.haproxy.socket),
            "backend": service,
            "variants": {"blue": "srv_blue", "green": "srv_green"},
        }

    def _source(self, numbers: str) -> dict[str, Any]:
        if numbers == "prometheus":
            return {"kind": "prometheus", "url": self.prometheus.url, "timeout": "1s"}
        urls = [f"{app.url}/metrics" for app in self.apps.values()]
        return {"kind": "scrape", "urls": urls, "interval": "300ms", "timeout": "300ms"}

    # What a deploy job does.

    async def deploy(
        self, variant: str = "green", version: str = "v2", *, post: bool = True, service: str = "trips"
    ) -> None:
        """Say it, when `post`, and send everybody there."""
        if post:
            await self.announce(variant, version, service=service)
        self.move(variant, service=service)

    async def announce(self, variant: str, version: str, *, service: str = "trips") -> dict[str, Any]:
        """Post the deployment."""
        status, body = await self.daemon.post(
            "deployments", service=service, version=version, variant=variant
        )
        assert status in {200, 201}, body
        found: dict[str, Any] = body
        return found

    def move(self, variant: str, *, service: str = "trips") -> None:
        """Send everybody to a variant; the other one stands by at weight 0."""
        other = "blue" if variant == "green" else "green"
        # One line, so that nobody sees the state in between.
        commands = (
            f"set server {service}/srv_{variant} state ready",
            f"set server {service}/srv_{variant} weight 100",
            f"set server {service}/srv_{other} weight 0",
        )
        answer = self.haproxy.command(";".join(commands)).strip()
        assert not answer, answer

    async def replace(self, variant: str, version: str) -> None:
        """Put another version in the place of the one that a variant runs; it is well."""
        app = self.apps[variant]
        await asyncio.to_thread(app.stop)
        app.argv = [
            word if not word.startswith("--version=") else f"--version={version}" for word in app.argv
        ]
        await asyncio.to_thread(app.start)

    # What can be seen.

    async def breached(self, *, service: str = "trips", rule: str = "error-rate") -> None:
        """Wait until a check holds the level at which the watchdog would roll back."""

        async def held() -> bool:
            checks = (await self.daemon.get(f"services/{service}"))["checks"]
            return any(check["rule"] == rule and check["held"] == "rollback" for check in checks)

        await eventually(held, within=15, every=0.1, what=f"a breach of {rule}")

    def live(self, service: str = "trips") -> set[str]:
        """The variants that take traffic, as HAProxy has it."""
        rows = self.haproxy.servers(service)
        return {
            name.removeprefix("srv_")
            for name, row in rows.items()
            if int(row["weight"]) > 0 and not row["status"].startswith(("MAINT", "DRAIN", "DOWN"))
        }

    def status(self, variant: str, service: str = "trips") -> str:
        """What HAProxy says of one variant's server."""
        return self.haproxy.servers(service)[f"srv_{variant}"]["status"]

    async def until_stable(self, version: str, *, service: str = "trips", within: float = 20.0) -> None:
        """Wait until a version is a known good one."""

        async def stable() -> bool:
            found = await self.daemon.get(f"deployments?service={service}")
            return any(one["state"] == "stable" and one["version"] == version for one in found)

        await eventually(stable, within=within, every=0.1, what=f"a stable {version}")

    async def deployment(self, version: str, *, service: str = "trips") -> dict[str, Any]:
        """The newest record of a version."""
        found = [
            one
            for one in await self.daemon.get(f"deployments?service={service}")
            if one["version"] == version
        ]
        assert found, f"no deployment of {version}"
        record: dict[str, Any] = found[0]
        return record

    async def rollbacks(self, service: str = "trips") -> list[dict[str, Any]]:
        """All rollbacks, newest first."""
        found: list[dict[str, Any]] = await self.daemon.get(f"rollbacks?service={service}")
        return found

    async def switches(self, service: str = "trips") -> list[str]:
        """The states of all rollbacks that moved traffic, newest first."""
        return [one["state"] for one in await self.rollbacks(service) if one["switched"]]

    async def rollback(
        self, *states: str, service: str = "trips", within: float = 15.0, number: int = 1
    ) -> dict[str, Any]:
        """The newest of `number` rollbacks once it is in one of the states; without states once it is over."""

        async def arrived() -> dict[str, Any] | None:
            found = await self.rollbacks(service)
            assert len(found) <= number, f"{len(found)} rollbacks: {[one['state'] for one in found]}"
            assert len(found) == number, f"{len(found)} rollbacks"
            newest = found[0]
            reached = newest["state"] in states if states else newest["over"]
            assert reached, f"the rollback is {newest['state']}: {newest['vetoes'] or newest['history'][-1]}"
            return newest

        what = f"a rollback that is {' or '.join(states) or 'over'}"
        return await eventually(arrived, within=within, every=0.05, what=what) or {}

    async def told(
        self, kind: str, *, service: str | None = None, within: float = 10.0
    ) -> list[dict[str, Any]]:
        """Messages of a kind, once there is one."""
        what = f"people told {kind}"
        return await eventually(lambda: self.people.heard(kind, service=service), within=within, what=what)

    async def polled(self, *checks: str, times: int = 3, service: str = "trips") -> None:
        """Wait until checks have been judged so many times again."""
        seen: dict[str, set[str]] = {}

        async def often_enough() -> bool:
            for check in (await self.daemon.get(f"services/{service}"))["checks"]:
                seen.setdefault(check["rule"], set()).add(str(check["judged_at"]))
            return all(len(seen.get(rule, ())) > times for rule in checks)

        await eventually(often_enough, within=10, every=0.05, what=f"{times} more polls of {checks}")

    async def audit_holds(self) -> None:
        """The chain is whole, and holds the head that the last message named."""
        heads = [message["audit_head"] for message in self.people.messages if message["audit_head"]]
        given = ["--head", heads[-1]] if heads else []
        said = await self.daemon.says("audit", "verify", *given, config=True)
        assert said.code == 0, said

    def failed_since(self, moment: str) -> list[Any]:
        """Failed requests since a time of the API (with a hair's breadth for what was on its way)."""
        since = datetime.fromisoformat(moment).timestamp() + 0.1
        sent = self.visitors.since(since)
        assert sent, "nobody came"
        return [visit for visit in sent if visit.failed]


def in_order(kinds: Iterable[str], *wanted: str) -> bool:
    """Whether the wanted kinds came in this order, others between them or not."""
    rest = iter(kinds)
    return all(any(kind == one for kind in rest) for one in wanted)
