"""A stage for faults: any number of services behind one HAProxy, each with its own (fake) numbers.

Everything is as fast as it can be: versions are known good at the first healthy sample, nothing warms up.
"""

from __future__ import annotations

import copy
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.e2e.stage import ERROR_RATE, SERVICE, Stage
from tests.eventually import eventually
from tests.faults.fake_prometheus import FakePrometheus
from tests.faults.socket_proxy import SocketProxy
from tests.servers.versioned import VersionedApp

#: The move of a rollback as HAProxy lives through it: the target comes in before the bad version leaves.
ONE_MOVE = [{"green"}, {"blue", "green"}, {"blue"}]


class Fleet(Stage):
    """`add` services, then `launch`. Versions are called after their variants until somebody names them."""

    def __init__(self, folder: Path, stack: AsyncExitStack, prometheus: FakePrometheus) -> None:
        super().__init__(folder, stack)
        self.fake = prometheus
        self.fleet: dict[str, dict[str, Any]] = {}
        self.rules = []
        self.app_port = 0
        self._proxy: SocketProxy | None = None
        self.daemon.settings["intervals"] = {"critical": "200ms", "recheck": "200ms"}

    @property
    def proxy(self) -> SocketProxy:
        assert self._proxy is not None
        return self._proxy

    def add(
        self, name: str, *, source: str | None = None, settings: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """A service whose numbers come from `source` (its own when left out); answers its configuration."""
        source = source or name
        self.daemon.settings["sources"].setdefault(source, settings or self.fake.settings(source))
        rule = copy.deepcopy(ERROR_RATE) | {"name": f"error-rate-{source}", "source": source}
        if rule["name"] not in {one["name"] for one in self.rules}:
            self.rules.append(rule | {"window": "1s", "blind_after": "1s", "evidence": {"excess": "10%"}})
        service = copy.deepcopy(SERVICE) | {"name": name, "rules": [rule["name"]]}
        service["rollback"] |= {"warmup": "0s", "soak": "0s", "stabilise": "200ms", "contest_for": "300ms"}
        self.fleet[name] = service
        return service

    async def launch(self, *, proxied: bool = False, stable: bool = True) -> None:
        """Start everything; with `proxied`, the daemon reaches HAProxy through `proxy` for the first service."""
        app = VersionedApp(self.folder, version="any")
        await self.start(app)
        self.app_port = app.port
        ports = {"blue": app.port, "green": app.port}
        await self.open_haproxy(dict.fromkeys(self.fleet, ports), extra="inter 500ms")
        if proxied:
            first = next(iter(self.fleet))
            self._proxy = SocketProxy(self.haproxy.socket, lambda: self.live(first))
            await self.stack.enter_async_context(self._proxy.open())
            self.fleet[first]["traffic"] = self.haproxy_switch(first, socket=self._proxy.path)
        for name, service in self.fleet.items():
            service.setdefault("traffic", self.haproxy_switch(name))
            service["traffic"].setdefault("timeout", "1s")
        self.daemon.settings["services"] = list(self.fleet.values())
        self.daemon.rules = self.rules
        await self.invite()
        await self.daemon.begin()
        if stable:
            for name in self.fleet:
                await self.until_stable("blue", service=name)
            await self.looked_at()

    async def looked_at(self, *names: str) -> None:
        """Wait until switches were read again: a deployment begins at the last sight of the state before it."""
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")

        async def all_seen() -> bool:
            services = await self.daemon.get("services")
            wanted = [one for one in services if not names or one["name"] in names]
            return all(one["traffic"]["read_at"] > now for one in wanted)

        await eventually(all_seen, what="another look at every switch")

    async def deploy_bad(self, version: str = "v2", *, service: str = "trips") -> None:
        """A new version goes to green, is seen there, and only then turns bad."""
        await self.watched(version, service=service)
        self.turn_bad(version, service=service)

    async def watched(self, version: str = "v2", *, service: str = "trips") -> None:
        """A new version goes to green and is watched there."""
        await self.deploy("green", version, service=service)

        async def watching() -> bool:
            traffic = (await self.daemon.get(f"services/{service}"))["traffic"]
            live = {name for name, spot in traffic["variants"].items() if spot["live"]}
            record = await self.deployment(version, service=service)
            return live == {"green"} and record["state"] in {"watching", "stable"}

        await eventually(watching, what=f"a deployment of {version} that was seen")
        if self._proxy is not None:
            self._proxy.watch()

    def turn_bad(self, version: str = "v2", *, service: str = "trips") -> None:
        """From the next answer on, half of the version's requests fail."""
        (rule,) = self.fleet[service]["rules"]
        self.fake.bad[rule.removeprefix("error-rate-")].add(version)

    async def intended(self, service: str = "trips") -> None:
        """Wait until an intent is on disk."""
        query = "SELECT id FROM rollbacks WHERE service = ? AND state = 'intended'"
        await eventually(lambda: self.daemon.stored(query, service), within=10, what="an intent on disk")

    async def moved_once(self, version: str = "v2", *, number: int = 1) -> dict[str, Any]:
        """The rollback of this version is complete, and traffic was moved exactly once."""
        done = await self.rollback("completed", number=number)
        assert done["from"]["version"] == version
        assert self.live() == {"blue"}
        assert self.status("green") == "MAINT"
        assert self.proxy.moves == ONE_MOVE, self.proxy.writes
        assert len(await self.switches()) == number
        return done

    async def nothing_was_moved(self, service: str = "trips") -> None:
        """The bad version is live, and no rollback says otherwise."""
        assert self.live(service) == {"green"}, f"{service} was moved"
        assert await self.switches(service) == []
