"""Whatever a source does instead of answering well: nothing is switched, people are told, others are unaffected."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest

from tests.e2e.visitors import visitors
from tests.eventually import eventually
from tests.faults.fake_prometheus import FAULTS, HANGING
from tests.faults.fleet import Fleet
from tests.servers.prometheus import Prometheus, Target
from tests.servers.versioned import VersionedApp

pytestmark = pytest.mark.timeout(300)

#: Faults of the source itself; the others are about one rule's numbers.
OUTAGES = {"status-503", "cut-off", "a-login-page", HANGING}


async def told_of(fleet: Fleet, name: str) -> str:
    """How people were told that a service is not being watched.

    The first few are told one by one, the others as one, and who joins them a minute later: a storm's services are
    those that people heard of.
    """
    for message in fleet.people.heard("incident_opened"):
        if name in (message["service"], message["labels"].get("source")):
            return str(message["headline"])
    found = await fleet.daemon.get("incidents")
    if not any(one["kind"] == "storm" and name in one["services"] for one in found):
        return ""
    return "; ".join(one["summary"] for one in found if one["kind"] == "blind" and one["services"] == [name])


async def test_no_lie_of_a_source_moves_traffic_and_all_of_them_are_told(fleet: Fleet) -> None:
    lies = [*FAULTS, HANGING]
    for name in (*lies, "well"):
        fleet.add(name)
    fleet.add("neighbour", source="status-503")
    await fleet.launch()
    for name in lies:
        fleet.fake.faults[name] = name
    for name in fleet.fleet:
        fleet.move("green", service=name)
        fleet.turn_bad("green", service=name)

    # The one whose source is well is rolled back as ever.
    await fleet.rollback("completed", service="well")
    fleet.fake.asked.clear()
    await eventually(lambda: all(fleet.fake.asked[name] >= 5 for name in lies), within=60)

    async def all_told() -> bool:
        return all([await told_of(fleet, name) for name in lies])

    await eventually(all_told, within=150, every=0.5, what="people told of all")
    for name in (*lies, "neighbour"):
        assert fleet.live(name) == {"green"}, f"{name}: a lie was believed"
        assert await fleet.rollbacks(name) == [], name
    for name in lies:
        told = await told_of(fleet, name)
        expected = ("does not answer",) if name in OUTAGES else ("is not being watched", "has no data")
        assert any(words in told for words in expected), f"{name}: {told}"
    (outage,) = [m for m in fleet.people.messages if m["labels"].get("source") == "status-503"]
    assert {"name": "services", "value": "neighbour, status-503"} in outage["facts"]

    # And when they tell the truth again, it is acted on.
    fleet.fake.faults.clear()
    for name in (*lies, "neighbour"):
        done = await fleet.rollback("completed", service=name)
        assert done["to"]["variant"] == "blue"
        assert fleet.live(name) == {"blue"}
    await eventually(lambda: _closed(fleet), what="every incident closed")
    await fleet.audit_holds()


async def _closed(fleet: Fleet) -> bool:
    return not await fleet.daemon.get("incidents?open=true")


async def test_a_prometheus_that_is_killed_or_frozen_moves_nothing(
    fleet: Fleet, stack: AsyncExitStack
) -> None:
    apps = [VersionedApp(fleet.folder, version="blue"), VersionedApp(fleet.folder, version="green")]
    folders = [fleet.folder / "a", fleet.folder / "b"]
    for folder in folders:
        folder.mkdir()
    targets = [Target(job="trips", port=app.port) for app in apps]
    killed, frozen = (Prometheus(folder, targets) for folder in folders)
    await fleet.start(*apps, killed, frozen)
    for app in apps:
        await stack.enter_async_context(visitors(app.url))
    pages = [f"{app.url}/metrics" for app in apps]
    scrape = {"kind": "scrape", "urls": pages, "interval": "300ms", "timeout": "300ms"}
    for name, source in {
        "trips": "killed",
        "orders": "killed",
        "cargo": "frozen",
        "parcels": "scraped",
    }.items():
        prometheus = killed if source == "killed" else frozen
        settings = {"kind": "prometheus", "url": prometheus.url, "timeout": "500ms"}
        fleet.add(name, source=source, settings=scrape if source == "scraped" else settings)
    for rule in fleet.rules:
        rule["window"] = "4s" if rule["source"] != "scraped" else "1200ms"
        rule["ratio"] = {
            part: text.replace("$service", "trips") for part, text in rule["ratio"].items()
        }  # all look at the same two apps
    await fleet.launch()
    apps[1].control(fail_every=2)
    killed.kill()
    frozen.freeze()
    for name in fleet.fleet:
        fleet.move("green", service=name)

    await fleet.rollback("completed", service="parcels")
    await eventually(lambda: len(_outages(fleet)) == 2, within=10, what="both outages told")
    assert _outages(fleet) == {"killed": "orders, trips", "frozen": "cargo"}
    for name in ("trips", "orders", "cargo"):
        assert fleet.live(name) == {"green"}
        assert await fleet.rollbacks(name) == []

    frozen.thaw()
    killed.start()
    for name in ("trips", "orders", "cargo"):
        await fleet.rollback("completed", service=name, within=25)
        assert fleet.live(name) == {"blue"}
    await eventually(lambda: _closed(fleet), what="every incident closed")


def _outages(fleet: Fleet) -> dict[str, str]:
    """Source to the services that people were told of."""
    return {
        message["labels"]["source"]: fact["value"]
        for message in fleet.people.heard("incident_opened")
        if "source" in message["labels"]
        for fact in message["facts"]
        if fact["name"] == "services"
    }
