"""The daemon whose own network is gone: nothing is dead, nothing is switched, and one message says so."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.eventually import eventually
from tests.faults.fake_prometheus import HANGING
from tests.faults.fleet import Fleet
from tests.servers.raw import RawServer, answer, hang

pytestmark = pytest.mark.timeout(120)

NAMES = ("trips", "cars", "hotels", "boats")


class Cut:
    """A fleet with a probe for each service, and a target that should always answer."""

    def __init__(self, fleet: Fleet, targets: dict[str, RawServer], gateway: RawServer) -> None:
        self.fleet = fleet
        self.targets = targets
        self.gateway = gateway

    async def begin(self) -> None:
        for name, target in self.targets.items():
            service = self.fleet.add(name)
            service["rules"].append("healthy")
            service["labels"] = {"port": str(target.port)}
        probe = {"kind": "http", "url": "http://127.0.0.1:$label.port/", "timeout": "500ms"}
        limits = {"critical": "4 failures", "rollback": "6 failures"}
        self.fleet.rules.append({"name": "healthy", "probe": probe, "threshold": limits, "blind_after": "1s"})
        reference = {"kind": "http", "url": self.gateway.url, "timeout": "500ms"}
        self.fleet.daemon.settings["self_check"] = [reference]
        await self.fleet.launch()
        for name in NAMES:
            self.fleet.move("green", service=name)

    def silence(self) -> None:
        """From now on nobody says anything."""
        self.fleet.fake.faults |= dict.fromkeys(NAMES, HANGING)
        for server in self.targets.values():
            server.behaviour = hang
        self.gateway.behaviour = hang

    def sound(self, *, but: str) -> None:
        """All answer again but one target, which is dead."""
        self.fleet.fake.faults.clear()
        for name, server in self.targets.items():
            server.behaviour = hang if name == but else answer("fine")
        self.gateway.behaviour = answer("fine")

    def heard(self, kind: str) -> int:
        return len(self.fleet.people.heard(kind))


@pytest.fixture
async def cut(fleet: Fleet, stack: AsyncExitStack) -> Cut:
    targets = {name: await stack.enter_async_context(RawServer(answer("fine"))) for name in NAMES}
    gateway = await stack.enter_async_context(RawServer(answer("fine")))
    return Cut(fleet, targets, gateway)


async def test_a_daemon_that_nobody_answers_calls_nothing_dead_and_says_so_once(cut: Cut) -> None:
    await cut.begin()
    fleet = cut.fleet
    cut.silence()
    await eventually(lambda: cut.heard("cut_off"), within=20, what="people told of the cut")
    asked = {name: len(server.requests) for name, server in cut.targets.items()}
    # Long enough for every probe to fail as often as it takes to roll back, and for all data to be missed.
    await eventually(
        lambda: all(len(cut.targets[name].requests) >= asked[name] + 8 for name in NAMES), within=60
    )

    assert cut.gateway.requests
    assert cut.heard("cut_off") == 1
    assert [kind for kind in fleet.people.kinds if kind.startswith(("incident", "rollback"))] == []
    for name in NAMES:
        assert fleet.live(name) == {"green"}
        assert await fleet.rollbacks(name) == []

    cut.sound(but="trips")
    await eventually(lambda: fleet.live("trips") == {"blue"}, within=60, what="the dead one rolled back")
    assert cut.heard("reachable_again") == 1
    assert {one["service"] for one in fleet.people.heard("incident_opened")} == {"trips"}
    for name in NAMES[1:]:
        assert fleet.live(name) == {"green"}
        assert await fleet.rollbacks(name) == []
    await fleet.audit_holds()
