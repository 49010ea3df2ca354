"""One rig for each traffic switch that must keep the contract: the switch, and a hand on the real thing behind it.

A new switch adds a class here and a line to `RIGS`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from tests.eventually import eventually
from tests.faults.recorded import Recorded, RecordedSettings, RecordedSwitch
from tests.faults.socket_proxy import Deed
from tests.servers.haproxy import HAProxy, Server
from tests.servers.kubernetes import Kubernetes
from tests.servers.nginx import Nginx
from tests.traffic.backend import Backend
from watchdog.core.traffic import Tier, VariantState
from watchdog.testing.clock import StillClock
from watchdog.testing.traffic import FakeSwitch
from watchdog.traffic.command import CommandSettings, CommandSwitch
from watchdog.traffic.haproxy import HAProxySettings, HAProxySwitch
from watchdog.traffic.interface import TrafficSwitch
from watchdog.traffic.nginx import NginxSwitch
from watchdog.traffic.nginx_settings import NginxSettings
from watchdog.traffic.readiness import WithReadiness

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
SECRET = "canary-secret-4711"
SCRIPT = Path(__file__).parents[1] / "traffic" / "state_file_switch.py"


def _nowhere() -> Kubernetes:
    raise LookupError("this test starts no API server")


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a rig may build itself from."""

    folder: Path
    start_haproxy: Callable[[Mapping[str, Sequence[Server]]], HAProxy]
    start_nginx: Callable[[Mapping[int, str]], Nginx]
    kubernetes: Callable[[], Kubernetes] = _nowhere


class Rig(ABC):
    """`blue` is live at weight 100 in the beginning, `green` a ready standby. Never touches the switch's own calls."""

    switch: TrafficSwitch
    #: What the switch is given; long enough for the slowest thing a read or a change does here.
    timeout = timedelta(seconds=0.6)
    #: Whether the target can carry a person's mark that stops the automation.
    carries_a_pause = True

    @classmethod
    @abstractmethod
    def open(cls, tools: Tools) -> Any:
        """An async context manager that gives the rig."""

    @abstractmethod
    def again(self) -> TrafficSwitch:
        """A switch with the same settings on the same target."""

    @abstractmethod
    def move(self, to: str) -> None:
        """A person moves all traffic to this variant, by the target's own means."""

    @abstractmethod
    def pause(self, reason: str | None) -> bool:
        """A person marks the target with the kill switch, or takes the mark away; whether it can carry one."""

    @abstractmethod
    def stir(self) -> None:
        """Change what moves by itself: counters or readiness."""

    @abstractmethod
    def effects(self) -> int:
        """How many changes the target has seen so far, of whomever."""

    @abstractmethod
    def hang(self) -> None:
        """From now on the target answers nobody."""

    @abstractmethod
    def recover(self) -> None:
        """The end of `hang`."""

    @abstractmethod
    def vanish(self) -> None:
        """From now on the target is gone."""


class FakeRig(Rig):
    tier = Tier.A
    timeout = timedelta(seconds=0.2)

    def __init__(self) -> None:
        self._never = asyncio.Event()
        self.switch = self._fake = FakeSwitch(
            {
                "blue": VariantState(weight=100, ready=1, total=1, requests=10),
                "green": VariantState(weight=0, ready=1, total=1, requests=0),
            },
            tier=self.tier,
            clock=lambda: NOW,
            timeout=self.timeout,
        )

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Tools) -> AsyncIterator[Rig]:  # noqa: ARG003 - a fake needs nothing
        yield cls()

    def again(self) -> TrafficSwitch:
        return self._fake

    def move(self, to: str) -> None:
        self._fake.move({to: 100})

    def pause(self, reason: str | None) -> bool:
        self._fake.pause(reason or "")
        return True

    def stir(self) -> None:
        self._fake.observe("green", ready=0, total=1, requests=17)

    def effects(self) -> int:
        return sum(call.before != call.after for call in self._fake.calls)

    def hang(self) -> None:
        self._fake.hold_read(self._never)
        self._fake.hold_apply(self._never)

    def recover(self) -> None:
        self._never.set()

    def vanish(self) -> None:
        self._fake.vanish()


class FakeTierBRig(FakeRig):
    tier = Tier.B


def checked(haproxy: HAProxy, backend: str) -> bool:
    """Whether every server has passed a health check."""
    return all(row["check_status"].lstrip("* ") == "L7OK" for row in haproxy.servers(backend).values())


class HAProxyRig(Rig):
    carries_a_pause = False

    def __init__(self, haproxy: HAProxy, backends: Mapping[str, Backend]) -> None:
        self._haproxy = haproxy
        self._backends = backends
        self.switch = self.again()

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Tools) -> AsyncIterator[Rig]:
        async with AsyncExitStack() as stack:
            blue = await stack.enter_async_context(Backend("blue"))
            green = await stack.enter_async_context(Backend("green"))
            servers = [
                Server(name="srv_blue", port=blue.port),
                Server(name="srv_green", port=green.port, weight=0),
            ]
            haproxy = tools.start_haproxy({"trips": servers})
            rig = cls(haproxy, {"blue": blue, "green": green})
            await eventually(lambda: checked(haproxy, "trips"), what="a first health check")
            yield rig

    def again(self) -> TrafficSwitch:
        settings = HAProxySettings(
            socket=str(self._haproxy.socket),
            backend="trips",
            variants={"blue": ("srv_blue",), "green": ("srv_green",)},
            timeout=self.timeout,
        )
        return HAProxySwitch(settings, name="trips", clock=StillClock(NOW))

    def move(self, to: str) -> None:
        away = "green" if to == "blue" else "blue"
        for command in (
            f"set server trips/srv_{to} weight 100",
            f"set server trips/srv_{to} state ready",
            f"set server trips/srv_{away} state drain",
        ):
            assert self._haproxy.command(command).strip() == ""

    def pause(self, reason: str | None) -> bool:
        return False  # nothing that is said to HAProxy at run time outlives its next reload

    def stir(self) -> None:
        self._backends["green"].healthy = False

    def effects(self) -> int:
        log = self._haproxy.output()
        return (
            log.count("enters drain state") + log.count("for maintenance") + log.count("enters maintenance")
        )

    def hang(self) -> None:
        self._haproxy.freeze()

    def recover(self) -> None:
        self._haproxy.thaw()

    def vanish(self) -> None:
        self._haproxy.kill()


class CommandRig(Rig):
    timeout = timedelta(seconds=1.5)

    def __init__(self, folder: Path) -> None:
        self.file = folder / "state.json"
        state = {
            "variants": {
                "blue": {"weight": 100, "version": "v2", "ready": 1, "total": 1, "requests": 10},
                "green": {"weight": 0, "version": "v1", "ready": 1, "total": 1, "requests": 0},
            },
            "revision": 1,
        }
        self.file.write_text(json.dumps(state))
        self.switch = self.again()

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Tools) -> AsyncIterator[Rig]:
        yield cls(tools.folder)

    def again(self) -> TrafficSwitch:
        script = [sys.executable, "-I", "-S", str(SCRIPT), str(self.file)]
        settings = CommandSettings(
            read=[*script, "read"],
            apply=[*script, "apply", "{variant}", "{expect}", "{mark}"],
            environment={"TOKEN": SecretStr(SECRET)},
            timeout=self.timeout,
        )
        return CommandSwitch(settings, name="trips", clock=StillClock(NOW))

    def change(self, **facts: Any) -> dict[str, Any]:
        """Write into the state file; answers what is in it."""
        state: dict[str, Any] = json.loads(self.file.read_text()) | facts
        self.file.write_text(json.dumps(state))
        return state

    def move(self, to: str) -> None:
        state = self.change()
        for name, facts in state["variants"].items():
            facts["weight"] = 100 if name == to else 0
        self.change(
            variants=state["variants"],
            revision=state["revision"] + 1,
            foreign=state.get("foreign", 0) + 1,
        )

    def pause(self, reason: str | None) -> bool:
        self.change(paused=reason)
        return True

    def stir(self) -> None:
        variants = self.change()["variants"]
        variants["green"].update(ready=0, requests=17)
        self.change(variants=variants)

    def effects(self) -> int:
        state = self.change()
        return len(state.get("applied", [])) + int(state.get("foreign", 0))

    def hang(self) -> None:
        self.change(misbehave={"read": "hang"})

    def recover(self) -> None:
        self.change(misbehave={})

    def vanish(self) -> None:
        self.file.unlink()


class NginxRig(Rig):
    timeout = timedelta(seconds=2)

    def __init__(self, nginx: Nginx, backends: Mapping[str, Backend]) -> None:
        self._nginx = nginx
        self._backends = backends
        self.switch = self.again()

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Tools) -> AsyncIterator[Rig]:
        async with AsyncExitStack() as stack:
            blue = await stack.enter_async_context(Backend("blue"))
            green = await stack.enter_async_context(Backend("green"))
            yield cls(tools.start_nginx({blue.port: "", green.port: "down"}), {"blue": blue, "green": green})

    def again(self) -> TrafficSwitch:
        settings = NginxSettings(
            upstream_file=self._nginx.file,
            upstream="trips",
            variants={name: (f"127.0.0.1:{backend.port}",) for name, backend in self._backends.items()},
            reload=self._nginx.reload_argv,
            timeout=self.timeout,
        )
        return WithReadiness(NginxSwitch(settings, name="trips", clock=StillClock(NOW)), self._probe)

    async def _probe(self, address: str) -> bool | None:
        return next(one.healthy for one in self._backends.values() if address == f"127.0.0.1:{one.port}")

    def move(self, to: str) -> None:
        self._nginx.write({one.port: "" if name == to else "down" for name, one in self._backends.items()})
        self._nginx.reload()

    def pause(self, reason: str | None) -> bool:
        lines = [line for line in self._nginx.file.read_text().splitlines() if "watchdog:" not in line]
        if reason is not None:
            lines.insert(2, f"    # watchdog: paused {reason}")
        self._nginx.replace("\n".join(lines) + "\n")
        return True

    def stir(self) -> None:
        self._backends["green"].healthy = False

    def effects(self) -> int:
        return self._nginx.reloads()

    def hang(self) -> None:
        self._nginx.freeze()

    def recover(self) -> None:
        self._nginx.thaw()

    def vanish(self) -> None:
        self._nginx.kill_all()


class RecordedRig(Rig):
    """The switch of the crash tests, whose state lives in the test."""

    tier = Tier.A
    carries_a_pause = False

    def __init__(self, recorded: Recorded) -> None:
        self._recorded = recorded
        recorded.add("trips", tier=self.tier, live="blue", versions={"blue": "v1", "green": "v2"})
        self.switch = self.again()

    @classmethod
    @asynccontextmanager
    async def open(cls, tools: Tools) -> AsyncIterator[Rig]:  # noqa: ARG003 - it needs nothing
        async with Recorded() as recorded:
            yield cls(recorded)

    def again(self) -> TrafficSwitch:
        settings = RecordedSettings(
            socket=self._recorded.socket, object="trips", tier=self.tier, timeout=self.timeout
        )
        return RecordedSwitch(settings, name="trips", clock=StillClock(NOW))

    def move(self, to: str) -> None:
        self._recorded.move("trips", to)

    def pause(self, reason: str | None) -> bool:
        return False

    def stir(self) -> None:
        self._recorded.observe("trips", "green", ready=0, requests=17)

    def effects(self) -> int:
        return len(self._recorded.moves("trips"))

    def hang(self) -> None:
        self._recorded.judge = lambda _: Deed.HOLD

    def recover(self) -> None:
        self._recorded.drop()

    def vanish(self) -> None:
        self._recorded.socket.unlink()


class RecordedTierBRig(RecordedRig):
    tier = Tier.B


RIGS: dict[str, type[Rig]] = {
    "fake-tier-a": FakeRig,
    "fake-tier-b": FakeTierBRig,
    "haproxy": HAProxyRig,
    "command": CommandRig,
    "nginx": NginxRig,
    "recorded-tier-a": RecordedRig,
    "recorded-tier-b": RecordedTierBRig,
}
